"""A receiver that is not ours (Arize Phoenix) reads what we send: the tree, the errors, and one span for two sendings."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from agentflow import Context, Retry, Workflow, each, operation, step
from agentflow.audit.pieces import chain_faults, chain_of, gathered, head_faults
from agentflow.audit.spans import verify_spans
from agentflow.encoding import decode
from agentflow.tracing.export import Exporter, from_environment
from agentflow.tracing.ids import hex_trace_id, trace_id
from agentflow.tracing.received import spans_in
from agentflow.tracing.spans import SpanData
from tests.tracing.conftest import Tracing

pytestmark = [pytest.mark.receiver, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
START = "import sys; from phoenix.server.main import main; sys.argv = ['phoenix', 'serve']; main()"


def interpreter() -> str:
    given = os.environ.get("AGENTFLOW_RECEIVER_PYTHON")
    python = Path(given) if given else ROOT / ".venv-receiver" / "bin" / "python"
    if not python.exists():
        pytest.fail(
            f"there is no receiver at {python}: make it with `make receiver`, or set AGENTFLOW_RECEIVER_PYTHON"
        )

    return str(python)


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()

    return ports


def answer(url: str) -> Any:
    with urlopen(url, timeout=10) as response:
        return json.load(response) if "json" in response.headers.get("content-type", "") else response.read()


def wait_until_up(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    while True:
        assert process.poll() is None, f"the receiver ended:\n{log.read_text()[-2000:]}"
        try:
            answer(f"{url}/healthz")
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
        else:
            return


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a receiver of our own, on loopback, that tells nobody of itself."""
    folder = tmp_path_factory.mktemp("receiver")
    port, grpc = free_ports(2)
    environ = {
        "HOME": str(folder),
        "PATH": os.environ.get("PATH", ""),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    }
    log = folder / "receiver.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [interpreter(), "-c", START], env=environ, cwd=folder, stdout=out, stderr=out
        )

    try:
        wait_until_up(process, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def exporter_to(url: str) -> Exporter:
    exporter = from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert exporter is not None
    return exporter


def stored(url: str, run: str, count: int) -> list[dict[str, Any]]:
    """The spans of a run in the receiver, which writes them some time after it took them."""
    spans: list[dict[str, Any]] = []
    while len(spans) < count:
        time.sleep(0.2)
        try:
            spans = answer(f"{url}/v1/projects/default/spans?trace_id={hex_trace_id(run)}&limit=500")["data"]
        except URLError:  # no project yet
            continue

    return spans


@step
async def split(text: str) -> list[str]:
    return text.split()


@step(retries=Retry(times=1, delay=0.001))
async def look(word: str, ctx: Context) -> int:
    async with operation("retrieval", "lexicon", request={"query": word}, top_k=1) as record:
        record.result = [{"source": "lexicon", "place": word, "score": 0.5}]

    if word == "flaky" and ctx.attempt == 1:
        raise ValueError("it flickered")

    return len(word)


@step
async def total(lengths: list[int]) -> int:
    return sum(lengths)


def counting(name: str) -> Workflow[str, int]:
    """A workflow, and so a run and a trace, of this name: the tests share a receiver."""
    return Workflow(name, start=split, end=total, edges=[split >> each(look) >> total])


def outline(spans: list[SpanData]) -> dict[str, tuple[str, str | None, str]]:
    return {
        f"{s.span_id:016x}": (
            s.name,
            f"{s.parent_id:016x}" if s.parent_id else None,
            "ERROR" if s.error else "UNSET",
        )
        for s in spans
    }


async def test_a_run_is_read_back_with_parents_and_errors(tracing: Tracing, receiver: str) -> None:
    """Each span of a run is there with its name, its parent and its status, and nothing else is."""
    exporter = exporter_to(receiver)
    traced = await tracing(counting("read"), "a flaky word", observers=[exporter])
    delivery = exporter.flush(60)

    assert (delivery.sent, delivery.failed) == (len(traced.spans), 0)
    read = stored(receiver, "read-1", len(traced.spans))
    assert {s["context"]["span_id"]: (s["name"], s["parent_id"], s["status_code"]) for s in read} == outline(
        list(traced.spans)
    )
    failed = next(s for s in read if s["status_code"] == "ERROR")
    assert failed["status_message"] == "it flickered"
    assert failed["attributes"]["error.type"] == "ValueError"


async def test_the_receiver_knows_our_conventions(tracing: Tracing, receiver: str) -> None:
    """It finds the kind of an operation, the run as session, and messages as messages, without being told."""
    exporter = exporter_to(receiver)
    traced = await tracing(counting("known"), "word", observers=[exporter])
    exporter.flush(60)

    read = {s["name"]: s for s in stored(receiver, "known-1", len(traced.spans))}
    assert read["retrieval lexicon"]["span_kind"] == "RETRIEVER"
    root = read["invoke_workflow known"]["attributes"]
    assert root["session.id"] == "known-1"
    assert root["llm.output_messages.0.message.role"] == "assistant"


async def test_a_run_that_is_sent_twice_is_there_once(tracing: Tracing, receiver: str) -> None:
    """Sending a whole run again adds nothing, as its spans are the same."""
    exporter = exporter_to(receiver)
    traced = await tracing(counting("twice"), "a b", observers=[exporter])
    exporter.flush(60)
    exporter.send(traced.spans)
    delivery = exporter.flush(60)
    last = await tracing(counting("after"), "z")
    exporter.send(last.spans)
    exporter.flush(60)

    assert (delivery.sent, delivery.failed) == (2 * len(traced.spans), 0)
    # What was sent after it has been written, so the second sending has been, too.
    stored(receiver, "after-1", len(last.spans))
    assert len(stored(receiver, "twice-1", len(traced.spans))) == len(traced.spans)


async def test_a_trail_is_proven_from_what_the_receiver_has(tracing: Tracing, receiver: str) -> None:
    """All events come back, chained, as they were written: of the spans, this receiver changes kinds, times and attributes."""
    exporter = exporter_to(receiver)
    traced = await tracing(counting("proven"), "a flaky word", observers=[exporter])
    exporter.flush(60)
    stored(receiver, "proven-1", len(traced.spans))
    read = answer(f"{receiver}/v1/projects/default/spans/otlpv1?limit=500")["data"]
    received = spans_in({"resourceSpans": [{"scopeSpans": [{"spans": read}]}]})
    pieces = gathered([one for one in received if one.span.trace_id == trace_id("proven-1")])
    verdict = verify_spans(received, "proven-1")

    assert chain_faults(pieces, chain_of(pieces)) == head_faults(pieces, "proven-1") == pieces.faults == []
    assert [decode(piece.raw) for _, piece in sorted(pieces.events.items())] == traced.events
    assert verdict.head == await tracing.journal.head("proven-1")
    assert verdict.fault is not None
    assert verdict.fault.of == "span"
