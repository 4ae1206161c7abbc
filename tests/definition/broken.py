"""Broken graphs: what is built, and exactly what is said of it, as `code where`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentflow import (
    Agent,
    Approval,
    Budget,
    Context,
    Planner,
    Rejected,
    Retry,
    Wait,
    Workflow,
    each,
    gather,
    step,
    tool,
)
from agentflow.path import Place, Step
from agentflow.spec import EdgeSpec, WorkflowSpec
from tests.definition import stock
from tests.definition.sound import (
    Again,
    Big,
    add,
    add_nested,
    add_three,
    climb,
    five,
    four,
    grade,
    inner,
    last,
    lists,
    measure,
    minus,
    numbered,
    one,
    opened,
    plus,
    point,
    price,
    recall,
    recall_map,
    reopened,
    row,
    small,
    spread,
    three,
    three_cases,
    total,
    two,
    unrow,
)


class Opaque:
    """What no schema can be made of."""


@tool(effect="read")
async def peek(thing: Opaque) -> str:
    """Look at it."""
    return str(thing)


@tool(name="look", effect="none")
async def look_too(query: str) -> str:
    """Another of this name."""
    return query


@step
async def maybe(number: int) -> int | None:
    return number or None


@step
async def boxes(number: int) -> dict[str, int]:
    return {"n": number}


@step
async def by_key(boxes: dict[str, str]) -> int:
    return len(boxes)


@step
async def pair_up(number: int) -> tuple[int, str]:
    return number, str(number)


@step
async def join_texts(texts: list[str]) -> int:
    return len(texts)


@step
async def big(number: Big) -> int:
    return number.number


@step
async def recall_five(number: int, ctx: Context) -> int:
    return number + ctx.output(five)


@step(timeout=0)
async def instant(number: int) -> int:
    return number


@step(retries=Retry(times=2, factor=-1))
async def shrinking(number: int) -> int:
    return number


def renamed(body: Step[Any, Any], name: str) -> Any:
    """A map of a step, under a name."""
    return each(body, name=name)


@step
async def join_agains(agains: list[Again]) -> int:
    return len(agains)


def join(*branches: Any) -> Any:
    """A gather, as what it is at run time: a step."""
    return gather(*branches)


@step
async def stock_hold(number: int) -> Again:
    return Again(number=number)


@step
async def paired(both: tuple[int, str]) -> str:
    return both[1]


@step
async def paired_refusal(both: tuple[int, Rejected]) -> int:
    return both[0]


# Wrong on purpose: the type checkers would refuse most of these.
w: Any = Workflow
a: Any = one
b: Any = two
c: Any = three
d: Any = four
e: Any = five
z: Any = last
text: Any = measure
many: Any = spread
summed: Any = total
graded: Any = grade
reviewed: Any = small
reopen: Any = opened
added: Any = add
summed_up: Any = plus
taken: Any = minus
say: Any = stock.say
to_boxes: Any = boxes
to_point: Any = point
to_row: Any = row
not_a_tool: Any = len
signed: Any = Approval("sign", of=int)
signed_text: Any = Approval("sign", of=str)


def _spec(*edges: EdgeSpec, start: str = "one", end: str = "last", **more: Any) -> object:
    steps: dict[str, Step[Any, Any]] = {"one": one, "two": two, "last": last}
    spec = WorkflowSpec(
        name="w",
        start=start,
        end=end,
        steps=tuple(s.step_spec() for s in steps.values()),
        edges=edges,
        **more,
    )
    return Workflow.of_steps(spec, steps, Place(__file__, 1))


def _edge(source: str, target: str, **more: Any) -> EdgeSpec:
    return EdgeSpec(source=source, target=target, **more)


ONE: dict[str, Callable[[], object]] = {
    # ends
    "no such start": lambda: _spec(start="nowhere"),
    "no such end": lambda: _spec(_edge("one", "two"), end="nowhere"),
    "neither end": lambda: _spec(start="a", end="b"),
    # unreachable
    "orphan": lambda: w("w", start=a, end=z, edges=[a >> z, b >> z]),
    "orphan chain": lambda: w("w", start=a, end=z, edges=[a >> z, b >> c >> z]),
    "orphan map": lambda: w("w", start=a, end=z, edges=[a >> z, many >> each(b) >> summed >> z]),
    "orphan branch of a join": lambda: w("w", start=a, end=added, edges=[a >> b, gather(b, c) >> added]),
    "orphan loop": lambda: w(
        "w",
        start=a,
        end=z,
        edges=[a >> z, reviewed.on(Again, at_most=2) >> reopen >> reviewed, reviewed >> z],
    ),
    # dead ends
    "dead end of a case": lambda: w(
        "w", start=graded, end=z, edges=[graded.on(int) >> z, graded.on(str) >> text]
    ),
    "dead end of a fan-out": lambda: w("w", start=a, end=z, edges=[a >> b >> z, a >> c]),
    "dead end behind the end": lambda: w("w", start=a, end=z, edges=[a >> z >> b]),
    "an end that is no end": lambda: w("w", start=a, end=b, edges=[a >> b, a >> c >> d]),
    "dead end in a circle": lambda: w(
        "w",
        start=graded,
        end=z,
        edges=[
            graded.on(int) >> z,
            graded.on(str) >> text >> reviewed,
            reviewed.on(Again, at_most=2) >> reopen >> reviewed,
        ],
    ),
    # cycles
    "endless circle": lambda: w(
        "w", start=reviewed, end=z, edges=[reviewed.on(Again) >> reopen >> reviewed, reviewed.on(int) >> z]
    ),
    "endless step": lambda: w(
        "w", start=graded, end=z, edges=[graded.on(int) >> graded, graded.on(str) >> text >> z]
    ),
    "endless circle of circles": lambda: w(
        "w",
        start=a,
        end=z,
        edges=[
            a >> reviewed,
            reviewed.on(Again, at_most=2) >> reopen >> reviewed,
            reviewed.on(int) >> climb,
            climb.on(Again) >> reopened >> a,
            climb.on(int) >> z,
        ],
    ),
    "endless circle through a join": lambda: w(
        "w",
        start=a,
        end=z,
        edges=[
            a >> gather(b, c) >> summed_up >> reviewed,
            reviewed.on(Again) >> reopen >> a,
            reviewed.on(int) >> z,
        ],
    ),
    "two endless circles": lambda: w(
        "w",
        start=reviewed,
        end=z,
        edges=[
            reviewed.on(Again) >> reopen >> reviewed,
            reviewed.on(int) >> climb,
            climb.on(Again) >> reopened >> climb,
            climb.on(int) >> z,
        ],
    ),
    # cases
    "a case never produced": lambda: w("w", start=a, end=z, edges=[a.on(str) >> text >> z, a.on(int) >> z]),
    "a route nobody takes": lambda: w("w", start=graded, end=z, edges=[graded.on(int) >> z]),
    "a typed list never produced": lambda: w(
        "w",
        start=lists,
        end=z,
        edges=[lists.on(list[int]) >> summed >> z, lists.on(list[Again]) >> join_agains >> z],
    ),
    "a case of a join": lambda: w(
        "w", start=a, end=added, edges=[a >> (both := join(b, c)), both.on(tuple[int, int]) >> added]
    ),
    "a refusal of a step": lambda: w(
        "w", start=a, end=z, edges=[a.on(int) >> z, a.on(Rejected) >> stock.shelve >> text >> z]
    ),
    "a refusal of a map": lambda: w(
        "w",
        start=many,
        end=summed,
        edges=[
            many >> (all_signed := renamed(signed, "all")),
            all_signed.on(Rejected) >> stock.shelve >> text >> many,
            all_signed.on(list[int]) >> summed,
        ],
    ),
    "one of three cases": lambda: w(
        "w", start=three_cases, end=z, edges=[three_cases.on(int) >> z, three_cases.on(str) >> text >> z]
    ),
    "nothing is a case": lambda: w("w", start=maybe, end=z, edges=[maybe.on(int) >> z]),
    "the end's other case": lambda: w("w", start=a, end=reviewed.on(int), edges=[a >> reviewed]),
    "approved is a case": lambda: w(
        "w", start=signed_text, end=stock.shelve, edges=[signed_text.on(Rejected) >> stock.shelve]
    ),
    # types
    "text for a number": lambda: w("w", start=stock.say, end=z, edges=[say >> z]),
    "number for a text": lambda: w("w", start=a, end=text, edges=[a >> text]),
    "an optional": lambda: w("w", start=maybe, end=z, edges=[maybe >> z]),
    "a union": lambda: w("w", start=graded, end=z, edges=[graded >> z]),
    "the wider class": lambda: w("w", start=a, end=big, edges=[a >> stock_hold >> big]),
    "other items": lambda: w("w", start=many, end=join_texts, edges=[many >> join_texts]),
    "other values": lambda: w("w", start=boxes, end=by_key, edges=[to_boxes >> by_key]),
    "other keys": lambda: w("w", start=boxes, end=unrow, edges=[to_boxes >> unrow]),
    "a row for a number": lambda: w("w", start=row, end=z, edges=[to_row >> z]),
    "a tuple of other parts": lambda: w("w", start=pair_up, end=added, edges=[pair_up >> added]),
    "a protocol without its member": lambda: w("w", start=a, end=numbered, edges=[a >> numbered]),
    "a named tuple of numbers": lambda: w("w", start=point, end=join_texts, edges=[to_point >> join_texts]),
    "a new type for a text": lambda: w("w", start=price, end=text, edges=[price >> text]),
    "a join of too few": lambda: w("w", start=a, end=add_three, edges=[a >> gather(b, c) >> add_three]),
    "a join of too many": lambda: w("w", start=a, end=added, edges=[a >> gather(b, c, d) >> added]),
    "a join of other parts": lambda: w("w", start=a, end=added, edges=[a >> gather(b, stock.label) >> added]),
    "a join not nested": lambda: w("w", start=a, end=add_nested, edges=[a >> gather(b, c, d) >> add_nested]),
    "a list for one": lambda: w("w", start=many, end=z, edges=[many >> z]),
    "a case that does not fit": lambda: w(
        "w", start=graded, end=z, edges=[graded.on(int) >> text >> z, graded.on(str) >> z]
    ),
    "a sub-workflow for a text": lambda: w("w", start=stock.say, end=inner, edges=[say >> inner]),
    "what it says it takes": lambda: _spec(_edge("one", "two"), _edge("two", "last"), takes="str"),
    "what it says it gives": lambda: _spec(_edge("one", "two"), _edge("two", "last"), gives="str"),
    # maps
    "a map over a number": lambda: w("w", start=a, end=summed, edges=[a >> each(b) >> summed]),
    "a map over a text": lambda: w("w", start=stock.say, end=summed, edges=[say >> each(text) >> summed]),
    "a map over a dict": lambda: w("w", start=boxes, end=summed, edges=[to_boxes >> each(text) >> summed]),
    "a map over a row": lambda: w("w", start=row, end=summed, edges=[to_row >> each(text) >> summed]),
    "a map over a join": lambda: w(
        "w", start=a, end=summed, edges=[a >> gather(b, stock.label) >> each(c) >> summed]
    ),
    "a map of other items": lambda: w("w", start=many, end=summed, edges=[many >> each(text) >> summed]),
    # parallel branches and joins
    "branches without a join": lambda: w("w", start=a, end=z, edges=[a >> b >> z, a >> c >> z]),
    "a case beside always": lambda: w("w", start=a, end=z, edges=[a >> b >> z, a.on(int) >> c >> z]),
    "branches and a loop": lambda: w(
        "w",
        start=a,
        end=added,
        edges=[a >> gather(reviewed.on(int), c) >> added, reviewed.on(Again, at_most=2) >> reopen >> a],
    ),
    "a join of either": lambda: w(
        "w", start=graded, end=added, edges=[gather(graded.on(int) >> b, graded.on(str) >> text) >> added]
    ),
    "a join of both cases": lambda: w(
        "w",
        start=graded,
        end=stock.say,
        edges=[gather(graded.on(int), graded.on(str)) >> paired >> say],
    ),
    "a join of one after the other": lambda: w(
        "w",
        start=a,
        end=added,
        edges=[graded.on(int) >> b, a >> graded, graded.on(str) >> text, gather(b, text) >> added],
    ),
    "a join around a loop": lambda: w(
        "w",
        start=reviewed,
        end=added,
        edges=[gather(reviewed.on(int), reviewed.on(Again) >> reopen) >> added],
    ),
    "a join of yes and no": lambda: w(
        "w",
        start=signed,
        end=paired_refusal,
        edges=[gather(signed.on(int), signed.on(Rejected)) >> paired_refusal],
    ),
    "an end that leads on": lambda: w(
        "w",
        start=reviewed,
        end=z,
        edges=[
            reviewed.on(Again, at_most=3) >> reopen >> reviewed,
            reviewed.on(int) >> z,
            z.on(int, at_most=2) >> reviewed,
        ],
    ),
    "an end whose cases all lead on": lambda: w(
        "w",
        start=graded,
        end=graded,
        edges=[graded.on(int, at_most=3) >> b >> graded, graded.on(str, at_most=3) >> text >> graded],
    ),
    # what is read
    "read of another branch": lambda: w(
        "w",
        start=graded,
        end=recall,
        edges=[graded.on(int) >> a >> b >> z >> recall, graded.on(str) >> text >> z],
    ),
    "read of what comes later": lambda: w("w", start=recall_five, end=e, edges=[recall_five >> e]),
    "read of no step": lambda: w("w", start=z, end=recall_map, edges=[z >> recall_map]),
    "read of a sibling": lambda: w("w", start=a, end=added, edges=[a >> gather(e, recall_five) >> added]),
    "read inside a loop only": lambda: w(
        "w",
        start=reviewed,
        end=recall_five,
        edges=[reviewed.on(Again, at_most=2) >> reopen >> e >> reviewed, reviewed.on(int) >> recall_five],
    ),
    # numbers
    "no time at all": lambda: w("w", start=instant, end=instant),
    "a retry that shrinks": lambda: w("w", start=shrinking, end=shrinking),
    "a map of nothing": lambda: w("w", start=many, end=summed, edges=[many >> each(b, at_most=0) >> summed]),
    "a loop of no rounds": lambda: w(
        "w",
        start=reviewed,
        end=z,
        edges=[reviewed.on(Again, at_most=0) >> reopen >> reviewed, reviewed.on(int) >> z],
    ),
    "no turns": lambda: w("w", start=(bad := Agent("ask", takes=str, gives=str, max_turns=0)), end=bad),
    "a budget below nothing": lambda: w("w", start=a, end=a, budget=Budget(usd=-1)),
    "a wait before now": lambda: w("w", start=(nap := Wait("nap", of=int, seconds=-5)), end=nap),
    "a deadline of nothing": lambda: w("w", start=(ask := Approval("ask", of=int, deadline=0)), end=ask),
    # names
    "two steps of a name": lambda: w("w", start=a, end=z, edges=[a >> Wait("one", of=int, seconds=1) >> z]),
    "a map beside its step": lambda: w("w", start=b, end=summed, edges=[b >> many >> each(b) >> summed]),
    "two tools of a name": lambda: w(
        "w", start=(bad := Agent("ask", takes=str, gives=str, tools=[stock.look, look_too])), end=bad
    ),
    # prompts and tools
    "a placeholder of nothing": lambda: w(
        "w", start=(bad := Agent("ask", takes=stock.Question, gives=str, prompt="{topic}?")), end=bad
    ),
    "a placeholder for a number": lambda: w(
        "w", start=(bad := Agent("ask", takes=int, gives=str, prompt="{number}?")), end=bad
    ),
    "a placeholder below": lambda: w(
        "w",
        start=(
            bad := Agent(
                "ask",
                takes=stock.Question,
                gives=str,
                handoffs=[Agent("other", takes=stock.Draft, gives=str, prompt="{rounds}")],
            )
        ),
        end=bad,
    ),
    "a tool without a schema": lambda: w(
        "w", start=(bad := Planner("find", takes=str, gives=str, tools=[peek])), end=bad
    ),
    "a function for a tool": lambda: w(
        "w",
        start=(bad := Agent("ask", takes=str, gives=str, tools=[not_a_tool])),
        end=bad,
    ),
    # approvals
    "an approval behind no case": lambda: w(
        "w", start=a, end=z, edges=[a.on(int) >> z, a.on(str) >> signed_text >> text >> z]
    ),
    "an approval behind a join": lambda: w(
        "w",
        start=graded,
        end=z,
        edges=[gather(graded.on(int), graded.on(str) >> text) >> summed_up >> signed >> z],
    ),
}


SEVERAL: dict[str, Callable[[], object]] = {
    "orphan and mismatch": lambda: w("w", start=a, end=text, edges=[a >> text, b >> text]),
    "circle, orphan, budget": lambda: w(
        "w",
        start=reviewed,
        end=z,
        edges=[reviewed.on(Again) >> reopen >> reviewed, reviewed.on(int) >> z, b >> z],
        budget=Budget(tokens=-1),
    ),
    "dead end and lost case": lambda: w(
        "w", start=graded, end=z, edges=[graded.on(int) >> z, graded.on(float) >> b]
    ),
    "join and map": lambda: w(
        "w",
        start=graded,
        end=summed,
        edges=[gather(graded.on(int), graded.on(str) >> text) >> summed_up >> each(c) >> summed],
    ),
    "read, mismatch, number": lambda: w(
        "w", start=instant, end=recall_five, edges=[instant >> text >> say >> recall_five]
    ),
    "names and types": lambda: w(
        "w", start=a, end=text, edges=[a >> Wait("one", of=int, seconds=1) >> b >> text]
    ),
    "names and numbers": lambda: w(
        "w",
        start=a,
        end=z,
        edges=[a >> Wait("one", of=int, seconds=1) >> instant >> z],
        budget=Budget(usd=-1),
    ),
    "names and orphans": lambda: w(
        "w", start=a, end=z, edges=[a >> Wait("one", of=int, seconds=1) >> z, c >> z, d >> z]
    ),
    "prompt, tool and name": lambda: w(
        "w",
        start=(bad := Agent("ask", takes=str, gives=str, prompt="{topic}", tools=[peek])),
        end=z,
        edges=[bad >> Wait("ask", of=str, seconds=1) >> z],
    ),
    "two mismatches, two numbers": lambda: w(
        "w", start=stock.say, end=stock.say, edges=[say >> instant >> shrinking >> say]
    ),
    "parallel, read, map": lambda: w(
        "w",
        start=a,
        end=recall_five,
        edges=[a >> b >> recall_five, a >> c >> recall_five, a >> each(d) >> summed >> recall_five],
    ),
    "approval, case, unhandled": lambda: w(
        "w", start=graded, end=z, edges=[graded.on(int) >> z, graded.on(Again) >> reopen >> signed >> z]
    ),
    "endless, unhandled, wrong": lambda: w(
        "w",
        start=three_cases,
        end=z,
        edges=[three_cases.on(Again) >> reopen >> three_cases, three_cases.on(int) >> text >> z],
    ),
    "two loops, one bound wrong": lambda: w(
        "w",
        start=reviewed,
        end=z,
        edges=[
            reviewed.on(Again, at_most=-1) >> reopen >> reviewed,
            reviewed.on(int) >> climb,
            climb.on(Again) >> reopened >> climb,
            climb.on(int) >> z,
        ],
    ),
    "spec of a file": lambda: _spec(
        _edge("one", "last", on="str"),
        _edge("two", "last", at_most=0),
        takes="str",
        budget=Budget(minutes=-1),
    ),
}
