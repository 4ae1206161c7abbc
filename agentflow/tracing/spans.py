"""The spans of a run, folded from its committed events: one trace a run, each span made once, the same each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from agentflow.events import (
    EVENTS,
    ApprovalAsked,
    ApprovalGiven,
    ArtifactKept,
    ErrorInfo,
    Event,
    MapExpanded,
    OperationDoubted,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    Payload,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunMigrated,
    RunPaused,
    RunResumed,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerFired,
    TimerSet,
)
from agentflow.steps.approval import DEADLINE
from agentflow.tracing import questions, runs, semconv, steps
from agentflow.tracing.activation import parse
from agentflow.tracing.flow import NO_GRAPH, Flow, graph_of
from agentflow.tracing.ids import operation_span_id, span_id, step_span_id, trace_id
from agentflow.tracing.ledger import OPENING, Ledger
from agentflow.tracing.messages import said
from agentflow.tracing.questions import Questions
from agentflow.tracing.span import OpenSpan as OpenSpan
from agentflow.tracing.span import SpanData as SpanData
from agentflow.tracing.span import SpanEvent as SpanEvent
from agentflow.tracing.span import SpanLink as SpanLink
from agentflow.tracing.values import Attribute, data_of, describe, fitted
from agentflow.tracing.work import CUT_OFF, Work, waiting

Attributes = dict[str, Attribute]

_ROOT = ""
_DRIVEN = frozenset({RunStarted, RunResumed})
_OF_OPERATIONS = frozenset({OperationStarted, OperationFinished})
_OF_RUNS = frozenset(kind for name, kind in EVENTS.items() if name.startswith("run."))
# What a step that is being stopped may still say before that.
_LAST_WORDS = frozenset({OperationFinished, ArtifactKept})


def spans_of(
    events: Iterable[Event], *, include_open: bool = False, with_records: bool = False
) -> list[SpanData]:
    """All spans of a run, in the order in which they ended; with `include_open` also those that go on, as they are.

    With `with_records` each holds the events that it is made of, with their hashes.
    """
    folder: SpanFolder | None = None
    spans: list[SpanData] = []
    for event in events:
        if folder is None:
            run = event.run if isinstance(event, RunStarted) else ""
            folder = SpanFolder(run, with_records=with_records)

        spans += folder.fold(event)

    return spans + folder.open() if folder is not None and include_open else spans


class SpanFolder:
    """Folds the events of one run, from its first on; each call gives the spans that ended with that event.

    A span is given once. What was at work when a process ended is closed as interrupted where the run goes on or
    ends, and as waiting where a person is waited for; sub-workflows, maps, waits and approvals go on themselves. A run
    that is resumed after it failed goes on under a second `invoke_workflow` span of the same trace. With `with_records`
    each event of the run stands on exactly one of the spans, so that the trail can be proven from them alone.
    """

    def __init__(self, run_id: str, *, with_records: bool = False) -> None:
        self.run_id = run_id
        self._ledger = Ledger() if with_records else None
        self._trace = trace_id(run_id)
        self._flow = Flow(NO_GRAPH, Payload())
        self._steps: dict[str, OpenSpan] = {}
        self._work = Work(run_id)
        self._left: dict[str, OpenSpan] = {}
        self._questions = Questions()
        self._doubts: dict[str, list[str]] = {}
        self._resumes = 0
        self._last = 0
        self._service = ""

    def fold(self, event: Event) -> list[SpanData]:
        """The spans that ended with `event`."""
        kind, ledger = type(event), self._ledger
        spans = self._work.released(event) if self._work.held and kind not in _LAST_WORDS else []
        opens = kind in OPENING
        if ledger is not None:
            ledger.take(event)
            if not opens:
                ledger.put(self._carrier(event) or self._root())

        rule = self._RULES.get(kind)
        if rule is not None:
            spans += rule(self, event)

        if ledger is not None and opens:
            ledger.put(self._carrier(event))

        self._last = event.at
        if self._service:
            spans = [span._replace(service=self._service) for span in spans]

        # What a resumption closes was the work of who drove the run before.
        if kind in _DRIVEN:
            self._service = cast("RunStarted", event).service

        return spans

    def _carrier(self, event: Any) -> OpenSpan | None:
        """The open span that an event stands on: of the operation or the step that it is about, or the nearest around it."""
        kind = type(event)
        span = self._work.span(event) if kind in _OF_OPERATIONS else None
        return span or self._nearest(_ROOT if kind in _OF_RUNS else event.step)

    def _root(self) -> OpenSpan | None:
        """The run's own span; of one that failed, what it goes on from."""
        return self._steps.get(_ROOT) or self._left.get(_ROOT)

    def open(self) -> list[SpanData]:
        """The spans that go on, as they are now and marked so; not to be sent, as each will end as another."""
        open_ = [*self._work.open(), *reversed(self._steps.values())]
        marked = (replace(s, attributes={**s.attributes, semconv.STILL_OPEN: True}) for s in open_)
        return [span.closed(self._last) for span in marked]

    def _run_started(self, event: RunStarted) -> list[SpanData]:
        graph = graph_of(event.spec)
        if graph is not None:
            self._flow = Flow(graph, event.input)

        self._steps[_ROOT] = OpenSpan(
            name=f"{semconv.INVOKE_WORKFLOW} {event.workflow}",
            trace_id=self._trace,
            span_id=span_id(self.run_id),
            parent_id=None,
            start=event.at,
            lasting=True,
            attributes=runs.begun(event),
            links=runs.forked(event),
        )
        return []

    def _run_resumed(self, event: RunResumed) -> list[SpanData]:
        # The process may have ended long before this: the last event is the last that is known of it.
        spans = self._cut_off(self._last)
        self._resumes += 1
        self._reopen(event.at)
        self._note(_ROOT, semconv.RUN_RESUMED, event.at, runs.resumed(event))
        return spans

    def _run_migrated(self, event: RunMigrated) -> list[SpanData]:
        """Committed with the resume that follows it, and before that."""
        spans = self._cut_off(self._last)
        graph = graph_of(event.spec)
        if graph is not None:
            self._flow.migrated(graph)

        root = self._root()
        if root is not None:
            root.happened(semconv.RUN_MIGRATED, event.at, runs.migrated(event))

        return spans

    def _reopen(self, at: int, how: str = "resumed") -> None:
        """Go on with what was closed as the run failed: in new spans, each linked to the one before."""
        for key, span in self._left.items():
            self._steps[key] = replace(
                span,
                span_id=span_id(self.run_id, *span.names, how, self._resumes),
                parent_id=self._around(parse(key).outer) if key else span_id(self.run_id),
                # A move onto another definition is told just before.
                start=min([at, *(event.at for event in span.events)]),
                links=(SpanLink(span_id=span.span_id, attributes={semconv.LINK: how}),),
                records=span.records if self._ledger is None else span.records or [],
            )

        self._left = {}

    def _run_paused(self, event: RunPaused) -> list[SpanData]:
        self._note(_ROOT, semconv.RUN_PAUSED, event.at, self._head())
        return self._cut_off(event.at, waits=True)

    def _run_interrupted(self, event: RunInterrupted) -> list[SpanData]:
        told: Attributes = {semconv.RUN_REASON: event.reason}
        self._note(_ROOT, semconv.RUN_INTERRUPTED, event.at, told | self._head())
        return self._cut_off(event.at)

    def _run_finished(self, event: RunFinished) -> list[SpanData]:
        if _ROOT in self._steps:
            message = said("assistant", data_of(event.output))[0] | {"finish_reason": "stop"}
            self._steps[_ROOT].attributes[semconv.OUTPUT_MESSAGES] = fitted([message])

        return self._over(event.at, "done", None)

    def _run_failed(self, event: RunFailed) -> list[SpanData]:
        status = "rejected" if event.error.kind == "RunRejected" else "failed"
        return self._over(event.at, status, event.error, event.step)

    def _head(self) -> Attributes:
        """What stands for all events so far, where somebody keeps account of them."""
        return self._ledger.head() if self._ledger is not None else {}

    def _run_cancelled(self, event: RunCancelled) -> list[SpanData]:
        if _ROOT not in self._steps and _ROOT in self._left:
            # It had failed: that it will not be taken up again is told by a span of its own.
            self._left = {_ROOT: self._left[_ROOT]}
            self._reopen(event.at, "cancelled")

        error = ErrorInfo(kind="cancelled", message=event.reason or "cancelled")
        if _ROOT in self._steps:
            self._steps[_ROOT].attributes |= runs.cancelled(event)

        return self._over(event.at, "cancelled", error)

    def _over(self, at: int, status: str, error: ErrorInfo | None, step: str = "") -> list[SpanData]:
        """Close all that is open; `error` is of the run, of the step that failed, and of what is around that."""
        spans = self._cut_off(at)
        for key, span in reversed(self._steps.items()):
            if key == _ROOT:
                self._sum_up(span, status)

            failed = key in (_ROOT, step) or step.startswith((f"{key}/", f"{key}["))
            spans.append(span.closed(at, error if failed else CUT_OFF))

        # What happens to them from here on is told by the spans that go on.
        self._left = {
            key: replace(span, attributes={**span.attributes}, events=[], records=None)
            for key, span in self._steps.items()
        }
        self._steps = {}
        return spans

    def _sum_up(self, root: OpenSpan, status: str) -> None:
        root.attributes[semconv.RUN_STATUS] = status
        root.attributes[semconv.RUN_RESUMES] = self._resumes
        root.attributes.update(self._head())
        root.attributes.update({semconv.RUN_TOTAL + name: count for name, count in self._work.totals.items()})

    def _cut_off(self, at: int, *, waits: bool = False) -> list[SpanData]:
        """Close what was at work and will not go on: operations, and steps that are begun again."""
        spans = self._work.cut_off(at)
        for key in [key for key, span in reversed(self._steps.items()) if not span.lasting]:
            span = self._steps.pop(key)
            is_waiting = waits or key in self._doubts
            spans.append(waiting(span, at) if is_waiting else span.closed(at, CUT_OFF))

        return spans

    def _step_started(self, event: StepStarted) -> list[SpanData]:
        at = parse(event.step)
        look, given = self._flow.started(at)
        # Begun anew without having failed: it was let go until a person had answered.
        before = self._steps.pop(event.step, None)
        self._steps[event.step] = OpenSpan(
            name=look.title,
            trace_id=self._trace,
            span_id=step_span_id(self.run_id, event.step, event.attempt),
            parent_id=self._around(at.outer),
            start=event.at,
            names=(event.step, event.attempt),
            lasting=look.is_lasting,
            attributes=describe(steps.begun(at, look, event.attempt, self.run_id), semconv.STEP_INPUT, given),
            links=self._earlier(event) if event.attempt > 1 or self._doubts else (),
        )
        return [waiting(before, event.at)] if before is not None else []

    def _earlier(self, event: StepStarted) -> tuple[SpanLink, ...]:
        """Links from an attempt to the one before, and to the operations that were in doubt until now."""
        links: list[SpanLink] = []
        if event.attempt > 1:
            before = step_span_id(self.run_id, event.step, event.attempt - 1)
            links.append(SpanLink(span_id=before, attributes={semconv.LINK: "previous attempt"}))

        for operation in self._doubts.pop(event.step, ()):
            doubted = operation_span_id(self.run_id, event.step, operation)
            links.append(SpanLink(span_id=doubted, attributes={semconv.LINK: "in doubt"}))

        return tuple(links)

    def _around(self, key: str) -> int:
        """The span that something is shown under: a step's, its map's or sub-workflow's, else the run's."""
        span = self._nearest(key)
        return span.span_id if span is not None else span_id(self.run_id)

    def _nearest(self, key: str) -> OpenSpan | None:
        """The span of a step where it is open, else of what is nearest around it."""
        while key and key not in self._steps:
            key = parse(key).outer

        return self._steps.get(key)

    def _map_expanded(self, event: MapExpanded) -> list[SpanData]:
        self._flow.expanded(parse(event.step))
        span = self._steps.get(event.step)
        if span is not None:
            span.lasting = True
            span.attributes[semconv.MAP_COUNT] = event.count

        return []

    def _step_finished(self, event: StepFinished) -> list[SpanData]:
        output = self._flow.finished(parse(event.step), event.output, event.case)
        self._questions.forget(event.step)
        span = self._steps.pop(event.step, None)
        if span is None:
            return []

        describe(span.attributes, semconv.STEP_OUTPUT, output)
        if event.case is not None:
            span.attributes[semconv.STEP_CASE] = event.case

        inside = self._left_inside(event) if semconv.WORKFLOW_NAME in span.attributes else ()
        return [*inside, span.closed(event.at)]

    def _left_inside(self, event: StepFinished) -> list[SpanData]:
        """Close what still goes on in a sub-workflow: the first to reach its end ends it."""
        inside = [key for key in reversed(self._steps) if key.startswith(f"{event.step}/")]
        return [self._steps.pop(key).closed(event.at, CUT_OFF) for key in inside]

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

    def _timer_fired(self, event: TimerFired) -> list[SpanData]:
        span = self._steps.get(event.step)
        asked = span.attributes.get(semconv.APPROVAL_DIGEST) if span is not None else None
        if span is None or asked is None or semconv.APPROVED in span.attributes:
            return []

        # Nobody answered in time, which counts as a refusal.
        given = ApprovalGiven(at=event.at, step=event.step, digest=str(asked), approved=False, by=DEADLINE)
        return self._approval_given(given)

    def _approval_asked(self, event: ApprovalAsked) -> list[SpanData]:
        return self._told(event, semconv.APPROVAL_ASKED, self._questions.asked(event))

    def _approval_given(self, event: ApprovalGiven) -> list[SpanData]:
        return self._told(event, semconv.APPROVAL_GIVEN, self._questions.given(event))

    def _told(
        self, event: ApprovalAsked | ApprovalGiven, name: str, attributes: Attributes
    ) -> list[SpanData]:
        # An approval step is about one thing; inside of another step, people may be asked about several calls.
        if event.step in self._steps and not self._questions.is_about_call(event):
            self._steps[event.step].attributes.update(attributes)

        return self._tell(event.step, name, event.at, attributes)

    def _operation_doubted(self, event: OperationDoubted) -> list[SpanData]:
        self._doubts.setdefault(event.step, []).append(event.operation)
        return self._tell(event.step, semconv.EFFECT_DOUBTED, event.at, questions.doubted(event))

    def _operation_resolved(self, event: OperationResolved) -> list[SpanData]:
        return self._tell(event.step, semconv.EFFECT_RESOLVED, event.at, questions.resolved(event))

    def _tell(self, step: str, name: str, at: int, attributes: Attributes) -> list[SpanData]:
        """Note an event on a step; between two attempts, on what is around it."""
        span = self._nearest(step)
        if span is not None:
            whose: Attributes = {} if step in self._steps else {semconv.STEP_ACTIVATION: step}
            span.happened(name, at, whose | attributes)

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
        self._work.started(event, self._around(event.step), self._questions.verdict(event))
        return []

    def _operation_finished(self, event: OperationFinished) -> list[SpanData]:
        return self._work.finished(event)

    _RULES: ClassVar[dict[type[Event], Callable[[SpanFolder, Any], list[SpanData]]]] = {
        RunStarted: _run_started,
        RunResumed: _run_resumed,
        RunMigrated: _run_migrated,
        RunPaused: _run_paused,
        RunInterrupted: _run_interrupted,
        RunFinished: _run_finished,
        RunFailed: _run_failed,
        RunCancelled: _run_cancelled,
        StepStarted: _step_started,
        MapExpanded: _map_expanded,
        StepFinished: _step_finished,
        StepFailed: _step_failed,
        TimerSet: _timer_set,
        TimerFired: _timer_fired,
        ApprovalAsked: _approval_asked,
        ApprovalGiven: _approval_given,
        OperationStarted: _operation_started,
        OperationFinished: _operation_finished,
        OperationDoubted: _operation_doubted,
        OperationResolved: _operation_resolved,
        ArtifactKept: _artifact_kept,
    }
