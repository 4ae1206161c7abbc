"""The spans of a run, folded from its committed events: one trace a run, each span made once, the same each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from agentflow.events import (
    ApprovalAsked,
    ApprovalGiven,
    ArtifactKept,
    ErrorInfo,
    Event,
    Json,
    MapExpanded,
    OperationFinished,
    OperationStarted,
    Payload,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerSet,
)
from agentflow.exceptions import ProjectError
from agentflow.spec import WorkflowSpec, from_data
from agentflow.tracing import operations, semconv, steps
from agentflow.tracing.activation import parse
from agentflow.tracing.flow import Flow
from agentflow.tracing.ids import operation_span_id, span_id, step_span_id, trace_id
from agentflow.tracing.messages import said
from agentflow.tracing.span import OpenSpan as OpenSpan
from agentflow.tracing.span import SpanData as SpanData
from agentflow.tracing.span import SpanEvent as SpanEvent
from agentflow.tracing.span import SpanLink as SpanLink
from agentflow.tracing.values import Attribute, data_of, described, fitted

Attributes = dict[str, Attribute]

_ROOT = ""
_COUNTED = {"chat": "model_calls", "tool": "tool_calls"}
_SUMMED = ("input_tokens", "output_tokens", "usd")
_CUT_OFF = ErrorInfo(kind=semconv.INTERRUPTED, message=semconv.INTERRUPTED)


def spans_of(events: Iterable[Event], *, include_open: bool = False) -> list[SpanData]:
    """All spans of a run, in the order in which they ended; with `include_open` also those that go on, as they are."""
    folder: SpanFolder | None = None
    spans: list[SpanData] = []
    for event in events:
        if folder is None:
            folder = SpanFolder(event.run if isinstance(event, RunStarted) else "")

        spans += folder.fold(event)

    return spans + folder.open() if folder is not None and include_open else spans


class SpanFolder:
    """Folds the events of one run, from its first on; each call gives the spans that ended with that event.

    A span is given once. What was at work when a process ended is closed as interrupted where the run goes on or
    ends; sub-workflows, maps, waits and approvals go on themselves. A run that is resumed after it failed goes on
    under a second `invoke_workflow` span of the same trace.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._trace = trace_id(run_id)
        self._flow = Flow(WorkflowSpec(name="", start="", end=""), Payload())
        self._steps: dict[str, OpenSpan] = {}
        self._operations: dict[tuple[str, str], OpenSpan] = {}
        self._left: dict[str, OpenSpan] = {}
        self._totals: dict[str, float] = {}
        self._resumes = 0
        self._last = 0

    def fold(self, event: Event) -> list[SpanData]:
        """The spans that ended with `event`."""
        rule = self._RULES.get(type(event))
        spans = rule(self, event) if rule is not None else []
        self._last = event.at
        return spans

    def open(self) -> list[SpanData]:
        """The spans that go on, as they are now and marked so; not to be sent, as each will end as another."""
        open_ = [*reversed(self._operations.values()), *reversed(self._steps.values())]
        marked = (replace(s, attributes={**s.attributes, semconv.STILL_OPEN: True}) for s in open_)
        return [span.closed(self._last) for span in marked]

    def _run_started(self, event: RunStarted) -> list[SpanData]:
        spec = _spec(event.spec)
        if spec is not None:
            self._flow = Flow(spec, event.input)

        attributes: Attributes = {
            **steps.invoked(event.workflow, self.run_id),
            semconv.WORKFLOW_DIGEST: event.digest,
            semconv.RUN_MODEL: event.model,
            semconv.RUN_VERSION: event.version,
            semconv.CONVENTION_VERSION: semconv.CONVENTION,
            semconv.INPUT_MESSAGES: fitted(said("user", data_of(event.input))),
            **{semconv.RUN_ATTRIBUTE + name: str(text) for name, text in event.attributes.items()},
        }
        self._steps[_ROOT] = OpenSpan(
            name=f"{semconv.INVOKE_WORKFLOW} {event.workflow}",
            trace_id=self._trace,
            span_id=span_id(self.run_id),
            parent_id=None,
            start=event.at,
            lasting=True,
            attributes=attributes,
        )
        return []

    def _run_resumed(self, event: RunResumed) -> list[SpanData]:
        # The process may have ended long before this: the last event is the last that is known of it.
        spans = self._cut_off(self._last)
        self._resumes += 1
        self._reopen(event.at)
        by = {semconv.RUN_MODEL: event.model, semconv.RUN_VERSION: event.version}
        self._note(_ROOT, semconv.RUN_RESUMED, event.at, by)
        return spans

    def _reopen(self, at: int) -> None:
        """Go on with what was closed as the run failed: in new spans, each linked to the one before."""
        for key, span in self._left.items():
            self._steps[key] = replace(
                span,
                span_id=span_id(self.run_id, *span.names, "resumed", self._resumes),
                parent_id=self._around(parse(key).outer) if key else span_id(self.run_id),
                start=at,
                attributes={**span.attributes},
                events=[],
                links=(SpanLink(span_id=span.span_id, attributes={semconv.LINK: "resumed"}),),
            )

        self._left = {}

    def _run_interrupted(self, event: RunInterrupted) -> list[SpanData]:
        self._note(_ROOT, semconv.RUN_INTERRUPTED, event.at, {semconv.RUN_REASON: event.reason})
        return self._cut_off(event.at)

    def _run_finished(self, event: RunFinished) -> list[SpanData]:
        if _ROOT in self._steps:
            message = said("assistant", data_of(event.output))[0] | {"finish_reason": "stop"}
            self._steps[_ROOT].attributes[semconv.OUTPUT_MESSAGES] = fitted([message])

        return self._over(event.at, "done", None)

    def _run_failed(self, event: RunFailed) -> list[SpanData]:
        status = "rejected" if event.error.kind == "RunRejected" else "failed"
        return self._over(event.at, status, event.error, event.step)

    def _run_cancelled(self, event: RunCancelled) -> list[SpanData]:
        error = ErrorInfo(kind="cancelled", message=event.reason or "cancelled")
        return self._over(event.at, "cancelled", error)

    def _over(self, at: int, status: str, error: ErrorInfo | None, step: str = "") -> list[SpanData]:
        """Close all that is open; `error` is of the run, of the step that failed, and of what is around that."""
        spans = self._cut_off(at)
        self._left = dict(self._steps)
        for key, span in reversed(self._left.items()):
            if key == _ROOT:
                self._sum_up(span, status)

            failed = key in (_ROOT, step) or step.startswith((f"{key}/", f"{key}["))
            spans.append(span.closed(at, error if failed else _CUT_OFF))

        self._steps = {}
        return spans

    def _sum_up(self, root: OpenSpan, status: str) -> None:
        root.attributes[semconv.RUN_STATUS] = status
        root.attributes[semconv.RUN_RESUMES] = self._resumes
        root.attributes.update({semconv.RUN_TOTAL + name: count for name, count in self._totals.items()})

    def _cut_off(self, at: int) -> list[SpanData]:
        """Close what was at work and will not go on: operations, and steps that are begun again."""
        spans = [span.closed(at, _CUT_OFF) for span in reversed(self._operations.values())]
        self._operations = {}
        again = [key for key, span in reversed(self._steps.items()) if not span.lasting]
        return spans + [self._steps.pop(key).closed(at, _CUT_OFF) for key in again]

    def _step_started(self, event: StepStarted) -> list[SpanData]:
        at = parse(event.step)
        step, given = self._flow.step(at), self._flow.given(at)
        self._flow.started(at)
        links: tuple[SpanLink, ...] = ()
        if event.attempt > 1:
            before = step_span_id(self.run_id, event.step, event.attempt - 1)
            links = (SpanLink(span_id=before, attributes={semconv.LINK: "previous attempt"}),)

        self._steps[event.step] = OpenSpan(
            name=steps.title(at, step),
            trace_id=self._trace,
            span_id=step_span_id(self.run_id, event.step, event.attempt),
            parent_id=self._around(at.outer),
            start=event.at,
            names=(event.step, event.attempt),
            lasting=steps.goes_on(at, step),
            attributes={
                **steps.begun(at, step, event.attempt, self.run_id),
                **described(semconv.STEP_INPUT, given),
            },
            links=links,
        )
        return []

    def _around(self, outer: str) -> int:
        """The span that a step is shown under: its map or sub-workflow, else the run."""
        span = self._steps.get(outer) or self._steps.get(_ROOT)
        return span.span_id if span is not None else span_id(self.run_id)

    def _map_expanded(self, event: MapExpanded) -> list[SpanData]:
        self._flow.expanded(parse(event.step))
        span = self._steps.get(event.step)
        if span is not None:
            span.lasting = True
            span.attributes[semconv.MAP_COUNT] = event.count

        return []

    def _step_finished(self, event: StepFinished) -> list[SpanData]:
        output = self._flow.finished(parse(event.step), event.output, event.case)
        span = self._steps.pop(event.step, None)
        if span is None:
            return []

        span.attributes.update(described(semconv.STEP_OUTPUT, output))
        if event.case is not None:
            span.attributes[semconv.STEP_CASE] = event.case

        return [span.closed(event.at)]

    def _step_failed(self, event: StepFailed) -> list[SpanData]:
        span = self._steps.pop(event.step, None)
        if span is None:
            return []

        span.attributes[semconv.STEP_FINAL] = event.final
        return [span.closed(event.at, event.error)]

    def _timer_set(self, event: TimerSet) -> list[SpanData]:
        # The wait before a retry has no span: it is the gap between two attempts.
        span = self._steps.get(event.step)
        if span is not None:
            span.attributes[semconv.WAIT_DUE] = datetime.fromtimestamp(event.due / 1e9, UTC).isoformat()

        return []

    def _approval_asked(self, event: ApprovalAsked) -> list[SpanData]:
        asked: Attributes = {
            semconv.APPROVAL_DIGEST: event.digest,
            semconv.APPROVAL_PROMPT: event.prompt,
        }
        return self._told(event.step, semconv.APPROVAL_ASKED, event.at, asked)

    def _approval_given(self, event: ApprovalGiven) -> list[SpanData]:
        given: Attributes = {
            semconv.APPROVAL_DIGEST: event.digest,
            semconv.APPROVED: event.approved,
            semconv.APPROVED_BY: event.by,
        }
        if event.comment:
            given[semconv.APPROVAL_COMMENT] = event.comment

        return self._told(event.step, semconv.APPROVAL_GIVEN, event.at, given)

    def _told(self, step: str, name: str, at: int, attributes: Attributes) -> list[SpanData]:
        if step in self._steps:
            self._steps[step].attributes.update(attributes)
            self._note(step, name, at, attributes)

        return []

    def _artifact_kept(self, event: ArtifactKept) -> list[SpanData]:
        names = ("name", "media_type", "digest", "size", "path")
        kept = {semconv.ARTIFACT + name: getattr(event, name) for name in names}
        self._note(event.step, semconv.ARTIFACT_KEPT, event.at, kept)
        return []

    def _note(self, key: str, name: str, at: int, attributes: Mapping[str, Attribute]) -> None:
        span = self._steps.get(key)
        if span is not None:
            span.happened(name, at, attributes)

    def _operation_started(self, event: OperationStarted) -> list[SpanData]:
        self._count(_COUNTED.get(event.kind), 1)
        if event.parent:
            parent = operation_span_id(self.run_id, event.step, event.parent)
        else:
            parent = self._around(event.step)

        self._operations[event.step, event.operation] = OpenSpan(
            name=operations.title(event),
            kind=operations.side(event),
            trace_id=self._trace,
            span_id=operation_span_id(self.run_id, event.step, event.operation),
            parent_id=parent,
            start=event.at,
            attributes=operations.begun(event, self.run_id),
        )
        return []

    def _operation_finished(self, event: OperationFinished) -> list[SpanData]:
        for name in _SUMMED:
            self._count(name, (event.usage or {}).get(name) or 0)

        span = self._operations.pop((event.step, event.operation), None)
        if span is None:
            return []

        operations.ended(span, event)
        return [span.closed(event.at, event.error)]

    def _count(self, name: str | None, amount: float) -> None:
        if name is not None and amount:
            self._totals[name] = self._totals.get(name, 0) + amount

    _RULES: ClassVar[dict[type[Event], Callable[[SpanFolder, Any], list[SpanData]]]] = {
        RunStarted: _run_started,
        RunResumed: _run_resumed,
        RunInterrupted: _run_interrupted,
        RunFinished: _run_finished,
        RunFailed: _run_failed,
        RunCancelled: _run_cancelled,
        StepStarted: _step_started,
        MapExpanded: _map_expanded,
        StepFinished: _step_finished,
        StepFailed: _step_failed,
        TimerSet: _timer_set,
        ApprovalAsked: _approval_asked,
        ApprovalGiven: _approval_given,
        OperationStarted: _operation_started,
        OperationFinished: _operation_finished,
        ArtifactKept: _artifact_kept,
    }


def _spec(data: Json) -> WorkflowSpec | None:
    try:
        return from_data(data) if data else None
    except ProjectError:  # written by another version: its spans are made without inputs and kinds
        return None
