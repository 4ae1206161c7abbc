"""The composition root: puts a definition, a journal, models and observers together, and runs."""

from __future__ import annotations

import asyncio
import getpass
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast
from weakref import WeakKeyDictionary

from agentflow import exceptions
from agentflow.engine.graph import Program, bind
from agentflow.engine.notices import Delta
from agentflow.engine.runner import Observer, Runner, Scope
from agentflow.engine.state import Activation, State
from agentflow.events import ErrorInfo, Event, RunCancelled, RunInterrupted, RunStarted, adapter
from agentflow.exceptions import InputInvalid, ProjectError, RunError, StepFailed, UnknownName
from agentflow.journal import Journal
from agentflow.journal.memory import MemoryJournal
from agentflow.spec import to_data
from agentflow.steps.prompting import field_names
from agentflow.tracing.ids import hex_trace_id
from agentflow.typeref import short_name, type_name
from agentflow.version import VERSION
from agentflow.workflow import Workflow

T = TypeVar("T")
# It names a folder of artifacts and stands in commands, so it must be plain.
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A person's answer to an approval."""

    approved: bool
    by: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An approval that a run waits for: which step, what is asked, and exactly what would be approved."""

    step: str
    prompt: str
    subject: Any
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Generic[T]):
    """How a run stands: `status` is done, failed, rejected, cancelled, interrupted or waiting."""

    run_id: str
    status: str
    output: T | None
    error: ErrorInfo | None
    step: str
    usage: Mapping[str, Any]
    trace_id: str
    head: str
    seconds: float
    pending: Sequence[Pending] = ()
    cause: BaseException | None = None

    def unwrap(self) -> T:
        """The output; raises what ended the run where it has none."""
        if self.status == "done":
            return self.output  # type: ignore[return-value]

        raise self._error() from self.cause

    def _error(self) -> RunError:
        if self.status == "waiting":
            names = ", ".join(f"`{p.step}`" for p in self.pending)
            hint = f"agentflow approve {self.run_id} --yes|--no"
            return exceptions.RunWaiting(f"run `{self.run_id}` waits for {names}", hint=hint)

        if self.error is None:
            hint = f"agentflow resume {self.run_id}" if self.status == "interrupted" else ""
            return exceptions.RunCancelled(f"run `{self.run_id}` was {self.status}", hint=hint)

        return _run_error(self.step, self.error)


def _run_error(step: str, error: ErrorInfo) -> RunError:
    kind = getattr(exceptions, error.kind, None)
    engine_own = (
        "LoopBoundReached",
        "MapBoundReached",
        "NoMatchingCase",
        "RunStalled",
        "RunRejected",
        "BudgetExhausted",
    )
    if isinstance(kind, type) and issubclass(kind, RunError) and error.kind in engine_own:
        return kind(error.message, hint=error.hint)

    return StepFailed(step, error.kind, error.message, hint=error.hint)


_programs: WeakKeyDictionary[Workflow[Any, Any], Program] = WeakKeyDictionary()


def compile_workflow(workflow: Workflow[Any, Any]) -> Program:
    """The workflow as the engine runs it; made once for each workflow."""
    known = _programs.get(workflow)
    if known is None:
        children = {name: compile_workflow(child) for name, child in workflow.children()}
        known = bind(workflow.spec, workflow.steps, children, workflow.types)
        _programs[workflow] = known

    return known


def new_run_id(name: str) -> str:
    """A name for a run that sorts by time and reads well: `research-261123-081530-4f2a`."""
    return f"{name}-{time.strftime('%y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def coerce_input(workflow: Workflow[Any, Any], value: Any) -> Any:
    """`value` as what the workflow takes; raises `InputInvalid` that names each field, what it wants and what came."""
    from pydantic import ValidationError

    wanted = f"it takes `{short_name(type_name(workflow.takes))}`{_shape(workflow.takes)}"
    if unknown := _unknown_fields(workflow.takes, value):
        raise InputInvalid(f"workflow `{workflow.name}`", unknown, hint=wanted)

    try:
        return adapter(workflow.takes).validate_python(value)
    except ValidationError as error:
        details = [_fault(e) for e in error.errors()]
        raise InputInvalid(f"workflow `{workflow.name}`", details, hint=wanted) from None


def _unknown_fields(type_: Any, value: Any) -> list[str]:
    names = field_names(type_)
    if names is None or type_ is str or not isinstance(value, Mapping):
        return []

    given = cast("Mapping[str, Any]", value)
    return [f"`{key}`: there is no such field" for key in given if key not in names]


def _fault(error: Any) -> str:
    place = ".".join(map(str, error["loc"])) or "the value"
    got = "nothing" if error["type"] in ("missing", "missing_argument") else f"{error['input']!r:.80}"
    return f"`{place}`: {error['msg'][0].lower()}{error['msg'][1:]}; got {got}"


def _shape(type_: Any) -> str:
    names = field_names(type_)
    return f" with {', '.join(sorted(names))}" if names and type_ is not str else ""


Approver = Callable[[Pending], Awaitable[Decision | None]]


class Run(Generic[T]):
    """One run in this process. Await it for the output, or iterate `events()`; `result()` never raises for a failed run."""

    def __init__(self, runner: Runner, *, approver: Approver | None = None) -> None:
        self.id = runner.run_id
        self.runner = runner
        self._approver = approver
        self._task: asyncio.Task[Result[T]] | None = None
        self._asking: asyncio.Future[Decision | None] | None = None
        self._started = time.monotonic()

    def __await__(self) -> Generator[Any, None, T]:
        return self.output().__await__()

    async def output(self) -> T:
        """The output; raises what ended the run where it has none."""
        return (await self.result()).unwrap()

    async def result(self) -> Result[T]:
        """Run to the end, or to where a person is needed, and say how it stands."""
        return await self.start()

    def start(self) -> asyncio.Task[Result[T]]:
        """Begin now, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._drive())

        return self._task

    async def events(self) -> AsyncIterator[Event | Delta]:
        """Events as they are committed, and streamed text between them, until the run is over or waits."""
        queue: asyncio.Queue[Event | Delta | None] = asyncio.Queue()
        self.runner.observers.append(queue.put_nowait)
        task = self.start()
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (item := await queue.get()) is not None:
                yield item
        finally:
            with suppress(ValueError):  # the runner drops an observer that fails
                self.runner.observers.remove(queue.put_nowait)

        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    def decide(self, step: str | None, decision: Decision) -> None:
        """Answer an approval that a resumed run waits for; `step` may be left out where only one waits."""
        waiting = self.runner.waiting()
        chosen = [a for a in waiting if step in (None, a.id, a.node.id)]
        if len(chosen) == 1:
            by = decision.by or user_name()
            self.runner.decide(chosen[0], approved=decision.approved, by=by, comment=decision.comment)
            return

        names = [a.id for a in waiting]
        if step is not None and not chosen:
            raise UnknownName("waiting step", step, names)

        some = ", ".join(f"`{name}`" for name in names)
        raise ProjectError(
            f"run `{self.id}` waits for {some}" if names else f"run `{self.id}` waits for nobody",
            hint="name the step to answer" if names else f"look at it: agentflow show {self.id}",
        )

    def cancel(self, reason: str = "cancelled") -> None:
        """End the run for good; what is running is stopped."""
        self._halt(RunCancelled, reason)

    def interrupt(self, reason: str = "interrupted") -> None:
        """Stop here so that the run can be resumed later."""
        self._halt(RunInterrupted, reason)

    def _halt(self, kind: type[Event], reason: str) -> None:
        self.runner.stop(kind, reason)
        if self._asking is not None:
            # The question is withdrawn: what is typed from now on is no answer to it.
            self._asking.cancel()

    async def _drive(self) -> Result[T]:
        while True:
            state = await self.runner.drive()
            waiting = self.runner.waiting() if state.status == "running" else []
            if not waiting or self._approver is None:
                return await self._result(state, waiting)

            if not await self._decide(self._approver, waiting):
                return await self._result(state, waiting)

    async def _decide(self, approver: Approver, waiting: Sequence[Activation]) -> bool:
        decided = False
        for activation in waiting:
            self._asking = asyncio.ensure_future(approver(self._pending(activation)))
            # Waited for, not awaited: a question that is withdrawn must not cancel who asked it.
            await asyncio.wait([self._asking])
            asked, self._asking = self._asking, None
            if asked.cancelled():
                return True  # the next drive records why

            decision = asked.result()
            if decision is not None:
                by = decision.by or user_name()
                self.runner.decide(activation, approved=decision.approved, by=by, comment=decision.comment)
                decided = True

        return decided

    def _pending(self, activation: Activation) -> Pending:
        prompt = str(activation.node.options.get("prompt", ""))
        subject = activation.input.data
        return Pending(step=activation.id, prompt=prompt, subject=subject, digest=activation.digest)

    async def _result(self, state: State, waiting: Sequence[Activation]) -> Result[T]:
        output = state.output.value(self.runner.program.gives) if state.output is not None else None
        return Result(
            run_id=self.id,
            status="waiting" if waiting else state.status,
            output=output,
            error=state.error,
            step=self.runner.failed_step,
            usage=self.runner.ledger.used(),
            trace_id=hex_trace_id(self.id),
            head=await self.runner.journal.head(self.id),
            seconds=time.monotonic() - self._started,
            pending=tuple(self._pending(a) for a in waiting),
            cause=self.runner.causes.get(self.runner.failed_step),
        )


def user_name() -> str:
    """Who decides, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is given beside its definition and input."""

    journal: Journal | None = None
    model: str = "embedded"
    models: Mapping[str, Any] | None = None
    root: Path | None = None
    observers: Sequence[Observer] = ()
    approver: Approver | None = None
    scope: Scope | None = None


def run(
    workflow: Workflow[Any, T],
    value: Any,
    *,
    run_id: str | None = None,
    attributes: Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> Run[T]:
    """A new run of `workflow` on `value`; await it for the output, or iterate its `events()`.

    `value` is what the workflow takes, or plain data that fits it. Without `settings`, the run is kept in memory and
    uses the embedded model.
    """
    settings = settings or Settings()
    if run_id is not None and not _RUN_ID.fullmatch(run_id):
        raise ProjectError(
            f"`{run_id}` cannot name a run", hint="use letters, digits, `.`, `_` and `-`, at most 128 of them"
        )

    checked = coerce_input(workflow, value)
    runner = _runner(workflow, run_id or new_run_id(workflow.name), settings)
    runner.input = checked
    runner.begin(checked, VERSION, dict(attributes or {}), to_data(workflow.spec))
    return Run(runner, approver=settings.approver)


async def resume(workflow: Workflow[Any, T], run_id: str, *, settings: Settings) -> Run[T]:
    """Take up a run where its journal left it; finished steps are not run again."""
    events = await load(settings.journal, run_id)
    started = events[0]
    assert isinstance(started, RunStarted)
    if started.digest != workflow.digest:
        raise ProjectError(
            f"run `{run_id}` was started with another definition of `{workflow.name}`",
            hint="resume it with the definition that it was started with, or start a new run",
        )

    if events[-1].type in ("run.finished", "run.cancelled"):
        raise ProjectError(
            f"run `{run_id}` is over ({events[-1].type})", hint=f"look at it: agentflow show {run_id}"
        )

    runner = _runner(workflow, run_id, settings)
    runner.recover(events, VERSION)
    return Run(runner, approver=settings.approver)


async def load(journal: Journal | None, run_id: str) -> list[Event]:
    """The events of a run; raises `UnknownName` with the nearest ids where there is none."""
    if journal is None:
        raise ProjectError("a run can only be taken up from a journal")

    events = await journal.read(run_id)
    if not events:
        raise UnknownName("run", run_id, [row.run for row in await journal.runs()])

    return events


def _runner(workflow: Workflow[Any, Any], run_id: str, settings: Settings) -> Runner:
    pool = _pool_with(settings.models) if settings.models else None
    runner = Runner(
        compile_workflow(workflow),
        settings.journal or MemoryJournal(),
        run_id,
        model=settings.model,
        root=settings.root,
        shared={"models": pool} if pool is not None else {},
        observers=settings.observers,
        scope=settings.scope,
    )
    if pool is not None:
        runner.closers.append(pool.aclose)

    return runner


def _pool_with(models: Mapping[str, Any]) -> Any:
    import os

    from agentflow.models.pool import ModelPool  # loads the SDK

    return ModelPool(os.environ, extra=models)
