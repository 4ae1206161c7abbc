"""A workflow as data: what it prints, what reads it back, and its digest."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentflow import (
    Agent,
    Approval,
    Budget,
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
from agentflow.assembly import assemble
from agentflow.exceptions import AgentflowError, ProjectError
from agentflow.path import Place
from agentflow.project import Project, load_yaml
from agentflow.spec import EdgeSpec, MapSpec, StepSpec, WorkflowSpec, from_data, to_data
from tests.definition import stock
from tests.definition.sound import (
    SOUND,
    Again,
    Edges,
    Sound,
    climb,
    inner,
    last,
    one,
    opened,
    plus,
    small,
    spread,
    three,
    total,
    two,
)
from tests.naming import named

HERE = Place("flow.yaml", 1)


def through_yaml(workflow: Workflow[Any, Any], packages: tuple[str, ...] = ("tests",)) -> Workflow[Any, Any]:
    """The workflow that its own spec, written as YAML and read again, makes."""
    text = yaml.safe_dump(to_data(workflow.spec), sort_keys=False)
    return assemble(from_data(yaml.safe_load(text)), HERE, packages)


@pytest.mark.parametrize("sound", SOUND.values(), ids=SOUND)
def test_yaml_and_python_are_one_spec(sound: Sound) -> None:
    """What a workflow prints as YAML makes an equal spec with an equal digest, step for step."""
    workflow = sound.build()
    again = through_yaml(workflow)

    assert again.spec == workflow.spec
    assert again.digest == workflow.digest
    assert from_data(json.loads(json.dumps(to_data(workflow.spec)))) == workflow.spec


def test_models_budgets_and_limits_are_kept() -> None:
    """Planners, agents with their hand-offs, prompts, retries and budgets come back as they were."""
    helper = Agent("helper", takes=stock.Notes, gives=str, prompt="Help.", tools=[stock.look])
    write = Agent(
        "write",
        takes=stock.Notes,
        gives=stock.Draft,
        prompt="Write from {notes}.",
        agents_as_tools=[helper],
        handoffs=[helper],
        settings={"temperature": 0.5},
        timeout=30,
        retries=Retry(times=2, delay=0.1, jitter=0),
    )
    find = Planner(
        "find",
        takes=stock.Question,
        gives=stock.Notes,
        tools=[stock.look],
        max_calls=2,
        prompt="Find.",
        retries=1,
    )
    approve = Approval("approve", of=stock.Draft)
    workflow = Workflow(
        "all",
        start=find,
        end=stock.publish,
        edges=[find >> write >> Wait("nap", of=stock.Draft, seconds=1) >> approve >> stock.publish],
        budget=Budget(model_calls=3, usd=0.25, minutes=1.5),
        description="Everything that can be said.",
    )
    again = through_yaml(workflow)

    assert again.spec == workflow.spec
    assert again.digest == workflow.digest
    assert (again.spec.budget, again.description) == (workflow.spec.budget, "Everything that can be said.")


def test_an_empty_budget_is_kept() -> None:
    """A budget without limits is a budget still, so the digest stays."""
    workflow = Workflow("w", start=one, end=one, budget=Budget())

    assert through_yaml(workflow).spec.budget == Budget()
    assert through_yaml(workflow).digest == workflow.digest


def test_a_wait_of_whole_seconds_is_kept() -> None:
    """Seconds are written one way, whether they were given as 2 or 2.0."""
    whole = Workflow("w", start=(nap := Wait("nap", of=int, seconds=2)), end=nap)
    parts = Workflow("w", start=(nap := Wait("nap", of=int, seconds=2.0)), end=nap)

    assert through_yaml(whole).digest == whole.digest == parts.digest


@pytest.mark.parametrize("name", ["research", "data_analysis", "ticket_triage", "site_check"])
def test_the_sample_workflows_are_one_spec(name: str) -> None:
    """Each sample workflow of this project comes back from YAML with an equal digest."""
    workflow = Project(root=Path(__file__).parents[2]).load(name)

    assert through_yaml(workflow, ("workflows", "tools")).digest == workflow.digest


def test_a_yaml_file_by_hand(tmp_path: Path) -> None:
    """A small file, with `on` unquoted, is the same workflow as in Python."""
    (tmp_path / "flow.yaml").write_text(
        """
agentflow: 1
name: loop
start: small
end: last
takes: int
gives: int
steps:
  small: {kind: function, takes: int, gives: 'int | tests.definition.sound:Again', call: 'tests.definition.sound:small'}
  opened: {kind: function, takes: 'tests.definition.sound:Again', gives: int, call: 'tests.definition.sound:opened'}
  last: {kind: function, takes: int, gives: int, call: 'tests.definition.sound:last'}
edges:
  - {from: small, to: opened, on: 'tests.definition.sound:Again', at_most: 3}
  - {from: opened, to: small}
  - {from: small, to: last, on: int}
""",
        encoding="utf-8",
    )
    project = Project(root=tmp_path, settings={"workflows": "tests", "tools": "tests"})
    workflow = load_yaml(tmp_path / "flow.yaml", project)
    edges: Edges = [small.on(Again, at_most=3) >> opened >> small, small.on(int) >> last]

    assert workflow.digest == Workflow("loop", start=small, end=last, edges=edges).digest


def test_a_yaml_file_may_leave_types_out() -> None:
    """What functions take and give is known from their code, so a file need not say it."""
    steps = (StepSpec(id="one", kind="function", call="tests.definition.sound:one"),)
    made = assemble(WorkflowSpec(name="w", start="one", end="one", steps=steps), HERE, ("tests",))

    assert (made.takes, made.gives, made.spec.step("one").takes) == (int, int, "int")


def _base(**changes: Any) -> Workflow[Any, Any]:
    options: dict[str, Any] = {
        "prompt": "Write.",
        "at_most": 3,
        "parallel": 4,
        "budget": Budget(usd=1),
        "seconds": 1,
    } | changes
    write = Agent("write", takes=int, gives=int, prompt=options["prompt"], timeout=options.get("timeout"))
    nap = Wait("nap", of=int, seconds=options["seconds"])
    mapped = each(two, parallel=options["parallel"])
    edges: Edges = [
        climb.on(Again, at_most=options["at_most"]) >> opened >> climb,
        climb.on(int) >> write >> nap >> spread >> mapped >> total,
        *options.get("more", ()),
    ]
    return Workflow("w", start=climb, end=options.get("end", total), edges=edges, budget=options["budget"])


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Write well."},
        {"at_most": 4},
        {"parallel": 5},
        {"budget": Budget(usd=2)},
        {"budget": None},
        {"seconds": 2},
        {"timeout": 5},
        {"more": [total >> last], "end": last},
    ],
    ids=named,
)
def test_the_digest_changes_with_the_definition(change: dict[str, Any]) -> None:
    """A prompt, a bound, a budget, a limit or an edge that is another makes another digest."""
    assert _base().digest == _base().digest
    assert _base(**change).digest != _base().digest


def test_the_digest_is_of_the_content() -> None:
    """The digest is SHA-256 and does not depend on the order in which options were written."""
    spec = WorkflowSpec(
        name="w", start="a", end="a", steps=(StepSpec(id="a", kind="agent", options={"x": 1, "y": 2}),)
    )
    other = replace(spec, steps=(StepSpec(id="a", kind="agent", options={"y": 2, "x": 1}),))

    assert spec.digest == other.digest
    assert len(spec.digest) == len("sha256:") + 64


GOOD: dict[str, Any] = {
    "agentflow": 1,
    "name": "w",
    "start": "a",
    "end": "a",
    "steps": {"a": {"kind": "function"}},
}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"agentflow": 2}, "agentflow: 2"),
        ({"agentflow": None}, "agentflow: None"),
        ({"name": None}, "`name` is None"),
        ({"nme": "w"}, "unknown `nme`"),
        ({"steps": ["a"]}, "`steps`"),
        ({"steps": {"a": "function"}}, "steps: `a` is 'function'"),
        ({"steps": {"a": {"kind": "magic"}}}, "no kind `magic`"),
        ({"steps": {"a": {}}}, "no kind `None`"),
        ({"steps": {"a": {"kind": "function", "timeuot": 1}}}, "unknown `timeuot`"),
        ({"steps": {"a": {"kind": "function", "timeout": "soon"}}}, "`timeout` is 'soon'"),
        ({"steps": {"a": {"kind": "function", "timeout": True}}}, "`timeout` is True"),
        ({"steps": {"a": {"kind": "function", "retry": 2}}}, "`retry`"),
        ({"steps": {"a": {"kind": "function", "retry": {"times": "2"}}}}, "`times` is '2'"),
        ({"steps": {"a": {"kind": "function", "retry": {}}}}, "'times'"),
        ({"steps": {"a": {"kind": "function", "map": {"at_most": 1.5}}}}, "`at_most` is 1.5"),
        ({"steps": {"a": {"kind": "function", "reads": "plan"}}}, "`reads`"),
        ({"steps": {"a": {"kind": "function", "options": []}}}, "`options`"),
        (
            {"steps": {"a": {"kind": "workflow", "workflow": {"name": "x"}}}},
            "step `a` says `agentflow: None`",
        ),
        ({"edges": {"a": "b"}}, "`edges`"),
        ({"edges": ["a"]}, "edges"),
        ({"edges": [{"from": "a"}]}, "needs `from` and `to`"),
        ({"edges": [{"from": "a", "to": "a", "at_most": "x"}]}, "`at_most` is 'x'"),
        ({"budget": 3}, "`budget`"),
        ({"budget": {"usd": "much"}}, "`usd` is 'much'"),
    ],
    ids=named,
)
def test_a_file_that_is_wrong_says_where(change: dict[str, Any], text: str) -> None:
    """Whatever stands in a file, what is wrong with it is one clear error that names the place."""
    with pytest.raises(ProjectError) as refused:
        from_data({**GOOD, **change}, where="flow.yaml")

    assert text in str(refused.value)
    assert "flow.yaml" in str(refused.value)


def test_a_spec_without_a_name_says_so() -> None:
    """What must be said and is not is named."""
    with pytest.raises(ProjectError, match="'name'"):
        from_data({key: value for key, value in GOOD.items() if key != "name"})


def _made(*steps: StepSpec, edges: tuple[EdgeSpec, ...] = (), start: str = "one") -> Workflow[Any, Any]:
    return assemble(
        WorkflowSpec(name="w", start=start, end=start, steps=steps, edges=edges), HERE, ("tests",)
    )


def _function(name: str, call: str = "") -> StepSpec:
    return StepSpec(id=name, kind="function", call=call or f"tests.definition.sound:{name}")


def test_only_registered_names_can_be_used() -> None:
    """A file names steps and tools of the project only, never other code."""
    with pytest.raises(DefinitionError, match="cannot be used in a file"):
        _made(_function("one", "os:system"))

    with pytest.raises(DefinitionError, match="is no step"):
        _made(_function("one", "tests.definition.stock:look"))

    with pytest.raises(DefinitionError, match="`on`") as unknown:
        _made(_function("one", "tests.definition.sound:on"))

    assert "did you mean `one`" in unknown.value.problems[0].hint
    with pytest.raises(DefinitionError, match="cannot be found"):
        _made(_function("one", "tests.nowhere:one"))

    with pytest.raises(DefinitionError, match="is no tool"):
        _made(StepSpec(id="one", kind="planner", options={"tools": ["tests.definition.sound:one"]}))


def test_an_edge_to_no_step_is_refused() -> None:
    """An edge that names no step says which are there."""
    with pytest.raises(DefinitionError, match="there is no step `tow`") as refused:
        _made(_function("one"), _function("two"), edges=(EdgeSpec(source="one", target="tow"),))

    assert refused.value.problems[0].hint == "did you mean `two`?"


@pytest.mark.parametrize("slots", [(None, None), (0, None), (0, 2), (1, 2), (0, 0)])
def test_a_join_in_a_file_needs_its_slots(slots: tuple[int | None, int | None]) -> None:
    """The edges into a gather have slots 0, 1, ...; without, its branches would not be joined."""
    steps = (_function("one"), _function("two"), StepSpec(id="both", kind="gather"))
    edges = (
        EdgeSpec(source="one", target="two"),
        *(EdgeSpec(source=s, target="both", slot=n) for s, n in zip(("one", "two"), slots, strict=True)),
    )
    with pytest.raises(DefinitionError, match=r"`both`.*slot"):
        _made(*steps, edges=edges)


def test_a_slot_at_another_step_is_refused() -> None:
    """Only a gather has slots."""
    with pytest.raises(DefinitionError, match=r"`two`.*slot"):
        _made(_function("one"), _function("two"), edges=(EdgeSpec(source="one", target="two", slot=0),))


def test_a_join_of_joins_may_be_listed_in_any_order() -> None:
    """A gather may stand before the gather that it joins, and gathers that wait for each other are refused."""
    workflow = SOUND["join of joins"].build()
    turned = replace(workflow.spec, steps=workflow.spec.steps[::-1])

    assert assemble(turned, HERE, ("tests",)).digest == workflow.digest
    knot = (EdgeSpec(source="a", target="b", slot=0), EdgeSpec(source="b", target="a", slot=0))
    with pytest.raises(DefinitionError, match="wait for each other"):
        _made(StepSpec(id="a", kind="gather"), StepSpec(id="b", kind="gather"), edges=knot, start="a")


def test_limits_that_mean_nothing_are_refused() -> None:
    """A time limit or a retry on an approval, a wait or a workflow would be ignored, so it is a problem."""
    sign = StepSpec(id="one", kind="approval", takes="int", timeout=5)
    with pytest.raises(DefinitionError, match="mean nothing for a step of kind approval"):
        _made(sign)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (StepSpec(id="one", kind="wait", takes="int", options={"seconds": "soon"}), "soon"),
        (StepSpec(id="one", kind="planner", options={"max_calls": "few"}), "its `max_calls` is 'few'"),
        (StepSpec(id="one", kind="planner", options={"max_cals": 3}), "max_cals"),
        (replace(_function("one"), takes="str"), "`takes` is `str`, and its function takes `int`"),
        (StepSpec(id="one", kind="workflow"), "has no `workflow`"),
        (StepSpec(id="one", kind="agent", options={"guardrails": ["g"]}), "only be given in Python"),
    ],
    ids=named,
)
def test_a_step_that_cannot_be_made_is_refused(spec: StepSpec, text: str) -> None:
    """An option that does not fit, or a type that the function does not have, is said by name."""
    with pytest.raises(AgentflowError, match=re.escape(text)):
        _made(spec)


def test_a_map_in_a_file() -> None:
    """`map` makes any step run for each item."""
    made = assemble(SOUND["map"].build().spec, HERE, ("tests",))

    assert made.spec.step("two").map == MapSpec(parallel=2)
    assert [s.id for s in made.spec.steps] == ["spread", "two", "total"]


def test_a_gather_keeps_the_bounds_of_its_branches() -> None:
    """A bounded case into a join is bounded in the file as well."""
    edges: Edges = [
        one >> gather(small.on(int, at_most=4), two) >> plus >> last,
        small.on(Again) >> opened >> last,
    ]
    workflow = Workflow("w", start=one, end=last, edges=edges)

    assert through_yaml(workflow).spec == workflow.spec


def test_a_workflow_in_a_file_is_checked_like_any_other() -> None:
    """All problems of a definition in a file are said at once, with the file."""
    with pytest.raises(DefinitionError, match=r"flow\.yaml:1") as refused:
        _made(_function("one"), _function("two"), _function("three"))

    assert [p.code for p in refused.value.problems] == ["AF102", "AF102", "AF103", "AF103"]


def test_a_step_under_another_name() -> None:
    """A file may give a step another name than its function has, twice over."""
    steps = (
        _function("first", "tests.definition.sound:one"),
        _function("second", "tests.definition.sound:one"),
    )
    made = assemble(
        WorkflowSpec(
            name="w",
            start="first",
            end="second",
            steps=steps,
            edges=(EdgeSpec(source="first", target="second"),),
        ),
        HERE,
        ("tests",),
    )

    assert list(made.steps) == ["first", "second"]


def test_rejected_can_be_named_in_a_file() -> None:
    """The case of a refusal is named like any type."""
    sign = Approval("sign", of=int)
    workflow = Workflow(
        "w",
        start=sign,
        end=last,
        edges=[sign >> last, sign.on(Rejected) >> stock.shelve >> measure_text >> last],
    )

    assert through_yaml(workflow).digest == workflow.digest


def test_a_sub_workflow_keeps_its_own_spec() -> None:
    """The spec of a workflow inside is the same as outside, also under `each`."""
    workflow = Workflow("w", start=spread, end=total, edges=[spread >> each(inner, name="inside") >> total])

    assert through_yaml(workflow).spec.step("inside").workflow == inner.spec


@step
async def measure_text(text: str) -> int:
    return len(text)


def test_three_ways_to_read_one_step() -> None:
    """`spec.step(id)` gives the step's spec, with the defaults filled in."""
    spec = Workflow("w", start=one, end=three, edges=[one >> three]).spec

    assert spec.step("three") == StepSpec(
        id="three", kind="function", takes="int", gives="int", call="tests.definition.sound:three"
    )
