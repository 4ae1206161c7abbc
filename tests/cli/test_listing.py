"""`runs` and `show` say what is in the journal, and leave it as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentflow.events import OperationStarted, StepFinished
from tests.cli.conftest import Launcher, cut_off, driven


@pytest.fixture
def full(deeds: Path, launch: Launcher) -> Path:
    """A journal with a run of most kinds."""
    launch("run", "sums", "numbers=[1]", "--run-id", "done")
    launch("run", "sums", "numbers=[-1]", "--run-id", "failed")
    launch("run", "two", "ann", "--run-id", "asks")
    cut_off(deeds, "wiring", "ann", "doubts", OperationStarted)
    launch("resume", "doubts")
    cut_off(deeds, "sums", {"numbers": [1]}, "open", StepFinished)
    return deeds


def _ids(listed: Any) -> list[str]:
    return [row["run_id"] for row in listed.json["runs"]]


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        ((), {"done", "failed", "asks", "doubts", "open"}),
        (("--status", "open"), {"open"}),
        (("--status", "waiting", "--status", "failed"), {"asks", "doubts", "failed"}),
        (("--workflow", "sums", "--status", "done"), {"done"}),
        (("--since", "1h"), {"done", "failed", "asks", "doubts", "open"}),
        (("--since", "2999-01-01"), set[str]()),
        (("--until", "1h"), set[str]()),
        (("--until", "2999-01-01T12:00", "--workflow", "two"), {"asks"}),
    ],
)
def test_runs_are_chosen(full: Path, launch: Launcher, arguments: tuple[str, ...], runs: set[str]) -> None:
    """Status, workflow and time choose which runs are listed."""
    assert set(_ids(launch("runs", "--json", *arguments))) == runs


def test_a_limit_says_that_there_are_more(full: Path, launch: Launcher) -> None:
    """The newest are listed, and that there are others."""
    listed = launch("runs", "--limit", "2", "--json")
    assert len(_ids(listed)) == 2
    assert listed.json["more"] is True
    assert "there are more" in launch("runs", "--limit", "2").out
    assert "there are more" not in launch("runs", "--limit", "5").out


def test_what_waits_is_shown_in_short(full: Path, launch: Launcher) -> None:
    """A waiting run says which answers it waits for, in the list and under its trace."""
    listed = launch("runs").out

    assert "waiting: pays_twice#1:pay (2 times)" in listed
    assert "waiting: wires#1:wire in doubt" in listed
    assert "waits for a person: pays_twice#1:pay" in launch("show", "asks").out
    assert launch("show", "doubts", "--json").json["waits_for"] == ["wires#1:wire in doubt"]


def test_a_run_that_a_process_drives_is_running(deeds: Path, launch: Launcher) -> None:
    """It is told apart from one that was cut off."""
    with driven(deeds, "staying", "ann", "live"):
        assert _ids(launch("runs", "--json", "--status", "running")) == ["live"]
        assert _ids(launch("runs", "--json", "--status", "open")) == []


def test_looking_writes_nothing(full: Path, launch: Launcher) -> None:
    """`runs`, `show` and `check` leave no file beside the journal, nor change it."""
    before = {path: path.stat().st_mtime_ns for path in (full / "traces").rglob("*")}

    for command in (("runs",), ("show", "done"), ("check",), ("runs", "--pruned")):
        assert launch(*command).code == 0

    assert {path: path.stat().st_mtime_ns for path in (full / "traces").rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("runs",), "no runs yet"),
        (("runs", "--pruned"), "no pruned runs yet"),
        (("runs", "--status", "done"), "no such runs"),
        (("prune", "--older-than", "1d"), "nothing to prune"),
        (("resume", "--all"), "no runs to resume"),
    ],
)
def test_a_missing_journal_is_an_empty_one(
    project: Path, launch: Launcher, arguments: tuple[str, ...], said: str
) -> None:
    """Looking makes no journal."""
    called = launch(*arguments)

    assert called.code == 0
    assert said in called.out
    assert not (project / "traces").exists()


def test_a_reader_that_goes_away_is_no_failure(full: Path) -> None:
    """As with `agentflow runs | head -1`: the exit code is 0, and nothing is complained about."""
    reader, writer = os.pipe()
    os.close(reader)
    called = subprocess.run(
        [sys.executable, "-m", "agentflow", "runs"],
        cwd=full,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)

    assert (called.returncode, called.stderr) == (0, b"")
