"""`check`: what is wrong, the worst case and what could leak are told before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from agentflow.cli.sarif import sarif_of
from agentflow.exceptions import AgentflowError, DefinitionError, Problem
from tests.cli.conftest import Launcher

LEAKING = '''
"""A planner whose results go straight into a write."""

from agentflow import Evidence, Planner, Workflow, step, tool
from agentflow.tools import call


@tool(effect="read", returns="untrusted")
async def look(what: str) -> list[Evidence]:
    """Look something up."""
    return []


@tool(effect="write", returns="trusted")
async def send(text: str) -> str:
    """Send."""
    return text


@step
async def post(found: list[Evidence]) -> str:
    return str(await call(send, {"text": str(found)}))


plan = Planner("plan", takes=str, gives=list[Evidence], tools=[look], max_calls=5)
leaking = Workflow("leaking", start=plan, end=post, edges=[plan >> post])
'''


@pytest.fixture
def leaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one workflow that the check warns of."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "leaking.py").write_text(LEAKING)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_could_leak_is_told(leaking: Path, launch: Launcher) -> None:
    """A flow from untrusted content to a write is a warning with its path and a hint; only `--strict` fails on it."""
    called = launch("check")

    assert called.code == 0
    assert "AF201" in called.out
    assert "`plan` (look: untrusted)" in called.out
    assert "docs/problems.md" in called.out
    assert launch("check", "--strict").code == 2


def test_the_worst_case_is_told(leaking: Path, launch: Launcher) -> None:
    """Each amount comes with the path that makes it so, or with what is missing for a bound."""
    called = launch("check", "leaking")
    data = launch("check", "leaking", "--json").json["workflows"][0]

    assert "plan x (4 rounds x 2)" in called.out
    assert data["bound"]["model_calls"] == {"value": 8, "why": "plan x (4 rounds x 2)"}
    assert data["bound"]["tool_calls"]["value"] is None
    assert "`send`" in data["bound"]["tool_calls"]["why"]
    assert [flow["code"] for flow in data["flows"]] == ["AF201"]
    assert [problem["code"] for problem in data["problems"]] == ["AF201"]


def test_problems_as_sarif(leaking: Path, launch: Launcher) -> None:
    """The file for code hosts names rule, level, file and line of each problem."""
    assert launch("check", "--sarif", "found.sarif").code == 0
    document = json.loads((leaking / "found.sarif").read_text())
    (run,) = document["runs"]
    (result,) = run["results"]
    place = result["locations"][0]["physicalLocation"]

    assert (document["version"], run["tool"]["driver"]["name"]) == ("2.1.0", "agentflow")
    assert (result["ruleId"], result["level"]) == ("AF201", "warning")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "AF201"
    assert place["artifactLocation"]["uri"] == "workflows/leaking.py"
    lines = (leaking / "workflows" / "leaking.py").read_text().splitlines()
    assert "async def post" in "".join(lines[place["region"]["startLine"] - 1 :][:2])


def test_errors_of_all_kinds_are_in_the_sarif_file(tmp_path: Path) -> None:
    """Problems of a definition are errors with their codes; what could not be loaded at all is one too."""
    problem = Problem(code="AF102", what="nothing leads to it", where=f"step `x` ({tmp_path}/w.py:7)")
    errors: list[AgentflowError] = [DefinitionError("w", [problem]), AgentflowError("no such file")]
    results = json.loads(sarif_of([], errors, tmp_path))["runs"][0]["results"]

    assert [(r["ruleId"], r["level"]) for r in results] == [("AF102", "error"), ("AF100", "error")]
    assert results[0]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "w.py"},
        "region": {"startLine": 7},
    }
    assert "locations" not in results[1]


def test_a_model_that_ends_is_warned_of(leaking: Path, launch: Launcher) -> None:
    """A model with a known end is named with its date; the embedded one never ends."""
    assert "AF170" not in launch("check").out
    called = launch("check", "--model", "gpt-4-32k-0613")
    assert "AF170" in called.out
    assert "shut down on 20" in called.out


def test_what_the_model_cannot_write_is_an_error(leaking: Path, launch: Launcher) -> None:
    """The embedded model writes no free-form types: a workflow that asks it to is refused by the check."""
    text = LEAKING.replace("gives=list[Evidence], tools", "gives=dict[str, int], tools").replace(
        "found: list[Evidence]", "found: dict[str, int]"
    )
    (leaking / "workflows" / "leaking.py").write_text(text)

    called = launch("check", "--model", "embedded")
    assert (called.code, "AF118" in called.out) == (2, True)


def test_two_workflows_of_one_name(leaking: Path, launch: Launcher) -> None:
    """A second file with a workflow of the same name is an error: which one is meant nobody could tell."""
    (leaking / "workflows" / "again.py").write_text(LEAKING)
    called = launch("check")

    assert called.code == 2
    assert "two workflows are named `leaking`: in again.py and in leaking.py" in called.err


def test_a_broken_workflow_hides_no_other(leaking: Path, launch: Launcher) -> None:
    """Of a module with a broken workflow the others are checked as well, and all of its problems are told."""
    broken = '\nlost = Workflow("lost", start=plan, end=plan, edges=[post >> plan])\n'
    (leaking / "workflows" / "leaking.py").write_text(LEAKING + broken)
    called = launch("check")
    data = launch("check", "--json").json

    assert called.code == 2
    assert "✓ leaking" in called.out
    assert "✗ workflow `lost` has" in called.err
    assert [w["name"] for w in data["workflows"]] == ["leaking"]
    assert [problem["code"] for problem in data["errors"][0]["problems"]]
    assert data["ok"] is False


def test_a_broken_workflow_is_warned_of_as_well(leaking: Path, launch: Launcher) -> None:
    """Errors and warnings of one workflow come in one go, on the terminal, as JSON and as SARIF, with line and column."""
    (leaking / "workflows" / "flow.yaml").write_text(
        "agentflow: 1\nname: flow\nstart: ask\nend: nap\nsteps:\n  ask:\n    kind: agent\n    takes: str\n"
        "    gives: str\n    options:\n      model: gpt-4-32k\n  nap:\n    kind: wait\n    takes: int\n"
        "edges:\n  - from: ask\n    to: nap\n"
    )
    checked = launch("check", "--json", "--sarif", "found sarif.json")
    (error,) = json.loads(checked.out)["errors"]
    results = json.loads((leaking / "found sarif.json").read_text())["runs"][0]["results"]
    places = {r["ruleId"]: r["locations"][0]["physicalLocation"] for r in results if "locations" in r}

    assert [(p["code"], p["severity"]) for p in error["problems"]] == [
        ("AF107", "error"),
        ("AF170", "warning"),
    ]
    assert places["AF107"] == {
        "artifactLocation": {"uri": "workflows/flow.yaml"},
        "region": {"startLine": 16, "startColumn": 5},
    }
    assert "warning AF170" in launch("check").err


# What SARIF 2.1.0 asks for in its sections 3.13 to 3.52, of what is written here.
SARIF = {
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "$schema": {"type": "string", "pattern": "^https://"},
        "runs": {"items": {"$ref": "#/$defs/run"}},
    },
    "$defs": {
        "run": {
            "required": ["tool", "results"],
            "properties": {
                "tool": {"required": ["driver"], "properties": {"driver": {"$ref": "#/$defs/driver"}}},
                "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
            },
        },
        "driver": {
            "required": ["name"],
            "properties": {
                "rules": {
                    "uniqueItems": True,
                    "items": {
                        "required": ["id"],
                        "properties": {"helpUri": {"type": "string", "pattern": "^https://[^ ]+$"}},
                    },
                }
            },
        },
        "result": {
            "required": ["message"],
            "properties": {
                "message": {"required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}},
                "level": {"enum": ["none", "note", "warning", "error"]},
                "ruleIndex": {"type": "integer", "minimum": 0},
                "locations": {
                    "items": {
                        "properties": {
                            "physicalLocation": {
                                "required": ["artifactLocation"],
                                "properties": {
                                    "artifactLocation": {
                                        "properties": {"uri": {"type": "string", "pattern": "^[^ ]+$"}}
                                    },
                                    "region": {
                                        "properties": {
                                            "startLine": {"type": "integer", "minimum": 1},
                                            "startColumn": {"type": "integer", "minimum": 1},
                                        }
                                    },
                                },
                            }
                        }
                    }
                },
            },
        },
    },
}


def test_sarif_is_as_its_standard_says(tmp_path: Path) -> None:
    """Whatever the problems: the file has what the standard asks for, and addresses without blanks."""
    wheres = (
        "step `x` (/else where/w.py:7)",
        f"edge `a` -> `b` ({tmp_path}/my flows/w.yaml:3:5)",
        "nowhere",
        "(x:0)",
    )
    problems = [Problem(code="AF102", what="it", where=where) for where in wheres]
    for errors in ([], [DefinitionError("w", problems), AgentflowError("no such file")]):
        jsonschema.validate(json.loads(sarif_of([], errors, tmp_path)), SARIF)
