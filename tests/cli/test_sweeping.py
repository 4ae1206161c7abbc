"""`resume --all`: what was left is taken up, the rest is left alone and named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from agentflow.cli.sweeping import TRIES
from agentflow.events import OperationStarted, RunResumed, RunStarted, StepFinished
from tests.cli.conftest import Launcher, add, cut_off, driven, events_in


def _resumed(project: Path, run: str, times: int) -> None:
    last = events_in(project, run)[-1]
    add(
        project,
        run,
        [
            RunResumed(at=last.at + n, seq=last.seq + n, model="embedded", version="0")
            for n in range(1, times + 1)
        ],
    )


def test_runs_that_were_cut_off_go_on(deeds: Path, launch: Launcher) -> None:
    """Each open run is taken up, with a line each and a summary; a second time there is nothing to do."""
    for run in ("o1", "o2", "o3"):
        cut_off(deeds, "sums", {"numbers": [1, 2]}, run, StepFinished)

    called = launch("resume", "--all", "--parallel", "2")

    assert called.code == 0
    assert all(f"✓ {run}  sums  done" in called.out for run in ("o1", "o2", "o3"))
    assert "3 runs: 3 done" in called.out
    assert "o1  sums  was open, going on: 1 finished step" in called.err
    assert "no runs to resume" in launch("resume", "--all").out


def test_what_fails_what_waits_and_what_is_done(deeds: Path, launch: Launcher) -> None:
    """The exit code is 3 where some wait and none failed, 1 where one failed; one document has all of them."""
    cut_off(deeds, "wiring", "ann", "doubt", OperationStarted)
    launch("run", "pays_once", "ann", "--run-id", "asked")
    waits = launch("resume", "--all", "--json")
    cut_off(deeds, "sums", {"numbers": [-1]}, "bad", RunStarted)
    fails = launch("resume", "--all", "--json")

    assert (waits.code, fails.code) == (3, 1)
    known = {row["run_id"]: row for row in waits.json["runs"]}
    assert (known["doubt"]["status"], known["doubt"]["taken_up"]) == ("waiting", True)
    assert known["doubt"]["pending"][0]["tool"] == "wire"
    assert (known["asked"]["status"], known["asked"]["taken_up"]) == ("waiting", False)
    assert fails.json["summary"] == {"waiting": 2, "failed": 1}
    (failed,) = [row for row in fails.json["runs"] if row["run_id"] == "bad"]
    assert "ValueError: below zero" in failed["why"]


def test_a_run_that_another_process_drives_is_left(deeds: Path, launch: Launcher) -> None:
    """It is named, and counts as no failure."""
    with driven(deeds, "staying", "ann", "live"):
        called = launch("resume", "--all")

    assert called.code == 0
    assert "live  staying  driven by another process" in called.out


def test_definitions_that_are_gone_or_changed_are_passed_over(deeds: Path, launch: Launcher) -> None:
    """The others go on; a changed definition needs `--migrate`, which says what is different."""
    cut_off(deeds, "sums", {"numbers": [2]}, "fine", StepFinished)
    cut_off(deeds, "wiring", "ann", "changed", StepFinished)
    cut_off(deeds, "staying", "ann", "gone", StepFinished)
    text = (deeds / "workflows" / "deeds.py").read_text(encoding="utf-8")
    text = text.replace("async def wires", "async def wires_now").replace("wires]", "wires_now]")
    text = text.replace("end=wires)", "end=wires_now)").replace("end=wires,", "end=wires_now,")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("staying ="))
    (deeds / "workflows" / "deeds.py").unlink()
    (deeds / "workflows" / "later.py").write_text(text, encoding="utf-8")

    called = launch("resume", "--all", "--json")

    assert called.code == 0
    known = {row["run_id"]: row for row in called.json["runs"]}
    assert known["fine"]["status"] == "done"
    assert known["changed"]["status"] == known["gone"]["status"] == "passed over"
    assert "defined otherwise now" in known["changed"]["why"]
    assert "there is no workflow `staying`" in known["gone"]["why"]
    refused = launch("resume", "changed")
    assert "--migrate" in refused.err
    assert refused.code == 1


def test_a_run_that_ends_its_processes_is_passed_over(deeds: Path, launch: Launcher) -> None:
    """A run taken up five times without finishing a step is left to a person, who can still resume it."""
    cut_off(deeds, "sums", {"numbers": [1]}, "deadly", StepFinished)
    cut_off(deeds, "sums", {"numbers": [1]}, "fine", StepFinished)
    _resumed(deeds, "deadly", TRIES)
    _resumed(deeds, "fine", TRIES - 1)

    called = launch("resume", "--all")

    assert called.code == 0
    assert "deadly  sums  passed over: it was taken up 5 times since its last finished step" in called.out
    assert "fine  sums  done" in called.out
    assert launch("resume", "deadly", "--json").json["status"] == "done"


def test_an_empty_place_has_nothing_to_resume(project: Path, launch: Launcher) -> None:
    """Where there is no journal none is made."""
    assert launch("resume", "--all", "--json").json == {"runs": [], "summary": {}}
    assert not (project / "traces").exists()


def test_a_signal_stops_all_and_leaves_them_resumable(deeds: Path, launch: Launcher) -> None:
    """What is under way is interrupted, what was not begun is left, and the exit code is 130."""
    for run in ("a", "b"):
        cut_off(deeds, "staying", "ann", run, StepFinished)

    (deeds / "started").unlink()
    process = subprocess.Popen(
        [sys.executable, "-m", "agentflow", "resume", "--all", "--parallel", "1"],
        cwd=deeds,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (deeds / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert process.returncode == 130, err
    assert "a  staying  interrupted" in out
    (deeds / "go").touch()
    assert launch("resume", "--all", "--json").json["summary"] == {"done": 2}
