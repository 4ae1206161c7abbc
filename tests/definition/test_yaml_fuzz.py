"""Files that were spoilt at random: whatever stands in one, what is wrong is told with its place, and nothing else is raised."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentflow import Budget, Workflow
from agentflow.assessment import further
from agentflow.definition import definition
from agentflow.exceptions import DefinitionError, Problem
from agentflow.spec import to_data
from agentflow.workflow import keeping_problems
from tests.definition import stock
from tests.definition.sound import SOUND

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FILE = Path("/p/w.yaml")
_FIND = Workflow("find", start=stock.find, end=stock.find)
_COMPOSE = Workflow(
    "compose",
    start=stock.compose,
    end=stock.approve,
    edges=[stock.compose >> stock.approve],
    budget=Budget(usd=1),
)
WHOLE: list[dict[str, Any]] = [
    *(to_data(sound.build().spec) for sound in SOUND.values()),
    to_data(_FIND.spec),
    to_data(_COMPOSE.spec),
]
VALUES: list[Any] = [
    *(
        None,
        0,
        -1,
        2.5,
        True,
        "",
        "x",
        "one",
        "int",
        "str",
        "list[",
        "nowhere:Nothing",
        [],
        {},
        ["a"],
        {"a": 1},
    ),
    *("tests.definition.sound:one", "tests.definition.sound:onee", "agent", "gather", "workflow", "planner"),
    *("wait", "approval", {"times": 1}, {"name": "b"}),
]
KEYS = ["options", "workflow", "map", "retry", "budget", "reads", "timeout", "surprise", "kind", "on", "slot"]


def spots(part: Any) -> Iterator[tuple[Any, Any]]:
    """Each place in the data, as what holds it and its key."""
    for key in list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ():
        yield part, key
        yield from spots(part[key])


def spoil(draw: st.DrawFn, data: dict[str, Any]) -> None:
    """Take something out, misspell it, put something in, or put something else there."""
    known = list(spots(data))
    if not known:
        return

    holder, key = draw(st.sampled_from(known))
    match draw(st.sampled_from(["drop", "misspell", "add", "change", "change"])):
        case "drop":
            holder.pop(key)
        case "misspell" if isinstance(holder, dict):
            holder[f"{key}z"] = holder.pop(key)
        case "add" if isinstance(holder, dict):
            holder[draw(st.sampled_from(KEYS))] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        case _:
            holder[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))


@st.composite
def texts(draw: st.DrawFn) -> str:
    data = copy.deepcopy(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 3))):
        spoil(draw, data)

    return yaml.safe_dump(data, sort_keys=False)


def checked(text: str) -> list[Problem]:
    """All that a check says of a file."""
    try:
        with keeping_problems():
            workflow = definition(text, FILE, ("tests",))
    except DefinitionError as error:
        return list(error.problems)

    if not workflow.problems:
        assert workflow.bound.steps.why is not None
        return []

    further(workflow, "embedded")
    return list(workflow.problems)


@QUICK
@given(texts())
def test_whatever_a_file_holds_is_told_with_its_place(text: str) -> None:
    """A spoilt file has problems, each at a line of it, or it is a workflow still."""
    for problem in checked(text):
        assert f"{FILE}:" in problem.where, problem
        assert problem.what
