"""Doing the work of one activation: its context, its time limit, and what its outcome is worth."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from agentflow.context import Context, entered
from agentflow.engine.graph import Work
from agentflow.engine.notices import error_info
from agentflow.engine.state import Activation
from agentflow.engine.writing import written
from agentflow.events import OperationDoubted, StepFailed, StepFinished
from agentflow.exceptions import BudgetExhausted, EffectInDoubt, RunError, StepTimeout
from agentflow.typeref import is_instance, short_name, type_name

if TYPE_CHECKING:
    from agentflow.engine.recorder import StepRecorder
    from agentflow.engine.runner import Runner

# Errors that another attempt cannot mend.
FINAL = ("BudgetExhausted", "OutputInvalid", "ModelCannot", "DefinitionError", "MissingExtra")


async def execute(runner: Runner, activation: Activation) -> None:
    """Do the work of an activation; how it ended is posted as an event."""
    work = runner.work_of(activation)
    attempt = activation.attempt
    recorder = runner.recorder_of(activation)
    context = Context(
        run_id=runner.run_id,
        step=activation.id,
        attempt=attempt,
        input=runner.input,
        model=runner.model,
        root=runner.root,
        recorder=recorder,
    )
    try:
        with entered(context):
            scope = runner.scope(activation.id, attempt) if runner.scope is not None else None
            doing = work.execute(activation.input.value(work.takes), context)
            if work.timeout is not None:
                doing = _within(work.timeout, doing, recorder)

            result = await (doing if scope is None else _in(scope, doing))
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            raise

        # Something inside of the step was cancelled, and the step did not handle it.
        _failed(runner, activation, error)
        return
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a step raises becomes an event, also SystemExit
        if runner.broken is not None:
            raise runner.broken from None

        _failed(runner, activation, error)
        return
    finally:
        recorder.close()

    if runner.state.active.get(activation.id, activation).doubts:
        _doubted(runner, activation)  # it went on although nobody knows what became of a call
        return

    _ended(runner, activation, work, result)


def _ended(runner: Runner, activation: Activation, work: Work, result: Any) -> None:
    if work.accepts is not None and not isinstance(result, work.accepts):
        what = f"it gave a `{type(result).__name__}`, and its type says `{short_name(type_name(work.gives))}`"
        _failed(runner, activation, TypeError(what), kind="OutputInvalid")
        return

    try:
        output = written(result, "its output")
    except RunError as error:
        _failed(runner, activation, error, kind="OutputInvalid")
        return

    case = matching(work, result) if work.case_types and activation.item is None else None
    runner.post(StepFinished, step=activation.id, output=output, case=case)


async def _in(scope: AbstractContextManager[None], work: Awaitable[Any]) -> Any:
    with scope:
        return await work


async def _within(seconds: float, work: Awaitable[Any], recorder: StepRecorder) -> Any:
    limit = recorder.limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise

        raise StepTimeout(f"it took longer than its {seconds:g} s") from None


def _failed(runner: Runner, activation: Activation, error: BaseException, *, kind: str = "") -> None:
    runner.causes[activation.id] = error
    if isinstance(error, EffectInDoubt):
        _doubted(runner, activation)
        return

    info = error_info(error, kind=kind)
    final = info.kind in FINAL or isinstance(error, BudgetExhausted)
    # The random share of a retry's wait is drawn here, so that the reducer needs no randomness.
    chance = random.random()  # noqa: S311 - jitter, not a secret
    runner.post(StepFailed, step=activation.id, error=info, final=final, chance=chance)


def _doubted(runner: Runner, activation: Activation) -> None:
    known = runner.state.active.get(activation.id, activation)
    for doubt in known.doubts:
        runner.post(OperationDoubted, step=known.id, operation=doubt.operation, name=doubt.name)


def matching(work: Work, value: Any) -> str | None:
    """The case that an output is of, among those that edges name; its own class goes first."""
    kind = type(value)
    for name, case in work.case_types:
        if kind is case:
            return name

    return next((name for name, case in work.case_types if is_instance(value, case)), None)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
