"""The spans of a run as a tree, each with what went in and what came out of it as the journal holds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agentflow.events import (
    ApprovalAsked,
    Event,
    OperationFinished,
    OperationStarted,
    Payload,
    RunFinished,
    RunStarted,
    StepFinished,
)
from agentflow.tracing import semconv
from agentflow.tracing.ids import operation_span_id
from agentflow.tracing.span import SpanData
from agentflow.tracing.spans import spans_of

_Key = int | str


@dataclass(slots=True, kw_only=True)
class Node:
    """A span with the spans below it; `given` and `got` are payloads by what they are: input, arguments, result."""

    span: SpanData
    depth: int = 0
    given: tuple[str, Payload] | None = None
    got: tuple[str, Payload] | None = None
    children: list[Node] = field(default_factory=list["Node"])

    @property
    def is_open(self) -> bool:
        return bool(self.span.attributes.get(semconv.STILL_OPEN))

    @property
    def activation(self) -> str:
        """The activation, where this is a step; empty for the run and for operations."""
        if semconv.OPERATION_ID in self.span.attributes:
            return ""

        return str(self.span.attributes.get(semconv.STEP_ACTIVATION, ""))

    def all(self) -> Iterator[Node]:
        """The node and those below it, in the order in which they are shown."""
        todo: list[Node] = [self]
        while todo:
            node = todo.pop()
            yield node
            todo += reversed(node.children)


def tree_of(events: Sequence[Event]) -> list[Node]:
    """The tops of the tree: the run, once more for each time that it was taken up after it had failed."""
    inputs, outputs = _payloads(events)
    nodes = [_node(span, inputs, outputs) for span in spans_of(events, include_open=True)]
    nodes.sort(key=lambda n: (n.span.start, n.span.end))
    known = {node.span.span_id: node for node in nodes}
    tops: list[Node] = []
    for node in nodes:
        parent = known.get(node.span.parent_id) if node.span.parent_id is not None else None
        (tops if parent is None or parent is node else parent.children).append(node)

    for top in tops:
        _deepen(top)

    return tops


def _deepen(top: Node) -> None:
    todo = [top]
    while todo:
        node = todo.pop()
        for child in node.children:
            child.depth = node.depth + 1
            todo.append(child)


def _payloads(
    events: Sequence[Event],
) -> tuple[dict[_Key, tuple[str, Payload]], dict[_Key, tuple[str, Payload]]]:
    """What went in and what came out, by the id of an operation's span, or the activation of a step."""
    started = events[0]
    assert isinstance(started, RunStarted)
    inputs: dict[_Key, tuple[str, Payload]] = {"": ("input", started.input)}
    outputs: dict[_Key, tuple[str, Payload]] = {}
    for event in events:
        match event:
            case OperationStarted(request=Payload() as request):
                id_ = operation_span_id(started.run, event.step, event.operation)
                inputs[id_] = ("arguments" if event.kind == "tool" else "request", request)
            case OperationFinished(result=Payload() as result):
                outputs[operation_span_id(started.run, event.step, event.operation)] = ("result", result)
            case StepFinished(output=Payload() as output):
                outputs[event.step] = ("output", output)
            case ApprovalAsked(subject=Payload() as subject):
                inputs[event.step] = ("asked about", subject)
            case RunFinished():
                outputs[""] = ("output", event.output)
            case _:
                pass

    return inputs, outputs


def _node(
    span: SpanData, inputs: dict[_Key, tuple[str, Payload]], outputs: dict[_Key, tuple[str, Payload]]
) -> Node:
    is_operation = semconv.OPERATION_ID in span.attributes
    activation = str(span.attributes.get(semconv.STEP_ACTIVATION, ""))
    key: _Key = span.span_id if is_operation else activation
    got = outputs.get(key)
    # An attempt that failed has no output: that one is of the attempt that did not.
    return Node(span=span, given=inputs.get(key), got=None if span.error else got)


def label(span: SpanData) -> str:
    """A step by its activation, so that visits and items can be told apart; other spans by their name."""
    activation = span.attributes.get(semconv.STEP_ACTIVATION)
    attempt = span.attributes.get(semconv.STEP_ATTEMPT, 1)
    again = f" (attempt {attempt})" if attempt != 1 and semconv.OPERATION_ID not in span.attributes else ""
    if activation and span.name.startswith("step "):
        return f"step {str(activation).rpartition('/')[2]}{again}"

    return span.name
