"""Guardrails that know nothing of the SDK: made into its own, and what they say put on the record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, runtime_checkable

from agents import GuardrailFunctionOutput, InputGuardrail, OutputGuardrail

from agentflow.context import Operation, Outcome, effect
from agentflow.exceptions import ProjectError, ToolError
from agentflow.limits import TRANSIENT, wait_before
from agentflow.models.calls import jsonable

_RETRIES = 2


class Ruling(Protocol):
    """What a guard says of a text; `reason` tells why it is flagged."""

    @property
    def flagged(self) -> bool: ...

    @property
    def reason(self) -> str: ...


@runtime_checkable
class Guard(Protocol):
    """Judges what goes into an agent, or what comes out of it.

    A text that could not be judged because a tool failed counts as flagged. `on_failure="allow"` lets it pass where the
    failure is one that may pass by itself: a service that is down, too slow, or asked too often.
    """

    @property
    def name(self) -> str: ...

    @property
    def on_failure(self) -> Literal["refuse", "allow"]: ...

    async def __call__(self, text: str, /) -> Ruling: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A ruling as it is recorded; `failure` is why there is none."""

    flagged: bool
    reason: str = ""
    failure: str = ""
    ruling: Any = None


Within = Callable[[Coroutine[Any, Any, Judgement]], Awaitable[Judgement]]
"""Does the work of a guardrail as part of the agent that is at work."""


def input_guardrails(guards: Sequence[Any], within: Within) -> list[InputGuardrail[Any]]:
    """`guards` as the SDK takes them; ours are asked before the model is."""
    return [
        guard if isinstance(guard, InputGuardrail) else _before(_checked(guard), within) for guard in guards
    ]


def output_guardrails(guards: Sequence[Any], within: Within) -> list[OutputGuardrail[Any]]:
    """`guards` as the SDK takes them."""
    return [
        guard if isinstance(guard, OutputGuardrail) else _after(_checked(guard), within) for guard in guards
    ]


def _checked(guard: Any) -> Guard:
    if isinstance(guard, InputGuardrail | OutputGuardrail) or not isinstance(guard, Guard):
        raise ProjectError(
            f"`{getattr(guard, 'name', None) or type(guard).__name__}` is no guardrail that fits here",
            hint="give one of the SDK for this side, or an object with `name`, `on_failure` and an async call of a text",
        )

    return guard


def _before(guard: Guard, within: Within) -> InputGuardrail[Any]:
    async def judge(_: Any, __: Any, given: Any) -> GuardrailFunctionOutput:
        return _told(await within(_ruled(guard, "input", text_of(given))))

    # One after the other with the model: what is flagged costs no token, and the model never reads it.
    return InputGuardrail(guardrail_function=judge, name=guard.name, run_in_parallel=False)


def _after(guard: Guard, within: Within) -> OutputGuardrail[Any]:
    async def judge(_: Any, __: Any, given: Any) -> GuardrailFunctionOutput:
        return _told(await within(_ruled(guard, "output", text_of(given))))

    return OutputGuardrail(guardrail_function=judge, name=guard.name)


def _told(verdict: Judgement) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info=verdict.reason, tripwire_triggered=verdict.flagged)


async def _ruled(guard: Guard, side: str, text: str) -> Judgement:
    """What `guard` says of `text`, recorded as an operation of its own kind: it is no tool that a model could call."""

    async def work(record: Operation) -> Judgement:
        verdict = await _verdict(guard, text)
        record.result = jsonable(verdict)
        record.attributes["flagged"] = verdict.flagged
        if verdict.failure:
            record.attributes["failure"] = verdict.failure

        return verdict

    def restore(outcome: Outcome) -> Judgement:
        known = cast("dict[str, Any]", outcome.result.data if outcome.result is not None else {})
        return Judgement(**known)

    request = {"side": side, "text": text}
    return await effect("guardrail", guard.name, work, restore, request=request, on_failure=guard.on_failure)


async def _verdict(guard: Guard, text: str) -> Judgement:
    try:
        ruling = await _asked(guard, text)
    except ToolError as error:
        failure, hint = f"{type(error).__name__}: {error}", f" ({error.hint})" if error.hint else ""
        passes = guard.on_failure == "allow" and isinstance(error, TRANSIENT)
        return Judgement(
            flagged=not passes, reason=f"the text could not be judged: {failure}{hint}", failure=failure
        )

    return Judgement(flagged=ruling.flagged, reason=ruling.reason, ruling=jsonable(ruling))


async def _asked(guard: Guard, text: str) -> Ruling:
    """What `guard` says, asked again where it failed for a reason that may pass."""
    failures = 0
    while True:
        try:
            return await guard(text)
        except TRANSIENT as error:
            failures += 1
            wait = wait_before(failures, error)
            if failures > _RETRIES or wait is None:
                raise

            await asyncio.sleep(wait)


def text_of(given: Any) -> str:
    """What an agent was given or gave, as one text: messages by their content, other values as JSON."""
    if isinstance(given, str):
        return given

    return json.dumps(jsonable(given), ensure_ascii=False)
