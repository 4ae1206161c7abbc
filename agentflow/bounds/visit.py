"""What one visit of a step comes to at most, whatever its kind: its attempts, its items, what is inside of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentflow.bounds.amount import NOTHING, Amount, capped
from agentflow.bounds.calls import most_calls, written
from agentflow.bounds.duration import EXECUTED, attempts, longest, rounds
from agentflow.spec import Budget, StepSpec, agents_in

# US dollars for that many tokens read and written; None where the price is not known.
Price = Callable[[int, int], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a visit, or a whole workflow, comes to. `people` is seconds in which only people may be waited for."""

    steps: Amount = NOTHING
    model_calls: Amount = NOTHING
    tool_calls: Amount = NOTHING
    tokens: Amount = NOTHING
    usd: Amount = NOTHING
    seconds: Amount = NOTHING
    people: Amount = NOTHING
    parallel: Amount = NOTHING
    by_tool: Mapping[str, Amount] = field(default_factory=dict[str, Amount])
    by_step: Mapping[str, int] = field(default_factory=dict[str, int])
    # Whether a model other than the run's is named in it, which the price of that says nothing about.
    names_model: bool = False


SUMMED = ("steps", "model_calls", "tool_calls", "tokens", "usd", "people")


def of_leaf(step: StepSpec, place: str, price: Price | None, named: Sequence[str] = ()) -> Load:
    """A visit of a step that is no workflow; `named` are the tools that a function names."""
    calls, times, items = most_calls(step, named), attempts(step), _items(step)
    factor, how = times * items, _how(step)
    by_tool = {tool: _times(amount, factor, place, how) for tool, amount in calls.by_tool.items()}
    seconds = longest(step)
    is_asking = step.kind == "approval"
    load = Load(
        steps=_begun(step),
        model_calls=_times(calls.of_models, factor, place, how),
        tool_calls=_times(calls.of_tools, factor, place, how),
        seconds=_times(seconds, rounds(step), place, _rounds(step)),
        people=_times(seconds, items, place, how) if is_asking else NOTHING,
        parallel=Amount(value=_at_once(step) if step.kind in EXECUTED else 0),
        by_tool=by_tool,
        by_step={} if step.kind == "gather" else {place: 1 + items if step.map is not None else 1},
        names_model=any(agent.get("model") for agent in agents_in(step.options)),
    )
    return _spending(load, step, place, price)


def of_workflow(step: StepSpec, inner: Load, place: str) -> Load:
    """A visit of a step that is a workflow, or of a map of one."""
    items, how = _items(step), _how(step)
    scaled: dict[str, Any] = {n: _times(getattr(inner, n), items, place, how) for n in SUMMED}
    own = 1 + items if step.map is not None else 1
    scaled["steps"] = Amount(value=(scaled["steps"].value or 0) + own, why=scaled["steps"].why)
    parallel = (inner.parallel.value or 0) * _at_once(step)
    return Load(
        **scaled,
        seconds=_times(inner.seconds, rounds(step), place, _rounds(step)),
        parallel=Amount(value=parallel, why=how),
        by_tool={tool: _times(amount, items, place, how) for tool, amount in inner.by_tool.items()},
        by_step={place: own, **{at: times * items for at, times in inner.by_step.items()}},
        names_model=inner.names_model,
    )


def within(load: Load, budget: Budget | None, owner: str, price: Price | None) -> Load:
    """What a budget lets of it."""
    if budget is None:
        return load

    limits = {name: getattr(budget, name) for name in ("model_calls", "tool_calls", "tokens", "usd")}
    kept: dict[str, Any] = {name: capped(getattr(load, name), limits[name], owner) for name in limits}
    kept["by_tool"] = {tool: capped(a, budget.tool_calls, owner) for tool, a in load.by_tool.items()}
    if budget.minutes is not None and load.people.value is not None:
        # Time in which only people are waited for does not count against a budget.
        kept["seconds"] = capped(load.seconds, budget.minutes * 60 + load.people.value, owner)

    return _priced(replace(load, **kept), price)


def _priced(load: Load, price: Price | None) -> Load:
    """The most that the tokens can cost, where they are bounded: all read, or all written."""
    tokens = load.tokens.value
    if price is None or tokens is None or load.names_model:
        return load

    read, answered = price(int(tokens), 0), price(0, int(tokens))
    if read is None or answered is None:
        return load

    most = max(read, answered)
    if load.usd.value is not None and load.usd.value <= most:
        return load

    return replace(load, usd=Amount(value=most, why=f"the price of {tokens:,} tokens"))


def _spending(load: Load, step: StepSpec, place: str, price: Price | None) -> Load:
    """The load with tokens and money: what a model is sent is bounded by budgets only."""
    calls = load.model_calls.value
    if calls == 0:
        return load

    writes = "" if calls is None else f"; it writes at most {written(step):,} x {calls:,} tokens"
    tokens = Amount(value=None, why=f"step `{place}` sends its model text without a bound{writes}")
    usd = Amount(value=None, why=f"step `{place}` has no bound on tokens, or no price")
    if price is not None and not load.names_model and price(10**6, 10**6) == 0:
        usd = Amount(value=0.0, why="its model costs nothing")

    return replace(load, tokens=tokens, usd=usd)


def _begun(step: StepSpec) -> Amount:
    if step.kind == "gather":
        return NOTHING

    return Amount(value=1 + _items(step) if step.map is not None else 1, why=_items_how(step))


def _times(amount: Amount, factor: int, place: str, how: str) -> Amount:
    if amount.value is None:
        # What stands inside already says where it is.
        said = amount.why if amount.why.startswith("step `") else f"step `{place}` {amount.why}"
        return Amount(value=None, why=said)

    inner = amount.why if amount.why.startswith(" x ") or not amount.why else f" x [{amount.why}]"
    return Amount(value=amount.value * factor, why=how + inner if amount.value else "")


def _items(step: StepSpec) -> int:
    return step.map.at_most if step.map is not None else 1


def _at_once(step: StepSpec) -> int:
    return min(step.map.parallel, step.map.at_most) if step.map is not None else 1


def _items_how(step: StepSpec) -> str:
    return f" x {step.map.at_most} items" if step.map is not None else ""


def _how(step: StepSpec) -> str:
    return _items_how(step) + (f" x {attempts(step)} attempts" if attempts(step) > 1 else "")


def _rounds(step: StepSpec) -> str:
    return f" x {rounds(step)} rounds of items" if rounds(step) > 1 else ""
