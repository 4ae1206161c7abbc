"""However often a run is cut off and taken up, its spans are one tree, and those that were sent stay as they were."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from agentflow import MemoryJournal, resume, run
from agentflow.encoding import decode, encode
from agentflow.events import Event, OperationStarted, StepStarted
from agentflow.tracing.span import SpanData
from agentflow.tracing.spans import spans_of
from tests.tracing import ordering
from tests.tracing.ordering import answered, cut, finished
from tests.tracing.otlp import Receiver, all_spans

_whole: list[Sequence[Event]] = []


async def whole() -> Sequence[Event]:
    """A run that nothing cut off, made once."""
    if not _whole:
        journal = MemoryJournal()
        await run(ordering.ordering, "go", run_id="r", settings=ordering.settings(journal)).result()
        await finished(journal)
        _whole.append(await journal.read("r"))

    return _whole[0]


async def cut_and_resumed(places: Sequence[int], verdict: str) -> list[Sequence[Event]]:
    """The journal after each of several lives: at each place the process dies, and another one takes the run up."""
    lives = [await whole()]
    for place in places:
        journal = await cut(lives[-1], 1 + place % (len(lives[-1]) - 1))
        for _ in range(9):
            again = await resume(ordering.ordering, "r", settings=ordering.settings(journal))
            if (await answered(again, verdict)).status != "waiting":
                break

        lives.append(await journal.read("r"))

    return lives


def assert_is_a_tree(events: Sequence[Event], spans: Sequence[SpanData]) -> None:
    ids = Counter(span.span_id for span in spans)
    assert max(ids.values()) == 1
    assert {span.parent_id for span in spans} - {None} <= set(ids)
    assert sum(span.parent_id is None for span in spans) == 1
    assert {link.span_id for span in spans for link in span.links} <= set(ids)
    assert all(span.start <= span.end for span in spans)
    made = [e for e in events if isinstance(e, StepStarted | OperationStarted)]
    assert len(spans) == len(made) + 1


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=2), st.sampled_from(["retry", "done"]))
def test_a_run_that_is_cut_off_anywhere_is_one_tree(places: list[int], verdict: str) -> None:
    """After each life: one span for each attempt and operation, each parent and linked span is there, and again the same."""
    for events in asyncio.run(cut_and_resumed(places, verdict)):
        spans = spans_of(events)
        assert events[-1].type == "run.finished"
        assert_is_a_tree(events, spans)
        assert spans_of([decode(encode(event)) for event in events]) == spans


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 500), st.sampled_from(["retry", "done"]))
def test_spans_that_were_given_stay_as_they_are(place: int, verdict: str) -> None:
    """The spans of any beginning of a journal are the first ones of the whole."""
    events = asyncio.run(cut_and_resumed([place], verdict))[-1]
    spans = spans_of(events)
    for count in range(0, len(events), 5):
        given_then = spans_of(events[:count])
        assert given_then == spans[: len(given_then)]


async def test_another_process_sends_the_same_spans_again() -> None:
    """What was sent before a pause is sent byte for byte the same by the process that goes on, beside the rest."""
    receiver = Receiver()
    try:
        journal = MemoryJournal()
        first = receiver.exporter()
        given = ordering.settings(journal, observers=[first])
        assert (await run(ordering.ordering, "go", run_id="r", settings=given).result()).status == "waiting"
        first.flush(30)
        sent = {s.span_id: s.SerializeToString(deterministic=True) for s in all_spans(receiver.taken())}

        journal = await cut(await journal.read("r"), 1000)
        later = receiver.exporter()
        for event in await journal.read("r"):
            later(event)

        given = ordering.settings(journal, observers=[later])
        again = await resume(ordering.ordering, "r", settings=given)
        assert (await answered(again)).status == "waiting"
        later.flush(30)
        resent = {s.span_id: s.SerializeToString(deterministic=True) for s in all_spans(receiver.taken())}
    finally:
        receiver.close()

    assert len(sent) > 10
    assert sent.items() < resent.items()
