"""What nobody touched is said to be so: each event on one span, and no alarm, whatever a run went through."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentflow import (
    Decision,
    MemoryJournal,
    Secret,
    Settings,
    SqliteJournal,
    Workflow,
    each,
    run,
    secrets,
    step,
)
from agentflow.audit.rows import verify_rows
from agentflow.audit.spans import verify_spans
from agentflow.encoding import decode
from agentflow.events import Event
from agentflow.journal import canonical, digest_of_event
from agentflow.tracing.received import spans_in
from agentflow.tracing.spans import SpanData, SpanFolder, spans_of
from tests.audit.trails import document_of, spans_in_document, trail_of, trails
from tests.engine.random_workflows import workflows
from tests.journal.releases.recorded import FOLDER, RUNS, Recorded
from tests.tracing.test_cuts import cut_and_resumed
from tests.tracing.workflows import given as given_step

NAMES = list(trails())


def assert_whole(events: Sequence[Event], run: str = "r") -> None:
    """Each event stands on one span, and both trails are what was written."""
    spans = spans_of(events, with_records=True)
    told = Counter(record.seq for span in spans for record in span.records or ())
    assert told == Counter(event.seq for event in events)
    assert verify_rows(trail_of(events)).state == "ok"
    verdict = verify_spans(spans_in(document_of(events)), run)
    assert (verdict.state, verdict.fault, verdict.gaps) == ("ok", None, ())
    assert verdict.events == verdict.count == len(events)


@pytest.mark.parametrize("name", NAMES)
def test_a_span_stays_as_it_was_given_whatever_comes_after(name: str) -> None:
    """Spans are told some time after they were made: what goes on under others, or is looked at, changes none of them."""
    folder = SpanFolder("r", with_records=True)
    given: list[tuple[SpanData, str]] = []
    for event in trails()[name]:
        given += [(span, repr(span)) for span in folder.fold(event)]
        folder.open()

    assert given
    assert [repr(span) for span, _ in given] == [was for _, was in given]


@pytest.mark.parametrize("name", NAMES)
def test_a_trail_that_nobody_touched_is_ok(name: str) -> None:
    """From the journal and from spans; and the head on the run's own span is that of the journal."""
    events = trails()[name]
    assert_whole(events)
    heads = [
        dict(span.attributes)
        for span in spans_of(events, with_records=True)
        if "agentflow.audit.head" in span.attributes
    ]

    assert heads[-1]["agentflow.audit.head"] == trail_of(events).head.hex()
    assert heads[-1]["agentflow.audit.count"] == len(events)


@settings(max_examples=10, deadline=None)
@given(workflows(), st.integers(-50, 50))
def test_random_runs_are_ok(workflow: Workflow[int, int], number: int) -> None:
    """Maps, joins, loops, waits, approvals and sub-workflows in each other."""

    async def made() -> list[Event]:
        journal = MemoryJournal()

        async def approve(_: object) -> Decision:
            return Decision(approved=True, by="ann")

        given = Settings(journal=journal, approver=approve)
        await run(workflow, number, run_id="r", settings=given).result()
        return await journal.read("r")

    assert_whole(asyncio.run(made()))


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=3), st.sampled_from(["retry", "done", "fail"]))
def test_runs_that_were_cut_anywhere_are_ok(places: list[int], verdict: str) -> None:
    """However often the process died; the spans of some life are told again by the next, and stand there twice."""
    lives = asyncio.run(cut_and_resumed(places, verdict))
    assert_whole(lives[-1])


def test_a_trail_that_was_sent_twice_is_ok() -> None:
    """Stores that keep both copies of a span, in any order, change nothing; nor do spans of other libraries."""
    document = document_of(trails()["asked and answered"])
    spans = spans_in_document(document)
    spans += [*reversed(spans)]
    foreign = {
        "scope": {"name": "httpx"},
        "spans": [{**spans[0], "spanId": "00000000000000ff", "attributes": []}],
    }
    document["resourceSpans"][0]["scopeSpans"].append(foreign)

    assert verify_spans(spans_in(document), "r").state == "ok"


def test_a_run_that_goes_on_is_incomplete() -> None:
    """While the run's own span has not ended nothing is forged, and what cannot be told yet is named."""
    events = trails()["asked and answered"]
    for count in range(1, len(events), 7):
        verdict = verify_spans(spans_in(document_of(events[:count])) or [], "r")
        assert (verdict.state, verdict.fault) == ("incomplete", None)
        assert "event" in verdict.gaps[0]


def test_without_content_the_order_is_proven_alone() -> None:
    """Digests prove which events there were and in what order; that the spans say what they said cannot be told."""
    events = trails()["asked and answered"]
    verdict = verify_spans(spans_in(document_of(events, content=False)), "r")

    assert (verdict.state, verdict.fault, verdict.events) == ("incomplete", None, len(events))
    assert verdict.gaps == (
        f"events 1-{len(events)}: their order is proven, but what they say is not on the spans",
    )
    assert verdict.head == trail_of(events).head.hex()
    assert "go" not in [
        a for s in spans_in(document_of(events, content=False)) for a in s.span.attributes.values()
    ]


@step
async def noise(lines: int) -> list[str]:
    return [hashlib.shake_128(str(n).encode()).hexdigest(400) for n in range(lines)]


@step
async def longest(lines: list[str]) -> int:
    return max(map(len, lines))


@step
async def length(line: str) -> int:
    return len(line)


@step
async def most(lengths: list[int]) -> int:
    return max(lengths)


@pytest.mark.parametrize(
    ("workflow", "said"),
    [
        (Workflow("w", start=noise, end=longest, edges=[noise >> longest]), "compared in part"),
        (
            Workflow("w", start=noise, end=most, edges=[noise >> each(length, at_most=900) >> most]),
            "could not be made anew",
        ),
    ],
    ids=["given on", "mapped"],
)
async def test_what_is_too_large_for_spans_is_named(workflow: Workflow[int, int], said: str) -> None:
    """Its digest is in the chain; what follows from it on the spans cannot be told, and is no alarm."""
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    await run(workflow, 600, run_id="r", settings=settings).result()
    document = document_of(await journal.read("r"))
    verdict = verify_spans(spans_in(document), "r")
    sizes = [
        len(a["value"].get("stringValue", "")) for s in spans_in_document(document) for a in s["attributes"]
    ]

    assert max(sizes) <= 65536
    assert (verdict.state, verdict.fault, verdict.events) == ("incomplete", None, verdict.count)
    assert said in verdict.gaps[0]


def test_what_was_written_before_a_secret_was_known_is_not_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its digest is still that of what was written: the order is proven, and the secret is on no span."""
    events = [decode(canonical(event)) for event in trails()["failed"]]
    for event in events:
        digest_of_event(event)

    head = trail_of(trails()["failed"]).head.hex()
    monkeypatch.setattr(secrets, "_known", {})
    monkeypatch.setattr(secrets, "_pattern", None)
    monkeypatch.setenv("WORD", "cannot be worked on")
    Secret("WORD").reveal()
    document = document_of(events)
    verdict = verify_spans(spans_in(document), "r")

    assert "cannot be worked on" not in str(document)
    assert (verdict.state, verdict.fault) == ("incomplete", None)
    assert "their order is proven" in verdict.gaps[0]
    assert verdict.head == head


@pytest.mark.parametrize(("file", "recorded"), RUNS.items(), ids=RUNS)
async def test_what_a_release_wrote_is_ok(file: str, recorded: Recorded, tmp_path: Path) -> None:
    """Chained as it was in its time, from the journal and from spans made of it today."""
    shutil.copy(FOLDER / file, tmp_path / "j.db")
    journal = SqliteJournal(tmp_path / "j.db")
    trail, events = await journal.trail(recorded.run), await journal.read(recorded.run)
    await journal.close()
    assert trail is not None
    verdict = verify_rows(trail)
    spans = verify_spans(spans_in(document_of(events)), recorded.run)

    assert (verdict.state, verdict.chain, verdict.head) == ("ok", 1, trail.head.hex())
    assert spans.fault is None
    assert spans.state == ("ok" if recorded.status in ("done", "failed") else "incomplete")


async def test_a_journal_that_was_pruned_raises_no_alarm(tmp_path: Path) -> None:
    """The run that went is incomplete, with its head; the others are what was written."""
    journal = SqliteJournal(tmp_path / "j.db")
    for run_ in ("a", "b"):
        await run(
            Workflow("w", start=given_step, end=given_step),
            1,
            run_id=run_,
            settings=Settings(journal=journal),
        ).result()

    before = await journal.head("a")
    await journal.prune(["a"])
    gone, stays = await journal.trail("a"), await journal.trail("b")
    await journal.close()
    assert gone is not None
    assert stays is not None

    assert (verify_rows(gone).state, verify_rows(gone).head) == ("incomplete", before)
    assert verify_rows(stays).state == "ok"
