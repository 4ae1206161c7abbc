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
from agentflow.context import restored
from agentflow.engine.attempt import Asked, Attempt, Said
from agentflow.engine.commands import carry_out
from agentflow.engine.contents import Sources
from agentflow.engine.divergence import (
    CODE_CHANGED,
    NOT_THE_SAME,
    Difference,
    Divergence,
    What,
    at,
    error_text,
    payload_difference,
    same_error,
    shown,
)
from agentflow.engine.execution import execute
from agentflow.engine.graph import Graph, Program, Work, compile_graph
from agentflow.engine.record import NOT_MADE
from agentflow.engine.recovery import line_of, origin_of, work_at
from agentflow.engine.reduce import is_late, reduce
from agentflow.engine.replay_recorder import ReplayRecorder, ask_difference
from agentflow.engine.runner import RECORDED, Draft, Runner
from agentflow.engine.state import Activation, Command, Fail, State, Watch, empty
from agentflow.events import (
    ApprovalAsked,
    ArtifactKept,
    ErrorInfo,
    Event,
    MapExpanded,
    OperationDoubted,
    OperationFinished,
    OperationStarted,
    Payload,
    RunFailed,
    RunFinished,
    RunMigrated,
    RunResumed,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerFired,
    TimerSet,
)
from agentflow.exceptions import BudgetExhausted
from agentflow.journal.memory import MemoryJournal
from agentflow.spec import from_data

# What the definition wants, by the fields that must be as recorded; times, and chance, are the record's.
_COMPARED: Mapping[type[Event], tuple[str, ...]] = {
    StepStarted: ("step", "attempt"),
    MapExpanded: ("step", "count"),
    StepFinished: ("step", "case", "output"),
    StepFailed: ("step", "error"),
    TimerSet: ("step",),
    ApprovalAsked: ("step", "digest", "prompt"),
    OperationDoubted: ("step", "operation"),
    RunFinished: ("output",),
    RunFailed: ("step", "error"),
}
# Where the process, or the drive, ended: nothing that was under way goes on.
_ENDS = ("run.resumed", "run.paused", "run.interrupted", "run.cancelled", "run.failed", "run.finished")
_GONE = ("CancelledError", NOT_MADE)
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
        self._graph: Graph = program.graph
        # Whether events are of the definition that is at hand, so that its code can be executed.
        self._is_at_hand = True
        self._deriving = False
        self._expected: deque[Draft] = deque()
        self._attempts: dict[str, Attempt] = {}
        self._by_step: dict[str, deque[list[Event]]] = {}
        self._now = 0
        self._past: list[tuple[Event, Graph]] = []

    @property
    def takes_calls(self) -> bool:
        return True

    def recorder_of(self, activation: Activation) -> ReplayRecorder:
        return ReplayRecorder(self, activation, self._attempts[activation.id])

    def work_of(self, activation: Activation) -> Work:
        # How long a step may take is no question: whether it took too long stands in the record.
        work = super().work_of(activation)
        return work if work.timeout is None else replace(work, timeout=None)

    def post(self, kind: type[Event], /, **fields: Any) -> None:
        """What the definition wants is expected of the record; what code says waits until the record comes to it."""
        if self._deriving:
            self._expected.append(Draft(kind, self._now, fields))
        elif (attempt := _here.get()) is not None:
            attempt.say(kind, fields)

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
            self._line = deque(line_of(event))

        if self._line and event.seq > self._line[0][1]:
            self._line.popleft()

        self.run_id = self._line[0][0] if self._line else self._own
        if event.seq != self.seq + 1:
            return _order(event, f"event {event.seq} after event {self.seq}", "one is missing, or too many")

        if (found := await self._checked(event)) is not None:
            return found

        await self._take(event)
        return None

    async def _checked(self, event: Event) -> Divergence | None:
        attempt = self._attempts.get(getattr(event, "step", ""))
        match event:
            case RunStarted() | RunMigrated():
                return self._definition(event)
            case TimerFired():
                return self._timer(event)
            case OperationStarted() if attempt is not None:
                return await self._began(attempt, event)
            case OperationFinished() if attempt is not None:
                return await self._ended_operation(attempt, event)
            case StepFinished() | StepFailed() if attempt is not None:
                return await self._ended_step(attempt, event)
            case ApprovalAsked() if event.tool:
                return None if attempt is None else await self._question(attempt, event)
            case OperationDoubted() if attempt is not None and not self._is_expected(event):
                said = await attempt.until(lambda: _first(attempt.said, event))
                if said is None:
                    return _order(event, f"`{event.name}` was in doubt", _doing(attempt))

                attempt.take(said)
                return None
            case StepFinished() | StepFailed() if self._is_at_work(event.step):
                self.taken += 1
                return None
            case OperationDoubted() if not self._executes:
                return None
            case _ if type(event) in _COMPARED:
                return self._derived(event)
            case _:
                return None

    # -- what follows from the definition ------------------------------------------------------------------------

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

        return _order(event, "the time of a wait had come", "nothing waits there for a time")

    def _is_at_work(self, step: str) -> bool:
        """Whether an output of a step is its own, and does not follow from others."""
        activation = self.state.active.get(step)
        return activation is not None and activation.phase == "running"

    def _is_expected(self, event: Event) -> bool:
        return any(_differing(draft, event) == "" for draft in self._expected)

    def _derived(self, event: Event) -> Divergence | None:
        """What the definition wants next must be what is recorded."""
        while self._expected and self._is_gone(self._expected[0]):
            self._expected.popleft()

        if not self._is_at_hand:
            return self._take_as_recorded(event)

        if isinstance(event, RunFailed):
            return self._failed(event)

        head = next((draft for draft in self._expected if not _is_put_off(draft)), None)
        if head is not None and _differing(head, event) == "":
            self._expected.remove(head)
            return None

        return self._unexpected(event, head)

    def _is_gone(self, draft: Draft) -> bool:
        return is_late(self.state, draft.kind, draft.fields.get("step", ""))

    def _failed(self, event: RunFailed) -> Divergence | None:
        """How a run failed; that the time of a budget was up is known from the record only."""
        head = next((draft for draft in self._expected if draft.kind is RunFailed), None)
        if head is not None and _differing(head, event) == "":
            self._expected.remove(head)
            return None

        if head is None and event.error.kind == "BudgetExhausted":
            return None

        return self._unexpected(event, head)

    def _take_as_recorded(self, event: Event) -> Divergence | None:
        """Of a definition that is only in the record, nothing can be executed: what it came to is taken as it was."""
        expected = next((draft for draft in self._expected if _names(draft, event)), None)
        if expected is not None:
            self._expected.remove(expected)

        return None

    def _unexpected(self, event: Event, head: Draft | None) -> Divergence:
        if head is None:
            came = self._attempts_told() or "nothing is left to do there"
            return _order(event, _told(event), came)

        name = _differing(head, event)
        if head.kind is type(event) and name not in ("kind", "step"):
            return Divergence(
                what="end" if name == "error" else "output" if name in ("output", "case") else "order",
                seq=event.seq,
                event=event.type,
                step=getattr(event, "step", ""),
                recorded=f"{name} {_value(getattr(event, name))}",
                came=f"{name} {_value(head.fields.get(name))}",
                hint=CODE_CHANGED,
            )

        return _order(event, _told(event), _told_draft(head))

    def _attempts_told(self) -> str:
        return "; ".join(f"`{id_}` {_doing(attempt)}" for id_, attempt in self._attempts.items())

    # -- what a step's code does ---------------------------------------------------------------------------------

    async def _began(self, attempt: Attempt, event: OperationStarted) -> Divergence | None:
        if event.parent in attempt.inside or self._is_call(attempt, event.parent):
            attempt.inside.add(event.operation)
            return None

        def ready() -> Asked | None:
            return next((a for a in attempt.asked if ask_difference(a.wanted, event) is None), None)

        asked = await self._nudged(attempt, ready)
        if asked is None:
            return self._other_call(attempt, event)

        attempt.asked.remove(asked)
        attempt.open[event.operation] = asked
        if not asked.is_scope:
            self.served += 1

        asked.begun.set_result(event.operation)
        return self._fault_of_files(attempt, event)

    def _is_call(self, attempt: Attempt, operation: str) -> bool:
        asked = attempt.open.get(operation)
        return asked is not None and not asked.is_scope

    async def _nudged(self, attempt: Attempt, ready: Callable[[], Any]) -> Any:
        """What the code comes to; where it comes to nothing, it may still have to be told of a cancellation, or a budget."""
        while True:
            found = await attempt.until(ready)
            if found is not None or attempt.is_over or not self._nudge(attempt):
                return found

    def _nudge(self, attempt: Attempt) -> bool:
        if attempt.cut_off:
            attempt.cut_off.pop(0).outcome.cancel()
            return True

        activation = self.state.active.get(attempt.id)
        if not attempt.asked or activation is None or len(self._budgets(activation)) == 0:
            return False

        refused = attempt.asked.pop(0)
        said = f"`{refused.wanted.name}` was not called: the budget was used up"
        refused.begun.set_exception(BudgetExhausted(said))
        return True

    def _budgets(self, activation: Activation) -> list[Any]:
        return [ledger for ledger in self.ledgers(activation) if ledger.budget is not None]

    def _other_call(self, attempt: Attempt, event: OperationStarted) -> Divergence:
        nearest = min(attempt.asked, key=lambda a: _distance(a, event), default=None)
        call = f"{event.kind} `{event.name}`"
        difference = ask_difference(nearest.wanted, event) if nearest is not None else None
        if difference is None or difference.path.split(".")[0] in ("kind", "name", "parent"):
            return Divergence(
                what="call",
                seq=event.seq,
                event=event.type,
                step=attempt.id,
                call=call,
                recorded=f"{call} with {_value(event.request)}",
                came=_doing(attempt),
                hint=CODE_CHANGED,
            )

        what: What = "label" if difference.path.startswith("attributes") else "request"
        return Divergence(
            what=what,
            seq=event.seq,
            event=event.type,
            step=attempt.id,
            call=call,
            recorded=at(difference, difference.old),
            came=at(difference, difference.new),
            hint=CODE_CHANGED,
        )

    async def _ended_operation(self, attempt: Attempt, event: OperationFinished) -> Divergence | None:
        asked = attempt.open.get(event.operation)
        if asked is None:
            return None  # inside of a call, or of an earlier attempt

        if asked.is_scope:
            return await self._ended_scope(attempt, event)

        del attempt.open[event.operation]
        if event.error is not None and event.error.kind in _GONE:
            # The code was stopped there, by itself or from outside: it learns it where nothing else can be.
            attempt.cut_off.append(asked)
        elif not asked.outcome.done():
            asked.outcome.set_result(event)

        await attempt.settle()
        return None

    async def _ended_scope(self, attempt: Attempt, event: OperationFinished) -> Divergence | None:
        is_cut_off = event.error is not None and event.error.kind in _GONE

        def ready() -> Said | None:
            return next((s for s in attempt.said if s.fields.get("operation") == event.operation), None)

        said = ready() if is_cut_off else await self._nudged(attempt, ready)
        if said is None and not is_cut_off:
            return self._unended(attempt, event)

        # One that was cut off may still come to its end in the code, and need not.
        del attempt.open[event.operation]
        if said is None:
            return None

        attempt.take(said)
        if not is_cut_off and (found := _outcome_difference(said, event)) is not None:
            return self._other_end(attempt, event, at(found, found.old), at(found, found.new))

        await attempt.settle()
        return None

    def _unended(self, attempt: Attempt, event: OperationFinished) -> Divergence:
        return self._other_end(
            attempt, event, f"operation {event.operation} ended: {_outcome(event)}", _doing(attempt)
        )

    def _other_end(self, attempt: Attempt, event: Event, recorded: str, came: str) -> Divergence:
        return Divergence(
            what="end",
            seq=event.seq,
            event=event.type,
            step=attempt.id,
            recorded=recorded,
            came=came,
            hint=CODE_CHANGED,
        )

    async def _question(self, attempt: Attempt, event: ApprovalAsked) -> Divergence | None:
        def ready() -> Said | None:
            return next((s for s in attempt.said if s.kind is ApprovalAsked), None)

        said = ready() if attempt.is_in_a_call else await self._nudged(attempt, ready)
        if said is None and attempt.is_in_a_call:
            return None  # what is called may ask as well

        if said is not None:
            attempt.take(said)
            await attempt.until(lambda: self.people.is_asked(attempt.id, event.digest) or None)
            difference = payload_difference(event.subject, said.fields["subject"])
            if event.digest == said.fields["digest"] and event.prompt == said.fields["prompt"]:
                return None

            recorded, came = (
                (at(difference, difference.old), at(difference, difference.new))
                if difference is not None
                else (f"`{event.tool}`: {event.prompt}", f"`{said.fields['tool']}`: {said.fields['prompt']}")
            )
        else:
            recorded, came = f"a person was asked about `{event.tool}`", _doing(attempt)

        return Divergence(
            what="question",
            seq=event.seq,
            event=event.type,
            step=attempt.id,
            call=f"tool `{event.tool}`",
            recorded=recorded,
            came=came,
            hint=CODE_CHANGED,
        )

    async def _ended_step(self, attempt: Attempt, event: StepFinished | StepFailed) -> Divergence | None:
        kind = event.error.kind if isinstance(event, StepFailed) else ""
        if kind == "StepTimeout":
            await attempt.stop()
            return None

        def ready() -> Said | None:
            if kind == "BudgetExhausted":
                self._refuse(attempt, event)

            return next((s for s in attempt.said if s.kind in (StepFinished, StepFailed)), None)

        said = await self._nudged(attempt, ready)
        if (found := self._fault_of_files(attempt, event)) is not None:
            return found

        if said is None:
            recorded = _told(event)
            return self._other_end(attempt, event, recorded, _doing(attempt))

        attempt.take(said)
        return self._compared(attempt, event, said)

    def _refuse(self, attempt: Attempt, event: StepFinished | StepFailed) -> None:
        """What does not fit the budgets any more is not called: that stands in the record only as the step's failure."""
        assert isinstance(event, StepFailed)
        for asked in attempt.asked:
            asked.begun.set_exception(restored(event.error))

        attempt.asked.clear()

    def _compared(self, attempt: Attempt, event: StepFinished | StepFailed, said: Said) -> Divergence | None:
        output: Payload | None = said.fields.get("output")
        if isinstance(event, StepFailed) or said.kind is StepFailed:
            old = event.error if isinstance(event, StepFailed) else None
            if same_error(old, said.fields.get("error")):
                return None

            recorded = _told(event)
            return self._other_end(attempt, event, recorded, _told_draft(Draft(said.kind, 0, said.fields)))

        found = payload_difference(event.output, output)
        if found is None and event.case == said.fields.get("case"):
            attempt.output = output
            missing = attempt.files.missing()
            return None if missing is None else _file(attempt, event, _kept(missing), "it is not kept")

        if found is None:
            found = Difference("case", shown(event.case), shown(said.fields.get("case")))

        return Divergence(
            what="output",
            seq=event.seq,
            event=event.type,
            step=attempt.id,
            recorded=at(found, found.old),
            came=at(found, found.new),
            hint=NOT_THE_SAME,
        )

    def _fault_of_files(self, attempt: Attempt, event: Event) -> Divergence | None:
        if attempt.files.fault is None:
            return None

        known, name, digest = attempt.files.fault
        recorded = _kept(known) if known is not None else f"no file `{name}` was kept"
        return _file(attempt, event, recorded, f"file `{name}`, {digest[:19]}")

    # -- going on ------------------------------------------------------------------------------------------------

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
        ending = self.state.active.get(step) if isinstance(event, StepFinished) else None
        self._deriving = True
        try:
            self.state, commands = reduce(self.state, event, self._graph)
            if isinstance(event, RECORDED):
                self.record(event)

            for command in commands:
                self._want(command)
        finally:
            self._deriving = False

        if ending is not None:
            self._end(ending)

        await self._drop(event)
        self._begin_attempts()

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
                self.input = event.input.value(self.program.takes) if self._is_at_hand else event.input.data
            case RunResumed():
                self.model = event.model
                if event.budget:
                    self.account.raise_limits(event.budget)
            case RunMigrated() if self._is_at_hand:
                self._programs = {"": self.program}
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


def _differing(draft: Draft, event: Event) -> str:
    """The first field in which what is wanted differs from what is recorded; empty where nothing does."""
    if draft.kind is not type(event):
        return "kind"

    for name in _COMPARED[draft.kind]:
        old, new = getattr(event, name), draft.fields.get(name, "" if name == "prompt" else None)
        same = same_error(old, new) if isinstance(old, ErrorInfo) else old == new
        if not same and not (isinstance(old, Payload) and payload_difference(old, new) is None):
            return name

    return ""


def _is_put_off(draft: Draft) -> bool:
    """Where a budget is used up, the engine lets calls end before it says so."""
    return draft.kind is RunFailed and draft.fields["error"].kind == "BudgetExhausted"


def _names(draft: Draft, event: Event) -> bool:
    return draft.kind is type(event) and draft.fields.get("step", "") == getattr(event, "step", "")


def _first(said: Sequence[Said], event: OperationDoubted) -> Said | None:
    return next(
        (s for s in said if s.kind is OperationDoubted and s.fields["operation"] == event.operation), None
    )


def _distance(asked: Asked, event: OperationStarted) -> int:
    wanted = asked.wanted
    return 4 * (wanted.kind != event.kind) + 2 * (wanted.name != event.name) + (wanted.parent != event.parent)


def _outcome_difference(said: Said, event: OperationFinished) -> Difference | None:
    if not same_error(event.error, said.fields.get("error")):
        return Difference("error", error_text(event.error), error_text(said.fields.get("error")))

    found = payload_difference(event.result, said.fields.get("result"))
    return None if found is None else Difference(f"result.{found.path}".rstrip("."), found.old, found.new)


def _outcome(event: OperationFinished) -> str:
    return error_text(event.error) if event.error is not None else _value(event.result)


def _value(value: Any) -> str:
    if isinstance(value, ErrorInfo):
        return error_text(value)

    return shown(value.data if isinstance(value, Payload) else value)


def _doing(attempt: Attempt) -> str:
    """What the code of an attempt is at, in words."""
    if ended := next((s for s in attempt.said if s.kind in (StepFinished, StepFailed)), None):
        return _told_draft(Draft(ended.kind, 0, ended.fields))

    wants = [f"{a.wanted.kind} `{a.wanted.name}` with {_value(a.wanted.request)}" for a in attempt.asked]
    wants += [
        f"a person's answer about `{s.fields['tool']}`" for s in attempt.said if s.kind is ApprovalAsked
    ]
    wants += [
        f"the end of operation {s.fields['operation']}" for s in attempt.said if s.kind is OperationFinished
    ]
    return " and ".join(wants) or "it neither ends nor calls anything"


def _told(event: Event) -> str:
    return _told_draft(Draft(type(event), 0, {f: getattr(event, f) for f in type(event).__slots__}))


def _told_draft(draft: Draft) -> str:
    """An event in words."""
    step = f"`{draft.fields.get('step', '')}`"
    match draft.kind.type:
        case "step.finished" if draft.fields.get("output") is not None:
            return f"{step} gave {_value(draft.fields['output'])}"
        case "step.failed":
            return f"{step} failed: {error_text(draft.fields['error'])}"
        case "step.started":
            return f"{step} began, attempt {draft.fields['attempt']}"
        case "run.finished":
            return f"the run gave {_value(draft.fields['output'])}"
        case "run.failed":
            return f"the run failed: {error_text(draft.fields['error'])}"
        case kind:
            return f"{kind} {step}" if draft.fields.get("step") else kind


def _order(event: Event, recorded: str, came: str) -> Divergence:
    step = getattr(event, "step", "")
    return Divergence(
        what="order",
        seq=event.seq,
        event=event.type,
        step=step,
        recorded=recorded,
        came=came,
        hint=CODE_CHANGED,
    )


def _kept(event: ArtifactKept) -> str:
    return f"file `{event.name}`, {event.digest[:19]}"


def _file(attempt: Attempt, event: Event, recorded: str, came: str) -> Divergence:
    return Divergence(
        what="file",
        seq=event.seq,
        event=event.type,
        step=attempt.id,
        recorded=recorded,
        came=came,
        hint=NOT_THE_SAME,
    )
