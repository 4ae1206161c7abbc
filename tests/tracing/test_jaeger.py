"""Traces come back from Jaeger as they were sent, and what goes wrong on the way is said in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agentflow.audit.spans import verify_spans
from agentflow.exceptions import TraceNotFound, TraceUnreadable
from agentflow.tracing.collector import Collector
from agentflow.tracing.content import told
from agentflow.tracing.export import Exporter
from agentflow.tracing.ids import hex_trace_id
from agentflow.tracing.jaeger import fetch_trace
from agentflow.tracing.received import read_file, spans_in
from agentflow.tracing.spans import spans_of
from tests.audit.trails import document_of, spans_in_document, trails
from tests.tracing.fake_jaeger import FakeJaeger

TRACE = hex_trace_id("r")


@pytest.fixture
def jaeger() -> Iterator[FakeJaeger]:
    server = FakeJaeger()
    yield server
    server.close()


def send(jaeger: FakeJaeger, name: str, *, content: bool = True) -> None:
    exporter = Exporter(Collector(endpoint=f"{jaeger.url}/v1/traces"), environ={}, content=content)
    for event in trails()[name]:
        exporter(event)

    assert exporter.flush(30).failed == 0


@pytest.mark.parametrize("name", ["asked and answered", "failed and cancelled", "large"])
def test_a_trace_comes_back_as_it_was_sent(jaeger: FakeJaeger, name: str) -> None:
    """Each span is the one that was made, and the trail is proven from what Jaeger has alone."""
    send(jaeger, name)
    received = spans_in(fetch_trace(jaeger.url, TRACE))
    made = [told(span, content=True) for span in spans_of(trails()[name], with_records=True)]

    assert sorted((one.span for one in received), key=lambda s: s.span_id) == sorted(
        made, key=lambda s: s.span_id
    )
    verdict = verify_spans(received, "r")
    assert (verdict.state, verdict.events) == ("ok", len(trails()[name]))


def test_what_jaeger_was_made_to_say_otherwise_is_found(jaeger: FakeJaeger) -> None:
    """One attribute of one span, in its store."""
    send(jaeger, "asked and answered")
    for _, _, span in jaeger.spans:
        for attribute in span.attributes:
            if attribute.key == "agentflow.approval.by":
                attribute.value.string_value = "bob"

    verdict = verify_spans(spans_in(fetch_trace(jaeger.url, TRACE)), "r")
    assert verdict.state == "forged"
    assert verdict.fault is not None
    assert "`agentflow.approval.by` is 'bob', and was 'ann'" in verdict.fault.why


def test_what_an_older_store_does_not_keep_is_named() -> None:
    """Attributes of links, and times below a microsecond, are no alarm; the trail is proven as far as it goes."""
    server = FakeJaeger(is_old=True)
    try:
        send(server, "asked and answered")
        verdict = verify_spans(spans_in(fetch_trace(server.url, TRACE)), "r")
    finally:
        server.close()

    assert (verdict.state, verdict.fault) == ("incomplete", None)
    assert [gap.partition(": ")[2] for gap in verdict.gaps] == ["times below 1000 ns", "attributes of links"]


def test_a_trace_that_is_not_there_yet_says_so(jaeger: FakeJaeger) -> None:
    """Jaeger writes some time after it took a span."""
    with pytest.raises(TraceNotFound, match=f"has no trace {TRACE}") as refused:
        fetch_trace(jaeger.url, TRACE)

    assert "some seconds after" in refused.value.hint
    jaeger.words = (200, "application/json", b'{"result": {}}')
    with pytest.raises(TraceNotFound):
        fetch_trace(jaeger.url + "/", TRACE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((404, "text/html", b"<h1>Not Found</h1>"), "answered 404"),
        ((500, "text/plain", b"no"), "answered 500"),
        ((200, "text/html", b"<html>"), "did not answer with JSON"),
        ((200, "application/json", b"[1]"), "did not answer with JSON"),
    ],
)
def test_another_server_is_not_taken_for_jaeger(
    jaeger: FakeJaeger, words: tuple[int, str, bytes], said: str
) -> None:
    """Its answer is told, and which address to name."""
    jaeger.words = words
    with pytest.raises(TraceUnreadable, match=said) as refused:
        fetch_trace(jaeger.url, TRACE)

    assert "Jaeger v2" in refused.value.hint


@pytest.mark.parametrize("url", ["localhost:16686", "file:///etc/passwd", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """Nothing is asked."""
    with pytest.raises(TraceUnreadable, match="is no address"):
        fetch_trace(url, TRACE)


def test_nobody_there_is_said() -> None:
    """The address and the reason."""
    server = FakeJaeger()
    server.close()
    with pytest.raises(TraceUnreadable, match="refused") as refused:
        fetch_trace(server.url, TRACE)

    assert "start Jaeger there" in refused.value.hint


def _snaked(value: Any) -> Any:
    if isinstance(value, list):
        return [_snaked(item) for item in value]

    if not isinstance(value, dict):
        return value

    return {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in name): _snaked(item)
        for name, item in value.items()
    }


def test_other_spellings_of_otlp_are_read_alike() -> None:
    """Names in snake_case, kinds and statuses by name, one document a line."""
    document = document_of(trails()["failed"])
    other = _snaked(json.loads(json.dumps(document)))
    for span in other["resource_spans"][0]["scope_spans"][0]["spans"]:
        span["kind"] = {1: "SPAN_KIND_INTERNAL", 3: "SPAN_KIND_CLIENT"}[span["kind"]]
        if span["status"]:
            span["status"]["code"] = "STATUS_CODE_ERROR"

    assert spans_in(other) == spans_in(document)
    lines = "\n".join(json.dumps(one) for one in (document, other))
    assert read_file(lines) == [*spans_in(document), *spans_in(other)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "this is no JSON"),
        ("<html>", "this is no JSON"),
        ("3", "it is int, not an object"),
        ('{"resourceSpans": 3}', "it is no list"),
        ('{"resourceSpans": [{"scopeSpans": [{"spans": ["x"]}]}]}', "spans is not OTLP"),
        ('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}', "is not OTLP"),
    ],
)
def test_what_is_no_otlp_is_refused(text: str, said: str) -> None:
    """With what it is instead."""
    with pytest.raises(TraceUnreadable, match=said):
        assert read_file(text or "\x00") is None


def test_an_attribute_that_stands_there_twice_is_refused() -> None:
    """Readers would not agree which of the two it is."""
    document = document_of(trails()["failed"])
    span = spans_in_document(document)[0]
    span["attributes"].append(span["attributes"][0])
    with pytest.raises(TraceUnreadable, match="stands there twice"):
        spans_in(document)
