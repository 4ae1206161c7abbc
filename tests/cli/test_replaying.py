"""`replay`, `fork`, `diff` and `freeze`, as a person calls them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentflow.events import RunStarted, StepFinished
from tests.cli.conftest import SUMS, Launcher, cut_off, events_in


def summed(launch: Launcher, run_id: str, numbers: str = "[1, 2, 3]") -> None:
    assert launch("run", "sums", f"numbers={numbers}", "--run-id", run_id, "--no-input").code in (0, 1)


def rewrite(project: Path, old: str, new: str) -> None:
    """Change the workflow's code, as a person does between two commands."""
    (project / "workflows" / "sums.py").write_text(SUMS.replace(old, new), encoding="utf-8")
    for name in [name for name in sys.modules if name.split(".")[0] == "workflows"]:
        del sys.modules[name]


def test_a_run_replays_and_what_was_changed_is_named(project: Path, launch: Launcher) -> None:
    """Exit code 0 for the same way; 1 with the event, what was recorded and what came now."""
    summed(launch, "r1")

    same = launch("replay", "r1")
    assert (same.code, same.out.split(":")[0]) == (0, "same")
    assert "5 steps executed" in same.out
    data = launch("replay", "r1", "--json").json
    assert (data["same"], data["divergence"], data["steps"]) == (True, None, 5)

    rewrite(project, "number * number", "number * number + 1")
    other = launch("replay", "r1")
    assert other.code == 1
    assert "output differs" in other.out
    assert "square#1[0]" in other.out
    found = launch("replay", "r1", "--json").json["divergence"]
    assert (found["what"], found["recorded"], found["came"]) == ("output", "1", "2")

    rewrite(project, "each(square)", "each(square, parallel=2)")
    assert "definition differs" in launch("replay", "r1").out
    assert launch("replay", "r2").code == 2


def test_failed_and_cut_off_runs_replay(project: Path, launch: Launcher) -> None:
    """As far as they went."""
    summed(launch, "bad", "[1, -2]")
    cut_off(project, "sums", {"numbers": [1]}, "cut", StepFinished)

    assert launch("replay", "bad").code == 0
    assert launch("replay", "cut").code == 0


def test_a_fork_goes_another_way_and_diff_says_where(project: Path, launch: Launcher) -> None:
    """The new run names the old one; the first difference stands on top."""
    summed(launch, "r1")

    forked = launch("fork", "r1", "--at", "add", "--set", "square#1[2].output=10", "--run-id", "r2", "--json")
    assert forked.code == 0, forked.err
    assert forked.json["output"] == {"total": 15}
    started = events_in(project, "r2")[0]
    assert isinstance(started, RunStarted)
    assert started.forked["set"] == {"square#1[2].output": 10}
    assert launch("replay", "r2").code == 0

    compared = launch("diff", "r1", "r2")
    assert compared.code == 1
    assert "they part at step `square#1[2]`: output" in compared.out
    assert "A  9" in compared.out
    assert "B  10" in compared.out
    data = launch("diff", "r1", "r2", "--json").json
    assert data["first"] == {
        "step": "square#1[2]", "part": "output", "what": "output", "path": "", "a": "9", "b": "10",
    }  # fmt: skip
    assert [row["step"] for row in data["steps"] if not row["same"]] == ["square#1[2]", "add#1"]
    assert launch("diff", "r1", "r1").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--at", "ad"], "`add#1`"),
        (["--at", "add", "--set", "input"], "sets nothing"),
        (["--at", "add", "--set", "nowhere=1"], "no place of a value"),
        (["--at", "add", "--set", "input.numbers=x"], "numbers"),
        (["--at", "add", "--run-id", "r1"], "there is a run `r1` already"),
    ],
)
def test_a_fork_that_cannot_be_is_refused(
    launch: Launcher, project: Path, words: list[str], said: str
) -> None:
    """With what is wrong, and exit code 2."""
    summed(launch, "r1")

    called = launch("fork", "r1", *words)

    assert called.code == 2
    assert said in called.err


@pytest.mark.parametrize("numbers", ["[1, 2, 3]", str(list(range(40)))])
def test_a_frozen_run_is_a_test_that_passes_and_fails_by_itself(
    project: Path, launch: Launcher, numbers: str
) -> None:
    """Plain pytest in the project, in a process of its own; a change of a step's code is told there."""
    summed(launch, "r1", numbers)
    printed = launch("freeze", "r1")
    assert printed.code == 0, printed.err
    path = project / "tests" / "test_sums.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(printed.out, encoding="utf-8")
    kept = project / "tests" / "recordings" / "r1.jsonl"
    assert kept.exists() == (len(numbers) > 20)

    assert run_pytest(project) == (0, "1 passed")
    rewrite(project, "number * number", "number + number")
    code, told = run_pytest(project)
    assert code == 1
    assert "output differs" in told


def run_pytest(project: Path) -> tuple[int, str]:
    """The exit code of pytest in the project, and what it says."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    known = {name: value for name, value in os.environ.items() if name != "AGENTFLOW_JOURNAL"}
    called = subprocess.run(command, cwd=project, env=known, capture_output=True, text=True, check=False)
    return (
        called.returncode,
        "1 passed" if called.returncode == 0 and "1 passed" in called.stdout else called.stdout,
    )


def test_a_test_is_written_beside_its_record(project: Path, launch: Launcher) -> None:
    """With `--output`; a run that does not even replay now is refused."""
    summed(launch, "r1", str(list(range(40))))

    called = launch("freeze", "r1", "--output", "checks/test_it.py")

    assert called.code == 0
    assert (project / "checks" / "recordings" / "r1.jsonl").is_file()
    assert "agentflow freeze r1 --output checks/test_it.py" in (project / "checks" / "test_it.py").read_text()
    rewrite(project, "number * number", "number + number")
    refused = launch("freeze", "r1")
    assert refused.code == 1
    assert "does not go the same way even now" in refused.err


def test_a_frozen_run_of_a_workflow_file_finds_it_from_where_the_test_is(
    project: Path, launch: Launcher
) -> None:
    """Also one outside of `workflows/`."""
    (project / "own").mkdir()
    (project / "own" / "adding.py").write_text(SUMS, encoding="utf-8")
    file = "own/adding.py:sums"
    assert launch("run", "sums", "numbers=[1]", "--workflow-file", file, "--run-id", "w1").code == 0

    assert launch("freeze", "w1", "--output", "tests/test_it.py").code == 0

    assert "'../own/adding.py'" in (project / "tests" / "test_it.py").read_text(encoding="utf-8")
    assert run_pytest(project) == (0, "1 passed")
