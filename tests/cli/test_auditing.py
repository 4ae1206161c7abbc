"""`agentflow audit`: what a person is told of a trail, and what the process ends with."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentflow.cli.output import DONE, UNPROVEN, WRONG_USE
from agentflow.events import Event
from agentflow.journal.sqlite import SqliteJournal
from agentflow.tracing.collector import Collector
from agentflow.tracing.document import otlp_json
from agentflow.tracing.export import Exporter
from agentflow.tracing.ids import hex_trace_id
from agentflow.tracing.spans import spans_of
from tests.cli.conftest import Launcher
from tests.tracing.fake_jaeger import FakeJaeger


def events_of(project: Path, run: str) -> Sequence[Event]:
    async def read() -> Sequence[Event]:
        journal = SqliteJournal(project / "traces" / "journal.db", read_only=True)
        try:
            return await journal.read(run)
        finally:
            await journal.close()

    return asyncio.run(read())


def written(project: Path, run: str, name: str, **given: Any) -> Path:
    """The spans of a run in a file."""
    path = project / name
    spans = spans_of(events_of(project, run), with_records=True)
    path.write_text(json.dumps(otlp_json(spans, **given)), encoding="utf-8")
    return path


def tamper(project: Path, statement: str, *values: Any) -> None:
    db = sqlite3.connect(project / "traces" / "journal.db")
    with db:
        db.execute(statement, values)

    db.close()


@pytest.fixture
def ran(project: Path, launch: Launcher) -> Path:
    """The project, with the runs `a` and `b`."""
    for run in ("a", "b"):
        assert launch("run", "sums", "numbers=[1,2,3]", "--run-id", run).code == DONE

    return project


def test_a_journal_is_verified(ran: Path, launch: Launcher) -> None:
    """One run, or all; what was checked and what cannot be told is said."""
    one, all_ = launch("audit", "verify", "a"), launch("audit", "verify", "--all", "--json")
    document = json.loads(all_.out)

    assert (one.code, all_.code) == (DONE, DONE)
    assert "ok  a" in one.out
    assert "checked: the chain of hashes over all events" in one.out
    assert "not told: without a kept head" in one.out
    assert (document["ok"], document["source"]) == (True, "journal")
    assert {run["run"]: run["state"] for run in document["runs"]} == {"a": "ok", "b": "ok"}
    assert launch("audit", "head", "a").out.strip() == next(
        r["head"] for r in document["runs"] if r["run"] == "a"
    )


def test_a_journal_that_was_altered_is_told(ran: Path, launch: Launcher) -> None:
    """The first event at fault with its step, what that means, what to do; the other run is still what was written."""
    (row,) = [e for e in events_of(ran, "a") if e.type == "step.finished"][:1]
    tamper(
        ran,
        "update events set data = cast(replace(cast(data as text), '\"step\"', ' \"step\"') as blob) where seq = ? "
        "and run = (select id from runs where run = 'a')",
        row.seq,
    )
    called, all_ = launch("audit", "verify", "a"), launch("audit", "verify", "--all", "--json")

    assert (called.code, all_.code) == (UNPROVEN, UNPROVEN)
    assert f"event {row.seq} (step.finished, step split#1) was altered" in called.out
    assert f"events 1 to {row.seq - 1} are what was written" in called.out
    assert "what to do" in called.out
    document = json.loads(all_.out)
    assert document["ok"] is False
    assert {run["run"]: run["state"] for run in document["runs"]} == {"a": "forged", "b": "ok"}


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "delete from events where seq = 3 and run = (select id from runs where run = 'a')",
            "event 3 was missing",
        ),
        ("update runs set events = events - 1 where run = 'a'", "was inserted"),
        ("update runs set seal = seal + 1 where run = 'a'", "the row of run `a` is not what was written"),
        ("update events set at = at + 1 where seq = 4", "event 4"),
        ("update events set data = 'text' where seq = 5", "event 5 was altered"),
        ("update events set hash = null where seq = 5 and 0", ""),
    ],
)
def test_each_table_is_looked_at(ran: Path, launch: Launcher, statement: str, said: str) -> None:
    """Rows of events, their columns, and what is kept of the run."""
    tamper(ran, statement)
    called = launch("audit", "verify", "a")

    assert called.code == (UNPROVEN if said else DONE)
    assert said in called.out


def test_a_file_of_spans_is_verified(ran: Path, launch: Launcher) -> None:
    """It needs no journal; one that was altered is told with the span to look at."""
    path = written(ran, "a", "spans.json")
    assert launch("audit", "verify", "--file", str(path)).code == DONE
    path.write_text(path.read_text(encoding="utf-8").replace("step split", "step spilt"), encoding="utf-8")
    called = launch("audit", "verify", "--file", str(path))

    assert called.code == UNPROVEN
    assert "the span of event" in called.out
    assert "its name is 'step spilt', and was 'step split'" in called.out
    assert f"of trace {hex_trace_id('a')}" in called.out
    assert "what this span shows is not what happened" in called.out


def test_what_is_not_there_is_incomplete(ran: Path, launch: Launcher) -> None:
    """Spans without content, and spans that did not come: not forged, and not proven either."""
    bare = launch("audit", "verify", "a", "--file", str(written(ran, "a", "bare.json", content=False)))
    path = written(ran, "a", "some.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["resourceSpans"][0]["scopeSpans"][0]["spans"][-1]
    path.write_text(json.dumps(document), encoding="utf-8")
    some = launch("audit", "verify", "a", "--file", str(path))

    assert (bare.code, some.code) == (UNPROVEN, UNPROVEN)
    assert "their order is proven" in bare.out
    assert "not there: event 1: no span that is there tells of them" in some.out
    assert "incomplete" in some.out


def test_a_trace_in_jaeger_is_verified(ran: Path, launch: Launcher) -> None:
    """By the run's name or the trace's id; a trace that is not there is an error with a way out."""
    jaeger = FakeJaeger()
    try:
        exporter = Exporter(Collector(endpoint=f"{jaeger.url}/v1/traces"), environ={})
        for event in events_of(ran, "a"):
            exporter(event)

        exporter.flush(30)
        for name in ("a", hex_trace_id("a")):
            assert launch("audit", "verify", name, "--jaeger", jaeger.url).code == DONE

        absent = launch("audit", "verify", "b", "--jaeger", jaeger.url)
    finally:
        jaeger.close()

    assert absent.code == WRONG_USE
    assert "has no trace" in absent.err


def test_heads_are_signed_kept_and_compared(
    project: Path, launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run adds its head; a run that vanished, or was cut off with its count, is known by it."""
    made = launch("audit", "keygen", "--out", "keys/audit.pem", "--json")
    (project / "pyproject.toml").write_text(
        '[tool.agentflow.audit]\nkey = "keys/audit.pem"\nheads = "heads.jsonl"\n', encoding="utf-8"
    )
    ended = launch("run", "sums", "numbers=[1,2]", "--run-id", "a")
    assert f"head kept in {project / 'heads.jsonl'}, signed by key {json.loads(made.out)['key']}" in ended.err
    assert launch("run", "asked", "numbers=[1,2]", "--run-id", "w", "--no-input").code == 3
    named = ("--heads", "heads.jsonl", "--key", "keys/audit.pem.pub")
    proven = launch("audit", "verify", "--all", *named)
    assert proven.code == DONE
    assert "signed by key" in proven.out
    assert "not told" not in proven.out

    tamper(project, "delete from runs where run = 'a'")
    gone = launch("audit", "verify", "--all", *named)
    assert gone.code == UNPROVEN
    assert "a head is kept of" in gone.out
    monkeypatch.setenv("AGENTFLOW_AUDIT_HEADS", "others.jsonl")
    monkeypatch.setenv("AGENTFLOW_AUDIT_KEY", "keys/audit.pem")
    assert launch("audit", "sign", "w").code == DONE
    (line,) = (project / "others.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["run"] == "w"


def test_a_run_of_which_no_head_is_kept_is_not_proven_by_a_file_of_heads(ran: Path, launch: Launcher) -> None:
    """Who names a file of heads wants to know."""
    (ran / "heads").write_text("", encoding="utf-8")
    called = launch("audit", "verify", "a", "--heads", "heads")

    assert called.code == UNPROVEN
    assert "no head of it is kept" in called.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify"], "no run is named"),
        (["verify", "a", "--all"], "a run and `--all` are named"),
        (["verify", "nobody"], "there is no run `nobody`"),
        (["verify", "--jaeger", "http://localhost:1"], "no run is named"),
        (["verify", "a", "--file", "x", "--jaeger", "y"], "are two places"),
        (["verify", "a", "--file", "nowhere"], "nowhere cannot be read"),
        (["verify", "a", "--file", "pyproject.toml"], "is no JSON"),
        (["verify", "a", "--key", "nowhere"], "the key nowhere cannot be read"),
        (["verify", "a", "--heads", "nowhere"], "cannot be read"),
        (["sign", "a"], "no file is named"),
        (["head", "nobody"], "there is no run `nobody`"),
        (["keygen", "--out", "pyproject.toml"], "is there already"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(
    ran: Path, launch: Launcher, arguments: list[str], said: str
) -> None:
    """With another exit code than a trail that is not proven."""
    called = launch("audit", *arguments)

    assert said in called.err
    assert called.code == WRONG_USE


def test_settings_of_the_audit_are_checked(project: Path, launch: Launcher) -> None:
    """A name that is not known, a key without a place for heads, and a key that is none stop a run before it begins."""
    for text, said in (
        ('heds = "x"', "unknown setting"),
        ('key = "x"', "no file to keep them in"),
        ('heads = "x"\nkey = "y"', "cannot be read"),
    ):
        (project / "pyproject.toml").write_text(f"[tool.agentflow.audit]\n{text}\n", encoding="utf-8")
        called = launch("run", "sums", "numbers=[1]", "--run-id", "z")
        assert said in called.err
        assert called.code == WRONG_USE

    (project / "pyproject.toml").write_text("[tool.agentflow]\n", encoding="utf-8")
    assert json.loads(launch("runs", "--json").out)["runs"] == []
