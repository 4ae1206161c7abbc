"""Carries out the reducer's commands: appends events, commits, then acts. All effects of a run start here."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from agentflow.engine.budget import Account, Ledger
from agentflow.engine.commands import carry_out
from agentflow.engine.execution import execute
from agentflow.engine.graph import Program, Work
from agentflow.engine.notices import Delta
from agentflow.engine.reduce import is_late, is_over, reduce
from agentflow.engine.state import (
    Activation,
    State,
    empty,
)
from agentflow.engine.writing import written
from agentflow.events import (
    ApprovalGiven,
    ArtifactKept,
    Event,
    OperationFinished,
    OperationStarted,
    Payload,
    RunCancelled,
    RunFailed,
    RunResumed,
    RunStarted,
    StepFinished,
    TimerFired,
)
from agentflow.exceptions import InputInvalid, RunError
from agentflow.journal import Journal

# What has happened stays true when a run is stopped; what was only about to be done is done by a resume.
FACTS = (RunStarted, RunResumed, StepFinished, ApprovalGiven, TimerFired, OperationFinished, ArtifactKept)


class Draft(NamedTuple):
    """An event that is not committed yet."""

    kind: type[Event]
    at: int
    fields: dict[str, Any]


Observer = Callable[[Event | Delta], None]
Scope = Callable[[str, int], AbstractContextManager[None]]


class Runner:
    """Drives one run in this process until it is over, or waits for a person."""

    def __init__(
        self,
        program: Program,
        journal: Journal,
        run_id: str,
        *,
        model: str = "embedded",
        root: Path | None = None,
        artifacts: Path | None = None,
        shared: dict[str, Any] | None = None,
        observers: Sequence[Observer] = (),
        scope: Scope | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.program, self.journal, self.run_id = program, journal, run_id
        self.model, self.root = model, root or Path.cwd()
        self.artifacts = artifacts or self.root / "traces" / "artifacts"
        self.shared: dict[str, Any] = dict(shared or {})
        self.files: dict[str, str] = {}
        self.observers = list(observers)
        self.clock = clock
        self.state: State = empty()
        self.account = Account(program.spec.budget)
        self.causes: dict[str, BaseException] = {}
        self.closers: list[Callable[[], Awaitable[None]]] = []
        self.input: Any = None
        self.history: Sequence[Event] = ()
        self.scope = scope
        self._seq = 0
        self._inbox: deque[Draft] = deque()
        self.launch: list[Activation] = []
        self._tasks: dict[asyncio.Task[None], str] = {}
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self._programs: dict[str, Program] = {"": program}
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._stop: tuple[type[Event], str] | None = None
        self._driver: asyncio.Task[Any] | None = None
        self._home: asyncio.AbstractEventLoop | None = None
        self._looping = self._inline = False
        self.making = threading.RLock()
        self._given = dict(self.shared)
        self.broken: Exception | None = None

    def begin(
        self, value: Any, version: str, attributes: dict[str, str] | None = None, spec: Any = None
    ) -> None:
        """Make this a new run on `value`, which fits the workflow's input type."""
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
        )

    def recover(self, events: Sequence[Event], version: str, *, resume: bool = True) -> None:
        """Take a run up where its events left it."""
        self.history = events
        for before, event in zip((events[0], *events), events, strict=False):
            self._read(before, event)

        started = events[0]
        assert isinstance(started, RunStarted)
        self.input = started.input.value(self.program.takes)
        if resume:
            self.post(RunResumed, model=self.model, version=version)

    def _read(self, before: Event, event: Event) -> None:
        """Fold an earlier event, with what it says of calls, time, files and types."""
        self.account.pass_time(before, event)
        match event:
            case StepFinished(step=step, output=Payload() as output):
                output.kind = self.work_of(self.state.active[step]).kind_of(event.case)
            case OperationStarted(step=step) | OperationFinished(step=step):
                known = self.state.active.get(step)
                self.account.recount(event, self.ledgers(known.frame) if known else [self.ledger])
            case ArtifactKept():
                self.files.setdefault(event.path, event.step)
            case _:
                pass

        self.state, _ = reduce(self.state, event, self.program.graph)
        self._seq = event.seq

    @property
    def ledger(self) -> Ledger:
        """What the whole run used so far."""
        return self.account.run

    def ledgers(self, frame: str) -> list[Ledger]:
        """What a call in a frame is charged to: the run's ledger, and those of the sub-workflows around it."""
        found = [self.ledger]
        while frame:
            found += self.account.of_frame(frame, self.program_of(frame).spec.budget)
            frame = self.state.active[frame].frame

        return found

    def decide(self, activation: Activation, *, approved: bool, by: str, comment: str) -> None:
        """Answer an approval that this run waits for."""
        self.post(
            ApprovalGiven,
            step=activation.id,
            digest=activation.digest,
            approved=approved,
            by=by,
            comment=comment,
        )

    def post(self, kind: type[Event], /, **fields: Any) -> None:
        """Have an event appended with the next commit; may be called from any thread."""
        self._inbox.append(Draft(kind, self.clock(), fields))
        self._at_home(self._wake.set)

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

    def stop(self, kind: type[Event], reason: str) -> None:
        """End the drive from within the loop: `RunCancelled` for good, `RunInterrupted` to resume later."""
        asked_before, self._stop = self._stop is not None, (kind, reason)
        if not asked_before:
            self._cancel_driver()

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
        """Run until the run is over, waits for a person only, or is stopped; leaves nothing running."""
        self._driver, self._home = asyncio.current_task(), asyncio.get_running_loop()
        begun = self.clock()
        deadline = self._set_deadline()
        try:
            await self._until_done()
        except asyncio.CancelledError:
            await self._stopped()
        finally:
            self.account.spent += max(0, self.clock() - begun)
            if deadline is not None:
                deadline.cancel()

            await self._clean_up()

        return self.state

    def _set_deadline(self) -> asyncio.TimerHandle | None:
        left = self.account.seconds_left()
        if left is None:
            return None

        def over() -> None:
            self.post(RunFailed, step="", error=self.account.time_is_up())

        if left > 0:
            return asyncio.get_running_loop().call_later(left, over)

        over()  # before anything is begun
        return None

    async def _until_done(self) -> None:
        self._looping = True
        try:
            await self._loop()
        finally:
            # From here on things are tidied up, which must not be cut off.
            self._looping = False

    async def _loop(self) -> None:
        while True:
            await self.commit()
            if is_over(self.state):
                return

            if self._stop is not None:
                raise asyncio.CancelledError

            launch, self.launch = [a for a in self.launch if a.id in self.state.active], []
            if len(launch) == 1 and self._may_run_inline(launch[0]):
                await self._execute_inline(launch[0])
                continue

            for activation in launch:
                task = asyncio.create_task(execute(self, activation))
                self._tasks[task] = activation.id
                task.add_done_callback(self._task_done)

            if not self._inbox:
                if not self._tasks and not self.timers:
                    return

                await self._wake.wait()

            self._wake.clear()

    async def _execute_inline(self, activation: Activation) -> None:
        self._inline = True
        try:
            await execute(self, activation)
        finally:
            self._inline = False

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._wake.set()
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            # Only the journal's own errors come here: what a step raises is an event.
            self._break(error)

    def _break(self, error: Exception) -> None:
        """End the drive with an error of the journal: nothing may go on that cannot be recorded."""
        if self.broken is None:
            self.broken = error
            self._cancel_driver()

    def _may_run_inline(self, activation: Activation) -> bool:
        # A lone step needs no task of its own; a time limit, a timer, a neighbour or a person who is asked does.
        if self._tasks or self.timers or self._inbox:
            return False

        if self.work_of(activation).timeout is not None or self.program.spec.budget is not None:
            return False

        return not any(a.phase == "asking" for a in self.state.active.values())

    async def commit(self) -> None:
        """Fold what was posted, append it in one go, then tell observers; commands take effect after that."""
        async with self._lock:
            if self.broken is not None:
                raise self.broken

            batch: list[Event] = []
            while self._inbox:
                if self._is_closed() and self._inbox[0].kind is not RunResumed:
                    self._inbox.clear()
                    break

                draft = self._inbox.popleft()
                if not is_late(self.state, draft.kind, draft.fields.get("step", "")):
                    batch.append(self._fold(draft))

            if batch:
                await self._append(batch)

    def _is_closed(self) -> bool:
        return is_over(self.state) or self.state.status == "interrupted"

    def _fold(self, draft: Draft) -> Event:
        self._seq += 1
        event = draft.kind(seq=self._seq, at=draft.at, **draft.fields)
        ending = self.state.active.get(draft.fields.get("step", "")) if draft.kind is StepFinished else None
        self.state, commands = reduce(self.state, event, self.program.graph)
        for command in commands:
            carry_out(self, command)

        if ending is not None and ending.phase == "nested":
            self._drop_left()

        return event

    def _drop_left(self) -> None:
        """Stop what was still going on in a sub-workflow that has reached its end."""
        for task, id_ in self._tasks.items():
            if id_ not in self.state.active:
                task.cancel()

        for id_ in [id_ for id_ in self.timers if id_ not in self.state.active]:
            self.timers.pop(id_).cancel()

    async def _append(self, batch: Sequence[Event]) -> None:
        try:
            await self.journal.append(self.run_id, batch)
        except Exception as error:
            self._break(error)
            raise

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

        kind, reason = self._stop or (RunCancelled, "cancelled by the caller")
        happened = [draft for draft in self._inbox if draft.kind in FACTS]
        self._inbox.clear()
        await self._cancel_tasks()
        # What a step still said while it was stopped counts as far as it is of effects, not of results.
        happened += [draft for draft in self._inbox if draft.kind in (OperationFinished, ArtifactKept)]
        self._inbox = deque(happened)
        self.post(kind, reason=reason)
        await self.commit()
        if self._stop is None:
            raise asyncio.CancelledError

        if self._driver is not None and self._driver.cancelling():
            self._driver.uncancel()

    async def _cancel_tasks(self) -> None:
        for timer in self.timers.values():
            timer.cancel()

        self.timers.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()

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
        self.shared = dict(self._given)
        self._driver = self._home = self._stop = None

    @property
    def failed_step(self) -> str:
        """The activation that ended the run, if one did."""
        return (
            self.state.failing.step if self.state.failing is not None and self.state.error is not None else ""
        )

    def tell(self, delta: Delta) -> None:
        """Pass a piece of streamed text to the observers; may be called from any thread."""
        self._at_home(lambda: self._tell(delta))

    def waiting(self) -> list[Activation]:
        """The approvals that this run waits for."""
        return [a for a in self.state.open() if a.phase == "asking" and a.verdict is None]
