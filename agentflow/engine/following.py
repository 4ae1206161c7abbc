"""What the code of a step does when it is executed again, against what is recorded of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from agentflow.context import restored
from agentflow.engine.attempt import Asked, Attempt, Said
from agentflow.engine.divergence import (
    NOT_THE_SAME,
    Difference,
    Divergence,
    What,
    at,
    error_text,
    payload_difference,
    same_error,
    shown,
)
from agentflow.engine.record import NOT_MADE
from agentflow.engine.replay_recorder import ask_difference
from agentflow.engine.replay_words import (
    Draft,
    diverged,
    doing,
    draft_told,
    kept,
    outcome_told,
    told,
    value_told,
)
from agentflow.events import (
    ApprovalAsked,
    Event,
    OperationDoubted,
    OperationFinished,
    OperationStarted,
    Payload,
    StepFailed,
    StepFinished,
)
from agentflow.exceptions import BudgetExhausted

if TYPE_CHECKING:
    from agentflow.engine.replaying import Replayer

_GONE = ("CancelledError", NOT_MADE)


class Follower:
    """Waits until the code of an attempt has come to what is recorded, and gives it what came of its calls."""

    def __init__(self, replayer: Replayer) -> None:
        self._replayer = replayer

    async def began(self, attempt: Attempt, event: OperationStarted) -> Divergence | None:
        if event.parent in attempt.inside or self._is_call(attempt, event.parent):
            attempt.inside.add(event.operation)
            return None

        def ready() -> Asked | None:
            return next((a for a in attempt.asked if ask_difference(a.wanted, event) is None), None)

        asked = await self._nudged(attempt, event, ready)
        if asked is None:
            return self._other_call(attempt, event)

        attempt.asked.remove(asked)
        attempt.open[event.operation] = asked
        if not asked.is_scope:
            self._replayer.served += 1

        asked.begun.set_result(event.operation)
        return self._fault_of_files(attempt, event)

    def _is_call(self, attempt: Attempt, operation: str) -> bool:
        asked = attempt.open.get(operation)
        return asked is not None and not asked.is_scope

    async def _nudged(self, attempt: Attempt, event: Event, ready: Callable[[], Any]) -> Any:
        """What the code comes to; where it comes to nothing, it may still have to be told of a cancellation, or a budget."""
        error = event.error if isinstance(event, OperationFinished | StepFailed) else None
        refused = error if error is not None and error.kind == "BudgetExhausted" else None

        def ready_or_refused() -> Any:
            # What does not fit the budgets is not called, and stands in the record only as what came of that.
            while refused is not None and attempt.asked:
                attempt.asked.pop(0).begun.set_exception(restored(refused))

            return ready()

        while True:
            found = await attempt.until(ready_or_refused)
            if found is not None or attempt.is_over or not self._nudge(attempt, event):
                return found

    def _nudge(self, attempt: Attempt, event: Event) -> bool:
        if attempt.cut_off:
            attempt.cut_off.pop(0).outcome.cancel()
            return True

        if not attempt.asked or not self._replayer.has_budget(attempt.id) or self._is_meant(attempt, event):
            return False

        refused = attempt.asked.pop(0)
        said = f"`{refused.wanted.name}` was not called: the budget was used up"
        refused.begun.set_exception(BudgetExhausted(said))
        return True

    def _is_meant(self, attempt: Attempt, event: Event) -> bool:
        """Whether a call that is waited for seems to be the recorded one, only with another request."""
        if not isinstance(event, OperationStarted):
            return False

        return any(_distance(asked, event) == 0 for asked in attempt.asked)

    def _other_call(self, attempt: Attempt, event: OperationStarted) -> Divergence:
        nearest = min(attempt.asked, key=lambda a: _distance(a, event), default=None)
        call = f"{event.kind} `{event.name}`"
        difference = ask_difference(nearest.wanted, event) if nearest is not None else None
        if difference is None or difference.path.split(".")[0] in ("kind", "name", "parent"):
            return diverged(
                "call", event, f"{call} with {value_told(event.request)}", doing(attempt), call=call
            )

        what: What = "label" if difference.path.startswith("attributes") else "request"
        return diverged(
            what, event, at(difference, difference.old), at(difference, difference.new), call=call
        )

    async def ended_operation(self, attempt: Attempt, event: OperationFinished) -> Divergence | None:
        asked = attempt.open.get(event.operation)
        if asked is None:
            return None  # inside of a call, or of an earlier attempt

        if asked.is_scope:
            return await self._ended_scope(attempt, event)

        del attempt.open[event.operation]
        if event.error is not None and event.error.kind in _GONE:
            # The code was stopped there, by itself or from outside: it learns it where nothing else can be.
            attempt.cut_off.append(asked)
        elif not asked.outcome.done():
            asked.outcome.set_result(event)

        return None

    async def _ended_scope(self, attempt: Attempt, event: OperationFinished) -> Divergence | None:
        is_cut_off = event.error is not None and event.error.kind in _GONE

        def ready() -> Said | None:
            return next((s for s in attempt.said if s.fields.get("operation") == event.operation), None)

        said = ready() if is_cut_off else await self._nudged(attempt, event, ready)
        if said is None and not is_cut_off:
            return diverged(
                "end", event, f"operation {event.operation} ended: {outcome_told(event)}", doing(attempt)
            )

        # One that was cut off may still come to its end in the code, and need not.
        del attempt.open[event.operation]
        if said is None:
            return None

        attempt.take(said)
        if not is_cut_off and (found := _outcome_difference(said, event)) is not None:
            return diverged("end", event, at(found, found.old), at(found, found.new))

        return None

    async def doubted(self, attempt: Attempt, event: OperationDoubted) -> Divergence | None:
        said = await attempt.until(lambda: _first(attempt.said, event))
        if said is None:
            return diverged("order", event, f"`{event.name}` was in doubt", doing(attempt))

        attempt.take(said)
        return None

    async def question(self, attempt: Attempt, event: ApprovalAsked) -> Divergence | None:
        def ready() -> Said | None:
            return next((s for s in attempt.said if s.kind is ApprovalAsked), None)

        said = ready() if attempt.is_in_a_call else await self._nudged(attempt, event, ready)
        if said is None and attempt.is_in_a_call:
            return None  # what is called may ask as well

        if said is not None:
            attempt.take(said)
            await attempt.until(lambda: self._replayer.people.is_asked(attempt.id, event.digest) or None)
            difference = payload_difference(event.subject, said.fields["subject"])
            if event.digest == said.fields["digest"] and event.prompt == said.fields["prompt"]:
                return None

            recorded, came = (
                (at(difference, difference.old), at(difference, difference.new))
                if difference is not None
                else (f"`{event.tool}`: {event.prompt}", f"`{said.fields['tool']}`: {said.fields['prompt']}")
            )
        else:
            recorded, came = f"a person was asked about `{event.tool}`", doing(attempt)

        return diverged("question", event, recorded, came, call=f"tool `{event.tool}`")

    async def ended_step(self, attempt: Attempt, event: StepFinished | StepFailed) -> Divergence | None:
        kind = event.error.kind if isinstance(event, StepFailed) else ""
        if kind == "StepTimeout":
            await attempt.stop()
            return None

        def ready() -> Said | None:
            return next((s for s in attempt.said if s.kind in (StepFinished, StepFailed)), None)

        said = await self._nudged(attempt, event, ready)
        if (found := self._fault_of_files(attempt, event)) is not None:
            return found

        if said is None:
            recorded = told(event)
            return diverged("end", event, recorded, doing(attempt))

        attempt.take(said)
        return self._compared(attempt, event, said)

    def _compared(self, attempt: Attempt, event: StepFinished | StepFailed, said: Said) -> Divergence | None:
        output: Payload | None = said.fields.get("output")
        if isinstance(event, StepFailed) or said.kind is StepFailed:
            old = event.error if isinstance(event, StepFailed) else None
            if same_error(old, said.fields.get("error")):
                return None

            recorded = told(event)
            return diverged("end", event, recorded, draft_told(Draft(said.kind, said.fields)))

        found = payload_difference(event.output, output)
        if found is None and event.case == said.fields.get("case"):
            attempt.output = output
            missing = attempt.files.missing()
            return (
                None
                if missing is None
                else diverged("file", event, kept(missing), "it is not kept", hint=NOT_THE_SAME)
            )

        if found is None:
            found = Difference("case", shown(event.case), shown(said.fields.get("case")))

        return diverged("output", event, at(found, found.old), at(found, found.new), hint=NOT_THE_SAME)

    def _fault_of_files(self, attempt: Attempt, event: Event) -> Divergence | None:
        if attempt.files.fault is None:
            return None

        known, name, digest = attempt.files.fault
        recorded = kept(known) if known is not None else f"no file `{name}` was kept"
        return diverged("file", event, recorded, f"file `{name}`, {digest[:19]}", hint=NOT_THE_SAME)


def _first(said: Sequence[Said], event: OperationDoubted) -> Said | None:
    return next(
        (s for s in said if s.kind is OperationDoubted and s.fields["operation"] == event.operation), None
    )


def _distance(asked: Asked, event: OperationStarted) -> int:
    wanted = asked.wanted
    return 4 * (wanted.kind != event.kind) + 2 * (wanted.name != event.name) + (wanted.parent != event.parent)


def _outcome_difference(said: Said, event: OperationFinished) -> Difference | None:
    if not same_error(event.error, said.fields.get("error")):
        return Difference("error", error_text(event.error), error_text(said.fields.get("error")))

    found = payload_difference(event.result, said.fields.get("result"))
    return None if found is None else Difference(f"result.{found.path}".rstrip("."), found.old, found.new)
