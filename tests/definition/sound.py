"""Sound graphs of many shapes, each with an input and what comes out: none may be refused, each must run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NewType, Protocol

from typing_extensions import TypedDict

from agentflow import Approval, Context, Rejected, Wait, Workflow, each, gather, step
from agentflow.path import Path

Euro = NewType("Euro", int)
Edges = list[Path[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Again:
    """Not good yet."""

    number: int


@dataclass(frozen=True, kw_only=True)
class Big(Again):
    """Far too much."""


class Row(TypedDict):
    """A plain dict with known keys."""

    number: int


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


class Numbered(Protocol):
    """Whatever has a number."""

    @property
    def number(self) -> int: ...


@step
async def one(number: int) -> int:
    return number + 1


@step
async def two(number: int) -> int:
    return number + 2


@step
def three(number: int) -> int:
    return number + 3


@step
async def four(number: int) -> int:
    return number + 4


@step
async def five(number: int) -> int:
    return number + 5


@step
async def add(numbers: tuple[int, int]) -> int:
    return numbers[0] * 10 + numbers[1]


@step
async def plus(numbers: tuple[int, int]) -> int:
    return numbers[0] + numbers[1]


@step
async def minus(numbers: tuple[int, int]) -> int:
    return numbers[0] - numbers[1]


@step
async def add_three(numbers: tuple[int, int, int]) -> int:
    return sum(numbers)


@step
async def add_five(numbers: tuple[int, int, int, int, int]) -> int:
    return sum(numbers)


@step
async def add_nested(numbers: tuple[tuple[int, int], int]) -> int:
    return numbers[0][0] * 100 + numbers[0][1] * 10 + numbers[1]


@step
async def spread(number: int) -> list[int]:
    return list(range(number))


@step
async def total(numbers: list[int]) -> int:
    return sum(numbers)


@step
async def last(number: int) -> int:
    return number


@step
async def grade(number: int) -> int | str:
    return number if number % 2 else f"even {number}"


@step
async def measure(text: str) -> int:
    return len(text)


@step
async def small(number: int) -> int | Again:
    return number if number >= 10 else Again(number=number + 4)


@step
async def judge(numbers: tuple[int, int]) -> int | Again:
    return sum(numbers) if sum(numbers) > 20 else Again(number=numbers[0])


@step
async def outer_judge(number: int) -> int | Again:
    return number if number > 60 else Again(number=number)


@step
async def opened(again: Again) -> int:
    return again.number


@step
async def reopened(again: Again) -> int:
    return again.number


@step
async def climb(number: int) -> int | Again:
    return number if number > 5 else Again(number=number + 1)


@step
async def recall(number: int, ctx: Context) -> int:
    return number * 1000 + ctx.output(one) * 100 + ctx.output(two)


@step
async def recall_map(number: int, ctx: Context) -> int:
    return number + len(ctx.output(mapped))


@step
async def refused(refusal: Rejected) -> int:
    return -1


@step
async def price(number: int) -> Euro:
    return Euro(number)


@step
async def row(number: int) -> Row:
    return {"number": number}


@step
async def unrow(row: Row) -> int:
    return row["number"]


@step
async def point(number: int) -> Point:
    return Point(number, number)


@step
async def unpoint(point: Point) -> int:
    return point.x + point.y


@step
async def hold(number: int) -> Again:
    return Again(number=number)


@step
async def numbered(value: Numbered) -> int:
    return value.number


@step
async def anything(value: Any) -> Any:
    return value


@step
async def how(number: int) -> Literal["odd", "even"]:
    return "odd" if number % 2 else "even"


@step
async def run_of(numbers: Sequence[int]) -> tuple[int, ...]:
    return tuple(numbers)


@step
async def nothing(number: int) -> None:
    return None


@step
async def from_nothing(value: None) -> int:
    return 7


@step
async def lists(number: int) -> list[int] | list[str]:
    return [number] if number % 2 else [str(number)]


@step
async def count_texts(texts: list[str]) -> int:
    return -len(texts)


@step
async def three_cases(number: int) -> int | str | Again:
    return (number, f"{number}", Again(number=number))[number % 3]


mapped = each(two, name="mapped", parallel=3)
inner = Workflow("inner", start=one, end=plus, edges=[one >> gather(two, three) >> plus])
looping = Workflow(
    "looping",
    start=climb,
    end=last,
    edges=[climb.on(Again, at_most=9) >> opened >> climb, climb.on(int) >> last],
)
deep = Workflow("deep", start=spread, end=total, edges=[spread >> each(looping, parallel=2) >> total])
leaving = Workflow(
    "leaving",
    start=one,
    end=last,
    edges=[
        one >> gather(grade.on(int), two) >> plus >> last,
        grade.on(str) >> measure >> last,
    ],
)
approve = Approval("approve", of=int, prompt="Good?")
pause = Wait("pause", of=int, seconds=0)


class Sound(NamedTuple):
    """A graph, an input, and what it gives."""

    build: Callable[[], Workflow[Any, Any]]
    value: Any
    output: Any


def _alone() -> Workflow[int, int]:
    return Workflow("alone", start=one, end=one)


def _line() -> Workflow[int, int]:
    return Workflow("line", start=one, end=three, edges=[one >> two >> three])


def _map() -> Workflow[int, int]:
    return Workflow("map", start=spread, end=total, edges=[spread >> each(two, parallel=2) >> total])


def _starts_with_a_map() -> Workflow[Sequence[int], int]:
    twos = each(two)
    return Workflow("starts_with_a_map", start=twos, end=total, edges=[twos >> total])


def _two_maps() -> Workflow[int, int]:
    edges: Edges = [spread >> each(two) >> each(three, at_most=9) >> total]
    return Workflow("two_maps", start=spread, end=total, edges=edges)


def _join() -> Workflow[int, int]:
    return Workflow("join", start=one, end=add, edges=[one >> gather(two, three) >> add])


def _join_of_three() -> Workflow[int, int]:
    edges: Edges = [one >> gather(two, three, four) >> add_three]
    return Workflow("join_of_three", start=one, end=add_three, edges=edges)


def _join_of_four() -> Workflow[int, tuple[int, int, int, int]]:
    join = gather(two, three, four, five)
    return Workflow("join_of_four", start=one, end=join, edges=[one >> join])


def _join_of_five() -> Workflow[int, int]:
    branches = gather(two, three, four, five, last)
    return Workflow("join_of_five", start=one, end=add_five, edges=[one >> branches >> add_five])


def _long_branches() -> Workflow[int, int]:
    edges: Edges = [one >> gather(two >> three, four) >> add]
    return Workflow("long_branches", start=one, end=add, edges=edges)


def _fan_out() -> Workflow[int, int]:
    edges: Edges = [one >> two, one >> three, gather(two, three) >> add]
    return Workflow("fan_out", start=one, end=add, edges=edges)


def _join_of_joins() -> Workflow[int, int]:
    edges: Edges = [one >> gather(gather(two, three), four) >> add_nested]
    return Workflow("join_of_joins", start=one, end=add_nested, edges=edges)


def _staggered() -> Workflow[int, int]:
    edges: Edges = [
        one >> two,
        one >> three,
        one >> four,
        gather(two, three) >> plus,
        gather(plus, four) >> add,
    ]
    return Workflow("staggered", start=one, end=add, edges=edges)


def _crossed() -> Workflow[int, int]:
    edges: Edges = [
        one >> gather(two, three) >> plus,
        one >> gather(three, four) >> minus,
        gather(plus, minus) >> add,
    ]
    return Workflow("crossed", start=one, end=add, edges=edges)


def _join_after_join() -> Workflow[int, int]:
    edges: Edges = [one >> gather(two, three) >> plus >> gather(four, five) >> add]
    return Workflow("join_after_join", start=one, end=add, edges=edges)


def _join_to_join() -> Workflow[int, int]:
    edges: Edges = [one >> gather(two, three) >> gather(plus, minus) >> add]
    return Workflow("join_to_join", start=one, end=add, edges=edges)


def _ends_in_join() -> Workflow[int, tuple[int, int]]:
    return Workflow("ends_in_join", start=one, end=gather(two, three), edges=[one >> gather(two, three)])


def _cases_meet() -> Workflow[int, int]:
    edges: Edges = [grade.on(int) >> last, grade.on(str) >> measure >> last]
    return Workflow("cases_meet", start=grade, end=last, edges=edges)


def _three_cases() -> Workflow[int, int]:
    edges: Edges = [
        three_cases.on(int) >> last,
        three_cases.on(str) >> measure >> last,
        three_cases.on(Again) >> opened >> last,
    ]
    return Workflow("three_cases", start=three_cases, end=last, edges=edges)


def _case_to_join() -> Workflow[int, int]:
    edges: Edges = [grade.on(int) >> gather(two, three) >> plus >> last, grade.on(str) >> measure >> last]
    return Workflow("case_to_join", start=grade, end=last, edges=edges)


def _joins_by_case() -> Workflow[int, int]:
    edges: Edges = [
        one >> grade,
        one >> two,
        one >> three,
        gather(two, grade.on(int)) >> plus >> last,
        gather(grade.on(str) >> measure, three) >> minus >> last,
    ]
    return Workflow("joins_by_case", start=one, end=last, edges=edges)


def _leaves_the_join() -> Workflow[int, int]:
    return leaving


def _loop() -> Workflow[int, int]:
    edges: Edges = [small.on(Again, at_most=3) >> opened >> small, small.on(int) >> last]
    return Workflow("loop", start=small, end=last, edges=edges)


def _ends_in_a_case() -> Workflow[int, int]:
    edges: Edges = [small.on(Again, at_most=3) >> opened >> small]
    return Workflow("ends_in_a_case", start=small, end=small.on(int), edges=edges)


def _loop_around_join() -> Workflow[int, int]:
    edges: Edges = [
        one >> gather(two, three) >> judge,
        judge.on(Again, at_most=9) >> opened >> one,
        judge.on(int) >> last,
    ]
    return Workflow("loop_around_join", start=one, end=last, edges=edges)


def _loop_in_branch() -> Workflow[int, int]:
    edges: Edges = [one >> gather(small.on(int), three) >> add, small.on(Again, at_most=9) >> opened >> small]
    return Workflow("loop_in_branch", start=one, end=add, edges=edges)


def _nested_loops() -> Workflow[int, int]:
    edges: Edges = [
        one >> small,
        small.on(Again, at_most=50) >> opened >> small,
        small.on(int) >> two >> outer_judge,
        outer_judge.on(Again, at_most=30) >> reopened >> one,
        outer_judge.on(int) >> last,
    ]
    return Workflow("nested_loops", start=one, end=last, edges=edges)


def _sub() -> Workflow[int, int]:
    return Workflow("sub", start=spread, end=total, edges=[spread >> each(inner) >> total])


def _sub_in_line() -> Workflow[int, int]:
    return Workflow("sub_in_line", start=last, end=two, edges=[last >> inner >> two])


def _sub_in_join() -> Workflow[int, int]:
    return Workflow("sub_in_join", start=last, end=add, edges=[last >> gather(inner, looping) >> add])


def _sub_in_map_in_loop() -> Workflow[int, int]:
    edges: Edges = [
        one >> deep >> outer_judge,
        outer_judge.on(Again, at_most=40) >> opened >> one,
        outer_judge.on(int) >> last,
    ]
    return Workflow("sub_in_map_in_loop", start=one, end=last, edges=edges)


def _sub_that_leaves_its_join() -> Workflow[int, int]:
    return Workflow("sub_that_leaves", start=spread, end=total, edges=[spread >> each(leaving) >> total])


def _reads_over_a_join() -> Workflow[int, int]:
    edges: Edges = [last >> gather(one >> four, two >> five) >> plus >> recall]
    return Workflow("reads_over_a_join", start=last, end=recall, edges=edges)


def _reads_a_map() -> Workflow[int, int]:
    edges: Edges = [spread >> mapped >> total >> recall_map]
    return Workflow("reads_a_map", start=spread, end=recall_map, edges=edges)


def _waits() -> Workflow[int, int]:
    return Workflow("waits", start=one, end=two, edges=[one >> pause >> two])


def _maps_waits() -> Workflow[int, int]:
    return Workflow("maps_waits", start=spread, end=total, edges=[spread >> each(pause) >> total])


def _approved() -> Workflow[int, int]:
    edges: Edges = [one >> approve >> two >> last, approve.on(Rejected) >> refused >> last]
    return Workflow("approved", start=one, end=last, edges=edges)


def _approved_by_case() -> Workflow[int, int]:
    edges: Edges = [one >> approve, approve.on(int) >> two >> last, approve.on(Rejected) >> refused >> last]
    return Workflow("approved_by_case", start=one, end=last, edges=edges)


def _approved_items() -> Workflow[int, int]:
    return Workflow("approved_items", start=spread, end=total, edges=[spread >> each(approve) >> total])


def _new_type() -> Workflow[int, int]:
    return Workflow("new_type", start=price, end=one, edges=[price >> one])


def _typed_dict() -> Workflow[int, int]:
    return Workflow("typed_dict", start=row, end=unrow, edges=[row >> unrow])


def _named_tuple() -> Workflow[int, int]:
    return Workflow("named_tuple", start=point, end=unpoint, edges=[point >> unpoint])


def _protocol() -> Workflow[int, int]:
    return Workflow("protocol", start=hold, end=numbered, edges=[hold >> numbered])


def _any() -> Workflow[int, Any]:
    return Workflow("any", start=one, end=anything, edges=[one >> anything])


def _literal() -> Workflow[int, int]:
    return Workflow("literal", start=how, end=measure, edges=[how >> measure])


def _sequences() -> Workflow[int, int]:
    edges: Edges = [spread >> run_of >> each(two) >> total]
    return Workflow("sequences", start=spread, end=total, edges=edges)


def _none() -> Workflow[int, int]:
    return Workflow("none", start=nothing, end=from_nothing, edges=[nothing >> from_nothing])


def _cases_of_lists() -> Workflow[int, int]:
    edges: Edges = [lists.on(list[int]) >> total >> last, lists.on(list[str]) >> count_texts >> last]
    return Workflow("cases_of_lists", start=lists, end=last, edges=edges)


SOUND: dict[str, Sound] = {
    "alone": Sound(_alone, 1, 2),
    "line": Sound(_line, 1, 7),
    "map": Sound(_map, 5, 20),
    "map of none": Sound(_map, 0, 0),
    "starts with a map": Sound(_starts_with_a_map, [1, 2], 7),
    "two maps": Sound(_two_maps, 3, 18),
    "join": Sound(_join, 1, 45),
    "join of three": Sound(_join_of_three, 1, 15),
    "join of four": Sound(_join_of_four, 1, (4, 5, 6, 7)),
    "join of five": Sound(_join_of_five, 1, 24),
    "long branches": Sound(_long_branches, 1, 76),
    "fan-out": Sound(_fan_out, 1, 45),
    "join of joins": Sound(_join_of_joins, 1, 456),
    "staggered joins": Sound(_staggered, 1, 96),
    "crossed joins": Sound(_crossed, 1, 89),
    "join after join": Sound(_join_after_join, 0, 122),
    "join to join": Sound(_join_to_join, 1, 89),
    "ends in a join": Sound(_ends_in_join, 1, (4, 5)),
    "cases meet, odd": Sound(_cases_meet, 3, 3),
    "cases meet, even": Sound(_cases_meet, 4, 6),
    "three cases": Sound(_three_cases, 5, 5),
    "case to a join": Sound(_case_to_join, 3, 11),
    "joins by case, odd": Sound(_joins_by_case, 2, 8),
    "joins by case, even": Sound(_joins_by_case, 3, -1),
    "leaves the join": Sound(_leaves_the_join, 1, 6),
    "does not leave the join": Sound(_leaves_the_join, 2, 8),
    "loop": Sound(_loop, 1, 13),
    "ends in a case": Sound(_ends_in_a_case, 1, 13),
    "loop around a join": Sound(_loop_around_join, 1, 21),
    "loop in a branch": Sound(_loop_in_branch, 1, 105),
    "nested loops": Sound(_nested_loops, 1, 63),
    "sub-workflow in a map": Sound(_sub, 3, 27),
    "sub-workflow in line": Sound(_sub_in_line, 1, 11),
    "sub-workflow in a join": Sound(_sub_in_join, 1, 96),
    "sub-workflow in a map in a loop": Sound(_sub_in_map_in_loop, 0, 924),
    "sub-workflow that leaves its join": Sound(_sub_that_leaves_its_join, 4, 24),
    "reads over a join": Sound(_reads_over_a_join, 1, 14203),
    "reads a map": Sound(_reads_a_map, 3, 12),
    "wait": Sound(_waits, 1, 4),
    "map of waits": Sound(_maps_waits, 4, 6),
    "approval": Sound(_approved, 1, 4),
    "approval by case": Sound(_approved_by_case, 1, 4),
    "approval of items": Sound(_approved_items, 3, 3),
    "new type": Sound(_new_type, 1, 2),
    "typed dict": Sound(_typed_dict, 1, 1),
    "named tuple": Sound(_named_tuple, 1, 2),
    "protocol": Sound(_protocol, 1, 1),
    "any": Sound(_any, 1, 2),
    "literal": Sound(_literal, 1, 3),
    "sequences": Sound(_sequences, 3, 9),
    "none": Sound(_none, 1, 7),
    "cases of lists, odd": Sound(_cases_of_lists, 3, 3),
    "cases of lists, even": Sound(_cases_of_lists, 4, -1),
}
