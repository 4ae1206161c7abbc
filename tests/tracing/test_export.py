"""Spans reach a collector over OTLP, and a run never suffers from one that does not listen."""

from __future__ import annotations

import base64
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from importlib import import_module
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentflow import Context, MemoryJournal, Retry, Settings, Workflow, each, operation, resume, step
from agentflow.events import StepStarted
from agentflow.tracing import export
from agentflow.tracing.collector import Collector, collector_of
from agentflow.tracing.content import told
from agentflow.tracing.export import BATCH, Exporter, from_environment, otlp_json, step_scope
from agentflow.tracing.ids import step_span_id, trace_id
from agentflow.tracing.spans import SpanData, SpanLink, spans_of
from agentflow.tracing.wire import Wire
from tests.tracing.conftest import Tracing
from tests.tracing.otlp import Receiver, all_spans


@pytest.fixture
def receiver() -> Generator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@step
async def split(text: str) -> list[str]:
    return text.split()


@step(retries=Retry(times=1, delay=0.001))
async def spell(word: str, ctx: Context) -> str:
    async with operation("retrieval", "words", request={"query": word, "near": f"near {word}"}) as record:
        record.result = word.upper()

    if word == "bad":
        raise ValueError("a secret word")

    return word.upper()


@step
async def join(words: list[str]) -> str:
    return " ".join(words)


spelling = Workflow("spelling", start=split, end=join, edges=[split >> each(spell, at_most=1000) >> join])


def some_spans(count: int, size: int = 1) -> list[SpanData]:
    return [
        SpanData(
            name=f"s{n}",
            kind="internal",
            trace_id=7,
            span_id=n + 1,
            parent_id=None,
            start=1,
            end=2,
            attributes={"agentflow.text": "x" * size},
        )
        for n in range(count)
    ]


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def test_the_spans_of_a_run_arrive_whole(tracing: Tracing, receiver: Receiver) -> None:
    """Ids, parents, kinds, times, attributes, events and the resource are those of the run's spans."""
    exporter = receiver.exporter()
    traced = await tracing(spelling, "a b", observers=[exporter])
    delivery = exporter.flush(30)

    requests = receiver.taken()
    arrived = {int.from_bytes(span.span_id, "big"): span for span in all_spans(requests)}
    assert (delivery.sent, delivery.failed, delivery.why) == (len(traced.spans), 0, "")
    assert set(arrived) == {span.span_id for span in traced.spans}
    for span in [told(span, content=True) for span in spans_of(traced.events, with_records=True)]:
        other = arrived[span.span_id]
        assert other.trace_id == trace_id("spelling-1").to_bytes(16, "big")
        assert int.from_bytes(other.parent_span_id, "big") == (span.parent_id or 0)
        assert (other.name, other.start_time_unix_nano, other.end_time_unix_nano) == (
            span.name,
            span.start,
            span.end,
        )
        assert {a.key for a in other.attributes} == set(span.attributes)

    resource = {a.key: a.value.string_value for a in requests[0].resource_spans[0].resource.attributes}
    assert (resource["service.name"], resource["agentflow.convention"]) == ("agentflow", "gen_ai/0.1.0")
    assert resource["service.instance.id"].replace("-", "") == f"{trace_id('spelling-1'):032x}"


async def test_errors_and_links_arrive(tracing: Tracing, receiver: Receiver) -> None:
    """A failed attempt has the status error with its reason, and the next attempt links to it."""
    exporter = receiver.exporter()
    await tracing(spelling, "bad", observers=[exporter])
    exporter.flush(30)

    attempts = sorted(
        (s for s in all_spans(receiver.taken()) if s.name == "step spell"),
        key=lambda s: int(s.start_time_unix_nano),
    )
    assert [(s.status.code, s.status.message) for s in attempts] == [(2, "a secret word")] * 2
    assert attempts[1].links[0].span_id == attempts[0].span_id
    assert attempts[0].events[0].name == "exception"


async def test_a_resumed_run_is_sent_whole_by_the_process_that_resumes_it(
    tracing: Tracing, receiver: Receiver
) -> None:
    """An exporter that is given the journal's events first sends all spans of the run, each once."""
    traced = await tracing(spelling, "a b")
    journal = MemoryJournal()
    await journal.append("spelling-1", list(traced.events[:6]))
    exporter = receiver.exporter()
    for event in await journal.read("spelling-1"):
        exporter(event)

    settings = Settings(journal=journal, observers=[exporter])
    await (await resume(spelling, "spelling-1", settings=settings)).result()
    exporter.flush(30)

    sent = [int.from_bytes(span.span_id, "big") for span in all_spans(receiver.taken())]
    assert sorted(sent) == sorted(s.span_id for s in spans_of(await journal.read("spelling-1")))
    assert len(set(sent)) == len(sent)


def test_the_json_document_says_the_same_as_the_request(receiver: Receiver) -> None:
    """What is written to a file is, ids aside, the JSON form of what is sent."""
    spans = [
        *some_spans(2),
        SpanData(
            name="f",
            kind="client",
            trace_id=9,
            span_id=5,
            parent_id=4,
            start=1,
            end=2,
            attributes={"a": True, "b": 1, "c": 0.5, "d": ("x", "y")},
            links=(SpanLink(span_id=3), SpanLink(span_id=2, trace_id=7, attributes={"l": "forked"})),
            status="error",
            error="no",
        ),
    ]
    exporter = receiver.exporter()
    exporter.send(spans)
    exporter.flush(30)

    document = otlp_json(spans)
    for resource in document["resourceSpans"]:
        for span in resource["scopeSpans"][0]["spans"]:
            for named in (span, *span["links"]):
                for name in {"traceId", "spanId", "parentSpanId"} & set(named):
                    named[name] = base64.b64encode(bytes.fromhex(named[name])).decode()

    json_format: Any = import_module("google.protobuf.json_format")  # untyped
    written: Any = json_format.Parse(json.dumps(document), ExportTraceServiceRequest())
    (sent,) = receiver.taken()

    def plain(request: Any) -> Any:
        data: Any = json_format.MessageToDict(request)
        for resource in data["resourceSpans"]:
            resource["resource"]["attributes"].sort(key=str)

        return data

    assert plain(written) == plain(sent)


def test_requests_are_bounded_in_spans_and_bytes(receiver: Receiver) -> None:
    """Many spans go in several requests, and large ones in more."""
    exporter = receiver.exporter()
    exporter.send(some_spans(2 * BATCH + 1))
    exporter.flush(30)
    many = [len(all_spans([r])) for r in receiver.taken()]
    exporter.send(some_spans(10, size=600_000))
    exporter.flush(30)
    large = [len(all_spans([r])) for r in receiver.taken()]

    assert many == [BATCH, BATCH, 1]
    assert large == [3, 3, 3, 1]


async def test_a_run_does_not_care_for_a_collector_that_is_down(
    tracing: Tracing, caplog: pytest.LogCaptureFixture
) -> None:
    """The run ends as ever, nothing is logged, and one sentence at the end says what did not arrive and why."""
    endpoint = f"http://127.0.0.1:{closed_port()}/v1/traces"
    exporter = Exporter(Collector(endpoint=endpoint), environ={})
    with caplog.at_level(logging.WARNING):
        traced = await tracing(spelling, "a " * 100, observers=[exporter])
        delivery = exporter.flush(30)

    assert traced.result.status == "done"
    assert (delivery.sent, delivery.failed) == (0, len(traced.spans))
    assert endpoint in delivery.why
    assert "refused" in delivery.why
    assert not caplog.records


def test_a_collector_that_is_busy_gets_its_spans_later(receiver: Receiver) -> None:
    """Spans that were refused for the moment are kept, and sent with the next."""
    receiver.answers = [(503, b"", {"retry-after": "0"})]
    exporter = receiver.exporter()
    exporter.send(some_spans(BATCH))
    receiver.requests.get(timeout=30)
    delivery = exporter.flush(30)

    assert (delivery.sent, delivery.failed) == (BATCH, 0)
    assert len(all_spans(receiver.taken())) == BATCH


def test_a_collector_that_refuses_is_not_asked_again(receiver: Receiver) -> None:
    """A request that was refused for good is counted as failed with the answer, and the rest goes on."""
    receiver.answers = [(401, b"", {})]
    exporter = receiver.exporter()
    exporter.send(some_spans(BATCH + 1))
    delivery = exporter.flush(30)

    assert (delivery.sent, delivery.failed) == (1, BATCH)
    assert "answered 401" in delivery.why


def test_what_a_collector_rejects_in_part_is_counted(receiver: Receiver) -> None:
    """A partial success says how many spans were rejected, and why."""
    answer: Any = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    answer.partial_success.error_message = "too old"
    receiver.answers = [(200, answer.SerializeToString(), {})]
    exporter = receiver.exporter()
    exporter.send(some_spans(5))

    delivery = exporter.flush(30)
    assert (delivery.sent, delivery.failed, delivery.why) == (3, 2, "too old")


def test_flushing_waits_no_longer_than_it_may(receiver: Receiver) -> None:
    """A collector that does not answer leaves its spans counted as failed."""
    receiver.hold = threading.Event()
    exporter = receiver.exporter()
    exporter.send(some_spans(BATCH))
    receiver.requests.get(timeout=30)
    delivery = exporter.flush(0.05)

    assert (delivery.sent, delivery.failed) == (0, BATCH)
    assert "did not answer within 0.05 s" in delivery.why


def test_loading_is_not_taken_for_a_collector_that_does_not_answer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time to send begins once OpenTelemetry is loaded, however long that takes: until then no span is made, and none counted."""

    def slow(*given: Any) -> Wire:
        time.sleep(1)
        return Wire(*given)

    monkeypatch.setattr(export, "Wire", slow)
    receiver.hold = threading.Event()
    exporter = receiver.exporter()
    exporter.send(some_spans(3))

    assert exporter.flush(0.5).failed == 3


async def test_content_stays_here_where_the_environment_says_so(tracing: Tracing, receiver: Receiver) -> None:
    """Without content the tree, names and numbers are sent, and not a word of what was said."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "NO_CONTENT",
    }
    exporter = from_environment(environ)
    assert exporter is not None
    await tracing(spelling, "bad", observers=[exporter])
    exporter.flush(30)

    sent = receiver.taken()
    assert len(all_spans(sent)) == 7
    assert not any(word in str(sent) for word in ("secret", "bad", "BAD"))
    assert "ValueError" in str(sent)


async def test_what_goes_wrong_with_spans_does_not_reach_the_run(receiver: Receiver) -> None:
    """Events of a run that it does not know, and a certificate that is not there, are only told at the end."""
    exporter = receiver.exporter()
    exporter(StepStarted(at=1, step="s#1"))
    exporter("streamed text")
    assert "without the events before" in exporter.flush(30).why

    broken = Exporter(
        Collector(endpoint="https://127.0.0.1:1/v1/traces", certificate="/nowhere.pem"), environ={}
    )
    broken.send(some_spans(1))
    delivery = broken.flush(30)
    assert (delivery.sent, delivery.failed) == (0, 1)
    assert delivery.why


def test_the_environment_says_where_spans_go(receiver: Receiver) -> None:
    """The variables of OpenTelemetry are honoured, those for traces first; without an address nothing is sent."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://base:4318/",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x, tenant=a",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "4",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
    }
    assert collector_of(environ) == Collector(
        endpoint="http://base:4318/v1/traces",
        headers={"authorization": "Bearer x", "tenant": "a"},
        timeout=4.0,
        compression="gzip",
        certificate="/ca.pem",
    )
    own = {**environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://own/traces"}
    assert (found := collector_of(own)) is not None
    assert found.endpoint == "http://own/traces"
    assert from_environment({}) is None
    assert from_environment({**environ, "OTEL_SDK_DISABLED": "true"}) is None
    assert from_environment({**environ, "OTEL_TRACES_EXPORTER": "none"}) is None


def test_headers_compression_and_the_service_name_reach_the_collector(receiver: Receiver) -> None:
    """What the environment says of the sender arrives with the spans."""
    environ = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{receiver.url}/own/path",
        "OTEL_EXPORTER_OTLP_HEADERS": "tenant=a%2Cb",
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.name=other",
    }
    exporter = from_environment(environ)
    assert exporter is not None
    exporter.send(some_spans(1))
    exporter.flush(30)

    headers, request = receiver.requests.get_nowait()
    resource = {a.key: a.value.string_value for a in request.resource_spans[0].resource.attributes}
    assert (headers["path"], headers["tenant"]) == ("/own/path", "a,b")
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("shop", "test")


async def test_spans_of_other_libraries_nest_under_the_step(tracing: Tracing) -> None:
    """A span that a library makes inside a step is a child of the step's span, also in a thread."""
    import asyncio

    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("a library")

    def query() -> None:
        with tracer.start_as_current_span("select"):
            pass

    @step
    async def asks(text: str) -> str:
        with tracer.start_as_current_span("request"):
            await asyncio.to_thread(query)

        return text

    workflow = Workflow("asking", start=split, end=join, edges=[split >> each(asks) >> join])
    traced = await tracing(workflow, "a b", scope=step_scope("asking-1"))
    provider.shutdown()

    spans = {span.context.span_id: span for span in kept.get_finished_spans() if span.context is not None}
    assert sorted(s.name for s in spans.values()) == ["request", "request", "select", "select"]
    requests = [s for s in spans.values() if s.name == "request"]
    steps = {s.span_id for s in traced.spans if s.name == "step asks"}
    assert {s.parent.span_id for s in requests if s.parent is not None} == steps
    assert steps == {step_span_id("asking-1", f"asks#1[{i}]", 1) for i in range(2)}
    assert {s.context.trace_id for s in spans.values() if s.context is not None} == {trace_id("asking-1")}
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_nothing_global_is_touched(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending spans sets no global tracer provider."""

    def refuse(_: object) -> None:
        raise AssertionError("a global provider was set")

    monkeypatch.setattr(trace, "set_tracer_provider", refuse)
    exporter = receiver.exporter()
    exporter.send(some_spans(1))

    assert exporter.flush(30).sent == 1
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"


LIGHT = """
import sys
import agentflow.tracing.export
from agentflow.tracing.spans import spans_of
heavy = {"opentelemetry", "requests", "google.protobuf", "networkx", "agents", "pydantic"} & set(sys.modules)
assert spans_of([]) == [] and not heavy, heavy
"""


def test_no_outside_library_is_loaded_before_it_is_needed() -> None:
    """Importing the exporter and folding spans loads neither OpenTelemetry nor an HTTP client."""
    subprocess.run([sys.executable, "-c", LIGHT], check=True, timeout=60)
