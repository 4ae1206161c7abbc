"""A workflow as a value: frozen data that prints as JSON or YAML, has a digest, and is all that the engine knows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import cache
from typing import Any, Literal, TypeVar, cast

from agentflow.exceptions import ProjectError

FORMAT = 1
StepKind = Literal["function", "planner", "agent", "approval", "wait", "workflow", "gather"]
FlowKind = Literal[
    "untrusted-to-write", "untrusted-to-outside", "private-to-outside", "all-three", "unchecked-tool"
]
# One for all that have none, as a definition may have many steps; nobody writes into a mapping.
_NO_OPTIONS: Mapping[str, Any] = {}
KINDS: tuple[StepKind, ...] = ("function", "planner", "agent", "approval", "wait", "workflow", "gather")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try again up to `times` times; waits `delay * factor**n` seconds, at most `max_delay`.

    `jitter` is the share of each wait that is random: 0.5 waits between half and all of it
    (equal jitter, M. Brooker, "Exponential Backoff And Jitter", 2015).
    """

    times: int
    delay: float = 0.5
    factor: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSpec:
    """Run a step for each item: at most `parallel` at once, at most `at_most` items."""

    parallel: int = 8
    at_most: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of a run, a step or a sub-workflow; None is no limit. `usd` in US dollars, `minutes` of time at work.

    Time at work is wall time without that in which only people were waited for, or no process drove the run. The budget
    of a step or sub-workflow holds for each of its visits, inside of those around it; items of a map share their step's.
    """

    model_calls: int | None = None
    tool_calls: int | None = None
    tokens: int | None = None
    usd: float | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            value: object = getattr(self, f.name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise TypeError(f"`Budget({f.name}=...)` takes a number, not {value!r}")

            if isinstance(value, float) and not math.isfinite(value):
                raise TypeError(f"`Budget({f.name}={value})` is no limit: leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One step. `takes` and `gives` are types as text (of one item, where `map` is set)."""

    id: str
    kind: StepKind
    takes: str = "Any"
    gives: str = "Any"
    call: str = ""
    timeout: float | None = None
    retry: Retry | None = None
    map: MapSpec | None = None
    budget: Budget | None = None
    reads: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=lambda: _NO_OPTIONS)
    workflow: WorkflowSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSpec:
    """Where a step's output goes: always, or only outputs of the case `on`; `slot` is the place in a gather."""

    source: str
    target: str
    on: str | None = None
    at_most: int | None = None
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow of content that a workflow allows, and why: the check then does not warn of it.

    `step` is where it ends, `handle/send` for a step inside of `handle`; empty allows all of that kind in the workflow.
    """

    kind: FlowKind
    _: KW_ONLY
    step: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec:
    """A whole workflow. `digest` names it: equal digests mean equal behaviour of the graph."""

    name: str
    start: str
    end: str
    takes: str = "Any"
    gives: str = "Any"
    description: str = ""
    steps: tuple[StepSpec, ...] = ()
    edges: tuple[EdgeSpec, ...] = ()
    budget: Budget | None = None
    allow: tuple[Flow, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON, as `sha256:<hex>`."""
        text = json.dumps(to_data(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def step(self, id_: str) -> StepSpec:
        return next(step for step in self.steps if step.id == id_)


def steps_in(spec: WorkflowSpec, path: str = "") -> Iterator[tuple[str, StepSpec]]:
    """All steps by place, such as `handle/draft`: those of the workflow, each followed by those inside of it."""
    for step in spec.steps:
        yield path + step.id, step
        if step.workflow is not None:
            yield from steps_in(step.workflow, f"{path}{step.id}/")


def agents_in(options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The options of a step, and of each agent that it may hand over to or ask, however deep."""
    yield options
    for below in (*options.get("handoffs", ()), *options.get("agents_as_tools", ())):
        yield from agents_in(below)


def servers_in(options: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The MCP servers of a step or an agent by name, each with the origins that its tools have; `*` for those not described."""
    for server in options.get("mcp_servers", ()):
        if not isinstance(server, Mapping):
            yield str(server), [f"mcp:{server}"]
            continue

        known = cast("Mapping[str, Any]", server)
        name, tools = str(known.get("name", "")), list(known.get("tools", ()))
        is_open = bool(known.get("allow")) or not tools
        yield name, [f"mcp:{name}#{tool}" for tool in [*tools, *(["*"] if is_open else [])]]


def to_data(spec: WorkflowSpec) -> dict[str, Any]:
    """The spec as plain JSON data; what is at its default is left out."""
    data = _compact(spec)
    data["steps"] = {step.id: _step_data(step) for step in spec.steps}
    data["edges"] = [_renamed(_compact(edge)) for edge in spec.edges]
    if spec.allow:
        data["allow"] = [_compact(flow) for flow in spec.allow]

    return {"agentflow": FORMAT, **data}


def _step_data(step: StepSpec) -> dict[str, Any]:
    data = _compact(step)
    data.pop("id")
    if step.workflow is not None:
        data["workflow"] = to_data(step.workflow)

    return data


def _renamed(edge: dict[str, Any]) -> dict[str, Any]:
    return {"from": edge.pop("source"), "to": edge.pop("target"), **edge}


_PARTS = (Retry, MapSpec, Budget)


def _compact(value: Any) -> dict[str, Any]:
    data: dict[str, Any] = {}
    kind: Any = type(value)
    for name, default in _defaults(kind):
        item = getattr(value, name)
        if item is None or item == default or (not item and isinstance(item, tuple | Mapping)):
            continue

        if isinstance(item, tuple):
            item = list(item)
        elif type(item) in _PARTS:
            item = _compact(item)

        data[name] = item

    return data


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """The fields of a part of a spec, each with its default, which is `MISSING` where there is none."""
    return tuple((f.name, f.default) for f in fields(kind))


def from_data(data: Mapping[str, Any], *, where: str = "the workflow") -> WorkflowSpec:
    """The spec that `to_data` wrote; raises `ProjectError` naming what is missing or not known."""
    if data.get("agentflow") != FORMAT:
        raise ProjectError(
            f"{where} says `agentflow: {data.get('agentflow')}`",
            hint=f"this version reads `agentflow: {FORMAT}`",
        )

    known = {key: value for key, value in data.items() if key != "agentflow"}
    steps = _mapping(known.get("steps"), "steps", where)
    known["steps"] = tuple(_load_step(id_, body, where) for id_, body in steps.items())
    known["edges"] = tuple(_load_edge(edge, where) for edge in _list(known.get("edges"), "edges", where))
    known["budget"] = _load_part(Budget, known.get("budget"), "budget", where)
    known["allow"] = tuple(_load_flow(flow, where) for flow in _list(known.get("allow"), "allow", where))
    return _load(WorkflowSpec, known, where)


def _load_step(id_: str, body: Any, where: str) -> StepSpec:
    place = f"{where}, step `{id_}`"
    known = {**_mapping(body, id_, f"{where}, steps"), "id": id_}
    if known.get("kind") not in KINDS:
        raise ProjectError(
            f"{place}: there is no kind `{known.get('kind')}`", hint=f"kinds are: {', '.join(KINDS)}"
        )

    known["reads"] = tuple(_list(known.get("reads"), "reads", place))
    known["options"] = _mapping(known.get("options"), "options", place)
    known["retry"] = _load_part(Retry, known.get("retry"), "retry", place)
    known["map"] = _load_part(MapSpec, known.get("map"), "map", place)
    known["budget"] = _load_part(Budget, known.get("budget"), "budget", place)
    if known.get("workflow") is not None:
        known["workflow"] = from_data(_mapping(known["workflow"], "workflow", place), where=place)

    return _load(StepSpec, known, place)


def _mapping(value: Any, name: str, where: str) -> dict[str, Any]:
    if value is None:
        return {}

    if not isinstance(value, Mapping):
        raise ProjectError(f"{where}: `{name}` is {value!r}", hint=f"write names and values under `{name}:`")

    return dict(cast("Mapping[str, Any]", value))


def _list(value: Any, name: str, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise ProjectError(f"{where}: `{name}` is {value!r}", hint=f"write a list under `{name}:`")

    return value or []


def _load_edge(edge: Any, where: str) -> EdgeSpec:
    known: dict[Any, Any] = dict(_mapping(edge, "edges", where))
    if True in known:  # YAML 1.1 reads an unquoted `on` as true
        known["on"] = known.pop(True)

    if "from" not in known or "to" not in known:
        raise ProjectError(f"{where}: an edge needs `from` and `to`: {edge!r}")

    return _load(
        EdgeSpec, {"source": known.pop("from"), "target": known.pop("to"), **known}, f"{where}, edges"
    )


def _load_flow(flow: Any, where: str) -> Flow:
    return _load(Flow, _mapping(flow, "allow", where), f"{where}, allow")


S = TypeVar("S")
# What may stand in a file for a field, by its annotation.
_ALLOWED: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "FlowKind": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "float | None": (int, float, type(None)),
}


def _load_part(kind: type[S], value: Any, name: str, where: str) -> S | None:
    return None if value is None else _load(kind, _mapping(value, name, where), f"{where}, {name}")


@cache
def _fields_of(kind: type[Any]) -> dict[str, str]:
    """The fields of a part of a definition, each with its annotation."""
    return {f.name: str(f.type) for f in fields(kind)}


def _load(kind: type[S], data: Mapping[str, Any], where: str) -> S:
    known = _fields_of(cast("Any", kind))
    if unknown := sorted(set(data) - known.keys()):
        raise ProjectError(
            f"{where}: unknown {', '.join(f'`{name}`' for name in unknown)}",
            hint=f"known are: {', '.join(known)}",
        )

    for name, type_ in known.items():
        allowed = _ALLOWED.get(type_)
        value = data.get(name)
        if allowed and name in data and (isinstance(value, bool) or not isinstance(value, allowed)):
            raise ProjectError(f"{where}: `{name}` is {value!r}", hint=f"it is of type `{type_}`")

    try:
        return kind(**data)
    except TypeError as error:
        raise ProjectError(f"{where}: {str(error).replace('__init__()', '').strip()}") from None
