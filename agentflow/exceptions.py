"""Every error that agentflow raises, split by the phase in which it happens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal


class AgentflowError(Exception):
    """Base of all errors that agentflow raises on purpose."""

    hint: str = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint or self.hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a definition: what, where, and how to mend it."""

    code: str
    what: str
    where: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        text = f"{self.code} {self.where}: {self.what}"
        return f"{text}\n    hint: {self.hint}" if self.hint else text


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.5) -> list[str]:
    """The names, three at most, that a misspelt one may stand for, the nearest first; `likeness` is from 0 to 1, for the same."""
    # Imported here: difflib costs a few milliseconds that only an error needs.
    from difflib import get_close_matches

    return get_close_matches(name, list(known), n=3, cutoff=likeness)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question after the names nearest to a misspelt one; empty where none is near."""
    near = nearest(name, known)
    return f"did you mean {', '.join(f'`{n}`' for n in near)}?" if near else ""


class DefinitionError(AgentflowError):
    """Raised when a workflow definition has problems; `problems` holds all of them."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(f"workflow `{name}` has {count}:\n" + "\n".join(f"  {p}" for p in self.problems))


class ProjectError(AgentflowError):
    """Raised when a project, one of its files or its settings cannot be used."""


class DocumentInvalid(ProjectError):
    """Raised when an OpenAPI document cannot be made into tools; `faults` holds all that is wrong, each with its place."""

    def __init__(self, name: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault{'s' if len(self.faults) != 1 else ''}"
        super().__init__(f"{name} has {count}:\n" + "\n".join(f"  {fault}" for fault in self.faults))


class UnknownName(ProjectError):
    """Raised when a workflow, step, run or tool is named that does not exist."""

    def __init__(self, kind: str, name: str, known: Sequence[str]) -> None:
        self.kind, self.name = kind, name
        self.nearest, self.known = nearest(name, known), tuple(known)
        some = ", ".join(f"`{n}`" for n in sorted(known)[:12])
        other = f"there are: {some}" if some else f"there is no {kind} yet"
        super().__init__(f"there is no {kind} `{name}`", hint=did_you_mean(name, known) or other)


class InputInvalid(AgentflowError):
    """Raised when a value does not fit the type that a workflow or step takes."""

    def __init__(self, where: str, details: Sequence[str], *, hint: str = "") -> None:
        self.details = tuple(details)
        super().__init__(
            f"the input of {where} does not fit:\n" + "\n".join(f"  {d}" for d in details), hint=hint
        )


class MissingExtra(AgentflowError):
    """Raised when a feature needs an optional package that is not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(
            f"`{package}` is not installed", hint=f"install it with `pip install 'agentflow[{extra}]'`"
        )


class RunError(AgentflowError):
    """Base of all errors that end or stop a run."""


class StepFailed(RunError):
    """Raised when a step failed for good; `kind` is the type name of the step's own error."""

    def __init__(self, step: str, kind: str, message: str, *, hint: str = "") -> None:
        self.step, self.kind = step, kind
        super().__init__(f"step `{step}` failed: {kind}: {message}", hint=hint)


class StepTimeout(RunError):
    """Raised when a step took longer than its `timeout`."""


class LoopBoundReached(RunError):
    """Raised when an edge with `at_most` would be followed once more than that."""


class MapBoundReached(RunError):
    """Raised when a map is given more items than its `at_most`."""


class NoMatchingCase(RunError):
    """Raised when a step's output fits none of the cases that its edges name."""


class RunStalled(RunError):
    """Raised when nothing is left to do and the end of the workflow was not reached."""


class RunRejected(RunError):
    """Raised when a person refused an approval and no edge handles the refusal."""


class RunCancelled(RunError):
    """Raised when a run was cancelled."""


class RunWaiting(RunError):
    """Raised when a run's result is asked for while it waits for a person or a time."""


class BudgetExhausted(RunError):
    """Raised when a call would exceed the budget; the call was not made."""


class ToolUnchecked(RunError):
    """Raised when a tool is called that the check of the workflow did not see, or saw with other labels."""


class EffectInDoubt(RunError):
    """Raised when it is not known whether a call that must not be repeated was made; a person is asked."""


class DefinitionChanged(RunError):
    """Raised when a run is to go on with another definition than the one it was started with."""


class ReplayDiverged(RunError):
    """Raised when a run that is executed again does not go the way that is recorded."""


class ModelError(RunError):
    """Base of all errors of a language model or of the way to it."""


class ModelUnreachable(ModelError):
    """Raised when the model's server cannot be reached."""


class ModelTimeout(ModelError):
    """Raised when the model did not answer in time."""


class ModelRefused(ModelError):
    """Raised when the server refused the request (key, quota, unknown model, bad request)."""


class ModelOutputInvalid(ModelError):
    """Raised when the model's answer does not fit the output type that was asked for."""


class ModelTurnsExceeded(ModelError):
    """Raised when an agent used up its `max_turns` without a final answer."""


class ModelCannot(ModelError):
    """Raised when the chosen model is unable to do what the step asks of it."""


class GuardrailTripped(RunError):
    """Raised when a guardrail of an agent stopped it."""


class ClaimsUnsupported(RunError):
    """Raised when an answer cites, quotes or claims what its run does not bear out."""


class PlanInvalid(RunError):
    """Raised when a planner's model kept answering with plans that cannot be carried out."""


class ToolError(RunError):
    """Raised by a tool that could not do its work; the text is told to the model."""


class CallRefused(ToolError):
    """Raised when a call was not made; why is said by agentflow or a person, and by nobody outside."""


class ToolArgumentsInvalid(CallRefused):
    """Raised when a tool is called with arguments that do not fit its schema."""


class ToolTimeout(ToolError):
    """Raised when a tool took longer than its `timeout`."""


class NetworkUnavailable(ToolError):
    """Raised when a tool needs the network and there is none."""


class RateLimited(ToolError):
    """Raised when a service answered that it is asked too often; `retry_after` is in seconds, where it said so."""

    retry_after: float | None = None

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class SecretMissing(ToolError):
    """Raised when a secret that a tool needs is not set, or cannot be used as one."""


class FlowRefused(CallRefused):
    """Raised when a call could carry out what untrusted content asks for, or carry private data away, and nobody approves it."""


class BrowserMissing(ToolError):
    """Raised when no Chromium can be found."""


class AddressRefused(ToolError):
    """Raised when an address is outside of what the tool may open."""


class FileUnreadable(ToolError):
    """Raised when a file cannot be read or parsed."""


class CodeFailed(ToolError):
    """Raised when code given to the sandbox failed or hit a limit."""


class JournalError(AgentflowError):
    """Base of all errors of the journal."""


class JournalConflict(JournalError):
    """Raised when another process appended to the same run: this one must stop."""


class RunBusy(JournalError):
    """Raised when another process drives the run that is to be taken up."""


class JournalUnwritable(JournalError):
    """Raised when the journal cannot be written: disk full, read-only, no permission."""


class JournalDamaged(JournalError):
    """Raised when the journal file, or an event in it, cannot be read."""


class JournalVersion(JournalError):
    """Raised when the journal was written by a newer version of agentflow."""


class TraceUnreadable(AgentflowError):
    """Raised when spans that were given back cannot be read, or cannot be asked for."""


class TraceNotFound(AgentflowError):
    """Raised when whoever keeps traces does not have one, or not yet."""


class HeadsUnusable(AgentflowError):
    """Raised when a key, or the file that heads of runs are kept in, cannot be used."""
