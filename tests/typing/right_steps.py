"""What type checkers infer of steps: of functions in all shapes, and of each kind."""

from __future__ import annotations

from typing import assert_type

from agentflow import Agent, Answer, Approval, Context, Evidence, Planner, Retry, Wait, step, tool
from agentflow.steps.function import FunctionStep
from tests.definition.stock import Draft, Notes, Question


@step
async def plain_async(number: int) -> str:
    return str(number)


@step
def plain(number: int) -> str:
    return str(number)


@step
async def with_context(number: int, ctx: Context) -> str:
    return f"{ctx.step} {number}"


@step
def plain_with_context(number: int, ctx: Context) -> str:
    return f"{ctx.step} {number}"


@step(timeout=5, retries=2)
async def limited(number: int) -> str:
    return str(number)


@step(retries=Retry(times=2, delay=0.1))
def limited_plain(number: int, ctx: Context) -> str:
    return str(number)


@step
async def two_cases(draft: Draft) -> Draft | Notes:
    return draft


@tool(effect="read")
async def look(query: str, count: int = 3) -> list[Evidence]:
    """Look something up."""
    return []


find = Planner("find", takes=Question, gives=list[Evidence], tools=[look])
answer = Planner("answer", takes=str, gives=Answer, tools=[look])
write = Agent("write", takes=Notes, gives=Draft, tools=[look])
approve = Approval("approve", of=Draft)
pause = Wait("pause", of=list[int], seconds=1)

assert_type(plain_async, FunctionStep[int, str])
assert_type(plain, FunctionStep[int, str])
assert_type(with_context, FunctionStep[int, str])
assert_type(plain_with_context, FunctionStep[int, str])
assert_type(limited, FunctionStep[int, str])
assert_type(limited_plain, FunctionStep[int, str])
assert_type(plain.named("other"), FunctionStep[int, str])
assert_type(two_cases, FunctionStep[Draft, Draft | Notes])
assert_type(find, Planner[Question, list[Evidence]])
assert_type(answer, Planner[str, Answer])
assert_type(write, Agent[Notes, Draft])
assert_type(approve, Approval[Draft])
assert_type(pause, Wait[list[int]])


async def called_in_a_test() -> None:
    """Calling a step gives what its function gives."""
    assert_type(await plain_async(1), str)
    assert_type(await plain(1), str)
    assert_type(await two_cases(Draft(text="")), Draft | Notes)
    assert_type(await look("x", count=1), list[Evidence])


def read_outputs(ctx: Context) -> None:
    """`ctx.output` is typed by the handle."""
    assert_type(ctx.output(find), list[Evidence])
    assert_type(ctx.output(write), Draft)
    assert_type(ctx.output(two_cases), Draft | Notes)
    assert_type(ctx.output(approve), Draft)
