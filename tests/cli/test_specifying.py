"""`spec`: what is printed loads as what it was printed from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentflow import Approval, Budget, Flow, Retry, Workflow
from agentflow.definition.writing import yaml_of
from agentflow.exceptions import ProjectError
from agentflow.project import find_project, load_yaml
from agentflow.spec import StepSpec, WorkflowSpec, from_data, to_data
from tests.cli.conftest import Launcher
from tests.engine.random_workflows import workflows

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
ODD = st.sampled_from(
    [
        "",
        "on",
        "yes",
        "null",
        "~",
        "1.0",
        "0x1",
        " led by a space",
        "two\nlines",
        "a: b",
        "- x",
        "#no",
        "é ✓\t",
        "|",
    ]
)
TEXT = st.one_of(ODD, st.text(st.characters(exclude_categories=["Cs"]), max_size=40))


def named(spec: WorkflowSpec) -> WorkflowSpec:
    """The same with functions that a file could name."""
    steps: list[StepSpec] = []
    for step in spec.steps:
        inner = named(step.workflow) if step.workflow is not None else None
        steps.append(replace(step, call=step.call.replace("<locals>", "inner"), workflow=inner))

    return replace(spec, steps=tuple(steps))


@QUICK
@given(workflows(), TEXT, TEXT)
def test_yaml_is_the_spec(workflow: Workflow[int, int], one: str, other: str) -> None:
    """Any workflow, with whatever texts, budgets and waivers, comes back from its YAML with its digest."""
    spec = replace(
        named(workflow.spec),
        description=one,
        budget=Budget(usd=0.5, tokens=1_000),
        allow=(Flow("all-three", step=other, because=one),),
    )
    first = replace(spec.steps[0], retry=Retry(times=2), options={**spec.steps[0].options, "prompt": other})
    spec = replace(spec, steps=(first, *spec.steps[1:]))
    again = from_data(yaml.safe_load(yaml_of(spec)))

    # As its digest sees it: what is at its default is the same as what is left out.
    assert to_data(again) == to_data(spec)
    assert again.digest == spec.digest


def test_the_samples_come_back(monkeypatch: pytest.MonkeyPatch, launch: Launcher, tmp_path: Path) -> None:
    """The YAML of each sample workflow, put into a file, is the same workflow."""
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    project = find_project(root)
    for name in ("research", "data_analysis", "ticket_triage", "site_check"):
        file = tmp_path / f"{name}.yaml"
        assert launch("spec", name, "-o", str(file)).code == 0
        assert load_yaml(file, project).digest == project.load(name).digest


def test_prompts_are_blocks() -> None:
    """Texts of several lines are written as a person would, not as one line with marks for the ends of lines."""
    approve = Approval("sign", of=int, prompt="Is this right?\nLook twice.")
    text = yaml_of(Workflow("w", start=approve, end=approve).spec)

    assert "prompt: |-\n" in text
    assert "Look twice." in text


def test_a_function_without_a_name_is_refused(launch: Launcher) -> None:
    """A step that no file could name is said, with its place among the steps."""

    async def inner(number: int) -> int:
        return number

    from agentflow import step

    made: Any = step(inner)
    nested = Workflow("nested", start=made, end=made)
    with pytest.raises(ProjectError, match="step `nested/inner` is made of a function inside of another"):
        yaml_of(Workflow("w", start=nested, end=nested).spec)


def test_the_command_prints_yaml_or_json(monkeypatch: pytest.MonkeyPatch, launch: Launcher) -> None:
    """`spec` prints YAML, `--json` the same as JSON; a name that there is not is an error."""
    monkeypatch.chdir(Path(__file__).parents[2])
    called = launch("spec", "research")

    assert yaml.safe_load(called.out) == launch("spec", "research", "--json").json
    assert launch("spec", "reserch").code == 2
