"""What spans that were given back tell of the events of a run, put together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from agentflow.audit.inside import Inside, read
from agentflow.audit.verdict import Fault, What
from agentflow.encoding import chained, linked
from agentflow.events import CHAIN
from agentflow.journal import digest_of
from agentflow.tracing import semconv
from agentflow.tracing.ids import span_id
from agentflow.tracing.received import Received
from agentflow.tracing.records import Entry, RecordsUnreadable, content_in, entries_in, is_of_audit
from agentflow.tracing.span import SpanData


@dataclass(slots=True, kw_only=True)
class Piece:
    """One event as spans tell of it: its hash always, and its digest or its JSON as far as they stand there."""

    entry: Entry
    span: int
    raw: bytes
    digest: bytes
    inside: Inside


def _piece(entry: Entry, span: int, raw: bytes) -> Piece:
    digest = hashlib.sha256(raw).digest() if raw else entry.digest
    return Piece(entry=entry, span=span, raw=raw, digest=digest, inside=read(raw))


@dataclass(slots=True, kw_only=True)
class Pieces:
    """The events of a run by number, payloads by digest, and what is wrong with the spans that tell of them."""

    spans: list[SpanData] = field(default_factory=list[SpanData])
    events: dict[int, Piece] = field(default_factory=dict[int, Piece])
    payloads: dict[str, bytes] = field(default_factory=dict[str, bytes])
    faults: list[Fault] = field(default_factory=list[Fault])
    foreign: int = 0


def gathered(received: Sequence[Received]) -> Pieces:
    """What the spans tell, each span once; spans of other libraries are counted and left alone."""
    pieces = Pieces()
    known: dict[int, list[SpanData]] = {}
    for one in received:
        if not is_ours(one):
            pieces.foreign += 1
        elif one.span not in (versions := known.setdefault(one.span.span_id, [])):
            versions.append(one.span)

    for versions in known.values():
        for span in versions:
            _take(pieces, span)

    return pieces


def is_ours(one: Received) -> bool:
    """Whether a span was made here: what other libraries do inside of steps is no part of the trail."""
    return one.scope == "agentflow" or any(is_of_audit(name) for name in one.span.attributes)


def _take(pieces: Pieces, span: SpanData) -> None:
    pieces.spans.append(span)
    try:
        entries, lines = entries_in(span.attributes), content_in(span.attributes)
    except RecordsUnreadable as error:
        pieces.faults.append(
            Fault(seq=0, what="altered", why=str(error), span=f"{span.span_id:016x}", of="span")
        )
        return

    numbers = [entry.seq for entry in entries]
    for before, after in pairwise(numbers):
        if before >= after:
            what: What = "inserted" if before == after else "reordered"
            why = f"its span tells of event {before} before event {after}"
            pieces.faults.append(Fault(seq=after, what=what, why=why, span=f"{span.span_id:016x}"))

    pieces.payloads |= {digest_of(line): line for line in lines[len(entries) :]}
    for number, entry in enumerate(entries):
        raw = lines[number] if number < len(lines) else b""
        _put(pieces, entry.seq, _piece(entry, span.span_id, raw))


def _put(pieces: Pieces, seq: int, piece: Piece) -> None:
    other = pieces.events.get(seq)
    if other is None:
        pieces.events[seq] = piece
    elif other.span != piece.span or other.entry.hash != piece.entry.hash:
        # The one to look at is the one that says itself that it is another event, if one does.
        right, wrong = (piece, other) if other.raw and other.inside.seq != seq else (other, piece)
        pieces.events[seq] = right
        pieces.faults.append(
            _fault(seq, wrong, "inserted", "two spans tell of it, and each event stands on one")
        )
    elif not other.raw:
        # The same span, sent once without what was said and once with it.
        pieces.events[seq] = piece


def chain_of(pieces: Pieces) -> int:
    """How the hashes are chained, as the first event says, else what spans tell of the first that is there."""
    first = pieces.events.get(1)
    if first is not None and first.raw:
        return first.inside.chain

    return next((piece.entry.chain for _, piece in sorted(pieces.events.items())), CHAIN)


def chain_faults(pieces: Pieces, chain: int) -> list[Fault]:
    """Each event that does not follow on the one before it, as far as the one before it is there."""
    faults: list[Fault] = []
    for seq, piece in sorted(pieces.events.items()):
        before = pieces.events.get(seq - 1)
        previous = b"" if seq == 1 else before.entry.hash if before is not None else None
        if piece.raw and (says := piece.inside.seq) != seq:
            why = f"what stands in its place says that it is event {says}" if says else "it is no event"
            faults.append(_fault(seq, piece, "reordered" if says in pieces.events else "altered", why))
        elif piece.entry.chain != chain:
            faults.append(
                _fault(seq, piece, "altered", f"its hash would be chained in way {piece.entry.chain}")
            )
        elif previous is not None and not _follows(previous, piece, chain):
            why = "it does not follow on the event before it: what it says does not fit its hash"
            faults.append(_fault(seq, piece, "altered", why))

    return faults


def _follows(previous: bytes, piece: Piece, chain: int) -> bool:
    if chain == 1:
        return not piece.raw or chained(previous, piece.raw) == piece.entry.hash

    return not piece.digest or linked(previous, piece.digest) == piece.entry.hash


def head_faults(pieces: Pieces, run: str) -> list[Fault]:
    """Where a span of the run tells of another head than the event that it ends with, or of none where it must."""
    faults: list[Fault] = []
    for span in pieces.spans:
        if span.span_id == span_id(run) and semconv.AUDIT_HEAD not in span.attributes:
            why = f"span `{span.name}` tells of no head"
            faults.append(Fault(seq=0, what="altered", why=why, span=f"{span.span_id:016x}", of="span"))

        told = [span.attributes, *(event.attributes for event in span.events)]
        for head, count in ((a.get(semconv.AUDIT_HEAD), a.get(semconv.AUDIT_COUNT)) for a in told):
            piece = pieces.events.get(count) if isinstance(count, int) else None
            if piece is not None and head != piece.entry.hash.hex():
                why = f"span `{span.name}` tells of another head than event {count} has"
                id_ = f"{span.span_id:016x}"
                faults.append(Fault(seq=piece.entry.seq, what="altered", why=why, span=id_, of="span"))

    return faults


def counted(pieces: Pieces, run: str) -> int:
    """How many events the run has as far as its spans tell: what its own span counts, or the last that is there."""
    roots = [s for s in pieces.spans if s.span_id == span_id(run) or semconv.AUDIT_COUNT in s.attributes]
    counts = [count for s in roots if isinstance(count := s.attributes.get(semconv.AUDIT_COUNT), int)]
    return max([0, *counts, *pieces.events])


def _fault(seq: int, piece: Piece, what: What, why: str) -> Fault:
    found = piece.inside
    return Fault(
        seq=seq,
        what=what,
        why=why,
        type=found.type,
        step=found.step,
        span=f"{piece.span:016x}",
    )
