"""Is a workflow sound? A pure function from a spec and its types to all problems at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from agentflow.exceptions import Problem
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.typeref import assignable, cases, item_type, short_name, type_name

if TYPE_CHECKING:
    import networkx as nx

REJECTED = "agentflow.steps.approval:Rejected"


@dataclass
class Subject:
    """What the checks look at: the spec, the types it names, and where each step was defined."""

    spec: WorkflowSpec
    types: Mapping[str, Any]
    places: Mapping[str, str] = field(default_factory=dict[str, str])

    def where(self, step: str) -> str:
        place = self.places.get(step, "")
        return f"step `{step}`" + (f" ({place})" if place else "")

    def edge(self, edge: EdgeSpec) -> str:
        case = f".on({short_name(edge.on)})" if edge.on else ""
        return f"edge `{edge.source}`{case} -> `{edge.target}`"

    @cached_property
    def steps(self) -> dict[str, StepSpec]:
        return {step.id: step for step in self.spec.steps}

    @cached_property
    def outgoing(self) -> dict[str, list[EdgeSpec]]:
        out: dict[str, list[EdgeSpec]] = {step.id: [] for step in self.spec.steps}
        for edge in self.spec.edges:
            out[edge.source].append(edge)

        return out

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        # networkx is loaded when a workflow is built, not when agentflow is imported.
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.steps)
        graph.add_edges_from((edge.source, edge.target) for edge in self.spec.edges)
        return graph

    def gives(self, step: str) -> Any:
        """What the step gives along its edges: a list, for a map; the branches as a tuple, for a gather."""
        spec = self.steps[step]
        given = self.types[spec.gives]
        return GenericAlias(list, (given,)) if spec.map is not None else given

    def takes(self, step: str) -> Any:
        spec = self.steps[step]
        taken = self.types[spec.takes]
        return GenericAlias(list, (taken,)) if spec.map is not None else taken


def validate(
    spec: WorkflowSpec, types: Mapping[str, Any], places: Mapping[str, str] | None = None
) -> list[Problem]:
    """All problems of a workflow; empty where it is sound."""
    subject = Subject(spec, types, places or {})
    # Without a start and an end the other questions have no meaning.
    if problems := list(_ends(subject)):
        return problems

    return [problem for check in CHECKS for problem in check(subject)]


def _ends(s: Subject) -> Iterator[Problem]:
    for role, id_ in (("start", s.spec.start), ("end", s.spec.end)):
        if id_ not in s.steps:
            yield Problem(
                code="AF101",
                what=f"its {role} `{id_}` is not one of its steps",
                where=f"workflow `{s.spec.name}`",
                hint="use a step that stands in `edges`",
            )


def _unreachable(s: Subject) -> Iterator[Problem]:
    import networkx as nx

    reached = nx.descendants(s.graph, s.spec.start) | {s.spec.start}
    for id_ in s.steps:
        if id_ not in reached:
            yield Problem(
                code="AF102",
                what="nothing leads to it",
                where=s.where(id_),
                hint=f"add an edge from a step that `{s.spec.start}` leads to, or leave the step out",
            )


def _dead_ends(s: Subject) -> Iterator[Problem]:
    import networkx as nx

    leads_on = nx.ancestors(s.graph, s.spec.end) | {s.spec.end}
    for id_ in s.steps:
        if id_ not in leads_on:
            yield Problem(
                code="AF103",
                what=f"it does not lead to the end `{s.spec.end}`",
                where=s.where(id_),
                hint="add an edge that leads on, or make it the `end`",
            )


def _unbounded_cycles(s: Subject) -> Iterator[Problem]:
    import networkx as nx

    free: nx.DiGraph[str] = nx.DiGraph()
    free.add_edges_from((e.source, e.target) for e in s.spec.edges if e.at_most is None)
    for component in nx.strongly_connected_components(free):
        first = next(iter(component))
        if len(component) == 1 and not free.has_edge(first, first):
            continue

        members = [step for step in s.steps if step in component]
        cycle = [edge[0] for edge in nx.find_cycle(free.subgraph(component), members[0])]
        start = min(range(len(cycle)), key=lambda i: members.index(cycle[i]))
        round_ = [*cycle[start:], *cycle[:start]]
        yield Problem(
            code="AF104",
            what=f"the cycle {' -> '.join([*round_, round_[0]])} has no bound",
            where=s.where(round_[0]),
            hint=f"bound one of its edges, such as `{round_[-1]}.on(Type, at_most=3) >> {round_[0]}`",
        )


def _case_edges(s: Subject) -> Iterator[Problem]:
    for edge in s.spec.edges:
        if edge.on is None:
            continue

        given, case = s.gives(edge.source), s.types[edge.on]
        members = (*cases(given), *(_also(s, edge)))
        if not any(assignable(m, case) or assignable(case, m) for m in members):
            yield Problem(
                code="AF105",
                what=f"the case `{short_name(edge.on)}` is never produced",
                where=s.edge(edge),
                hint=f"`{edge.source}` gives `{_name(given)}`",
            )


def _also(s: Subject, edge: EdgeSpec) -> tuple[Any, ...]:
    """What a step can give beside its type: a refusal, for an approval."""
    return (s.types[REJECTED],) if s.steps[edge.source].kind == "approval" and edge.on == REJECTED else ()


def _unhandled_cases(s: Subject) -> Iterator[Problem]:
    for id_, edges in s.outgoing.items():
        named = [s.types[e.on] for e in edges if e.on is not None and e.on != REJECTED]
        if not named or any(e.on is None for e in edges) or id_ == s.spec.end:
            continue

        for member in cases(s.gives(id_)):
            if not any(assignable(member, case) for case in named):
                yield Problem(
                    code="AF106",
                    what=f"its case `{_name(member)}` is never handled",
                    where=s.where(id_),
                    hint=f"add `{id_}.on({_name(member)}) >> ...`",
                )


def _edge_types(s: Subject) -> Iterator[Problem]:
    for edge in s.spec.edges:
        if s.steps[edge.target].kind == "gather":
            continue

        given = s.types[edge.on] if edge.on is not None else s.gives(edge.source)
        taken = s.takes(edge.target)
        if s.steps[edge.target].map is not None:
            yield from _map_edge(s, edge, given)
        elif not assignable(given, taken):
            yield Problem(
                code="AF107",
                what=f"`{edge.source}` gives `{_name(given)}` and `{edge.target}` takes `{_name(taken)}`",
                where=s.edge(edge),
                hint=_edge_hint(given, taken, edge),
            )


def _edge_hint(given: Any, taken: Any, edge: EdgeSpec) -> str:
    fitting = [m for m in cases(given) if assignable(m, taken)]
    if len(cases(given)) > 1 and fitting:
        return f"send only the case that fits: `{edge.source}.on({_name(fitting[0])}) >> {edge.target}`"

    if getattr(given, "__origin__", None) is list and assignable(given.__args__[0], taken):
        return f"to run it for each item, write `{edge.source} >> each({edge.target})`"

    return "put a step between them that makes the one from the other"


def _map_edge(s: Subject, edge: EdgeSpec, given: Any) -> Iterator[Problem]:
    taken = s.types[s.steps[edge.target].takes]
    item = item_type(given)
    if item is None:
        yield Problem(
            code="AF108",
            what=f"`each({edge.target})` maps over a list and `{edge.source}` gives `{_name(given)}`",
            where=s.edge(edge),
            hint=f"make `{edge.source}` give `list[{_name(taken)}]`, or leave `each` out",
        )
    elif not assignable(item, taken):
        yield Problem(
            code="AF107",
            what=f"the items of `{edge.source}` are `{_name(item)}` and `{edge.target}` takes `{_name(taken)}`",
            where=s.edge(edge),
            hint="put a step between them that makes the one from the other",
        )


def _parallel_meets(s: Subject) -> Iterator[Problem]:
    """Branches that run at the same time must be joined by a gather before a step takes from both."""
    for id_, edges in s.outgoing.items():
        together = [e.target for e in edges if e.on is None]
        if len(together) < 2:
            continue

        for meeting in _meeting_points(s, together):
            yield Problem(
                code="AF109",
                what=f"parallel branches from `{id_}` meet in it without a gather",
                where=s.where(meeting),
                hint=f"join them first: `gather(...) >> {meeting}`",
            )


def _meeting_points(s: Subject, starts: list[str]) -> list[str]:
    reached = [_until_shared_gather(s, start) for start in starts]
    counts: dict[str, int] = {}
    for nodes in reached:
        for node in nodes:
            counts[node] = counts.get(node, 0) + 1

    shared = {n for n, count in counts.items() if count > 1 and s.steps[n].kind != "gather"}
    behind = {e.target for e in s.spec.edges if e.source in shared}
    behind |= {
        e.target for e in s.spec.edges if counts.get(e.source, 0) > 1 and s.steps[e.source].kind == "gather"
    }
    return [step for step in s.steps if step in shared and (step not in behind or step in starts)]


def _until_shared_gather(s: Subject, start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        node = todo.pop()
        if node in seen:
            continue

        seen.add(node)
        if s.steps[node].kind != "gather":
            todo.extend(edge.target for edge in s.outgoing[node])

    return seen


def _reads_before_written(s: Subject) -> Iterator[Problem]:
    readers = [step for step in s.spec.steps if step.reads]
    if not readers:
        return

    import networkx as nx

    above = nx.immediate_dominators(s.graph, s.spec.start)
    for step in readers:
        before = _dominators(above, step.id)
        for name in step.reads:
            if name not in s.steps:
                what, hint = (
                    f"it reads `ctx.output({name})`, which is no step of this workflow",
                    "name a step of it",
                )
            elif name not in before and not _joined_before(s, name, step.id):
                what = f"it reads `ctx.output({name})`, but `{name}` does not come first on every path"
                hint = f"make each path to `{step.id}` pass `{name}`, or pass the value along the edges"
            else:
                continue

            yield Problem(code="AF110", what=what, where=s.where(step.id), hint=hint)


def _dominators(above: Mapping[str, str], step: str) -> set[str]:
    found: set[str] = set()
    while step in above and above[step] != step:
        step = above[step]
        found.add(step)

    return found


def _joined_before(s: Subject, name: str, reader: str) -> bool:
    """Whether a gather that waits for `name` comes before the reader on every path (a join needs all branches)."""
    import networkx as nx

    above = nx.immediate_dominators(s.graph, s.spec.start)
    gathers = [d for d in _dominators(above, reader) if s.steps[d].kind == "gather"]
    return any(name in {e.source for e in s.spec.edges if e.target == g} for g in gathers)


def _bounds(s: Subject) -> Iterator[Problem]:
    for step in s.spec.steps:
        if step.map is not None and (step.map.parallel < 1 or step.map.at_most < 1):
            yield _bad_number(s, step.id, "`parallel` and `at_most` of `each` must be at least 1")

        if step.timeout is not None and step.timeout <= 0:
            yield _bad_number(s, step.id, f"its timeout is {step.timeout:g} s")

        for limit in ("max_calls", "max_rounds", "max_turns"):
            if step.options.get(limit, 1) < 1:
                yield _bad_number(s, step.id, f"its `{limit}` is {step.options[limit]}")

    for edge in s.spec.edges:
        if edge.at_most is not None and edge.at_most < 1:
            yield Problem(
                code="AF111", what=f"`at_most` is {edge.at_most}", where=s.edge(edge), hint="give at least 1"
            )


def _bad_number(s: Subject, step: str, what: str) -> Problem:
    return Problem(code="AF111", what=what, where=s.where(step), hint="give a number above 0")


def _name(type_: Any) -> str:
    return short_name(type_name(type_))


CHECKS: tuple[Callable[[Subject], Iterator[Problem]], ...] = (
    _unreachable,
    _dead_ends,
    _unbounded_cycles,
    _case_edges,
    _unhandled_cases,
    _edge_types,
    _parallel_meets,
    _reads_before_written,
    _bounds,
)
