"""Taking a run up where its events left it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentflow.engine.budget import NOTHING, Hold, Ledger, recounted
from agentflow.engine.committing import RECORDED, visit_of
from agentflow.engine.graph import Graph, Program, Work, compile_graph
from agentflow.engine.reduce import reduce
from agentflow.engine.state import where_of
from agentflow.events import (
    ApprovalGiven,
    ArtifactKept,
    Event,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    Payload,
    RunCancelled,
    RunInterrupted,
    RunMigrated,
    RunPaused,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
    TimerFired,
)
from agentflow.spec import from_data

if TYPE_CHECKING:
    from agentflow.engine.runner import Runner

# What may end a time in which only people were waited for.
_ANSWERS = (
    RunResumed,
    ApprovalGiven,
    OperationResolved,
    RunPaused,
    RunInterrupted,
    RunCancelled,
    TimerFired,
)
# What an activation is in when it does nothing by itself.
_IDLE = ("asking", "doubted", "nested", "mapping")


def recover(runner: Runner, events: Sequence[Event]) -> None:
    """Fold the events of a run into a runner that has not begun."""
    started = events[0]
    assert isinstance(started, RunStarted)
    runner.history = events
    runner.input = input_of(started.input, runner.program.takes)
    runner.nonce = started.nonce
    runner.origin = origin_of(started)
    reading = _Reading(runner, started)
    for before, event in zip((started, *events), events, strict=False):
        reading.read(before, event)

    reading.close()


def line_of(started: RunStarted) -> list[tuple[str, int]]:
    """The runs that did the first events of a fork, each with the number of its last one; none for a run of its own."""
    return [(str(run), int(last)) for run, last in (started.forked or {}).get("line", ())]


def origin_of(started: RunStarted) -> str:
    """The first run of a line of forks; empty for a run of its own."""
    line = line_of(started)
    return line[0][0] if line else ""


def input_of(given: Payload, takes: Any) -> Any:
    """The input of a run, as steps may ask for it."""
    from pydantic import ValidationError  # heavy, and only needed by what reads a journal

    try:
        return given.value(takes)
    except ValidationError:
        # The run was moved onto a definition that takes something else.
        return given.data


class _Reading:
    """One pass over the events of a run, with what each says of calls, time, files and types."""

    def __init__(self, runner: Runner, started: RunStarted) -> None:
        self._runner = runner
        self._graph = self._graph_of(started.digest, started.spec)
        self._is_timed = runner.program.graph.is_timed
        self._holds: dict[tuple[str, str], tuple[Hold, Sequence[Ledger]]] = {}

    def _graph_of(self, digest: str, spec: Any) -> Graph:
        """The graph that events were made with: the program's, or that of the definition they name."""
        program = self._runner.program
        return program.graph if digest == program.digest or spec is None else compile_graph(from_data(spec))

    def read(self, before: Event, event: Event) -> None:
        runner = self._runner
        if not isinstance(event, _ANSWERS) or not self._only_waits():
            runner.account.add_time(0 if isinstance(event, RunResumed) else event.at - before.at)

        match event:
            case StepFinished():
                self._finished(event)
            case OperationStarted() | OperationFinished():
                self._called(event)
            case RunResumed(budget=budget) if budget:
                runner.account.raise_limits(budget)
            case RunMigrated():
                self._graph = self._graph_of(event.digest, event.spec)
            case ArtifactKept():
                runner.files.setdefault(event.path, event.step)
            case _:
                pass

        runner.state, _ = reduce(runner.state, event, self._graph)
        runner.seq = event.seq
        if isinstance(event, RECORDED):
            runner.record(event)
        elif self._is_timed and isinstance(event, StepStarted) and event.step in runner.state.active:
            runner.ledgers(runner.state.active[event.step])

    def _only_waits(self) -> bool:
        """Whether nobody worked in a run, as all that was open waited for people."""
        active = self._runner.state.active.values()
        return any(a.unanswered or a.doubts for a in active) and all(
            a.phase in _IDLE or a.unanswered for a in active
        )

    def _finished(self, event: StepFinished) -> None:
        """A step is over: its output is read as what it was written as, and its record is no longer needed."""
        runner = self._runner
        runner.records.pop(event.step, None)
        activation = runner.state.active.get(event.step)
        if activation is None:
            return

        work = work_at(runner.program, event.step)
        if isinstance(event.output, Payload) and work is not None:
            event.output.kind = work.kind_of(event.case)

        if visit_of(activation) == activation.id:
            runner.account.close(event.step)

    def _called(self, event: OperationStarted | OperationFinished) -> None:
        account = self._runner.account
        activation = self._runner.state.active.get(event.step)
        key = (event.step, event.operation)
        if isinstance(event, OperationStarted):
            ledgers = self._runner.ledgers(activation) if activation is not None else [account.run]
            hold = recounted(event.reserved)
            for ledger in ledgers:
                ledger.count(event.kind)
                ledger.hold(hold)

            self._holds[key] = (hold, ledgers)
        else:
            hold, charged = self._holds.pop(key, (NOTHING, [account.run]))
            account.settle(charged, hold, event.usage, event.error.kind if event.error else "")

    def close(self) -> None:
        """What was under way when the process ended may have been charged for: it counts as the most it can have cost."""
        for hold, ledgers in self._holds.values():
            self._runner.account.settle(ledgers, hold, None, "CutOff")


def work_at(program: Program, activation: str) -> Work | None:
    """The work of an activation by its place in the definition; None where there is no such step any more."""
    work: Work | None = None
    at: Program | None = program
    for name in where_of(activation).split("/"):
        index = at.by_id.get(name) if at is not None else None
        if at is None or index is None:
            return None

        work = at.work[index]
        at = work.child

    return work


def limits_of(budget: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Limits by step from `{"usd": 2, "handle/draft.tokens": 9000}`; the run's own are under the empty name."""
    found: dict[str, dict[str, float]] = {}
    for name, value in budget.items():
        where, _, what = name.rpartition(".")
        found.setdefault(where, {})[what] = value

    return found
