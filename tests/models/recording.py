"""A recorder of operations for tests: it keeps them, and which of them stood inside which."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentflow.context import Context, Operation, OperationKind, entered

_inside: ContextVar[Kept | None] = ContextVar("inside", default=None)


@dataclass
class Kept:
    """An operation with what it was asked, where it stood, and how it ended."""

    operation: Operation
    request: Any
    parent: Kept | None
    error: BaseException | None = None
    finished: bool = False

    @property
    def path(self) -> str:
        """Kinds and names from the outermost operation to this one."""
        own = f"{self.operation.kind} {self.operation.name}"
        return f"{self.parent.path} > {own}" if self.parent else own


@dataclass
class Recording:
    """Implements `agentflow.context.Recorder`. `refuse` raises when an operation must not begin."""

    kept: list[Kept] = field(default_factory=list[Kept])
    text: str = ""
    refuse: Callable[[str, str], None] | None = None

    async def begin(
        self, kind: OperationKind, name: str, request: Any, attributes: Mapping[str, Any]
    ) -> Operation:
        if self.refuse is not None:
            self.refuse(kind, name)

        operation = Operation(id=str(len(self.kept)), kind=kind, name=name, attributes=dict(attributes))
        kept = Kept(operation=operation, request=request, parent=_inside.get())
        self.kept.append(kept)
        _inside.set(kept)
        return operation

    async def finish(self, operation: Operation, error: BaseException | None) -> None:
        kept = self.kept[int(operation.id)]
        assert not kept.finished, "an operation finished twice"
        assert _inside.get() is kept, "an operation finished in another context than it began in"
        kept.finished, kept.error = True, error
        _inside.set(kept.parent)

    def delta(self, text: str) -> None:
        self.text += text

    def artifact(self, name: str, data: bytes, media_type: str) -> str:
        raise NotImplementedError

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        raise NotImplementedError

    def shared(self, key: str, make: Callable[[], Any]) -> Any:
        raise NotImplementedError

    def output(self, step: str) -> Any:
        raise NotImplementedError

    @property
    def paths(self) -> list[str]:
        return [kept.path for kept in self.kept]

    def one(self, kind: str, name: str) -> Kept:
        (found,) = [k for k in self.kept if (k.operation.kind, k.operation.name) == (kind, name)]
        return found


@contextmanager
def recorded(refuse: Callable[[str, str], None] | None = None) -> Generator[Recording, None, None]:
    """Run the block as if inside a step; afterwards every operation that began must have finished."""
    recording = Recording(refuse=refuse)
    inside = Context(
        run_id="run", step="step", attempt=1, input=None, model="", root=Path(), recorder=recording
    )
    with entered(inside):
        yield recording

    assert all(kept.finished for kept in recording.kept), "an operation was left open"
