"""The tool calls of an agent: recorded, and told to the model whatever came of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar, cast

from agentflow.context import Operation, Outcome, effect
from agentflow.evidence import Evidence, numbered
from agentflow.exceptions import (
    AgentflowError,
    BudgetExhausted,
    CallRefused,
    EffectInDoubt,
    JournalError,
    RunCancelled,
    RunRejected,
    RunWaiting,
    ToolArgumentsInvalid,
    ToolError,
    ToolUnchecked,
)
from agentflow.marking import marked
from agentflow.models.turn import Turn
from agentflow.tools import Call, Tool, call, made

E = TypeVar("E", bound=Exception)
_MOST_SHOWN = 30_000  # characters of a result, where its tool does not say

# A model must not get to talk its way around these: they end the step.
STOPS = (
    BudgetExhausted,
    EffectInDoubt,
    ToolUnchecked,
    RunCancelled,
    RunRejected,
    RunWaiting,
    JournalError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One call that a model asked for; `raw` is what it wrote as arguments.

    `foreign` does the work of a tool that is not ours, whose result is for the SDK to show.
    """

    tool: Tool[..., Any]
    call_id: str
    raw: str
    foreign: Callable[[], Awaitable[Any]] | None = None


class Calls:
    """The calls of one agent and of those it hands over to: their evidence carries running numbers."""

    def __init__(self, first_number: int, mark: str) -> None:
        self.mark = mark
        self.evidence: list[Evidence] = []
        self.stopped_by: Exception | None = None
        self.turn = Turn()
        self._first_number = first_number

    def begin_turn(self, call_ids: list[str]) -> None:
        """A model asked for these calls at once."""
        self.turn = Turn(call_ids, told=len(self.evidence))

    def below(self) -> Calls:
        """The calls of an agent that is called in this turn: its numbers go on from before the turn."""
        return Calls(self._first_number + self.turn.told, self.mark)

    async def use(self, use: Use) -> Any:
        """Do a call and return what the model shall read of it; only what ends the step is raised."""
        turn = self.turn
        with turn.begun(use.call_id):
            try:
                value = await _done(use)
            except Exception as error:  # noqa: BLE001 - whatever broke in a tool is told to the model
                if isinstance(error, STOPS):
                    raise self.stopping(error) from None

                text = told(use.tool.name, error)
                return text if isinstance(error, CallRefused) else self._as_said(use.tool, text)

            await turn.reached(use.call_id)
            return self.shown(value, use.tool) if use.foreign is None else self._as_foreign(value)

    def _as_foreign(self, value: Any) -> Any:
        """What a tool that is not ours gave, in the SDK's own shapes: its texts are marked like all from outside."""
        match value:
            case str():
                return marked(value, self.mark)
            case list():
                return [self._as_foreign(item) for item in value]
            case {"text": str(text), **rest}:
                return {**rest, "text": marked(text, self.mark)}
            case _:
                return value

    def _as_said(self, tool: Tool[..., Any], text: str) -> str:
        """What a tool said; also an error can be in the words of a page or a server."""
        return marked(text, self.mark) if tool.returns == "untrusted" else text

    def stopping(self, error: E) -> E:
        """Remember what ends the step: the SDK passes on its own words for it instead."""
        self.stopped_by = self.stopped_by or error
        return error

    def shown(self, value: Any, tool: Tool[..., Any] | None = None) -> str:
        """`value`, which `tool` or an agent gave, as the model reads it; evidence gets its numbers here."""
        most = _MOST_SHOWN if tool is None or tool.max_output is None else tool.max_output
        passages = _passages(value)
        text = self._numbered(passages, most) if passages else shortened(as_text(value), most)
        return text if tool is None else self._as_said(tool, text)

    def _numbered(self, passages: list[Evidence], most: int) -> str:
        """As many of `passages` as fit into `most` characters, but at least one."""
        first = self._first_number + len(self.evidence)
        lines = [json.dumps(item, ensure_ascii=False) for item in numbered(passages, first)]
        lengths = accumulate(len(line) + 2 for line in lines)
        count = max(1, sum(length <= most for length in lengths))
        self.evidence += passages[:count]
        return f"[{', '.join(lines[:count])}]"

    def take_over(self, below: Calls, answer: Any = "") -> Any:
        """Add the evidence of an agent that was called; its answer with marks that fit the new numbers comes back."""
        by = self._first_number + len(self.evidence) - below._first_number
        numbers = range(below._first_number, below._first_number + len(below.evidence))
        self.evidence += below.evidence
        return _moved(answer, numbers, by) if by and numbers else answer


async def _done(use: Use) -> Any:
    try:
        arguments = _arguments(use)
    except ToolError as fault:
        return await _not_made(use, fault)

    if use.foreign is None:
        return await call(use.tool, arguments, call_id=use.call_id)

    return await _foreign(use, arguments, use.foreign)


async def _not_made(use: Use, fault: ToolError) -> None:
    """Leave a record of a call that was asked for and cannot be made."""

    async def work(_: Operation) -> None:
        raise fault

    def restore(_: Outcome) -> None:
        raise fault

    await effect("tool", use.tool.name, work, restore, request=use.raw, **_labels(use))


async def _foreign(use: Use, arguments: dict[str, Any], call_it: Callable[[], Awaitable[Any]]) -> Any:
    async def work(record: Operation) -> Any:
        value = record.result = jsonable(await call_it())
        return value

    def restore(outcome: Outcome) -> Any:
        return None if outcome.result is None else outcome.result.data

    return await made(Call(tool=use.tool, arguments=arguments, id=use.call_id), work, restore)


def _labels(use: Use) -> dict[str, Any]:
    return {"call_id": use.call_id, "effect": use.tool.effect, "returns": use.tool.returns}


def _arguments(use: Use) -> dict[str, Any]:
    try:
        arguments = json.loads(use.raw or "{}")
    except ValueError as error:
        raise ToolArgumentsInvalid(f"the arguments of `{use.tool.name}` are not JSON: {error}") from None

    if not isinstance(arguments, dict):
        raise ToolArgumentsInvalid(f"the arguments of `{use.tool.name}` are not a JSON object")

    return cast("dict[str, Any]", arguments)


def as_text(value: Any) -> str:
    """A tool's result as text."""
    if isinstance(value, str):
        return value

    return json.dumps(jsonable(ordered(value)), ensure_ascii=False)


def ordered(value: Any) -> Any:
    """`value`, a set as a list: its order is another one in each process."""
    return sorted(value, key=str) if isinstance(value, set | frozenset) else value


def shortened(text: str, most: int) -> str:
    """The beginning of a text that is longer than `most` characters, with what it was cut from."""
    if len(text) <= most:
        return text

    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{text[:most]} ... (the first {most:,} of {len(text):,} characters; sha256:{digest[:12]})"


def _passages(value: Any) -> list[Evidence]:
    values: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    return values if all(isinstance(item, Evidence) for item in values) else []


_MARK = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")


def _moved(answer: Any, numbers: range, by: int) -> Any:
    """`answer` with `by` added to each of its marks, such as [2], that is one of `numbers`."""
    if not isinstance(answer, str):
        return _moved_within(jsonable(answer), numbers, by)

    def move(match: re.Match[str]) -> str:
        marks = [int(number) for number in match[1].split(",")]
        return f"[{', '.join(str(mark + by if mark in numbers else mark) for mark in marks)}]"

    return _MARK.sub(move, answer)


def _moved_within(data: Any, numbers: range, by: int) -> Any:
    match data:
        case str():
            return _moved(data, numbers, by)
        case list():
            return [_moved_within(item, numbers, by) for item in data]
        case dict():
            known = cast("dict[str, Any]", data)
            return {name: _moved_within(item, numbers, by) for name, item in known.items()}
        case _:
            return data


def told(name: str, error: Exception) -> str:
    """A failure in words for the model: what a tool says itself, or what broke in it."""
    text = str(error) if isinstance(error, ToolError) else f"`{name}` failed: {type(error).__name__}: {error}"
    hint = error.hint if isinstance(error, AgentflowError) else ""
    return f"{text}\nhint: {hint}" if hint else text


def jsonable(value: Any) -> Any:
    """`value` as plain JSON data; what JSON does not know becomes text."""
    # Imported here: pydantic is heavy, and this module is light.
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, bytes_mode="base64", serialize_unknown=True)


def all_required(schema: Mapping[str, Any]) -> bool:
    """Whether each object in `schema` requires all its properties: its strict form then accepts the same."""
    optional = set(schema.get("properties", {})) - set(schema.get("required", []))
    closed = not schema.get("additionalProperties")
    return closed and not optional and all(map(all_required, _parts(schema)))


def _parts(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    named = [part for key in ("properties", "$defs") for part in schema.get(key, {}).values()]
    listed = [part for key in ("anyOf", "oneOf", "allOf") for part in schema.get(key, [])]
    return [part for part in [*named, *listed, schema.get("items")] if isinstance(part, dict)]
