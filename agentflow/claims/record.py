"""The tool calls of a run, as far as an answer can rest on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Self, cast

from agentflow.events import (
    ErrorInfo,
    Event,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    RunStarted,
)
from agentflow.evidence import Evidence

_FIELDS = frozenset(f.name for f in fields(Evidence))


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a tool and what came of it; `within` names what it did in turn, such as a search service.

    `result` is plain JSON data. `is_over` is False for a call without an outcome.
    """

    step: str
    operation: str
    tool: str
    call_id: str = ""
    arguments: Any = None
    result: Any = None
    error: ErrorInfo | None = None
    is_over: bool = False
    within: frozenset[str] = frozenset()

    @property
    def is_done(self) -> bool:
        return self.is_over and self.error is None

    @property
    def names(self) -> frozenset[str]:
        return self.within | {self.tool}

    @cached_property
    def passages(self) -> Sequence[Evidence]:
        """The evidence that the call returned."""
        return tuple(_passages(self.result)) if self.is_done else ()

    @cached_property
    def text(self) -> str:
        """All that the call returned, as text."""
        if not self.is_done or self.result is None:
            return ""

        return self.result if isinstance(self.result, str) else json.dumps(self.result, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the tools of a run were asked and gave, and what the run was given to begin with."""

    run: str = ""
    calls: Sequence[Call] = ()
    input: str = ""

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """The record of a run, or of as much of it as there is."""
        folded = _Folded()
        for event in events:
            folded.add(event)

        return cls(run=folded.run, calls=tuple(folded.calls()), input=folded.input)

    @cached_property
    def passages(self) -> Sequence[Evidence]:
        """The evidence that all calls returned, in order."""
        return tuple(passage for call in self.calls for passage in call.passages)


@dataclass
class _Folded:
    """The events of a run on their way to a record."""

    run: str = ""
    input: str = ""
    begun: dict[tuple[str, str], OperationStarted] = field(
        default_factory=dict[tuple[str, str], OperationStarted]
    )
    over: dict[tuple[str, str], OperationFinished] = field(
        default_factory=dict[tuple[str, str], OperationFinished]
    )
    said_done: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def add(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.run, self.input = event.run, " ".join(_texts(event.input.data))
            case OperationStarted():
                self.begun[event.step, event.operation] = event
            case OperationFinished():
                self.over[event.step, event.operation] = event
            case OperationResolved(verdict="done"):
                # A person says that it was done: that is a call, but no tool returned anything.
                self.said_done.add((event.step, event.operation))
            case _:
                pass

    def calls(self) -> Iterator[Call]:
        within = self._within()
        for key, event in self.begun.items():
            if event.kind == "tool":
                ended = self.over.get(key)
                is_done = key in self.said_done
                yield Call(
                    step=event.step,
                    operation=event.operation,
                    tool=event.name,
                    call_id=str((event.attributes or {}).get("call_id", "")),
                    arguments=event.request.data if event.request is not None else None,
                    result=ended.result.data if ended is not None and ended.result is not None else None,
                    error=ended.error if ended is not None and not is_done else None,
                    is_over=ended is not None or is_done,
                    within=frozenset(within.get(key, ())),
                )

    def _within(self) -> dict[tuple[str, str], set[str]]:
        """The names of what each operation did in turn, at any depth."""
        found: dict[tuple[str, str], set[str]] = {}
        for event in self.begun.values():
            parent = event.parent
            while parent:
                found.setdefault((event.step, parent), set()).add(event.name)
                around = self.begun.get((event.step, parent))
                parent = around.parent if around is not None else ""

        return found


def _passages(data: Any) -> Iterator[Evidence]:
    match data:
        case list():
            for item in data:
                yield from _passages(item)
        case {"text": str(), "source": str()}:
            known = cast("Mapping[str, Any]", data)
            yield Evidence(**{name: value for name, value in known.items() if name in _FIELDS})
        case dict():
            for item in cast("dict[str, Any]", data).values():
                yield from _passages(item)
        case _:
            pass


def _texts(data: Any) -> Iterator[str]:
    match data:
        case str():
            yield data
        case list():
            for item in data:
                yield from _texts(item)
        case dict():
            for item in cast("dict[str, Any]", data).values():
                yield from _texts(item)
        case _:
            pass
