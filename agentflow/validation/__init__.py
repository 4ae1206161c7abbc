"""Is a workflow sound? A pure function from a spec and its types to all problems at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, get_origin

from agentflow.digraph import components, cycle
from agentflow.exceptions import Problem, did_you_mean
from agentflow.places import Places
from agentflow.spec import EdgeSpec, WorkflowSpec
from agentflow.typeref import assignable, cases, item_type, short_name, type_name, values
from agentflow.validation.doubts import CERTAIN, UNREAD, Doubts
from agentflow.validation.joins import end_leads_on, never_asked, parallel
from agentflow.validation.nesting import contains_itself, same_names
from agentflow.validation.numbers import numbers
from agentflow.validation.order import ended
from agentflow.validation.producing import cannot_produce
from agentflow.validation.stalls import stalls
from agentflow.validation.subject import REJECTED, Subject

__all__ = ["CERTAIN", "REJECTED", "UNREAD", "Doubts", "cannot_produce", "same_names", "stalls", "validate"]


def validate(
    spec: WorkflowSpec,
    types: Mapping[str, Any],
    places: Places | None = None,
    *,
    unsure: Collection[tuple[str, str]] = (),
    clashes: Collection[str] = (),
    doubts: Doubts = CERTAIN,
) -> list[Problem]:
    """All problems of a workflow; empty where it is sound.

    `unsure` are reads, by step and name, of which it is not known what they read. `clashes` are names that several
    steps have: of what stands at them nothing is said, as it cannot be told which of the steps an edge means. `doubts`
    are about what could not be read of a definition.
    """
    subject = Subject(spec, types, places or Places(), frozenset(unsure))
    found = list(_ends(subject))
    is_open = not {spec.start, spec.end} <= subject.steps.keys() or _begins_with_gather(subject)
    # Where names are shared there can be ways in the graph that nobody wrote, and order and parallelism hang on all.
    left_out = {
        *(OF_ENDS if is_open else ()),
        *(OF_EDGES if doubts.edges else ()),
        *(OF_ALL if clashes else ()),
    }
    for check in CHECKS:
        found += [] if check in left_out else check(subject)

    guessed = {subject.edge(edge) for edge in doubts.guessed}
    return [p for p in found if not _is_about(p, clashes) and p.where not in guessed]


def _is_about(problem: Problem, names: Collection[str]) -> bool:
    words = set(re.findall(r"[^\s`]+", f"{problem.where} {problem.what}")) if names else set[str]()
    return not words.isdisjoint(names)


def _ends(s: Subject) -> Iterator[Problem]:
    for role, id_ in (("start", s.spec.start), ("end", s.spec.end)):
        if id_ not in s.steps and id_ != UNREAD:
            yield Problem(
                code="AF101",
                what=f"its {role} `{id_}` is not one of its steps",
                where=s.workflow(role),
                hint=did_you_mean(id_, s.steps) or "use a step that stands in `edges`",
            )

    if _begins_with_gather(s):
        yield Problem(
            code="AF101",
            what=f"its start `{s.spec.start}` is a gather, which no value comes to at the start",
            where=s.workflow("start"),
            hint="start with the step whose output its branches get",
        )


def _begins_with_gather(s: Subject) -> bool:
    return s.spec.start in s.steps and s.steps[s.spec.start].kind == "gather"


def _unreachable(s: Subject) -> Iterator[Problem]:
    for id_ in s.steps if len(s.reached) < len(s.steps) else ():
        if id_ not in s.reached:
            yield Problem(
                code="AF102",
                what="nothing leads to it",
                where=s.where(id_),
                hint=f"add an edge from a step that `{s.spec.start}` leads to, or leave the step out",
            )


def _nameless(s: Subject) -> Iterator[Problem]:
    names = [step.id for step in s.spec.steps if step.kind != "gather"]
    if all(map(str.strip, names)) and not _NO_NAME.search("".join(names)):
        return

    for name in names:
        if not name.strip() or _NO_NAME.search(name):
            yield Problem(
                code="AF123",
                what="it has a name that cannot stand in a trail" if name.strip() else "it has no name",
                where=s.where(name),
                hint="a name holds no `/`, `#`, `[`, `]` or control character: these tell visits, items and workflows apart",
            )


def _dead_ends(s: Subject) -> Iterator[Problem]:
    for id_ in s.steps if len(s.leading) < len(s.steps) else ():
        if id_ not in s.leading:
            yield Problem(
                code="AF103",
                what=f"it does not lead to the end `{s.spec.end}`",
                where=s.where(id_),
                hint="add an edge that leads on, or make it the `end`",
            )


def _unbounded_cycles(s: Subject) -> Iterator[Problem]:
    if s.is_straight:
        return

    free: dict[str, list[str]] = {id_: [] for id_ in s.steps}
    for edge in s.spec.edges:
        if edge.at_most is None:
            free[edge.source].append(edge.target)

    for start in sorted(_cyclic(free), key=list(free).index):
        round_ = cycle(free, start)
        yield Problem(
            code="AF104",
            what=f"the cycle {' -> '.join([*round_, start])} has no bound",
            where=s.where(start),
            hint=f"bound one of its edges, such as `{round_[-1]}.on(Type, at_most=3) >> {start}`",
        )


def _cyclic(follow: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Of each set of steps that lead to one another the first."""
    names = list(follow)
    number = {name: n for n, name in enumerate(names)}
    for members in components([[number[t] for t in follow[name]] for name in names], range(len(names))):
        first = names[min(members)]
        if len(members) > 1 or first in follow[first]:
            yield first


def _case_edges(s: Subject) -> Iterator[Problem]:
    for edge in s.cased:
        if not s.is_produced(edge):
            is_join = s.steps[edge.source].kind == "gather"
            yield Problem(
                code="AF105",
                what=f"the case `{short_name(edge.on or '')}` is never produced",
                where=s.edge(edge),
                hint="a gather has no cases: leave `.on` out, or put a step behind it that gives them"
                if is_join
                else f"`{edge.source}` gives `{_name(s.gives(edge.source))}`",
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
        where=s.workflow(verb),
        hint=f"write `{verb}: {type_name(type_)}`, or leave it out",
    )


def _unhandled_cases(s: Subject) -> Iterator[Problem]:
    told_apart = {s.spec.end, *(edge.source for edge in s.cased)}
    leaving: dict[str, list[EdgeSpec]] = {id_: [] for id_ in s.steps if id_ in told_apart}
    for edge in s.spec.edges:
        if edge.source in told_apart:
            leaving[edge.source].append(edge)

    for id_, edges in leaving.items():
        named = [s.types[e.on] for e in edges if e.on is not None]
        given = s.types[s.spec.gives]
        if id_ == s.spec.end and any(assignable(member, given) for member in cases(s.gives(id_))):
            named.append(given)

        if not named or any(e.on is None for e in edges):
            continue

        # `.on(Literal["a"])` handles one value of many; without such, a type is handled as a whole.
        is_by_value = any(get_origin(member) is Literal for case in named for member in cases(case))
        for member in (values if is_by_value else cases)(s.gives(id_)):
            if not any(assignable(member, case) for case in named):
                yield Problem(
                    code="AF106",
                    what=f"its case `{_name(member)}` is never handled",
                    where=s.where(id_),
                    hint=f"add `{id_}.on({_name(member)}) >> ...`",
                )


def _edge_types(s: Subject) -> Iterator[Problem]:
    # Edges between the same types fit alike, and there are few types.
    fitting: set[tuple[str, bool, str, bool]] = set()
    for edge in s.spec.edges:
        source, target = s.steps[edge.source], s.steps[edge.target]
        if target.kind == "gather":
            continue

        given, is_list = (source.gives, source.map is not None) if edge.on is None else (edge.on, False)
        types = given, is_list, target.takes, target.map is not None
        if types in fitting:
            continue

        problems = list(_misfit(s, edge))
        yield from problems
        if not problems:
            fitting.add(types)


def _misfit(s: Subject, edge: EdgeSpec) -> Iterator[Problem]:
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


def _reads_before_written(s: Subject) -> Iterator[Problem]:
    readers = [step for step in s.spec.steps if step.reads]
    if not readers:
        return

    known = ended(s, dict.fromkeys(name for step in readers for name in step.reads if name in s.steps))
    for step in readers:
        for name in step.reads:
            if (step.id, name) in s.unsure:
                continue

            if name not in s.steps:
                what, hint = (
                    f"it reads `ctx.output({name})`, which is no step of this workflow",
                    "name a step of it",
                )
            elif not known.has(step.id, name):
                what = f"it reads `ctx.output({name})`, but `{name}` does not come first on every path"
                hint = f"make each path to `{step.id}` pass `{name}`, or pass the value along the edges"
            else:
                continue

            yield Problem(code="AF110", what=what, where=s.where(step.id), hint=hint)


def _name(type_: Any) -> str:
    return short_name(type_name(type_))


_NO_NAME = re.compile(r"[/#\[\]\x00-\x1f]")
Check = Callable[[Subject], Iterator[Problem]]
CHECKS: tuple[Check, ...] = (
    _nameless,
    _unreachable,
    _dead_ends,
    _unbounded_cycles,
    end_leads_on,
    _ends_give,
    _case_edges,
    _unhandled_cases,
    _edge_types,
    parallel,
    never_asked,
    _reads_before_written,
    numbers,
    contains_itself,
)
# What hangs on all ways through a graph: nothing can be said of it where a way may be there that nobody wrote,
OF_ALL: tuple[Check, ...] = (parallel, never_asked, _reads_before_written)
# where one may be missing,
OF_EDGES: tuple[Check, ...] = (*OF_ALL, end_leads_on, _unhandled_cases, _unreachable, _dead_ends)
# or where it is not known where the ways begin and end.
OF_ENDS: tuple[Check, ...] = (*OF_EDGES, _ends_give)
