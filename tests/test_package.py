"""What is shipped, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import agentflow

ROOT = Path(__file__).parents[1]


def test_the_wheel_ships_the_framework_alone(tmp_path: Path) -> None:
    """The wheel holds `agentflow/` with its data and template, and no project folder."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"agentflow"}
    assert "agentflow/py.typed" in names
    assert any(name.startswith("agentflow/data/") for name in names)
    assert any(name.startswith("agentflow/_template/") for name in names)
    assert not any(name.endswith((".pyc", ".db")) for name in names)


def test_importing_is_light() -> None:
    """`import agentflow` and a definition load none of the heavy libraries."""
    heavy = (
        "agents",
        "openai",
        "pydantic",
        "networkx",
        "opentelemetry",
        "numpy",
        "onnxruntime",
        "playwright",
        "typer",
        "rich",
    )
    code = (
        "import sys, agentflow\n"
        "from agentflow import Agent, Approval, Planner, Workflow, each, gather, run, step, tool\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "[]"


def test_a_run_of_plain_steps_loads_what_it_needs() -> None:
    """What defines, checks and runs a workflow of plain steps in memory loads nothing that is for other runs."""
    others = (
        "agentflow.app.diffing",
        "agentflow.app.forking",
        "agentflow.app.outside",
        "agentflow.app.replaying",
        "agentflow.app.resuming",
        "agentflow.audit",
        "agentflow.changes",
        "agentflow.cli",
        "agentflow.conformance",
        "agentflow.engine.migration",
        "agentflow.engine.recovery",
        "agentflow.engine.replaying",
        "agentflow.journal.sqlite",
        "agentflow.mcp",
        "agentflow.models",
        "agentflow.steps.agent",
        "agentflow.steps.planner",
        "agentflow.toolkit",
        "agentflow.tracing.spans",
        "cryptography",
        "datetime",
        "getpass",
        "jsonschema",
        "networkx",
        "opentelemetry",
        "pydantic",
        "pydantic_core",
        "sqlite3",
        "tomllib",
        "uuid",
    )
    code = (
        "import sys\n"
        "from agentflow import MemoryJournal, Settings, Workflow, each, gather, run, step\n"
        "from tests.benchmarks.smallest import main\n"
        "main()\n"
        f"print([name for name in {others!r} if name in sys.modules], 'agentflow.engine.runner' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)

    assert done.stdout.strip() == "[] True"


def test_what_is_done_with_earlier_runs_is_there_when_asked_for() -> None:
    """Names of `agentflow.app` that are loaded when they are first used are those of their modules; others are refused."""
    code = (
        "from agentflow import app\n"
        "names = 'Diff diff Fork fork cancel is_due keep_head waiting_in Replayed replay replay_events load resume'.split()\n"
        "assert all(getattr(app, name).__name__ == name for name in names)\n"
        "assert app.fork is app.fork is app.forking.fork and vars(app)['fork'] is app.fork\n"
        "try:\n"
        "    app.spoon\n"
        "except AttributeError as error:\n"
        "    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "module 'agentflow.app' has no attribute 'spoon'"


def test_the_public_names() -> None:
    """The public API is these names; each can be had."""
    assert agentflow.__all__ == [
        "Agent",
        "AgentflowError",
        "Answer",
        "Approval",
        "Budget",
        "Checked",
        "Context",
        "Decision",
        "DefinitionError",
        "Evidence",
        "Flow",
        "McpServer",
        "McpTool",
        "MemoryJournal",
        "Pending",
        "Planner",
        "Rate",
        "Rejected",
        "Result",
        "Retry",
        "Run",
        "RunError",
        "Secret",
        "Settings",
        "SqliteJournal",
        "Tool",
        "ToolError",
        "Wait",
        "Workflow",
        "WorkflowSpec",
        "annotate_claims",
        "check_claims",
        "each",
        "gather",
        "operation",
        "require_claims",
        "resume",
        "run",
        "step",
        "tool",
    ]
    assert all(getattr(agentflow, name) is not None for name in agentflow.__all__)


def test_constraints_are_names_and_versions_only() -> None:
    """`constraints.txt` pins by name and version, and every dependency is pinned in it."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.partition("==") for line in lines if line and not line.startswith("#")]

    assert all(separator and version and "/" not in name + version for name, separator, version in pinned)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["tools"]]
    names = {name.lower().replace("_", "-") for name, _, _ in pinned}
    assert {_name(w) for w in wanted} <= names


def _name(requirement: str) -> str:
    for mark in ">=<[;! ":
        requirement = requirement.split(mark)[0]

    return requirement.lower().replace("_", "-")
