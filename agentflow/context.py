"""What code inside a step may see and do: the run it belongs to, earlier outputs, and recorded operations."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from agentflow import exceptions
from agentflow.events import ErrorInfo, Event, Payload
from agentflow.path import Step

OperationKind = Literal["plan", "chat", "agent", "tool", "retrieval", "embeddings", "guardrail"]
T = TypeVar("T")


@dataclass(slots=True)
class Operation:
    """One recorded piece of work inside a step; what is set here lands in its outcome event.

    `granted` is how many tokens a model may write, where a budget had to be asked. `is_noted` is False for one that an
    earlier attempt has recorded already.
    """

    id: str
    kind: OperationKind
    name: str
    result: Any = None
    usage: Mapping[str, int | float] | None = None
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    granted: int | None = None
    is_noted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended that an earlier attempt made: what it gave is given again, and the call is not made."""

    result: Payload | None = None
    usage: Mapping[str, int | float] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The most that a model call can use, reserved from the budgets before it is made.

    `output_tokens` is the most that the model may write: the caller's own limit where it `is_fixed`, else one that may be
    lowered to what the budgets still have. `price` gives US dollars for input and output tokens, None where it is not known.
    """

    input_tokens: int
    output_tokens: int
    is_fixed: bool
    price: Callable[[int, int], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A person's answer to a question: yes or no, who said it, and why."""

    approved: bool
    by: str
    comment: str = ""


class Recorder(Protocol):
    """Where a step's operations, artifacts and streamed tokens go; the engine provides it."""

    @property
    def mark(self) -> str: ...

    async def begin(
        self,
        kind: OperationKind,
        name: str,
        request: Any,
        attributes: Mapping[str, Any],
        *,
        once: bool = False,
        demand: Demand | None = None,
        is_scope: bool = False,
    ) -> Operation | Outcome: ...

    async def finish(self, operation: Operation, error: BaseException | None) -> None: ...

    async def ask(self, tool: str, arguments: Mapping[str, Any], prompt: str) -> Verdict: ...

    def is_bounded(self) -> bool: ...

    def refuse_unchecked(self, tool: Any) -> None: ...

    def refusal(self, tool: Any) -> str: ...

    def saw(self, tool: Any) -> None: ...

    def count_seen(self) -> None: ...

    def has_read(self, taint: Literal["untrusted", "private"]) -> bool: ...

    def key(self) -> str: ...

    def delta(self, text: str) -> None: ...

    def artifact(self, name: str, data: bytes, media_type: str) -> str: ...

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None: ...

    def shared(self, key: str, make: Callable[[], Any]) -> Any: ...

    def output(self, step: str) -> Any: ...

    async def events(self) -> Sequence[Event]: ...


@dataclass(slots=True, kw_only=True)
class Context:
    """What a step may know of its run. A step receives it by declaring a parameter `ctx: Context`."""

    run_id: str
    step: str
    attempt: int
    input: Any
    model: str
    root: Path
    recorder: Recorder

    @property
    def mark(self) -> str:
        """What text from outside is marked with, where a model gets to see it; empty where it is not."""
        return self.recorder.mark

    @property
    def idempotency_key(self) -> str:
        """The same on each attempt, in whatever process: hand it to services that take one.

        Inside of a tool it names the call (this tool, asked for the same, for the nth time, in this step), else the step.
        """
        return self.recorder.key()

    def output(self, step: Step[Any, T]) -> T:
        """The latest output of `step`, which must come before this one on every path."""
        value: T = self.recorder.output(step.name)
        return value

    async def events(self) -> Sequence[Event]:
        """What has happened in this run so far, as it stands in the journal."""
        return await self.recorder.events()

    def artifact(self, name: str, data: bytes, media_type: str = "application/octet-stream") -> str:
        """Keep a file beside the run and return the path that it was written to."""
        return self.recorder.artifact(name, data, media_type)

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have `close` awaited when the run's process is done with it, however it ends."""
        self.recorder.on_close(close)

    def shared(self, key: str, make: Callable[[], T]) -> T:
        """The object kept for this run under `key`, made by `make` on first use (a browser, a connection)."""
        value: T = self.recorder.shared(key, make)
        return value

    def stream(self, text: str) -> None:
        """Show `text` to those who watch the run, as it comes; it is not kept."""
        self.recorder.delta(text)

    def is_bounded(self) -> bool:
        """Whether a budget of tokens or money holds here, so that a model call must say what it can use at most."""
        return self.recorder.is_bounded()

    def refuse_unchecked(self, tool: Any) -> None:
        """Raise `ToolUnchecked` where the check of the workflow did not see this `Tool` in this step, with these labels."""
        self.recorder.refuse_unchecked(tool)

    def refusal(self, tool: Any) -> str:
        """Why the models of this step may not call `Tool` any more, after what they have read; empty where they may."""
        return self.recorder.refusal(tool)

    def saw(self, tool: Any) -> None:
        """Note that a call of `Tool` has ended: what it gave will be read."""
        self.recorder.saw(tool)

    def count_seen(self) -> None:
        """Have what was seen so far count for the calls that come now, which may have been made from it."""
        self.recorder.count_seen()

    def has_read(self, taint: Literal["untrusted", "private"]) -> bool:
        """Whether the models of this step can know content of this kind, from their input or their calls."""
        return self.recorder.has_read(taint)

    async def ask(self, tool: str, arguments: Mapping[str, Any], *, prompt: str = "") -> Verdict:
        """A person's answer to whether `tool` may be called with exactly these arguments; waits for it, for days if need be."""
        return await self.recorder.ask(tool, arguments, prompt)


_current: ContextVar[Context | None] = ContextVar("agentflow_context", default=None)


def current() -> Context | None:
    """The context of the step that runs here, or None outside of a run."""
    return _current.get()


class entered:  # noqa: N801 - used like a function; a generator would cost a step five times as much
    """Make `context` the current one for what runs inside."""

    __slots__ = ("_before", "_context")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._before = _current.set(self._context)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._before)


@asynccontextmanager
async def operation(
    kind: OperationKind, name: str, *, request: Any = None, **attributes: Any
) -> AsyncGenerator[Operation, None]:
    """Record a piece of work as an operation of the current step; outside of a run it only runs.

    `request` is what was asked (JSON-able, a dataclass or a payload); set `.result`, `.usage` and `.attributes` inside.
    Keys of `attributes` are snake_case names that tracing maps to span attributes. What is inside is done again when the
    step is; a call that must not be made again goes through `effect`.
    """
    context = _current.get()
    if context is None:
        yield Operation(id="", kind=kind, name=name, attributes=dict(attributes))
        return

    recorder = context.recorder
    record = await recorder.begin(kind, name, request, attributes, is_scope=True)
    assert isinstance(record, Operation)
    try:
        yield record
    except BaseException as error:
        await recorder.finish(record, error)
        raise
    await recorder.finish(record, None)


async def effect(
    kind: Literal["chat", "tool", "guardrail"],
    name: str,
    work: Callable[[Operation], Awaitable[T]],
    restore: Callable[[Outcome], T],
    *,
    request: Any = None,
    once: bool = False,
    demand: Demand | None = None,
    **attributes: Any,
) -> T:
    """Make a call as a recorded operation of the current step; outside of a run it is only made.

    Where an earlier attempt of the step recorded how this very call ended, `restore` gives its result from that, or what
    it raised is raised again, and `work` is not called. `once` marks a call that must not be repeated by itself.
    """
    context = _current.get()
    if context is None:
        return await work(Operation(id="", kind=kind, name=name, attributes=dict(attributes)))

    recorder = context.recorder
    begun = await recorder.begin(kind, name, request, attributes, once=once, demand=demand)
    if isinstance(begun, Outcome):
        if begun.error is not None:
            raise restored(begun.error)

        return restore(begun)

    try:
        value = await work(begun)
    except BaseException as error:
        await recorder.finish(begun, error)
        raise
    await recorder.finish(begun, None)
    return value


def restored(error: ErrorInfo) -> Exception:
    """An error as it was raised when it was recorded: of the same name, with the same words and hint."""
    known: Any = getattr(exceptions, error.base or error.kind, None)
    ours = isinstance(known, type) and issubclass(known, exceptions.AgentflowError)
    # A user's own class may not be there any more; what a model is told of an error is its name and its words.
    base: type[Exception] = known if ours else _builtin(error.kind)
    made: Any = base if ours and not error.base else type(error.kind, (base,), {"__str__": _message})
    # Past the constructors, which take other arguments.
    again: Exception = made.__new__(made)
    Exception.__init__(again, error.message)
    if isinstance(again, exceptions.AgentflowError):
        again.hint = error.hint

    return again


def _builtin(name: str) -> type[Exception]:
    """The error of Python itself that has this name, so that code which catches it does so again."""
    known: Any = getattr(builtins, name, None)
    return known if isinstance(known, type) and issubclass(known, Exception) else Exception


def _message(error: Exception) -> str:
    # Some show their message in another way than they were given it.
    return str(error.args[0])
