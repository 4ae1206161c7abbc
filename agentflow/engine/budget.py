"""One ledger for a run: what its calls used, and whether another one still fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentflow.events import ApprovalGiven, ErrorInfo, Event, OperationFinished, OperationStarted, RunResumed
from agentflow.exceptions import BudgetExhausted
from agentflow.spec import Budget

COUNTED = {"chat": "model_calls", "tool": "tool_calls"}


@dataclass(slots=True)
class Ledger:
    """What was used so far. A call is counted before it is made, so parallel branches cannot overshoot together.

    `tokens` and `usd` are known after a call: no call is made once they are used up.
    """

    budget: Budget | None = None
    model_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    priced: bool = True

    def count(self, kind: str) -> None:
        """Count a call that was made earlier, in this process or another."""
        if kind in COUNTED:
            setattr(self, COUNTED[kind], getattr(self, COUNTED[kind]) + 1)

    def check(self, kind: str, name: str) -> None:
        """Raise `BudgetExhausted` where another call does not fit."""
        counted = COUNTED.get(kind)
        if counted is None:
            return

        self._refuse_over(counted, getattr(self, counted) + 1, name)
        if kind == "chat":
            self._refuse_over("tokens", self.input_tokens + self.output_tokens + 1, name)
            self._refuse_over("usd", self.usd + 1e-9, name)
            self._refuse_unpriced(name)

    def _refuse_unpriced(self, name: str) -> None:
        if self.budget is not None and self.budget.usd is not None and not self.priced:
            raise BudgetExhausted(
                f"`{name}` was not called again: its price is not known, so the budget of {self.budget.usd:g} usd cannot be held",
                hint="bound `model_calls` or `tokens` instead, or use a model whose price is known",
            )

    def _refuse_over(self, what: str, would_be: float, name: str) -> None:
        limit = getattr(self.budget, what) if self.budget is not None else None
        if limit is not None and would_be > limit:
            raise BudgetExhausted(
                f"`{name}` was not called: the budget of {limit:g} {what} is used up",
                hint="give the workflow a larger `Budget` and start a new run",
            )

    def settle(self, usage: Mapping[str, float] | None) -> None:
        """Add what a model call used."""
        if not usage:
            return

        self.input_tokens += int(usage.get("input_tokens") or 0)
        self.output_tokens += int(usage.get("output_tokens") or 0)
        if "usd" in usage:
            self.usd += float(usage["usd"])
        else:
            self.priced = False

    def used(self) -> dict[str, float | int | None]:
        """The sums, as `run --json` shows them; `usd` is None where a model's price is not known."""
        return {
            "model_calls": self.model_calls,
            "tool_calls": self.tool_calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "usd": round(self.usd, 6) if self.priced else None,
        }


def reserve(ledgers: Sequence[Ledger], kind: str, name: str) -> None:
    """Count a call that is about to be made in each ledger, or in none: `BudgetExhausted` where it does not fit."""
    for ledger in ledgers:
        ledger.check(kind, name)

    for ledger in ledgers:
        ledger.count(kind)


class Account:
    """What a run has used: a ledger for all of it, one for each visit of a sub-workflow with a budget, and its time.

    `spent` is in nanoseconds. Time in which nobody worked is not counted: while a person was asked, and between processes.
    """

    def __init__(self, budget: Budget | None) -> None:
        self.run = Ledger(budget)
        self.spent = 0
        self._frames: dict[str, Ledger] = {}

    def of_frame(self, frame: str, budget: Budget | None) -> list[Ledger]:
        """The ledger of a sub-workflow's visit, if it has a budget of its own."""
        return [] if budget is None else [self._frames.setdefault(frame, Ledger(budget))]

    def recount(self, event: OperationStarted | OperationFinished, ledgers: Sequence[Ledger]) -> None:
        """Count what an earlier event used."""
        for ledger in ledgers:
            if isinstance(event, OperationStarted):
                ledger.count(event.kind)
            else:
                ledger.settle(event.usage)

    def pass_time(self, before: Event, event: Event) -> None:
        """Count the time between two earlier events, if it was spent at work."""
        if not isinstance(event, RunResumed | ApprovalGiven):
            self.spent += max(0, event.at - before.at)

    def seconds_left(self) -> float | None:
        """How long the run may go on; None is without limit."""
        minutes = self.run.budget.minutes if self.run.budget is not None else None
        return None if minutes is None else max(0.0, minutes * 60 - self.spent / 1e9)

    def time_is_up(self) -> ErrorInfo:
        """The error of a run that took too long."""
        minutes = self.run.budget.minutes if self.run.budget is not None else None
        return ErrorInfo(kind="BudgetExhausted", message=f"the budget of {minutes or 0:g} minutes is used up")
