"""What a step did in its earlier attempts, so that a new one need not do it again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentflow.context import Outcome
from agentflow.engine.state import CUT_OFF
from agentflow.events import (
    ErrorInfo,
    Event,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    Payload,
    StepFailed,
)
from agentflow.transcript import Transcribed

# Failures that lie outside of what a step did so far: a new attempt goes on from there. After any other one it asks its
# models anew, as the same answers would fail the same way again.
PASSING = frozenset({"BudgetExhausted", "ModelUnreachable", "ModelTimeout", "ModelRefused", "StepTimeout"})
# A call that was stopped between its intent and the deed.
NOT_MADE = "NotMade"
SCOPES = frozenset({"plan", "agent"})


@dataclass(slots=True)
class Entry:
    """One operation of an earlier attempt; `outcome` is None where none is known."""

    operation: str
    kind: str
    name: str
    once: bool
    parent: bytes
    outcome: Outcome | None = None

    @property
    def is_over(self) -> bool:
        return self.outcome is not None and (self.outcome.error is None or self.kind not in SCOPES)


# Marks the kind of calls that must not be repeated: a refusal to make one is no outcome of it.
ONCE = "!"


def kind_of(kind: str, *, once: bool) -> str:
    """The kind of a call as its key has it."""
    return kind + ONCE if once else kind


def key_of(parent: bytes, kind: str, name: str, request: Payload | None, nth: int) -> bytes:
    """What names a call within a step: under what, of what, asked for what, and for which time."""
    start = parent + f"\0{kind}\0{name}\0{nth}\0".encode()
    if isinstance(request, Transcribed):
        return request.hashed(start)

    digest = hashlib.sha256(start)
    digest.update(request.json if request is not None else b"")
    return digest.digest()


@dataclass(slots=True)
class Record:
    """The operations of one activation. What is the same call again is known by what was asked, not by its place."""

    entries: dict[bytes, Entry] = field(default_factory=dict[bytes, Entry])
    keys: dict[str, bytes] = field(default_factory=dict[str, bytes])
    # Finished effects that must not be repeated, by what was asked, wherever in the step that was; in their order.
    done: dict[bytes, list[Entry]] = field(default_factory=dict[bytes, list[Entry]])
    _requests: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def frozen(self) -> Record:
        """The record as a new attempt finds it: what that one does itself is not served to it."""
        done = {asked: list(entries) for asked, entries in self.done.items()}
        return Record(dict(self.entries), dict(self.keys), done)

    def add(self, event: Event) -> None:
        """Take in an event of the activation."""
        match event:
            case OperationStarted():
                self._started(event)
            case OperationFinished():
                self._finished(event.operation, event.result, event.usage, event.attributes, event.error)
            case OperationResolved():
                self._resolved(event)
            case StepFailed():
                self._failed(event.error)
            case _:
                pass

    def _started(self, event: OperationStarted) -> None:
        parent = self.keys.get(event.parent, b"")
        kind = kind_of(event.kind, once=event.once)
        key = self.keys[event.operation] = key_of(parent, kind, event.name, event.request, event.nth)
        self.entries[key] = Entry(event.operation, event.kind, event.name, event.once, parent)
        if event.once:
            self._requests[event.operation] = key_of(b"", kind, event.name, event.request, 0)

    def _finished(
        self, operation: str, result: Payload | None, usage: Any, attributes: Any, error: ErrorInfo | None
    ) -> None:
        entry = self.entries.get(self.keys.get(operation, b""))
        if entry is None or entry.operation != operation:
            return

        if error is not None and (
            error.kind in ("CancelledError", NOT_MADE) or (entry.once and error.kind in CUT_OFF)
        ):
            return

        entry.outcome = Outcome(result=result, usage=usage, attributes=attributes or {}, error=error)
        if entry.once and error is None:
            self.done.setdefault(self._requests[operation], []).append(entry)

    def _resolved(self, event: OperationResolved) -> None:
        if event.verdict == "done":
            self._finished(event.operation, event.result or Payload(raw=b"null"), None, None, None)
        elif event.verdict == "fail":
            said = f": {event.comment}" if event.comment else ""
            error = ErrorInfo(kind="ToolError", message=f"{event.by} says that it was not done{said}")
            self._finished(event.operation, None, None, None, error)

    def _failed(self, error: ErrorInfo) -> None:
        """What a retry may rely on: all that went well, or only what must not be done twice."""
        goes_on = error.kind in PASSING
        self.entries = {
            key: entry
            for key, entry in self.entries.items()
            if (entry.once and entry.outcome is None)
            or ((entry.once or goes_on) and entry.outcome is not None and entry.outcome.error is None)
        }

    def take(self, key: bytes, kind: str, name: str, request: Payload | None) -> Entry | None:
        """What an earlier attempt recorded of this very call; of effects that must not be repeated, each is given once."""
        entry = self.entries.get(key)
        if not kind.endswith(ONCE) or (entry is not None and entry.outcome is None):
            return entry

        made = self.done.get(key_of(b"", kind, name, request, 0), [])
        # The call in its place, else an equal one that was made elsewhere in the step.
        found = next((e for e in made if e is entry), made[0] if made else None)
        if found is not None:
            made.remove(found)
            return found

        # Nothing equal was made and is left; what remains is a call that failed, which fails again.
        failed = entry is not None and entry.outcome is not None and entry.outcome.error is not None
        return entry if failed else None

    def unserved(self, kind: str, parent: bytes, served: Mapping[bytes, Any]) -> int:
        """How many finished calls of this kind the record holds under `parent` that were not asked for again."""
        return sum(
            entry.kind == kind and entry.parent == parent and entry.outcome is not None and key not in served
            for key, entry in self.entries.items()
        )
