"""Budgets hold: what a call can use at most is reserved before it is made, in every budget around it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentflow import Budget, MemoryJournal, Retry, Settings, Workflow, each, resume, run, step
from agentflow.context import Demand, Operation, Outcome, current, effect
from agentflow.encoding import decode, encode
from agentflow.engine.budget import Account
from agentflow.engine.state import where_of
from agentflow.events import OperationFinished, OperationStarted, RunResumed
from agentflow.exceptions import BudgetExhausted, ProjectError, UnknownName
from agentflow.path import Step
from agentflow.testing import run_to_end
from tests.definition.sound import one, spread, total, two

PRICE = 1e-6


def price(input_tokens: int, output_tokens: int) -> float:
    return input_tokens * PRICE + output_tokens * 4 * PRICE


def chatting(
    name: str = "chat",
    *,
    asks: int = 100,
    writes: int = 100,
    uses: Callable[[int], tuple[int, int]] = lambda limit: (100, limit),
    is_fixed: bool = True,
    budget: Budget | None = None,
    made: list[int] | None = None,
) -> Step[int, int]:
    """A step with one model call, which may ask and write so many tokens, and uses what `uses` says of its limit."""

    @step(budget=budget)
    async def calling(number: int) -> int:
        async def answer(record: Operation) -> int:
            await asyncio.sleep(random.random() / 500)
            given = record.granted if record.granted is not None else writes
            (made if made is not None else []).append(given)
            input_tokens, output_tokens = uses(given)
            record.result = number
            usage = {"input_tokens": input_tokens, "output_tokens": output_tokens}
            record.usage = {**usage, "usd": price(input_tokens, output_tokens)}
            return number

        demand = Demand(input_tokens=asks, output_tokens=writes, is_fixed=is_fixed, price=price)
        context = current()
        assert context is not None
        said = demand if context.is_bounded() else None
        return await effect("chat", "m", answer, lambda o: int(o.result.data), request=number, demand=said)  # type: ignore[union-attr]

    calling.name = name
    return calling


def fanned(body: Step[int, int], budget: Budget | None, *, parallel: int = 200) -> Workflow[int, int]:
    """A workflow that calls for each of so many items, side by side."""
    many = each(body, parallel=parallel, at_most=1000)
    return Workflow("fan", start=spread, end=total, edges=[spread >> many >> total], budget=budget)


@pytest.mark.parametrize(
    "budget", [Budget(tokens=5_000), Budget(usd=0.0125), Budget(model_calls=25), Budget(tokens=4_999, usd=1)]
)
async def test_200_branches_do_not_overshoot(budget: Budget) -> None:
    """200 parallel branches share one budget: as many calls are made as fit, and not a token more is used."""
    made: list[int] = []
    ended = await run_to_end(fanned(chatting(made=made), budget), 200)
    usage = ended.result.usage
    used = usage["input_tokens"] + usage["output_tokens"]

    assert ended.result.error is not None
    assert ended.result.error.kind == "BudgetExhausted"
    assert used <= (budget.tokens or used)
    assert usage["usd"] <= (budget.usd or 1) + 1e-12
    assert usage["model_calls"] <= (budget.model_calls or 25)
    assert len(made) == (24 if budget.tokens == 4_999 else 25)


async def test_a_call_waits_for_what_others_may_give_back() -> None:
    """Calls that use less than they may leave room: with 200 branches all of it is used before one is refused."""
    made: list[int] = []
    thrifty = chatting(made=made, uses=lambda _: (50, 10))
    ended = await run_to_end(fanned(thrifty, Budget(tokens=6_000)), 200)
    usage = ended.result.usage
    used = usage["input_tokens"] + usage["output_tokens"]

    # 60 tokens a call, and a call is made while 200 are left.
    assert len(made) == 97
    assert 5_800 < used <= 6_000


async def test_a_limit_that_is_not_the_caller_s_own_is_lowered() -> None:
    """Where too little is left for a whole answer the model may write as much as is left, if that is worth it."""
    made: list[int] = []
    body = chatting(made=made, asks=100, writes=1_000, is_fixed=False, uses=lambda limit: (100, limit))
    ended = await run_to_end(fanned(body, Budget(tokens=1_500), parallel=1), 5)

    assert made == [1_000, 300]
    assert ended.result.usage["output_tokens"] == 1_300
    assert ended.result.error is not None
    assert "has 0 tokens left" in ended.result.error.message or "has 0 left" in ended.result.error.message


async def test_a_run_without_such_a_budget_reserves_nothing() -> None:
    """A model call is not held to anything where neither tokens nor money are bounded."""
    ended = await run_to_end(fanned(chatting(), Budget(model_calls=10)), 3)

    assert [e.reserved for e in ended.events if isinstance(e, OperationStarted)] == [None] * 3


async def test_budgets_hold_inside_of_one_another() -> None:
    """A call is charged to its step, to the sub-workflow and to the run; the tightest refuses."""
    body = chatting("inner", budget=Budget(tokens=250))
    inner = Workflow("sub", start=body, end=body, budget=Budget(tokens=500))
    outer = Workflow("w", start=inner, end=two, edges=[inner >> two], budget=Budget(tokens=10_000))
    assert (await run_to_end(outer, 1)).result.status == "done"

    tight = chatting("inner", budget=Budget(tokens=150))
    inner = Workflow("sub", start=tight, end=tight, budget=Budget(tokens=500))
    outer = Workflow("w", start=inner, end=two, edges=[inner >> two], budget=Budget(tokens=10_000))
    error = (await run_to_end(outer, 1)).result.error

    assert error is not None
    assert "(step `sub/inner`)" in error.message
    assert "--budget sub/inner.tokens=" in error.hint


async def test_items_of_a_map_share_the_budget_of_their_step() -> None:
    """A step's budget is for a visit of it, so all items of a map draw on one."""
    made: list[int] = []
    body = chatting(made=made, budget=Budget(tokens=1_000))
    ended = await run_to_end(fanned(body, None, parallel=50), 50)

    assert (ended.result.status, len(made)) == ("failed", 5)


async def test_each_visit_has_the_step_s_budget_anew() -> None:
    """A step that is visited again may use its budget again."""
    body = chatting(budget=Budget(tokens=200))
    single = Workflow("single", start=body, end=body)
    many = each(single, parallel=3)
    ended = await run_to_end(Workflow("w", start=spread, end=total, edges=[spread >> many >> total]), 3)

    assert ended.result.status == "done"


async def test_a_run_that_ran_out_goes_on_with_more() -> None:
    """A budget that is used up ends the run so that it can be resumed with a larger one; nothing is made twice."""
    made: list[int] = []
    workflow = fanned(chatting(made=made), Budget(tokens=1_000), parallel=4)
    journal = MemoryJournal()
    first = await run(workflow, 10, run_id="r", settings=Settings(journal=journal)).result()
    assert (first.status, len(made)) == ("failed", 5)

    again = await resume(workflow, "r", settings=Settings(journal=journal), budget={"tokens": 2_000})
    result = await again.result()
    assert (result.status, len(made)) == ("done", 10)
    assert result.usage["input_tokens"] + result.usage["output_tokens"] == 2_000
    assert [e.budget for e in await journal.read("r") if isinstance(e, RunResumed)] == [
        {"": {"tokens": 2_000}}
    ]


async def test_a_raised_budget_stays_raised() -> None:
    """What was raised once holds in later processes as well; so does that of a step."""
    made: list[int] = []
    workflow = fanned(chatting(made=made, budget=Budget(tokens=400)), None, parallel=1)
    journal = MemoryJournal()
    await run(workflow, 6, run_id="r", settings=Settings(journal=journal)).result()
    again = await resume(workflow, "r", settings=Settings(journal=journal), budget={"chat.tokens": 800})
    assert (await again.result()).status == "failed"
    last = await resume(workflow, "r", settings=Settings(journal=journal))
    assert ((await last.result()).status, len(made)) == ("failed", 4)
    end = await resume(workflow, "r", settings=Settings(journal=journal), budget={"chat.tokens": 1_200})
    assert ((await end.result()).status, len(made)) == ("done", 6)


@pytest.mark.parametrize(
    ("budget", "error"),
    [
        ({"dollars": 2}, UnknownName),
        ({"nowhere.usd": 2}, UnknownName),
        ({"usd": -1}, ProjectError),
        ({"usd": "much"}, ProjectError),
    ],
)
async def test_a_limit_that_cannot_be_raised(budget: dict[str, Any], error: type[Exception]) -> None:
    """A limit or a step that there is not is named, and the run can be taken up right after."""
    workflow = fanned(chatting(), Budget(tokens=100))
    journal = MemoryJournal()
    await run(workflow, 3, run_id="r", settings=Settings(journal=journal)).result()
    with pytest.raises(error):
        await resume(workflow, "r", settings=Settings(journal=journal), budget=budget)

    again = await resume(workflow, "r", settings=Settings(journal=journal), budget={"tokens": 10_000})
    assert (await again.result()).status == "done"


async def test_a_call_that_was_cut_off_counts_as_the_most_it_can_have_cost() -> None:
    """A call that was under way when the process died may have been charged for, so it is."""
    workflow = fanned(chatting(), Budget(tokens=1_000), parallel=1)
    journal = MemoryJournal()
    await run(workflow, 3, run_id="r", settings=Settings(journal=journal)).result()
    events = await journal.read("r")
    last = [e.seq for e in events if isinstance(e, OperationStarted)][-1]
    cut = MemoryJournal()
    await cut.append("r", [decode(encode(e)) for e in events[:last]])
    result = await (await resume(workflow, "r", settings=Settings(journal=cut))).result()

    assert result.status == "done"
    assert result.usage["input_tokens"] + result.usage["output_tokens"] == 4 * 200


async def test_a_call_that_was_never_answered_is_free() -> None:
    """A server that cannot be reached charges nothing: what was reserved is given back."""
    from agentflow.exceptions import ModelUnreachable

    attempts: list[int] = []

    @step(retries=Retry(times=3, delay=0))
    async def calling(number: int) -> int:
        async def answer(record: Operation) -> int:
            attempts.append(1)
            if len(attempts) < 4:
                raise ModelUnreachable("no")

            record.usage = {"input_tokens": 90, "output_tokens": 10, "usd": 0.0}
            return number

        demand = Demand(input_tokens=90, output_tokens=10, is_fixed=True, price=price)
        return await effect("chat", "m", answer, _no, request=number, demand=demand)

    workflow = Workflow("w", start=calling, end=calling, budget=Budget(tokens=100))
    assert (await run_to_end(workflow, 1)).result.status == "done"


def _no(outcome: Outcome) -> int:
    raise AssertionError("nothing was recorded")


async def test_what_a_server_does_not_count_is_counted_as_the_most() -> None:
    """A model that does not say what it used is taken to have used all that it could."""

    @step
    async def calling(number: int) -> int:
        async def answer(record: Operation) -> int:
            return number

        demand = Demand(input_tokens=60, output_tokens=40, is_fixed=True, price=price)
        return await effect("chat", "m", answer, _no, request=number, demand=demand)

    ended = await run_to_end(fanned(calling, Budget(tokens=250), parallel=1), 5)
    assert ended.result.usage["input_tokens"] + ended.result.usage["output_tokens"] == 200


async def test_a_step_s_minutes() -> None:
    """A step that works longer than its own budget of minutes ends the run, which can be resumed with more."""
    waits = [5.0, 0.0]

    @step(budget=Budget(minutes=0.001))
    async def lingering(number: int) -> int:
        await asyncio.sleep(waits.pop(0))
        return number

    workflow = Workflow("w", start=one, end=lingering, edges=[one >> lingering])
    journal = MemoryJournal()
    result = await asyncio.wait_for(
        run(workflow, 1, run_id="r", settings=Settings(journal=journal)).result(), 3
    )
    assert result.error is not None
    assert (result.status, result.error.kind, result.step) == ("failed", "BudgetExhausted", "lingering#1")
    again = await resume(workflow, "r", settings=Settings(journal=journal), budget={"lingering.minutes": 1})
    assert (await again.result()).status == "done"


async def test_a_sub_workflow_s_minutes() -> None:
    """The minutes of a sub-workflow are counted from when it is entered."""

    @step
    async def lingering(number: int) -> int:
        await asyncio.sleep(5)
        return number

    inner = Workflow("inner", start=lingering, end=lingering, budget=Budget(minutes=0.001))
    outer = Workflow("w", start=one, end=inner, edges=[one >> inner])
    ended = await asyncio.wait_for(run_to_end(outer, 1), 3)

    assert ended.result.error is not None
    assert (ended.result.error.kind, ended.result.step) == ("BudgetExhausted", "inner#1")


async def test_a_model_without_a_price_is_refused_at_the_start() -> None:
    """A budget in dollars needs the price of each model: it is asked for before anything runs."""
    workflow = Workflow("w", start=one, end=one, budget=Budget(usd=1))
    with pytest.raises(ProjectError, match="the price of `chat/nobody-knows-me` is not known") as caught:
        run(workflow, 1, settings=Settings(model="chat/nobody-knows-me"))

    assert "tool.agentflow.prices" in caught.value.hint


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(1, 400), st.floats(0, 1), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 4_000),
    st.integers(0, 4_000),
)
def test_no_order_of_calls_overshoots(
    calls: list[tuple[int, int, float, bool]], whole: int, part: int
) -> None:
    """Whatever calls ask for, use and how they interleave: used and reserved together never pass any limit."""

    async def all_calls() -> None:
        account = Account("r", Budget(tokens=whole), lambda: 0)
        inner = account.visit("s#1", "s", Budget(tokens=part, usd=part * 2 * PRICE))
        ledgers = [account.run, inner]

        async def one_call(asks: int, writes: int, share: float, is_fixed: bool) -> None:
            demand = Demand(input_tokens=asks, output_tokens=writes, is_fixed=is_fixed, price=price)
            try:
                hold, granted = await account.reserve(ledgers, "chat", "m", demand)
            except BudgetExhausted:
                return

            assert granted is not None
            assert granted <= writes
            for ledger in ledgers:
                assert ledger.budget is not None
                assert ledger.tokens + ledger.held_tokens <= (ledger.budget.tokens or 0)
                assert ledger.usd + ledger.held_usd <= (ledger.budget.usd or 1) + 1e-9

            await asyncio.sleep(0)
            output = int(granted * share)
            used = {"input_tokens": asks, "output_tokens": output, "usd": price(asks, output)}
            account.settle(ledgers, hold, used)

        await asyncio.wait_for(asyncio.gather(*(one_call(*call) for call in calls)), 10)
        assert (account.run.held_tokens, inner.held_tokens) == (0, 0)

    asyncio.run(all_calls())


def test_where_an_activation_is() -> None:
    """An activation's place in the definition is its steps without visits and items."""
    assert where_of("handle#1[0]/draft#2") == "handle/draft"
    assert where_of("a#1") == "a"


async def test_what_was_reserved_is_on_the_record() -> None:
    """The intent of a call says what was reserved for it, and its outcome what it used."""
    ended = await run_to_end(fanned(chatting(uses=lambda _: (70, 30)), Budget(usd=1)), 1)
    (begun,) = [e for e in ended.events if isinstance(e, OperationStarted)]
    (finished,) = [e for e in ended.events if isinstance(e, OperationFinished)]

    assert begun.reserved == {"input_tokens": 100, "output_tokens": 100, "usd": price(100, 100)}
    assert finished.usage["usd"] == price(70, 30)
