"""The run itself as a span: its attributes, and those of what happens to it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from agentflow.events import RunCancelled, RunMigrated, RunResumed, RunStarted
from agentflow.identity import Same
from agentflow.tracing import semconv, steps
from agentflow.tracing.ids import span_id, trace_id
from agentflow.tracing.messages import said
from agentflow.tracing.span import SpanLink
from agentflow.tracing.values import Attribute, attribute, data_of, fitted

Attributes = dict[str, Attribute]

# A graph of more edges is looked at in the journal, which has all of it.
_LINES = 200


def begun(event: RunStarted) -> Attributes:
    """The attributes that a run begins with."""
    return {
        **steps.invoked(event.workflow, event.run),
        semconv.WORKFLOW_DIGEST: event.digest,
        semconv.RUN_MODEL: event.model,
        semconv.RUN_VERSION: event.version,
        semconv.CONVENTION_VERSION: semconv.CONVENTION,
        semconv.INPUT_MESSAGES: fitted(said("user", data_of(event.input))),
        **{semconv.RUN_ATTRIBUTE + name: str(text) for name, text in event.attributes.items()},
        **_graph(event.spec),
        **_bound(event.bound),
        **_allowed(event.spec),
    }


def forked(event: RunStarted) -> tuple[SpanLink, ...]:
    """The link from a fork to the run that it went off from: its root, the event and the head there."""
    known = cast("Mapping[str, Any]", event.forked or {})
    if not known:
        return ()

    came = cast("Mapping[str, Any]", known["from"])
    told = {semconv.LINK: "forked", f"{semconv.FORK}at": str(known["at"])}
    attributes = told | {f"{semconv.FORK}{name}": attribute(value) for name, value in came.items()}
    run = str(came["run"])
    return (SpanLink(span_id=span_id(run), trace_id=trace_id(run), attributes=attributes),)


def _graph(spec: Any) -> Attributes:
    """The graph that is run, an edge a line; sub-workflows show theirs as spans."""
    lines = _lines(Same(spec)) if spec else ()
    return {semconv.WORKFLOW_GRAPH: lines} if lines else {}


@lru_cache(16)
def _lines(spec: Same[Any]) -> tuple[str, ...]:
    known = cast("Mapping[str, Any]", spec.value)
    edges = cast("list[Mapping[str, Any]]", known.get("edges") or [])
    lines = [_edge(edge) for edge in edges] or list(map(str, known.get("steps") or ()))
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"and {len(lines) - _LINES} more"]

    return tuple(lines)


def _edge(edge: Mapping[str, Any]) -> str:
    case = f" on {edge['on']}" if edge.get("on") else ""
    limit = f", at most {edge['at_most']}" if edge.get("at_most") else ""
    return f"{edge.get('from')} -> {edge.get('to')}{case}{limit}"


def _bound(bound: Any) -> Attributes:
    """The most that the run can do; what has no bound says so by its reason alone."""
    attributes: Attributes = {}
    for name, amount in cast("Mapping[str, Mapping[str, Any]]", bound or {}).items():
        told = {"": amount.get("value"), ".why": amount.get("why")}
        attributes |= {
            f"{semconv.BOUND}{name}{part}": attribute(v) for part, v in told.items() if v not in (None, "")
        }

    return attributes


def _allowed(spec: Any) -> Attributes:
    """What the definition allows although the check would warn of it."""
    flows = cast("list[Mapping[str, str]]", (spec or {}).get("allow") or [])
    told = tuple(f"{flow['kind']} {flow.get('step', '')}: {flow['because']}" for flow in flows)
    return {semconv.ALLOWED: told} if told else {}


def resumed(event: RunResumed) -> Attributes:
    """By what a run is taken up, and the limits that hold from here on: `.usd` of the run, `.draft.usd` of a step."""
    attributes: Attributes = {semconv.RUN_MODEL: event.model, semconv.RUN_VERSION: event.version}
    budget = cast("Mapping[str, Mapping[str, Any]]", event.budget or {})
    for where, limits in budget.items():
        prefix = semconv.RUN_BUDGET + (f"{where}." if where else "")
        attributes |= {prefix + name: attribute(limit) for name, limit in limits.items()}

    return attributes


def migrated(event: RunMigrated) -> Attributes:
    """Which definition a run follows now, and what is different in it."""
    changes = tuple(str(change) for change in event.changes or ())
    return {semconv.WORKFLOW_DIGEST: event.digest, semconv.RUN_CHANGES: changes}


def cancelled(event: RunCancelled) -> Attributes:
    """Who ended a run, and why."""
    told = {semconv.RUN_REASON: event.reason, semconv.RUN_CANCELLED_BY: event.by}
    return {name: text for name, text in told.items() if text}
