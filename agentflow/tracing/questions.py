"""What people are asked while a run goes on, and what they say, as attributes."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentflow.events import (
    ApprovalAsked,
    ApprovalGiven,
    OperationDoubted,
    OperationResolved,
    OperationStarted,
    Payload,
)
from agentflow.tracing import semconv
from agentflow.tracing.values import Attribute, data_of, describe, fitted

Attributes = dict[str, Attribute]


@dataclass(slots=True)
class _Call:
    """A tool's call that a person is asked about; `verdict` is empty until there is an answer."""

    tool: str
    subject: Payload | None
    verdict: Attributes = field(default_factory=dict[str, Attribute])


class Questions:
    """The calls that people were asked about, by step and digest, so that a call made later shows who approved it."""

    def __init__(self) -> None:
        self._calls: dict[str, dict[str, _Call]] = {}

    def asked(self, event: ApprovalAsked) -> Attributes:
        """What a question tells."""
        attributes: Attributes = {
            semconv.APPROVAL_DIGEST: event.digest,
            semconv.APPROVAL_PROMPT: event.prompt,
        }
        if not event.tool:
            return attributes

        self._calls.setdefault(event.step, {})[event.digest] = _Call(event.tool, event.subject)
        call: Attributes = {semconv.TOOL_NAME: event.tool}
        if event.subject is not None:
            call[semconv.TOOL_ARGUMENTS] = fitted(data_of(event.subject))

        return call | attributes

    def given(self, event: ApprovalGiven) -> Attributes:
        """What an answer tells."""
        verdict: Attributes = {semconv.APPROVED: event.approved, semconv.APPROVED_BY: event.by}
        attributes: Attributes = {semconv.APPROVAL_DIGEST: event.digest, **verdict}
        if event.comment:
            attributes[semconv.APPROVAL_COMMENT] = event.comment

        call = self._calls.get(event.step, {}).get(event.digest)
        if call is None:
            return attributes

        # A second answer changes nothing.
        call.verdict = call.verdict or verdict
        return {semconv.TOOL_NAME: call.tool, **attributes}

    def is_about_call(self, event: ApprovalAsked | ApprovalGiven) -> bool:
        """Whether it is about a call inside of the step, not about the step."""
        return event.digest in self._calls.get(event.step, {})

    def verdict(self, event: OperationStarted) -> Attributes:
        """Who approved or refused a call that is made now; nothing where calls alike were answered differently."""
        calls = self._calls.get(event.step, {}) if event.kind == "tool" else {}
        alike = [
            call.verdict
            for call in calls.values()
            if call.tool == event.name and call.subject == event.request
        ]
        return alike[0] if alike and all(verdict == alike[0] for verdict in alike) else {}

    def forget(self, step: str) -> None:
        """The step is over."""
        self._calls.pop(step, None)


def doubted(event: OperationDoubted) -> Attributes:
    """Of which operation it is not known whether it was done."""
    return {semconv.OPERATION_ID: event.operation, semconv.EFFECT_NAME: event.name}


def resolved(event: OperationResolved) -> Attributes:
    """What a person says of it."""
    attributes: Attributes = {
        semconv.OPERATION_ID: event.operation,
        semconv.EFFECT_VERDICT: event.verdict,
        semconv.EFFECT_RESOLVED_BY: event.by,
        **describe({}, semconv.OPERATION_RESULT, event.result),
    }
    if event.comment:
        attributes[semconv.EFFECT_COMMENT] = event.comment

    return attributes
