"""What code inside a step may see and do: the run it belongs to, earlier outputs, and recorded operations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from agentflow.path import Step

OperationKind = Literal["plan", "chat", "agent", "tool", "retrieval", "embeddings"]
T = TypeVar("T")


@dataclass(slots=True)
class Operation:
    """One recorded piece of work inside a step; what is set here lands in its outcome event."""

    id: str
    kind: OperationKind
    name: str
    result: Any = None
    usage: Mapping[str, int | float] | None = None
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])


class Recorder(Protocol):
    """Where a step's operations, artifacts and streamed tokens go; the engine provides it."""

    async def begin(
        self, kind: OperationKind, name: str, request: Any, attributes: Mapping[str, Any]
    ) -> Operation: ...

    async def finish(self, operation: Operation, error: BaseException | None) -> None: ...

    def delta(self, text: str) -> None: ...

    def artifact(self, name: str, data: bytes, media_type: str) -> str: ...

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None: ...

    def shared(self, key: str, make: Callable[[], Any]) -> Any: ...

    def output(self, step: str) -> Any: ...


@dataclass(slots=True, kw_only=True)
class Context:
    """What a step may know of its run. A step receives it by declaring a parameter `ctx: Context`.

    `idempotency_key` is the same on each attempt of this step in this run: hand it to services that take one.
    """

    run_id: str
    step: str
    attempt: int
    input: Any
    model: str
    root: Path
    recorder: Recorder

    @property
    def idempotency_key(self) -> str:
        return f"{self.run_id}:{self.step}"

    def output(self, step: Step[Any, T]) -> T:
        """The latest output of `step`, which must come before this one on every path."""
        value: T = self.recorder.output(step.name)
        return value

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


_current: ContextVar[Context | None] = ContextVar("agentflow_context", default=None)


def current() -> Context | None:
    """The context of the step that runs here, or None outside of a run."""
    return _current.get()


@contextmanager
def entered(context: Context) -> Generator[None, None, None]:
    """Make `context` the current one for what runs inside."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


@asynccontextmanager
async def operation(
    kind: OperationKind, name: str, *, request: Any = None, **attributes: Any
) -> AsyncGenerator[Operation, None]:
    """Record a piece of work as an operation of the current step; outside of a run it only runs.

    `request` is what was asked (JSON-able or a dataclass); set `.result`, `.usage` and `.attributes` inside.
    Keys of `attributes` are snake_case names that tracing maps to span attributes.
    """
    context = _current.get()
    if context is None:
        yield Operation(id="", kind=kind, name=name, attributes=dict(attributes))
        return

    recorder = context.recorder
    record = await recorder.begin(kind, name, request, attributes)
    try:
        yield record
    except BaseException as error:
        await recorder.finish(record, error)
        raise
    await recorder.finish(record, None)
