"""One ledger for a run: what its calls used, and whether another one still fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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

    def reserve(self, kind: str, name: str) -> None:
        """Count a call that is about to be made; raises `BudgetExhausted` where it does not fit."""
        counted = COUNTED.get(kind)
        if counted is None:
            return

        self._refuse_over(counted, getattr(self, counted) + 1, name)
        if kind == "chat":
            self._refuse_over("tokens", self.input_tokens + self.output_tokens + 1, name)
            self._refuse_over("usd", self.usd + 1e-9, name)

        self.count(kind)

    def _refuse_over(self, what: str, would_be: float, name: str) -> None:
        limit = getattr(self.budget, what) if self.budget is not None else None
        if limit is not None and would_be > limit:
            raise BudgetExhausted(
                f"`{name}` was not called: the budget of {limit:g} {what} is used up",
                hint="raise the workflow's `Budget`, then resume the run",
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
