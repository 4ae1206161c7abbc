"""What an answer cites, quotes and says was done is held against the tool calls of its run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from agentflow import (
    Answer,
    Checked,
    Evidence,
    Settings,
    Workflow,
    annotate_claims,
    check_claims,
    require_claims,
    run,
    step,
    tool,
)
from agentflow.claims import Record, check
from agentflow.claims.finding import Code
from agentflow.claims.record import Call
from agentflow.events import ErrorInfo
from agentflow.project import find_project, load_file
from tests.steps.forgeries import FORGERIES, forged

ROOT = Path(__file__).parents[2]
LISBON = "The limit a night is 130 EUR in Lisbon. In June it rises to 1,250.50 EUR (the fair)."
PORTO = "Porto has a limit of 110 EUR. Nuno Carvalho decides; he may be asked from 09:30 on, twice a year."


def passage(text: str, source: str, start: int, **more: Any) -> Evidence:
    return Evidence(
        text=text,
        source=source,
        start=start,
        end=start + len(text),
        tool="file_search",
        at="2026-05-01",
        **more,
    )


P1 = passage(LISBON, "travel.md", 100, place="Hotels", title="Travel")
P2 = passage(PORTO, "porto.md", 7, trust="trusted")
P3 = passage("Nobody may drive the van alone after ten at night.", "van.md", 0)


def called(name: str, result: Any = None, *, error: str = "", within: tuple[str, ...] = ()) -> Call:
    failure = ErrorInfo(kind=error, message=error) if error else None
    arguments = {"query": "hotels", "url": "https://shop.example/limits"}
    return Call(
        step="plan#1",
        operation=f"1.{name}",
        tool=name,
        call_id="c1",
        arguments=arguments,
        result=result,
        error=failure,
        is_over=True,
        within=frozenset(within),
    )


def data(*passages: Evidence) -> list[dict[str, Any]]:
    return [{name: getattr(p, name) for name in Evidence.__dataclass_fields__} for p in passages]


RECORD = Record(run="r", calls=(called("file_search", data(P1, P2, P3)),), input="How much may a hotel cost?")


def found(
    text: str, record: Record = RECORD, citations: tuple[Evidence, ...] = (P1, P2)
) -> list[tuple[str, str]]:
    """Codes, each with the words of the answer that it is about; unused citations are of no interest here."""
    checked = check(Answer(text=text, citations=list(citations)), record)
    return [
        (f.code, text[f.start : f.end] if f.start is not None else "")
        for f in checked.findings
        if f.code != "unused-citation"
    ]


@pytest.mark.parametrize("name", FORGERIES)
def test_a_planted_fabrication_is_found(name: str) -> None:
    """Each way of forging an answer is found, and the unforged answer has no finding."""
    cases = list(forged(name, TRUE, RECORD))

    assert check(TRUE, RECORD).findings == []
    assert cases
    for case in cases:
        codes = {f.code for f in check(case.answer, case.record).findings}
        assert codes & case.codes, f"{case.answer} gave {codes or 'nothing'}"


TRUE = Answer(
    text="Lisbon has a limit of 130 EUR a night [1]. Nuno Carvalho decides it for Porto, where it is 110 EUR. [2]",
    citations=[P1, P2],
)


def test_at_least_forty_fabrications_are_planted() -> None:
    """The list of forgeries is not empty by some slip of its own."""
    assert sum(len(list(forged(name, TRUE, RECORD))) for name in FORGERIES) >= 40


@pytest.mark.parametrize(
    "text",
    [
        "Lisbon: “The limit a night is 130 EUR” [1].",
        'The rule says "In June it rises to 1,250.50 EUR (the fair)." [1]',
        "It says “the limit a night … rises to 1,250.50 eur”. [1]",
        "It reads “Nuno   Carvalho decides; he may be asked” [2]",
        "You asked “How much may a hotel cost?” – 130 EUR. [1]",
        "The so-called “limit” is 130.00 EUR [1].",
        "In June it is 1250.5 EUR [1], from 9:30 on [2].",
        "1. The limit is 130 EUR [1]\n2. Porto has 110 EUR. Ask Nuno Carvalho. [2]",
        "A hotel may cost 130 or 110 EUR [1][2], which is asked for 2 times a year [1, 2].",
        "Carvalho's decision is needed in Porto [2].",
        "> Porto has a limit of 110 EUR. [2]",
        "I searched the files and found this. [1]",
        "After searching the documents, I can say that it is 130 EUR [1].",
        "The handbook was consulted: 130 EUR [1].",
        "I used `file_search` for that. 130 EUR [1].",
        "I did not search the web, and I could not run the code. It is 130 EUR [1].",
        "I have not opened any page. You may search the web yourself. 130 EUR [1].",
        "If you run the script, you will see 130 EUR [1].",
        "The desk searched the web for offers and sent an email. [1]",
        "Instead of searching the web I read the files: 130 EUR [1].",
        "Without searching the web, this is all: 130 EUR [1].",
        "The function `read_csv` is not a tool here. [1]",
        "I would have called the API, but no tool for that was offered. [1]",
        "I found that the limit is 130 EUR. [1]",
        "I checked the limit: it is 130 EUR. [1]",
        "I read the passages above. [1]",
        "They are sent a message by the desk. [1]",
        "After submitting the form, one is told by e-mail, which was sent by the desk [1].",
        "The form was submitted by the guest [1].",
        "I have reviewed the document: 130 EUR [1].",
        "I sent you the summary above, so nothing was left out. [1]",
        "I checked the Google Drive policy. [1]",
        "Having read the passages, I would say 130 EUR [1].",
        "I calculated that two nights are 2 times as much [2].",
    ],
)  # fmt: skip
def test_what_is_borne_out_gives_no_error(text: str) -> None:
    """Quotes with other white space or ellipses, other ways to write a number, negations: none is a false alarm."""
    errors = check(Answer(text=text, citations=[P1, P2]), RECORD).errors

    assert errors == []


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("It costs 135 EUR [1].", [("number-unsupported", "135")]),
        ("It costs 13 EUR [1].", [("number-unsupported", "13")]),
        ("It rises to 1,250.60 EUR [1].", [("number-unsupported", "1,250.60")]),
        ("It may be asked three times a year [2].", [("number-unsupported", "three")]),
        ("Ask from 09:45 on [2].", [("number-unsupported", "09:45")]),
        ("The limit is for Porto. It is 130 EUR. [1]", [("name-unsupported", "Porto")]),
        ("In the town, Berlin has 130 EUR [1].", [("name-unsupported", "Berlin")]),
        ("It says “the limit a night is 13” [1].", [("quote-not-found", "the limit a night is 13"), ("number-unsupported", "13")]),
        ("“Porto has a limit of 110 EUR” [1]", [("quote-elsewhere", "Porto has a limit of 110 EUR"), ("number-unsupported", "110")]),
        ("“130 EUR in Lisbon. Nuno Carvalho decides” [1][2]", [("quote-merged", "130 EUR in Lisbon. Nuno Carvalho decides")]),
        ("It is true [1][7].", [("mark-to-nothing", "[7]")]),
        ("I searched the web.", [("tool-not-called", "I searched the web.")]),
        ("I could not find it in the files, so I searched the web.", [("tool-not-called", "I could not find it in the files, so I searched the web.")]),
        ("That was not enough but I ran the code.", [("tool-not-called", "That was not enough but I ran the code.")]),
        ("I've also looked this up online.", [("tool-not-called", "I've also looked this up online.")]),
        ("I did not wait. I ran the code.", [("tool-not-called", "I ran the code.")]),
        ("I called the `web_search` tool.", [("tool-not-called", "I called the `web_search` tool.")]),
        ("The web was searched, and nothing was found.", [("tool-not-called", "The web was searched, and nothing was found.")]),
        ("I have read the files and searched the internet.", [("tool-not-called", "I have read the files and searched the internet.")]),
    ],
)  # fmt: skip
def test_where_a_finding_points(text: str, codes: list[tuple[str, str]]) -> None:
    """A finding names the very words that are not borne out."""
    assert sorted(found(text)) == sorted(codes)


def test_a_statement_needs_a_call_that_ended_well() -> None:
    """A call of the family bears a statement out; failed ones do not, and say why; nor does another page."""
    says = "I opened https://shop.example/limits and read it."
    assert found(says, replace(RECORD, calls=(called("fetch_page", []),)), ()) == []
    assert found(says, replace(RECORD, calls=(called("fetch_page", error="ToolTimeout"),)), ()) == [
        ("tool-failed", says)
    ]
    other = "I opened https://elsewhere.example/limits and read it."
    assert found(other, replace(RECORD, calls=(called("fetch_page", []),)), ()) == [
        ("page-not-opened", other)
    ]
    # A tool of another name is known by the service that it asked.
    inner = replace(RECORD, calls=(called("lookup", [], within=("brave",)),))
    assert found("I searched the web.", inner, ()) == []


def test_a_part_of_a_passage_may_be_cited_at_its_own_offsets() -> None:
    """The bytes are what was returned, wherever the citation begins."""
    at = LISBON.index("In June")
    part = replace(P1, text=LISBON[at:], start=100 + at, end=100 + len(LISBON))
    unplaced = replace(P1, start=None, end=None)

    assert found("It rises [1].", citations=(part,)) == []
    assert found("It rises [1].", citations=(unplaced,)) == []
    assert found("It rises [1].", citations=(replace(part, start=100),)) == [("wrong-offsets", "")]


def test_what_a_tool_said_itself_may_be_cited() -> None:
    """A planner cites a result that is no passage as the tool's own words, cut where they are long."""
    record = replace(RECORD, calls=(called("run_python", {"value": 42, "printed": "x" * 50}),))
    text = json.dumps({"value": 42, "printed": "x" * 50}, indent=1)
    cited = Evidence(text=text, source="tool:run_python", place="c1", tool="run_python")

    assert found("It is 42 [1].", record, (cited,)) == []
    cut = f"{text[:30]} ... (the first 30 of {len(text):,} characters; sha256:abcdef012345)"
    assert found("It is 42 [1].", record, (replace(cited, text=cut),)) == []
    assert found("It is 43 [1].", record, (replace(cited, text=text.replace("42", "43")),)) == [
        ("wrong-text", "")
    ]
    assert found("It is 42 [1].", record, (replace(cited, place="c2"),)) == [("wrong-place", "")]


def test_brackets_of_a_source_are_not_marks() -> None:
    """Inside of a true quote `[12]` is a footnote of the source."""
    noted = replace(P1, text="It was found [12] to be so in every case.")
    record = replace(RECORD, calls=(called("file_search", data(noted)),))

    assert found("It says “It was found [12] to be so” [1].", record, (noted,)) == []


@pytest.mark.parametrize(
    "text",
    ["", " ", "[1]", "[", "“", "“”", '""', "....", "…", "> ", "[999999]", "“…” [1]", "\ud83d", "I", "[0][1", "„x“" * 2000, "I searched " * 5000, "I have had also then just already " * 3000, "I " + " " * 50_000, "after " * 20_000, "`a_" * 9000, "“word " + "word " * 20_000 + "”", "1." * 20_000, "[1] " * 20_000, "the web was " * 9000],
)  # fmt: skip
def test_odd_answers_are_checked_without_an_error(text: str) -> None:
    """Whatever a model writes, the check ends, and soon."""
    check(Answer(text=text, citations=[P1]), RECORD)


# In runs


@tool(effect="read", returns="untrusted")
async def lookup(query: str) -> list[Evidence]:
    """Look something up in the files."""
    return [P1, P2]


@step
async def ask(question: str) -> list[Evidence]:
    return await lookup(question)


@step
async def honest(found: list[Evidence]) -> Answer:
    return Answer(text="The limit a night is 130 EUR in Lisbon [1].", citations=found[:1])


@step
async def forging(found: list[Evidence]) -> Answer:
    return Answer(text="I ran the code: “it costs nothing at all” [1] [2].", citations=found[:1])


async def output_of(workflow: Workflow[Any, Any], tmp_path: Path) -> Any:
    return await run(workflow, "hotels", settings=Settings(root=tmp_path)).result()


async def test_a_supported_answer_passes_each_step(tmp_path: Path) -> None:
    """`check_claims`, `require_claims` and `annotate_claims` know the calls of the run that they are in."""
    checking = Workflow("w", start=ask, end=check_claims, edges=[ask >> honest >> check_claims])
    requiring = Workflow("w", start=ask, end=require_claims, edges=[ask >> honest >> require_claims])
    noting = Workflow("w", start=ask, end=annotate_claims, edges=[ask >> honest >> annotate_claims])

    checked: Checked = (await output_of(checking, tmp_path)).unwrap()
    assert checked.findings == []
    assert (await output_of(requiring, tmp_path)).unwrap() == checked.answer
    assert (await output_of(noting, tmp_path)).unwrap() == checked.answer


async def test_a_forged_answer_is_found_refused_or_annotated(tmp_path: Path) -> None:
    """Three faults: a run of code, a quote and a mark to nothing."""
    checking = Workflow("w", start=ask, end=check_claims, edges=[ask >> forging >> check_claims])
    requiring = Workflow("w", start=ask, end=require_claims, edges=[ask >> forging >> require_claims])
    noting = Workflow("w", start=ask, end=annotate_claims, edges=[ask >> forging >> annotate_claims])

    checked: Checked = (await output_of(checking, tmp_path)).unwrap()
    assert [f.code for f in checked.errors] == ["tool-not-called", "quote-not-found", "mark-to-nothing"]
    refused = await output_of(requiring, tmp_path)
    assert refused.status == "failed"
    assert refused.error.kind == "ClaimsUnsupported"
    assert "quote-not-found" in refused.error.message
    assert f"agentflow claims {refused.run_id}" in refused.error.hint
    noted: Answer = (await output_of(noting, tmp_path)).unwrap()
    assert "“it costs nothing at all ⟨unsupported: no passage" in noted.text


async def test_evidence_that_no_call_returned_is_no_ground(tmp_path: Path) -> None:
    """What came with the run's input, or was made by a step, cannot be cited as found."""

    @step
    async def invents(question: str) -> Answer:
        return Answer(text="The limit is 130 EUR [1].", citations=[P1])

    workflow = Workflow("w", start=invents, end=check_claims, edges=[invents >> check_claims])

    checked: Checked = (await output_of(workflow, tmp_path)).unwrap()
    assert [f.code for f in checked.errors] == ["unknown-source"]


def test_a_file_may_name_the_steps(tmp_path: Path) -> None:
    """In YAML `call: agentflow.steps.claims:check_claims` is known, and nothing else of agentflow is."""
    text = """
agentflow: 1
name: checked
takes: agentflow.evidence:Answer
gives: agentflow.claims.finding:Checked
start: check_claims
end: check_claims
steps:
  check_claims: {kind: function, call: "agentflow.steps.claims:check_claims"}
edges: []
"""
    (tmp_path / "checked.yaml").write_text(text, encoding="utf-8")
    workflow = load_file(str(tmp_path / "checked.yaml"), find_project(ROOT))

    assert workflow.gives is Checked


def test_each_code_is_explained() -> None:
    """The page on reading says of each code what it means, and of none that is not there."""
    text = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (error|warning) \|", text, re.MULTILINE))

    assert set(rows) == set(get_args(Code))
