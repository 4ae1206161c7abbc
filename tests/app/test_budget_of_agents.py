"""Budgets over real HTTP: many agents at once, one limit, and a server that uses all that it is given."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentflow import Agent, Budget, MemoryJournal, Settings, Workflow, each, resume, run, step
from agentflow.events import OperationStarted
from agentflow.exceptions import ProjectError
from agentflow.models.pricing import Price
from tests.models.openai_server import OpenAIServer, Received, Said

PRICE = Price(input=1.0, output=4.0)


@step
async def split(number: int) -> list[int]:
    return list(range(number))


@step
async def count(answers: list[str]) -> int:
    return len(answers)


def greedy(request: Received) -> Said:
    """The worst that a server can do: each byte that it was sent was a token, and it wrote as much as it was let."""
    limit = int(request.body.get("max_tokens") or request.body.get("max_output_tokens") or 0)
    return Said(text="x", input_tokens=len(request.raw) // 2, output_tokens=limit, cached_tokens=0)


def thrifty(request: Received) -> Said:
    """An answer as they usually are: short."""
    return Said(text="x", input_tokens=40, output_tokens=5, cached_tokens=0)


def many(budget: Budget, **settings: Any) -> Workflow[int, int]:
    ask = Agent("ask", takes=int, gives=str, prompt="Count.", settings=settings)
    body = each(ask, parallel=200, at_most=500)
    return Workflow("many", start=split, end=count, edges=[split >> body >> count], budget=budget)


def settings_for(server: OpenAIServer, kind: str, journal: MemoryJournal | None = None) -> Settings:
    return Settings(model=f"{kind}/m@{server.url}", prices={"m": PRICE}, journal=journal)


@pytest.mark.parametrize(
    ("kind", "budget"), [("chat", Budget(usd=0.03)), ("responses", Budget(tokens=20_000))]
)
async def test_200_agents_on_one_budget(kind: str, budget: Budget) -> None:
    """However much the server takes, 200 agents side by side stay inside of one budget, to the token and the cent."""
    with OpenAIServer(script=greedy) as server:
        workflow = many(budget, max_tokens=200)
        result = await asyncio.wait_for(run(workflow, 200, settings=settings_for(server, kind)).result(), 60)
        spent = [PRICE.of(a.input_tokens, a.output_tokens) for a in server.answers]
        tokens = sum(answer.input_tokens + answer.output_tokens for answer in server.answers)

    assert result.error is not None
    assert (result.status, result.error.kind) == ("failed", "BudgetExhausted")
    assert "agentflow resume" in result.error.hint
    assert len(spent) > 10
    assert tokens <= (budget.tokens or tokens)
    assert sum(spent) <= (budget.usd or 1)
    assert result.usage["usd"] == pytest.approx(sum(spent), abs=1e-6)
    assert result.usage["input_tokens"] + result.usage["output_tokens"] == tokens


async def test_all_of_a_budget_can_be_used() -> None:
    """Calls that use little give the rest back: 200 agents are answered on a budget that reserves ten times as much."""
    with OpenAIServer(script=thrifty) as server:
        workflow = many(Budget(tokens=12_000), max_tokens=400)
        result = await asyncio.wait_for(
            run(workflow, 200, settings=settings_for(server, "chat")).result(), 60
        )

    assert (result.status, result.output) == ("done", 200)
    assert result.usage["input_tokens"] + result.usage["output_tokens"] == 200 * 45


async def test_what_was_paid_for_is_kept_when_a_budget_runs_out() -> None:
    """A run that ran out goes on with more money, and asks nothing again that was answered."""
    with OpenAIServer(script=greedy) as server:
        workflow = many(Budget(usd=0.01), max_tokens=200)
        journal = MemoryJournal()
        settings = settings_for(server, "chat", journal)
        first = await run(workflow, 40, run_id="r", settings=settings).result()
        asked = len(server.requests)
        assert first.status == "failed"
        assert 0 < asked < 40
        again = await resume(workflow, "r", settings=settings, budget={"usd": 1})
        result = await again.result()

        assert (result.status, result.output) == ("done", 40)
        assert len(server.requests) == 40

    events = await journal.read("r")
    assert sum(isinstance(e, OperationStarted) and e.kind == "chat" for e in events) == 40


async def test_a_limit_is_set_where_none_was_given() -> None:
    """Under a budget each call goes out with a limit, though the definition has none."""
    with OpenAIServer(script=thrifty) as server:
        await run(many(Budget(usd=1)), 3, settings=settings_for(server, "chat")).result()
        assert {request.body["max_tokens"] for request in server.requests} == {4096}
        server.begin(thrifty)
        await run(many(Budget(model_calls=9)), 3, settings=settings_for(server, "chat")).result()
        assert {request.body.get("max_tokens") for request in server.requests} == {None}


async def test_an_unknown_price_is_asked_for_first() -> None:
    """A budget in dollars and a model without a price: nothing is run, and it is said how to give one."""
    with OpenAIServer(script=thrifty) as server:
        with pytest.raises(ProjectError, match=r"price of .* is not known"):
            run(many(Budget(usd=1)), 3, settings=Settings(model=f"chat/unheard-of@{server.url}"))

        assert server.requests == []
