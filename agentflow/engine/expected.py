"""What the definition of a run wants to happen next, against what is recorded."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from agentflow.engine.divergence import Divergence, What, payload_difference, same_error
from agentflow.engine.reduce import is_late
from agentflow.engine.replay_words import Draft, diverged, draft_told, told, value_told
from agentflow.engine.state import State
from agentflow.events import (
    ApprovalAsked,
    ErrorInfo,
    Event,
    MapExpanded,
    OperationDoubted,
    Payload,
    RunFailed,
    RunFinished,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerSet,
)

# What the definition wants, by the fields that must be as recorded; times, and chance, are the record's.
COMPARED: Mapping[type[Event], tuple[str, ...]] = {
    StepStarted: ("step", "attempt"),
    MapExpanded: ("step", "count"),
    StepFinished: ("step", "case", "output"),
    StepFailed: ("step", "error"),
    TimerSet: ("step",),
    ApprovalAsked: ("step", "digest", "prompt"),
    OperationDoubted: ("step", "operation"),
    RunFinished: ("output",),
    RunFailed: ("step", "error"),
}


class Expected:
    """What the reducer asked for and the record has not come to, in its order."""

    def __init__(self) -> None:
        self._drafts: deque[Draft] = deque()

    def add(self, draft: Draft) -> None:
        self._drafts.append(draft)

    def clear(self) -> None:
        """Nothing is wanted any more: the drive ended."""
        self._drafts.clear()

    def has(self, event: Event) -> bool:
        """Whether just this is wanted, also if something else is to come before."""
        return any(_differing(draft, event) == "" for draft in self._drafts)

    def follow(self, event: Event, state: State, doing: str) -> Divergence | None:
        """What is wanted next must be what is recorded; `doing` says what steps' code is at."""
        while self._drafts and _is_gone(self._drafts[0], state):
            self._drafts.popleft()

        if isinstance(event, RunFailed):
            return self._failed(event, doing)

        head = next((draft for draft in self._drafts if not _is_put_off(draft)), None)
        if head is not None and _differing(head, event) == "":
            self._drafts.remove(head)
            return None

        return _unexpected(event, head, doing)

    def _failed(self, event: RunFailed, doing: str) -> Divergence | None:
        """How a run failed; that the time of a budget was up is known from the record only."""
        head = next((draft for draft in self._drafts if draft.kind is RunFailed), None)
        if head is not None and _differing(head, event) == "":
            self._drafts.remove(head)
            return None

        if head is None and event.error.kind == "BudgetExhausted":
            return None

        return _unexpected(event, head, doing)

    def take(self, event: Event) -> None:
        """Take what is recorded as it was, where it cannot be worked out what is wanted."""
        expected = next((draft for draft in self._drafts if _names(draft, event)), None)
        if expected is not None:
            self._drafts.remove(expected)


def _differing(draft: Draft, event: Event) -> str:
    """The first field in which what is wanted differs from what is recorded; empty where nothing does."""
    if draft.kind is not type(event):
        return "kind"

    for name in COMPARED[draft.kind]:
        old, new = getattr(event, name), draft.fields.get(name, "" if name == "prompt" else None)
        same = same_error(old, new) if isinstance(old, ErrorInfo) else old == new
        if not same and not (isinstance(old, Payload) and payload_difference(old, new) is None):
            return name

    return ""


def _is_put_off(draft: Draft) -> bool:
    """Where a budget is used up, the engine lets calls end before it says so."""
    return draft.kind is RunFailed and draft.fields["error"].kind == "BudgetExhausted"


def _names(draft: Draft, event: Event) -> bool:
    return draft.kind is type(event) and draft.fields.get("step", "") == getattr(event, "step", "")


def _unexpected(event: Event, head: Draft | None, doing: str) -> Divergence:
    if head is None:
        return diverged("order", event, told(event), doing or "nothing is left to do there")

    name = _differing(head, event)
    if head.kind is type(event) and name not in ("kind", "step"):
        what: What = "end" if name == "error" else "output" if name in ("output", "case") else "order"
        return diverged(
            what,
            event,
            f"{name} {value_told(getattr(event, name))}",
            f"{name} {value_told(head.fields.get(name))}",
        )

    return diverged("order", event, told(event), draft_told(head))


def _is_gone(draft: Draft, state: State) -> bool:
    return is_late(state, draft.kind, draft.fields.get("step", ""))
