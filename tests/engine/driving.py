"""Driving a runner by hand: take a run up, answer what it waits for."""

from __future__ import annotations

from collections.abc import Sequence

from agentflow.engine.recovery import recover
from agentflow.engine.runner import Runner
from agentflow.events import Event, RunResumed


def take_up(runner: Runner, events: Sequence[Event]) -> None:
    """Have `runner` go on where the events of a run end."""
    recover(runner, events)
    runner.post(RunResumed, model=runner.model, version="0")


def approve_all(runner: Runner) -> None:
    """Say yes to all that a run waits for."""
    if runner.state.status == "waiting":
        runner.post(RunResumed, model=runner.model, version="0")

    for about in runner.waiting():
        runner.decide(about.activation.id, about.digest, approved=True, by="test")


def seconds_left(runner: Runner) -> float:
    """What the run's budget of minutes has left."""
    return next(left for visit, _, left in runner.account.timed() if not visit)
