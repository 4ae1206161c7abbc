"""What is wrong with a definition is said at once: a code, what, where with file and line, and a hint."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentflow import (
    Agent,
    Approval,
    Budget,
    Context,
    DefinitionError,
    Planner,
    Rejected,
    Retry,
    Wait,
    Workflow,
    each,
    gather,
    step,
)
from agentflow.exceptions import Problem
from agentflow.path import Place
from agentflow.spec import WorkflowSpec
from tests.definition import stock
from tests.definition.sound import (
    Again,
    Edges,
    add,
    climb,
    five,
    four,
    grade,
    inner,
    last,
    mapped,
    measure,
    minus,
    one,
    opened,
    plus,
    recall,
    recall_map,
    small,
    spread,
    three,
    total,
    two,
)

Build = Callable[[], object]
HERE = re.compile(re.escape(__file__) + r":\d+")


@step
async def reads_items(number: int, ctx: Context) -> int:
    return ctx.output(two)


@step(timeout=-1)
async def hasty(number: int) -> int:
    return number


@step(retries=Retry(times=-1))
async def stubborn(number: int) -> int:
    return number


@step(retries=Retry(times=1, jitter=2))
async def jittery(number: int) -> int:
    return number


def problems(build: Build) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as refused:
        build()

    return refused.value.problems


def _no_start() -> object:
    spec = WorkflowSpec(name="w", start="nowhere", end="gone")
    return Workflow.of_steps(spec, {"one": one}, Place("w.yaml", 1))


def _unreachable() -> object:
    return Workflow("w", start=one, end=three, edges=[one >> three, two >> three])


def _dead_end() -> object:
    return Workflow("w", start=grade, end=last, edges=[grade.on(int) >> last, grade.on(str) >> measure])


def _unbounded() -> object:
    return Workflow(
        "w", start=small, end=last, edges=[small.on(Again) >> opened >> small, small.on(int) >> last]
    )


def _never_produced() -> object:
    return Workflow("w", start=one, end=last, edges=[one.on(str) >> measure >> last, one.on(int) >> last])


def _never_rejected() -> object:
    edges: Edges = [
        spread >> (signed := each(Approval("sign", of=int))),
        signed.on(Rejected) >> stock.shelve,
        signed.on(list[int]) >> total,
    ]
    return Workflow("w", start=spread, end=total, edges=[*edges, stock.shelve >> measure >> spread])


def _unhandled() -> object:
    return Workflow("w", start=small, end=last, edges=[small.on(int) >> last])


def _unhandled_end() -> object:
    return Workflow("w", start=small, end=small.on(int))


def _only_rejected() -> object:
    sign = Approval("sign", of=stock.Draft)
    return Workflow("w", start=sign, end=stock.shelve, edges=[sign.on(Rejected) >> stock.shelve])


def _wrong_type() -> object:
    path: Any = measure
    return Workflow("w", start=one, end=measure, edges=[one >> path])


def _unnarrowed() -> object:
    path: Any = last
    return Workflow("w", start=small, end=last, edges=[small >> path])


def _list_to_one() -> object:
    path: Any = last
    return Workflow("w", start=spread, end=last, edges=[spread >> path])


def _wrong_items() -> object:
    path: Any = each(measure)
    return Workflow("w", start=spread, end=total, edges=[spread >> path >> total])


def _wrong_spec_types() -> object:
    spec = WorkflowSpec(
        name="w", start="one", end="one", takes="str", gives="float | str", steps=(one.step_spec(),)
    )
    return Workflow.of_steps(spec, {"one": one}, Place("w.yaml", 1))


def _not_a_list() -> object:
    path: Any = each(two)
    return Workflow("w", start=one, end=total, edges=[one >> path >> total])


def _text_is_no_list() -> object:
    path: Any = each(measure)
    return Workflow("w", start=stock.say, end=total, edges=[stock.say >> path >> total])


def _parallel_meet() -> object:
    return Workflow("w", start=one, end=last, edges=[one >> two >> last, one >> three >> last])


def _parallel_cases_meet() -> object:
    edges: Edges = [
        grade.on(int) >> two >> last,
        grade.on(int) >> three >> last,
        grade.on(str) >> measure >> last,
    ]
    return Workflow("w", start=grade, end=last, edges=edges)


def _case_beside_always() -> object:
    edges: Edges = [one >> two >> last, one.on(int) >> three >> last]
    return Workflow("w", start=one, end=last, edges=edges)


def _meet_behind_a_join() -> object:
    edges: Edges = [one >> gather(two, three) >> plus >> last, one >> four >> last]
    return Workflow("w", start=one, end=last, edges=edges)


def _meet_behind_two_joins() -> object:
    edges: Edges = [
        one >> gather(two, three) >> plus >> last,
        one >> gather(three, four) >> minus >> last,
    ]
    return Workflow("w", start=one, end=last, edges=edges)


def _meet_behind_a_join_inside() -> object:
    edges: Edges = [one >> two >> gather(three, four) >> plus >> last, one >> five >> last]
    return Workflow("w", start=one, end=last, edges=edges)


def _branch_leads_back() -> object:
    edges: Edges = [one >> gather(small.on(int), three) >> add, small.on(Again, at_most=2) >> opened >> one]
    return Workflow("w", start=one, end=add, edges=edges)


def _reads_other_branch() -> object:
    edges: Edges = [grade.on(int) >> one >> two >> last >> recall, grade.on(str) >> measure >> last]
    return Workflow("w", start=grade, end=recall, edges=edges)


def _reads_no_step() -> object:
    return Workflow("w", start=last, end=recall_map, edges=[last >> recall_map])


def _reads_items() -> object:
    return Workflow("w", start=spread, end=reads_items, edges=[spread >> each(two) >> total >> reads_items])


def _bad_map() -> object:
    return Workflow("w", start=spread, end=total, edges=[spread >> each(two, parallel=0) >> total])


def _bad_timeout() -> object:
    return Workflow("w", start=hasty, end=hasty)


def _bad_retries() -> object:
    return Workflow("w", start=stubborn, end=jittery, edges=[stubborn >> jittery])


def _bad_planner() -> object:
    find = Planner("find", takes=str, gives=str, tools=[], max_calls=0, max_rounds=0)
    ask = Agent("ask", takes=str, gives=str, max_turns=-1)
    return Workflow("w", start=find, end=ask, edges=[find >> ask])


def _bad_loop() -> object:
    return Workflow(
        "w",
        start=climb,
        end=last,
        edges=[climb.on(Again, at_most=0) >> opened >> climb, climb.on(int) >> last],
    )


def _bad_wait() -> object:
    nap = Wait("nap", of=int, seconds=-1)
    return Workflow("w", start=nap, end=one, edges=[nap >> one])


def _bad_budget() -> object:
    return Workflow("w", start=one, end=one, budget=Budget(model_calls=-1))


def _two_of_a_name() -> object:
    other = Agent("one", takes=int, gives=int)
    return Workflow("w", start=one, end=last, edges=[one >> other >> last])


def _two_maps_of_a_step() -> object:
    return Workflow("w", start=spread, end=total, edges=[spread >> each(two) >> each(two) >> total])


def _bad_field() -> object:
    ask = Agent("ask", takes=stock.Notes, gives=str, prompt="Write about {topic}.")
    return Workflow("w", start=ask, end=ask)


def _bad_field_of_text() -> object:
    ask = Planner("ask", takes=str, gives=str, tools=[], prompt="Look for {question}.")
    return Workflow("w", start=ask, end=ask)


PROBLEMS: list[tuple[Build, str, str, str, str]] = [
    (_no_start, "AF101", "its start `nowhere` is not one of its steps", "workflow `w`", "stands in `edges`"),
    (_unreachable, "AF102", "nothing leads to it", "step `two`", "that `one` leads to"),
    (_dead_end, "AF103", "does not lead to the end `last`", "step `measure`", "make it the `end`"),
    (_unbounded, "AF104", "the cycle small -> opened -> small has no bound", "step `small`", "at_most=3"),
    (
        _never_produced,
        "AF105",
        "the case `str` is never produced",
        "edge `one`.on(str) -> `measure`",
        "gives `int`",
    ),
    (
        _never_rejected,
        "AF105",
        "the case `Rejected` is never produced",
        "edge `sign`.on(Rejected)",
        "gives `list[int]`",
    ),
    (_unhandled, "AF106", "its case `Again` is never handled", "step `small`", "`small.on(Again) >> ...`"),
    (
        _unhandled_end,
        "AF106",
        "its case `Again` is never handled",
        "step `small`",
        "`small.on(Again) >> ...`",
    ),
    (_only_rejected, "AF106", "its case `Draft` is never handled", "step `sign`", "`sign.on(Draft) >> ...`"),
    (
        _wrong_type,
        "AF107",
        "`one` gives `int` and `measure` takes `str`",
        "edge `one` -> `measure`",
        "put a step between",
    ),
    (_unnarrowed, "AF107", "gives `int | Again`", "edge `small` -> `last`", "`small.on(int) >> last`"),
    (_list_to_one, "AF107", "gives `list[int]`", "edge `spread` -> `last`", "`spread >> each(last)`"),
    (
        _wrong_items,
        "AF107",
        "the items of `spread` are `int`",
        "edge `spread` -> `measure`",
        "put a step between",
    ),
    (
        _wrong_spec_types,
        "AF107",
        "its `takes` is `str` and `one` takes `int`",
        "workflow `w`",
        "`takes: int`",
    ),
    (_not_a_list, "AF108", "`each(two)` maps over a list", "edge `one` -> `two`", "give `list[int]`"),
    (_text_is_no_list, "AF108", "`say` gives `str`", "edge `say` -> `measure`", "leave `each` out"),
    (
        _parallel_meet,
        "AF109",
        "in parallel meet in it without a gather",
        "step `last`",
        "`gather(...) >> last`",
    ),
    (_parallel_cases_meet, "AF109", "in parallel", "step `last`", "`gather(...) >> last`"),
    (_case_beside_always, "AF109", "in parallel", "step `last`", "`gather(...) >> last`"),
    (_meet_behind_a_join, "AF109", "in parallel", "step `last`", "`gather(...) >> last`"),
    (_meet_behind_two_joins, "AF109", "in parallel", "step `last`", "`gather(...) >> last`"),
    (_meet_behind_a_join_inside, "AF109", "in parallel", "step `last`", "`gather(...) >> last`"),
    (_branch_leads_back, "AF109", "in parallel", "step `three`", "let no branch lead back"),
    (
        _reads_other_branch,
        "AF110",
        "does not come first on every path",
        "step `recall`",
        "make each path to `recall` pass",
    ),
    (
        _reads_no_step,
        "AF110",
        "`ctx.output(mapped)`, which is no step",
        "step `recall_map`",
        "name a step of it",
    ),
    (_reads_items, "AF110", "`two` runs for each item", "step `reads_items`", "`mapped = each(two)`"),
    (_bad_map, "AF111", "must be at least 1", "step `two`", "above 0"),
    (_bad_timeout, "AF111", "its timeout is -1 s", "step `hasty`", "above 0"),
    (_bad_retries, "AF111", "a number of its `retry` is below 0", "step `stubborn`", "above 0"),
    (_bad_planner, "AF111", "its `max_calls` is 0", "step `find`", "above 0"),
    (_bad_loop, "AF111", "`at_most` is 0", "edge `climb`.on(Again) -> `opened`", "at least 1"),
    (_bad_wait, "AF111", "it waits -1", "step `nap`", "above 0"),
    (_bad_budget, "AF111", "its budget of `model_calls` is below 0", "workflow `w`", "0 or more"),
    (_two_of_a_name, "AF112", "two steps have this name", "step `one`", "rename one"),
    (_two_maps_of_a_step, "AF112", "two steps have this name", "step `two`", "make it once"),
    (_bad_field, "AF113", "its prompt wants `{topic}`", "step `ask`", "fields are: notes"),
    (_bad_field_of_text, "AF113", "its prompt wants `{question}`", "step `ask`", "fields are: text"),
]


@pytest.mark.parametrize(
    ("build", "code", "what", "where", "hint"), PROBLEMS, ids=lambda v: getattr(v, "__name__", "")[1:]
)
def test_each_problem_says_what_where_and_a_hint(
    build: Build, code: str, what: str, where: str, hint: str
) -> None:
    """A problem has its code, says what is wrong, names the step or edge with file and line, and how to mend it."""
    found = problems(build)
    (first,) = [p for p in found if p.code == code][:1]

    assert what in first.what
    assert first.where.startswith(where)
    assert re.search(r"\.(py|yaml):\d+\)$", first.where), first.where
    assert hint in first.hint
    assert str(first).startswith(f"{code} {where}")


def test_each_code_has_an_example() -> None:
    """AF101 to AF113 all stand in the table above."""
    assert {code for _, code, *_ in PROBLEMS} == {f"AF{n}" for n in range(101, 114)}


@pytest.mark.parametrize(
    ("build", "codes"),
    [
        (_unreachable, ["AF102"]),
        (_unbounded, ["AF104"]),
        (_unhandled, ["AF106"]),
        (_parallel_meet, ["AF109"]),
        (_meet_behind_two_joins, ["AF109"]),
        (_bad_planner, ["AF111"] * 3),
        (_bad_retries, ["AF111"] * 2),
        (_reads_items, ["AF110"]),
        (_two_maps_of_a_step, ["AF112"]),
    ],
)
def test_one_fault_is_one_problem(build: Build, codes: list[str]) -> None:
    """A fault does not drag other problems along."""
    assert [p.code for p in problems(build)] == codes


def test_all_problems_are_said_at_once() -> None:
    """Faults of different kinds in one definition are all in one error, and all in its text."""
    wrong: Any = measure
    lost: Any = five

    def build() -> object:
        edges: Edges = [
            one >> wrong,
            small.on(Again) >> opened >> small,
            small.on(int) >> last,
            one >> small,
            lost >> last,
        ]
        return Workflow("w", start=one, end=last, edges=edges, budget=Budget(minutes=-1))

    found = problems(build)
    with pytest.raises(DefinitionError) as refused:
        build()

    assert {p.code for p in found} == {"AF102", "AF103", "AF104", "AF107", "AF111"}
    assert f"workflow `w` has {len(found)} problems:" in str(refused.value)
    assert all(str(p) in str(refused.value) for p in found)


def test_a_problem_is_where_the_step_was_written() -> None:
    """A step's problem points to the line of the step, an edge's to that of the workflow."""
    nap = Wait("nap", of=int, seconds=-1)
    line = nap.place.line
    (found,) = problems(lambda: Workflow("w", start=nap, end=nap))

    assert found.where == f"step `nap` ({__file__}:{line})"
    assert HERE.search(problems(_wrong_type)[0].where)


def test_a_workflow_inside_is_checked_on_its_own() -> None:
    """A sub-workflow is refused where it is made, before it is used."""
    with pytest.raises(DefinitionError, match="workflow `lost`"):
        Workflow(
            "outer", start=last, end=last, edges=[last >> Workflow("lost", start=one, end=two), inner >> last]
        )


def test_a_refused_approval_is_no_parallel_branch() -> None:
    """`approve >> a` beside `approve.on(Rejected) >> b` is one way or the other, so they may meet."""
    sign = Approval("sign", of=int)
    say_no = stock.shelve >> measure
    workflow = Workflow(
        "w", start=sign, end=last, edges=[sign >> two >> last, sign.on(Rejected) >> say_no >> last]
    )

    assert len(workflow.spec.edges) == 5


def test_mapped_steps_are_read_by_the_map() -> None:
    """Reading a map by its own handle is typed as a list, and is fine."""
    edges: Edges = [spread >> mapped >> total >> recall_map]

    assert Workflow("w", start=spread, end=recall_map, edges=edges).spec.step("recall_map").reads == (
        "mapped",
    )


@pytest.mark.parametrize(
    ("source", "what", "hint"),
    [
        ("async def s() -> int: ...", "takes 0 parameters", "one value"),
        ("async def s(a: int, b: Context, c: int) -> int: ...", "takes 3 parameters", "one value"),
        ("async def s(a, b: Context) -> int: ...", "no type for `a`", "annotate"),
        ("async def s(a: int): ...", "no type for `return`", "annotate"),
        ("async def s(a: Missing) -> int: ...", "`Missing`|'Missing'", "import the type"),
        ("async def s(a: 'os.nothing') -> int: ...", "nothing", "import the type"),
        ("async def s(a: 'int[') -> int: ...", "cannot be read", "import the type"),
        ("async def s(a: int, b: int) -> int: ...", "`b` is no `Context`", "ctx: Context"),
        ("async def s(a: int, times: int = 3) -> int: ...", "`times` is no `Context`", "ctx: Context"),
        ("async def s(*a: int) -> int: ...", "cannot be given by place", "one value"),
        ("async def s(*, a: int) -> int: ...", "cannot be given by place", "one value"),
        ("def s(a: int) -> Iterator[int]:\n    yield a", "one by one", "return a list"),
        ("async def s(a: int) -> AsyncIterator[int]:\n    yield a", "one by one", "return a list"),
        ("s = len", "is not a function", "typed parameters"),
    ],
)
def test_what_cannot_be_a_step_is_refused(source: str, what: str, hint: str, tmp_path: Path) -> None:
    """AF120: a function that is not of the shape of a step is refused with its place and what to write."""
    scope: dict[str, Any] = {}
    file = tmp_path / "steps.py"
    head = "import os\nfrom collections.abc import AsyncIterator, Iterator\nfrom agentflow import Context\n"
    exec(compile(head + source, str(file), "exec"), scope)
    (found,) = problems(lambda: step(scope["s"]))

    assert found.code == "AF120"
    assert re.search(what, found.what)
    assert hint in found.hint
    assert str(file) in found.where or "@step" in found.where


def test_the_context_may_have_any_name() -> None:
    """What makes the second parameter the context is its type, or its name where it has none."""

    @step
    async def named(number: int, context: Context) -> str:
        return f"{context.step} {context.output(one)}"

    @step
    async def bare(number: int, ctx) -> str:  # type: ignore[no-untyped-def]  # pyright: ignore[reportUnknownParameterType, reportMissingParameterType]
        return str(ctx)

    assert named.wants_context
    assert named.step_spec().reads == ("one",)
    assert bare.wants_context


def test_a_prompt_file_that_is_not_there(tmp_path: Path) -> None:
    """AF121: a prompt's file that cannot be found is named, with the folder to put it into."""
    (found,) = problems(lambda: Agent("ask", takes=str, gives=str, prompt="prompts/missing.md"))

    assert found.code == "AF121"
    assert "`prompts/missing.md` is not there" in found.what
    assert HERE.search(found.where)
    assert str(Path(__file__).parent) in found.hint


def test_a_prompt_file_beside_the_definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt's file is read when the step is made, beside the definition, above it, or in the current folder."""
    (tmp_path / "ask.md").write_text("Ask {text}.", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert Agent("ask", takes=str, gives=str, prompt="ask.md").prompt == "Ask {text}."


def test_plain_braces_are_no_placeholder() -> None:
    """`{{name}}` in a prompt is plain text, and a type whose fields are not known allows any name."""
    written = Agent("ask", takes=stock.Notes, gives=str, prompt='Give {{"topic": 1}} for {notes}.')
    loose = Agent("loose", takes=dict[str, str], gives=str, prompt="Write about {topic}.")

    assert Workflow("w", start=written, end=written).spec.step("ask")
    assert Workflow("w", start=loose, end=loose).spec.step("loose")
