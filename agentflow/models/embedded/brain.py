"""The embedded model: what it can say without a language model, and a clear refusal of everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentflow.exceptions import ModelCannot
from agentflow.models.embedded.labels import choose_labels, is_labels
from agentflow.models.embedded.passages import evidence_of, holds_no_evidence, question_of
from agentflow.models.embedded.planning import plan_turn
from agentflow.models.embedded.quoting import NOTHING, Quotation, quote
from agentflow.models.embedded.recipes import write_program
from agentflow.models.embedded.router import Offer

HINT = "connect a language model: set OPENAI_API_KEY or OPENAI_BASE_URL, or pass --model"
_MOST_CALLS = 4  # asked for in one turn of an agent
_SHOWN = 600  # characters that are passed on of a result that is no evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool answered; `arguments` is JSON."""

    name: str
    arguments: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What a model is asked: instructions, text, the JSON Schema of the answer, tools on offer, results so far."""

    system: str = ""
    text: str
    schema: Mapping[str, Any] | None = None
    offers: tuple[Offer, ...] = ()
    results: tuple[ToolResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRequest:
    """A call that the model wants made."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A text, or calls to be made first; `note` says how it came about."""

    text: str
    calls: tuple[ToolRequest, ...] = ()
    confidence: float | None = None
    note: str = ""


def respond(exchange: Exchange) -> Reply:
    """The reply to `exchange`; raises `ModelCannot` for what only a language model can write."""
    schema = exchange.schema
    if schema is not None and schema.get("title") == "PlanTurn":
        return _plan(exchange)

    if schema is not None and is_labels(schema):
        return _label(exchange, schema)

    if schema is not None and _is_program(schema):
        return _program(exchange, schema)

    if schema is not None and _answer_field(schema) is None:
        raise _cannot(f"`{schema.get('title', 'this type')}`")

    return _call(exchange) or _answer(exchange)


def _cannot(what: str) -> ModelCannot:
    return ModelCannot(
        f"the embedded model cannot write {what}: it plans, chooses labels, quotes evidence and computes tables",
        hint=HINT,
    )


def _plan(exchange: Exchange) -> Reply:
    try:
        request = json.loads(exchange.text)
    except ValueError as error:
        raise ModelCannot(f"the embedded planner reads JSON, and this is none: {error}", hint=HINT) from None

    turn = plan_turn(request)
    return Reply(text=json.dumps(turn, ensure_ascii=False), confidence=_sureness(turn), note=turn["thought"])


def _sureness(turn: Mapping[str, Any]) -> float | None:
    return min((call["confidence"] for call in turn["calls"]), default=None)


def _label(exchange: Exchange, schema: Mapping[str, Any]) -> Reply:
    labels = choose_labels(schema, exchange.text, exchange.system)
    text = json.dumps(labels.values, ensure_ascii=False)
    return Reply(
        text=text,
        confidence=labels.confidence,
        note="Each label was chosen by its meaning's likeness to the text.",
    )


def _is_program(schema: Mapping[str, Any]) -> bool:
    names = set(schema.get("properties", {}))
    return names == {"code"} or (schema.get("title") == "Program" and "code" in names)


def _program(exchange: Exchange, schema: Mapping[str, Any]) -> Reply:
    recipe = write_program(exchange.text)
    others = {name: recipe.title for name in schema["properties"] if name != "code"}
    text = json.dumps({"code": recipe.code, **others}, ensure_ascii=False)
    return Reply(
        text=text, confidence=recipe.confidence, note=f"The program is a recipe for: {recipe.title}."
    )


def _call(exchange: Exchange) -> Reply | None:
    """The calls that the request needs before it can be answered; later parts of a chain are left out."""
    if not exchange.offers or exchange.results or evidence_of(exchange.text):
        return None

    tools = [
        {"name": o.name, "description": o.description, "parameters": dict(o.parameters)}
        for o in exchange.offers
    ]
    task = question_of(exchange.text)
    turn = plan_turn(
        {"task": task, "tools": tools, "observations": [], "calls_left": _MOST_CALLS, "rounds_left": 1}
    )
    calls = tuple(
        ToolRequest(name=call["tool"], arguments=json.loads(call["arguments"]))
        for call in turn["calls"]
        if not call["after"]
    )
    return Reply(text="", calls=calls, confidence=_sureness(turn), note=turn["thought"]) if calls else None


def _answer(exchange: Exchange) -> Reply:
    outputs = [result.output for result in exchange.results]
    if evidence_of(exchange.text, outputs):
        quotation = quote(exchange.text, outputs)
        count = len(quotation.cited)
        note = f"Quoted from {count} passage{'' if count == 1 else 's'}."
    elif any(holds_no_evidence(text) for text in (exchange.text, *outputs)):
        quotation, note = Quotation(text=NOTHING, confidence=0.0), "There was no evidence to quote."
    elif exchange.results:
        quotation, note = _passed_on(exchange.results), "The results are passed on as they came."
    else:
        raise _cannot("an answer of its own, and there is no evidence to quote")

    text = _shaped(quotation, exchange.schema) if exchange.schema is not None else quotation.text
    return Reply(text=text, confidence=quotation.confidence, note=note)


def _passed_on(results: tuple[ToolResult, ...]) -> Quotation:
    lines = [f"`{r.name}` answered: {' '.join(r.output.split())[:_SHOWN]}" for r in results]
    return Quotation(text="\n".join(lines), confidence=0.5)


def _answer_field(schema: Mapping[str, Any]) -> str | None:
    """The field for the text, if `schema` is an answer: a text and perhaps its citations."""
    properties = schema.get("properties", {})
    name = next((n for n in ("text", "answer") if properties.get(n, {}).get("type") == "string"), None)
    return name if name and set(properties) <= {name, "citations"} else None


def _shaped(quotation: Quotation, schema: Mapping[str, Any]) -> str:
    """The quotation as JSON; where citations are whole passages, its marks count them from 1."""
    value: dict[str, Any] = {_answer_field(schema) or "text": quotation.text}
    if "citations" in schema["properties"]:
        numbers = [passage.n for passage in quotation.cited]
        if schema["properties"]["citations"].get("items", {}).get("type") == "integer":
            value["citations"] = numbers
        else:
            value = {name: _renumbered(text, numbers) for name, text in value.items()}
            value["citations"] = [{k: v for k, v in p.raw.items() if k != "n"} for p in quotation.cited]

    return json.dumps(value, ensure_ascii=False)


def _renumbered(text: str, numbers: list[int]) -> str:
    places = {n: place for place, n in enumerate(numbers, start=1)}
    return re.sub(r" \[(\d+)\]$", lambda m: f" [{places.get(int(m[1]), m[1])}]", text, flags=re.MULTILINE)
