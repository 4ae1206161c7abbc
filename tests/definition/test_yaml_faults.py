"""Workflow files with mistakes: all of them are told at once, each with its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from agentflow.definition import definition
from agentflow.definition.writing import yaml_of
from agentflow.exceptions import DefinitionError, Problem
from agentflow.spec import from_data

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


def test_all_stages_at_once() -> None:
    """How a file is written, what it names and what is wrong with its graph are told together."""
    lost = "  lost:\n    kind: wait\n    takes: int\n    options:\n      secnds: 1\n"
    text = SOUND.replace("edges:\n", f"{lost}edges:\n").replace("sound:one", "sound:onee")

    assert told(text) == ["AF160 18:7", "AF161 10:5", "AF102 14:3", "AF103 14:3"]


def test_a_misspelt_name_is_taken_for_what_it_may_mean() -> None:
    """What hangs on it is not told as missing or wrong, and what does not is."""
    text = SOUND.replace("start: one\n", "strat: one\n").replace("kind: function", "kind: functon", 1)
    text = text.replace("    to: two\n", "    to: tow\n") + "bugdet:\n  usd: much\n"

    assert told(text) == ["AF160 3:1", "AF160 9:5", "AF160 17:1", "AF160 18:3", "AF161 16:5"]


def test_what_could_not_be_read_is_not_told_again() -> None:
    """An edge to nowhere may have led anywhere, a step of no kind may give anything: no consequence is made of that."""
    graph = "  three:\n    kind: function\n    call: tests.definition.sound:three\nedges:\n"
    nowhere = SOUND.replace("edges:\n", graph).replace("    to: two\n", "    to: quite-another\n")
    unkind = SOUND.replace("    kind: function\n    call: tests.definition.sound:two\n", "    timeout: 1\n")

    assert told(nowhere) == ["AF161 19:5"]
    assert told(unkind) == ["AF160 11:3"]
    assert told("agentflow: 1\nname: w\nstart: a\nend: b\nsteps: [a]\n") == ["AF160 5:1"]


def test_a_problem_of_an_edge_has_its_line() -> None:
    """Each problem that belongs to a part of a file has the line and column of that part."""
    text = SOUND.replace("    to: two\n", "    to: two\n    on: str\n    at_most: 0\n")
    text = text.replace(
        "    call: tests.definition.sound:one\n", "    call: tests.definition.sound:one\n    timeout: -1\n"
    )
    text += "budget:\n  usd: -1\nallow:\n  - kind: all-three\n"
    problems = {p.code + p.where.rpartition("flow.yaml")[2]: p.where for p in read(text)}

    assert set(problems) == {
        "AF105:16:5)",
        "AF106:8:3)",
        "AF107:16:5)",
        "AF111:19:5)",
        "AF111:11:5)",
        "AF111:21:3)",
        "AF210:23:5)",
    }
    assert problems["AF105:16:5)"].startswith("edge `one`.on(str) -> `two` (/p/")


def test_an_edge_behind_one_that_is_lost_has_its_own_line() -> None:
    """Places do not shift where an edge could not be read."""
    text = SOUND.replace("  - from: one\n", "  - here\n  - from: one\n").replace(
        "    to: two\n", "    to: two\n    on: str\n"
    )

    assert told(text) == ["AF160 15:5", "AF105 16:5", "AF107 16:5"]


def test_an_edge_that_stands_twice() -> None:
    """An edge counts once; a second one like it is a mistake."""
    assert told(SOUND + "  - from: one\n    to: two\n") == ["AF160 17:5"]


def test_prompts_tools_and_types_of_one_step_are_told_together() -> None:
    """A step that names several things that are not there is told of each, at its place."""
    asking = """    kind: agent
    takes: nowhere:Nothing
    gives: str
    options:
      prompt: prompts/lost.md
      tools: [tests.definition.stock:look, tests.definition.stock:lok, tests.definition.stock:plan]
      handoffs:
        - name: other
          tools: [os:system]
"""
    text = SOUND.replace("    kind: function\n    call: tests.definition.sound:two\n", asking)

    assert told(text.replace("gives: int\nsteps", "gives: str\nsteps")) == [
        "AF161 13:5",
        "AF161 17:44",
        "AF161 17:72",
        "AF121 16:7",
        "AF161 20:19",
    ]


@pytest.mark.parametrize("name", ["on", "off", "yes", "no", "y", "null", "true", "1", "1.5", "12:30"])
def test_words_that_yaml_once_took_for_something_else(name: str) -> None:
    """A bare key is the text that stands there, and `on`, `yes` and the like are plain words, as YAML 1.2 has it."""
    quoted = f"'{name}'" if name in ("null", "true", "1", "1.5") else name
    text = SOUND.replace("  one:\n", f"  {name}:\n").replace("one\nend", f"{quoted}\nend")
    workflow = definition(text.replace("from: one", f"from: {quoted}"), Path("/p/w.yaml"), ("tests",))

    assert list(workflow.steps) == [name, "two"]
    written = yaml_of(workflow.spec)
    assert definition(written, Path("/p/w.yaml"), ("tests",)).spec == workflow.spec
    assert from_data(yaml.safe_load(written)) == workflow.spec


@pytest.mark.parametrize(
    ("kind", "option", "known"),
    [
        ("planner", "max_cals: 1", "max_calls"),
        ("agent", "max_turn: 1", "max_turns"),
        ("approval", "deadlin: 1", "deadline"),
        ("wait", "secs: 1", "seconds"),
    ],
)
def test_options_are_known_by_kind(kind: str, option: str, known: str) -> None:
    """A misspelt option is told at its own line, with the one that may be meant."""
    body = f"    kind: {kind}\n    takes: int\n    gives: int\n    options:\n      {option}\n"
    problems = read(SOUND.replace("    kind: function\n    call: tests.definition.sound:two\n", body))

    assert [(p.code, p.where.rpartition("yaml:")[2]) for p in problems] == [("AF160", "16:7)")]
    assert f"did you mean `{known}`" in problems[0].hint


def test_an_option_outside_of_options() -> None:
    """An option that stands beside `options` is told where it belongs."""
    (problem,) = read(SOUND.replace("    kind: function\n", "    kind: function\n    max_calls: 3\n", 1))
    assert "under `options:`" in problem.hint


@pytest.mark.parametrize("name", ["workflow", "steps", "edges"])
def test_a_step_may_be_called_as_a_part_of_the_format_is(name: str) -> None:
    """A step without a kind is told of, whatever its name, and so is what else is wrong with it."""
    text = SOUND.replace("  two:\n    kind: function\n", "  two:\n    times: 1\n").replace("two", name, 2)

    assert told(text.replace("to: two", f"to: {name}")) == ["AF160 11:3", "AF160 12:5"]


@pytest.mark.parametrize("back", ["", "  - from: two\n    to: join\n    slot: 0\n    at_most: 2\n"])
def test_a_gather_is_no_start(back: str) -> None:
    """No value comes to a gather at the start, whether anything leads back to it or not."""
    text = SOUND.replace("start: one", "start: join").replace(
        "steps:\n", "steps:\n  join:\n    kind: gather\n"
    )
    problems = read(text + "  - from: join\n    to: one\n" + back)

    assert problems[0].code == "AF101"
    assert problems[0].where == "workflow `flow` (/p/workflows/flow.yaml:3:1)"
    assert "is a gather" in problems[0].what
