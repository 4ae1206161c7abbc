"""Carries out the reducer's commands: appends events, commits, then acts. All effects of a run start here."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from agentflow.context import Context, entered
from agentflow.engine.budget import Ledger
from agentflow.engine.graph import Program, Work
from agentflow.engine.notices import Delta, error_info
from agentflow.engine.recorder import StepRecorder
from agentflow.engine.reduce import is_over, reduce
from agentflow.engine.state import (
    Activation,
    Ask,
    Begin,
    Command,
    Complete,
    End,
    Execute,
    Expand,
    Fail,
    Refuse,
    Sleep,
    State,
    Watch,
    empty,
)
from agentflow.events import (
    ApprovalAsked,
    ApprovalGiven,
    ErrorInfo,
    Event,
    MapExpanded,
    OperationFinished,
    OperationStarted,
    Payload,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunResumed,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerFired,
    TimerSet,
)
from agentflow.exceptions import BudgetExhausted, StepTimeout
from agentflow.journal import Journal
from agentflow.steps.approval import Rejected, subject_digest
from agentflow.typeref import is_instance, short_name, type_name

REJECTED = type_name(Rejected)
# Errors that another attempt cannot mend.
FINAL = ("BudgetExhausted", "OutputInvalid", "ModelCannot", "DefinitionError", "MissingExtra")


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
        self.observers = list(observers)
        self.clock = clock
        self.state: State = empty()
        self.ledger = Ledger(program.spec.budget)
        self.causes: dict[str, BaseException] = {}
        self.closers: list[Callable[[], Awaitable[None]]] = []
        self.input: Any = None
        self.scope = scope
        self._seq = 0
        self._inbox: deque[Draft] = deque()
        self._launch: list[Activation] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._programs: dict[str, Program] = {"": program}
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._stop: tuple[type[Event], str] | None = None
        self._driver: asyncio.Task[Any] | None = None

    def begin(
        self, value: Any, version: str, attributes: dict[str, str] | None = None, spec: Any = None
    ) -> None:
        """Make this a new run on `value`, which fits the workflow's input type."""
        self.post(
            RunStarted,
            run=self.run_id,
            workflow=self.program.spec.name,
            digest=self.program.digest,
            spec=spec,
            input=Payload(value),
            model=self.model,
            version=version,
            attributes=attributes or {},
        )

    def recover(self, events: Sequence[Event], version: str, *, resume: bool = True) -> None:
        """Take a run up where its events left it."""
        for event in events:
            self.state, _ = reduce(self.state, event, self.program.graph)
            self._seq = event.seq
            self._recount(event)

        started = events[0]
        assert isinstance(started, RunStarted)
        self.input = started.input.value(self.program.takes)
        if resume:
            self.post(RunResumed, model=self.model, version=version)

    def _recount(self, event: Event) -> None:
        if isinstance(event, OperationStarted):
            self.ledger.count(event.kind)
        elif isinstance(event, OperationFinished) and event.usage:
            self.ledger.settle(event.usage)

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
        """Have an event appended with the next commit."""
        self._inbox.append(Draft(kind, self.clock(), fields))
        self._wake.set()

    def stop(self, kind: type[Event], reason: str) -> None:
        """End the drive from within the loop: `RunCancelled` for good, `RunInterrupted` to resume later."""
        self._stop = (kind, reason)
        if self._driver is not None:
            self._driver.cancel()

    async def drive(self) -> State:
        """Run until the run is over, waits for a person only, or is stopped; leaves nothing running."""
        self._driver = asyncio.current_task()
        deadline = self._set_deadline()
        try:
            await self._loop()
        except asyncio.CancelledError:
            await self._stopped()
        finally:
            if deadline is not None:
                deadline.cancel()

            await self._clean_up()

        return self.state

    def _set_deadline(self) -> asyncio.TimerHandle | None:
        budget = self.program.spec.budget
        if budget is None or budget.minutes is None:
            return None

        def over() -> None:
            what = f"the budget of {budget.minutes:g} minutes is used up"
            self.post(RunFailed, step="", error=ErrorInfo(kind="BudgetExhausted", message=what))

        return asyncio.get_running_loop().call_later(budget.minutes * 60, over)

    async def _loop(self) -> None:
        while True:
            await self.commit()
            if is_over(self.state):
                return

            launch, self._launch = self._launch, []
            if len(launch) == 1 and self._may_run_inline(launch[0]):
                await self._execute(launch[0])
                continue

            for activation in launch:
                task = asyncio.create_task(self._execute(activation))
                self._tasks.add(task)
                task.add_done_callback(self._task_done)

            if not self._inbox:
                if not self._tasks and not self._timers:
                    return

                await self._wake.wait()

            self._wake.clear()

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None and self._driver is not None:
            # Only the journal's own errors come here: what a step raises is an event.
            self.causes.setdefault("", error)
            self._driver.cancel()

    def _may_run_inline(self, activation: Activation) -> bool:
        # A lone step needs no task of its own; a time limit, a timer or a neighbour does.
        if self._tasks or self._timers or self._inbox:
            return False

        return self._work(activation).timeout is None and self.program.spec.budget is None

    async def commit(self) -> None:
        """Fold what was posted, append it in one go, then tell observers; commands take effect after that."""
        async with self._lock:
            if not self._inbox:
                return

            batch: list[Event] = []
            while self._inbox:
                if is_over(self.state) and self._inbox[0].kind is not RunResumed:
                    self._inbox.clear()
                    break

                draft = self._inbox.popleft()
                self._seq += 1
                event = draft.kind(seq=self._seq, at=draft.at, **draft.fields)
                self.state, commands = reduce(self.state, event, self.program.graph)
                batch.append(event)
                for command in commands:
                    self._carry_out(command)

            if batch:
                await self.journal.append(self.run_id, batch)
                for event in batch:
                    for observer in self.observers:
                        observer(event)

    def _carry_out(self, command: Command) -> None:  # noqa: C901 - one flat case a command
        match command:
            case Begin(activation):
                self.post(StepStarted, step=activation.id, attempt=activation.attempt + 1)
            case Execute(activation):
                self._launch.append(activation)
            case Complete(activation, output):
                self.post(StepFinished, step=activation.id, case=self._case(activation, output))
            case End(output):
                self.post(RunFinished, output=output)
            case Fail(step, error):
                self.post(RunFailed, step=step, error=error)
            case Expand(activation):
                self._expand(activation)
            case Sleep(activation, wait):
                self.post(TimerSet, step=activation.id, due=self.clock() + wait)
            case Watch(activation):
                self._watch(activation)
            case Ask(activation):
                digest = subject_digest(activation.input.json)
                prompt = str(activation.node.options.get("prompt", ""))
                self.post(ApprovalAsked, step=activation.id, digest=digest, prompt=prompt)
            case Refuse(activation, by, comment):
                self._refuse(activation, by, comment)

    def _expand(self, activation: Activation) -> None:
        try:
            count = len(activation.input.items())
        except TypeError:
            what = f"`{activation.node.id}` maps over a list and was given `{activation.input!r}`"
            self.post(
                StepFailed, step=activation.id, error=ErrorInfo(kind="TypeError", message=what), final=True
            )
            return

        self.post(MapExpanded, step=activation.id, count=count)

    def _watch(self, activation: Activation) -> None:
        def fire() -> None:
            self._timers.pop(activation.id, None)
            self.post(TimerFired, step=activation.id)

        delay = max(0.0, (activation.due - self.clock()) / 1e9)
        self._timers[activation.id] = asyncio.get_running_loop().call_later(delay, fire)

    def _refuse(self, activation: Activation, by: str, comment: str) -> None:
        if any(out.on == REJECTED for out in activation.node.by_case):
            output = Payload(Rejected(by=by, comment=comment))
            self.post(StepFinished, step=activation.id, output=output, case=REJECTED)
            return

        what = f"`{activation.node.id}` was refused by {by}" + (f": {comment}" if comment else "")
        self.post(RunFailed, step=activation.id, error=ErrorInfo(kind="RunRejected", message=what))

    def program_of(self, frame: str) -> Program:
        """The program of a frame: the workflow's, or the sub-workflow's that an activation entered."""
        known = self._programs.get(frame)
        if known is None:
            entering = self.state.active[frame]
            child = self.program_of(entering.frame).work[entering.node.index].child
            assert child is not None
            known = self._programs[frame] = child

        return known

    def _work(self, activation: Activation) -> Work:
        return self.program_of(activation.frame).work[activation.node.index]

    def _case(self, activation: Activation, output: Payload) -> str | None:
        if not activation.node.by_case or activation.item is not None:
            return None

        work = self._work(activation)
        return _matching(work, output.value(work.gives))

    async def _execute(self, activation: Activation) -> None:
        work = self._work(activation)
        attempt = activation.attempt
        recorder = StepRecorder(self, activation)
        context = Context(
            run_id=self.run_id,
            step=activation.id,
            attempt=attempt,
            input=self.input,
            model=self.model,
            root=self.root,
            recorder=recorder,
        )
        try:
            with entered(context), self.scope(activation.id, attempt) if self.scope else nullcontext():
                result = await self._call(work, activation.input.value(work.takes), context)
        except Exception as error:  # noqa: BLE001 - whatever a step raises becomes an event
            self._failed(activation, error)
            return

        if work.accepts is not None and not isinstance(result, work.accepts):
            what = f"it gave a `{type(result).__name__}`, and its type says `{short_name(type_name(work.gives))}`"
            self._failed(activation, TypeError(what), kind="OutputInvalid")
            return

        case = _matching(work, result) if work.case_types and activation.item is None else None
        self.post(StepFinished, step=activation.id, output=Payload(result), case=case)

    async def _call(self, work: Work, value: Any, context: Context) -> Any:
        if work.timeout is None:
            return await work.execute(value, context)

        limit = asyncio.timeout(work.timeout)
        try:
            async with limit:
                return await work.execute(value, context)
        except TimeoutError:
            if not limit.expired():
                raise

            raise StepTimeout(f"it took longer than its {work.timeout:g} s") from None

    def _failed(self, activation: Activation, error: Exception, *, kind: str = "") -> None:
        self.causes[activation.id] = error
        info = error_info(error, kind=kind)
        final = info.kind in FINAL or isinstance(error, BudgetExhausted)
        # The random share of a retry's wait is drawn here, so that the reducer needs no randomness.
        chance = random.random()  # noqa: S311 - jitter, not a secret
        self.post(StepFailed, step=activation.id, error=info, final=final, chance=chance)

    async def _stopped(self) -> None:
        if (error := self.causes.get("")) is not None:
            raise error

        kind, reason = self._stop or (RunCancelled, "cancelled by the caller")
        await self._cancel_tasks()
        self._inbox = deque(draft for draft in self._inbox if draft.kind is OperationFinished)
        self._launch.clear()
        self.post(kind, reason=reason)
        await self.commit()
        if self._stop is None:
            raise asyncio.CancelledError

    async def _cancel_tasks(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

        self._timers.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()

        await asyncio.gather(*tasks, return_exceptions=True)

    async def _clean_up(self) -> None:
        await self._cancel_tasks()
        if is_over(self.state) or self.state.status == "interrupted":
            self._inbox.clear()

        for close in reversed(self.closers):
            try:
                await close()
            except Exception as error:  # noqa: BLE001 - a browser that is gone already must not hide the run's result
                self.causes.setdefault("close", error)

        self.closers.clear()
        self._driver = None

    @property
    def failed_step(self) -> str:
        """The activation that ended the run, if one did."""
        failed = [a.id for a in self.state.open() if a.phase == "failed"]
        return failed[-1] if failed else ""

    def tell(self, delta: Delta) -> None:
        """Pass a piece of streamed text to the observers."""
        for observer in self.observers:
            observer(delta)

    def waiting(self) -> list[Activation]:
        """The approvals that this run waits for."""
        return [a for a in self.state.open() if a.phase == "asking" and a.verdict is None]


def _matching(work: Work, value: Any) -> str | None:
    exact = next((name for name, case in work.case_types if type(value) is case), None)
    if exact is not None:
        return exact

    return next((name for name, case in work.case_types if is_instance(value, case)), None)
