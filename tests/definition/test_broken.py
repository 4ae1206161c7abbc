"""A corpus of broken graphs: all that is wrong is said, where it is, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, cast

import pytest

from agentflow import Context, DefinitionError, Workflow, gather, step
from agentflow.exceptions import Problem
from agentflow.path import Step
from tests.definition import broken, sound, stock
from tests.definition.broken import ONE, SEVERAL
from tests.definition.said import SAID
from tests.definition.sound import Again, Edges, grade, last, measure, one, opened, small, two

ALL = {**ONE, **SEVERAL}
PLACE = re.compile(r" \((?P<file>[^()]+):(?P<line>\d+)\)$")


def said(build: Callable[[], object]) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as refused:
        build()

    return refused.value.problems


def codes(build: Callable[[], object]) -> set[str]:
    return {problem.code for problem in said(build)}


def lines_of(code: CodeType) -> Iterator[int]:
    yield from (line for *_, line in code.co_lines() if line is not None)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from lines_of(constant)


def places(name: str) -> set[str]:
    """Where the steps of a name are written in the modules that the corpus is made of."""
    known: list[Any] = [thing for module in (broken, sound, stock) for thing in vars(module).values()]
    return {str(thing.place) for thing in known if isinstance(thing, Step) and thing.name == name}


@pytest.mark.parametrize("name", ALL)
def test_exactly_what_is_wrong_is_said(name: str) -> None:
    """Each problem of a broken graph is found, at its step, edge or workflow, and no other."""
    found = [f"{p.code} {PLACE.sub('', p.where).replace('`', '')}" for p in said(ALL[name])]

    assert sorted(found) == SAID[name]


@pytest.mark.parametrize("name", ALL)
def test_a_problem_has_the_line_of_what_is_wrong(name: str) -> None:
    """The line is that of the step, or one of the definition for edges, workflows and what is made in it."""
    build = ALL[name]
    for problem in said(build):
        match = PLACE.search(problem.where)
        assert match, problem.where
        step_ = re.match(r"step `(.+)` \(", problem.where)
        here = match["file"] == broken.__file__ and int(match["line"]) in {
            *lines_of(cast("FunctionType", build).__code__),
            1,
        }
        helper = match["file"] == broken.__file__ and match["line"] in _helper_lines()
        assert here or helper or (step_ and match[0][2:-1] in places(step_[1])), problem.where


def _helper_lines() -> set[str]:
    """The lines of functions of the corpus that make a step or a workflow for others."""
    makers = (broken.join, broken.renamed, broken._spec)
    return {str(line) for maker in makers for line in lines_of(maker.__code__)}


def test_the_corpus_is_broad() -> None:
    """There are at least sixty graphs with one fault, twelve with several, and each code of the graph is among them."""
    assert len(ONE) >= 60
    assert len([name for name in SEVERAL if len(SAID[name]) > 1]) >= 12
    among = {line.partition(" ")[0] for lines in SAID.values() for line in lines}
    assert among == {f"AF{n}" for n in range(101, 118)}


def test_an_orphan_is_refused() -> None:
    """Defect 1 of seven: a step that nothing leads to."""
    assert codes(ONE["orphan"]) == {"AF102"}


def test_a_dead_end_is_refused() -> None:
    """Defect 2: a step from which no edge leads on to the end."""
    assert codes(ONE["dead end of a fan-out"]) == {"AF103"}


def test_an_endless_loop_is_refused() -> None:
    """Defect 3: a circle that is always followed, without a bound and without a way out."""
    assert "AF104" in codes(
        lambda: Workflow("w", start=one, end=last, edges=[one >> two >> one, two >> last])
    )


def test_a_text_for_a_number_is_refused() -> None:
    """Defect 4: an edge from a step that gives text to one that takes a whole number."""
    assert codes(ONE["text for a number"]) == {"AF107"}


def test_a_read_of_what_nobody_wrote_is_refused() -> None:
    """Defect 5: a step reads an output that is not there on every path."""
    assert codes(ONE["read of what comes later"]) == {"AF110"}


def test_two_writers_at_once_are_refused() -> None:
    """Defect 6: two parallel branches give their values to one place."""
    assert codes(ONE["branches without a join"]) == {"AF109"}


def test_a_route_that_nobody_listens_to_is_refused() -> None:
    """Defect 7: an output's case that no edge takes, and an edge for a case that is never produced."""
    assert codes(ONE["a route nobody takes"]) == {"AF106"}
    assert codes(ONE["a case never produced"]) == {"AF105"}


def test_a_value_that_nobody_declared_cannot_be_written() -> None:
    """What peers lose in silence, a value under a misspelt name, has no place: values go along typed edges only."""
    with pytest.raises(TypeError):
        Again(nubmer=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_names_that_clash_hide_nothing_else() -> None:
    """With two steps of a name, all that does not hang on them is said as well."""
    assert codes(SEVERAL["names and types"]) == {"AF107", "AF112"}
    assert codes(SEVERAL["names and orphans"]) == {"AF102", "AF112"}


def test_reads_by_a_local_name_are_left_to_the_run() -> None:
    """`for step in ...: ctx.output(step)` reads what only a run knows: it is no problem."""

    @step
    async def sum_up(number: int, ctx: Context) -> int:
        for earlier in (one, two):
            number += ctx.output(earlier)

        return number

    assert Workflow("w", start=one, end=sum_up, edges=[one >> two >> sum_up])


def test_a_join_that_may_wait_for_ever_is_warned_of() -> None:
    """Where two steps each choose, and a join needs one choice of both, the check says which choices stall it."""
    edges: Edges = [
        one >> grade,
        one >> small,
        gather(grade.on(int), small.on(int)) >> sound.plus >> last,
        gather(grade.on(str) >> measure, small.on(Again) >> opened) >> sound.minus >> last,
    ]
    (found,) = Workflow("w", start=one, end=last, edges=edges).warnings()

    assert (found.code, found.severity) == ("AF152", "warning")
    assert "`grade` gives" in found.what
    assert "`small` gives" in found.what


def test_a_join_with_one_choice_is_no_warning() -> None:
    """A branch that leaves a join by a way of its own, to the end, does not stall it."""
    assert sound.leaving.warnings() == []
