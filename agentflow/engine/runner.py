"""Drives a run: commits what happened, then acts on what follows from it. All effects of a run start here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from agentflow.engine.committing import Committing
from agentflow.engine.contents import Sources
from agentflow.engine.execution import execute
from agentflow.engine.people import Waiting, waiting_of
from agentflow.engine.recorder import StepRecorder
from agentflow.engine.state import Activation, State, where_of
from agentflow.engine.writing import written
from agentflow.events import (
    VERDICTS,
    ApprovalGiven,
    ArtifactKept,
    Event,
    OperationFinished,
    OperationResolved,
    RunFailed,
    RunInterrupted,
    RunMigrated,
    RunPaused,
    RunResumed,
    RunStarted,
    StepFinished,
    TimerFired,
    Verdict,
)
from agentflow.exceptions import ProjectError, RunError
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
# What people say.
ANSWERS = (ApprovalGiven, OperationResolved)
# Steps begun in one turn of the loop: those that end at once are over before more are begun, and few are in memory.
AT_ONCE = 64
# Seconds in which steps that ask people may ask for more, before the run is let go.
GRACE = 0.05

Scope = Callable[[str, int], AbstractContextManager[None]]
# Asks people what the run waits for; says whether one of them answered.
Asker = Callable[[], Awaitable[bool]]


@dataclass(slots=True, eq=False)
class Runner(Committing):
    """Drives one run in this process until it is over, or waits for people only.

    `shared` holds what steps share by name, `contents` what may have come to a step before, by its place. `origin` is the
    first run of a line of forks, where this is a fork. `ask` asks people.
    """

    _: KW_ONLY
    root: Path = field(default_factory=Path.cwd)
    shared: dict[str, Any] = field(default_factory=dict[str, Any])
    contents: Mapping[str, Sources] = field(default_factory=dict[str, Sources])
    scope: Scope | None = None

    origin: str = field(default="", init=False)
    input: Any = field(default=None, init=False)
    history: Sequence[Event] = field(default=(), init=False)
    ask: Asker | None = field(default=None, init=False)
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list[Any], init=False)
    _given: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        Committing.__post_init__(self)  # `super()` does not find a class with slots
        self._given = tuple(self.shared)

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
    def making(self) -> threading.RLock:
        """Held while an object is made that steps share."""
        return threading.RLock()

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
    def takes_calls(self) -> bool:
        """Whether steps are at work: what is left of one after that makes no calls any more."""
        return self._looping and not self._is_closed()

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

    def _may_run_inline(self, activation: Activation) -> bool:
        # A lone function needs no task of its own; a time limit, a timer, a neighbour or a person who is asked does.
        if self._tasks or self.timers or self._inbox or self.program.graph.is_timed:
            return False

        work = self.work_of(activation)
        if work.may_ask or work.timeout is not None or activation.id not in self.state.active:
            return False

        return len(self.state.active) == 1 or not self.waiting()

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

    def waiting(self) -> list[Waiting]:
        """What this run waits for people to say."""
        return waiting_of(self.state.active.values())
