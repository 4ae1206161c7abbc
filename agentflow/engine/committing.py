"""A run's record: what is posted is folded into its state, appended in one go, and told to who watches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any

from agentflow.engine.budget import Account, Ledger
from agentflow.engine.commands import carry_out
from agentflow.engine.graph import Program, Work
from agentflow.engine.notices import Delta
from agentflow.engine.people import People
from agentflow.engine.record import Record
from agentflow.engine.reduce import advance, is_late
from agentflow.engine.state import OVER, Activation, State, empty, where_of
from agentflow.engine.waking import Waking
from agentflow.engine.writing import written
from agentflow.events import (
    CHAIN,
    ErrorInfo,
    Event,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    RunFailed,
    RunMigrated,
    RunResumed,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    number,
)
from agentflow.exceptions import InputInvalid, RunError
from agentflow.journal import Journal

# What the record of a step is made of.
RECORDED = (OperationStarted, OperationFinished, OperationResolved, StepFailed)
# How a run stands that takes nothing in any more, unless it is resumed.
CLOSED = OVER | {"interrupted", "waiting"}
# What goes on with a run that stands so.
REOPENING = (RunResumed, RunMigrated)

Observer = Callable[[Event | Delta], None]


@dataclass(slots=True, eq=False)
class Committing(Waking):
    """What has happened in one run, and what follows from it.

    `launch` holds what is to be begun, `timers` what is waited for. `ending` is how the run ends as soon as no call is under
    way any more.
    """

    program: Program
    journal: Journal
    run_id: str
    _: KW_ONLY
    model: str = "embedded"
    observers: list[Observer] = field(default_factory=list[Observer])
    service: str = ""
    clock: Callable[[], int] = time.time_ns

    nonce: str = field(default="", init=False)
    state: State = field(default_factory=empty, init=False)
    account: Account = field(init=False)
    ending: tuple[str, ErrorInfo] | None = field(default=None, init=False)
    records: dict[str, Record] = field(default_factory=dict[str, Record], init=False)
    launch: list[Activation] = field(default_factory=list[Activation], init=False)
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict[str, Any], init=False)
    seq: int = field(default=0, init=False)
    _inbox: list[Event] = field(default_factory=list[Event], init=False)
    _tasks: dict[asyncio.Task[None], str] = field(default_factory=dict[Any, str], init=False)
    _limits: dict[str, asyncio.TimerHandle] = field(default_factory=dict[str, Any], init=False)
    _is_immediate: bool = field(init=False)

    def __post_init__(self) -> None:
        self.account = Account(self.run_id, self.program.spec.budget, self.clock)
        self._is_immediate = bool(getattr(self.journal, "is_immediate", False))

    def begin(
        self,
        value: Any,
        version: str,
        attributes: dict[str, str] | None = None,
        spec: Any = None,
        bound: Any = None,
        nonce: str = "",
    ) -> None:
        """Make this a new run on `value`, which fits the workflow's input type; `nonce` is a random number."""
        self.nonce = nonce
        try:
            given = written(value, "it")
        except RunError as error:
            where = f"workflow `{self.program.spec.name}`"
            raise InputInvalid(where, [str(error)], hint=error.hint) from error

        self.post(
            RunStarted,
            run=self.run_id,
            workflow=self.program.spec.name,
            digest=self.program.digest,
            spec=spec,
            input=given,
            model=self.model,
            version=version,
            attributes=attributes or {},
            bound=bound,
            nonce=nonce,
            chain=CHAIN,
            service=self.service,
        )

    def post(self, kind: type[Event], /, **fields: Any) -> None:
        """Have an event appended with the next commit; may be called from any thread."""
        self._inbox.append(kind(at=self.clock(), **fields))
        # Else it comes after one that the driver was woken for, or the driver looks when the step is done that it does itself.
        if len(self._inbox) == 1 and not self._inline:
            self.wake()

    def follow(self, kind: type[Event], /, **fields: Any) -> None:
        """Have an event appended that follows from one which is being folded: the commit under way takes it along."""
        self._inbox.append(kind(at=self.clock(), **fields))

    # What most runs do without, and costs them to make.
    @cached_property
    def people(self) -> People:
        """Who is asked, and what for."""
        return People(self)

    @cached_property
    def _lock(self) -> asyncio.Lock:
        return asyncio.Lock()

    @cached_property
    def _programs(self) -> dict[str, Program]:
        """The programs of sub-workflows, by frame."""
        return {}

    @property
    def ledger(self) -> Ledger:
        """What the whole run used so far."""
        return self.account.run

    def ledgers(self, activation: Activation) -> list[Ledger]:
        """What a call of a step is charged to: the run, and each step and sub-workflow around it with a budget of its own."""
        found = [self.account.run]
        at: Activation | None = activation
        while at is not None:
            budget = at.node.budget or (at.node.child.budget if at.node.child is not None else None)
            if budget is not None:
                found.append(self.account.visit(visit_of(at), where_of(at.id), budget))

            at = self.state.active[at.frame] if at.frame else None

        return found

    async def commit(self) -> None:
        """Fold what was posted, append it in one go, then tell observers; commands take effect after that."""
        if self._is_immediate:
            await self._commit()  # which never lets anybody else go on
        else:
            # A step that is stopped while the journal writes must not stop the writing.
            await asyncio.shield(asyncio.ensure_future(self._commit_in_turn()))

    async def _commit_in_turn(self) -> None:
        async with self._lock:
            await self._commit()

    async def _commit(self) -> None:
        if self.broken is not None:
            raise self.broken

        batch = self._folded() if self._inbox else None
        if not batch:
            return

        try:
            await self.journal.append(self.run_id, batch, durable=_must_last(batch))
        except Exception as error:
            self.give_up(error)
            raise

        if self.observers:
            for event in batch:
                self._tell(event)

    def _folded(self) -> list[Event]:
        """Fold what was posted, with what follows from it, but for what comes too late."""
        batch: list[Event] = []
        taken = 0
        try:
            for event in self._inbox:
                if self.state.status in CLOSED and not isinstance(event, REOPENING):
                    taken = len(self._inbox)
                    break

                taken += 1
                if not is_late(self.state, type(event), getattr(event, "step", "")):
                    self._fold(event)
                    batch.append(event)
        finally:
            del self._inbox[:taken]
            if self._inbox:
                self._ring()  # a thread posted something after that

        return batch

    def _is_closed(self) -> bool:
        return self.state.status in CLOSED

    def _fold(self, event: Event) -> None:
        self.seq += 1
        number(event, self.seq)
        before = self.state
        ending = before.active[event.step] if isinstance(event, StepFinished) else None
        self.state, commands = advance(before, event, self.program.graph)
        if type(event) in RECORDED:
            self.record(event)

        for command in commands:
            carry_out(self, command)

        if ending is not None:
            self._end(ending, before)
        elif self.program.graph.is_timed and isinstance(event, StepStarted):
            self.ledgers(self.state.active[event.step])
            self._watch_time()

    def record(self, event: Any) -> None:
        """Keep what a step did, for another attempt."""
        if event.step in self.state.active:
            self.records.setdefault(event.step, Record()).add(event)

    def _end(self, activation: Activation, before: State) -> None:
        self.records.pop(activation.id, None)
        # A deadline is no more once there is an answer.
        if (timer := self.timers.pop(activation.id, None)) is not None:
            timer.cancel()

        if visit_of(activation) == activation.id:
            self.account.close(activation.id)
            if (limit := self._limits.pop(activation.id, None)) is not None:
                limit.cancel()

        if activation.phase == "nested" and before.frames[activation.id].is_forking:
            self._drop_left()

    def _drop_left(self) -> None:
        """Stop what was still going on in a sub-workflow that has reached its end."""
        for task, id_ in self._tasks.items():
            if id_ not in self.state.active:
                task.cancel()

        for id_ in [id_ for id_ in self.timers if id_ not in self.state.active]:
            self.timers.pop(id_).cancel()

        for id_ in [id_ for id_ in self.records if id_ not in self.state.active]:
            del self.records[id_]

    def _watch_time(self) -> None:
        """Have the run end when the time of a budget is up."""
        for visit, ledger, left in list(self.account.timed()):
            if visit not in self._limits and left <= 0:
                self.post(RunFailed, step=visit, error=self.account.time_is_up(ledger))
            elif visit not in self._limits:
                later = asyncio.get_running_loop().call_later
                self._limits[visit] = later(left, self._look_at_time, visit)

    def _look_at_time(self, visit: str) -> None:
        # Time in which nobody worked is not counted, so there may be some left.
        del self._limits[visit]
        self._watch_time()

    def tell(self, delta: Delta) -> None:
        """Pass a piece of streamed text to the observers; may be called from any thread."""
        self._at_home(lambda: self._tell(delta))

    def _tell(self, news: Event | Delta) -> None:
        for observer in tuple(self.observers):
            try:
                observer(news)
            except Exception as error:  # noqa: BLE001 - who watches a run must not end it
                self.observers.remove(observer)
                what = f"an observer of run `{self.run_id}` failed and is told no more"
                asyncio.get_running_loop().call_exception_handler({"message": what, "exception": error})

    def program_of(self, frame: str) -> Program:
        """The program of a frame: the workflow's, or the sub-workflow's that an activation entered."""
        if not frame:
            return self.program

        known = self._programs.get(frame)
        if known is None:
            entering = self.state.active[frame]
            child = self.program_of(entering.frame).work[entering.node.index].child
            assert child is not None
            known = self._programs[frame] = child

        return known

    def work_of(self, activation: Activation) -> Work:
        return self.program_of(activation.frame).work[activation.node.index]


def visit_of(activation: Activation) -> str:
    """The visit that an activation belongs to: items of a map are of one."""
    return activation.parent if activation.parent and activation.node.child is None else activation.id


def _must_last(batch: Sequence[Event]) -> bool:
    """Whether a deed that cannot be undone waits until its intent is on disk."""
    for event in batch:  # noqa: SIM110 - a generator costs three times as much, and this runs for every step
        if isinstance(event, OperationStarted) and event.once:
            return True

    return False
