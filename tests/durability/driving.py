"""One process's part in a run: begin it or take it up, and answer what is asked, until it is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentflow import Decision, Pending, Result, Run, Settings, Workflow, resume, run
from agentflow.events import Event, OperationStarted
from agentflow.journal import Journal
from tests.durability.effects import Log

OVER = frozenset({"run.finished", "run.failed", "run.cancelled"})
# What became of a call in doubt: whether it was done, and what it gave.
Found = tuple[bool, Any]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A run under test: what is run, on what, in which folder, and how it is found out whether a call was made."""

    workflow: Workflow[Any, Any]
    value: Any
    folder: Path
    run_id: str = "run"
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    found: Callable[[Path, OperationStarted], Found] | None = None

    def settings_on(self, journal: Journal) -> Settings:
        return Settings(journal=journal, root=self.folder, **self.settings)


async def driven(subject: Subject, journal: Journal, *, answers: bool = True) -> Result[Any] | None:
    """The result of the run, once it is over; None where it was over before. Without `answers` it ends where it waits."""
    settings = subject.settings_on(journal)
    known = await journal.read(subject.run_id)
    if known and known[-1].type in OVER:
        return None

    one: Run[Any] = (
        await resume(subject.workflow, subject.run_id, settings=settings)
        if known
        else run(subject.workflow, subject.value, run_id=subject.run_id, settings=settings)
    )
    result = await one.result()
    while answers and result.status == "waiting":
        one = await resume(subject.workflow, subject.run_id, settings=settings)
        events = await journal.read(subject.run_id)
        for pending in result.pending:
            answer(subject, one, pending, events)

        result = await one.result()

    return result


def answer(subject: Subject, one: Run[Any], pending: Pending, events: Sequence[Event]) -> None:
    """Say yes to what is asked; of a call in doubt, say what the world shows of it."""
    if pending.kind == "approval":
        one.decide(pending.name, Decision(approved=True, by="test"))
        return

    done, gave = (subject.found or in_log)(subject.folder, operation_of(pending, events))
    if done:
        one.resolve(pending.name, "done", result=gave)
    else:
        one.resolve(pending.name, "retry")


def operation_of(pending: Pending, events: Sequence[Event]) -> OperationStarted:
    """The call that is in doubt."""
    return next(
        event
        for event in events
        if isinstance(event, OperationStarted) and f"{event.step}:{event.operation}" == pending.name
    )


def in_log(folder: Path, asked: OperationStarted) -> Found:
    """Whether the log shows that a tool of the synthetic workflow did its work."""
    assert asked.request is not None
    text = asked.request.data["text"]
    return Log(folder).has("ended", asked.step, asked.name, text), f"{asked.name} {text}"
