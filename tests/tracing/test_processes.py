"""Processes that are killed, asked to stop or told to be silent: their spans arrive, and their journal is whole."""

from __future__ import annotations

import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from agentflow.events import Event
from agentflow.exceptions import ProjectError
from agentflow.journal.sqlite import SqliteJournal
from agentflow.tracing.collector import collector_of, silencers
from agentflow.tracing.spans import spans_of
from tests.tracing.launching import PROJECT, begun, bytes_by_id, ids_of, launched
from tests.tracing.otlp import Receiver


@pytest.fixture
def receiver() -> Generator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "slowly.py").write_text(PROJECT)
    return tmp_path


async def events_in(project: Path) -> list[Event]:
    journal = SqliteJournal(project / "traces" / "journal.db", read_only=True)
    events = await journal.read("r")
    await journal.close()
    return events


async def test_a_killed_and_resumed_run_is_delivered_whole(project: Path, receiver: Receiver) -> None:
    """The spans that came from the process that was killed and from the one that went on are those of the journal."""
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    with begun(project, "run", "slowly", "1", "--run-id", "r", **where, WHAT="wait") as process:
        receiver.requests.get(timeout=60)  # what ended before is sent while the run goes on
        process.kill()

    before = receiver.kept()
    again = launched(project, "resume", "r", **where)
    assert again.returncode == 0, again.stderr
    assert "spans delivered" in again.stderr

    arrived = bytes_by_id([*before, *receiver.kept()])
    assert set(arrived) == ids_of(await events_in(project))
    assert {len(forms) for forms in arrived.values()} == {1}


@pytest.mark.parametrize("is_slow", [False, True])
async def test_a_process_that_is_asked_to_stop_sends_what_it_has_within_a_bound(
    project: Path, receiver: Receiver, is_slow: bool
) -> None:
    """SIGTERM ends a run so that it can be resumed, with its spans sent; a collector that hangs does not keep it."""
    if is_slow:
        receiver.hold = threading.Event()

    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    if is_slow:
        where["OTEL_BSP_EXPORT_TIMEOUT"] = "200"

    stopped = launched(project, "run", "slowly", "1", "--run-id", "r", **where, WHAT="term")
    assert stopped.returncode == 130, stopped.stderr
    events = await events_in(project)
    if is_slow:
        assert "were not delivered" in stopped.stderr
        assert "agentflow audit export r" in stopped.stderr
    else:
        assert set(bytes_by_id(receiver.kept())) == ids_of(events)


async def test_nothing_silences_the_journal(project: Path, receiver: Receiver) -> None:
    """Variables that switch tracing off keep spans from being sent at most, which is said once; the run is recorded whole."""
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    off = launched(project, "run", "slowly", "1", "--run-id", "r", **where, OTEL_SDK_DISABLED="true")
    assert off.stderr.count("OTEL_SDK_DISABLED keeps spans from being sent") == 1
    assert not receiver.accepted
    events = await events_in(project)
    assert events[-1].type == "run.finished"

    limits = {
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "1",
        "OTEL_ATTRIBUTE_COUNT_LIMIT": "1",
    }
    sampled = launched(project, "run", "slowly", "1", "--run-id", "s", **where, **limits)
    assert sampled.stderr.count("OTEL_TRACES_SAMPLER=always_off is not followed") == 1
    requests = receiver.kept()
    assert len(bytes_by_id(requests)) == len(spans_of(events))
    for span in [s for r in requests for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]:
        assert {"agentflow.audit.records", "gen_ai.conversation.id"} & {a.key for a in span.attributes}
        assert span.dropped_attributes_count == 0


def test_what_would_silence_is_said_of_each_variable() -> None:
    """Each of the three is named with what it does and what it does not."""
    assert silencers({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}) == []
    assert "OTEL_TRACES_EXPORTER" in silencers({"OTEL_TRACES_EXPORTER": "none"})[0]
    assert "OTEL_SDK_DISABLED" in silencers({"OTEL_SDK_DISABLED": "True"})[0]
    assert "traceidratio" in silencers({"OTEL_TRACES_SAMPLER": "traceidratio"})[0]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PROTOCOL", "grpc", "http/protobuf, http/json"),
        ("COMPRESSION", "zstd", "gzip"),
        ("ENDPOINT", "collector:4317", "http://localhost:4318"),
    ],
)
def test_what_is_not_spoken_is_refused(name: str, value: str, said: str) -> None:
    """gRPC, an unknown compression and an address without a scheme are refused with what to write instead."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318", f"OTEL_EXPORTER_OTLP_{name}": value}
    with pytest.raises(ProjectError) as refused:
        collector_of(environ)

    assert said in refused.value.hint


def test_a_run_goes_on_where_spans_cannot_be_sent(project: Path) -> None:
    """A protocol that is not spoken is said at the end of a run, which is not the worse for it."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    ended = launched(project, "run", "slowly", "1", "--run-id", "r", **environ)
    assert ended.returncode == 0
    assert "spans are not sent: OTEL_EXPORTER_OTLP_PROTOCOL is `grpc`" in ended.stderr
