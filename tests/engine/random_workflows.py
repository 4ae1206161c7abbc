"""Random sound workflows of steps on whole numbers: sequences, joins, maps, cases, loops, sub-workflows, in each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, NamedTuple

from hypothesis import strategies as st

from agentflow import Approval, Context, Wait, Workflow, each, gather
from agentflow.path import Path, Step
from agentflow.steps.function import FunctionStep
from tests.definition.sound import Again, Edges

# What a step does that makes calls: from a number and the step's context to a number.
Call = Callable[[int, Context], Awaitable[int]]


class Block(NamedTuple):
    """A stretch from one whole number to another: where it begins, where it ends, and its edges."""

    first: Path[int, Any]
    last: Path[Any, int]
    edges: list[Path[Any, Any]]


class Maker:
    """Makes blocks; every step has a name of its own."""

    def __init__(self, draw: st.DrawFn, calls: Call | None = None) -> None:
        self.draw, self.numbers, self.calls = draw, count(1), calls

    def step(self, function: Any) -> FunctionStep[Any, Any]:
        made = FunctionStep[Any, Any](function)
        made.name = f"{function.__name__}{next(self.numbers)}"
        return made

    def plain(self) -> Block:
        """One step, wait or approval."""
        by = self.draw(st.integers(1, 9))

        async def add(number: int) -> int:
            return (number * 3 + by) % 97

        calls = self.calls

        async def ask(number: int, ctx: Context) -> int:
            assert calls is not None
            return await calls(number, ctx)

        kinds = (
            ["add", "add", "add", "wait", "approve"] if calls is None else ["add", "ask", "ask", "approve"]
        )
        kind = self.draw(st.sampled_from(kinds))
        name = f"{kind}{next(self.numbers)}"
        made: Step[Any, Any] = self.step(ask if kind == "ask" else add)
        if kind == "wait":
            made = Wait(name, of=int, seconds=0)
        elif kind == "approve":
            made = Approval(name, of=int)

        return Block(made, made, [])

    def block(self, depth: int) -> Block:
        """A random block; `depth` is how far it may nest."""
        kinds = ["plain"] if depth == 0 else ["sequence", "join", "map", "cases", "loop", "nested", "plain"]
        kind = self.draw(st.sampled_from(kinds))
        made: Block = getattr(self, kind)(*([] if kind == "plain" else [depth - 1]))
        return made

    def sequence(self, depth: int) -> Block:
        a, b = self.block(depth), self.block(depth)
        return Block(a.first, b.last, [*a.edges, *b.edges, a.last >> b.first])

    def join(self, depth: int) -> Block:
        async def split(number: int) -> int:
            return number + 1

        async def both(numbers: tuple[int, int]) -> int:
            return (numbers[0] * 7 + numbers[1]) % 97

        begin, end = self.step(split), self.step(both)
        a, b = self.block(depth), self.block(depth)
        edges: Edges = [*a.edges, *b.edges, begin >> a.first, begin >> b.first, gather(a.last, b.last) >> end]
        return Block(begin, end, edges)

    def map(self, depth: int) -> Block:
        async def several(number: int) -> list[int]:
            return list(range(number % 4))

        async def total(numbers: list[int]) -> int:
            return sum(n * (i + 1) for i, n in enumerate(numbers)) % 97

        begin, end = self.step(several), self.step(total)
        body: Any = self.workflow(depth) if depth else self.plain().first
        mapped: Any = each(body, parallel=self.draw(st.integers(1, 3)))
        return Block(begin, end, [begin >> mapped >> end])

    def cases(self, depth: int) -> Block:
        async def choose(number: int) -> int | str:
            return number if number % 2 else str(number)

        async def number_of(text: str) -> int:
            return int(text)

        async def meet(number: int) -> int:
            return number

        begin, back, end = self.step(choose), self.step(number_of), self.step(meet)
        a, b = self.block(depth), self.block(depth)
        edges: Edges = [
            *a.edges,
            *b.edges,
            begin.on(int) >> a.first,
            begin.on(str) >> back >> b.first,
            a.last >> end,
            b.last >> end,
        ]
        return Block(begin, end, edges)

    def loop(self, depth: int) -> Block:
        async def enter(number: int) -> Again:
            return Again(number=(number % 5) * 100 + 3)

        async def body(again: Again) -> int:
            return again.number

        async def turn(number: int) -> int | Again:
            return number if number < 300 else Again(number=number - 200)

        begin, inside, end = self.step(enter), self.step(body), self.step(turn)

        async def leave(number: int) -> int:
            return number % 97

        out = self.step(leave)
        edges: Edges = [begin >> inside >> end, end.on(Again, at_most=40) >> inside, end.on(int) >> out]
        after = self.block(depth)
        return Block(begin, after.last, [*edges, *after.edges, out >> after.first])

    def nested(self, depth: int) -> Block:
        made = self.workflow(depth)
        return Block(made, made, [])

    def workflow(self, depth: int) -> Workflow[int, int]:
        block = self.block(depth)
        return Workflow(f"flow{next(self.numbers)}", start=block.first, end=block.last, edges=block.edges)


@st.composite
def workflows(draw: st.DrawFn, depth: int = 3, calls: Call | None = None) -> Workflow[int, int]:
    """A random sound workflow from a whole number to a whole number; with `calls`, of steps that do that too."""
    return Maker(draw, calls).workflow(depth)
