"""A spec compiled to integer-indexed arrays, so that a step's cost does not depend on the size of the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from agentflow.path import MapStep, Step
from agentflow.spec import Budget, EdgeSpec, MapSpec, Retry, StepKind, StepSpec, WorkflowSpec
from agentflow.steps.function import FunctionStep
from agentflow.steps.held import has_servers, held_tools
from agentflow.tools import Labels, Tool
from agentflow.typeref import cases, class_of, is_exact


@dataclass(frozen=True, slots=True)
class Out:
    """One edge out of a node; `index` numbers the edges of the graph."""

    index: int
    target: int
    on: str | None
    at_most: int | None
    slot: int | None


@dataclass(frozen=True, slots=True)
class Node:
    """One step, with its edges; `child` is the graph of a sub-workflow, `slots` the size of a gather."""

    index: int
    id: str
    kind: StepKind
    map: MapSpec | None
    retry: Retry | None
    options: Any
    always: tuple[Out, ...]
    by_case: tuple[Out, ...]
    slots: int
    child: Graph | None
    budget: Budget | None


@dataclass(frozen=True, slots=True)
class Graph:
    """A workflow for the engine."""

    name: str
    nodes: tuple[Node, ...]
    start: int
    end: int
    budget: Budget | None
    # Whether an output may go several ways at once: else nothing is going on beside the step that is the end.
    is_forking: bool
    # Whether a budget here, or in a sub-workflow, limits time; or money.
    is_timed: bool
    is_priced: bool


def compile_graph(spec: WorkflowSpec) -> Graph:
    """The graph of a spec that was found to be sound."""
    place = {step.id: index for index, step in enumerate(spec.steps)}
    outgoing: list[list[tuple[int, EdgeSpec]]] = [[] for _ in spec.steps]
    slots = [0] * len(spec.steps)
    for index, edge in enumerate(spec.edges):
        outgoing[place[edge.source]].append((index, edge))
        if edge.slot is not None:
            target = place[edge.target]
            slots[target] = max(slots[target], edge.slot + 1)

    nodes = tuple(_node(i, step, outgoing[i], slots[i], place) for i, step in enumerate(spec.steps))
    limits = [budget for budget in (spec.budget, *(step.budget for step in spec.steps)) if budget is not None]
    inner = [node.child for node in nodes if node.child is not None]
    return Graph(
        spec.name,
        nodes,
        place[spec.start],
        place[spec.end],
        spec.budget,
        is_forking=any(map(_is_forking, nodes)),
        is_timed=any(b.minutes is not None for b in limits) or any(child.is_timed for child in inner),
        is_priced=any(b.usd is not None for b in limits) or any(child.is_priced for child in inner),
    )


def _is_forking(node: Node) -> bool:
    by_case = {out.on for out in node.by_case}
    return len(node.always) > 1 or bool(node.always and by_case) or len(by_case) < len(node.by_case)


def _node(
    index: int, step: StepSpec, edges: list[tuple[int, EdgeSpec]], slots: int, place: dict[str, int]
) -> Node:
    outs = [Out(i, place[e.target], e.on, e.at_most, e.slot) for i, e in edges]
    return Node(
        index=index,
        id=step.id,
        kind=step.kind,
        map=step.map,
        retry=step.retry,
        options=step.options,
        always=tuple(out for out in outs if out.on is None),
        by_case=tuple(out for out in outs if out.on is not None),
        slots=slots,
        child=compile_graph(step.workflow) if step.workflow is not None else None,
        budget=step.budget,
    )


@dataclass(frozen=True, slots=True)
class Work:
    """What the runner needs of a step beside its node: how to execute it, and its types."""

    execute: Callable[[Any, Any], Any]
    takes: Any
    gives: Any
    accepts: tuple[type, ...] | None
    timeout: float | None
    case_types: tuple[tuple[str, Any], ...]
    child: Program | None = None
    # Whether it may call or ask in the middle of its work, so that it must not keep the driver from others.
    may_ask: bool = True
    # The labels that tools had when the workflow was checked, by origin; and whether others may come, from servers.
    labels: Mapping[str, frozenset[Labels]] = field(default_factory=dict[str, frozenset[Labels]])
    has_servers: bool = False
    # The names of the tools that the definition gives it.
    tools: frozenset[str] = frozenset()

    def has_checked(self, tool: Tool[..., Any]) -> bool:
        """Whether the check saw the tool as it is."""
        known = self.labels.get(tool.origin or tool.name, frozenset())
        return tool.labels in known or tool.labels.is_harmless or (tool.origin == "mcp" and self.has_servers)

    def kind_of(self, case: str | None) -> Any:
        """The type that an output of this case was written as; None where its type does not say all of it."""
        kind = dict(self.case_types).get(case or "", self.gives)
        return kind if is_exact(kind) else None


@dataclass(frozen=True, slots=True)
class Program:
    """A workflow ready to run: its spec, its graph, and the work of each node by index."""

    spec: WorkflowSpec
    graph: Graph
    work: tuple[Work, ...]
    takes: Any
    gives: Any
    digest: str
    by_id: dict[str, int] = field(default_factory=dict[str, int])


def bind(
    spec: WorkflowSpec,
    steps: Mapping[str, Step[Any, Any]],
    children: Mapping[str, Program],
    types: Mapping[str, Any],
) -> Program:
    """Put the steps of a definition to the nodes of its graph; `types` are those that the spec names."""
    wanted: dict[str, list[str]] = {}
    for edge in spec.edges:
        if edge.on is not None:
            wanted.setdefault(edge.source, []).append(edge.on)

    work = tuple(
        _work(steps[s.id], {n: types[n] for n in wanted.get(s.id, ())}, children.get(s.id))
        for s in spec.steps
    )
    by_id = {step.id: index for index, step in enumerate(spec.steps)}
    takes, gives = types[spec.takes], types[spec.gives]
    return Program(spec, compile_graph(spec), work, takes, gives, spec.digest, by_id)


def _work(step: Step[Any, Any], wanted: Mapping[str, Any], child: Program | None) -> Work:
    body = step.body if isinstance(step, MapStep) else step
    held = list(held_tools(body))
    return Work(
        execute=body.execute,
        takes=body.takes,
        gives=body.gives,
        accepts=_classes(body.gives),
        timeout=body.timeout,
        case_types=tuple(wanted.items()),
        child=child,
        may_ask=not isinstance(body, FunctionStep) or body.wants_context or body.is_recording or bool(held),
        labels=_labels(held),
        has_servers=has_servers(body),
        tools=frozenset(tool.name for tool in held),
    )


def _labels(held: Iterable[Tool[..., Any]]) -> dict[str, frozenset[Labels]]:
    """Tools made by one function may have one origin, and differ."""
    found: dict[str, frozenset[Labels]] = {}
    for tool in held:
        key = tool.origin or tool.name
        found[key] = found.get(key, frozenset()) | {tool.labels}

    return found


def _classes(type_: Any) -> tuple[type, ...] | None:
    """The classes that a value of the type can have; None where anything may come."""
    classes: list[type] = []
    for case in cases(type_):
        if get_origin(case) is Literal:
            classes += [type(value) for value in get_args(case)]
        elif (class_ := class_of(case)) is not None:
            classes.append(class_)
        else:
            return None

    return (*classes, int) if float in classes else tuple(classes)
