"""Whatever a collector does, it has every span of a run in the end, each the same however often it was sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from agentflow import Settings, Workflow, resume, run, step
from agentflow.journal.sqlite import SqliteJournal
from agentflow.tracing.collector import Collector
from agentflow.tracing.content import Capture
from agentflow.tracing.delivery import Recipient, deliver, deliver_owed, known_delivery
from agentflow.tracing.export import BATCH, Exporter
from agentflow.tracing.spans import SpanData, spans_of
from agentflow.tracing.wire import Answer
from tests.tracing.conftest import Tracing
from tests.tracing.launching import bytes_by_id, ids_of
from tests.tracing.otlp import TAKEN, Receiver
from tests.tracing.workflows import counting


@pytest.fixture
def receiver() -> Generator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def recipient(url: str, **given: Any) -> Recipient:
    collector = Collector(endpoint=f"{url}/v1/traces", timeout=5, **given)
    return Recipient(collector=collector, capture=Capture(), environ={})


BUSY = (503, b"", {"retry-after": "0"})
TOO_MANY = (429, b"", {"retry-after": "0"})


@pytest.mark.parametrize("answers", [[BUSY], [TOO_MANY, BUSY, TAKEN, TOO_MANY], [BUSY, (413, b"", {}), BUSY]])
async def test_a_busy_collector_gets_each_span(
    tracing: Tracing, receiver: Receiver, answers: list[Any]
) -> None:
    """One that asks to come back is asked again, also in the middle, and one that finds a request too large gets smaller ones."""
    traced = await tracing(counting, "a b c")
    receiver.answers = list(answers)
    exporter = receiver.exporter()
    for event in traced.events:
        exporter(event)

    delivery = exporter.flush(20)
    arrived = bytes_by_id(receiver.kept())
    assert (delivery.sent, delivery.failed) == (len(traced.spans), 0)
    assert set(arrived) == ids_of(traced.events)
    assert {len(forms) for forms in arrived.values()} == {1}
    assert exporter.upto == traced.events[-1].seq


async def test_a_collector_that_was_down_gets_them_with_a_later_run(tracing: Tracing) -> None:
    """What nobody took is owed, noted in the journal, and sent as soon as somebody listens; then nothing is owed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    traced = await tracing(counting, "a b c")
    to = recipient(f"http://127.0.0.1:{port}")
    known = await known_delivery(tracing.journal, "counting-1", to)
    down = await deliver(tracing.journal, traced.events, known, to, 5)
    assert (down.sent, down.failed) == (0, len(traced.spans))

    receiver = Receiver(port=port)
    try:
        assert (await deliver_owed(tracing.journal, to, 20)).sent == len(traced.spans)
        assert set(bytes_by_id(receiver.kept())) == ids_of(traced.events)
        assert await tracing.journal.deliveries(to.collector.place) == []
        assert (await deliver_owed(tracing.journal, to, 20)).sent == 0
    finally:
        receiver.close()


async def test_a_collector_that_dies_in_the_middle_gets_the_rest_from_the_next(tracing: Tracing) -> None:
    """Requests that break off leave spans that are sent again, the same; those taken before are not asked for."""
    traced = await tracing(counting, "w " * 90)
    receiver = Receiver()
    port = receiver.port
    receiver.cuts = [None, 1000]  # the second request is cut off in its middle
    to = recipient(receiver.url)
    try:
        known = await known_delivery(tracing.journal, "counting-1", to)
        delivery = await deliver(tracing.journal, traced.events, known, to, 5)
        first = receiver.kept()
    finally:
        receiver.close()

    assert (delivery.sent, delivery.failed) == (BATCH, len(traced.spans) - BATCH)
    again = Receiver(port=port)
    try:
        await deliver_owed(tracing.journal, to, 20)
        rest = again.kept()
    finally:
        again.close()

    arrived = bytes_by_id([*first, *rest])
    assert set(arrived) == ids_of(traced.events)
    assert {len(forms) for forms in arrived.values()} == {1}
    sent_again = len(bytes_by_id(first)) + len(bytes_by_id(rest)) - len(arrived)
    assert sent_again < BATCH, "what was taken is not sent whole again"


async def test_who_is_refused_for_its_key_gets_it_all_once_that_is_mended(
    tracing: Tracing, receiver: Receiver
) -> None:
    """A wrong key is no reason to give spans up; a span that is wrong in itself is, and does not hold the others back."""
    traced = await tracing(counting, "a b")
    to = recipient(receiver.url)
    receiver.answers = [(401, b"", {})]
    refused = await deliver(
        tracing.journal, traced.events, await known_delivery(tracing.journal, "counting-1", to), to, 5
    )
    assert "401" in refused.why
    receiver.kept()

    receiver.wrong = spans_of(traced.events)[3].span_id.to_bytes(8, "big")
    found = await deliver_owed(tracing.journal, to, 20)
    assert (found.sent, found.failed) == (len(traced.spans) - 1, 1)
    assert await tracing.journal.deliveries(to.collector.place) == []


async def test_an_answer_that_breaks_off_is_asked_for_again(tracing: Tracing, receiver: Receiver) -> None:
    """Whether spans were taken is not known then: they are sent once more, the same, and owed until somebody says so."""
    traced = await tracing(counting, "a b")
    to = recipient(receiver.url)
    receiver.answers = [(200, b"", {"content-length": "50"})]
    known = await known_delivery(tracing.journal, "counting-1", to)
    assert (await deliver(tracing.journal, traced.events, known, to, 1)).failed == len(traced.spans)
    assert (await deliver_owed(tracing.journal, to, 20)).sent == len(traced.spans)
    assert {len(forms) for forms in bytes_by_id(receiver.kept()).values()} == {1}


def test_what_is_noted_is_never_more_than_what_was_taken(receiver: Receiver) -> None:
    """However often it is asked while spans are made, sent and given up, it counts no event whose spans are still to come."""
    exporter = receiver.exporter()
    span = SpanData(
        name="s", kind="internal", trace_id=1, span_id=1, parent_id=None, start=1, end=2, attributes={}
    )
    exporter._pending.extend((number, span) for number in range(3, 9))
    exporter._folded = 8
    assert exporter.upto == 2
    exporter._give_up()
    assert exporter.upto == 2
    exporter._settle(list(exporter._pending)[:5], Answer(taken=5))
    assert (exporter.upto, len(exporter._pending)) == (2, 0)


async def test_a_slow_collector_does_not_hold_a_run_up_and_gets_its_spans_later(
    tracing: Tracing, receiver: Receiver
) -> None:
    """Waiting ends when it was said to, and what did not arrive by then is owed."""
    traced = await tracing(counting, "a b")
    to = recipient(receiver.url)
    receiver.hold = threading.Event()
    known = await known_delivery(tracing.journal, "counting-1", to)
    slow = await deliver(tracing.journal, traced.events, known, to, 1)
    assert slow.failed == len(traced.spans)
    assert "did not answer within 1 s" in slow.why

    receiver.hold.set()
    assert (await deliver_owed(tracing.journal, to, 20)).failed == 0
    assert set(bytes_by_id(receiver.kept())) == ids_of(traced.events)


async def test_sent_again_by_another_process_they_are_the_same(tracing: Tracing, receiver: Receiver) -> None:
    """The name and the attributes of who sent first, and what was told then, are kept; what may be told less since then is."""
    traced = await tracing(counting, "a b")
    first = recipient(receiver.url)
    first = Recipient(
        collector=first.collector, capture=Capture("full"), environ={"OTEL_SERVICE_NAME": "shop"}
    )
    await tracing.journal.note_delivery(first.noted("counting-1", 0))
    for environ in ({"OTEL_SERVICE_NAME": "shop"}, {"OTEL_RESOURCE_ATTRIBUTES": "host.name=other"}):
        to = Recipient(collector=first.collector, capture=Capture("full"), environ=environ)
        known = await known_delivery(tracing.journal, "counting-1", to)
        await deliver(
            tracing.journal,
            traced.events,
            known.__class__(run="counting-1", place=known.place, upto=0, manner=known.manner),
            to,
            20,
        )

    arrived = bytes_by_id(receiver.kept())
    assert {len(forms) for forms in arrived.values()} == {1}
    none = Recipient(collector=first.collector, capture=Capture("none"), environ={})
    await deliver(tracing.journal, traced.events, first.noted("counting-1", 0), none, 20)
    assert b"a b" not in b"".join(r.SerializeToString() for r in receiver.kept())


async def test_what_was_delivered_is_noted_in_a_file_and_goes_with_its_run(tmp_path: Path) -> None:
    """The watermark survives the process, never goes back, is of one place, and is pruned with its run."""
    journal = SqliteJournal(tmp_path / "j.db")
    await run(counting, "a b", run_id="r", settings=Settings(journal=journal)).result()
    one, other = recipient("http://one"), recipient("http://other")
    for upto in (0, 9, 4):
        await journal.note_delivery(one.noted("r", upto))

    await journal.close()
    reading = SqliteJournal(tmp_path / "j.db", read_only=True)
    (owed,) = await reading.deliveries(one.collector.place)
    assert (owed.run, owed.upto, owed.manner["content"]) == ("r", 9, "redacted")
    assert await reading.deliveries(other.collector.place, "r") == []
    await reading.close()

    journal = SqliteJournal(tmp_path / "j.db")
    await journal.note_delivery(one.noted("r", len(await journal.read("r"))))
    assert await journal.deliveries(one.collector.place) == []
    assert len(await journal.deliveries(one.collector.place, "r")) == 1
    await journal.prune(["r"])
    assert await journal.deliveries(one.collector.place, "r") == []
    await journal.close()


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_json_says_the_same_as_protobuf(receiver: Receiver, compression: Any, tracing: Tracing) -> None:
    """With either protocol, whatever the compression, the collector gets the same spans of the same resource."""
    import asyncio

    traced = asyncio.run(tracing(counting, "ä b"))
    forms: list[dict[bytes, set[bytes]]] = []
    protocols: tuple[Any, ...] = ("http/protobuf", "http/json")
    for protocol in protocols:
        exporter = Exporter(
            Collector(endpoint=f"{receiver.url}/v1/traces", protocol=protocol, compression=compression),
            environ={},
        )
        exporter.send(spans_of(traced.events, with_records=True))
        assert exporter.flush(20).failed == 0
        forms.append(bytes_by_id(receiver.kept()))

    assert forms[0].keys() == forms[1].keys()
    assert [len(a | b) for a, b in zip(forms[0].values(), forms[1].values(), strict=True)] == [1] * len(
        forms[0]
    )


async def test_spans_carry_the_name_of_the_process_that_did_the_work(
    tracing: Tracing, receiver: Receiver
) -> None:
    """A run that went from one worker to another tells whose each span is, whoever sends them."""
    fails = [True]

    @step
    async def first(text: str) -> str:
        return text

    @step
    async def second(text: str) -> str:
        if fails:
            raise ValueError("not yet")

        return text

    workflow = Workflow("moved", start=first, end=second, edges=[first >> second])
    await tracing(workflow, "a", service="worker-1")
    fails.clear()
    settings = Settings(journal=tracing.journal, service="worker-2")
    await (await resume(workflow, "moved-1", settings=settings)).result()

    exporter = receiver.exporter()
    for event in await tracing.journal.read("moved-1"):
        exporter(event)

    assert exporter.flush(20).failed == 0
    whose = {
        (resource.resource.attributes[-1].value.string_value, span.name, span.status.code)
        for request in receiver.kept()
        for resource in request.resource_spans
        for scoped in resource.scope_spans
        for span in scoped.spans
    }
    assert whose == {
        ("worker-1", "step first", 0),
        ("worker-1", "step second", 2),
        ("worker-1", "invoke_workflow moved", 2),
        ("worker-2", "step second", 0),
        ("worker-2", "invoke_workflow moved", 0),
    }
