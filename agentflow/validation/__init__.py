"""Is a workflow sound? A pure function from a spec and its types to all problems at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agentflow.exceptions import Problem
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.typeref import assignable, cases, item_type, short_name, type_name
from agentflow.validation.order import ended_before, entered_twice
from agentflow.validation.subject import REJECTED, Subject

__all__ = ["REJECTED", "validate"]


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
                where=f"workflow `{s.spec.name}`{s.place}",
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
    """What a step can give beside its type: a refusal, for an approval (a map of approvals gives a list)."""
    step = s.steps[edge.source]
    return (
        (s.types[REJECTED],) if step.kind == "approval" and step.map is None and edge.on == REJECTED else ()
    )


def _ends_give(s: Subject) -> Iterator[Problem]:
    """What a definition says that it takes and gives must be what its ends take and give."""
    taken, given = s.types[s.spec.takes], s.types[s.spec.gives]
    if not assignable(taken, s.takes(s.spec.start)):
        yield _other_type(s, "takes", s.spec.start, s.takes(s.spec.start))

    if not any(assignable(member, given) for member in cases(s.gives(s.spec.end))):
        yield _other_type(s, "gives", s.spec.end, s.gives(s.spec.end))


def _other_type(s: Subject, verb: str, step: str, type_: Any) -> Problem:
    return Problem(
        code="AF107",
        what=f"its `{verb}` is `{short_name(getattr(s.spec, verb))}` and `{step}` {verb} `{_name(type_)}`",
        where=f"workflow `{s.spec.name}`{s.place}",
        hint=f"write `{verb}: {type_name(type_)}`, or leave it out",
    )


def _unhandled_cases(s: Subject) -> Iterator[Problem]:
    for id_, edges in s.outgoing.items():
        named = [s.types[e.on] for e in edges if e.on is not None]
        if id_ == s.spec.end:
            named.append(s.types[s.spec.gives])

        if not named or any(e.on is None for e in edges):
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
    met = entered_twice(s)
    first = [id_ for id_ in met if not any(e.source in met for e in s.spec.edges if e.target == id_)]
    for id_ in first or sorted(met, key=list(s.steps).index)[:1]:
        yield Problem(
            code="AF109",
            what="branches that run in parallel meet in it without a gather",
            where=s.where(id_),
            hint=f"join them first: `gather(...) >> {id_}`, and let no branch lead back before its gather",
        )


def _reads_before_written(s: Subject) -> Iterator[Problem]:
    readers = [step for step in s.spec.steps if step.reads]
    before = ended_before(s) if readers else {}
    for step in readers:
        for name in step.reads:
            if name not in s.steps:
                what, hint = (
                    f"it reads `ctx.output({name})`, which is no step of this workflow",
                    "name a step of it",
                )
            elif name not in before.get(step.id, s.steps):
                what = f"it reads `ctx.output({name})`, but `{name}` does not come first on every path"
                hint = f"make each path to `{step.id}` pass `{name}`, or pass the value along the edges"
            else:
                continue

            yield Problem(code="AF110", what=what, where=s.where(step.id), hint=hint)


def _bounds(s: Subject) -> Iterator[Problem]:
    for step in s.spec.steps:
        for is_wrong, what in _bad_numbers(step):
            if is_wrong:
                yield Problem(
                    code="AF111",
                    what=what,
                    where=s.where(step.id),
                    hint="give a number above 0, or leave it out",
                )

    for edge in s.spec.edges:
        if edge.at_most is not None and edge.at_most < 1:
            yield Problem(
                code="AF111", what=f"`at_most` is {edge.at_most}", where=s.edge(edge), hint="give at least 1"
            )

    budgets = [(s.spec.budget, f"workflow `{s.spec.name}`{s.place}")]
    budgets += [(step.budget, s.where(step.id)) for step in s.spec.steps]
    for budget, where in budgets:
        for name in ("model_calls", "tool_calls", "tokens", "usd", "minutes"):
            if budget is not None and (getattr(budget, name) or 0) < 0:
                what = f"its budget of `{name}` is below 0"
                yield Problem(code="AF111", what=what, where=where, hint="give 0 or more, or leave it out")


def _bad_numbers(step: StepSpec) -> Iterator[tuple[bool, str]]:
    map_, retry = step.map, step.retry
    yield (
        map_ is not None and min(map_.parallel, map_.at_most) < 1,
        "`parallel` and `at_most` of `each` must be at least 1",
    )
    yield step.timeout is not None and step.timeout <= 0, f"its timeout is {step.timeout} s"
    for limit in ("max_calls", "max_rounds", "max_turns"):
        yield not _is_number(step.options.get(limit, 1), 1), f"its `{limit}` is {step.options.get(limit)!r}"

    if step.kind == "approval":
        deadline = step.options.get("deadline", 1)
        yield not _is_number(deadline, 0) or not deadline, f"its deadline is {deadline!r} s"

    if step.kind == "wait":
        yield not _is_number(step.options.get("seconds", 0), 0), f"it waits {step.options.get('seconds')} s"

    if retry is not None:
        yield (
            min(retry.times, retry.delay, retry.factor, retry.max_delay) < 0,
            "a number of its `retry` is below 0",
        )
        yield (
            not 0 <= retry.jitter <= 1,
            f"the `jitter` of its `retry` is {retry.jitter}, and it is a share from 0 to 1",
        )


def _is_number(value: Any, least: int) -> bool:
    # Options of a definition in a file can be anything.
    return isinstance(value, int | float) and value >= least


def _name(type_: Any) -> str:
    return short_name(type_name(type_))


CHECKS: tuple[Callable[[Subject], Iterator[Problem]], ...] = (
    _unreachable,
    _dead_ends,
    _unbounded_cycles,
    _ends_give,
    _case_edges,
    _unhandled_cases,
    _edge_types,
    _parallel_meets,
    _reads_before_written,
    _bounds,
)
