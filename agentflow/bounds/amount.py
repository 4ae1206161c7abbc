"""How much of something at most, or at least, and why; None where no bound can be given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Number = int | float
WHY_LIMIT = 100  # characters
_LONG_NAME = 30  # characters
COUNTS = ("steps", "model_calls", "tool_calls", "parallel", "tokens", "usd", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A bound and the path that makes it so; without a `value`, `why` says what is missing."""

    value: Number | None
    why: str = ""

    def __str__(self) -> str:
        value = "no bound" if self.value is None else f"{self.value:,}"
        return f"{value} ({self.why})" if self.why else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a run can use at most, or needs at least.

    `steps` are activations that begin: visits, items of maps and sub-workflows, each counted once however often it is
    tried again; new attempts count in calls and time. `parallel` counts functions, planners and agents at work. `seconds` is
    time in which a process drives the run. `steps_by` is by place, such as `handle/draft`; `assumes` is taken for granted.
    """

    steps: Amount
    model_calls: Amount
    tool_calls: Amount
    parallel: Amount
    tokens: Amount
    usd: Amount
    seconds: Amount
    tool_calls_by: Mapping[str, Amount] = field(default_factory=dict[str, Amount])
    steps_by: Mapping[str, int] = field(default_factory=dict[str, int])
    assumes: tuple[str, ...] = ()


NOTHING = Amount(value=0)


def named(names: Sequence[str]) -> str:
    """The first names in backticks, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"`{name}`" for name in names[:3]) + more


def short(text: str) -> str:
    """The beginning of a text that says why."""
    return text if len(text) <= WHY_LIMIT else text[: WHY_LIMIT - 3].rstrip() + "..."


def brief(name: str) -> str:
    """A name that fits into a text: a gather's can be long."""
    return name if len(name) <= _LONG_NAME else name[: _LONG_NAME - 3] + "..."


def listed(terms: Sequence[str], count: int | None = None) -> str:
    """The first terms that fit, and how many more there are: `terms` are the first of `count`."""
    room = WHY_LIMIT - len(" and 9999 more")
    shown: list[str] = []
    for term in terms:
        room -= len(term) + 3
        if room < 0 and shown:
            break

        shown.append(term)

    left = (len(terms) if count is None else count) - len(shown)
    return short(" + ".join(shown) + (f" and {left:,} more" if left else ""))


def capped(amount: Amount, limit: Number | None, owner: str) -> Amount:
    """The lesser of a bound and what a budget allows."""
    if limit is None or (amount.value is not None and amount.value <= limit):
        return amount

    return Amount(value=limit, why=f"budget of {owner}")
