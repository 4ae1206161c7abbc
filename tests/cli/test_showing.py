"""`show` tells a run to a person: what went wrong first, one step or result alone, and a run that goes on, live."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.conftest import Launcher, driven

PLANNED = '''
from agentflow import Evidence, Planner, Workflow, step, tool
from agentflow.exceptions import RateLimited


@tool(effect="read", returns="trusted")
async def search_files(query: str) -> list[Evidence]:
    """Search the files of the company."""
    return [Evidence(text="A hotel may cost 130 EUR.", source="travel.md")]


@step(retries=1)
async def fetch(text: str) -> str:
    raise ConnectionError("gone \\x1b[31m [bold]red[/] \\u202e")


tries = []


@tool(effect="read", retries=2)
async def flaky(text: str) -> str:
    """Fail once."""
    tries.append(text)
    if len(tries) == 1:
        raise RateLimited("too many", retry_after=0.01)

    return text


@step
async def insists(text: str) -> str:
    return await flaky(text)


insisting = Workflow("insisting", start=insists, end=insists)
fetching = Workflow("fetching", start=fetch, end=fetch)
plan = Planner("plan", takes=str, gives=list[Evidence], tools=[search_files], max_rounds=2)
planned = Workflow("planned", start=plan, end=plan)
'''


@pytest.fixture
def planning(project: Path) -> Path:
    """The project with a planner, and with a step that fails."""
    (project / "workflows" / "planned.py").write_text(PLANNED, encoding="utf-8")
    return project


def test_what_went_wrong_comes_first(planning: Path, launch: Launcher) -> None:
    """The failure, what was tried, and how to go on stand above the tree; nothing acts on the terminal."""
    watched = launch("run", "fetching", "x", "--run-id", "r1").err

    assert "✗ fetch#1" in watched
    assert "\x1b" not in watched.partition("failed:")[0]
    shown = launch("show", "r1")

    assert shown.code == 0
    first = shown.out.partition("invoke_workflow fetching")[0]
    assert "failed: fetch#1: ConnectionError: gone ⟨U+001B⟩[31m [bold]red[/] ⟨U+202E⟩" in first
    assert "tried again: attempt 2" in first
    assert "go on: agentflow resume r1" in first
    assert "\x1b" not in shown.out
    assert "\u202e" not in shown.out


def test_the_planners_reasoning_is_shown(planning: Path, launch: Launcher) -> None:
    """The thought, the call with how sure it was, and what was not chosen; the same as JSON."""
    launch("run", "planned", "What may a hotel cost in our files?", "--run-id", "r1")

    shown = launch("show", "r1").out
    data = launch("show", "r1", "--json").json

    assert "plan: plan#1" in shown
    assert "→ search_files" in shown
    assert "not chosen: none" in shown
    assert data["plans"][0]["choices"][0]["tool"] == "search_files"
    assert data["usage"]["tools"]["search_files"]["calls"] == 1
    assert (data["status"], data["problems"], data["go_on"]) == ("done", [], [])


def test_how_often_a_call_was_tried_again_is_shown(planning: Path, launch: Launcher) -> None:
    """Beside the call that came through in the end."""
    launch("run", "insisting", "x", "--run-id", "r1")

    line = next(line for line in launch("show", "r1").out.splitlines() if "execute_tool flaky" in line)
    assert "tried again: 1" in line


def test_one_step_and_one_result(planning: Path, launch: Launcher) -> None:
    """`--step` shows what went in and came out of it, `--result` the bytes that an operation gave."""
    launch("run", "planned", "What may a hotel cost in our files?", "--run-id", "r1")
    spans = launch("show", "r1", "--json").json["spans"]
    operation = next(
        s["attributes"]["agentflow.operation"] for s in spans if s["name"] == "execute_tool search_files"
    )

    assert "130 EUR" in launch("show", "r1", "--step", "plan").out
    assert "invoke_workflow" not in launch("show", "r1", "--step", "plan#1").out
    given = launch("show", "r1", "--result", operation)
    assert given.json[0]["text"] == "A hotel may cost 130 EUR."
    whole = launch("show", "r1", "--result", f"plan#1/{operation}", "--json").json
    assert whole["result"] == given.json
    assert list(whole["request"]) == ["query"]
    assert "did you mean `plan#1`" in launch("show", "r1", "--step", "plam#1").err
    assert launch("show", "r1", "--result", "9.9").code == 2
    assert launch("show", "r1", "--result", operation, "--step", "other").code == 2


def test_who_approved_what_when(project: Path, launch: Launcher) -> None:
    """The answer, its comment, and how long it took."""
    launch("run", "asked", "numbers=[2]", "--run-id", "a1")
    assert "not answered yet" in launch("show", "a1").out
    assert "go on: agentflow approve a1 --yes" in launch("show", "a1").out
    launch("approve", "a1", "--yes", "--comment", "seen it")

    assert "approved by" in launch("show", "a1").out
    assert ": seen it" in launch("show", "a1").out


def test_a_long_map_is_shown_without_what_went_well(project: Path, launch: Launcher) -> None:
    """Of 501 items only those that failed are in the tree; the rest is counted."""
    numbers = ",".join(["1"] * 500 + ["-1"])
    sums = (project / "workflows" / "sums.py").read_text(encoding="utf-8")
    raised = sums.replace("each(square) >> add])", "each(square, at_most=1000) >> add])", 1)
    (project / "workflows" / "sums.py").write_text(raised, encoding="utf-8")
    launch("run", "sums", f"numbers=[{numbers}]", "--run-id", "r1")

    shown = launch("show", "r1").out

    assert "step square#1[500]" in shown
    assert "step square#1[3] " not in shown
    assert "items of maps that went well are left out" in shown


def test_a_run_is_followed_to_its_end(deeds: Path, launch: Launcher) -> None:
    """From another process, steps appear as they end; it ends with the run, and with its code."""
    with driven(deeds, "staying", "ann", "live"):
        timer = threading.Timer(0.7, (deeds / "go").touch)
        timer.start()
        followed = launch("show", "live", "--follow")
        timer.join()

    assert followed.code == 0
    assert "stays#1" in followed.out
    assert "staying  done  live" in followed.out


def test_following_what_is_over_ends_at_once(project: Path, launch: Launcher) -> None:
    """It is shown once, and the exit code is that of the run."""
    launch("run", "sums", "numbers=[-1]", "--run-id", "bad")
    launch("run", "asked", "numbers=[1]", "--run-id", "waits")

    assert launch("show", "bad", "--follow").code == 1
    assert launch("show", "waits", "-f").code == 3
    assert launch("show", "none", "-f").code == 2
    assert launch("show", "bad", "-f", "--json").code == 2


def test_who_stops_watching_leaves_the_run_alone(deeds: Path) -> None:
    """Ctrl-C ends the watching with 130; the run goes on to its end."""
    with driven(deeds, "staying", "ann", "live"):
        watching = subprocess.Popen(
            [sys.executable, "-m", "agentflow", "show", "live", "--follow"],
            cwd=deeds,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        assert "begin#1" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=20)

    assert watching.returncode == 130
    assert "the run is left alone" in said
    assert "Traceback" not in said
    shown = subprocess.run(
        [sys.executable, "-m", "agentflow", "show", "live"],
        cwd=deeds,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "staying  done  live" in shown.stdout
