"""The embedded model: what it answers to which request, and what it says it cannot do."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from agentflow.evidence import Answer, Evidence, cite
from agentflow.exceptions import ModelCannot
from agentflow.models.embedded.brain import Exchange, Reply, ToolResult, respond
from agentflow.models.embedded.quoting import NOTHING
from agentflow.models.embedded.router import Offer
from agentflow.steps.planner import PlanTurn

EVIDENCE = [
    {
        "n": 4,
        "text": "Parcels to Norway take 4 to 7 days.",
        "source": "shipping.md",
        "place": "Times",
        "title": "Shipping",
    },
    {
        "n": 6,
        "text": "Gas canisters are never sent, by no carrier.",
        "source": "shipping.md",
        "place": "",
        "title": "",
    },
]
QUERY = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
OFFERS = (
    Offer(name="file_search", description="Find passages in the company's documents.", parameters=QUERY),
    Offer(
        name="web_search", description="Search the public web and return ranked passages.", parameters=QUERY
    ),
)


class Note(BaseModel):
    """A text that somebody must write."""

    title: str
    body: str


class Mood(BaseModel):
    mood: Literal["happy", "angry"] = Field(
        description="happy: thank you so much; angry: I am furious about this"
    )


class Program(BaseModel):
    code: str


def schema_of(type_: Any) -> dict[str, Any]:
    return TypeAdapter(type_).json_schema()


def asked(question: str, evidence: Any = EVIDENCE) -> str:
    return json.dumps({"question": question, "evidence": evidence})


def test_a_planning_turn_is_planned() -> None:
    """A request for a `PlanTurn` is answered with calls that fit the planner's type."""
    tools = [{"name": o.name, "description": o.description, "parameters": dict(o.parameters)} for o in OFFERS]
    request = {"task": "What do our documents say about parental leave?", "tools": tools, "observations": []}
    text = json.dumps({**request, "calls_left": 4, "rounds_left": 2})
    reply = respond(Exchange(text=text, schema=schema_of(PlanTurn)))
    turn = TypeAdapter(PlanTurn).validate_json(reply.text)

    assert "file_search" in [call.tool for call in turn.calls]
    assert reply.note == turn.thought
    assert reply.confidence is not None


def test_a_planning_turn_needs_json() -> None:
    """What is no JSON is refused with the reason."""
    with pytest.raises(ModelCannot, match="reads JSON"):
        respond(Exchange(text="plan something", schema={"title": "PlanTurn"}))


def test_labels_are_chosen() -> None:
    """A type of labels is filled, also while tools are on offer: they could not tell more."""
    text = json.dumps({"subject": "Broken again", "body": "I am furious, this is a disgrace!"})
    reply = respond(Exchange(text=text, schema=schema_of(Mood), offers=OFFERS))

    assert Mood.model_validate_json(reply.text).mood == "angry"
    assert reply.calls == ()


def test_programs_are_written() -> None:
    """A type that is nothing but code gets a program for the table's question."""
    columns = [
        {"name": "region", "type": "text", "samples": ["North"]},
        {"name": "revenue", "type": "number"},
    ]
    text = json.dumps(
        {"question": "revenue by region", "table": {"path": "x", "rows": 3, "columns": columns}}
    )
    reply = respond(Exchange(text=text, schema=schema_of(Program)))

    assert Program.model_validate_json(reply.text).code.rstrip().endswith("result")
    assert "Sum of revenue by region" in reply.note


def test_a_question_with_evidence_is_answered_by_quoting() -> None:
    """The passages' numbers stay, so that the caller can resolve the marks."""
    reply = respond(Exchange(text=asked("How long does a parcel to Norway take?")))

    assert reply.text.splitlines()[0] == "Parcels to Norway take 4 to 7 days. [4]"
    assert reply.note == "Quoted from 1 passage."


def test_tools_are_asked_first() -> None:
    """A question without evidence is routed to the tools on offer, with their arguments filled."""
    reply = respond(Exchange(text="What do our documents say about parental leave?", offers=OFFERS))

    assert "file_search" in [call.name for call in reply.calls]
    assert all("parental leave" in call.arguments["query"].lower() for call in reply.calls)
    assert reply.text == ""


def test_evidence_at_hand_is_not_searched_again() -> None:
    """Tools stay unused when the request brings its evidence."""
    reply = respond(Exchange(text=asked("How long does a parcel to Norway take?"), offers=OFFERS))

    assert reply.calls == ()
    assert "[4]" in reply.text


def test_results_of_tools_are_quoted() -> None:
    """After the tools answered with evidence, that is what is quoted, and no tool is asked again."""
    result = ToolResult(name="file_search", arguments="{}", output=json.dumps(EVIDENCE))
    reply = respond(Exchange(text="Do you send gas canisters?", offers=OFFERS, results=(result,)))

    assert reply.text == "Gas canisters are never sent, by no carrier. [6]"


def test_a_result_that_is_no_evidence_is_passed_on() -> None:
    """What a tool said is handed over as its words, an error included."""
    results = (
        ToolResult(name="clock", arguments="{}", output="It is noon."),
        ToolResult(name="x", arguments="{}", output="`x` failed"),
    )
    reply = respond(Exchange(text="What time is it?", results=results))

    assert reply.text == "`clock` answered: It is noon.\n`x` answered: `x` failed"


@pytest.mark.parametrize(
    "exchange",
    [
        Exchange(text=asked("How long?", [])),
        Exchange(
            text="How long?",
            offers=OFFERS,
            results=(ToolResult(name="web_search", arguments="{}", output="[]"),),
        ),
    ],
)
def test_an_empty_search_is_said_honestly(exchange: Exchange) -> None:
    """Where evidence was looked for and there is none, the answer is that nothing was found."""
    assert respond(exchange).text == NOTHING


def test_an_answer_as_an_object_cites_whole_passages() -> None:
    """Asked for an `Answer`, its marks count the citations from 1 as the type demands."""
    reply = respond(Exchange(text=asked("Do you send gas canisters?"), schema=schema_of(Answer)))
    answer = TypeAdapter(Answer).validate_json(reply.text)

    assert answer.text == "Gas canisters are never sent, by no carrier. [1]"
    assert [c.source for c in answer.citations] == ["shipping.md"]


def test_an_answer_object_may_cite_by_number() -> None:
    """Where citations are numbers, they are the numbers that the evidence came with."""
    schema = {
        "title": "Cited",
        "properties": {"answer": {"type": "string"}, "citations": {"items": {"type": "integer"}}},
    }
    value = json.loads(respond(Exchange(text=asked("Do you send gas canisters?"), schema=schema)).text)

    assert value == {"answer": "Gas canisters are never sent, by no carrier. [6]", "citations": [6]}


def test_the_framework_resolves_the_marks_of_a_quotation() -> None:
    """The framework's own `cite` finds each mark, and takes nothing in a quotation for one."""
    passages = [Evidence(text=str(e["text"]), source="shipping.md") for e in EVIDENCE]
    numbered = [{"n": n, "text": p.text} for n, p in enumerate(passages, 1)]
    answer = cite(respond(Exchange(text=asked("Do you send gas canisters?", numbered))).text, passages)

    assert answer == Answer(text="Gas canisters are never sent, by no carrier. [1]", citations=[passages[1]])


def test_types_that_must_be_written_are_refused() -> None:
    """Free text in a type needs a language model; the error names the type and the way on, before any tool runs."""
    with pytest.raises(ModelCannot, match="cannot write `Note`") as caught:
        respond(Exchange(text="Write a note about Norway.", schema=schema_of(Note), offers=OFFERS))

    assert caught.value.hint.startswith("connect a language model: set OPENAI_API_KEY or OPENAI_BASE_URL")


@pytest.mark.parametrize("offers", [(), OFFERS])
def test_free_talk_is_refused(offers: tuple[Offer, ...]) -> None:
    """A request that no tool serves and no evidence answers is refused rather than made up."""
    with pytest.raises(ModelCannot, match="no evidence to quote"):
        respond(Exchange(text="Write a cheerful poem about spring.", offers=offers))


def test_the_same_request_gets_the_same_reply() -> None:
    """The model is a pure function of what it is asked."""
    exchange = Exchange(text=asked("How long does a parcel to Norway take?"))
    replies: list[Reply] = [respond(exchange) for _ in range(2)]

    assert replies[0] == replies[1]


def test_importing_the_model_loads_no_numerics() -> None:
    """numpy and onnxruntime are loaded when they are first needed, not on import."""
    code = "import sys, agentflow.models.embedded.brain; print([m for m in ('numpy', 'onnxruntime', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
