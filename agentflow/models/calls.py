"""The tool calls of an agent: approved, recorded, and told to the model whatever came of them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from agentflow.context import operation
from agentflow.evidence import Evidence, numbered
from agentflow.exceptions import (
    AgentflowError,
    BudgetExhausted,
    JournalError,
    RunCancelled,
    RunRejected,
    RunWaiting,
    ToolArgumentsInvalid,
    ToolError,
)
from agentflow.tools import Tool, call

Approve = Callable[[Tool[..., Any], dict[str, Any]], Awaitable[bool]]
E = TypeVar("E", bound=Exception)

# A model must not get to talk its way around these: they end the run.
STOPS = (BudgetExhausted, RunCancelled, RunRejected, RunWaiting, JournalError)


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
    """The calls of one agent run and of the agents under it: their evidence carries running numbers."""

    def __init__(self, approve: Approve | None, first_number: int) -> None:
        self.evidence: list[Evidence] = []
        self.stopped_by: Exception | None = None
        self._approve = approve
        self._first_number = first_number

    async def use(self, use: Use) -> Any:
        """Do a call and return what the model shall read of it; only what ends the run is raised."""
        try:
            value = await self._done(use)
        except Exception as error:  # noqa: BLE001 - whatever broke in a tool is told to the model
            if isinstance(error, STOPS) or error is self.stopped_by:
                raise self.stopping(error) from None

            return told(use.tool.name, error)

        return self.shown(value) if use.foreign is None else value

    def stopping(self, error: E) -> E:
        """Remember what ends the run: the SDK passes on its own words for it instead."""
        self.stopped_by = self.stopped_by or error
        return error

    def shown(self, value: Any) -> str:
        """`value` as the model reads it; evidence gets its numbers here."""
        if isinstance(value, str):
            return value

        passages = _passages(value)
        data = numbered(passages, self._first_number + len(self.evidence)) if passages else jsonable(value)
        self.evidence += passages
        return json.dumps(data, ensure_ascii=False)

    async def _done(self, use: Use) -> Any:
        arguments, fault = await self._judged(use)
        if fault is not None:
            return await _not_made(use, fault)

        if use.foreign is not None:
            return await _foreign(use, arguments, use.foreign)

        return await call(use.tool, arguments, call_id=use.call_id)

    async def _judged(self, use: Use) -> tuple[dict[str, Any], ToolError | None]:
        """The arguments, and why the call must not be made, if there is a reason."""
        try:
            arguments = _arguments(use)
            if use.tool.needs_approval:
                await self._approved(use, arguments)
        except ToolError as fault:
            return {}, fault

        return arguments, None

    async def _approved(self, use: Use, arguments: dict[str, Any]) -> None:
        """Raises `ToolError` unless a person approves; nobody is asked about a call that could not be made."""
        name = use.tool.name
        if use.foreign is None:
            use.tool.validate(arguments)

        if self._approve is None:
            raise ToolError(
                f"`{name}` needs the approval of a person, and nobody can be asked here",
                hint="answer without it, and say what should be done",
            )

        if not await self._decided(self._approve(use.tool, arguments)):
            raise ToolError(f"a person refused this call of `{name}`")

    async def _decided(self, decision: Awaitable[bool]) -> bool:
        try:
            return await decision
        except Exception as error:  # noqa: BLE001 - raised again, once noted
            raise self.stopping(error) from None


async def _not_made(use: Use, fault: ToolError) -> None:
    """Leave a record of a call that was asked for and not made."""
    async with operation("tool", use.tool.name, request=use.raw, **_labels(use)):
        raise fault


async def _foreign(use: Use, arguments: dict[str, Any], work: Callable[[], Awaitable[Any]]) -> Any:
    async with operation("tool", use.tool.name, request=arguments, **_labels(use)) as record:
        value = await work()
        record.result = jsonable(value)

    return value


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


def _passages(value: Any) -> list[Evidence]:
    values: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    return values if all(isinstance(item, Evidence) for item in values) else []


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
