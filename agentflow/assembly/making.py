"""The steps of a definition, made of what it says of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from agentflow.assembly.names import Names
from agentflow.assembly.telling import Telling
from agentflow.exceptions import ProjectError
from agentflow.path import MapStep, Step
from agentflow.places import Key
from agentflow.spec import StepSpec
from agentflow.steps.agent import Agent
from agentflow.steps.approval import Approval
from agentflow.steps.function import FunctionStep
from agentflow.steps.planner import Planner
from agentflow.steps.prompting import load_prompt
from agentflow.steps.wait import Wait
from agentflow.tools import Tool
from agentflow.typeref import type_name

_LIMITS = ("max_calls", "max_rounds", "max_turns", "deadline", "seconds")
S = TypeVar("S")


class Unmade(Step[Any, Any]):
    """A step that could not be made: what a definition says of it, for the check of the rest."""

    def __init__(self, spec: StepSpec, *, takes: Any, gives: Any) -> None:
        super().__init__(spec.id, takes=takes, gives=gives)
        self.kind = spec.kind
        self.options = {k: v for k, v in spec.options.items() if k in _LIMITS}

    def step_spec(self) -> StepSpec:
        return replace(super().step_spec(), options=self.options)


class Making:
    """Makes the steps of one workflow, but for gathers and workflows inside of it."""

    def __init__(self, names: Names, tell: Telling) -> None:
        self.names, self.tell = names, tell

    def step(self, spec: StepSpec) -> Step[Any, Any]:
        """The step, or what stands in its stead."""
        takes, gives = self._type(spec, "takes"), self._type(spec, "gives")
        made = self._tried(lambda: self._made(spec, takes, gives), spec, "call")
        return self.limited(made or Unmade(spec, takes=takes, gives=gives), spec)

    def unmade(self, spec: StepSpec) -> Step[Any, Any]:
        """What stands in the stead of a step of which nothing but types and limits is known."""
        made = Unmade(spec, takes=self._type(spec, "takes"), gives=self._type(spec, "gives"))
        return self.limited(made, spec)

    def limited(self, made: Step[Any, Any], spec: StepSpec) -> Step[Any, Any]:
        """A step with its name, limits and place, and as a map where it is one."""
        limits = {"timeout": spec.timeout, "retry": spec.retry, "budget": spec.budget}
        given = [name for name, limit in limits.items() if limit is not None]
        if given and spec.kind in ("approval", "wait", "workflow"):
            what = f"`timeout`, `retry` and `budget` mean nothing for a step of kind {spec.kind}"
            hint = "leave them out, or put them on a step inside"
            self._say(ProjectError(what, hint=hint), spec, given[0])
        else:
            made.timeout, made.retry, made.budget = spec.timeout, spec.retry, spec.budget

        parts = self.tell.places.below("steps", spec.id)
        made.name, made.place, made.parts = spec.id, parts.at(), parts
        if spec.map is None:
            return made

        mapped: Step[Any, Any] = MapStep(made, spec.map, spec.id, parts.at())
        mapped.parts = parts
        return mapped

    def _type(self, spec: StepSpec, verb: str) -> Any:
        return self._type_of(getattr(spec, verb), spec, verb)

    def _type_of(self, said: str, spec: StepSpec, *part: str | int) -> Any:
        return self._tried(lambda: self.names.type(said), spec, *part, instead=Any)

    def _tried(self, make: Callable[[], S], spec: StepSpec, *part: str | int, instead: Any = None) -> S | Any:
        return self.tell.tried(make, instead, self.tell.step(spec.id), "steps", spec.id, *part)

    def _made(self, spec: StepSpec, takes: Any, gives: Any) -> Step[Any, Any]:
        match spec.kind:
            case "function":
                return self._function(spec, takes, gives)
            case "planner":
                return self._planner(spec, takes, gives)
            case "agent":
                return self._agent(spec, takes, gives)
            case "approval":
                return self._approval(spec, takes, gives)
            case "wait":
                return self._wait(spec, takes, gives)
            case _:
                return Unmade(spec, takes=takes, gives=gives)

    def _function(self, spec: StepSpec, takes: Any, gives: Any) -> Step[Any, Any]:
        made: Step[Any, Any] = FunctionStep(self.names.step(spec.call).function)
        self._agrees(spec, "takes", takes, made.takes, "its function")
        self._agrees(spec, "gives", gives, made.gives, "its function")
        return made

    def _agrees(self, spec: StepSpec, verb: str, said: Any, known: Any, whose: str) -> None:
        """What a step says that it takes or gives must be what it does."""
        if said is not Any and type_name(said) != type_name(known):
            what = f"`{verb}` is `{type_name(said)}`, and {whose} {verb} `{type_name(known)}`"
            self._say(ProjectError(what, hint=f"leave `{verb}` out: it is known without"), spec, verb)

    def _say(self, error: ProjectError, spec: StepSpec, *part: str | int) -> None:
        self.tell.say(error, self.tell.step(spec.id), "steps", spec.id, *part)

    def _approval(self, spec: StepSpec, takes: Any, gives: Any) -> Step[Any, Any]:
        self._agrees(spec, "gives", gives, takes, "an approval")
        return _made(lambda: Approval(spec.id, of=takes, **spec.options))

    def _wait(self, spec: StepSpec, takes: Any, gives: Any) -> Step[Any, Any]:
        self._agrees(spec, "gives", gives, takes, "a wait")
        return _made(lambda: Wait(spec.id, of=takes, **{"seconds": 0, **spec.options}))

    def _planner(self, spec: StepSpec, takes: Any, gives: Any) -> Step[Any, Any]:
        known = dict(spec.options)
        self._only_in_python(known, spec, ("options",))
        tools = self._tools(known.pop("tools", ()), spec, ("options",))
        prompt = self._prompt(known.pop("prompt", ""), spec, ("options",))
        return _made(lambda: Planner(spec.id, takes=takes, gives=gives, tools=tools, prompt=prompt, **known))

    def _agent(self, spec: StepSpec, takes: Any, gives: Any) -> Step[Any, Any]:
        return self._agent_of(spec, {**spec.options, "name": spec.id}, (takes, gives), ("options",))

    def _agent_of(
        self, spec: StepSpec, options: Mapping[str, Any], types: tuple[Any, Any], part: Key
    ) -> Agent[Any, Any]:
        """An agent of a step, or one below it, at `part`."""
        known = dict(options)
        self._only_in_python(known, spec, part)
        name = known.pop("name")
        tools = self._tools(known.pop("tools", ()), spec, part)
        prompt = self._prompt(known.pop("prompt", ""), spec, part)
        handoffs, asked = (
            [self._nested(spec, a, (*part, key, n)) for n, a in enumerate(known.pop(key, ()))]
            for key in ("handoffs", "agents_as_tools")
        )
        given: dict[str, Any] = {
            "takes": types[0],
            "gives": types[1],
            "tools": tools,
            "prompt": prompt,
            **known,
        }
        return _made(lambda: Agent(name, handoffs=handoffs, agents_as_tools=asked, **given))

    def _only_in_python(self, options: dict[str, Any], spec: StepSpec, part: Key) -> None:
        for key in ("guardrails", "mcp_servers"):
            if options.pop(key, None):
                error = ProjectError(f"its {key} can only be given in Python", hint="leave them out")
                self._say(error, spec, *part, key)

    def _nested(self, spec: StepSpec, options: Mapping[str, Any], part: Key) -> Agent[Any, Any]:
        known = {"takes": "Any", "gives": "str", **options}
        takes = self._type_of(str(known.pop("takes")), spec, *part, "takes")
        gives = self._type_of(str(known.pop("gives")), spec, *part, "gives")
        return self._agent_of(spec, known, (takes, gives), part)

    def _tools(self, names: Sequence[str], spec: StepSpec, part: Key) -> list[Tool[..., Any]]:
        tried = [
            self._tried(partial(self.names.tools, name), spec, *part, "tools", n, instead=())
            for n, name in enumerate(names)
        ]
        return [tool for found in tried for tool in found]

    def _prompt(self, prompt: str, spec: StepSpec, part: Key) -> str:
        place = self.tell.places.at("steps", spec.id, *part, "prompt")
        path = self.tell.path + spec.id
        return str(self._tried(lambda: load_prompt(path, prompt, place), spec, instead=""))


def _made(make: Callable[[], S]) -> S:
    try:
        return make()
    except (TypeError, ValueError) as error:
        text = re.sub(r"\w+\.__init__\(\)", "", str(error)).strip()
        raise ProjectError(text) from None
