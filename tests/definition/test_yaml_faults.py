"""Workflow files with mistakes: all of them are told at once, each with its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentflow.definition import definition
from agentflow.exceptions import DefinitionError, Problem

SOUND = """agentflow: 1
name: flow
start: one
end: two
takes: int
gives: int
steps:
  one:
    kind: function
    call: tests.definition.sound:one
  two:
    kind: function
    call: tests.definition.sound:two
edges:
  - from: one
    to: two
"""


def read(text: str) -> list[Problem]:
    """What is wrong with a file of this text."""
    try:
        definition(text, Path("/p/workflows/flow.yaml"), ("tests",))
    except DefinitionError as error:
        return list(error.problems)

    return []


def told(text: str) -> list[str]:
    """Each problem as `AF160 3:1`, with its line and column."""
    return [f"{p.code} {p.where.rpartition('flow.yaml:')[2].rstrip(')')}" for p in read(text)]


def test_a_sound_file() -> None:
    """A file without mistakes is a workflow."""
    assert read(SOUND) == []


def test_what_is_no_yaml() -> None:
    """The place where the text stops being YAML is named."""
    (problem,) = read("agentflow: 1\nname: [flow\n")
    assert (problem.code, problem.where) == ("AF160", "the file (/p/workflows/flow.yaml:3:1)")
    assert "not YAML" in problem.what


@pytest.mark.parametrize("text", ["", "- 1\n", "just words\n"])
def test_what_is_no_workflow(text: str) -> None:
    """A file that holds something else says how one begins."""
    (problem,) = read(text)
    assert "it holds no workflow" in problem.what
    assert "agentflow: 1" in problem.hint


def test_all_mistakes_of_writing_at_once() -> None:
    """Unknown keys, wrong types, missing keys and unknown words are told together, in the order of the file."""
    text = SOUND.replace("start: one\n", "surprise: one\n").replace("kind: function", "kind: magic", 1)
    text = text.replace("    to: two", "    to: 2") + "budget:\n  usd: much\n"
    assert told(text) == ["AF160 1:1", "AF160 3:1", "AF160 9:5", "AF160 16:5", "AF160 18:3"]
    problems = read(text)
    assert problems[0].what == "`start` is missing"
    assert "known are: agentflow, name" in problems[1].hint
    assert "it is one of: function, planner" in problems[2].hint


def test_a_key_that_stands_twice() -> None:
    """YAML keeps the last of two equal keys in silence; the check does not."""
    text = SOUND.replace("  two:\n", "  one:\n    kind: function\n  two:\n")
    (problem,) = [p for p in read(text) if "twice" in p.what]
    assert problem.what == "`one` stands twice"
    assert problem.where == "`steps.one` (/p/workflows/flow.yaml:11:3)"


def test_aliases_are_refused() -> None:
    """A text that grows or leads back to itself by aliases is not read at all."""
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nagentflow: 1\n"
    (problem,) = read(bomb)
    assert "alias" in problem.what


def test_all_names_that_lead_nowhere_at_once() -> None:
    """Steps and tools that there are not, and code outside of the project, are told together, by the line where they stand."""
    text = SOUND.replace("sound:one", "sound:onee").replace("tests.definition.sound:two", "os:system")
    problems = read(text)

    assert [(p.code, p.where) for p in problems] == [
        ("AF161", "step `one` (/p/workflows/flow.yaml:10:5)"),
        ("AF161", "step `two` (/p/workflows/flow.yaml:13:5)"),
    ]
    assert "did you mean `one`" in problems[0].hint
    assert "cannot be used in a file" in problems[1].what


def test_problems_of_the_graph_have_lines() -> None:
    """What the check of the graph finds is told with the line of the step in the file."""
    text = SOUND.replace(
        "edges:\n", "  lost:\n    kind: function\n    call: tests.definition.sound:three\nedges:\n"
    )
    problems = {p.code: p.where for p in read(text)}

    assert problems["AF102"] == "step `lost` (/p/workflows/flow.yaml:14:3)"


def test_steps_of_inner_workflows_have_lines() -> None:
    """A mistake inside of a sub-workflow is found at its own line."""
    inner = "".join(f"      {line}\n" for line in SOUND.replace("sound:two", "sound:tow").splitlines())
    text = (
        "agentflow: 1\nname: outer\nstart: sub\nend: sub\nsteps:\n  sub:\n    kind: workflow\n    workflow:\n"
        + inner
    )
    (problem,) = read(text)

    assert (problem.code, problem.where) == ("AF161", "step `sub/two` (/p/workflows/flow.yaml:21:11)")


def test_types_of_other_modules_are_refused() -> None:
    """A type is imported when it is read, so a file may not name one of just any module."""
    text = SOUND.replace(
        "    call: tests.definition.sound:one",
        "    takes: subprocess:Popen\n    call: tests.definition.sound:one",
    )
    (problem,) = read(text)

    assert (problem.code, "of `subprocess`" in problem.what) == ("AF161", True)


def test_types_of_cases_are_refused_as_well() -> None:
    """Neither may an edge name a type of another module."""
    text = SOUND.replace("    to: two\n", "    to: two\n    on: subprocess:Popen\n")
    (problem,) = read(text)

    assert (problem.code, problem.where) == ("AF161", "edge `one` -> `two` (/p/workflows/flow.yaml:17:5)")


@pytest.mark.parametrize(
    "said",
    [
        "eval",
        "list[eval]",
        "agentflow.project:find_project",
        "agentflow.__main__:main",
        "agentflow.evidence:cite",
    ],
)
def test_what_is_called_is_no_type(said: str) -> None:
    """A function is no type: whoever reads values of it would call it. Nor are modules imported that run something."""
    problems = read(SOUND.replace("takes: int", f'takes: "{said}"'))

    assert {problem.code for problem in problems} == {"AF161"}


@pytest.mark.parametrize(
    "text", ["timeout: !!int 0x_", "description: !!timestamp 2024-99-99", "? [a]\n: b", "a: " + "[" * 20_000]
)
def test_values_that_cannot_be_read(text: str) -> None:
    """What YAML itself stumbles over, and what only programs write, is told as well."""
    (problem,) = read(SOUND + text + "\n")
    assert problem.code == "AF160"
    assert any(
        said in problem.what for said in ("it is not YAML", "is no plain value", "a key is a plain name")
    )


def test_a_misspelt_option() -> None:
    """An option that a wait does not know is told, not dropped."""
    text = SOUND.replace(
        "    kind: function\n    call: tests.definition.sound:two\n",
        "    kind: wait\n    takes: int\n    gives: int\n    options:\n      secnds: 1\n",
    )
    (problem,) = read(text)
    assert problem.where == "`steps.two.options.secnds` (/p/workflows/flow.yaml:16:7)"
    assert (problem.code, problem.hint.partition("?")[0]) == ("AF160", "did you mean `seconds`")


def test_an_edge_to_no_step() -> None:
    """An edge that names no step is told where it names it, with the nearest names."""
    (problem,) = read(SOUND.replace("    to: two\n", "    to: tow\n"))
    assert (problem.code, problem.where) == ("AF161", "edge `one` -> `tow` (/p/workflows/flow.yaml:16:5)")
    assert "did you mean `two`" in problem.hint
