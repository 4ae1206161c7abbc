"""Workflows as values: steps and typed edges in, a checked spec out."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cached_property
from typing import Any

from agentflow.bounds import Bound, above, below, least, least_of, worst_case
from agentflow.context import Context
from agentflow.exceptions import DefinitionError, Problem
from agentflow.path import In_contra, MapStep, Out_co, Path, Step, caller
from agentflow.places import Place, Places
from agentflow.spec import Budget, Flow, StepSpec, WorkflowSpec, to_data
from agentflow.steps.faults import (
    idle_planners,
    prompt_problems,
    repeated_writes,
    tool_problems,
    turn_problems,
    unread_fields,
    unsure_reads,
)
from agentflow.steps.function import FunctionStep
from agentflow.steps.held import held_tools
from agentflow.tools import Tool
from agentflow.typeref import resolve_type, type_name
from agentflow.validation import CERTAIN, Doubts, same_names, stalls, validate
from agentflow.validation.flow import Finding, flows, unused_waivers
from agentflow.validation.flow_graph import Taint, arrivals, graph_of
from agentflow.validation.flow_waivers import bad_waivers
from agentflow.wiring import WiredPlaces, Wiring, wire

# Where an end is missing, or a workflow contains itself, no way can be weighed.
_NO_WAY = {"AF101", "AF119"}
_keeps: ContextVar[bool] = ContextVar("keeps", default=False)


@contextmanager
def keeping_problems() -> Generator[None, None, None]:
    """While this is open, a broken workflow is made all the same and keeps its `problems`, with those inside of it.

    So that a check can say at once what is wrong with a workflow and with those that it is a part of. None of them
    must be run.
    """
    token = _keeps.set(True)
    try:
        yield
    finally:
        _keeps.reset(token)


def is_keeping() -> bool:
    """Whether broken workflows are made all the same."""
    return _keeps.get()


class Workflow(Step[In_contra, Out_co]):
    """A graph of steps from `start` to `end`. It is checked when it is made; all problems are raised at once.

    A workflow is a step as well, so it can stand in the edges of another. `spec` is the whole of it as data.
    `allow` holds the flows of content that the check need not warn of, each with the reason.
    """

    kind = "workflow"

    def __init__(
        self,
        name: str,
        *,
        start: Path[In_contra, Any],
        end: Path[Any, Out_co],
        edges: Sequence[Path[Any, Any]] = (),
        budget: Budget | None = None,
        description: str = "",
        allow: Sequence[Flow] = (),
    ) -> None:
        first, last = start.entries()[0], end.exit()
        gives = last.step.gives if last.on is None else last.on
        super().__init__(name, takes=first.takes, gives=gives, place=caller(2))
        wiring = wire([start, *edges, end], [first, last.step])
        ends = (first.name, last.step.name)
        self._assemble(wiring, ends, budget=budget, description=description, allow=allow)

    def _assemble(
        self,
        wiring: Wiring,
        ends: tuple[str, str],
        *,
        budget: Budget | None,
        description: str,
        allow: Sequence[Flow],
        doubts: Doubts = CERTAIN,
        places: Places | None = None,
    ) -> None:
        self.steps: Mapping[str, Step[Any, Any]] = wiring.steps
        self.description = description
        specs = tuple([step.step_spec() for step in wiring.steps.values()])
        self.types = _types(self, wiring, specs)
        self._children = tuple(_workflows_of([wiring.steps[spec.id] for spec in specs if spec.workflow]))
        self.spec = WorkflowSpec(
            name=self.name,
            start=ends[0],
            end=ends[1],
            takes=type_name(self.takes),
            gives=type_name(self.gives),
            description=description,
            steps=specs,
            edges=tuple(wiring.edges),
            budget=budget,
            allow=tuple(allow),
        )
        self.places = places or Places(WiredPlaces(self.place, wiring))
        asking = [wiring.steps[spec.id] for spec in specs if spec.kind in ("planner", "agent")]
        reading = [wiring.steps[spec.id] for spec in specs if spec.reads]
        problems = [*_clashes(wiring), *prompt_problems((*asking, *wiring.clashes))]
        problems += _items_read(reading, wiring)
        problems += [*tool_problems((*asking, *wiring.clashes)), *turn_problems(asking)]
        problems += bad_waivers(self.spec, self.places)
        clashes, unsure = {step.name for step in wiring.clashes}, tuple(unsure_reads(reading))
        problems += validate(
            self.spec, self.types, self.places, unsure=unsure, clashes=clashes, doubts=doubts
        )
        if not doubts.edges and not {problem.code for problem in problems} & _NO_WAY:
            problems += self._too_little()

        inner = [problem for _, child in self.children() for problem in child.problems]
        self.problems: Sequence[Problem] = (*problems, *inner)
        if self.problems and not is_keeping():
            raise DefinitionError(self.name, self.problems)

    @classmethod
    def of_steps(
        cls,
        spec: WorkflowSpec,
        steps: Mapping[str, Step[Any, Any]],
        place: Place,
        *,
        cases: Mapping[str, Any] | None = None,
        places: Places | None = None,
        doubts: Doubts = CERTAIN,
    ) -> Workflow[Any, Any]:
        """The workflow that `spec` describes, with `steps` for its step ids; checked like any other.

        `cases` are the types of those that edges name, where they are known; `places` says where the parts of it stand.
        """
        workflow = cls.__new__(cls)
        named = {e.on for e in spec.edges if e.on is not None}
        types = {on: resolve_type(on) for on in named} if cases is None else dict(cases)
        # Ends that are not there are reported by the check, together with all else.
        first, last = steps.get(spec.start), steps.get(spec.end)
        takes = _written(spec.takes, first.takes if first else Any)
        gives = _written(spec.gives, last.gives if last else Any)
        Step.__init__(workflow, spec.name, takes=takes, gives=gives, place=place)
        wiring = Wiring(dict(steps), dict.fromkeys(spec.edges, place), [], types)
        workflow._assemble(  # noqa: SLF001 - the other way to make one
            wiring,
            (spec.start, spec.end),
            budget=spec.budget,
            description=spec.description,
            allow=spec.allow,
            doubts=doubts,
            places=places,
        )
        return workflow

    def _too_little(self) -> Iterator[Problem]:
        """Budgets, of the workflow and of its steps, that are below what each run needs."""
        if self.spec.budget is not None and self.spec.start in self.steps:
            where = f"workflow `{self.name}`{self.places.said('budget')}"
            yield from below(least(self.spec), self.spec.budget, where=where)

        for step in self.spec.steps:
            if step.budget is not None:
                where = f"step `{step.id}`{self.places.said('steps', step.id, 'budget')}"
                yield from below(least_of(step), step.budget, where=where)

    @property
    def digest(self) -> str:
        """What names this definition: equal digests mean equal graphs, prompts and limits."""
        return self.spec.digest

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """The spec as plain data, as it stands on the record of each run; not to be changed."""
        return to_data(self.spec)

    def step_spec(self) -> StepSpec:
        """The workflow as a step of another."""
        return StepSpec(
            id=self.name,
            kind="workflow",
            takes=type_name(self.takes),
            gives=type_name(self.gives),
            workflow=self.spec,
        )

    async def execute(self, value: Any, ctx: Context) -> Any:
        raise NotImplementedError("the engine enters a sub-workflow step by step")

    def flows(self) -> list[Finding]:
        """Where untrusted content can reach a write, and private data could leave, with the flows that are allowed."""
        return list(self._flows)

    @cached_property
    def _flows(self) -> Sequence[Finding]:
        if self.problems and not _has_ends(self.spec):
            return []  # nothing flows where it is not known from where to where

        return flows(self.spec, self._labelled, self._named_tools)

    @cached_property
    def _labelled(self) -> Mapping[str, Tool[..., Any]]:
        """The tools by origin; of several that were made by one function, all that any of them may do."""
        tools: dict[str, Tool[..., Any]] = {}
        for tool in self.tools():
            key = tool.origin or tool.name
            known = tools.setdefault(key, tool)
            if known is not tool:
                tools[key] = _worse(tool, known)

        return tools

    @cached_property
    def contents(self) -> Mapping[str, Mapping[Taint, frozenset[str]]]:
        """What the input of each step in which a model decides can hold: kinds of content, and the tools that gave it."""
        nodes = graph_of(self.spec, self._labelled, self._named_tools)
        asked = [index for index, node in enumerate(nodes) if node.is_model]
        taints: tuple[Taint, ...] = ("untrusted", "private") if asked else ()
        found: dict[str, dict[Taint, frozenset[str]]] = {}
        for taint in taints:
            arrived = arrivals(nodes, taint)
            for index in asked:
                if arrived[index]:
                    sources = frozenset(arrival.tool.source(taint) for arrival in arrived[index])
                    found.setdefault(nodes[index].id, {})[taint] = sources

        return found

    def tools(self) -> Iterator[Tool[..., Any]]:
        """The tools that the steps can call, with those of sub-workflows."""
        for body in _bodies(self):
            yield from held_tools(body)

    @cached_property
    def _named_tools(self) -> dict[str, list[str]]:
        """The origins of the tools that functions name, by what the spec calls each function."""
        named: dict[str, list[str]] = {}
        # One function may stand in many steps, and functions made by one may have one name.
        bodies = {id(body.function): body for body in _bodies(self) if isinstance(body, FunctionStep)}
        for body in bodies.values():
            named.setdefault(body.call, []).extend(t.origin or t.name for t in body.named_tools())

        return named

    @cached_property
    def bound(self) -> Bound:
        """The most that a run can do, as far as the definition says."""
        return worst_case(self.spec, named=self._named_tools)

    def notes(self) -> list[str]:
        """What the check remarks: limits of budgets that no run can come to."""
        most = worst_case(self.spec, with_budget=False, named=self._named_tools)
        return [
            *above(most, self.spec.budget),
            *(f"{name}: {note}" for name, child in self.children() for note in child.notes()),
        ]

    def warnings(self) -> list[Problem]:
        """What the check warns of: the flows that are not allowed, and those allowed that are not there."""
        found, places = self.flows(), dict(_places(self, ""))
        open_ = [finding.problem(places.get(finding.step, "")) for finding in found if not finding.waived]
        # What a broken workflow seems to allow for nothing may come about once it is mended.
        unused = unused_waivers(self.spec, found) if not self.problems else []
        return [*open_, *unused, *self._unsound()]

    def _unsound(self) -> Iterator[Problem]:
        """Warnings of the graph and of its steps: what may go wrong, and what is there for nothing."""
        place = f"workflow `{self.name}`" + (f" ({self.place})" if str(self.place) else "")
        if self.spec.start in self.steps:
            yield from unread_fields(_first(self), tuple(_bodies(self)), place)

        yield from same_names(self.spec, str(self.place))
        for workflow in (self, *_below(self)):
            if not self.problems:  # where branches meet as they must not, any join may seem to wait
                yield from stalls(workflow.spec, workflow.types, workflow.places)

            yield from repeated_writes(tuple(workflow.steps.values()))
            yield from idle_planners(tuple(workflow.steps.values()))

    def children(self) -> Iterator[tuple[str, Workflow[Any, Any]]]:
        """The sub-workflows, by the step that runs them."""
        yield from self._children


def _has_ends(spec: WorkflowSpec) -> bool:
    """Whether the start and the end are there, of the workflow and of all inside of it."""
    ids = {step.id for step in spec.steps}
    return {spec.start, spec.end} <= ids and all(_has_ends(s.workflow) for s in spec.steps if s.workflow)


def _first(workflow: Workflow[Any, Any]) -> Step[Any, Any]:
    """The step that gets what a workflow is given, inside of however many workflows."""
    step = workflow.steps[workflow.spec.start]
    body = step.body if isinstance(step, MapStep) else step
    return _first(body) if isinstance(body, Workflow) and body.spec.start in body.steps else step


def _bodies(workflow: Workflow[Any, Any]) -> Iterator[Step[Any, Any]]:
    for step in workflow.steps.values():
        body = step.body if isinstance(step, MapStep) else step
        yield from _bodies(body) if isinstance(body, Workflow) else (body,)


def _below(workflow: Workflow[Any, Any]) -> Iterator[Workflow[Any, Any]]:
    for _, child in workflow.children():
        yield child
        yield from _below(child)


def _worse(one: Tool[..., Any], other: Tool[..., Any]) -> Tool[..., Any]:
    """A tool with the labels of two of the same origin (made by one function, say): what either may do."""
    return replace(
        one,
        effect=max(one.effect, other.effect, key=("none", "read", "write").index),
        returns=max(one.returns, other.returns, key=("trusted", "untrusted").index),
        private=one.private or other.private,
        outside=one.outside or other.outside,
        needs_approval=one.needs_approval and other.needs_approval,
    )


def _places(workflow: Workflow[Any, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Where each step was written, by the steps that lead to it."""
    yield from ((prefix + name, str(step.place)) for name, step in workflow.steps.items())
    for name, child in workflow.children():
        yield from _places(child, f"{prefix}{name}/")


def _types(workflow: Workflow[Any, Any], wiring: Wiring, specs: Sequence[StepSpec]) -> dict[str, Any]:
    from agentflow.steps.approval import Rejected

    types = {type_name(t): t for t in (workflow.takes, workflow.gives, Any, Rejected)}
    for spec, step in zip(specs, wiring.steps.values(), strict=True):
        body = step.body if isinstance(step, MapStep) else step
        types[spec.takes], types[spec.gives] = body.takes, body.gives

    return types | wiring.cases


def _workflows_of(steps: Iterable[Step[Any, Any]]) -> Iterator[tuple[str, Workflow[Any, Any]]]:
    """The workflows that steps run, each by the name of its step."""
    for step in steps:
        body = step.body if isinstance(step, MapStep) else step
        if isinstance(body, Workflow):
            yield step.name, body


def _written(type_: str, known: Any) -> Any:
    """The type that a definition names, or the one that its first or last step has."""
    return known if type_ in ("Any", type_name(known)) else resolve_type(type_)


def _clashes(wiring: Wiring) -> Iterator[Problem]:
    for step in wiring.clashes:
        yield Problem(
            code="AF112",
            what=f"two steps have this name (the other is at {wiring.steps[step.name].place})",
            where=f"step `{step.name}` ({step.place})",
            hint="rename one: `each(step, name=...)` names a map; or make it once and use it twice",
        )


def _items_read(reading: Iterable[Step[Any, Any]], wiring: Wiring) -> Iterator[Problem]:
    """What a step reads must be typed as what it gets: the list of a map, not one of its items."""
    for step in reading:
        body = step.body if isinstance(step, MapStep) else step
        handles = body.read_steps() if isinstance(body, FunctionStep) else {}
        for name, handle in handles.items():
            if isinstance(wiring.steps.get(name), MapStep) and not isinstance(handle, MapStep | None):
                yield Problem(
                    code="AF110",
                    what=f"it reads `ctx.output({name})` as one value, and `{name}` runs for each item",
                    where=f"step `{step.name}` ({step.place})",
                    hint=f"give the map a name, `mapped = each({name})`, use it in the edges and read `ctx.output(mapped)`",
                )
