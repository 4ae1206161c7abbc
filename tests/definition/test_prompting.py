"""Prompts and inputs as text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agentflow import Evidence
from agentflow.exceptions import DefinitionError
from agentflow.places import Place
from agentflow.steps.prompting import (
    field_names,
    fill,
    fillable,
    input_text,
    load_prompt,
    placeholders,
    task_text,
)
from tests.definition.sound import Again, Euro, Point, Row
from tests.definition.stock import Note, Notes, Question
from tests.naming import named


class Model(BaseModel):
    """A pydantic model."""

    question: str
    depth: int = 1


@dataclass(frozen=True, kw_only=True)
class Found:
    """A question with evidence in it."""

    question: str
    evidence: list[Evidence]
    more: Evidence | None = None


def test_placeholders_are_found_once() -> None:
    """Names in single braces count, each once; doubled braces and other braces do not."""
    assert placeholders('{a} {b} {a} {{c}} { d } {"e": 1} {}') == ["a", "b"]


def test_a_prompt_is_filled_from_fields() -> None:
    """`{field}` becomes the field, text as it is and anything else as JSON; what is no field stays."""
    notes = Notes(notes=[Note(text="x")])

    assert fill("Ask {text}: {other}", Question(text="why?")) == "Ask why?: {other}"
    assert json.loads(fill("{notes}", notes)) == [{"text": "x"}]
    assert fill("Ask {text}", "why?") == "Ask why?"
    assert fill("{question} {depth}", Model(question="q")) == "q 1"
    assert fill("{number}", {"number": 3}) == "3"


def test_doubled_braces_become_plain_ones() -> None:
    """`{{name}}` in a prompt is `{name}` for the model, also where there is such a field; braces in values stay."""
    assert fill("{{text}} is {text}", "{text} {{text}}") == "{text} is {text} {{text}}"
    assert fill('{"a": {"b": 1}}', "") == '{"a": {"b": 1}}'


@pytest.mark.parametrize(
    ("type_", "names"),
    [
        (str, {"text"}),
        (Question, {"text"}),
        (Model, {"question", "depth"}),
        (Row, {"number"}),
        (Point, {"x", "y"}),
        (int, None),
        (list[str], None),
        (dict[str, str], None),
        (Any, None),
    ],
    ids=named,
)
def test_what_a_prompt_may_name(type_: Any, names: set[str] | None) -> None:
    """The fields of a type are known for text and classes with annotations, and for nothing else."""
    found = field_names(type_)

    assert found is None if names is None else found is not None and found >= names


@pytest.mark.parametrize(
    ("type_", "names"),
    [
        (str, {"text"}),
        (Question, {"text"}),
        (Model, {"question", "depth"}),
        (Row, {"number"}),
        (Point, {"x", "y"}),
        (Question | Again | None, {"text", "number"}),
        (int, set[str]()),
        (Euro, set[str]()),
        (list[Question], set[str]()),
        (dict[str, str], None),
        (Any, None),
        (Question | Any, None),
        (object, None),
    ],
    ids=named,
)
def test_what_a_prompt_is_filled_with(type_: Any, names: set[str] | None) -> None:
    """Exactly the fields that values of a type have; nothing is known of mappings and of types that say nothing."""
    assert fillable(type_) == names


def test_a_named_tuple_fills_a_prompt() -> None:
    """Its fields are fields like those of a dataclass."""
    assert fill("{x} and {y}", Point(1, 2)) == "1 and 2"


def test_the_task_in_a_value() -> None:
    """The field that is named like a request comes first, then the others by name; what is empty is left out."""
    found = Found(question="why?", evidence=[])

    assert task_text("why?") == "why?"
    assert task_text(Question(text="why?")) == "why?"
    assert task_text(found) == "why?"
    assert task_text(Model(question="why?", depth=3)) == "why?\ndepth: 3"
    assert task_text(7) == "7"


def test_evidence_is_numbered_through_a_value() -> None:
    """Evidence anywhere in a value is numbered from 1 in order."""
    first, second = Evidence(text="a", source="x"), Evidence(text="b", source="y")
    told = json.loads(input_text(Found(question="q", evidence=[first], more=second)))

    assert [told["evidence"][0]["n"], told["more"]["n"]] == [1, 2]
    assert input_text("as it is") == "as it is"


def test_a_sentence_that_ends_like_a_file_is_text(tmp_path: Path) -> None:
    """A prompt that ends in `.md` is a file where one is there, text where it is a sentence, and else a clear error."""
    place = Place(str(tmp_path / "flow.py"), 3)
    sentence = "Sum up what stands in notes.md"
    assert load_prompt("ask", sentence, place) == sentence
    assert load_prompt("ask", f"{'x' * 300}.md", place) == f"{'x' * 300}.md"
    assert load_prompt("ask", "{text}.md", place) == "{text}.md"

    (tmp_path / "my own words.md").write_text("Write it.")
    assert load_prompt("ask", "my own words.md", place) == "Write it."
    for name in ("write.md", "prompts/write.md", "my words.md"):
        with pytest.raises(DefinitionError, match="is not there") as missing:
            load_prompt("ask", name, place)

        assert "end it with a full stop" in missing.value.problems[0].hint


def test_a_prompt_that_is_no_text_is_told(tmp_path: Path) -> None:
    """A file that cannot be read as text is a problem of its step, not a traceback."""
    (tmp_path / "write.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DefinitionError, match="cannot be read"):
        load_prompt("ask", "write.md", Place(str(tmp_path / "flow.py"), 3))
