"""`resume RUN` with other limits or another definition, and what a person sees of it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from agentflow.cli.view import RunView
from agentflow.events import (
    Event,
    OperationDoubted,
    OperationResolved,
    OperationStarted,
    RunInterrupted,
    RunMigrated,
    RunPaused,
    RunResumed,
    StepFinished,
)
from tests.cli.conftest import Launcher, cut_off, events_in

AT = 1_800_000_000_000_000_000


def _resumed(budget: object = None) -> RunResumed:
    return RunResumed(at=AT, model="embedded", version="0", budget=budget)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (_resumed(), "going on: 3 finished steps"),
        (
            _resumed({"": {"usd": 2}, "handle/draft": {"tokens": 9000}}),
            "budget now usd=2, handle/draft.tokens=9000",
        ),
        (
            RunMigrated(at=AT, digest="d", spec={}, changes=["step `b` is new"]),
            "  step `b` is new",
        ),
        (RunPaused(at=AT), "pauses: only people are waited for"),
        (RunInterrupted(at=AT, reason="SIGTERM"), "stops here, and can be resumed: SIGTERM"),
        (
            OperationDoubted(at=AT, step="a#1", operation="1.1", name="wire"),
            "it is not known whether `wire` was done",
        ),
    ],
)
@pytest.mark.parametrize("live", [False, True])
def test_the_view_says_what_happens_to_the_run(event: Event, said: str, live: bool) -> None:
    """What was done before, other limits and definitions, pauses, stops and doubts are told."""
    console = Console(file=io.StringIO(), width=120, force_terminal=live, force_interactive=live)
    view = RunView(console, live=live)
    view.take_up([StepFinished(at=AT, step=f"s#{n}") for n in range(3)])
    with view:
        view(event)

    assert said in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_view_says_where_a_run_leaves_its_record() -> None:
    """A request that differs from the recorded one is marked, and an answer to a doubt is shown."""
    console = Console(file=io.StringIO(), width=160)
    view = RunView(console, live=False)
    view(
        OperationStarted(
            at=AT, step="a#1", operation="2.1", kind="chat", name="m", attributes={"diverged": True}
        )
    )
    view(OperationResolved(at=AT, step="a#1", operation="1.1", verdict="done", by="ann"))

    assert "the request differs from what is recorded: asked anew" in view.rows["a#1/2.1"].text(AT).plain
    assert view.rows["a#1"].note == "it was done, says ann"


def test_other_limits(deeds: Path, launch: Launcher) -> None:
    """`--budget` is recorded with the resume and told; limits and places that are not there are refused."""
    cut_off(deeds, "sums", {"numbers": [1]}, "b1", StepFinished)

    assert "there is no limit of a budget `money`" in launch("resume", "b1", "--budget", "money=2").err
    assert "`nowhere`" in launch("resume", "b1", "--budget", "nowhere.usd=2").err
    called = launch("resume", "b1", "--budget", "tokens=9000", "--budget", "minutes=1.5")

    assert called.code == 0
    assert "going on: 1 finished step; budget now tokens=9000, minutes=1.5" in called.err
    (resumed,) = [e for e in events_in(deeds, "b1") if isinstance(e, RunResumed)]
    assert resumed.budget == {"": {"tokens": 9000, "minutes": 1.5}}


def test_another_definition(deeds: Path, launch: Launcher) -> None:
    """Without `--migrate` a changed definition is refused with what changed; with it the run goes on, and says so."""
    cut_off(deeds, "wiring", "ann", "m1", StepFinished)
    file = deeds / "workflows" / "deeds.py"
    text = file.read_text(encoding="utf-8").replace(
        "@step\nasync def wires", "@step(retries=1)\nasync def wires"
    )
    file.unlink()
    (deeds / "workflows" / "newer.py").write_text(text, encoding="utf-8")

    refused = launch("resume", "m1")
    moved = launch("resume", "m1", "--migrate")

    assert refused.code == 1
    assert "another definition of `wiring`" in refused.err
    assert "`--migrate`" in refused.err
    assert moved.code == 0
    assert "goes on with another definition:\n" in moved.err
    assert "  step `wires` changed: " in moved.err


def test_the_model_of_the_last_resume_is_used_again(deeds: Path, launch: Launcher) -> None:
    """A run that was taken up with another model goes on with that one."""
    cut_off(deeds, "pays_once", "ann", "x1", StepFinished)
    launch("resume", "x1", "--model", "chat/other@http://127.0.0.1:9/v1")
    launch("approve", "x1", "--yes")

    models = [e.model for e in events_in(deeds, "x1") if isinstance(e, RunResumed)]
    assert models == ["chat/other@http://127.0.0.1:9/v1"] * 2


def test_input_from_standard_input(project: Path) -> None:
    """`--input -` reads it; the mark that some editors put before UTF-8 is skipped."""
    called = subprocess.run(
        [sys.executable, "-m", "agentflow", "run", "sums", "--input", "-", "--json"],
        input=b'\xef\xbb\xbf{"numbers": [3]}',
        cwd=project,
        capture_output=True,
        check=False,
    )

    assert called.returncode == 0, called.stderr
    assert b'"total": 9' in called.stdout


def test_a_price_of_the_project_bounds_money(project: Path, launch: Launcher) -> None:
    """`[tool.agentflow.prices]` makes a budget in usd hold for a model that no list knows."""
    file = project / "workflows" / "sums.py"
    text = file.read_text(encoding="utf-8").replace("import Approval,", "import Approval, Budget,")
    file.write_text(text.replace("add]", "add], budget=Budget(usd=1)", 1), encoding="utf-8")
    call = ("run", "sums", "numbers=[1]", "--model", "chat/ours@http://127.0.0.1:9/v1")
    assert "price of" in launch(*call).err

    settings = '[tool.agentflow.prices]\n"chat/ours@http://127.0.0.1:9/v1" = { input = 0.2, output = 0.8 }\n'
    (project / "pyproject.toml").write_text(settings, encoding="utf-8")
    assert launch(*call).code == 0
