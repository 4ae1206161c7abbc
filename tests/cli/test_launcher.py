"""The launcher as a person and a script use it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentflow import Decision, Pending, Settings, run
from agentflow.project import load_file
from tests.cli.conftest import Launcher


def test_run_prints_one_json_document(project: Path, launch: Launcher) -> None:
    """`run --json` prints one document with id, status, output, citations, usage and trace id, and nothing else."""
    called = launch("run", "sums", "numbers=[1,2,3]", "--json", "--run-id", "first")

    assert called.code == 0
    assert called.json["status"] == "done"
    assert called.json["output"] == {"total": 14}
    assert called.json["run_id"] == "first"
    assert len(called.json["trace_id"]) == 32
    assert called.json["citations"] == []
    assert called.json["usage"]["model_calls"] == 0


def test_run_for_a_person_shows_steps_and_where_to_look(project: Path, launch: Launcher) -> None:
    """Without `--json` the steps go to standard error as they end, the answer to standard output."""
    called = launch("run", "sums", "numbers=[1,2]")

    assert called.code == 0
    assert '"total": 5' in called.out
    assert "add#1" in called.err
    assert "agentflow show" in called.err


def test_input_from_a_file_and_words_together(project: Path, launch: Launcher) -> None:
    """`--input` gives a document; words override its fields."""
    (project / "in.json").write_text('{"numbers": [1], "limit": 5}', encoding="utf-8")

    called = launch("run", "sums", "--input", "in.json", "numbers=[3]", "--json")

    assert called.json["output"] == {"total": 9}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "sumz", "numbers=[1]"), "did you mean `sums`"),
        (("run", "sums", 'numbers="x"'), "`numbers`"),
        (("run", "sums", "number=[1]"), "`number`: there is no such field"),
        (("run", "sums", "numbers"), "is no `key=value`"),
        (("run", "sums"), "`numbers`: field required"),
        (("run", "sums", "numbers=[1]", "numbers=[2]"), "`numbers` is given twice"),
        (("run", "sums", "numbers=[1]", "--run-id", "../../out"), "cannot name a run"),
        (("approve", "nothing", "--yes", "--no"), "no single answer"),
        (("run", "sums", "--input", "missing.json"), "there is no file `missing.json`"),
        (("resolve", "nothing", "--done", "x", "--retry"), "no single answer"),
        (("resolve", "nothing", "--fail"), "there is no run `nothing`"),
        (("cancel", "nothing"), "there is no run `nothing`"),
        (("resume",), "no run is named"),
        (("resume", "x", "--all"), "exclude each other"),
        (("resume", "x", "--parallel", "2"), "`--parallel` is for `--all`"),
        (("resume", "--all", "--parallel", "0"), "`--parallel 0` cannot be"),
        (("resume", "--all", "--migrate"), "`--migrate` is for one run"),
        (("resume", "x", "--budget", "usd"), "`--budget usd` is no limit"),
        (("runs", "--status", "odd"), "there is no status `odd`"),
        (("runs", "--since", "soon"), "`--since soon` is no point in time"),
        (("runs", "--limit", "0"), "`--limit 0` lists nothing"),
        (("prune",), "Missing option"),
        (("prune", "--older-than", "1d", "--status", "running"), "never pruned"),
        (("draw", "sums", "-o", "nowhere/x.svg"), "there is no folder `nowhere`"),
        (("run", "sums", "numbers=[1]", "--model", "no such model !"), "a model is"),
        (("show", "nothing"), "there is no run `nothing`"),
        (("resume", "nothing"), "there is no run `nothing`"),
        (("frobnicate",), "No such command"),
        (("run", "--frob"), "No such option"),
    ],
)
def test_wrong_use_ends_with_2_and_says_how_to_mend_it(
    project: Path, launch: Launcher, arguments: tuple[str, ...], said: str
) -> None:
    """Each wrong call is told in words, with a hint, exit code 2, and no traceback."""
    called = launch(*arguments)

    assert called.code == 2
    assert said in called.err
    assert "Traceback" not in called.err


def test_wrong_use_as_json(project: Path, launch: Launcher) -> None:
    """With `--json` an error is a document as well."""
    called = launch("run", "sumz", "--json")

    assert called.code == 2
    assert called.json["error"]["kind"] == "UnknownName"
    assert "sums" in called.json["error"]["hint"]


def test_a_failed_step_ends_with_1_and_its_own_error(project: Path, launch: Launcher) -> None:
    """A step that raises fails the run; its error's type, text and place are shown."""
    called = launch("run", "sums", "numbers=[-1]", "--json")

    assert called.code == 1
    assert called.json["status"] == "failed"
    assert called.json["error"]["kind"] == "ValueError"
    assert called.json["error"]["message"] == "below zero"
    assert called.json["step"] == "square#1[0]"

    shown = launch("run", "sums", "numbers=[-1]")
    assert "ValueError: below zero" in shown.err
    assert "agentflow resume" in shown.err


def test_a_waiting_run_ends_with_3_and_is_answered_from_elsewhere(project: Path, launch: Launcher) -> None:
    """A run that waits for a person exits with 3 and says how to answer; `approve` lets it go on."""
    called = launch("run", "asked", "numbers=[2]", "--run-id", "a1")

    assert called.code == 3
    assert "agentflow approve a1 --yes" in called.out

    answered = launch("approve", "a1", "--yes")
    assert answered.code == 0
    assert "the total is 4" in answered.out
    assert "approved by" in answered.err

    again = launch("approve", "a1", "--yes")
    assert again.code == 2
    assert "is over" in again.err


def test_a_refusal_follows_its_edge(project: Path, launch: Launcher) -> None:
    """`approve --no` with a comment takes the edge for refusals."""
    launch("run", "asked", "numbers=[2]", "--run-id", "a2")

    answered = launch("approve", "a2", "approve", "--no", "--comment", "too small", "--json")

    assert answered.code == 0
    assert answered.json["output"].endswith("too small")


def test_approve_names_what_is_wrong(project: Path, launch: Launcher) -> None:
    """No answer, an unknown step: said, with exit code 2."""
    launch("run", "asked", "numbers=[2]", "--run-id", "a3")

    assert "--yes" in launch("approve", "a3").err
    assert launch("approve", "a3", "aprove", "--yes").code == 2


def test_runs_and_show(project: Path, launch: Launcher) -> None:
    """`runs` lists the newest first; `show` prints the trace as a tree, and as JSON."""
    launch("run", "sums", "numbers=[1]", "--run-id", "one")
    launch("run", "sums", "numbers=[-1]", "--run-id", "two")

    listed = launch("runs", "--json").json["runs"]
    assert [(row["run_id"], row["status"]) for row in listed] == [("two", "failed"), ("one", "done")]
    assert "two" in launch("runs").out

    tree = launch("show", "one")
    assert tree.code == 0
    assert "invoke_workflow sums" in tree.out
    assert "square#1[0]" in tree.out
    spans = launch("show", "one", "--json").json["spans"]
    assert spans[-1]["trace_id"] == spans[0]["trace_id"]
    assert "ValueError" in launch("show", "two").out


def test_check_lists_all_problems(project: Path, launch: Launcher) -> None:
    """`check` says what is sound and all that is not, with exit code 2."""
    assert launch("check").code == 0
    (project / "workflows" / "broken.py").write_text(
        "from agentflow import Workflow, step\n"
        "@step\nasync def a(x: int) -> str: ...\n"
        "@step\nasync def b(x: int) -> int: ...\n"
        "@step\nasync def c(x: int) -> int: ...\n"
        "broken = Workflow('broken', start=a, end=b, edges=[a >> b, c >> b])\n",
        encoding="utf-8",
    )

    called = launch("check")

    assert called.code == 2
    assert "AF107" in called.err
    assert "AF102" in called.err
    assert "✓ sums" in called.out
    assert launch("check", "sums").code == 0
    errors = launch("check", "--json").json["errors"]
    assert {p["code"] for p in errors[0]["problems"]} >= {"AF102", "AF107"}


def test_a_workflow_file_outside_of_the_project(project: Path, launch: Launcher, tmp_path: Path) -> None:
    """`--workflow-file path.py:name` works for run, check and draw, and for the resume of such a run."""
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "extra.py").write_text(
        (project / "workflows" / "sums.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    named = f"{other}/extra.py:asked"

    assert launch("check", "--workflow-file", named).code == 0
    assert "flowchart" in launch("draw", "--workflow-file", named).out
    assert launch("run", "--workflow-file", named, "asked", "numbers=[1]", "--run-id", "x").code == 3
    assert launch("approve", "x", "--yes", "--json").json["output"] == "the total is 1"
    missing = launch("check", "--workflow-file", f"{other}/extra.py:askd")
    assert missing.code == 2
    assert "did you mean" in missing.err


def test_a_module_that_cannot_be_loaded(project: Path, launch: Launcher) -> None:
    """An import error of a workflow's module is told with file and line, and does not hide the others."""
    (project / "workflows" / "bad.py").write_text("import json\n1 / 0\n", encoding="utf-8")

    called = launch("check")

    assert called.code == 2
    assert "ZeroDivisionError" in called.err
    assert "bad.py:2" in called.err
    assert launch("run", "sums", "numbers=[1]", "--json").code == 0


def test_a_read_only_journal(project: Path, launch: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that cannot be written is told before anything runs."""
    monkeypatch.setenv("AGENTFLOW_JOURNAL", "sqlite:////proc/nowhere/journal.db")

    called = launch("run", "sums", "numbers=[1]")

    assert called.code == 1
    assert "cannot be written" in called.err
    assert "AGENTFLOW_JOURNAL" in called.err


def test_outside_of_a_project(tmp_path: Path, launch: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a project the launcher says how to make one."""
    monkeypatch.chdir(tmp_path)

    called = launch("check")

    assert called.code == 2
    assert "agentflow init" in called.err


SLOW = """
import asyncio
from pathlib import Path
from agentflow import Context, Workflow, step


@step
async def first(text: str, ctx: Context) -> str:
    with (ctx.root / "effects.txt").open("a") as file:
        file.write("first\\n")
    return text


@step
async def second(text: str, ctx: Context) -> str:
    (ctx.root / "started").touch()
    if not (ctx.root / "go").exists():
        await asyncio.sleep(60)
    return text.upper()


slow = Workflow("slow", start=first, end=second, edges=[first >> second])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_the_run_resumable(project: Path, number: signal.Signals, launch: Launcher) -> None:
    """Ctrl-C stops at once, says how to go on, and a resume does not repeat what was finished."""
    (project / "workflows" / "slow.py").write_text(SLOW, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "agentflow", "run", "slow", "hello", "--run-id", "s1"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (project / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)

    process.send_signal(number)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "agentflow resume s1" in err
    assert "Traceback" not in err

    (project / "go").touch()
    resumed = launch("resume", "s1", "--json")
    assert resumed.json["output"] == "HELLO"
    assert (project / "effects.txt").read_text(encoding="utf-8") == "first\n"


def test_json_output_is_utf8_and_stays_one_document(project: Path, launch: Launcher) -> None:
    """Text of any script survives, and a large output is still one document."""
    (project / "workflows" / "echo.py").write_text(
        "from agentflow import Workflow, step\n@step\nasync def echo(text: str) -> list[str]:\n    return [text] * 5000\n"
        "echoes = Workflow('echo', start=echo, end=echo)\n",
        encoding="utf-8",
    )

    called = launch("run", "echo", "größe 東京 🙂", "--json")

    assert json.loads(called.out)["output"][4999] == "größe 東京 🙂"


def test_an_altered_event_is_noticed_wherever_the_run_is_read(project: Path, launch: Launcher) -> None:
    """Who edits the journal by hand breaks the chain of hashes: show, resume and approve refuse, and name the event."""
    launch("run", "asked", "numbers=[2]", "--run-id", "t1")
    db = sqlite3.connect(project / "traces" / "journal.db")
    (seq,) = db.execute("select max(seq) from events where type = 'step.finished'").fetchone()
    db.execute("update events set data = cast(data || ' ' as blob) where seq = ?", (seq,))
    db.commit()
    db.close()

    for command in (("show", "t1"), ("resume", "t1"), ("approve", "t1", "--yes")):
        called = launch(*command)
        assert called.code == 1
        assert f"event {seq} of run `t1`" in called.err


def test_looking_for_runs_makes_no_journal(
    tmp_path: Path, launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`runs` in a folder that is no project says so and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)

    assert launch("runs").code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_would_be_approved_is_shown(project: Path, launch: Launcher) -> None:
    """A run that waits prints the question and exactly what a yes would let pass."""
    called = launch("run", "asked", "numbers=[2]")

    assert "Is it right?" in called.out
    assert '"total": 4' in called.out


async def test_a_question_that_is_withdrawn_takes_no_answer(project: Path) -> None:
    """An interrupt while a person is asked ends at once and leaves the approval open."""
    asked = asyncio.Event()

    async def never(pending: Pending) -> Decision | None:
        asked.set()
        await asyncio.sleep(60)
        return Decision(approved=True)

    started = run(
        load_file("workflows/sums.py:asked", None), {"numbers": [2]}, settings=Settings(approver=never)
    )
    task = started.start()
    await asked.wait()
    started.interrupt("SIGINT")
    result = await task

    assert result.status == "interrupted"
    assert [waiting.name for waiting in started.runner.waiting()] == ["approve#1"]


def test_the_version_and_the_help(project: Path, launch: Launcher) -> None:
    """`--version` prints it; no command at all prints the help and counts as wrong use."""
    assert launch("--version").out.startswith("agentflow ")
    called = launch()
    assert called.code == 2
    assert "error:" not in called.err
