"""What `>>`, `.on`, `each` and `gather` build."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentflow import (
    Approval,
    Context,
    DefinitionError,
    Rejected,
    Retry,
    Wait,
    Workflow,
    each,
    gather,
    run,
    step,
)
from agentflow.spec import EdgeSpec, MapSpec
from agentflow.typeref import type_name
from tests.definition import sound, stock
from tests.definition.sound import add, add_five, five, four, last, one, small, spread, three, total, two


def edges(workflow: Workflow[Any, Any]) -> list[str]:
    """The edges of a workflow as text, in order."""
    return [_edge(edge) for edge in workflow.spec.edges]


def _edge(edge: EdgeSpec) -> str:
    case = f".on({edge.on.rpartition(':')[2]})" if edge.on else ""
    slot = f" [{edge.slot}]" if edge.slot is not None else ""
    bound = f" at most {edge.at_most}" if edge.at_most else ""
    return f"{edge.source}{case} -> {edge.target}{slot}{bound}"


def test_a_chain_is_edges_in_the_order_written() -> None:
    """`a >> b >> c` is two edges, and a step that is named twice is one step."""
    workflow = Workflow("w", start=one, end=three, edges=[one >> two, two >> three, one >> two])

    assert edges(workflow) == ["one -> two", "two -> three"]
    assert [s.id for s in workflow.spec.steps] == ["one", "two", "three"]


def test_a_long_chain_needs_no_recursion() -> None:
    """A chain of five thousand steps, written as one expression, is built."""
    links = [stock.double]
    path: Any = one
    for number in range(5000):
        link = type(links[0])(sound.two.function)
        link.name = f"s{number}"
        path = path >> link

    assert len(Workflow("long", start=one, end=path, edges=[]).spec.edges) == 5000


async def test_one_function_may_stand_in_several_places() -> None:
    """A step under another name does the same work, with the same limits, and is another step of the graph."""
    again = two.named("again")
    workflow = Workflow("w", start=two, end=three, edges=[two >> again >> three])

    assert await run(workflow, 1) == 8
    assert (two.name, again.name, again.function) == ("two", "again", two.function)
    assert stock.double.named("twice").step_spec() == replace(stock.double.step_spec(), id="twice")


def test_a_case_and_its_bound_stand_on_the_edge() -> None:
    """`.on(Type, at_most)` puts the case and the bound on the next edge alone."""
    workflow = Workflow(
        "w",
        start=small,
        end=last,
        edges=[small.on(sound.Again, at_most=3) >> sound.opened >> small, small.on(int) >> last],
    )

    assert edges(workflow) == [
        "small.on(Again) -> opened at most 3",
        "opened -> small",
        "small.on(int) -> last",
    ]


def test_each_is_a_step_with_limits_of_its_own() -> None:
    """`each` keeps the body's types and limits and adds how many run at once and in all."""
    mapped = each(stock.double, parallel=3, at_most=7, name="doubles")
    spec = mapped.step_spec()

    assert (spec.id, spec.map) == ("doubles", MapSpec(parallel=3, at_most=7))
    assert (spec.takes, spec.gives, spec.call) == ("int", "int", "tests.definition.stock:double")
    assert (spec.timeout, spec.retry) == (5, Retry(times=1))
    assert (type_name(mapped.takes), type_name(mapped.gives)) == (
        "collections.abc:Sequence[int]",
        "list[int]",
    )


def test_each_of_each_is_refused() -> None:
    """A map of a map would lose the inner one, so it is refused with a way to write it."""
    with pytest.raises(DefinitionError, match=r"AF108.*`each\(two\)`[\s\S]*Workflow"):
        each(each(two))


def test_each_of_a_path_is_refused() -> None:
    """`each` takes one step; a stretch of steps is made a workflow first."""
    paths: Any = one >> two
    with pytest.raises(DefinitionError, match=r"AF108[\s\S]*Workflow"):
        each(paths)

    joined: Any = gather(one, two)
    with pytest.raises(DefinitionError, match=r"AF108[\s\S]*Workflow"):
        each(joined)


def test_gather_joins_and_fans_out() -> None:
    """`a >> gather(b, c) >> d` leads from `a` to each branch, and from each branch into its slot."""
    workflow = Workflow("w", start=one, end=add, edges=[one >> gather(two, three) >> add])

    assert edges(workflow) == [
        "one -> two",
        "one -> three",
        "gather(two, three) -> add",
        "two -> gather(two, three) [0]",
        "three -> gather(two, three) [1]",
    ] or set(edges(workflow)) == {
        "one -> two",
        "one -> three",
        "two -> gather(two, three) [0]",
        "three -> gather(two, three) [1]",
        "gather(two, three) -> add",
    }


def test_gather_as_a_join_alone() -> None:
    """`gather(b, c) >> d` beside `a >> b` and `a >> c` is the same graph as the fan-out."""
    written = Workflow("w", start=one, end=add, edges=[one >> two, one >> three, gather(two, three) >> add])
    fanned = Workflow("w", start=one, end=add, edges=[one >> gather(two, three) >> add])

    assert set(written.spec.edges) == set(fanned.spec.edges)
    assert {s.id for s in written.spec.steps} == {s.id for s in fanned.spec.steps}


def test_gather_of_five() -> None:
    """Five branches fill five slots, in the order written."""
    workflow = Workflow(
        "w", start=one, end=add_five, edges=[one >> gather(five, four, three, two, last) >> add_five]
    )
    slots = {e.slot: e.source for e in workflow.spec.edges if e.slot is not None}

    assert slots == {0: "five", 1: "four", 2: "three", 3: "two", 4: "last"}


def test_the_name_of_a_gather_does_not_grow_with_its_branches() -> None:
    """Each edge into a gather holds its name: of many branches the number is said, with what tells them from others."""
    branches = [one.named(f"branch{n}") for n in range(300)]
    many: Any = gather
    joined, fewer = many(*branches), many(*branches[:299])

    assert joined.name.startswith("gather(branch0, branch1, ")
    assert joined.name.endswith(")")
    assert "300 branches" in joined.name
    assert len(joined.name) < 150
    assert joined.name == many(*branches).name != fewer.name != many(*branches[1:]).name
    assert many(*branches[:3]).name == "gather(branch0, branch1, branch2)"


def test_a_branch_of_a_gather_may_be_a_case_with_a_bound() -> None:
    """The case and the bound of a branch stand on its edge into the join."""
    workflow = Workflow(
        "w",
        start=one,
        end=last,
        edges=[
            one >> gather(small.on(int, at_most=4), two) >> sound.plus >> last,
            small.on(sound.Again) >> sound.opened >> last,
        ],
    )

    assert [_edge(e) for e in workflow.spec.edges if e.slot == 0] == [
        "small.on(int) -> gather(small.on(int), two) [0] at most 4"
    ]


def test_gathers_of_other_cases_are_other_joins() -> None:
    """Two joins of the same steps by different cases are two steps, not one."""
    ints, texts = gather(sound.grade.on(int), two), gather(sound.grade.on(str), two)
    names = {path.exit().step.name for path in (ints, texts)}

    assert names == {"gather(grade.on(int), two)", "gather(grade.on(str), two)"}


def test_a_path_ends_where_its_last_step_ends() -> None:
    """`start` and `end` may be paths: their edges count, and an end that is a case gives that case."""
    workflow = Workflow(
        "w",
        start=one >> small,
        end=small.on(int),
        edges=[small.on(sound.Again, at_most=2) >> sound.opened >> small],
    )

    assert (workflow.spec.start, workflow.spec.end) == ("one", "small")
    assert (workflow.spec.takes, workflow.spec.gives) == ("int", "int")


def test_a_workflow_is_a_step() -> None:
    """A workflow in the edges of another is one step with its whole spec inside."""
    outer = Workflow("outer", start=last, end=two, edges=[last >> sound.inner >> two])
    inner = outer.spec.step("inner")

    assert (inner.kind, inner.workflow, inner.takes, inner.gives) == (
        "workflow",
        sound.inner.spec,
        "int",
        "int",
    )
    assert dict(outer.children()) == {"inner": sound.inner}


def test_a_workflow_may_stand_in_each() -> None:
    """A workflow is mapped like any other step."""
    workflow = Workflow("w", start=spread, end=total, edges=[spread >> each(sound.inner, at_most=5) >> total])

    assert workflow.spec.step("inner").map == MapSpec(at_most=5)
    assert [name for name, _ in workflow.children()] == ["inner"]


def test_every_kind_of_step_says_what_it_is() -> None:
    """Function, planner, agent, approval, wait, workflow and gather are told apart in the spec."""
    kinds = {
        s.step_spec().kind
        for s in (
            one,
            stock.find,
            stock.compose,
            stock.approve,
            stock.pause,
            sound.inner,
            gather(one, two).exit().step,
        )
    }

    assert kinds == {"function", "planner", "agent", "approval", "wait", "workflow", "gather"}


def test_what_a_step_was_given_stands_in_its_options() -> None:
    """Prompts, tools and bounds of planners and agents, and what is asked and waited, are in the spec."""
    assert stock.find.step_spec().options == {
        "tools": ["tests.definition.stock:look"],
        "max_calls": 3,
        "max_rounds": 2,
    }
    assert stock.compose.step_spec().options["prompt"] == "Write from {notes}."
    assert stock.compose.step_spec().options["max_turns"] == 4
    assert stock.approve.step_spec().options == {"prompt": "Publish this?"}
    assert stock.pause.step_spec().options == {"seconds": 2}
    assert Approval("sign", of=int).step_spec().options == {"prompt": "Approve `sign`?"}


def test_a_step_is_called_like_the_function_it_was() -> None:
    """A decorated function keeps its docstring, and says where it was written."""

    @step
    async def documented(number: int) -> int:
        """What it does."""
        return number

    assert documented.__doc__ == "What it does."
    assert repr(documented) == "<FunctionStep documented>"
    assert str(documented.place).startswith(f"{__file__}:")


async def test_a_step_can_be_called_in_a_unit_test() -> None:
    """Calling a step calls its function, async or plain, and outside of any run."""
    assert await one(1) == 2
    assert await three(1) == 4


def test_a_wait_and_an_approval_pass_on_what_they_take() -> None:
    """Both take and give the type that they are `of`."""
    wait, approval = Wait("w", of=str, seconds=1), Approval("a", of=list[int])

    assert (wait.takes, wait.gives, approval.takes, approval.gives) == (str, str, list[int], list[int])


def test_reads_are_found_in_the_source() -> None:
    """`ctx.output(step)` is seen by the step's own name, not the variable's, also where it is defined later."""

    @step
    async def early(number: int, ctx: Context) -> int:
        return number + ctx.output(later_variable)

    @step
    async def later(number: int) -> int:
        return number

    later_variable = later

    assert early.step_spec().reads == ("later",)
    assert each(early).step_spec().reads == ("later",)


def test_rejected_is_public() -> None:
    """The case of a refusal is a type like any other."""
    assert type_name(Rejected) == "agentflow.steps.approval:Rejected"
