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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """What goes on where an approval was refused: `approve.on(Rejected) >> ...` handles it."""

    by: str
    comment: str = ""


class Approval(Step[A, A]):
    """A step that lets a value pass when a person approves it; the approval is bound to the value's digest."""

    kind = "approval"

    def __init__(self, name: str, *, of: type[A], prompt: str = "") -> None:
        super().__init__(name, takes=of, gives=of, place=caller(2))
        self.prompt = prompt or f"Approve `{name}`?"

    def step_spec(self) -> StepSpec:
        options = {"prompt": self.prompt}
        name = type_name(self.takes)
        return StepSpec(id=self.name, kind="approval", takes=name, gives=name, options=options)

    async def execute(self, value: Any, ctx: Context) -> Any:
        raise NotImplementedError("an approval is decided by a person, not executed")


def subject_digest(raw: bytes) -> str:
    """The digest that an approval is bound to: SHA-256 of the value's JSON."""
    return "sha256:" + hashlib.sha256(raw).hexdigest()
