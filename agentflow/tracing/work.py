"""The operations of a run that are under way, from their intents to their outcomes."""

from __future__ import annotations

from dataclasses import replace

from agentflow.events import ErrorInfo, Event, OperationFinished, OperationStarted, RunPaused, StepStarted
from agentflow.tracing import operations, semconv
from agentflow.tracing.ids import operation_span_id, trace_id
from agentflow.tracing.span import OpenSpan, SpanData, SpanLink
from agentflow.tracing.values import Attribute

CUT_OFF = ErrorInfo(kind=semconv.INTERRUPTED, message=semconv.INTERRUPTED)
_COUNTED = {"chat": "model_calls", "tool": "tool_calls"}
_SUMMED = ("input_tokens", "output_tokens", "usd")
_TOKENS = {semconv.INPUT_TOKENS: "input_tokens", semconv.OUTPUT_TOKENS: "output_tokens"}
# The errors of an operation whose step was let go: for what, the next event tells.
_LET_GO = frozenset({"CancelledError"})


class Work:
    """The open spans of operations, and what all operations so far come to."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._trace = trace_id(run_id)
        self._open: dict[tuple[str, str], OpenSpan] = {}
        self._parents: dict[tuple[str, str], str] = {}
        # What ended, and the next event tells why.
        self.held: list[tuple[OpenSpan, OperationFinished]] = []
        self.totals: dict[str, float] = {}

    def open(self) -> list[OpenSpan]:
        """The spans that were not given yet."""
        return [*(span for span, _ in self.held), *reversed(self._open.values())]

    def span(self, event: OperationStarted | OperationFinished) -> OpenSpan | None:
        """The open span of an operation."""
        return self._open.get((event.step, event.operation))

    def started(self, event: OperationStarted, around: int, verdict: dict[str, Attribute]) -> None:
        """Open a span under the operation around it, else under the span `around`."""
        self._count(_COUNTED.get(event.kind), 1)
        span = OpenSpan(
            name=operations.title(event),
            kind=operations.side(event),
            trace_id=self._trace,
            span_id=self._id(event.step, event.operation),
            parent_id=around,
            start=event.at,
            attributes=operations.begun(event, self._run_id) | verdict,
        )
        agent = self._agent(event.step, event.parent)
        if agent is not None and event.kind == "tool":
            span.attributes[semconv.AGENT_NAME] = agent.attributes[semconv.AGENT_NAME]

        self._parents[event.step, event.operation] = event.parent
        self._open[event.step, event.operation] = self._placed(span, event)

    def _placed(self, span: OpenSpan, event: OperationStarted) -> OpenSpan:
        """Put a span under that of the operation around it.

        What an earlier attempt finished is not recorded again: its span ended then, so what is done inside of it now
        is shown under the attempt that does it, with a link.
        """
        if not event.parent:
            return span

        parent = self._id(event.step, event.parent)
        if operations.attempt(event.parent) == operations.attempt(event.operation):
            return replace(span, parent_id=parent)

        return replace(span, links=(SpanLink(span_id=parent, attributes={semconv.LINK: "inside of"}),))

    def _id(self, step: str, operation: str) -> int:
        return operation_span_id(self._run_id, step, operation)

    def finished(self, event: OperationFinished) -> list[SpanData]:
        """The span that ended, unless the next event is to say whether that was an error."""
        for name in _SUMMED:
            self._count(name, (event.usage or {}).get(name) or 0)

        span = self._open.pop((event.step, event.operation), None)
        parent = self._parents.pop((event.step, event.operation), "")
        if span is None:
            return []

        operations.ended(span, event)
        if span.attributes[semconv.OPERATION_NAME] == semconv.CHAT:
            self._charge(event, parent)

        if event.error is not None and event.error.kind in _LET_GO:
            self.held.append((span, event))
            return []

        return [span.closed(event.at, event.error)]

    def _agent(self, step: str, operation: str) -> OpenSpan | None:
        """The agent that is at work around an operation, or is it."""
        while operation:
            span = self._open.get((step, operation))
            if span is not None and span.attributes.get(semconv.OPERATION_NAME) == semconv.INVOKE_AGENT:
                return span

            operation = self._parents.get((step, operation), "")

        return None

    def _charge(self, event: OperationFinished, parent: str) -> None:
        """Count the tokens of a model call for the agent that made it, and for those around that one."""
        agent = self._agent(event.step, parent)
        while agent is not None and event.usage:
            for name, key in _TOKENS.items():
                before = agent.attributes.get(name, 0)
                agent.attributes[name] = (before if isinstance(before, int) else 0) + int(
                    event.usage.get(key) or 0
                )

            parent = self._parents.get((event.step, str(agent.attributes[semconv.OPERATION_ID])), "")
            agent = self._agent(event.step, parent)

    def released(self, event: Event) -> list[SpanData]:
        """The operations of steps that were let go, now that `event` tells why: for a person to be asked, or not."""
        held, self.held = self.held, []
        spans: list[SpanData] = []
        for span, ended in held:
            begins_anew = isinstance(event, StepStarted) and event.step == ended.step
            waits = begins_anew or isinstance(event, RunPaused)
            spans.append(waiting(span, ended.at) if waits else span.closed(ended.at, ended.error))

        return spans

    def cut_off(self, at: int) -> list[SpanData]:
        """Close all that is open as interrupted."""
        spans = [span.closed(at, CUT_OFF) for span in reversed(self._open.values())]
        self._open, self._parents = {}, {}
        return spans

    def _count(self, name: str | None, amount: float) -> None:
        if name is not None and amount:
            self.totals[name] = self.totals.get(name, 0) + amount


def waiting(span: OpenSpan, at: int) -> SpanData:
    """A span that ends because a person is waited for, which is no error."""
    span.attributes[semconv.SPAN_STATUS] = semconv.WAITING
    return span.closed(at)
