"""The JSON Schema of workflow files: published with the package, derived from the spec, and held to by every workflow."""

from __future__ import annotations

import inspect
import json
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings

from agentflow import Agent, Approval, Budget, Flow, Planner, Wait, Workflow
from agentflow.options import OPTIONS
from agentflow.schema import workflow_schema
from agentflow.spec import to_data
from tests.definition.sound import SOUND, one, two
from tests.engine.random_workflows import workflows

VALIDATOR: Any = jsonschema.Draft202012Validator(workflow_schema())
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def faults(data: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(data)]


def test_the_published_schema_is_the_format() -> None:
    """The file in the package is what the spec says today: a field that is added cannot be forgotten."""
    published = json.loads((resources.files("agentflow") / "data" / "workflow.schema.json").read_text())

    assert published == workflow_schema()
    jsonschema.Draft202012Validator.check_schema(published)


@QUICK
@given(workflows())
def test_every_workflow_fits(workflow: Workflow[int, int]) -> None:
    """The data of any workflow is valid."""
    assert faults(json.loads(json.dumps(to_data(workflow.spec)))) == []


@pytest.mark.parametrize("name", SOUND)
def test_every_shape_fits(name: str) -> None:
    """The data of each shape of the engine's corpus is valid."""
    assert faults(json.loads(json.dumps(to_data(SOUND[name].build().spec)))) == []


def whole() -> dict[str, Any]:
    flow = Flow("all-three", step="one", because="a test")
    workflow = Workflow("w", start=one, end=two, edges=[one >> two], budget=Budget(usd=1), allow=[flow])
    data: dict[str, Any] = json.loads(json.dumps(to_data(workflow.spec)))
    return data


def test_what_is_no_workflow_does_not_fit() -> None:
    """Unknown and missing keys, wrong types and unknown words are faults, also deep inside."""
    assert faults(whole()) == []
    for path, value in [
        (("agentflow",), 2),
        (("start",), 3),
        (("surprise",), 1),
        (("budget", "usd"), "much"),
        (("budget", "euros"), 1),
        (("steps", "one", "kind"), "magic"),
        (("steps", "one", "id"), "one"),
        (("edges", 0, "source"), "one"),
        (("allow", 0, "kind"), "anything"),
    ]:
        data = whole()
        at: Any = data
        for key in path[:-1]:
            at = at[key]

        at[path[-1]] = value
        assert faults(data), path

    for key in ("name", "start", "end", "agentflow"):
        data = whole()
        del data[key]
        assert faults(data), key


@pytest.mark.parametrize(
    ("kind", "maker"), [("planner", Planner), ("agent", Agent), ("approval", Approval), ("wait", Wait)]
)
def test_options_are_the_arguments_of_what_they_make(kind: Any, maker: Any) -> None:
    """An argument that is added to a planner, an agent, an approval or a wait cannot be forgotten in the format."""
    of_all = {"self", "name", "takes", "gives", "of", "timeout", "retries", "budget"}
    renamed = {"input_guardrails": "guardrails", "output_guardrails": "guardrails"}
    arguments = [name for name in inspect.signature(maker.__init__).parameters if name not in of_all]

    assert set(OPTIONS[kind].__annotations__) == {renamed.get(name, name) for name in arguments}


def test_options_are_closed_by_kind() -> None:
    """What one kind of step knows is a fault at another, also of agents below an agent."""
    for kind, options in [
        ("wait", {"secnds": 1}),
        ("wait", {"deadline": 1}),
        ("function", {"max_calls": 1}),
        ("planner", {"max_turns": 1}),
        ("agent", {"max_turns": "many"}),
        ("agent", {"handoffs": [{"name": "a", "promt": ""}]}),
        ("agent", {"agents_as_tools": [{"prompt": ""}]}),
    ]:
        data = whole()
        data["steps"]["one"] = {"kind": kind, "options": options}
        assert faults(data), (kind, options)
