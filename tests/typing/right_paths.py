"""What type checkers infer of paths and workflows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Never, assert_type

from agentflow import Rejected, Result, Workflow, each, gather, run, step
from agentflow.path import Path, Step
from tests.definition.stock import (
    Draft,
    Note,
    Notes,
    Question,
    Revision,
    Source,
    approve,
    check,
    collect,
    compose,
    count,
    double,
    half,
    label,
    length,
    pair,
    pause,
    plan,
    publish,
    read,
    shelve,
    summing,
    three,
    total,
    write,
)


@step
async def half_and_notes(both: tuple[float, Notes]) -> str:
    return str(both)


assert_type(plan >> each(read), Path[Question, list[Note]])
assert_type(each(read), Step[Sequence[Source], list[Note]])
assert_type(plan >> each(read) >> collect >> write, Path[Question, Draft])
assert_type(check.on(Revision, at_most=3), Path[Draft, Revision])
# A revision is notes, so it may go where notes are taken.
assert_type(check.on(Revision, at_most=3) >> write, Path[Draft, Draft])
assert_type(check.on(Draft) >> approve >> pause >> publish, Path[Draft, str])
assert_type(approve.on(Rejected) >> shelve, Path[Draft, str])
assert_type(compose >> check, Path[Notes, Draft | Revision])

assert_type(gather(double, half), Path[int, tuple[int, float]])
assert_type(gather(double, half, label), Path[int, tuple[int, float, str]])
assert_type(gather(double, half, label, count), Path[int, tuple[int, float, str, list[int]]])
assert_type(gather(double, half, label, count, summing), Path[int, tuple[int, float, str, list[int], int]])
assert_type(double >> gather(double, half) >> pair, Path[int, str])
assert_type(gather(double, half, label) >> three, Path[int, str])
# A join of branches that come from different places: what it gives is known, and nothing leads into it.
assert_type(gather(double, length), Path[Never, tuple[int, int]])
assert_type(gather(half, collect) >> half_and_notes, Path[Never, str])
assert_type(gather(gather(double, half), label), Path[int, tuple[tuple[int, float], str]])

assert_type(summing, Workflow[int, int])
assert_type(Workflow("w", start=plan, end=publish), Workflow[Question, str])
assert_type(Workflow("w", start=plan >> each(read), end=check.on(Draft)), Workflow[Question, Draft])
assert_type(Workflow("w", start=double, end=gather(double, half)), Workflow[int, tuple[int, float]])
# A workflow is a step: in a line, mapped, and joined.
assert_type(double >> summing >> label, Path[int, str])
assert_type(count >> each(summing) >> total, Path[int, int])
assert_type(gather(summing, label), Path[int, tuple[int, str]])


async def outputs() -> None:
    """What a run gives is what its workflow gives."""
    assert_type(await run(summing, 3), int)
    assert_type(await run(summing, 3).result(), Result[int])
    assert_type((await run(summing, 3).result()).unwrap(), int)
