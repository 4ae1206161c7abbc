"""A workflow with most of what a run can have, and ways in which somebody may change it after a run of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow import Agent, Approval, Context, Wait, Workflow, each, gather, step, tool
from agentflow.spec import Retry
from agentflow.tools import call


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is ordered, and how much of it."""

    item: str
    count: int = 2


@dataclass(frozen=True, kw_only=True)
class Less(Order):
    """An order that has to be lowered first."""


@dataclass(frozen=True, kw_only=True)
class Ways:
    """What is different in a definition: nothing, unless it is said."""

    prompt: str = "Say whether to buy, after you have looked at the price and at the stock."
    first: str = "price"
    tools: Sequence[str] = ("price", "stock")
    argument: str = "item"
    plus: int = 0
    limit: int = 3
    question: str = "Buy it?"
    file: bytes = b"a bill"
    fails: bool = True
    made: list[str] = field(default_factory=list[str])


def ledger(ways: Ways | None = None) -> Workflow[Order, str]:
    """Lower the order in a loop, look at each piece, let an agent think and a person approve, wait, then pay and bill."""
    ways = ways or Ways()

    @tool(effect="read")
    async def price(item: str) -> int:
        """What one costs."""
        ways.made.append(f"price {item}")
        return len(item)

    @tool(effect="read", returns="trusted")
    async def stock(item: str) -> int:
        """How many there are."""
        ways.made.append(f"stock {item}")
        return 7

    @tool(effect="write")
    async def pay(item: str, amount: int) -> str:
        """Pay for it."""
        ways.made.append(f"pay {item} {amount}")
        return f"paid {amount}"

    known: Mapping[str, Any] = {"price": price, "stock": stock}

    @step
    async def lower(order: Order) -> Order | Less:
        if order.count > ways.limit:
            return Less(item=order.item, count=order.count - 1)

        return Order(item=order.item, count=order.count)

    @step
    async def split(order: Order) -> list[int]:
        return list(range(order.count))

    @step(retries=Retry(times=1, delay=0))
    async def weigh(number: int, ctx: Context) -> int:
        if ways.fails and number == 1 and ctx.attempt == 1:
            raise ValueError("the scales are stuck")

        cost: int = await call(price, {ways.argument: f"piece {number}"})
        return cost + ways.plus

    @step
    async def total(weights: list[int]) -> int:
        return sum(weights)

    think = Agent(
        "think",
        takes=Order,
        gives=str,
        prompt=ways.prompt,
        tools=[known[name] for name in ways.tools],
        max_turns=4,
    )

    @step
    async def both(found: tuple[int, str]) -> str:
        return f"{found[1]}: {found[0]}"

    approve = Approval("approve", of=str, prompt=ways.question)
    rest = Wait("rest", of=str, seconds=0)

    @step
    async def settle(text: str, ctx: Context) -> str:
        said = await call(pay, {"item": ctx.input.item, "amount": len(text)})
        ctx.artifact("bill.txt", ways.file, "text/plain")
        return f"{text}; {said}"

    inner: Workflow[Order, int] = Workflow(
        "weighing", start=split, end=total, edges=[split >> each(weigh, parallel=2) >> total]
    )
    return Workflow(
        "ledger",
        start=lower,
        end=settle,
        edges=[
            lower.on(Less, at_most=5) >> lower,
            lower.on(Order) >> gather(inner, think) >> both >> approve >> rest >> settle,
        ],
    )


def thinker() -> ScriptedModel:
    """A model that looks at both at once, then says yes."""
    looks = [function_call(name, json.dumps({"item": "nail"}), call_id=name) for name in ("price", "stock")]
    return ScriptedModel([looks, [assistant_message("buy")]])
