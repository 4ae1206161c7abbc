"""From a spec to a workflow that runs: YAML and JSON definitions put to registered steps and tools."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, TypeVar, get_args

from agentflow.exceptions import AgentflowError, DefinitionError, Problem, ProjectError, UnknownName
from agentflow.path import Gather, MapStep, Place, Step
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.steps.agent import Agent
from agentflow.steps.approval import Approval
from agentflow.steps.function import FunctionStep
from agentflow.steps.naming import tools_in
from agentflow.steps.planner import Planner
from agentflow.steps.prompting import load_prompt
from agentflow.steps.wait import Wait
from agentflow.tools import Tool
from agentflow.typeref import resolve_type, type_name
from agentflow.workflow import Workflow


def assemble(
    spec: WorkflowSpec,
    place: Place,
    packages: Sequence[str],
    lines: Mapping[str, int] | None = None,
    path: str = "",
) -> Workflow[Any, Any]:
    """The workflow of a spec; only steps and tools of `packages` can be named, never other code.

    `lines` says where in the file each step stands, by its `path`, such as `handle/draft`. What cannot be made of a step is
    raised for all steps at once, as a `DefinitionError`.
    """
    maker = _Maker(spec, place, tuple(packages), lines or {}, path)
    steps, problems = maker.steps()
    if problems:
        raise DefinitionError(spec.name, problems)

    _refuse_lost_edges(spec)
    for step in maker.gathers():
        steps[step.id] = maker.gather(step.id, steps)

    ordered = {step.id: steps[step.id] for step in spec.steps}
    return Workflow.of_steps(spec, ordered, place)


def _refuse_lost_edges(spec: WorkflowSpec) -> None:
    kinds = {step.id: step.kind for step in spec.steps}
    for edge in spec.edges:
        for end in (edge.source, edge.target):
            if end not in kinds:
                raise UnknownName(f"step in the edges of `{spec.name}`", end, list(kinds))

        if edge.slot is not None and kinds[edge.target] != "gather":
            raise ProjectError(
                f"step `{edge.target}` is no gather, and an edge into it has a `slot`",
                hint="leave `slot` out",
            )


# Tools that no name in a module leads to: those that were made of a document.
_ORIGIN = re.compile(r"openapi:[^#]+#")
_MODULE = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_]")
# Modules of agentflow whose types a file may name; others do something when they are imported, or hold ways out.
_OURS = ("agentflow", "agentflow.evidence", "agentflow.claims.finding", "agentflow.steps.approval")
# Steps of agentflow itself that a file may name.
_OUR_STEPS = tuple(f"agentflow.steps.claims:{verb}_claims" for verb in ("check", "require", "annotate"))
# Modules whose types any file may name.
_KNOWN = (
    "builtins", "collections", "datetime", "decimal", "enum", "fractions", "pathlib", "pydantic", "typing", "uuid",
)  # fmt: skip


def _holds_routine(type_: Any) -> bool:
    """Whether something that is called, and no type, is named: what reads values of a type would call it."""
    return inspect.isroutine(type_) or inspect.ismodule(type_) or any(map(_holds_routine, get_args(type_)))


class _Maker:
    """Makes the steps of one spec."""

    def __init__(
        self,
        spec: WorkflowSpec,
        place: Place,
        packages: tuple[str, ...],
        lines: Mapping[str, int],
        path: str,
    ) -> None:
        self.spec, self.place, self.packages = spec, place, packages
        self.lines, self.path = lines, path

    def steps(self) -> tuple[dict[str, Step[Any, Any]], list[Problem]]:
        """The steps that could be made, and why the others could not."""
        made: dict[str, Step[Any, Any]] = {}
        problems = list(self._foreign_types())
        for step in self.spec.steps:
            if step.kind == "gather":
                continue

            try:
                made[step.id] = self.step(step)
            except DefinitionError as error:
                problems += error.problems
            except ProjectError as error:
                where = f"step `{self.path}{step.id}` ({self.at(step.id)})"
                problems.append(Problem(code="AF161", what=str(error), where=where, hint=error.hint))

        return made, problems

    def _foreign_types(self) -> Iterator[Problem]:
        """What the workflow itself and its edges name and must not."""
        named = (self.spec.takes, self.spec.gives, *(e.on for e in self.spec.edges if e.on is not None))
        for said in dict.fromkeys(named):
            try:
                self._refuse_foreign(said, self.spec.name)
            except ProjectError as error:
                where = f"workflow `{self.spec.name}` ({self.place})"
                yield Problem(code="AF161", what=str(error), where=where, hint=error.hint)

    def _refuse_foreign(self, type_: str, step: str) -> None:
        """A type is imported when it is read: a file may only name modules that are known to do no harm by that."""
        for module in _MODULE.findall(type_):
            root = module.partition(".")[0]
            if root not in (*self.packages, *_KNOWN) and module not in _OURS:
                raise ProjectError(
                    f"step `{step}`: the type `{type_}` is of `{module}`, which a file may not name",
                    hint=f"use types of {', '.join(f'`{p}`' for p in self.packages)}, agentflow, or plain ones",
                )

        if _holds_routine(resolve_type(type_)):
            raise ProjectError(
                f"step `{step}`: `{type_}` is no type", hint="name a class, or one of the plain types"
            )

    def at(self, step: str) -> Place:
        """Where a step stands in the file."""
        return Place(self.place.file, self.lines.get(self.path + step, self.place.line))

    def step(self, spec: StepSpec) -> Step[Any, Any]:
        for said in (spec.takes, spec.gives):
            self._refuse_foreign(said, spec.id)

        made = self._kinds()[spec.kind](spec)
        if spec.kind in ("approval", "wait", "workflow") and (
            spec.timeout is not None or spec.retry is not None or spec.budget is not None
        ):
            raise ProjectError(
                f"step `{spec.id}`: `timeout`, `retry` and `budget` mean nothing for a step of kind {spec.kind}",
                hint="leave them out, or put them on a step inside",
            )

        made.name, made.timeout, made.retry, made.place = spec.id, spec.timeout, spec.retry, self.at(spec.id)
        made.budget = spec.budget
        if spec.map is None:
            return made

        return MapStep(made, spec.map, spec.id, self.at(spec.id))

    def _kinds(self) -> Mapping[str, Callable[[StepSpec], Step[Any, Any]]]:
        return {
            "function": self._function,
            "planner": self._planner,
            "agent": lambda s: self._agent(s.id, s.takes, s.gives, s.options),
            "approval": lambda s: _made(s.id, lambda: Approval(s.id, of=resolve_type(s.takes), **s.options)),
            "wait": lambda s: _made(
                s.id, lambda: Wait(s.id, of=resolve_type(s.takes), **{"seconds": 0, **s.options})
            ),
            "workflow": self._workflow,
        }

    def _function(self, spec: StepSpec) -> Step[Any, Any]:
        found = self.registered(spec.call, f"step `{spec.id}`")
        if not isinstance(found, FunctionStep):
            raise ProjectError(f"step `{spec.id}`: `{spec.call}` is no step", hint="make it one with `@step`")

        made: Step[Any, Any] = FunctionStep(found.function)
        for verb, said, known in (("takes", spec.takes, made.takes), ("gives", spec.gives, made.gives)):
            if said not in ("Any", type_name(known)):
                raise ProjectError(
                    f"step `{spec.id}`: `{verb}` is `{said}`, and its function {verb} `{type_name(known)}`",
                    hint=f"leave `{verb}` out: it is known from the function",
                )

        return made

    def _planner(self, spec: StepSpec) -> Step[Any, Any]:
        known = dict(spec.options)
        tools = self._tools(known.pop("tools", ()), spec.id)
        prompt = load_prompt(spec.id, known.pop("prompt", ""), self.place)
        return _made(
            spec.id,
            lambda: Planner(
                spec.id,
                takes=resolve_type(spec.takes),
                gives=resolve_type(spec.gives),
                tools=tools,
                prompt=prompt,
                **known,
            ),
        )

    def _agent(self, name: str, takes: str, gives: str, options: Mapping[str, Any]) -> Agent[Any, Any]:
        for said in (takes, gives):
            self._refuse_foreign(said, name)

        known = dict(options)
        if fixed := [key for key in ("guardrails", "mcp_servers") if known.get(key)]:
            raise ProjectError(f"step `{name}`: {fixed[0]} can only be given in Python")

        tools = self._tools(known.pop("tools", ()), name)
        prompt = load_prompt(name, known.pop("prompt", ""), self.place)
        known |= {
            key: [self._nested(a) for a in known.pop(key, ())] for key in ("handoffs", "agents_as_tools")
        }
        return _made(
            name,
            lambda: Agent(
                name,
                takes=resolve_type(takes),
                gives=resolve_type(gives),
                tools=tools,
                prompt=prompt,
                **known,
            ),
        )

    def _nested(self, options: Mapping[str, Any]) -> Agent[Any, Any]:
        known = dict(options)
        name, takes, gives = known.pop("name", ""), known.pop("takes", "Any"), known.pop("gives", "str")
        return self._agent(name, takes, gives, known)

    def _workflow(self, spec: StepSpec) -> Step[Any, Any]:
        if spec.workflow is None:
            raise ProjectError(f"step `{spec.id}` is a sub-workflow and has no `workflow`")

        inside = f"{self.path}{spec.id}/"
        return assemble(spec.workflow, self.at(spec.id), self.packages, self.lines, inside)

    def gathers(self) -> list[StepSpec]:
        """The gathers, each after those that it joins."""
        waiting = {step.id: step for step in self.spec.steps if step.kind == "gather"}
        ordered: list[StepSpec] = []
        while waiting:
            inner = {e.target for e in self.spec.edges if e.source in waiting}
            ready = [step for name, step in waiting.items() if name not in inner]
            if not ready:
                raise ProjectError(
                    f"the gathers {', '.join(f'`{name}`' for name in waiting)} wait for each other"
                )

            ordered += ready
            for step in ready:
                del waiting[step.id]

        return ordered

    def gather(self, name: str, steps: Mapping[str, Step[Any, Any]]) -> Step[Any, Any]:
        """The gather that the edges with a `slot` lead to."""
        edges = sorted((e for e in self.spec.edges if e.target == name), key=lambda e: e.slot or 0)
        if [e.slot for e in edges] != list(range(len(edges))):
            raise ProjectError(
                f"step `{name}` joins {len(edges)} edges, whose slots are {[e.slot for e in edges]}",
                hint="give each edge into a gather its `slot`: 0, 1, ...",
            )

        made: Gather[Any, Any] = Gather([_branch(e, steps) for e in edges], self.place)
        made.name = name
        return made

    def _tools(self, names: Sequence[str], step: str) -> list[Tool[..., Any]]:
        return [tool for name in names for tool in self._named(name, f"step `{step}`")]

    def _named(self, name: str, where: str) -> list[Tool[..., Any]]:
        """The tool `module:name`, the tools of such a list, or the one of that origin, such as `openapi:Shop#listOrders`."""
        if _ORIGIN.match(name):
            return [self._of_origin(name, where)]

        found = tools_in(self.registered(name, where))
        if not found:
            raise ProjectError(f"{where}: `{name}` is no tool", hint="make it one with `@tool`")

        return found

    def _of_origin(self, origin: str, where: str) -> Tool[..., Any]:
        package = self.packages[-1]
        names = [m.name for m in iter_modules(import_module(package).__path__) if not m.name.startswith("_")]
        values = [v for n in names for v in vars(self._imported(f"{package}.{n}", where)).values()]
        known = {tool.origin: tool for value in values for tool in tools_in(value)}
        if origin not in known:
            raise UnknownName(f"tool in `{package}`", origin, [name for name in known if _ORIGIN.match(name)])

        return known[origin]

    def registered(self, name: str, where: str) -> Any:
        """The object `module:name` of the project's own packages."""
        module, _, attribute = name.partition(":")
        is_known = name in _OUR_STEPS or module.split(".")[0] in self.packages
        if not is_known or not attribute:
            raise ProjectError(
                f"{where}: `{name}` cannot be used in a file",
                hint=f"name a step or tool as `module:name` in {' or '.join(f'`{p}`' for p in self.packages)}",
            )

        loaded = self._imported(module, where, name)
        if not hasattr(loaded, attribute):
            raise UnknownName(f"`{module}` name", attribute, dir(loaded))

        return getattr(loaded, attribute)

    def _imported(self, module: str, where: str, name: str = "") -> ModuleType:
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            raise ProjectError(f"{where}: `{name or module}` cannot be found: {error}") from None
        except AgentflowError:
            raise
        except Exception as error:  # whatever a module does when it is imported
            what = f"{type(error).__name__}: {error}"
            raise ProjectError(f"{where}: `{module}` cannot be imported: {what}") from error


def _branch(edge: EdgeSpec, steps: Mapping[str, Step[Any, Any]]) -> Any:
    step = steps[edge.source]
    return step if edge.on is None else step.on(resolve_type(edge.on), at_most=edge.at_most)


S = TypeVar("S")


def _made(step: str, make: Callable[[], S]) -> S:
    try:
        return make()
    except (TypeError, ValueError) as error:
        text = re.sub(r"\w+\.__init__\(\)", "", str(error)).strip()
        raise ProjectError(f"step `{step}`: {text}") from None
