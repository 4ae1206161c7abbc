"""A recorder of operations for tests: it keeps them, serves what an earlier one kept, and answers for people and budgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentflow.context import Context, Demand, Operation, OperationKind, Outcome, Verdict, entered
from agentflow.events import ErrorInfo, Payload
from agentflow.exceptions import AgentflowError
from agentflow.marking import mark_of

_inside: ContextVar[Kept | None] = ContextVar("inside", default=None)

Key = tuple[Any, ...]
Answer = Callable[[str, Mapping[str, Any]], Verdict | Awaitable[Verdict]]


@dataclass
class Kept:
    """An operation with what it was asked, where it stood, and how it ended."""

    operation: Operation
    request: Any
    parent: Kept | None
    key: Key = ()
    once: bool = False
    is_scope: bool = False
    demand: Demand | None = None
    error: BaseException | None = None
    finished: bool = False

    @property
    def path(self) -> str:
        """Kinds and names from the outermost operation to this one."""
        own = f"{self.operation.kind} {self.operation.name}"
        return f"{self.parent.path} > {own}" if self.parent else own

    @property
    def outcome(self) -> Outcome:
        """How it ended, as it would come back from a file."""
        result = None if self.operation.result is None else Payload(raw=Payload(self.operation.result).json)
        return Outcome(
            result=result,
            usage=self.operation.usage,
            attributes=Payload(raw=Payload(self.operation.attributes).json).data,
            error=None if self.error is None else _error(self.error),
        )


def _error(error: BaseException) -> ErrorInfo:
    hint = error.hint if isinstance(error, AgentflowError) else ""
    return ErrorInfo(kind=type(error).__name__, message=str(error), hint=hint)


@dataclass
class Recording:
    """Implements `agentflow.context.Recorder`. `refuse` raises when an operation must not begin.

    `known` are outcomes that are served, `person` answers questions, `granted` is what a budget allows a model to write.
    """

    kept: list[Kept] = field(default_factory=list[Kept])
    text: str = ""
    refuse: Callable[[str, str], None] | None = None
    known: Mapping[Key, Outcome] = field(default_factory=dict[Key, Outcome])
    person: Answer | None = None
    granted: int | None = None
    asked: list[tuple[str, dict[str, Any], str]] = field(
        default_factory=list[tuple[str, dict[str, Any], str]]
    )
    served: int = 0
    ended: list[Kept] = field(default_factory=list[Kept])
    things: dict[str, Any] = field(default_factory=dict[str, Any])
    mark: str = mark_of("a run")
    _counts: Counter[Key] = field(default_factory=Counter[Key])

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
    ) -> Operation | Outcome:
        if self.refuse is not None:
            self.refuse(kind, name)

        if isinstance(request, Payload):
            request = request.data

        parent = _inside.get()
        key = self._key(parent.key if parent else (), kind, name, request)
        if not is_scope and key in self.known:
            self.served += 1
            return self.known[key]

        operation = Operation(id=str(len(self.kept)), kind=kind, name=name, attributes=dict(attributes))
        operation.granted = self.granted if demand is not None else None
        kept = Kept(operation, request, parent, key, once, is_scope, demand)
        self.kept.append(kept)
        _inside.set(kept)
        return operation

    def _key(self, parent: Key, kind: str, name: str, request: Any) -> Key:
        alike = (parent, kind, name, Payload(request).json)
        self._counts[alike] += 1
        return (*alike, self._counts[alike])

    async def finish(self, operation: Operation, error: BaseException | None) -> None:
        kept = self.kept[int(operation.id)]
        assert not kept.finished, "an operation finished twice"
        assert _inside.get() is kept, "an operation finished in another context than it began in"
        kept.finished, kept.error = True, error
        self.ended.append(kept)
        _inside.set(kept.parent)

    async def ask(self, tool: str, arguments: Mapping[str, Any], prompt: str) -> Verdict:
        self.asked.append((tool, dict(arguments), prompt))
        assert self.person is not None, f"nobody is there to be asked about `{tool}`"
        verdict = self.person(tool, arguments)
        return verdict if isinstance(verdict, Verdict) else await verdict

    def refuse_unchecked(self, tool: Any) -> None: ...

    def refusal(self, tool: Any) -> str:
        return ""

    def saw(self, tool: Any) -> None: ...

    def count_seen(self) -> None: ...

    def has_read(self, taint: Any) -> bool:
        return False

    def is_bounded(self) -> bool:
        return self.granted is not None

    def key(self) -> str:
        inside = _inside.get()
        return f"run:step:{hash(inside.key)}" if inside else "run:step"

    def delta(self, text: str) -> None:
        self.text += text

    def artifact(self, name: str, data: bytes, media_type: str) -> str:
        raise NotImplementedError

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Pools that tests share are closed by them."""

    def shared(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self.things:
            self.things[key] = make()

        return self.things[key]

    async def events(self) -> list[Any]:
        return []

    def output(self, step: str) -> Any:
        raise NotImplementedError

    @property
    def paths(self) -> list[str]:
        return [kept.path for kept in self.kept]

    @property
    def effects(self) -> list[Kept]:
        """The model and tool calls that were made, in the order in which they ended."""
        return [kept for kept in self.ended if not kept.is_scope]

    def outcomes(self, count: int | None = None) -> dict[Key, Outcome]:
        """How the first `count` calls ended, to be served to another recording; all of them when it is None."""
        return {kept.key: kept.outcome for kept in self.effects[:count]}

    def one(self, kind: str, name: str) -> Kept:
        (found,) = [k for k in self.kept if (k.operation.kind, k.operation.name) == (kind, name)]
        return found


@contextmanager
def recorded(
    refuse: Callable[[str, str], None] | None = None,
    *,
    known: Mapping[Key, Outcome] | None = None,
    person: Answer | None = None,
    granted: int | None = None,
    shared: Mapping[str, Any] | None = None,
    model: str = "",
) -> Generator[Recording, None, None]:
    """Run the block as if inside a step; afterwards every operation that began must have finished."""
    recording = Recording(refuse=refuse, known=known or {}, person=person, granted=granted)
    recording.things.update(shared or {})
    inside = Context(
        run_id="run",
        step="step",
        attempt=1,
        input=None,
        model=model,
        root=Path(),
        recorder=recording,
    )
    with entered(inside):
        yield recording

    assert all(kept.finished for kept in recording.kept), "an operation was left open"
