"""Whatever is changed in a trail is found, and where it was changed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from agentflow.audit.rows import verify_rows
from agentflow.audit.spans import verify_spans
from agentflow.audit.verdict import Verdict
from agentflow.events import Event
from agentflow.tracing.received import spans_in
from agentflow.tracing.spans import spans_of
from tests.audit.tampering import tampered_rows, tampered_spans
from tests.audit.trails import document_of, spans_in_document, trail_of, trails

NAMES = list(trails())


def check_rows(events: Sequence[Event], other: Sequence[Event], seed: int) -> int:
    found = 0
    for one in tampered_rows(trail_of(events), trail_of(other), Random(seed)):
        verdict = verify_rows(one.what)
        fault = verdict.fault
        assert verdict.state == "forged", one.how
        assert fault is not None
        assert fault.seq in one.places or (fault.upto and fault.upto + 1 == one.places.stop), (one.how, fault)
        assert fault.what in one.kinds, (one.how, one.places, fault)
        found += 1

    return found


def check_spans(events: Sequence[Event], seed: int, share: float) -> int:
    """Alter a share of all that spans say; each is found, on the span itself or as the event that it is made of."""
    made = {f"{span.span_id:016x}": span for span in spans_of(events, with_records=True)}
    found = 0
    for how, document, span in tampered_spans(document_of(events), Random(seed), share):
        verdict = verify_spans(spans_in(document), "r")
        _assert_found(how, verdict, span, {record.seq for record in made[span].records or ()})
        found += 1

    return found


def _assert_found(how: str, verdict: Verdict, span: str, events: set[int]) -> None:
    assert verdict.state != "ok", how
    if verdict.fault is None:
        # What a store did not keep is as good as never told.
        assert how.startswith(("take agentflow.audit.content", "take agentflow.link")), how
        return

    fault = verdict.fault
    assert fault is not None, (how, verdict)
    assert fault.span == span or fault.seq in events, (how, fault)


@pytest.mark.parametrize("name", NAMES)
def test_each_event_of_a_journal_is_guarded(name: str) -> None:
    """Flipped, dropped, swapped, inserted, cut off, doubled or taken from another run: found at the right place."""
    other = "failed" if name != "failed" else "moved"

    assert check_rows(trails()[name], trails()[other], seed=1) > 10 * (len(trails()[name]) - 1)


@pytest.mark.parametrize(
    "name", ["failed and cancelled", "moved", "a map in a workflow", "asked and answered"]
)
def test_each_attribute_of_each_span_is_guarded(name: str) -> None:
    """Names, times, parents, statuses, events, links and attributes: each altered, taken away or added."""
    assert check_spans(trails()[name], seed=1, share=0.4) > 50


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_each_attribute_and_event_is_guarded_in_every_way(name: str) -> None:
    """All of them, in several ways each."""
    events = trails()[name]
    for seed in range(2, 22):
        assert check_rows(events, trails()["moved" if name != "moved" else "failed"], seed)

    for seed in range(2, 4):
        assert check_spans(events, seed, share=1)


def verdict_on(document: Any) -> Verdict:
    return verify_spans(spans_in(document), "r")


@pytest.mark.parametrize("name", NAMES)
def test_a_span_that_is_not_there_is_missing_not_forged(name: str) -> None:
    """It may not have come yet; the events that it tells of are named."""
    document = document_of(trails()[name])
    for place in range(len(spans_in_document(document))):
        less = copy.deepcopy(document)
        del spans_in_document(less)[place]
        verdict = verdict_on(less)
        assert verdict.fault is None
        if verdict.state == "ok":
            # It was the whole of an end, without which the run ends as it did before: only a kept head tells.
            assert (name, place) == ("failed and cancelled", len(spans_in_document(less)))
            assert "without a kept head" in verdict.limits[0]
        else:
            assert verdict.gaps


def test_a_span_that_was_never_made_is_found() -> None:
    """Copied from another with its events, made without any, or with events of its own."""
    events = trails()["asked and answered"]
    for place in range(0, len(spans_in_document(document_of(events))), 3):
        document = document_of(events)
        spans = spans_in_document(document)
        one = copy.deepcopy(spans[place])
        one["spanId"] = "00000000000000aa"
        spans.append(one)
        assert verdict_on(document).state == "forged"

        for records in ("0/0", "2/1 66." + "A" * 43, ""):
            value = {"stringValue": records}
            one["attributes"] = [{"key": "agentflow.audit.records", "value": value}] if records else []
            verdict = verdict_on(document)
            assert verdict.state != "ok"
            assert verdict.fault is not None or records.startswith("2/1")


def test_numbers_beyond_all_measure_cost_nothing() -> None:
    """A count, or the number of an event, that would fill the memory of who looks for what is missing."""
    for name, value in (
        ("agentflow.audit.count", {"intValue": str(10**15)}),
        ("agentflow.audit.records", {"stringValue": f"2/1 {10**15}." + "A" * 43}),
    ):
        document = document_of(trails()["moved"])
        held = next(a for a in spans_in_document(document)[-1]["attributes"] if a["key"] == name)
        held["value"] = value
        assert verdict_on(document).state != "ok"


def test_what_spans_say_cannot_be_swapped() -> None:
    """The same attributes on two spans, the other way round."""
    events = trails()["asked and answered"]
    document = document_of(events)
    count = len(spans_in_document(document))
    for first, second in [(n, (n * 7 + 3) % count) for n in range(count)]:
        swapped = copy.deepcopy(document)
        spans = spans_in_document(swapped)
        a, b = spans[first], spans[second]
        if first != second:
            a["attributes"], b["attributes"] = b["attributes"], a["attributes"]
            assert verdict_on(swapped).state == "forged", (a["name"], b["name"])


def test_spans_of_another_run_are_not_taken_for_its_own() -> None:
    """Their trace and run are rewritten to fit; the chain does not."""
    document, other = document_of(trails()["moved"]), document_of(trails()["failed and done"])
    spans, taken = spans_in_document(document), spans_in_document(other)
    for place in range(1, min(len(spans), len(taken))):
        spliced = copy.deepcopy(document)
        spans_in_document(spliced)[:place] = taken[:place]
        assert verdict_on(spliced).state == "forged"


def test_two_tellings_of_one_span_must_agree() -> None:
    """A span that stands there as it was and altered is found, whichever comes first."""
    document = document_of(trails()["moved"])
    for order in (1, -1):
        both = copy.deepcopy(document)
        spans = spans_in_document(both)
        lie = {**copy.deepcopy(spans[0]), "name": "step other"}
        spans[:0] = [lie, spans.pop(0)][::order]
        verdict = verdict_on(both)
        assert verdict.fault is not None
        assert "step other" in verdict.fault.why


def test_a_chain_without_content_is_guarded() -> None:
    """Each digest and hash: altered ones are found at their event, whatever else is not told."""
    events = trails()["failed and done"]
    document = document_of(events, content=False)
    for place, span in enumerate(spans_in_document(document)):
        entry = next(a for a in span["attributes"] if a["key"] == "agentflow.audit.records")
        words = entry["value"]["stringValue"].split(" ")
        for number, word in enumerate(words[1:], 1):
            seq, *texts = word.split(".")
            for which in range(2):
                changed = [
                    text if n != which else "B" + text[1:] if text[0] != "B" else "C" + text[1:]
                    for n, text in enumerate(texts)
                ]
                lie = copy.deepcopy(document)
                held = next(
                    a
                    for a in spans_in_document(lie)[place]["attributes"]
                    if a["key"] == "agentflow.audit.records"
                )
                held["value"]["stringValue"] = " ".join(
                    [*words[:number], ".".join([seq, *changed]), *words[number + 1 :]]
                )
                verdict = verdict_on(lie)
                assert verdict.fault is not None
                assert verdict.fault.seq == int(seq)


def test_a_chain_is_guarded_on_both_sides_of_a_gap() -> None:
    """Where a span is missing, what comes after it still cannot be altered."""
    events = trails()["asked and answered"]
    document = document_of(events)
    spans = spans_in_document(document)
    del spans[0]
    held = next(a for a in spans[-2]["attributes"] if a["key"] == "agentflow.audit.content")
    held["value"]["stringValue"] = held["value"]["stringValue"].replace("step.", "stop.", 1)
    verdict = verdict_on(document)

    assert verdict.state == "forged"
    assert verdict.fault is not None
    assert verdict.fault.span == spans[-2]["spanId"]
