"""What a workflow could leak: where untrusted content can reach a write, and how private data could leave.

A pure function of a definition and the labels of its tools, after the "lethal trifecta" of S. Willison (2025) and the
labels that go with data in M. Costa et al., "Securing AI Agents with Information-Flow Control" (2025).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from agentflow.exceptions import Problem
from agentflow.spec import FlowKind, WorkflowSpec
from agentflow.tools import Tool
from agentflow.validation.flow_graph import Arrival, Labels, Node, arrivals, graph_of, own
from agentflow.validation.flow_waivers import Waivers

_SHOWN = 8  # steps of a path, beside its first


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A flow of content to calls that nobody looks at first; `path` leads there, one for each kind of content.

    `tools` are those that would be called. `waived` says why the workflow allows it; empty where it does not.
    """

    code: str
    kind: FlowKind
    step: str
    tools: tuple[str, ...]
    what: str
    path: tuple[str, ...]
    hint: str
    waived: str = ""

    def problem(self, place: str = "") -> Problem:
        """The finding as a warning; `place` is where its step was written."""
        where = f"step `{self.step}`" + (f" ({place})" if place else "")
        return Problem(code=self.code, what=self.what, where=where, hint=self.hint, severity="warning")


def flows(
    spec: WorkflowSpec,
    tools: Mapping[str, Tool[..., Any]],
    named: Mapping[str, Sequence[str]] | None = None,
) -> list[Finding]:
    """All flows of a sound workflow that an approval should stand in, with those that it allows.

    `tools` are by origin; `named` has the origins of those that a function's code names, by its `call`.
    """
    nodes = graph_of(spec, tools, named or {})
    untrusted, private = arrivals(nodes, "untrusted"), arrivals(nodes, "private")
    waivers = Waivers(spec)
    found: list[Finding] = []
    for index, node in enumerate(nodes):
        calls = [tool for tool in node.tools if not tool.is_guarded and (tool.writes or tool.outside)]
        if calls:
            spot = _Spot(nodes, index, calls, untrusted[index], private[index])
            found += [replace(f, waived=waivers.reason(f.kind, f.step)) for f in _findings(spot)]

    return found


def unused_waivers(spec: WorkflowSpec, found: Sequence[Finding]) -> list[Problem]:
    """A warning for each flow that is allowed and not there, given all findings of the workflow."""
    waivers = Waivers(spec)
    for finding in found:
        waivers.reason(finding.kind, finding.step)

    return waivers.unused()


class _Spot(NamedTuple):
    """A step, its calls that matter and that nobody approves, and what comes to it."""

    nodes: Sequence[Node]
    place: int
    calls: Sequence[Labels]
    untrusted: Sequence[Arrival]
    private: Sequence[Arrival]

    @property
    def node(self) -> Node:
        return self.nodes[self.place]

    def steered(self, call: Labels) -> Arrival | None:
        """What untrusted content could say what `call` does.

        A model reads what its calls gave before the next one. A function's code does not take orders from what the
        only tool it calls gave it, or each step that reads a page would be one that is steered.
        """
        here = own(self.place, self.node, "untrusted")
        return _first([*(a for a in here if self.node.is_model or a.tool.key != call.key), *self.untrusted])

    def carried(self, call: Labels) -> Arrival | None:
        """What private data `call` could take along; what only goes back to where it is from does not leave.

        It can leave by the same tool where that writes: to another place, which others may read. The operations of one
        API, and the tools of one server, are one tool in this.
        """
        here = own(self.place, self.node, "private")
        place = call.source("private")
        known = [*(a for a in here if self.node.is_model or a.tool.source("private") != place), *self.private]
        return _first([a for a in known if a.tool.source("private") != place or call.writes])


class _Leak(NamedTuple):
    """A call with the untrusted content that steers it and the private data that it carries, or one of both."""

    call: Labels
    untrusted: Arrival | None
    private: Arrival | None


def _first(known: Sequence[Arrival]) -> Arrival | None:
    return known[0] if known else None


def _findings(spot: _Spot) -> Iterator[Finding]:
    writes = [_Leak(c, spot.steered(c), None) for c in spot.calls if c.writes]
    carrying = [_Leak(c, spot.steered(c), spot.carried(c)) for c in spot.calls if c.outside]
    leaving = [leak for leak in carrying if leak.private is not None]
    steered = [leak for leak in leaving if leak.untrusted is not None]
    yield from _finding(spot, _WRITE, [leak for leak in writes if leak.untrusted is not None])
    yield from _finding(spot, _ALL_THREE if spot.node.is_model else _STEERED, steered)
    yield from _finding(spot, _LEAVING, [leak for leak in leaving if leak.untrusted is None])


class _Rule(NamedTuple):
    """A kind of finding: how it is called, and what is said of it, given the names of the calls."""

    code: str
    kind: FlowKind
    what: str


_WRITE = _Rule(
    "AF201",
    "untrusted-to-write",
    "untrusted content can reach {calls}, which writes, with no approval between",
)
# A search whose words come from a page that was found is how research works, and tells nobody anything: being steered
# counts where the call can carry private data as well.
_STEERED = _Rule(
    "AF202",
    "untrusted-to-outside",
    "untrusted content can say what {calls} sends outside, and private data can be in it",
)
_LEAVING = _Rule(
    "AF203",
    "private-to-outside",
    "private data can leave by {calls}, with no approval between",
)
_ALL_THREE = _Rule(
    "AF204",
    "all-three",
    "its model reads untrusted content and private data, and can send to the outside by {calls}",
)


def _finding(spot: _Spot, rule: _Rule, leaks: Sequence[_Leak]) -> Iterator[Finding]:
    if not leaks:
        return

    first, step = leaks[0], spot.node.id
    names = tuple(leak.call.name for leak in leaks)
    ways = [(first.untrusted, "untrusted"), (first.private, "private")]
    path = tuple(_path(spot, first.call, way, taint) for way, taint in ways if way is not None)
    calls = ", ".join(f"`{name}`" for name in names)
    yield Finding(
        code=rule.code,
        kind=rule.kind,
        step=step,
        tools=names,
        what=f"{rule.what.format(calls=calls)}: {'; '.join(path)}",
        path=path,
        hint=f"put an `Approval` between, set `needs_approval=True` on {calls}, keep what must not meet in steps of its own, "
        f'or say why it may be: `allow=[Flow("{rule.kind}", step="{step}", because="...")]`',
    )


def _path(spot: _Spot, call: Labels, way: Arrival, taint: str) -> str:
    """The way of content, as `plan` (web_search: untrusted) -> `write` -> `send` (send_mail: write)."""
    source, does = f"{way.tool.name}: {taint}", _does(call)
    if way.before is None:
        both = f"{source}, {does}" if way.tool.key == call.key else f"{source}; {call.name}: {does}"
        return f"`{spot.node.id}` ({both})"

    steps: list[str] = []
    here, said = way, f"{call.name}: {does}"
    while here.before is not None and len(steps) < _SHOWN:
        notes = "; ".join(filter(None, ("by `ctx.output`" if here.is_read else "", said)))
        steps.append(f"`{spot.nodes[here.node].id}`" + (f" ({notes})" if notes else ""))
        here, said = here.before, ""

    left = [f"... {here.steps} more"] if here.before is not None else []
    return " -> ".join([f"`{spot.nodes[way.source].id}` ({source})", *left, *reversed(steps)])


def _does(call: Labels) -> str:
    return ", ".join(filter(None, ("write" if call.writes else "", "outside" if call.outside else "")))
