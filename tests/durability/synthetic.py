"""A workflow with every shape that a crash may hit; all that it does to the world is in its log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentflow import (
    Agent,
    Approval,
    Context,
    Evidence,
    Planner,
    Retry,
    Tool,
    Wait,
    Workflow,
    each,
    gather,
    step,
    tool,
)
from agentflow.context import current
from agentflow.tools import call
from tests.durability.effects import Line, Log


@dataclass(frozen=True, kw_only=True)
class Order:
    """How often the loop goes round for each item."""

    rounds: list[int]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Where an item's loop stands."""

    rounds: int
    number: int = 1


@dataclass(frozen=True, kw_only=True)
class Again(Turn):
    """One more time round."""


@dataclass(frozen=True, kw_only=True)
class Total:
    """What the items came to."""

    rounds: int


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What is put to a person."""

    scouted: str
    planned: list[str]


async def _effect(name: str, argument: str) -> str:
    context = current()
    assert context is not None
    log, key = Log(context.root), context.idempotency_key
    log.add(Line(what="begun", step=context.step, name=name, argument=argument, key=key))
    # Others get a turn between the two lines, so that a crash of theirs can cut this off.
    await asyncio.sleep(0.002)
    log.add(Line(what="ended", step=context.step, name=name, argument=argument, key=key))
    return f"{name} {argument}"


@tool(effect="read", returns="trusted")
async def look(text: str) -> str:
    """Look something up."""
    return await _effect("look", text)


@tool(effect="write", returns="trusted")
async def post(text: str) -> str:
    """Post a letter, which nobody can take back."""
    return await _effect("post", text)


@tool(effect="write", idempotent=True, returns="trusted")
async def stamp(text: str) -> str:
    """Set a mark; it may be set again."""
    return await _effect("stamp", text)


@tool(effect="write", needs_approval=True, returns="trusted")
async def transfer(text: str) -> str:
    """Transfer money, once a person has said yes."""
    return await _effect("transfer", text)


TOOLS: Mapping[str, Tool[..., Any]] = {one.name: one for one in (look, post, stamp, transfer)}
ONCE = frozenset(name for name, one in TOOLS.items() if one.effect == "write" and not one.idempotent)


def begun(ctx: Context) -> Log:
    """The log, in which the body of this step is noted as begun."""
    log = Log(ctx.root)
    log.add(Line(what="body", step=ctx.step))
    return log


@step
async def take(order: Order, ctx: Context) -> list[int]:
    """Take the order apart."""
    begun(ctx)
    return order.rounds


@step
async def enter(rounds: int, ctx: Context) -> Turn:
    """Begin an item."""
    begun(ctx)
    return Turn(rounds=rounds)


@step
async def climb(turn: Turn, ctx: Context) -> Again | int:
    """Go round: a write that must happen once, and two of the same that may be repeated."""
    begun(ctx)
    name = f"{turn.rounds}.{turn.number}"
    await call(post, {"text": name})
    await call(stamp, {"text": name})
    await call(stamp, {"text": name})
    return turn.number if turn.number == turn.rounds else Again(rounds=turn.rounds, number=turn.number + 1)


@step
async def leave(rounds: int, ctx: Context) -> int:
    """End an item."""
    begun(ctx)
    return rounds


item = Workflow(
    "item",
    start=enter,
    end=leave,
    edges=[enter >> climb, climb.on(Again, at_most=3) >> climb, climb.on(int) >> leave],
)


@step
def collect(rounds: list[int], ctx: Context) -> Total:
    """Add the items up, in a thread."""
    begun(ctx)
    return Total(rounds=sum(rounds))


scout = Agent("scout", takes=Total, gives=str, tools=[look, post], max_turns=3, prompt="Scout.")
plan = Planner("plan", takes=Total, gives=list[Evidence], tools=[look, post], max_calls=4, prompt="Plan.")


@step
async def join(found: tuple[str, list[Evidence]], ctx: Context) -> Bill:
    """Put what was found together."""
    begun(ctx)
    return Bill(scouted=found[0], planned=[one.text for one in found[1]])


sign = Approval("sign", of=Bill, prompt="Is this right?")
pay = Agent("pay", takes=Bill, gives=str, tools=[transfer], max_turns=3, prompt="Pay.")


@step(retries=Retry(times=2, delay=0.01))
async def flaky(paid: str, ctx: Context) -> str:
    """Fail once, after a read and a write that must happen once."""
    log = begun(ctx)
    await call(look, {"text": "flaky"})
    await call(post, {"text": "flaky"})
    if not log.has("failed", ctx.step):
        log.add(Line(what="failed", step=ctx.step))
        raise ValueError("the first time")

    return paid


nap = Wait("nap", of=str, seconds=0.05)


@step
async def report(paid: str, ctx: Context) -> list[str]:
    """Say what was done."""
    begun(ctx)
    bill = ctx.output(join)
    return [bill.scouted, *bill.planned, paid]


synthetic = Workflow(
    "synthetic",
    start=take,
    end=report,
    edges=[
        take >> each(item, parallel=2) >> collect >> gather(scout, plan) >> join >> sign,
        sign.on(Bill) >> pay >> flaky >> nap >> report,
    ],
)
ORDER = Order(rounds=[2, 1, 1])


def answering_model() -> Any:
    """A model that answers by what it is asked, whatever it was asked before, and notes each of its turns."""
    from agentflow.testing import ScriptedModel  # loads the SDK

    answering: Any = {"responder": _answer}
    return ScriptedModel([answering] * 1000)


def _answer(asked: Any) -> Any:
    context = current()
    assert context is not None
    answers = _planned(asked) if context.step.startswith("plan") else _acted(asked, context.step)
    number, answer = answers
    Log(context.root).add(Line(what="model", step=context.step, name=str(number)))
    return answer


def _planned(asked: Any) -> tuple[int, Any]:
    from agentflow.testing import assistant_message

    text = asked.input if isinstance(asked.input, str) else asked.input[-1]["content"]
    seen = json.loads(text)["observations"]
    wanted = [] if seen else [_wanted("c1", "look"), _wanted("c2", "post")]
    turn = {"thought": "as ever", "calls": wanted, "done": bool(seen)}
    return (2 if seen else 1), [assistant_message(json.dumps(turn))]


def _wanted(id_: str, name: str) -> dict[str, Any]:
    arguments = json.dumps({"text": "planned"})
    return {"id": id_, "tool": name, "arguments": arguments, "after": [], "why": "", "confidence": 1.0}


def _acted(asked: Any, name: str) -> tuple[int, Any]:
    from agentflow.testing import assistant_message, function_call

    told = [
        one for one in asked.input if not isinstance(one, str) and one.get("type") == "function_call_output"
    ]
    if told:
        said = " and ".join(sorted(str(one["output"]) for one in told))
        return 2, [assistant_message(said)]

    tools = ("look", "post") if name.startswith("scout") else ("transfer",)
    return 1, [function_call(tool, {"text": "asked"}, call_id=f"c{n}") for n, tool in enumerate(tools)]
