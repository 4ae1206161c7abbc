"""Executes a recorded run again: its steps' code for real, all that is around them from the record.

The record is gone through event by event. What follows from the definition must be the next thing that the reducer wants;
what a step's code did must be what its code does now; and what came from outside (outcomes of calls, answers of people,
time, chance, the order of all that) is taken as it was. No call is ever made.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentflow.changes import changes
from agentflow.engine.attempt import Attempt
from agentflow.engine.commands import carry_out
from agentflow.engine.committing import RECORDED
from agentflow.engine.contents import Sources
from agentflow.engine.divergence import Divergence
from agentflow.engine.execution import execute
from agentflow.engine.expected import COMPARED, Expected
from agentflow.engine.following import Follower
from agentflow.engine.graph import Graph, Program, Work, compile_graph
from agentflow.engine.recovery import input_of, line_of, origin_of, work_at
from agentflow.engine.reduce import reduce
from agentflow.engine.replay_recorder import ReplayRecorder
from agentflow.engine.replay_words import Draft, diverged, doing
from agentflow.engine.runner import Runner
from agentflow.engine.state import Activation, Command, Fail, State, Watch, empty
from agentflow.events import (
    ApprovalAsked,
    Event,
    OperationDoubted,
    OperationFinished,
    OperationStarted,
    Payload,
    RunFailed,
    RunMigrated,
    RunResumed,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerFired,
)
from agentflow.journal.memory import MemoryJournal
from agentflow.spec import from_data

# Where the process, or the drive, ended: nothing that was under way goes on.
_ENDS = ("run.resumed", "run.paused", "run.interrupted", "run.cancelled", "run.failed", "run.finished")
_TIMED = frozenset({"sleeping", "retrying", "asking"})

# The attempt whose code runs in this task: one that was stopped must not speak for the next one.
_here: ContextVar[Attempt | None] = ContextVar("agentflow_attempt", default=None)


class Replayer(Runner):
    """Drives a run along its record. `objects` makes what steps share, by name, in place of what could reach the outside.

    Where it does not execute the code of steps, only what follows from the definition is looked at.
    """

    def __init__(
        self,
        program: Program,
        run_id: str,
        *,
        root: Path,
        contents: Mapping[str, Sources],
        objects: Mapping[str, Callable[[], Any]],
        executes: bool = True,
    ) -> None:
        super().__init__(program, MemoryJournal(), run_id, root=root, contents=contents)
        self.objects = objects
        self.executed, self.served, self.taken = 0, 0, 0
        self.clock = lambda: self._now
        self._executes, self._own = executes, run_id
        # The runs that did the first events, where this is a fork.
        self._line: deque[tuple[str, int]] = deque()
        self._was: deque[tuple[int, Payload]] = deque()
        self._changed: frozenset[int] = frozenset()
        self._given_input = Payload()
        self._graph: Graph = program.graph
        # Whether events are of the definition that is at hand, so that its code can be executed.
        self._is_at_hand = True
        self._deriving = False
        self._expected = Expected()
        self._code = Follower(self)
        self._attempts: dict[str, Attempt] = {}
        self._by_step: dict[str, deque[list[Event]]] = {}
        self._now = 0
        self._past: list[tuple[Event, Graph]] = []

    @property
    def takes_calls(self) -> bool:
        return True

    def recorder_of(self, activation: Activation) -> ReplayRecorder:
        attempt = _here.get()
        assert attempt is not None
        return ReplayRecorder(self, activation, attempt)

    def work_of(self, activation: Activation) -> Work:
        # How long a step may take is no question: whether it took too long stands in the record.
        work = super().work_of(activation)
        return work if work.timeout is None else replace(work, timeout=None)

    def post(self, kind: type[Event], /, **fields: Any) -> None:
        """What the definition wants is expected of the record; what code says waits until the record comes to it."""
        if self._deriving:
            self._expected.add(Draft(kind, fields))
        elif (attempt := _here.get()) is not None:
            attempt.say(kind, fields)

    def follow(self, kind: type[Event], /, **fields: Any) -> None:
        self.post(kind, **fields)

    async def commit(self) -> None:
        """Wait until the record has come to what the code at hand has said."""
        attempt = _here.get()
        if attempt is not None and attempt.said:
            await attempt.said[-1].taken

    async def replay(self, events: Sequence[Event]) -> Divergence | None:
        """Go along all of `events`; the first divergence, or None where all went the same way."""
        self._home = asyncio.get_running_loop()
        self._split(events)
        self._watch_definition(events)
        try:
            for event in events:
                if (found := await self._follow(event)) is not None:
                    return found

            return None
        finally:
            await self._let_go()

    def _split(self, events: Sequence[Event]) -> None:
        """The events of each attempt, by step, in order."""
        for event in events:
            step = getattr(event, "step", "")
            if isinstance(event, StepStarted):
                self._by_step.setdefault(step, deque()).append([])
            elif step and self._by_step.get(step):
                self._by_step[step][-1].append(event)

    def _watch_definition(self, events: Sequence[Event]) -> None:
        named = [event for event in events if isinstance(event, RunStarted | RunMigrated)]
        self._last_named = named[-1].seq

    async def _follow(self, event: Event) -> Divergence | None:
        self._now = event.at
        if isinstance(event, RunStarted):
            self._look_back(event)

        if self._was and event.seq > self._was[0][0]:
            self._was.popleft()
            self.input = self._input()

        if self._line and event.seq > self._line[0][1]:
            self._line.popleft()

        self.run_id = self._line[0][0] if self._line else self._own
        if event.seq != self.seq + 1:
            return diverged(
                "order", event, f"event {event.seq} after event {self.seq}", "one is missing, or too many"
            )

        if (found := await self._checked(event)) is not None:
            return found

        await self._take(event)
        if isinstance(event, OperationFinished) and (attempt := self._attempts.get(event.step)) is not None:
            # Only now, as the code looks at what has become of its calls.
            await attempt.settle()

        return None

    def _look_back(self, event: RunStarted) -> None:
        """Where a run is a fork: who did its first events, with which input, and which outputs were put there."""
        forked: Any = event.forked or {}
        self._line = deque(line_of(event))
        self._changed = frozenset(forked.get("changed", ()))
        self._was = deque((last, Payload(data)) for last, data in forked.get("was", ()))
        self._given_input = event.input

    def _input(self) -> Any:
        given = self._was[0][1] if self._was else self._given_input
        return input_of(Payload(raw=given.json), self.program.takes)

    async def _checked(self, event: Event) -> Divergence | None:
        match event:
            case RunStarted() | RunMigrated():
                return self._definition(event)
            case TimerFired():
                return self._timer(event)
            case _:
                pass

        step = getattr(event, "step", "")
        attempt = self._attempts.get(step)
        if attempt is not None and event.seq in self._changed:
            self.taken += 1  # somebody put another output there
            return None

        if attempt is not None and not self._expected.has(event):
            return await self._said(attempt, event)

        if isinstance(event, StepFinished | StepFailed) and self._is_at_work(step):
            self.taken += 1
            return None

        if isinstance(event, OperationStarted) or (isinstance(event, ApprovalAsked) and event.tool):
            is_followed = self._is_at_hand and self._executes
            return diverged("order", event, event.type, "no such step is at work") if is_followed else None

        if type(event) not in COMPARED or (isinstance(event, OperationDoubted) and not self._executes):
            return None

        if not self._is_at_hand:
            self._expected.take(event)
            return None

        doing_there = "; ".join(f"`{id_}`: {doing(known)}" for id_, known in self._attempts.items())
        return self._expected.follow(event, self.state, doing_there)

    async def _said(self, attempt: Attempt, event: Event) -> Divergence | None:
        """What is recorded of a step at work must be what its code says."""
        match event:
            case OperationStarted():
                return await self._code.began(attempt, event)
            case OperationFinished():
                return await self._code.ended_operation(attempt, event)
            case StepFinished() | StepFailed():
                return await self._code.ended_step(attempt, event)
            case ApprovalAsked():
                return await self._code.question(attempt, event)
            case OperationDoubted():
                return await self._code.doubted(attempt, event)
            case _:
                return None

    def has_budget(self, step: str) -> bool:
        """Whether a call of a step could have been refused, as it did not fit."""
        activation = self.state.active.get(step)
        return activation is not None and any(ledger.budget for ledger in self.ledgers(activation))

    def _definition(self, event: RunStarted | RunMigrated) -> Divergence | None:
        self._is_at_hand = event.digest == self.program.digest
        if self._is_at_hand:
            self._graph = self.program.graph
            return None

        recorded = from_data(event.spec) if event.spec is not None else self.program.spec
        self._graph = compile_graph(recorded)
        if event.seq != self._last_named:
            return None  # it was moved onto another definition later, and that one is at hand

        found = [str(change) for change in changes(recorded, self.program.spec)]
        return Divergence(
            what="definition",
            seq=event.seq,
            event=event.type,
            recorded=f"workflow `{recorded.name}`, {event.digest[:19]}",
            came=f"workflow `{self.program.spec.name}`, {self.program.digest[:19]}: {'; '.join(found)}",
            hint="replay it with the definition that it was started with",
        )

    def _timer(self, event: TimerFired) -> Divergence | None:
        activation = self.state.active.get(event.step)
        if activation is not None and activation.phase in _TIMED and activation.due:
            return None

        return diverged("order", event, "the time of a wait had come", "nothing waits there for a time")

    def _is_at_work(self, step: str) -> bool:
        """Whether an output of a step is its own, and does not follow from others."""
        activation = self.state.active.get(step)
        return activation is not None and activation.phase == "running"

    async def _take(self, event: Event) -> None:
        """Fold a recorded event; what it has to lead to is expected from here on."""
        if event.type in _ENDS:
            await self._let_go()

        if isinstance(event, RunResumed):
            self.state = self._read_back()

        event = self._prepared(event)
        self._past.append((event, self._graph))
        self.seq = event.seq
        step = getattr(event, "step", "")
        before = self.state
        ending = before.active.get(step) if isinstance(event, StepFinished) else None
        self._deriving = True
        try:
            self.state, commands = reduce(before, event, self._graph)
            if isinstance(event, RECORDED):
                self.record(event)

            for command in commands:
                self._want(command)
        finally:
            self._deriving = False

        if ending is not None:
            self._end(ending, before)

        await self._drop(event)
        self._begin_attempts()

    def so_far(self) -> Sequence[Event]:
        """What had happened when the record had come to where it is."""
        return [event for event, _ in self._past]

    def _read_back(self) -> State:
        """The state as another process reads it: of values that are alive, only what was written is left."""
        state = empty()
        for event, graph in self._past:
            if isinstance(event, StepFinished) and isinstance(event.output, Payload):
                event = replace(event, output=self._written(event, event.output))

            state, _ = reduce(state, event, graph)

        return state

    def _written(self, event: StepFinished, output: Payload) -> Payload:
        known, work = Payload(raw=output.json), work_at(self.program, event.step)
        known.kind = work.kind_of(event.case) if work is not None else None
        return known

    def _prepared(self, event: Event) -> Event:
        match event:
            case RunStarted():
                self.nonce, self.model, self.origin = event.nonce, event.model, origin_of(event)
                self.input = self._input()
                return replace(event, input=Payload(raw=self._was[0][1].json)) if self._was else event
            case RunResumed():
                self.model = event.model
                if event.budget:
                    self.account.raise_limits(event.budget)
            case RunMigrated() if self._is_at_hand:
                self._programs.clear()
            case StepFinished(output=Payload() as output):
                attempt = self._attempts.get(event.step)
                # The object itself, where its step was executed: what follows gets what it got then.
                alive = attempt.output if attempt is not None else None
                return replace(event, output=alive or self._written(event, output))
            case _:
                pass

        return event

    def _want(self, command: Command) -> None:
        match command:
            case Watch():
                pass  # the record says when it was time
            case Fail(step, error):
                self.post(RunFailed, step=step, error=error)
            case _:
                carry_out(self, command)

    async def _drop(self, event: Event) -> None:
        """Stop what has ended with this event, or went with what was around it."""
        gone = [id_ for id_ in self._attempts if id_ not in self.state.active]
        if isinstance(event, StepFailed) and event.step in self._attempts and event.step not in gone:
            gone.append(event.step)

        gone += [id_ for id_, attempt in self._attempts.items() if id_ not in gone and self._is_let(attempt)]
        for id_ in gone:
            await self._attempts.pop(id_).stop()

    def _is_let(self, attempt: Attempt) -> bool:
        """Whether a step is not at work any more; one in doubt has to say so of each of its calls first."""
        phase = self.state.active[attempt.id].phase
        return phase != "running" and not (phase == "doubted" and attempt.said)

    def _begin_attempts(self) -> None:
        launch, self.launch = self.launch, []
        for activation in launch:
            events = self._by_step[activation.id].popleft()
            if not self._is_at_hand or not self._executes:
                continue

            attempt = self._attempts[activation.id] = Attempt(activation.id, events)
            attempt.task = asyncio.create_task(self._execute(attempt, activation))
            attempt.task.add_done_callback(attempt.ended)
            self.executed += 1

    async def _execute(self, attempt: Attempt, activation: Activation) -> None:
        _here.set(attempt)
        await execute(self, activation)

    async def _let_go(self) -> None:
        """The process, or the drive, ended here: what was under way is gone, with what it held."""
        attempts, self._attempts = self._attempts, {}
        for attempt in attempts.values():
            await attempt.stop()

        self.launch.clear()
        self._expected.clear()
        for close in reversed(self.closers):
            with suppress(Exception):  # as in the run itself, what cannot be closed is no end of it
                await close()

        self.closers.clear()
        self.shared = {}
