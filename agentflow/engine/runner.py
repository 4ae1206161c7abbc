"""Carries out the reducer's commands: appends events, commits, then acts. All effects of a run start here."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from agentflow.engine.budget import Account, Ledger
from agentflow.engine.commands import carry_out
from agentflow.engine.contents import Sources
from agentflow.engine.execution import execute
from agentflow.engine.graph import Program, Work
from agentflow.engine.notices import Delta
from agentflow.engine.people import People, Waiting, waiting_of
from agentflow.engine.record import Record
from agentflow.engine.recorder import StepRecorder
from agentflow.engine.reduce import advance, is_late
from agentflow.engine.state import OVER, Activation, State, empty, where_of
from agentflow.engine.writing import written
from agentflow.events import (
    CHAIN,
    VERDICTS,
    ApprovalGiven,
    ArtifactKept,
    ErrorInfo,
    Event,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    RunCancelled,
    RunFailed,
    RunInterrupted,
    RunMigrated,
    RunPaused,
    RunResumed,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerFired,
    Verdict,
    number,
)
from agentflow.exceptions import InputInvalid, ProjectError, RunError
from agentflow.journal import Journal
from agentflow.marking import mark_of
from agentflow.validation.flow_waivers import Waivers
from agentflow.version import VERSION

# What has happened stays true when a run is stopped; what was only about to be done is done by a resume.
FACTS = (
    RunStarted,
    RunResumed,
    RunMigrated,
    StepFinished,
    ApprovalGiven,
    TimerFired,
    OperationFinished,
    OperationResolved,
    ArtifactKept,
)
# What a step that is being stopped may still say.
EFFECTS = (OperationFinished, ArtifactKept)
# How a run stands that takes nothing in any more, unless it is resumed.
CLOSED = OVER | {"interrupted", "waiting"}
# What goes on with a run that stands so.
REOPENING = (RunResumed, RunMigrated)
# What people say.
ANSWERS = (ApprovalGiven, OperationResolved)
# What the record of a step is made of.
RECORDED = (OperationStarted, OperationFinished, OperationResolved, StepFailed)
# Steps begun in one turn of the loop: those that end at once are over before more are begun, and few are in memory.
AT_ONCE = 64
# Seconds in which steps that ask people may ask for more, before the run is let go.
GRACE = 0.05


Observer = Callable[[Event | Delta], None]
Scope = Callable[[str, int], AbstractContextManager[None]]
# Asks people what the run waits for; says whether one of them answered.
Asker = Callable[[], Awaitable[bool]]


class _Roomy:
    """Room for what is made when it is first asked for, beside the slots of a class."""


@dataclass(slots=True, eq=False)
class Runner(_Roomy):
    """Drives one run in this process until it is over, or waits for people only.

    `shared` holds what steps share by name, `contents` what may have come to a step before, by its place. `origin` is the
    first run of a line of forks, where this is a fork. `ask` asks people. `ending` is how the run ends as soon as no call is
    under way any more.
    """

    program: Program
    journal: Journal
    run_id: str
    _: KW_ONLY
    model: str = "embedded"
    root: Path = field(default_factory=Path.cwd)
    shared: dict[str, Any] = field(default_factory=dict[str, Any])
    contents: Mapping[str, Sources] = field(default_factory=dict[str, Sources])
    observers: list[Observer] = field(default_factory=list[Observer])
    scope: Scope | None = None
    service: str = ""
    clock: Callable[[], int] = time.time_ns

    nonce: str = field(default="", init=False)
    origin: str = field(default="", init=False)
    input: Any = field(default=None, init=False)
    history: Sequence[Event] = field(default=(), init=False)
    state: State = field(default_factory=empty, init=False)
    account: Account = field(init=False)
    ask: Asker | None = field(default=None, init=False)
    ending: tuple[str, ErrorInfo] | None = field(default=None, init=False)
    records: dict[str, Record] = field(default_factory=dict[str, Record], init=False)
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list[Any], init=False)
    launch: list[Activation] = field(default_factory=list[Activation], init=False)
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict[str, Any], init=False)
    seq: int = field(default=0, init=False)
    broken: Exception | None = field(default=None, init=False)
    _inbox: list[Event] = field(default_factory=list[Event], init=False)
    _tasks: dict[asyncio.Task[None], str] = field(default_factory=dict[Any, str], init=False)
    _limits: dict[str, asyncio.TimerHandle] = field(default_factory=dict[str, Any], init=False)
    # The driver waits for this; an `asyncio.Event` of each run would be a twentieth of its memory.
    _sleep: asyncio.Future[None] | None = field(default=None, init=False)
    _is_woken: bool = field(default=False, init=False)
    _stop: tuple[type[Event], dict[str, str]] | None = field(default=None, init=False)
    _driver: asyncio.Task[Any] | None = field(default=None, init=False)
    _home: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _looping: bool = field(default=False, init=False)
    _inline: bool = field(default=False, init=False)
    _is_immediate: bool = field(init=False)
    _given: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        self.account = Account(self.run_id, self.program.spec.budget, self.clock)
        self._is_immediate = bool(getattr(self.journal, "is_immediate", False))
        self._given = tuple(self.shared)

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

    def recorder_of(self, activation: Activation) -> StepRecorder:
        """What the code of a step gets to record its work with."""
        return StepRecorder(self, activation)

    # What most runs do without, and costs them to make.
    @cached_property
    def files(self) -> dict[str, str]:
        """The steps that keep files, by the paths of these."""
        return {}

    @cached_property
    def causes(self) -> dict[str, BaseException]:
        """What steps raised, by activation."""
        return {}

    @cached_property
    def _programs(self) -> dict[str, Program]:
        """The programs of sub-workflows, by frame."""
        return {}

    @cached_property
    def people(self) -> People:
        """Who is asked, and what for."""
        return People(self)

    @cached_property
    def making(self) -> threading.RLock:
        """Held while an object is made that steps share."""
        return threading.RLock()

    @cached_property
    def _lock(self) -> asyncio.Lock:
        return asyncio.Lock()

    @property
    def artifacts(self) -> Path:
        """The folder that files of runs are kept in."""
        return self.root / "traces" / "artifacts"

    @cached_property
    def waivers(self) -> Waivers:
        """What the definition allows; looked at only where a tool comes that the check did not see."""
        return Waivers(self.program.spec)

    @cached_property
    def mark(self) -> str:
        """What text from outside is marked with: random, and the same when the run is taken up again.

        A run of 0.1.0 was begun without, and goes on so: its models are asked what they were asked.
        """
        return mark_of(f"{self.origin or self.run_id}:{self.nonce}") if self.nonce else ""

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

    def decide(self, step: str, digest: str, *, approved: bool, by: str, comment: str = "") -> None:
        """Answer an approval that this run waits for."""
        self.post(ApprovalGiven, step=step, digest=digest, approved=approved, by=by, comment=comment)

    def resolve(
        self, step: str, operation: str, verdict: Verdict, *, by: str, result: Any = None, comment: str = ""
    ) -> None:
        """Say what became of an effect in doubt."""
        if verdict not in VERDICTS:
            raise ProjectError(f"`{verdict}` is no verdict", hint=f"say one of: {', '.join(VERDICTS)}")

        given = written(result, "the result") if verdict == "done" else None
        self.post(
            OperationResolved,
            step=step,
            operation=operation,
            verdict=verdict,
            by=by,
            result=given,
            comment=comment,
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

    def wake(self) -> None:
        """Have the driver look at what there is to do; may be called from any thread."""
        self._at_home(self._ring)

    def _ring(self) -> None:
        self._is_woken = True
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    async def _woken(self) -> None:
        """Wait until there may be something for the driver to do."""
        if not self._is_woken:
            self._sleep = asyncio.get_running_loop().create_future()
            try:
                await self._sleep
            finally:
                self._sleep = None

    def _at_home(self, call: Callable[[], object]) -> None:
        """Call in the loop that drives the run: now, or as soon as it can, from a thread of a plain step."""
        try:
            elsewhere = self._home is not None and asyncio.get_running_loop() is not self._home
        except RuntimeError:
            elsewhere = self._home is not None

        if elsewhere and self._home is not None:
            self._home.call_soon_threadsafe(call)
        else:
            call()

    def stop(self, kind: type[Event], reason: str, **fields: str) -> None:
        """End the drive from within the loop: `RunCancelled` for good, `RunInterrupted` to resume later."""
        before, wanted = self._stop, (kind, {"reason": reason, **fields})
        # What was to end for good is not merely to be stopped any more.
        self._stop = before if before is not None and before[0] is RunCancelled else wanted
        if before is None:
            self._cancel_driver()

    @property
    def takes_calls(self) -> bool:
        """Whether steps are at work: what is left of one after that makes no calls any more."""
        return self._looping and not self._is_closed()

    @property
    def is_stopping(self) -> bool:
        """Whether the run was asked to stop, and has not yet."""
        return self._stop is not None

    def _cancel_driver(self) -> None:
        if self._driver is None or not self._looping:
            return

        if asyncio.current_task() is not self._driver:
            self._driver.cancel()
        elif self._inline:
            # Cancelled by itself, a task learns it at its next wait only: which must be one of the step's.
            asyncio.get_running_loop().call_soon(self._cancel_inline)

    def _cancel_inline(self) -> None:
        if self._inline and self._driver is not None:
            self._driver.cancel()

    async def drive(self) -> State:
        """Run until the run is over, waits for people only, or is stopped; leaves nothing running."""
        self._driver, self._home = asyncio.current_task(), asyncio.get_running_loop()
        self.account.work(goes_on=True)
        self._watch_time()
        try:
            try:
                self._looping = True
                await self._loop()
            finally:
                # From here on things are tidied up, which must not be cut off.
                self._looping = False
        except asyncio.CancelledError:
            await self._stopped()
        finally:
            self.account.work(goes_on=False)
            await self._clean_up()

        return self.state

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

    async def _loop(self) -> None:
        while True:
            await self.commit()
            if self._is_closed():
                return

            if self._stop is not None:
                raise asyncio.CancelledError

            if (alone := self._launch()) is not None:
                await self._execute_inline(alone)
                continue

            if self.launch:
                await asyncio.sleep(0)  # those that were begun go first

            if self.launch or self._inbox:
                continue

            if not self._is_quiet():
                await self._woken()
            elif not self.waiting():
                return
            elif not await self._may_go_on():
                await self._pause()

            self._is_woken = False

    def _launch(self) -> Activation | None:
        """Begin what is to be done, a few at a time; gives a step that is to be done at once, inside of the driver."""
        if len(self.launch) == 1 and self._may_run_inline(self.launch[0]):
            return self.launch.pop()

        launch, self.launch = self.launch[:AT_ONCE], self.launch[AT_ONCE:]
        for activation in launch:
            if activation.id not in self.state.active:
                continue

            task = asyncio.create_task(execute(self, activation))
            self._tasks[task] = activation.id
            task.add_done_callback(self._task_done)

        if self.ending is not None and not self.people.are_calls_under_way():
            (step, error), self.ending = self.ending, None
            self.post(RunFailed, step=step, error=error)

        return None

    async def _execute_inline(self, activation: Activation) -> None:
        self._inline = True
        try:
            await execute(self, activation)
        finally:
            self._inline = False

    def _is_quiet(self) -> bool:
        """Whether nothing happens any more unless a person answers."""
        now = self.clock()
        watched = [self.state.active.get(step) for step in self.timers]
        if any(a is None or a.phase != "asking" or a.due <= now for a in watched):
            return False  # a wait, or a deadline that has come: those yet to come do not hold the process

        if self.people.are_calls_under_way():
            return False  # of a step at work, or of one that has failed and whose call may still tell how it ended

        return all(self.people.is_waited_for(step) for step in self._tasks.values())

    async def _may_go_on(self) -> bool:
        """Whether there is more to do, where only people are waited for: once they were asked, if there is a way to."""
        if self._tasks:
            await asyncio.sleep(GRACE)
            if self._inbox or not self._is_quiet():
                return True

        if self.ask is None:
            return False

        self._is_woken = False
        asking = asyncio.ensure_future(self.ask())
        asking.add_done_callback(lambda _: self._ring())
        self.account.work(goes_on=False)
        try:
            await self._woken()
            if not asking.done() or self._inbox:
                return True

            return not asking.cancelled() and asking.result()
        finally:
            self.account.work(goes_on=True)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _pause(self) -> None:
        """Let go of the run: its steps that wait for an answer begin anew when it is there."""
        await self._cancel_tasks()
        said = self._inbox
        self._inbox = [event for event in said if isinstance(event, EFFECTS)]
        self.post(RunPaused)
        if answers := [event for event in said if isinstance(event, ANSWERS)]:
            # Somebody answered at the last moment.
            self.post(RunResumed, model=self.model, version=VERSION, service=self.service)
            self._inbox += answers

    def refuse_inline(self, activation: Activation) -> None:
        """Raise where a step that is about to wait would keep the driver from all else: its code did not show that it asks."""
        if self._inline:
            raise RunError(
                f"step `{where_of(activation.id)}` cannot ask a person here",
                hint="let the step take `ctx: Context`, or name the tool in its code",
            )

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._ring()
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            # Only the journal's own errors come here: what a step raises is an event.
            self.give_up(error)

    def give_up(self, error: Exception) -> None:
        """End the drive with an error of the journal: nothing may go on that cannot be recorded."""
        if self.broken is None:
            self.broken = error
            self._cancel_driver()

    def _may_run_inline(self, activation: Activation) -> bool:
        # A lone function needs no task of its own; a time limit, a timer, a neighbour or a person who is asked does.
        if self._tasks or self.timers or self._inbox or self.program.graph.is_timed:
            return False

        work = self.work_of(activation)
        if work.may_ask or work.timeout is not None or activation.id not in self.state.active:
            return False

        return len(self.state.active) == 1 or not self.waiting()

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

        if self._inbox and (batch := self._folded()):
            await self._append(batch)

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

    async def _append(self, batch: Sequence[Event]) -> None:
        try:
            await self.journal.append(self.run_id, batch, durable=_must_last(batch))
        except Exception as error:
            self.give_up(error)
            raise

        if self.observers:
            for event in batch:
                self._tell(event)

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

    async def _stopped(self) -> None:
        if self.broken is not None:
            raise self.broken

        # Who only stopped waiting for the run did not mean to end it for good.
        kind, fields = self._stop or (RunInterrupted, {"reason": "the task that drove it was cancelled"})
        happened: list[Event] = [event for event in self._inbox if isinstance(event, FACTS)]
        self._inbox.clear()
        await self._cancel_tasks()
        # What a step still said while it was stopped counts as far as it is of effects, not of results.
        happened += [event for event in self._inbox if isinstance(event, EFFECTS)]
        self._inbox = happened
        self.post(kind, **fields)
        await self.commit()
        if self._stop is None:
            raise asyncio.CancelledError

        if self._driver is not None and self._driver.cancelling():
            self._driver.uncancel()

    async def _cancel_tasks(self) -> None:
        for timer in (*self.timers.values(), *self._limits.values()):
            timer.cancel()

        self.timers.clear()
        self._limits.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()

        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _clean_up(self) -> None:
        await self._cancel_tasks()
        self.launch.clear()
        if self._is_closed() or self.broken is not None:
            self._inbox.clear()

        for close in reversed(self.closers):
            try:
                await close()
            except Exception as error:  # noqa: BLE001 - a browser that is gone already must not hide the run's result
                self.causes.setdefault("close", error)

        self.closers.clear()
        # What was closed must not be found again, should the run go on in this process.
        self.shared = {key: self.shared[key] for key in self._given}
        self._driver = self._home = self._stop = self.ending = None

    @property
    def failed_step(self) -> str:
        """The activation that ended the run, if one did."""
        return (
            self.state.failing.step if self.state.failing is not None and self.state.error is not None else ""
        )

    def tell(self, delta: Delta) -> None:
        """Pass a piece of streamed text to the observers; may be called from any thread."""
        self._at_home(lambda: self._tell(delta))

    def waiting(self) -> list[Waiting]:
        """What this run waits for people to say."""
        return waiting_of(self.state.active.values())


def visit_of(activation: Activation) -> str:
    """The visit that an activation belongs to: items of a map are of one."""
    return activation.parent if activation.parent and activation.node.child is None else activation.id


def _must_last(batch: Sequence[Event]) -> bool:
    """Whether a deed that cannot be undone waits until its intent is on disk."""
    for event in batch:  # noqa: SIM110 - a generator costs three times as much, and this runs for every step
        if isinstance(event, OperationStarted) and event.once:
            return True

    return False
