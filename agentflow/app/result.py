"""How a run stands, and what it waits for, as values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from agentflow import exceptions
from agentflow.engine.people import Waiting
from agentflow.events import ErrorInfo
from agentflow.exceptions import RunError, StepFailed
from agentflow.tracing.ids import hex_trace_id

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A person's answer to an approval."""

    approved: bool
    by: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What a run waits for a person to say: whether to approve exactly this, or whether an `effect` in doubt was done.

    `name` is what it is answered by: of an approval step its activation, else the activation and the tool or operation.
    """

    step: str
    prompt: str
    subject: Any
    digest: str
    kind: Literal["approval", "effect"] = "approval"
    name: str = ""
    tool: str = ""


def pending_of(waiting: Waiting) -> Pending:
    """What is waited for, as callers see it."""
    return Pending(
        step=waiting.activation.id,
        prompt=waiting.prompt,
        subject=waiting.subject.data if waiting.subject is not None else None,
        digest=waiting.digest,
        kind=waiting.kind,
        name=waiting.name,
        tool=waiting.tool,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Generic[T]):
    """How a run stands: `status` is done, failed, rejected, cancelled, interrupted or waiting.

    `kept` says whether its head was kept beside the journal, where that was asked for. `find_head` gives the head: a run that
    is kept in memory is hashed only if somebody asks.
    """

    run_id: str
    status: str
    output: T | None
    error: ErrorInfo | None
    step: str
    usage: Mapping[str, Any]
    find_head: Callable[[], str] = field(repr=False, compare=False)
    seconds: float
    pending: Sequence[Pending] = ()
    cause: BaseException | None = None
    kept: str = ""

    @property
    def trace_id(self) -> str:
        """The id of the run's trace, as Jaeger shows it."""
        return hex_trace_id(self.run_id)

    @property
    def head(self) -> str:
        """The hash of the run's last event, which stands for all of them."""
        return self.find_head()

    def unwrap(self) -> T:
        """The output; raises what ended the run where it has none."""
        if self.status == "done":
            return self.output  # type: ignore[return-value]

        raise self._error() from self.cause

    def _error(self) -> RunError:
        if self.status == "waiting":
            names = ", ".join(f"`{p.name}`" for p in self.pending)
            hint = answer_hint(self.run_id, self.pending)
            return exceptions.RunWaiting(f"run `{self.run_id}` waits for {names}", hint=hint)

        if self.error is None:
            hint = f"agentflow resume {self.run_id}" if self.status == "interrupted" else ""
            return exceptions.RunCancelled(f"run `{self.run_id}` was {self.status}", hint=hint)

        return _run_error(self.step, self.error)


def answer_hint(run_id: str, pending: Sequence[Pending]) -> str:
    """The commands that answer what a run waits for."""
    many = len(pending) > 1
    lines: list[str] = []
    for item in pending:
        name = f" {_word(item.name)}" if many else ""
        if item.kind == "approval":
            lines.append(f"agentflow approve {run_id}{name} --yes   (or --no)")
        else:
            lines.append(f"agentflow resolve {run_id}{name} --done RESULT   (or --retry, --fail)")

    return "\n".join(lines)


def _word(name: str) -> str:
    """A name as a word for the shell: items of maps hold brackets, which are quoted."""
    if re.fullmatch(r"[\w#:@./-]+", name):
        return name

    from shlex import quote  # few names need it

    return quote(name)


def _run_error(step: str, error: ErrorInfo) -> RunError:
    kind = getattr(exceptions, error.kind, None)
    engine_own = (
        "LoopBoundReached",
        "MapBoundReached",
        "NoMatchingCase",
        "RunStalled",
        "RunRejected",
        "BudgetExhausted",
    )
    if isinstance(kind, type) and issubclass(kind, RunError) and error.kind in engine_own:
        return kind(error.message, hint=error.hint)

    return StepFailed(step, error.kind, error.message, hint=error.hint)


def user_name() -> str:
    """Who decides, for the record."""
    from getpass import getuser  # loads what reads passwords from a terminal

    try:
        return getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"
