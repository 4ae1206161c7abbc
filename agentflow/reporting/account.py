"""What a person wants to know of a run first, folded from its events: how it stands, what went wrong, who decided what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, cast

from agentflow.events import (
    ApprovalAsked,
    ApprovalGiven,
    ArtifactKept,
    ErrorInfo,
    Event,
    OperationDoubted,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunMigrated,
    RunPaused,
    RunResumed,
    RunStarted,
    StepFailed,
    StepStarted,
)
from agentflow.journal import said_by, status_of

# Errors by which work is let go, for a person to be asked or because the run ends: nothing went wrong there.
_LET_GO = frozenset({"CancelledError"})
Place = Literal["run", "step", "call"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that went wrong: what failed, in which step, and what became of it.

    `at` is nanoseconds since the epoch; `operation` is empty where a step or the run itself failed.
    """

    place: Place
    step: str
    error: ErrorInfo
    at: int
    what: str = ""
    operation: str = ""
    then: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A call that a planner chose, with its grounds, and what it did not choose."""

    id: str
    tool: str
    arguments: str
    why: str = ""
    confidence: float | None = None
    after: Sequence[str] = ()
    alternatives: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One turn of a planner."""

    step: str
    operation: str
    at: int
    thought: str
    done: bool
    choices: Sequence[Choice] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person was asked, and what was answered, by whom and when; `given` is None while nobody has answered."""

    step: str
    subject: str
    kind: Literal["approval", "effect"]
    asked: int
    given: int | None = None
    answer: str = ""
    by: str = ""
    comment: str = ""
    prompt: str = ""


@dataclass(slots=True)
class Use:
    """What calls of one kind come to: of a model, of a tool, or of all in a step; `busy` is in nanoseconds."""

    calls: int = 0
    failed: int = 0
    busy: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def add(self, usage: Mapping[str, Any], busy: int, *, failed: bool) -> None:
        """Count one call more."""
        self.calls += 1
        self.failed += failed
        self.busy += busy
        self.input_tokens += int(usage.get("input_tokens") or 0)
        self.output_tokens += int(usage.get("output_tokens") or 0)
        self.usd += float(usage.get("usd") or 0)


Uses = dict[str, Use]


@dataclass(slots=True, kw_only=True)
class Account:
    """A run in short. Times are nanoseconds since the epoch; `ended` is that of the last event."""

    started: RunStarted
    status: str = "open"
    ended: int = 0
    events: int = 0
    last: Event | None = None
    spec: Any = None
    models: Uses = field(default_factory=Uses)
    tools: Uses = field(default_factory=Uses)
    steps: Uses = field(default_factory=Uses)
    problems: list[Problem] = field(default_factory=list[Problem])
    plans: list[Plan] = field(default_factory=list[Plan])
    questions: list[Question] = field(default_factory=list[Question])
    artifacts: list[ArtifactKept] = field(default_factory=list[ArtifactKept])
    notices: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    begun: dict[tuple[str, str], OperationStarted] = field(
        default_factory=dict[tuple[str, str], OperationStarted]
    )

    @classmethod
    def of(cls, events: Iterable[Event], *, driven: bool = False) -> Self:
        """The account of a run, or of as much as there is of it; `driven` says whether a process is at it now."""
        rest = iter(events)
        started = next(rest)
        assert isinstance(started, RunStarted)
        account = cls(started=started, ended=started.at, events=1, spec=started.spec, last=started)
        for event in rest:
            account._add(event)

        assert account.last is not None
        account.status = status_of(said_by(account.last), driven=driven)
        account.problems.sort(key=lambda p: ({"run": 0, "step": 1, "call": 2}[p.place], p.at))
        return account

    @property
    def seconds(self) -> float:
        return (self.ended - self.started.at) / 1e9

    @property
    def total(self) -> Use:
        """All model calls together."""
        total = Use()
        for use in self.models.values():
            total.calls += use.calls
            total.failed += use.failed
            total.busy += use.busy
            total.input_tokens += use.input_tokens
            total.output_tokens += use.output_tokens
            total.usd += use.usd

        return total

    def _add(self, event: Event) -> None:
        self.events, self.ended, self.last = self.events + 1, event.at, event
        match event:
            case OperationStarted():
                self.begun[event.step, event.operation] = event
            case OperationFinished():
                self._operation_ended(event)
            case StepStarted() if event.attempt > 1:
                self._tried_again(event)
            case StepFailed():
                self._step_failed(event)
            case ArtifactKept():
                self.artifacts.append(event)
            case _:
                self._said(event)

    def _said(self, event: Event) -> None:
        match event:
            case ApprovalAsked() | ApprovalGiven() | OperationDoubted() | OperationResolved():
                self._asked(event)
            case RunFailed():
                self._forget_last(event)
                self.problems.append(Problem(place="run", step=event.step, error=event.error, at=event.at))
                self.notices.append((event.at, f"failed in {event.step or 'the run'}: {event.error.kind}"))
            case RunMigrated():
                self.spec = event.spec
                self.notices.append(
                    (event.at, "; ".join(["goes on with another definition", *map(str, event.changes or ())]))
                )
            case RunResumed() | RunPaused() | RunInterrupted() | RunFinished() | RunCancelled():
                self.notices.append((event.at, _notice(event)))
            case _:
                pass

    def _operation_ended(self, event: OperationFinished) -> None:
        begun = self.begun.get((event.step, event.operation))
        if begun is None:
            return

        failed = event.error is not None and event.error.kind not in _LET_GO
        kinds = {"chat": self.models, "tool": self.tools}
        if begun.kind in kinds:
            busy = event.at - begun.at
            kinds[begun.kind].setdefault(begun.name, Use()).add(event.usage or {}, busy, failed=failed)
            if begun.kind == "chat":
                self.steps.setdefault(node_of(event.step), Use()).add(event.usage or {}, busy, failed=failed)

        # A failure inside of another operation is told by the one around it as well, if it came through.
        if failed and begun.kind in ("chat", "tool", "guardrail"):
            assert event.error is not None
            then = "the model was told" if begun.kind == "tool" else ""
            self.problems.append(
                Problem(
                    place="call",
                    step=event.step,
                    error=event.error,
                    at=event.at,
                    what=begun.name,
                    operation=event.operation,
                    then=then,
                )
            )

        if begun.kind == "plan" and event.result is not None:
            self.plans.append(_plan(event, event.result.data))

    def _step_failed(self, event: StepFailed) -> None:
        then = "for good" if event.final else ""
        self.problems.append(
            Problem(place="step", step=event.step, error=event.error, at=event.at, then=then)
        )

    def _forget_last(self, event: RunFailed) -> None:
        """What ends the run is told once, not of its step as well."""
        for number in range(len(self.problems) - 1, -1, -1):
            known = self.problems[number]
            if known.place == "step" and known.step == event.step:
                if (known.error.kind, known.error.message) == (event.error.kind, event.error.message):
                    del self.problems[number]

                return

    def _tried_again(self, event: StepStarted) -> None:
        for number in range(len(self.problems) - 1, -1, -1):
            known = self.problems[number]
            if known.place == "step" and known.step == event.step and not known.then:
                self.problems[number] = replace(known, then=f"tried again: attempt {event.attempt}")
                return

    def _asked(self, event: ApprovalAsked | ApprovalGiven | OperationDoubted | OperationResolved) -> None:
        match event:
            case ApprovalAsked():
                subject = event.tool or node_of(event.step)
                question = Question(
                    step=event.step, subject=subject, kind="approval", asked=event.at, prompt=event.prompt
                )
                self.questions.append(question)
            case OperationDoubted():
                prompt = f"It is not known whether `{event.name}` was done."
                self.questions.append(
                    Question(
                        step=event.step, subject=event.name, kind="effect", asked=event.at, prompt=prompt
                    )
                )
            case ApprovalGiven():
                self._answered(event, "approval", "approved" if event.approved else "refused")
            case OperationResolved():
                self._answered(event, "effect", _VERDICTS[event.verdict])

    def _answered(self, event: ApprovalGiven | OperationResolved, kind: str, answer: str) -> None:
        for number, known in enumerate(self.questions):
            if known.step == event.step and known.kind == kind and known.given is None:
                self.questions[number] = replace(
                    known, given=event.at, answer=answer, by=event.by, comment=event.comment
                )
                return


_VERDICTS = {"done": "it was done", "retry": "to be tried again", "fail": "it failed"}


def _notice(event: Event) -> str:
    match event:
        case RunResumed():
            raised = f", budget now {event.budget}" if event.budget else ""
            return f"taken up again{raised}"
        case RunPaused():
            return "paused: only people are waited for"
        case RunInterrupted(reason=reason):
            return f"interrupted: {reason}"
        case RunCancelled(reason=reason, by=by):
            return f"cancelled{f' by {by}' if by else ''}: {reason}"
        case _:
            return "finished"


def _plan(event: OperationFinished, data: Any) -> Plan:
    known = cast("Mapping[str, Any]", data if isinstance(data, dict) else {})
    calls = [call for call in known.get("calls") or () if isinstance(call, dict)]
    return Plan(
        step=event.step,
        operation=event.operation,
        at=event.at,
        thought=str(known.get("thought", "")),
        done=bool(known.get("done")),
        choices=[_choice(call) for call in calls],
    )


def _choice(call: Mapping[str, Any]) -> Choice:
    confidence = call.get("confidence")
    return Choice(
        id=str(call.get("id", "")),
        tool=str(call.get("tool", "")),
        arguments=str(call.get("arguments", "")),
        why=str(call.get("why", "")),
        confidence=float(confidence) if isinstance(confidence, int | float) else None,
        after=[str(id_) for id_ in call.get("after") or ()],
        alternatives=[
            (str(other.get("tool", "")), float(other.get("confidence") or 0))
            for other in call.get("alternatives") or ()
            if isinstance(other, dict)
        ],
    )


def node_of(activation: str) -> str:
    """The step that an activation is of, by its path in the definition: `handle#1[0]/draft#2` is of `handle/draft`."""
    return "/".join(part.rpartition("#")[0] or part for part in activation.split("/"))


def way_on(account: Account) -> list[str]:
    """The commands by which the run goes on from here; empty where it is over."""
    run = account.started.run
    if account.status == "waiting":
        kinds = {q.kind for q in account.questions if q.given is None}
        lines = [f"agentflow approve {run} --yes   (or --no)"] if "approval" in kinds else []
        return lines + (
            [f"agentflow resolve {run} --done RESULT   (or --retry, --fail)"] if "effect" in kinds else []
        )

    if account.status not in ("failed", "interrupted", "open"):
        return []

    is_spent = any(p.error.kind == "BudgetExhausted" for p in account.problems if p.place == "run")
    return [f"agentflow resume {run}" + (" --budget LIMIT=NUMBER" if is_spent else "")]
