"""`prune` takes out old runs that are over, and nothing else."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agentflow.cli.pruning import artifacts_of
from agentflow.events import StepFinished
from tests.cli.conftest import Launcher, cut_off, events_in, journal_of


@pytest.fixture
def old(deeds: Path, launch: Launcher) -> Path:
    """A journal with runs that are done, failed, waiting and open, and files of the first."""
    launch("run", "sums", "numbers=[1]", "--run-id", "done")
    launch("run", "sums", "numbers=[-1]", "--run-id", "failed")
    launch("run", "pays_once", "ann", "--run-id", "asks")
    cut_off(deeds, "sums", {"numbers": [1]}, "open", StepFinished)
    for run in ("done", "asks"):
        (deeds / "traces" / "artifacts" / run).mkdir(parents=True)
        (deeds / "traces" / "artifacts" / run / "plot.png").write_bytes(b"x" * 5000)

    return deeds


def test_what_is_over_goes_with_its_files_and_leaves_its_head(old: Path, launch: Launcher) -> None:
    """Events and files of runs that are over go; the heads are listed; other runs stay as they are."""
    head = launch("show", "done", "--json").json["head"]

    called = launch("prune", "--older-than", "0s", "--yes")

    assert called.code == 0
    assert "took out 2 runs" in called.out
    assert "agentflow runs --pruned" in called.out
    assert [row["run_id"] for row in launch("runs", "--json").json["runs"]] == ["open", "asks"]
    pruned = launch("runs", "--pruned", "--json").json["runs"]
    assert {row["run_id"]: row["head"] for row in pruned}["done"] == head
    assert head[:16] in launch("runs", "--pruned").out
    assert [path.name for path in (old / "traces" / "artifacts").iterdir()] == ["asks"]
    assert "was pruned" in launch("show", "done").err


def test_a_dry_run_only_says(old: Path, launch: Launcher) -> None:
    """Runs, events and bytes are said, with the files; nothing is taken out."""
    called = launch("prune", "--older-than", "0s", "--dry-run")
    data = launch("prune", "--older-than", "0s", "--dry-run", "--json").json

    assert "2 runs with" in called.out
    assert "done  done" in called.out
    assert data["found"]["runs"] == 2
    assert data["found"]["events"] == len(events_in(old, "done")) + len(events_in(old, "failed"))
    assert 5000 < data["found"]["bytes"] < 20000
    assert data["removed"]["runs"] == 0
    assert len(launch("runs", "--json").json["runs"]) == 4


def test_without_a_terminal_a_yes_is_needed(old: Path, launch: Launcher) -> None:
    """Nobody is asked where nobody can answer."""
    called = launch("prune", "--older-than", "0s")

    assert called.code == 2
    assert "--yes" in called.err
    assert len(launch("runs", "--json").json["runs"]) == 4


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (("--older-than", "30d"), []),
        (("--older-than", "0s", "--status", "failed"), ["failed"]),
        (("--older-than", "0s", "--status", "open", "--status", "waiting"), ["open", "asks"]),
        (("--older-than", "2999-01-01", "--workflow", "two"), []),
    ],
)
def test_what_is_chosen(old: Path, launch: Launcher, arguments: tuple[str, ...], runs: list[str]) -> None:
    """Age, status and workflow choose; what is not over goes only where it is named."""
    assert launch("prune", "--yes", "--json", *arguments).json["run_ids"] == runs


def test_a_run_that_somebody_took_up_meanwhile_stays(old: Path, launch: Launcher) -> None:
    """What a process drives is left; the others go."""

    async def claim() -> None:
        journal = journal_of(old)
        await journal.claim("failed", "elsewhere", time.time_ns() + 10**11)
        await journal.close()

    asyncio.run(claim())
    called = launch("prune", "--older-than", "0s", "--yes", "--json")

    assert called.code == 0
    assert called.json["removed"]["runs"] == 1
    assert events_in(old, "failed")
    assert not events_in(old, "done")


def test_no_folder_outside_is_touched(tmp_path: Path) -> None:
    """Whatever a run is called, its files are in a folder of that name, or nowhere."""
    (tmp_path / "traces" / "artifacts" / "fine").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "traces" / "artifacts" / "link").symlink_to(tmp_path / "outside")

    assert artifacts_of(tmp_path, "fine") == tmp_path / "traces" / "artifacts" / "fine"
    for run in (
        "",
        ".",
        "..",
        "../..",
        "../../outside",
        "fine/..",
        str(tmp_path / "outside"),
        "link",
        "none",
    ):
        assert artifacts_of(tmp_path, run) is None
