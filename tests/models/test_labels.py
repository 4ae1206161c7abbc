"""Labels by meaning: what is chosen, from which schemas, and how often it is right on the sample tickets."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from agentflow.models.embedded.labels import choose_labels, is_labels
from workflows.ticket_triage import CATEGORY, URGENCY

TICKETS = Path(__file__).parents[2] / "workflows" / "samples" / "tickets.jsonl"
Category = Literal["returns", "warranty", "shipping", "payment", "product", "account", "security", "other"]


class Triage(BaseModel):
    category: Annotated[Category, Field(description=CATEGORY)]
    urgency: Annotated[Literal["low", "normal", "high"], Field(description=URGENCY)]


class Mood(Enum):
    """How the writer feels. happy: this is wonderful, thank you so much; angry: this is a disgrace, I am furious"""

    HAPPY = "happy"
    ANGRY = "angry"


def schema_of(type_: Any) -> dict[str, Any]:
    return TypeAdapter(type_).json_schema()


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("My parcel has not arrived and the tracking shows nothing for a week.", "shipping"),
        ("The jacket is too small, can I swap it for a larger one or send it back?", "returns"),
        ("You charged my card two times for a single order.", "payment"),
        ("The zip of my tent tore on the first trip, I think this is a fault.", "warranty"),
        ("I forgot my password and cannot sign in.", "account"),
        ("Which size should I take if I am between two sizes?", "product"),
        ("Somebody logged in to my account and ordered things to another address!", "security"),
    ],
)
def test_a_plain_message_gets_its_category(text: str, category: str) -> None:
    """The label whose meaning is likest to the message is chosen."""
    assert choose_labels(schema_of(Triage), text).values["category"] == category


def test_the_sample_tickets_are_mostly_right() -> None:
    """On every third sample ticket at least 70 % of the categories and 40 % of the urgencies are as a person said."""
    tickets = [json.loads(line) for line in TICKETS.read_text(encoding="utf-8").splitlines()][::3]
    schema, right = schema_of(Triage), {"category": 0, "urgency": 0}
    for ticket in tickets:
        text = json.dumps({name: ticket[name] for name in ("id", "customer", "subject", "body")})
        values = choose_labels(schema, text).values
        right = {name: count + (values[name] == ticket[name]) for name, count in right.items()}

    assert right["category"] >= 0.70 * len(tickets)
    assert right["urgency"] >= 0.40 * len(tickets)


def test_the_confidence_is_a_probability_that_orders_the_choices() -> None:
    """A clear message is labelled more surely than one that says nothing."""
    clear = choose_labels(schema_of(Triage), "Where is my parcel? The tracking has shown nothing for weeks.")
    vague = choose_labels(schema_of(Triage), "Hello, it is about the thing.")

    assert 0 < vague.confidence < clear.confidence <= 1


def test_enums_references_and_nested_objects_are_filled() -> None:
    """Labels behind references, in objects inside the object, fixed values and optional ones all get a value."""

    class Inner(BaseModel):
        mood: Mood
        kind: Literal["mail"]

    class Outer(BaseModel):
        inner: Inner
        second: Mood | None = None

    values = choose_labels(schema_of(Outer), "I am furious, this is an absolute disgrace!").values

    assert values == {"inner": {"mood": "angry", "kind": "mail"}, "second": "angry"}
    Outer.model_validate(values)


def test_statements_are_true_only_with_a_clear_sign() -> None:
    """A boolean is true when the text says what its description says, else false."""

    class Flags(BaseModel):
        legal: bool = Field(description="True if the customer threatens with a lawyer or a court")

    said = choose_labels(schema_of(Flags), "If I hear nothing by Monday my lawyer will take you to court.")
    unsaid = choose_labels(schema_of(Flags), "Thank you for the quick delivery of the boots.")

    assert (said.values, unsaid.values) == ({"legal": True}, {"legal": False})


def test_meanings_may_stand_in_the_instructions() -> None:
    """Where the schema says nothing of its labels, the instructions' lines do."""
    schema = {"properties": {"queue": {"enum": ["a", "b"]}}}
    instructions = "Sort the message.\n- `a`: invoices, payments, money\n- `b`: parcels, delivery, tracking"

    assert choose_labels(schema, "My parcel is late.", instructions).values == {"queue": "b"}
    assert choose_labels(schema, "The invoice shows the wrong sum of money.", instructions).values == {
        "queue": "a"
    }


def test_numbers_and_bare_names_are_labels_too() -> None:
    """Labels without a meaning are told by their names; values keep their type."""
    schema = {"properties": {"topic": {"enum": ["sports", "cooking"]}, "stars": {"enum": [1, 5]}}}
    values = choose_labels(schema, "We won the football match in the last minute.").values

    assert values["topic"] == "sports"
    assert values["stars"] in (1, 5)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (schema_of(Triage), True),
        ({"properties": {"done": {"type": "boolean"}}}, True),
        ({"properties": {"text": {"type": "string"}}}, False),
        ({"properties": {"a": {"enum": ["x"]}, "why": {"type": "string"}}}, False),
        (
            {
                "properties": {"a": {"$ref": "#/$defs/A"}},
                "$defs": {"A": {"properties": {"n": {"type": "number"}}}},
            },
            False,
        ),
        ({"properties": {}}, False),
        ({"type": "string"}, False),
    ],
)
def test_only_schemas_of_labels_are_taken(schema: dict[str, Any], expected: bool) -> None:
    """Anything that must be written rather than chosen is no schema of labels."""
    assert is_labels(schema) is expected
