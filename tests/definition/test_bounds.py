"""What a workflow can do at most and needs at least: calls, time, tokens and money, with the path that makes it so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agentflow import (
    Agent,
    Answer,
    Approval,
    Budget,
    Evidence,
    Planner,
    Retry,
    Wait,
    Workflow,
    each,
    gather,
    step,
    tool,
)
from agentflow.bounds import Bound, above, below, least, worst_case
from agentflow.path import Path, Step
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from tests.definition.sound import Again, last, one, spread, total, two

Edges = list[Path[Any, Any]]


@tool
async def look(query: str) -> str:
    """Look something up."""
    return query


@tool
async def fetch(address: str) -> str:
    """Fetch a page."""
    return address


@step(timeout=10, retries=Retry(times=2, delay=1, factor=3, max_delay=2))
async def slow(number: int) -> int:
    return number


@step(timeout=5)
async def quick(number: int) -> int:
    return number


@step(timeout=1)
async def begun(again: Again) -> int:
    return again.number


@step(timeout=1)
async def turn(number: int) -> int | Again:
    return number


@step(timeout=1)
async def both(numbers: tuple[int, int]) -> int:
    return sum(numbers)


def planner(name: str, gives: Any, **limits: Any) -> Planner[int, Any]:
    return Planner(name, takes=int, gives=gives, tools=[look, fetch], **limits)


def agent(name: str, gives: Any = str, **options: Any) -> Agent[int, Any]:
    return Agent(name, takes=int, gives=gives, prompt="Do it.", **options)


def alone(step_: Step[Any, Any], **options: Any) -> WorkflowSpec:
    return Workflow("w", start=step_, end=step_, **options).spec


def calls(step_: Step[Any, Any]) -> tuple[Any, Any]:
    bound = worst_case(alone(step_))
    return bound.model_calls.value, bound.tool_calls.value


@pytest.mark.parametrize(
    ("gives", "most", "needed"),
    [(list[Evidence], 8, 1), (Answer, 9, 2), (int, 10, 2)],
    ids=["list", "answer", "int"],
)
def test_a_planner_asks_twice_a_round_and_for_its_result(gives: Any, most: int, needed: int) -> None:
    """Each plan may be sent back once; evidence needs no more, an answer one more call, another type up to two."""
    spec = alone(planner("plan", gives))

    assert worst_case(spec).model_calls.value == most
    assert least(spec).model_calls.value == needed


def test_a_planner_has_no_more_rounds_than_calls() -> None:
    """A round that is not the last makes a call, so that `max_calls` bounds the rounds as well."""
    assert calls(planner("plan", list[Evidence], max_calls=2, max_rounds=9)) == (4, 2)


def test_each_tool_of_a_planner_may_get_all_of_its_calls() -> None:
    """The calls are bounded together, and by tool."""
    bound = worst_case(alone(planner("plan", Answer, max_calls=5)))

    assert bound.tool_calls.value == 5
    assert [amount.value for amount in bound.tool_calls_by.values()] == [5, 5]


def test_an_agent_asks_once_a_turn_or_twice_for_a_type() -> None:
    """Text is taken as it is; what must fit a type is sent back once in a turn, whoever of the team gave it."""
    assert calls(agent("write", max_turns=6)) == (6, 0)
    assert calls(agent("write", int, max_turns=6)) == (12, 0)
    assert calls(agent("write", max_turns=6, handoffs=[agent("other", int)])) == (12, 0)


def test_what_nothing_bounds_is_said_to_be_so() -> None:
    """A model may ask for many tools in a turn, and for an agent any number of times: there is no bound, and why is said."""
    tools = worst_case(alone(agent("write", tools=[look])))
    asked = worst_case(alone(agent("write", agents_as_tools=[agent("other")])))

    assert tools.tool_calls.value is None
    assert tools.tool_calls.why == "step `write` may ask for any number of calls in a turn"
    assert [amount.value for amount in tools.tool_calls_by.values()] == [None]
    assert asked.model_calls.value is None
    assert asked.model_calls.why == "step `write` may ask `other` any number of times in a turn"


def test_attempts_and_items_multiply_calls() -> None:
    """Each item of a map may be tried as often as its step, and each attempt may ask anew."""
    body = agent("write", max_turns=2, retries=2)
    bound = worst_case(
        Workflow("w", start=spread, end=last_of, edges=[spread >> each(body, at_most=5) >> last_of]).spec
    )

    assert bound.model_calls.value == 2 * 3 * 5
    assert bound.model_calls.why == "write x 5 items x 3 attempts x 2 turns"
    assert bound.steps_by == {"spread": 1, "write": 6, "last_of": 1}
    assert bound.parallel.value == 5


@step
async def last_of(texts: list[str]) -> int:
    return len(texts)


def looping() -> WorkflowSpec:
    edges: Edges = [begun >> slow >> turn, turn.on(Again, at_most=3) >> begun, turn.on(int) >> quick]
    return Workflow("w", start=begun, end=quick, edges=edges).spec


def test_why_names_the_edge_that_goes_back() -> None:
    """The heaviest steps come first, with how often and by which edge they are entered."""
    bound = worst_case(looping())

    assert bound.steps.value == 3 * 4 + 1
    assert bound.steps.why.startswith("begun x 4 (at_most of turn -> begun) + slow x 4")
    assert len(bound.steps.why) <= 100


def test_seconds_are_those_of_the_longest_way() -> None:
    """Attempts, waits between them and rounds of loops add up, and of branches only the longest counts."""
    retried = 3 * 10 + 1 + 2
    looped = worst_case(looping()).seconds
    joined = Workflow(
        "w", start=quick, end=both, edges=[quick >> gather(slow, Wait("rest", of=int, seconds=7)) >> both]
    )

    assert looped.value == 4 * (1 + retried + 1) + 5
    assert worst_case(joined.spec).seconds.value == 5 + retried + 1
    assert least(joined.spec).seconds.value == 7


def test_items_take_as_many_rounds_as_they_do_not_fit_at_once() -> None:
    """Seven items, three at a time, are three rounds."""
    mapped = each(quick, parallel=3, at_most=7)

    assert worst_case(alone(mapped)).seconds.value == 15


def test_a_step_without_a_timeout_has_no_bound_on_time() -> None:
    """Nothing bounds the time of such a step, nor that of an approval without a deadline; a budget does for the first."""
    timeless = worst_case(alone(one)).seconds
    asking = Approval("ask", of=int)
    approved = worst_case(
        Workflow("w", start=quick, end=asking, edges=[quick >> asking], budget=Budget(minutes=1)).spec
    )

    assert (timeless.value, timeless.why) == (None, "step `one` has no timeout")
    assert worst_case(alone(one, budget=Budget(minutes=2))).seconds.value == 120
    assert (approved.seconds.value, approved.seconds.why) == (None, "step `ask` has no deadline")


def test_time_in_which_people_are_asked_comes_on_top_of_a_budget() -> None:
    """A budget of minutes does not count it, a bound on seconds does."""
    asking = Approval("ask", of=int, deadline=300)
    edges: Edges = [one >> asking]

    assert (
        worst_case(
            Workflow("w", start=one, end=asking, edges=edges, budget=Budget(minutes=1)).spec
        ).seconds.value
        == 360
    )


def test_budgets_are_bounds_at_every_level() -> None:
    """A step's budget holds for each visit, a sub-workflow's for each of its items, the workflow's for all."""
    write = agent("write", tools=[look], max_turns=50, budget=Budget(model_calls=4, tokens=1000))
    inner = Workflow("inner", start=write, end=write, budget=Budget(tool_calls=6))
    edges: Edges = [spread >> each(inner, at_most=3) >> last_of]
    spec = Workflow("w", start=spread, end=last_of, edges=edges, budget=Budget(tool_calls=10)).spec
    bound = worst_case(spec)

    assert (bound.model_calls.value, bound.tokens.value) == (12, 3000)
    assert (bound.tool_calls.value, bound.tool_calls.why) == (10, "budget of the workflow")
    assert bound.steps_by == {"spread": 1, "inner": 4, "inner/write": 3, "last_of": 1}
    assert worst_case(spec, with_budget=False).model_calls.value == 150
    assert worst_case(spec, with_budget=False).tool_calls.value is None


def test_items_share_the_budget_of_their_step() -> None:
    """A map of a step with a budget spends it once a visit."""
    mapped = each(agent("write", budget=Budget(model_calls=4)), at_most=30)

    assert worst_case(alone(mapped)).model_calls.value == 4


def test_tokens_and_money_are_bounded_by_budgets() -> None:
    """What a model is sent has no bound of its own; with one on tokens, a price makes one on money."""
    write = agent("write", settings={"max_tokens": 100}, max_turns=3)
    free, bounded = alone(write), alone(write, budget=Budget(tokens=2000))

    def price(read: int, written: int) -> float:
        return (read + 4 * written) / 1000

    assert worst_case(free).tokens.value is None
    assert "at most 100 x 3 tokens" in worst_case(free).tokens.why
    assert worst_case(free, price=price).usd.value is None
    assert worst_case(bounded, price=price).usd.value == 8
    assert worst_case(free, price=lambda _, __: 0.0).usd.value == 0
    assert worst_case(alone(one)).usd.value == worst_case(alone(one)).tokens.value == 0


def test_a_price_says_nothing_of_other_models() -> None:
    """Where a step names a model of its own, the price of the run's model is no bound."""
    write = agent("write", model="other")
    spec = alone(write, budget=Budget(tokens=2000))

    assert worst_case(spec, price=lambda _, __: 0.0).usd.value is None


def test_what_is_taken_for_granted_is_named() -> None:
    """Functions count no calls, and the bound says which they are."""
    bound = worst_case(Workflow("w", start=one, end=last, edges=[one >> two >> small_ >> last]).spec)

    assert bound.assumes[0] == "functions that name no tool make no calls: `one`, `two`, `small_` and 1 more"


@step
async def small_(number: int) -> int:
    return number


def test_cases_exclude_each_other() -> None:
    """Of two cases that each have a loop, the heavier counts."""
    steps = [StepSpec(id=name, kind="function") for name in ("choose", "a", "b", "end")]
    edges = [_edge("choose", "a", "int"), _edge("choose", "b", "str")]
    edges += [
        _edge("a", "a", "int", 2),
        _edge("a", "end", "str"),
        _edge("b", "b", "int", 5),
        _edge("b", "end", "str"),
    ]
    bound = worst_case(
        WorkflowSpec(name="w", start="choose", end="end", steps=tuple(steps), edges=tuple(edges))
    )

    assert bound.steps.value == 1 + 6 + 1
    assert bound.steps.why.startswith("one way through b x 6")
    assert bound.steps_by == {"choose": 1, "a": 3, "b": 6, "end": 1}


def test_a_cycle_is_bounded_by_its_least_edge() -> None:
    """Where all edges of a cycle are bounded, the lowest limit ends it."""
    steps = [StepSpec(id=name, kind="function") for name in ("a", "b", "end")]
    edges = [_edge("a", "b", "int", 3), _edge("b", "a", "int", 5), _edge("b", "end", "str")]
    bound = worst_case(WorkflowSpec(name="w", start="a", end="end", steps=tuple(steps), edges=tuple(edges)))

    assert bound.steps.value == 7
    assert bound.steps_by == {"a": 4, "b": 3, "end": 1}


def test_loops_in_a_loop_count_once_a_frame() -> None:
    """The limit of an edge holds for the whole of a run, not for each round of the loop around it."""
    steps = [StepSpec(id=name, kind="function") for name in ("a", "b", "c", "end")]
    edges = [_edge("a", "b"), _edge("b", "b", "int", 4), _edge("b", "c", "str"), _edge("c", "a", "int", 2)]
    edges.append(_edge("c", "end", "str"))
    bound = worst_case(WorkflowSpec(name="w", start="a", end="end", steps=tuple(steps), edges=tuple(edges)))

    assert bound.steps_by == {"a": 3, "b": 7, "c": 3, "end": 1}
    assert bound.steps.value == 14


def _edge(source: str, target: str, on: str | None = None, at_most: int | None = None) -> EdgeSpec:
    return EdgeSpec(source=source, target=target, on=on, at_most=at_most)


def held(spec: WorkflowSpec, budget: Budget) -> tuple[Sequence[Any], list[str]]:
    problems = list(below(least(spec), budget, where="workflow `w`"))
    return problems, list(above(worst_case(spec, with_budget=False), budget))


def test_a_budget_below_what_every_run_needs_is_a_problem() -> None:
    """An answer takes two model calls at least, and a wait its time."""
    rest = Wait("rest", of=int, seconds=90)
    plan = planner("plan", Answer)
    spec = Workflow("w", start=rest, end=plan, edges=[rest >> plan]).spec
    problems, notes = held(spec, Budget(model_calls=1, minutes=1, tool_calls=3))

    assert [p.code for p in problems] == ["AF130", "AF130"]
    assert problems[0].what.startswith("its budget of 1 model calls is below the 2 that every run needs")
    assert "Budget(minutes=1.5)" in problems[1].hint
    assert not notes
    assert not held(spec, Budget(model_calls=2, minutes=1.5))[0]


def test_a_budget_above_what_a_run_can_do_is_noted() -> None:
    """Such a limit is of no use, and does no harm."""
    problems, notes = held(alone(planner("plan", Answer)), Budget(model_calls=10, tool_calls=12, tokens=5))

    assert not problems
    assert notes == [
        "AF131: the budget of 10 model calls is above the 9 that a run can come to (plan x (4 rounds x 2 + 1))"
    ]


def test_a_map_may_have_no_items() -> None:
    """The least counts none, and the branches of a join all."""
    mapped: Edges = [spread >> each(agent("write")) >> last_of]
    joined: Edges = [quick >> gather(one, two) >> both]

    assert _least(Workflow("w", start=spread, end=last_of, edges=mapped)) == (3, 0)
    assert _least(Workflow("w", start=quick, end=both, edges=joined)) == (4, 0)


def _least(workflow: Workflow[Any, Any]) -> tuple[Any, Any]:
    needed: Bound = least(workflow.spec)
    return needed.steps.value, needed.model_calls.value


def test_a_large_workflow_is_bounded_at_once() -> None:
    """Ten thousand steps with loops in a loop, and as many branches of a join, come to exact bounds."""
    count = 10_000
    steps = tuple(StepSpec(id=f"s{i}", kind="function", timeout=1) for i in range(count))
    edges = [_edge(f"s{i}", f"s{i + 1}", "str") for i in range(count - 1)]
    edges += [_edge(f"s{i + 1}", f"s{i}", "int", 2) for i in range(1, count - 2, 2)]
    edges.append(_edge(f"s{count - 2}", "s1", "float", 3))
    bound = worst_case(
        WorkflowSpec(name="w", start="s0", end=f"s{count - 1}", steps=steps, edges=tuple(edges))
    )

    assert bound.steps.value == count + 3 * (count - 2) + 2 * 2 * (count // 2 - 1) == bound.seconds.value


def test_parallel_steps_are_those_of_all_branches() -> None:
    """Branches and the items of maps in them add up; what comes one after the other does not."""
    mapped = each(one, parallel=4, at_most=9, name="many")
    edges: Edges = [quick >> gather(spread >> mapped >> total, two) >> both]
    start = Workflow("w", start=quick, end=both, edges=[*edges, quick >> spread, quick >> two])

    assert worst_case(start.spec).parallel.value == 5
    assert worst_case(looping()).parallel.value == 1
    assert (
        worst_case(
            alone(each(Workflow("w", start=quick, end=both, edges=[quick >> gather(one, two) >> both])))
        ).parallel.value
        == 16
    )
