"""Ledgers: what calls used, what those under way may use at most, and whether another one still fits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentflow.context import Demand
from agentflow.events import ErrorInfo
from agentflow.exceptions import BudgetExhausted
from agentflow.spec import Budget

COUNTED = {"chat": "model_calls", "tool": "tool_calls"}
# A model that may write less than this would rarely come to the end of an answer.
LEAST_OUTPUT = 256
# Errors of a model call that cost nothing: it was never answered. Any other may have been charged for.
FREE = frozenset({"ModelUnreachable", "ModelRefused", "ModelCannot", "NotMade"})
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Hold:
    """What was reserved for a call: it is given back, or paid from, when the call has ended."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def data(self) -> dict[str, float]:
        """As it stands on the intent of the call."""
        return {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens, "usd": self.usd}


NOTHING = Hold()


@dataclass(slots=True)
class Ledger:
    """What was used so far under one budget; `held_` is reserved for calls under way.

    `where` names the step or sub-workflow, empty for the run; `begun` is the run's time at work, in nanoseconds, when its
    visit began.
    """

    budget: Budget | None = None
    where: str = ""
    model_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    priced: bool = True
    held_tokens: int = 0
    held_usd: float = 0.0
    holds: int = 0
    begun: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def is_bounded(self) -> bool:
        """Whether a call must say beforehand what it can use."""
        return self.budget is not None and (self.budget.tokens is not None or self.budget.usd is not None)

    def count(self, kind: str) -> None:
        if kind in COUNTED:
            setattr(self, COUNTED[kind], getattr(self, COUNTED[kind]) + 1)

    def excess(self, kind: str) -> str:
        """The limit on calls that another call of this kind would exceed; empty if none."""
        name = COUNTED.get(kind, "")
        limit = getattr(self.budget, name) if self.budget is not None and name else None
        return name if limit is not None and getattr(self, name) + 1 > limit else ""

    def lack(self, hold: Hold) -> str:
        """Of what there is too little left for a call that may use this much; empty if it fits."""
        if self.budget is None:
            return ""

        left = self.left()
        if left["tokens"] is not None and hold.tokens > left["tokens"]:
            return "tokens"

        return "usd" if left["usd"] is not None and hold.usd > left["usd"] + _ROUNDING else ""

    def left(self) -> dict[str, float | None]:
        """What is neither used nor reserved."""
        tokens, usd = (self.budget.tokens, self.budget.usd) if self.budget is not None else (None, None)
        return {
            "tokens": None if tokens is None else tokens - self.tokens - self.held_tokens,
            "usd": None if usd is None else usd - self.usd - self.held_usd,
        }

    def hold(self, hold: Hold) -> None:
        if hold is not NOTHING:
            self.holds += 1
            self.held_tokens += hold.tokens
            self.held_usd += hold.usd

    def release(self, hold: Hold) -> None:
        if hold is not NOTHING:
            self.holds -= 1
            self.held_tokens -= hold.tokens
            # Sums of fractions do not come back to nothing by themselves.
            self.held_usd = self.held_usd - hold.usd if self.holds else 0.0

    def settle(self, usage: Mapping[str, Any] | None) -> None:
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


class Account:
    """The ledgers of a run: one for all of it, one for each visit of a step or sub-workflow with a budget.

    Time in which nobody worked is not counted: while only people were waited for, and between processes.
    """

    def __init__(self, run: str, budget: Budget | None, clock: Callable[[], int]) -> None:
        self.run = Ledger(budget)
        self._run_id, self._clock = run, clock
        self._visits: dict[str, Ledger] = {}
        self._limits: dict[str, Mapping[str, float]] = {}
        self._spent = 0
        self._since: int | None = None
        # Set once a call has ended, and then replaced; made where one has to wait for that.
        self._settled: asyncio.Event | None = None
        # Once a call did not fit, no other is made: the run ends when those under way have.
        self.is_closed = False

    def raise_limits(self, limits: Mapping[str, Mapping[str, float]]) -> None:
        """Put other limits in place of the definition's; `""` names the run, `handle/draft` a step in a sub-workflow."""
        for where, values in limits.items():
            self._limits[where] = {**self._limits.get(where, {}), **values}

        for ledger in (self.run, *self._visits.values()):
            ledger.budget = self._limited(ledger.budget, ledger.where)

    def _limited(self, budget: Budget | None, where: str) -> Budget | None:
        raised: Any = self._limits.get(where)
        return replace(budget or Budget(), **raised) if raised else budget

    def visit(self, visit: str, where: str, budget: Budget | None) -> Ledger:
        """The ledger of one visit of a step or a sub-workflow; its time runs from when it is first asked for."""
        known = self._visits.get(visit)
        if known is None:
            known = self._visits[visit] = Ledger(self._limited(budget, where), where, begun=self.spent())
        return known

    def close(self, visit: str) -> None:
        """A visit is over."""
        self._visits.pop(visit, None)

    # -- time ----------------------------------------------------------------------------------------------------

    def spent(self) -> int:
        """Nanoseconds at work so far."""
        return self._spent + (max(0, self._clock() - self._since) if self._since is not None else 0)

    def work(self, *, goes_on: bool) -> None:
        """Somebody is at work from now on, or nobody is."""
        now = self._clock()
        self._spent += max(0, now - self._since) if self._since is not None else 0
        self._since = now if goes_on else None

    def add_time(self, nanoseconds: int) -> None:
        """Count time that an earlier process was at work."""
        self._spent += max(0, nanoseconds)

    def timed(self) -> Iterator[tuple[str, Ledger, float]]:
        """The ledgers with a limit on time: the visit, and how many seconds it has left."""
        for visit, ledger in (("", self.run), *self._visits.items()):
            minutes = ledger.budget.minutes if ledger.budget is not None else None
            if minutes is not None:
                yield visit, ledger, minutes * 60 - (self.spent() - ledger.begun) / 1e9

    def time_is_up(self, ledger: Ledger) -> ErrorInfo:
        """The error of a run that took too long."""
        error = self._refusal(
            ledger, "minutes", f"the budget of {_limit(ledger, 'minutes')} minutes is used up"
        )
        return ErrorInfo(kind="BudgetExhausted", message=str(error), hint=error.hint)

    # -- calls ---------------------------------------------------------------------------------------------------

    async def reserve(
        self, ledgers: Sequence[Ledger], kind: str, name: str, demand: Demand | None, *, own: int = 0
    ) -> tuple[Hold, int | None]:
        """Count a call that is about to be made and reserve the most it can use, in each ledger or in none.

        Gives what was reserved, and how many tokens the model may write. A call that would fit once those under way have
        ended waits for them, but not for `own`, those around it. Raises `BudgetExhausted` where it does not fit.
        """
        while True:
            self._refuse_excess(ledgers, kind, name)
            if self.is_closed and kind in COUNTED:
                raise BudgetExhausted(
                    f"`{name}` was not called: the run ends, as another call did not fit its budget"
                )

            if demand is None or not any(ledger.is_bounded for ledger in ledgers):
                self._refuse_spent(ledgers, kind, name)
                hold, output = NOTHING, None
                break

            hold, output = self._held(ledgers, name, demand, demand.output_tokens), demand.output_tokens
            short = [ledger for ledger in ledgers if ledger.lack(hold)]
            if not short:
                break

            if any(ledger.holds > own for ledger in short):
                self._settled = self._settled or asyncio.Event()
                await self._settled.wait()
                continue

            output = self._lowered(ledgers, name, demand, hold)
            hold = self._held(ledgers, name, demand, output)
            break

        for ledger in ledgers:
            ledger.count(kind)
            ledger.hold(hold)

        return hold, output

    def _refuse_excess(self, ledgers: Sequence[Ledger], kind: str, name: str) -> None:
        for ledger in ledgers:
            if what := ledger.excess(kind):
                said = f"`{name}` was not called: the budget of {_limit(ledger, what)} {what} is used up"
                raise self._refusal(ledger, what, said)

    def _refuse_spent(self, ledgers: Sequence[Ledger], kind: str, name: str) -> None:
        """A call that does not say what it can use is made while anything is left."""
        for ledger in ledgers if kind == "chat" else ():
            for what, left in ledger.left().items():
                if left is not None and left <= _ROUNDING:
                    said = f"`{name}` was not called: the budget of {_limit(ledger, what)} {what} is used up"
                    raise self._refusal(ledger, what, said)

            if ledger.budget is not None and ledger.budget.usd is not None and not ledger.priced:
                raise _unpriced(ledger, name)

    def _held(self, ledgers: Sequence[Ledger], name: str, demand: Demand, output: int) -> Hold:
        usd = demand.price(demand.input_tokens, output)
        priced = next((ledger for ledger in ledgers if ledger.budget and ledger.budget.usd is not None), None)
        if usd is None and priced is not None:
            raise _unpriced(priced, name)

        return Hold(demand.input_tokens, output, usd or 0.0)

    def _lowered(self, ledgers: Sequence[Ledger], name: str, demand: Demand, hold: Hold) -> int:
        """The most that the model may write so that the call still fits."""
        if not demand.is_fixed and self._fits(ledgers, name, demand, LEAST_OUTPUT):
            low, high = LEAST_OUTPUT, demand.output_tokens
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if self._fits(ledgers, name, demand, middle) else (low, middle)

            return low

        short = next(ledger for ledger in ledgers if ledger.lack(hold))
        raise self._too_much(short, name, hold)

    def _fits(self, ledgers: Sequence[Ledger], name: str, demand: Demand, output: int) -> bool:
        hold = self._held(ledgers, name, demand, output)
        return not any(ledger.lack(hold) for ledger in ledgers)

    def _too_much(self, ledger: Ledger, name: str, hold: Hold) -> BudgetExhausted:
        what = ledger.lack(hold)
        most, left = getattr(hold, what), ledger.left()[what] or 0
        said = (
            f"`{name}` was not called: it may use {_amount(most)} {what}, "
            f"and the budget of {_limit(ledger, what)} {what} has {_amount(max(0, left))} left"
        )
        return self._refusal(ledger, what, said)

    def _refusal(self, ledger: Ledger, what: str, said: str) -> BudgetExhausted:
        where = f" (step `{ledger.where}`)" if ledger.where else ""
        option = f"{ledger.where}.{what}" if ledger.where else what
        return BudgetExhausted(
            said + where, hint=f"raise it and go on: agentflow resume {self._run_id} --budget {option}=..."
        )

    def settle(
        self, ledgers: Sequence[Ledger], hold: Hold, usage: Mapping[str, Any] | None, error: str = ""
    ) -> None:
        """Put what a call used in place of what was reserved for it; `error` is the kind of error it ended with."""
        if hold is not NOTHING and not usage and error not in FREE:
            usage = (
                hold.data()
            )  # it may have been charged for, so it counts as the most that it can have cost

        for ledger in ledgers:
            ledger.release(hold)
            ledger.settle(usage)

        if hold is not NOTHING and self._settled is not None:
            self._settled.set()
            self._settled = None


def _unpriced(ledger: Ledger, name: str) -> BudgetExhausted:
    return BudgetExhausted(
        f"`{name}` was not called: its price is not known, so the budget of {_limit(ledger, 'usd')} usd cannot be held",
        hint=price_hint(name),
    )


def price_hint(model: str) -> str:
    """How to make known what a model costs."""
    price = f'"{model}" = {{ input = 0.2, output = 0.8 }} (usd per million tokens)'
    return f"give it under `[tool.agentflow.prices]`: {price}, or bound `tokens` instead"


def recounted(reserved: Mapping[str, Any] | None) -> Hold:
    """What was reserved for a call, from the record of its intent."""
    if not reserved:
        return NOTHING

    return Hold(int(reserved["input_tokens"]), int(reserved["output_tokens"]), float(reserved["usd"]))


def _limit(ledger: Ledger, what: str) -> str:
    return _amount(getattr(ledger.budget, what) or 0)


def _amount(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,.6g}"
