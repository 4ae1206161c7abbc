"""Approval steps: a person says yes or no to exactly what is shown."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeVar

from agentflow.context import Context
from agentflow.path import Step, caller
from agentflow.spec import StepSpec
from agentflow.typeref import type_name

A = TypeVar("A")
# Who refused, where nobody answered in time.
DEADLINE = "deadline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """What goes on where an approval was refused: `approve.on(Rejected) >> ...` handles it."""

    by: str
    comment: str = ""


class Approval(Step[A, A]):
    """A step that lets a value pass when a person approves it; the approval is bound to the value's digest.

    `deadline` is in seconds from when it was asked: a point in time, whether a process runs then or not. When it has
    passed without an answer, the approval counts as refused, by `DEADLINE`.
    """

    kind = "approval"

    def __init__(self, name: str, *, of: type[A], prompt: str = "", deadline: float | None = None) -> None:
        super().__init__(name, takes=of, gives=of, place=caller(2))
        self.prompt = prompt or f"Approve `{name}`?"
        self.deadline = deadline

    def step_spec(self) -> StepSpec:
        options: dict[str, Any] = {"prompt": self.prompt}
        if self.deadline is not None:
            # One way to write it: 2 and 2.0 are the same deadline and have the same digest.
            options["deadline"] = float(self.deadline)

        name = type_name(self.takes)
        return StepSpec(id=self.name, kind="approval", takes=name, gives=name, options=options)

    async def execute(self, value: Any, ctx: Context) -> Any:
        raise NotImplementedError("an approval is decided by a person, not executed")


def subject_digest(raw: bytes) -> str:
    """The digest that an approval is bound to: SHA-256 of the value's JSON."""
    return "sha256:" + hashlib.sha256(raw).hexdigest()
