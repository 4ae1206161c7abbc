"""Logs are lines of JSON that name the trace and the span of the step that wrote them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentflow import Context, Retry, Workflow, each, step
from agentflow.cli.telemetry import both
from agentflow.events import ErrorInfo, StepFailed
from agentflow.exceptions import ProjectError
from agentflow.tracing.content import Capture, Level
from agentflow.tracing.export import step_scope
from agentflow.tracing.ids import hex_trace_id
from agentflow.tracing.logs import JsonLines, log_scope, opened
from tests.tracing.conftest import Traced, Tracing
from tests.tracing.launching import launched
from tests.tracing.planted import Planter

log = logging.getLogger("shop")


@step
async def split(text: str) -> list[str]:
    return text.split()


@step(retries=Retry(times=1, delay=0.001))
async def work(word: str, ctx: Context) -> str:
    await asyncio.to_thread(log.info, "looking at %s", word)
    if ctx.attempt == 1 and word == "b":
        log.error("it failed", exc_info=ValueError("bob@example.org"))
        raise ValueError("bob@example.org")

    return word


@step
async def join(words: list[str]) -> str:
    return " ".join(words)


logging_ = Workflow("logging", start=split, end=join, edges=[split >> each(work) >> join])


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    level = log.level
    log.setLevel(logging.INFO)
    yield io.StringIO()
    log.setLevel(level)


async def logged(tracing: Tracing, to: io.StringIO, level: Level) -> tuple[Traced, list[dict[str, Any]]]:
    handler = JsonLines(to, Capture(level))
    log.addHandler(handler)
    scope = both(step_scope("logging-1"), log_scope("logging-1"))
    try:
        traced = await tracing(logging_, "a b", observers=[handler], scope=scope)
    finally:
        log.removeHandler(handler)

    return traced, [json.loads(line) for line in to.getvalue().splitlines()]


async def test_each_line_leads_to_the_span_of_its_step(tracing: Tracing, written: io.StringIO) -> None:
    """What a step logs, also in a thread, and what happens to it carry trace and span id of that attempt."""
    traced, lines = await logged(tracing, written, "redacted")
    spans = {f"{span.span_id:016x}": span for span in traced.spans}
    assert {line["trace_id"] for line in lines} == {hex_trace_id("logging-1")}
    said = [line for line in lines if line["logger"] == "shop"]
    assert sorted(line["message"] for line in said) == [
        "it failed",
        "looking at a",
        "looking at b",
        "looking at b",
    ]
    for line in said:
        attributes = spans[line["span_id"]].attributes
        assert attributes["agentflow.step.activation"] == line["step"]
        assert attributes["agentflow.step.attempt"] == line["attempt"]

    events = [line for line in lines if line["logger"] == "agentflow"]
    assert [line["event"] for line in events] == [event.type for event in traced.events]
    assert all(line["span_id"] in spans for line in events)
    failed = next(line for line in events if line["event"] == "step.failed")
    assert (failed["level"], failed["error.type"], failed["message"]) == ("ERROR", "ValueError", "[email]")


@pytest.mark.parametrize(
    ("level", "is_shown", "is_address_shown"),
    [("none", False, False), ("digests", False, False), ("redacted", True, False), ("full", True, True)],
)
async def test_logs_tell_no_more_than_the_setting_allows(
    tracing: Tracing, written: io.StringIO, level: Level, is_shown: bool, is_address_shown: bool
) -> None:
    """The one setting for content holds for logs, their exceptions and the errors of steps as well."""
    await logged(tracing, written, level)
    assert ("looking at a" in written.getvalue()) is is_shown
    assert ("bob@example.org" in written.getvalue()) is is_address_shown


@pytest.mark.parametrize("level", ["none", "digests", "redacted"])
def test_two_hundred_planted_secrets_are_in_no_log(written: io.StringIO, level: Level) -> None:
    """In messages, in their arguments, in exceptions and in the errors of steps."""
    planted = Planter(11).planted(200)
    handler = JsonLines(written, Capture(level))
    log.addHandler(handler)
    try:
        for n, (text, _) in enumerate(planted):
            error = ErrorInfo(kind="ValueError", message=text)
            match n % 4:
                case 0:
                    log.info(text)
                case 1:
                    log.info("it said %s, twice: %r", text, [text])
                case 2:
                    log.error("it failed", exc_info=ValueError(text))
                case _:
                    handler(StepFailed(at=n, seq=n, step="s#1", error=error))
    finally:
        log.removeHandler(handler)

    lines = written.getvalue()
    assert len(lines.splitlines()) == 200
    assert [s for _, s in planted if s.splitlines()[-2 if "\n" in s else 0] in lines] == []


def test_a_log_is_written_where_that_is_asked_for(tmp_path: Path) -> None:
    """A run with a log has it in a file that others may not read, with the lines of its steps."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "says.py").write_text(
        "import logging\nfrom agentflow import Workflow, step\n\n"
        "@step\nasync def say(text: str) -> str:\n    logging.getLogger('x').info('hello %s', text)\n    return text\n\n"
        "says = Workflow('says', start=say, end=say)\n"
    )
    assert (
        launched(tmp_path, "run", "says", "you", "--run-id", "r", AGENTFLOW_LOG="logs/l.jsonl").returncode
        == 0
    )
    path = tmp_path / "logs" / "l.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    said = [line for line in lines if line["logger"] == "x"]
    assert [(line["message"], line["step"]) for line in said] == [("hello you", "say#1")]
    assert said[0]["trace_id"] == hex_trace_id("r")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Before anything runs, with where to set it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ProjectError, match="cannot be written"):
        opened("file/log", tmp_path)
