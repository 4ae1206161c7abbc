"""Wait steps: let some time pass without holding anything."""

from __future__ import annotations

from typing import Any, TypeVar

from agentflow.context import Context
from agentflow.path import Step, caller
from agentflow.spec import StepSpec
from agentflow.typeref import type_name

A = TypeVar("A")


class Wait(Step[A, A]):
    """A step that passes its value on after `seconds`; the point in time is kept, so a restart does not prolong it."""

    kind = "wait"

    def __init__(self, name: str, *, of: type[A], seconds: float) -> None:
        super().__init__(name, takes=of, gives=of, place=caller(2))
        # One way to write it: 2 and 2.0 are the same wait and have the same digest.
        self.seconds = float(seconds)

    def step_spec(self) -> StepSpec:
        name = type_name(self.takes)
        return StepSpec(id=self.name, kind="wait", takes=name, gives=name, options={"seconds": self.seconds})

    async def execute(self, value: Any, ctx: Context) -> Any:
        raise NotImplementedError("a wait is timed by the engine, not executed")
