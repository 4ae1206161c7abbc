"""Edges that both type checkers must refuse: each marked line, with exactly the errors that it says, and no other."""

from __future__ import annotations

from agentflow import Agent, Approval, Context, Planner, Rejected, Wait, Workflow, each, gather, run, step
from tests.definition.stock import (
    Draft,
    Notes,
    Question,
    Revision,
    approve,
    check,
    collect,
    count,
    double,
    grade,
    half,
    label,
    length,
    look,
    pair,
    plan,
    publish,
    read,
    say,
    shelve,
    summing,
    three,
    total,
    write,
)


def use(path: object) -> None:
    """Take a path for what it is."""


use(plan >> write)  # E: reportOperatorIssue | operator
use(double >> label >> double)  # E: reportOperatorIssue | operator
use(plan >> read)  # E: reportOperatorIssue | operator
use(check >> approve)  # E: reportOperatorIssue | operator
use(check >> write)  # E: reportOperatorIssue | operator
use(check.on(Revision) >> approve)  # E: reportOperatorIssue | operator
use(check.on(Draft) >> write)  # E: reportOperatorIssue | operator
use(grade.on(str) >> double)  # E: reportOperatorIssue | operator
use(double >> each(double))  # E: reportOperatorIssue | operator
use(say >> each(double))  # E: reportOperatorIssue | arg-type
use(count >> each(length))  # E: reportOperatorIssue | arg-type
use(plan >> each(read) >> total)  # E: reportOperatorIssue | operator
use(double >> gather(half, double) >> pair)  # E: reportOperatorIssue | operator
use(gather(double, half, label) >> pair)  # E: reportOperatorIssue | operator
use(gather(double, half) >> three)  # E: reportOperatorIssue | operator
use(double >> gather(double, length))  # E: reportOperatorIssue | operator
use(each(gather(double, half)))  # E: reportArgumentType | arg-type
use(each(double >> half))  # E: reportArgumentType | arg-type
use(approve.on(Rejected) >> publish)  # E: reportOperatorIssue | operator
use(shelve >> check)  # E: reportOperatorIssue | operator
use(plan >> summing)  # E: reportOperatorIssue | operator
use(Workflow("w", start=plan, end="publish"))  # E: reportArgumentType | arg-type
made = Planner("p", takes=Question, gives=Draft, tools=[look])
planner: Planner[Question, Notes] = made  # E: reportAssignmentType | assignment
agent: Agent[Notes, Draft] = Agent("a", takes=Draft, gives=Draft)  # E: reportAssignmentType | arg-type
workflow: Workflow[int, str] = Workflow("w", start=double, end=half)  # E: reportAssignmentType | arg-type
narrow: Workflow[Question, Draft] = Workflow("w", start=plan, end=check)  # E: reportAssignmentType | arg-type
wait = Wait("w", of=int, seconds="1")  # E: reportArgumentType | arg-type
nameless = Approval(of=Draft)  # E: reportCallIssue | call-arg


@step
async def reads(number: int, ctx: Context) -> int:
    sources: list[str] = ctx.output(plan)  # E: reportAssignmentType | arg-type
    text: str = ctx.output(double)  # E: reportAssignmentType | assignment
    ctx.output("plan")  # E: reportArgumentType | arg-type
    return len(sources) + len(text)


@step  # E: reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator | arg-type
async def three_parameters(a: int, b: int, c: int) -> int:
    return a


async def outputs() -> None:
    text: str = await run(summing, 3)  # E: reportAssignmentType | arg-type
    await collect([1])  # E: reportArgumentType | list-item
    del text
