"""Answers quoted from evidence: which sentences are chosen, that they are verbatim, and how sure that is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from agentflow.models.embedded.passages import evidence_of, question_of, sentences
from agentflow.models.embedded.quoting import NOTHING, Quotation, quote

SAMPLES = Path(__file__).parents[2] / "workflows" / "samples"
LEAVE = {
    "n": 1,
    "text": "## 5. Carrying days over\n\nYou may carry up to 5 unused days\ninto the next year. They must be taken by 31 March "
    "and lapse after that. Managers see a list of open days on 1 July, e.g. in Compass.",
    "source": "annual-leave.md",
    "title": "Annual leave",
    "place": "5. Carrying days over, characters 2100-2400",
}
HOTELS = {
    "n": 2,
    "text": "| City | Limit a night | Breakfast |\n| --- | --- | --- |\n| Hamburg | 135 EUR | 12 EUR |\n| Lisbon | 130 EUR | 9 EUR |",
    "source": "travel.md",
    "title": "Travel",
    "place": "Hotel limits, characters 1-90",
}
REPAIR = {
    "n": 3,
    "text": "The workshop mends tents, jackets and boots.\n\n- The estimate comes within 2 working days.\n- A new zip costs 35 EUR.\n",
    "source": "repair.md",
    "title": "Repair service",
    "place": "How it works",
}
OLD = {
    "n": 4,
    "text": "SUPERSEDED 2024. You may carry up to 9 unused days into the next year.",
    "source": "annual-leave-2023-superseded.md",
    "title": "Annual leave 2023",
    "place": "",
}
ALL = [OLD, LEAVE, HOTELS, REPAIR]


def asked(question: str, evidence: list[dict[str, Any]] | None = None) -> Quotation:
    return quote(json.dumps({"question": question, "evidence": ALL if evidence is None else evidence}))


def folded(text: str) -> str:
    return " ".join(text.split())


def assert_verbatim(quotation: Quotation, evidence: list[dict[str, Any]]) -> None:
    """Each line is found in the passage that it cites, apart from a heading of that passage in front."""
    passages = {e["n"]: e for e in evidence}
    for line in quotation.text.removeprefix(f"{NOTHING} The nearest passage: ").splitlines():
        body, number = re.fullmatch(r"(.+) \[(\d+)\]", line, re.DOTALL).groups()  # type: ignore[union-attr]
        passage = passages[int(number)]
        headings = [passage["title"], re.sub(r", characters.*", "", passage["place"])]
        bodies = [body, *(body.removeprefix(f"{h}: ") for h in headings)]
        assert any(b in folded(passage["text"]) for b in bodies), line


def test_the_sentence_that_answers_is_quoted_with_its_number() -> None:
    """A question about a rule gets the sentence of the rule, whitespace folded, and the mark of its passage."""
    quotation = asked("How many unused days of leave can I carry over?")

    assert quotation.text.splitlines()[0] == "You may carry up to 5 unused days into the next year. [1]"
    assert quotation.confidence > 0.5
    assert 1 in [passage.n for passage in quotation.cited]


def test_every_line_is_verbatim_and_cited() -> None:
    """Whatever is asked, each line of the answer stands in the passage whose number it carries."""
    for question in (
        "What does a zip cost?",
        "hotel limit in Lisbon",
        "When do unused days lapse?",
        "Who mends boots?",
    ):
        assert_verbatim(asked(question), ALL)


def test_a_row_of_a_table_comes_with_its_heading_and_head() -> None:
    """A row is quoted below the head of its table, which follows the heading that stands in the passage's place."""
    lines = asked("What may a hotel in Lisbon cost?").text.splitlines()

    assert lines[:2] == ["Hotel limits: City | Limit a night | Breakfast [2]", "Lisbon | 130 EUR | 9 EUR [2]"]


def test_an_item_of_a_list_comes_with_its_heading() -> None:
    """An item is quoted without its bullet, after the heading under which it stands."""
    assert (
        asked("What does a new zip cost?").text.splitlines()[0] == "How it works: A new zip costs 35 EUR. [3]"
    )


def test_a_sentence_that_refers_back_brings_the_one_before() -> None:
    """`They must be taken by ...` is quoted after the sentence that says what `they` are."""
    lines = asked("By which date must days that were carried over be taken?").text.splitlines()
    place = lines.index("They must be taken by 31 March and lapse after that. [1]")

    assert lines[place - 1] == "You may carry up to 5 unused days into the next year. [1]"


def test_current_documents_go_before_superseded_ones() -> None:
    """The superseded rule is not quoted first, unless the old rule is asked for."""
    assert "9 unused days" not in asked("How many unused days can be carried over?").text.splitlines()[0]
    assert (
        "9 unused days" in asked("How many days could be carried over in the old version of the rule?").text
    )


def test_each_part_of_a_question_gets_a_sentence() -> None:
    """Two questions in one are both answered."""
    text = asked("What is the hotel limit in Hamburg, and how soon does an estimate for a repair come?").text

    assert "Hamburg | 135 EUR" in text
    assert "within 2 working days" in text


def test_at_most_six_sentences_are_quoted() -> None:
    """Many passages that fit do not make a long answer."""
    many = [{"n": n, "text": f"Parking in garage {n} costs {n} EUR a day for staff."} for n in range(1, 30)]
    quotation = asked(
        "What does parking cost a day? And what does a garage cost? Who pays for parking?", many
    )

    assert 1 <= len(quotation.text.splitlines()) <= 6


def test_near_duplicates_are_said_once() -> None:
    """The same sentence in two documents is quoted from one of them."""
    twice = [LEAVE, {**LEAVE, "n": 9, "source": "copy.md"}]
    text = asked("How many unused days can be carried over?", twice).text

    assert text.count("up to 5 unused days") == 1


@pytest.mark.parametrize(
    "question", ["Who won the football world cup?", "What is the boiling point of ethanol?"]
)
def test_what_is_not_in_the_sources_is_not_answered(question: str) -> None:
    """A question that has nothing to do with the evidence gets an honest sentence and a low confidence."""
    quotation = asked(question)

    assert quotation.text.startswith(NOTHING)
    assert quotation.confidence < 0.3


def test_what_is_only_near_is_called_so() -> None:
    """A passage that is near but does not answer is offered as the nearest one, on a line that cites it."""
    quotation = asked(
        "Which gym does the company pay for?", [REPAIR, {**HOTELS, "text": "The company pays for the train."}]
    )

    assert quotation.text.startswith(f"{NOTHING} The nearest passage: ")
    assert all(re.search(r"\[\d\]$", line) for line in quotation.text.splitlines())


def test_no_evidence_means_no_answer() -> None:
    """Without passages nothing is found."""
    assert asked("Anything?", []) == Quotation(text=NOTHING, confidence=0.0)


def test_marks_of_the_source_do_not_look_like_citations() -> None:
    """A source's own `[12]` is left out at the end of a sentence, and a sentence with one inside is not quoted."""
    text = "The tower was finished in 1889.[12] It is [3] 330 metres tall. The tower has 1,665 steps.[4][5]"
    quotation = asked(
        "When was the tower finished and how many steps does it have?", [{"n": 1, "text": text}]
    )

    assert set(re.findall(r"\[\d+\]", quotation.text)) == {"[1]"}
    assert "The tower was finished in 1889. [1]" in quotation.text.splitlines()


def test_evidence_is_found_in_results_of_tools() -> None:
    """Numbered passages in a tool's output count as evidence; a number that was given keeps its first passage."""
    output = json.dumps([{**HOTELS, "n": 7}, {**REPAIR, "n": 1}])
    passages = evidence_of(json.dumps({"material": {"evidence": [LEAVE]}}), [output, "no JSON", "null"])

    assert [(p.n, p.source) for p in passages] == [(1, "annual-leave.md"), (7, "travel.md")]
    assert "[7]" in quote("What may a hotel in Lisbon cost?", [output]).text


@pytest.mark.parametrize(
    ("document", "question"),
    [
        ({"note": "a long text that is not it at all", "question": "Why?"}, "Why?"),
        ({"id": "T-1", "subject": "Tent", "body": "It broke."}, "Tent\nIt broke."),
        ({"ticket": {"task": "Find it"}, "evidence": [{"n": 1, "text": "task"}]}, "Find it"),
        ({"a": "short", "b": "the longest string wins"}, "the longest string wins"),
    ],
)
def test_the_question_is_found_by_name_then_by_length(document: dict[str, Any], question: str) -> None:
    """Fields named like a question come first, then a message, then the longest text."""
    assert question_of(json.dumps(document)) == question


def test_plain_text_is_the_question() -> None:
    """What is no JSON is asked as it stands."""
    assert question_of("How long?") == "How long?"


def test_sentences_respect_abbreviations_and_references() -> None:
    """`e.g.`, `Dr.`, initials and decimal points end no sentence."""
    text = 'Ask Dr. Lauth, e.g. by mail. It costs 5.90 EUR. "Really?" See T. Brook (ext. 12). Done!'

    assert sentences(text) == [
        "Ask Dr. Lauth, e.g. by mail.",
        "It costs 5.90 EUR.",
        '"Really?"',
        "See T. Brook (ext. 12).",
        "Done!",
    ]


def test_tables_that_lost_their_bars_are_cut_into_entries() -> None:
    """Lines of a table from a PDF are quoted one by one, not run together."""
    text = "Hamburg 135 EUR\nBerlin 140 EUR\nLisbon 130 EUR\nDuring a trade fair the limit rises by 40 percent, if agreed."
    quotation = asked("What is the limit a night in Berlin?", [{**HOTELS, "n": 1, "text": text}])

    assert quotation.text.splitlines()[0] == "Hotel limits: Berlin 140 EUR [1]"


HANDBOOK_QUESTIONS = [
    json.loads(line) for line in (SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
]


def passages_of(source: str) -> list[str]:
    """The sections of a document in Markdown."""
    text = (SAMPLES / "handbook" / source).read_text(encoding="utf-8")
    return [section.strip() for section in re.split(r"\n(?=## )", text) if section.strip()]


def test_the_handbook_answers_its_questions() -> None:
    """From the sections of the right document at least 70 % of the sample questions' facts are quoted."""
    found: list[bool] = []
    for row in [r for r in HANDBOOK_QUESTIONS if r.get("source", "").endswith(".md")][::6]:
        evidence = [
            {"n": n, "text": text, "source": row["source"]}
            for n, text in enumerate(passages_of(row["source"]), 1)
        ]
        answer = folded(asked(row["question"], evidence).text.lower())
        found += [fact in answer for fact in row["answer_contains"]]

    assert sum(found) >= 0.7 * len(found)
