"""What is recorded of a run, and what its steps' code is at, in words."""

from __future__ import annotations

from typing import Any, NamedTuple

from agentflow.engine.attempt import Attempt
from agentflow.engine.divergence import CODE_CHANGED, Divergence, What, error_text, shown
from agentflow.events import (
    ApprovalAsked,
    ArtifactKept,
    ErrorInfo,
    Event,
    OperationFinished,
    Payload,
    StepFailed,
    StepFinished,
)


class Draft(NamedTuple):
    """An event that is wanted, and may never come about."""

    kind: type[Event]
    fields: dict[str, Any]


def diverged(
    what: What, event: Event, recorded: str, came: str, *, call: str = "", hint: str = CODE_CHANGED
) -> Divergence:
    """The divergence at a recorded event."""
    step = getattr(event, "step", "")
    return Divergence(
        what=what,
        seq=event.seq,
        event=event.type,
        step=step,
        call=call,
        recorded=recorded,
        came=came,
        hint=hint,
    )


def outcome_told(event: OperationFinished) -> str:
    """How an operation ended."""
    return error_text(event.error) if event.error is not None else value_told(event.result)


def value_told(value: Any) -> str:
    """A value of an event in a line."""
    if isinstance(value, ErrorInfo):
        return error_text(value)

    return shown(value.data if isinstance(value, Payload) else value)


def doing(attempt: Attempt) -> str:
    """What the code of an attempt is at, in words."""
    if ended := next((s for s in attempt.said if s.kind in (StepFinished, StepFailed)), None):
        return draft_told(Draft(ended.kind, ended.fields))

    wants = [f"{a.wanted.kind} `{a.wanted.name}` with {value_told(a.wanted.request)}" for a in attempt.asked]
    wants += [
        f"a person's answer about `{s.fields['tool']}`" for s in attempt.said if s.kind is ApprovalAsked
    ]
    wants += [
        f"the end of operation {s.fields['operation']}" for s in attempt.said if s.kind is OperationFinished
    ]
    return " and ".join(wants) or "it neither ends nor calls anything"


def told(event: Event) -> str:
    """A recorded event in words."""
    return draft_told(Draft(type(event), {f: getattr(event, f) for f in type(event).__slots__}))


def draft_told(draft: Draft) -> str:
    """An event in words."""
    step = f"`{draft.fields.get('step', '')}`"
    match draft.kind.type:
        case "step.finished" if draft.fields.get("output") is not None:
            return f"{step} gave {value_told(draft.fields['output'])}"
        case "step.failed":
            return f"{step} failed: {error_text(draft.fields['error'])}"
        case "step.started":
            return f"{step} began, attempt {draft.fields['attempt']}"
        case "run.finished":
            return f"the run gave {value_told(draft.fields['output'])}"
        case "run.failed":
            return f"the run failed: {error_text(draft.fields['error'])}"
        case kind:
            return f"{kind} {step}" if draft.fields.get("step") else kind


def kept(event: ArtifactKept) -> str:
    """A file that was kept."""
    return f"file `{event.name}`, {event.digest[:19]}"
