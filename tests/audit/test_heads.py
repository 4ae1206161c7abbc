"""Heads that are kept elsewhere: what is cut off or made anew as a whole is known by them, and who signed them."""

from __future__ import annotations

import json
import multiprocessing
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentflow import MemoryJournal, Settings, Workflow, resume, run
from agentflow.app import cancel
from agentflow.audit.heads import Head, Heads, read_heads
from agentflow.audit.kept import against, vanished
from agentflow.audit.keys import make_key, public_key, signing_key
from agentflow.audit.rows import hashes_in, verify_rows
from agentflow.audit.spans import hashes_in as hashes_of_spans
from agentflow.audit.spans import verify_spans
from agentflow.audit.verdict import Verdict
from agentflow.encoding import chained
from agentflow.exceptions import HeadsUnusable
from agentflow.journal import Trail
from agentflow.tracing.received import spans_in
from tests.audit.trails import document_of, spans_in_document, trail_of, trails
from tests.tracing import ordering
from tests.tracing.workflows import approve, given

NAME = "asked and answered"


def head_of(trail: Trail, count: int) -> Head:
    return Head(
        run="r",
        workflow="w",
        count=count,
        head=trail.rows[count - 1].hash.hex(),
        chain=2,
        at=1,
        key="",
        signature="",
    )


def judged(trail: Trail, *heads: Head, **more: Any) -> Verdict:
    return against(verify_rows(trail), hashes_in(trail), heads, **more)


def rewritten(trail: Trail, first: int) -> Trail:
    """The journal written anew from an event on, chained and counted as if it had been so from the start."""
    rows, head = list(trail.rows[: first - 1]), trail.rows[first - 2].hash if first > 1 else b""
    for row in trail.rows[first - 1 :]:
        data = row.data.replace(b'"ann"', b'"bob"')
        head = chained(head, data, 2)
        rows.append(replace(row, data=data, hash=head))

    return replace(trail, rows=rows, head=head)


def test_a_journal_that_was_written_anew_is_known_by_a_kept_head() -> None:
    """Without one it cannot be told, and that is said; with one it is, between the last head that agrees and the next."""
    trail = trail_of(trails()[NAME])
    false = rewritten(trail, 20)
    alone = verify_rows(false)
    assert alone.state == "ok"
    assert "without a kept head" in alone.limits[0]

    verdict = judged(false, head_of(trail, 15), head_of(trail, 40), head_of(trail, 65))
    assert verdict.state == "forged"
    assert verdict.fault is not None
    assert (verdict.fault.seq, verdict.fault.upto) == (16, 40)
    true = judged(trail, head_of(trail, 15), head_of(trail, 65))
    assert (true.state, true.limits) == ("ok", ())


def test_an_end_that_was_cut_off_is_known_by_a_kept_head() -> None:
    """Of the journal with its count, and of the spans."""
    trail = trail_of(trails()[NAME])
    short = replace(trail, rows=trail.rows[:50], count=50, head=trail.rows[49].hash)
    assert verify_rows(short).state == "ok"
    verdict = judged(short, head_of(trail, 65))
    assert verdict.fault is not None
    assert (verdict.state, verdict.fault.seq, verdict.fault.what) == ("forged", 51, "missing")
    early = judged(trail, head_of(trail, 40))
    assert "after event 40" in early.limits[0]

    document = document_of(trails()["failed and cancelled"])
    whole = trail_of(trails()["failed and cancelled"])
    del spans_in_document(document)[-1]
    received = spans_in(document)
    assert verify_spans(received, "r").state == "ok"
    spans = against(
        verify_spans(received, "r"),
        hashes_of_spans(received, "r"),
        [head_of(whole, whole.count)],
        is_whole=False,
    )
    assert spans.state == "incomplete"
    assert f"a head is kept of event {whole.count}" in spans.gaps[0]


def test_a_run_that_is_gone_is_known_by_its_heads() -> None:
    """A head of it is there, and nothing else."""
    verdict = vanished("r", [head_of(trail_of(trails()[NAME]), 65)])

    assert verdict.state == "forged"
    assert verdict.fault is not None
    assert verdict.fault.what == "missing"


def test_what_stands_behind_a_fault_does_not_count_as_proven() -> None:
    """Hashes that were left as they were do not make a head agree with data that was altered."""
    trail = trail_of(trails()[NAME])
    rows = [row if row.seq != 30 else replace(row, data=row.data + b" ") for row in trail.rows]
    verdict = judged(replace(trail, rows=rows), head_of(trail, 65))

    assert verdict.fault is not None
    assert verdict.fault.seq == 30
    assert not any("head that was kept" in check for check in verdict.checks)


def test_a_head_is_signed_and_verified(tmp_path: Path) -> None:
    """By the public half of the key; whatever is changed in the line, the signature fits no more."""
    made = make_key(tmp_path / "deep" / "key.pem")
    assert stat.S_IMODE((tmp_path / "deep" / "key.pem").stat().st_mode) == 0o600
    heads = Heads(path=tmp_path / "heads.jsonl", key=signing_key(tmp_path / "deep" / "key.pem"))
    trail = trail_of(trails()[NAME])
    heads.keep(run="r", workflow="w", count=65, head=trail.head.hex(), chain=2)
    known, wrong = read_heads(heads.path)
    (head,) = known["r"]
    key = public_key(tmp_path / "deep" / "key.pem.pub")

    assert (wrong, head.key, key.id) == ([], made.id, made.id)
    assert judged(trail, head, key=key).state == "ok"
    assert public_key(tmp_path / "deep" / "key.pem").id == key.id
    lies: dict[str, Any] = {"count": 64, "head": "00" * 32, "workflow": "v", "chain": 1, "at": 2, "run": "q"}
    for name, value in lies.items():
        lie = replace(head, **{name: value})
        assert not lie.is_signed_by(key), name
        verdict = judged(trail, lie, key=key)
        assert verdict.fault is not None
        assert "was not signed by key" in verdict.fault.why

    assert not replace(head, signature="?").is_signed_by(key)


def test_a_head_of_another_key_does_not_count(tmp_path: Path) -> None:
    """Whoever can write the file of heads can sign with a key of their own; the trail is then not proven."""
    make_key(tmp_path / "a.pem")
    make_key(tmp_path / "b.pem")
    trail = rewritten(trail_of(trails()[NAME]), 20)
    heads = Heads(path=tmp_path / "heads", key=signing_key(tmp_path / "b.pem"))
    head = heads.keep(run="r", workflow="w", count=65, head=trail.head.hex(), chain=2)
    verdict = judged(trail, head, key=public_key(tmp_path / "a.pem.pub"))

    assert verdict.state == "incomplete"
    assert "no head signed by key" in verdict.gaps[0]
    assert judged(trail, is_wanted=True).state == "incomplete"
    assert judged(trail, is_wanted=False).state == "ok"


def _keep(path: Path, run_: str) -> None:
    for count in range(1, 41):
        Heads(path=path).keep(run=run_, workflow="w", count=count, head="00" * 32, chain=2)


def test_processes_that_keep_heads_together_lose_none(tmp_path: Path) -> None:
    """Each line is whole, and none is written over."""
    path = tmp_path / "elsewhere" / "heads.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_keep, args=(path, f"r{n}")) for n in range(4)]
    for process in processes:
        process.start()

    for process in processes:
        process.join()

    known, wrong = read_heads(path)
    assert wrong == []
    assert {name: [head.count for head in heads] for name, heads in known.items()} == {
        f"r{n}": list(range(1, 41)) for n in range(4)
    }


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    """A process was killed while it wrote: its line is named, and the next is a line of its own."""
    heads = Heads(path=tmp_path / "heads")
    for count in (1, 2):
        heads.keep(run="r", workflow="w", count=count, head="00" * 32, chain=2)

    heads.path.write_bytes(heads.path.read_bytes()[:-30])
    heads.keep(run="r", workflow="w", count=3, head="00" * 32, chain=2)
    known, wrong = read_heads(heads.path)

    assert [head.count for head in known["r"]] == [1, 3]
    assert wrong == [f"line 2 of {heads.path} is no head"]


@pytest.mark.parametrize(
    "line", ["3", "[]", '{"run": "r"}', json.dumps({**dict.fromkeys("abc", "")}), "\x00"]
)
def test_a_line_that_is_no_head_is_named(tmp_path: Path, line: str) -> None:
    """It is not passed over in silence."""
    (tmp_path / "heads").write_text(f"{line}\n", encoding="utf-8")

    assert read_heads(tmp_path / "heads") == ({}, [f"line 1 of {tmp_path / 'heads'} is no head"])


def test_keys_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    """Nothing is written over; what is no key says so, and how to make one."""
    make_key(tmp_path / "key")
    before = (tmp_path / "key").read_bytes(), (tmp_path / "key.pub").read_bytes()
    with pytest.raises(HeadsUnusable, match="is there already"):
        make_key(tmp_path / "key")

    assert ((tmp_path / "key").read_bytes(), (tmp_path / "key.pub").read_bytes()) == before
    (tmp_path / "no").write_text("no key", encoding="utf-8")
    for path, said in (("no", "is no key in PEM"), ("nowhere", "cannot be read")):
        for load in (signing_key, public_key):
            with pytest.raises(HeadsUnusable, match=said) as refused:
                load(tmp_path / path)

            assert "agentflow audit keygen" in refused.value.hint

    with pytest.raises(HeadsUnusable, match="no Ed25519 key that can sign"):
        signing_key(tmp_path / "key.pub")


async def test_a_run_keeps_its_head_wherever_it_stops(tmp_path: Path) -> None:
    """At a pause, where it is taken up, and at its end; each is what the journal comes to there."""
    journal, heads = MemoryJournal(), Heads(path=tmp_path / "heads")
    flow = Workflow("w", start=given, end=approve, edges=[given >> approve])
    settings = Settings(journal=journal, heads=heads)
    first = await run(flow, 3, run_id="r", settings=settings).result()
    await ordering.answered(await resume(flow, "r", settings=settings))
    known, _ = read_heads(heads.path)
    trail = await journal.trail("r")
    assert trail is not None

    counts = [head.count for head in known["r"]]
    assert (len(counts), counts[0], counts[-1]) == (3, counts[1], trail.count)
    assert all(head.head == trail.rows[head.count - 1].hash.hex() for head in known["r"])
    assert all(head.workflow == "w" and head.chain == 2 for head in known["r"])
    assert judged(trail, *known["r"]).state == "ok"
    assert first.kept == f"head kept in {heads.path}"


async def test_a_cancelled_run_keeps_its_head(tmp_path: Path) -> None:
    """Also where nobody drives it."""
    journal, heads = MemoryJournal(), Heads(path=tmp_path / "heads")
    flow = Workflow("w", start=given, end=approve, edges=[given >> approve])
    await run(flow, 3, run_id="r", settings=Settings(journal=journal)).result()
    await cancel(journal, "r", heads=heads)
    ((head,),) = read_heads(heads.path)[0].values()

    assert head.head == await journal.head("r")


async def test_a_head_that_cannot_be_kept_ends_no_run(tmp_path: Path) -> None:
    """The result says so, and what to do."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    heads = Heads(path=tmp_path / "file" / "heads")
    flow = Workflow("w", start=given, end=given)
    result = await run(flow, 3, run_id="r", settings=Settings(journal=MemoryJournal(), heads=heads)).result()

    assert result.status == "done"
    assert "could not be kept" in result.kept
    assert "agentflow audit sign r" in result.kept
