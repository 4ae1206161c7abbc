"""What each command of the reducer comes to: another event, a step to launch, or a timer."""

from __future__ import annotations

import asyncio
from types import GenericAlias
from typing import TYPE_CHECKING

from agentflow.engine.execution import matching
from agentflow.engine.state import (
    Activation,
    Ask,
    Begin,
    Command,
    Complete,
    Doubted,
    End,
    Execute,
    Expand,
    Fail,
    Refuse,
    Sleep,
    Tell,
    Watch,
)
from agentflow.events import (
    ApprovalAsked,
    ErrorInfo,
    MapExpanded,
    OperationDoubted,
    Payload,
    RunFailed,
    RunFinished,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerFired,
    TimerSet,
)
from agentflow.steps.approval import Rejected, subject_digest
from agentflow.validation import REJECTED

if TYPE_CHECKING:
    from agentflow.engine.committing import Committing


def carry_out(runner: Committing, command: Command) -> None:  # noqa: C901 - one flat case a command
    """Post the event that a command asks for, or put it where the drive finds it."""
    match command:
        case Begin(activation):
            runner.follow(StepStarted, step=activation.id, attempt=activation.attempt + 1)
        case Execute(activation):
            runner.launch.append(activation)
        case Complete(activation, output):
            runner.follow(StepFinished, step=activation.id, case=_case(runner, activation, output))
        case End(output):
            runner.follow(RunFinished, output=output)
        case Fail(step, error):
            _fail(runner, step, error)
        case Expand(activation):
            _expand(runner, activation)
        case Sleep(activation, wait, since):
            runner.follow(TimerSet, step=activation.id, due=(since or runner.clock()) + wait)
        case Watch(activation):
            _watch(runner, activation)
        case Ask(activation):
            digest = subject_digest(activation.input.json)
            prompt = str(activation.node.options.get("prompt", ""))
            runner.follow(ApprovalAsked, step=activation.id, digest=digest, prompt=prompt)
        case Tell(activation, question):
            runner.people.tell(activation.id, question)
        case Doubted(activation, doubt):
            runner.follow(OperationDoubted, step=activation.id, operation=doubt.operation, name=doubt.name)
        case Refuse(activation, by, comment):
            _refuse(runner, activation, by, comment)


def _fail(runner: Committing, step: str, error: ErrorInfo) -> None:
    """End the run; where only a budget is used up, what was paid for already comes to its end first."""
    if error.kind != "BudgetExhausted":
        runner.follow(RunFailed, step=step, error=error)
        return

    runner.account.is_closed = True
    runner.ending = runner.ending or (step, error)
    runner.wake()


def _expand(runner: Committing, activation: Activation) -> None:
    try:
        count = len(activation.input.items())
    except TypeError:
        what = f"`{activation.node.id}` maps over a list and was given `{activation.input!r}`"
        runner.follow(
            StepFailed, step=activation.id, error=ErrorInfo(kind="TypeError", message=what), final=True
        )
        return

    runner.follow(MapExpanded, step=activation.id, count=count)


def _watch(runner: Committing, activation: Activation) -> None:
    def fire() -> None:
        runner.timers.pop(activation.id, None)
        runner.post(TimerFired, step=activation.id)

    delay = max(0.0, (activation.due - runner.clock()) / 1e9)
    runner.timers[activation.id] = asyncio.get_running_loop().call_later(delay, fire)


def _refuse(runner: Committing, activation: Activation, by: str, comment: str) -> None:
    if activation.item is None and any(out.on == REJECTED for out in activation.node.by_case):
        output = Payload(Rejected(by=by, comment=comment))
        runner.follow(StepFinished, step=activation.id, output=output, case=REJECTED)
        return

    what = f"`{activation.node.id}` was refused by {by}" + (f": {comment}" if comment else "")
    runner.follow(RunFailed, step=activation.id, error=ErrorInfo(kind="RunRejected", message=what))


def _case(runner: Committing, activation: Activation, output: Payload) -> str | None:
    if not activation.node.by_case or activation.item is not None:
        return None

    work = runner.work_of(activation)
    gives = work.gives if activation.node.map is None else GenericAlias(list, (work.gives,))
    return matching(work, output.value(gives))
