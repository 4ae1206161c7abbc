"""The trail of a run from spans that were given back: whether they are those that follow from its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from agentflow.audit.comparing import UNKNOWN
from agentflow.audit.made import Made
from agentflow.audit.pieces import Pieces, chain_faults, chain_of, counted, gathered, head_faults, is_ours
from agentflow.audit.verdict import Fault, Verdict, first_of, state_of
from agentflow.encoding import decode, seal
from agentflow.events import CHAIN, Event, Json
from agentflow.exceptions import JournalDamaged
from agentflow.journal import MARK
from agentflow.tracing import semconv
from agentflow.tracing.ids import trace_id
from agentflow.tracing.received import Received
from agentflow.tracing.span import SpanData

_UNCAUGHT = "without a kept head, it cannot be told whether all spans were made anew, or the last ones taken away together with the run's own"
_RESOURCE = (
    "who sent the spans (their resource), their flags, and spans of other libraries are no part of the trail"
)


def runs_in(received: Sequence[Received]) -> dict[int, str]:
    """The runs of the traces that spans are of, in the order in which they come; empty where no span names it yet."""
    runs: dict[int, str] = {}
    for one in received:
        if is_ours(one):
            runs[one.span.trace_id] = runs.get(one.span.trace_id) or _run_of(one.span)

    return runs


def _run_of(span: SpanData) -> str:
    run = span.attributes.get(semconv.CONVERSATION_ID)
    return run if isinstance(run, str) and trace_id(run) == span.trace_id else ""


def verify_spans(received: Sequence[Received], run: str) -> Verdict:
    """Put the events together that the spans of a run tell of, follow their chain, and make the spans anew from them."""
    pieces = gathered([one for one in received if one.span.trace_id == trace_id(run)])
    chain = chain_of(pieces)
    faults = [*pieces.faults, *chain_faults(pieces, chain), *head_faults(pieces, run)]
    if chain not in (1, CHAIN):
        faults.append(Fault(seq=1, what="altered", why=f"its hashes would be chained in way {chain}"))

    count = counted(pieces, run)
    events, why_not = _events(pieces, min((f.seq for f in faults if f.of == "event"), default=count + 1))
    is_whole = len(events) == count and not faults
    made = Made(run, events, is_whole=is_whole, is_partly=_is_partly(pieces))
    faults += made.compare(pieces)
    fault = first_of(faults)
    gaps = (*_gaps(pieces, count, chain), *(why_not if fault is None else ()), *made.gaps)
    return Verdict(
        run=run,
        state=state_of(fault, gaps),
        events=len(pieces.events),
        count=count,
        head=_head(pieces),
        chain=chain,
        spans=len({span.span_id for span in pieces.spans}),
        fault=fault,
        gaps=gaps,
        checks=(
            "the chain of hashes between all events that are there",
            f"{made.compared} spans, made anew from the events",
        ),
        limits=(_UNCAUGHT, _RESOURCE),
    )


def hashes_in(received: Sequence[Received], run: str) -> dict[int, bytes]:
    """The hashes of a run's events by number, as spans tell of them."""
    pieces = gathered([one for one in received if one.span.trace_id == trace_id(run)])
    return {seq: piece.entry.hash for seq, piece in pieces.events.items()}


def _head(pieces: Pieces) -> str:
    """The hash of the last event before the first that is missing."""
    last = 0
    while last + 1 in pieces.events:
        last += 1

    return pieces.events[last].entry.hash.hex() if last else ""


def _gaps(pieces: Pieces, count: int, chain: int) -> tuple[str, ...]:
    """What is not there, in words: events, and what events say."""
    silent = [seq for seq, piece in sorted(pieces.events.items()) if not piece.raw]
    ordered = [seq for seq in silent if chain > 1 and pieces.events[seq].digest]
    bare = sorted(set(silent) - set(ordered))
    told = (
        (
            _missing(sorted(pieces.events), count),
            "no span that is there tells of them; they may not have come yet",
        ),
        (_ranges(ordered), "their order is proven, but what they say is not on the spans"),
        (_ranges(bare), "what they say is not on the spans, so nothing of them is proven"),
    )
    gaps = tuple(f"{_numbers(ranges)}: {why}" for ranges, why in told if ranges)
    return gaps if pieces.events else ("no span tells of an event", *gaps)


def _missing(there: Sequence[int], count: int) -> list[tuple[int, int]]:
    """What is between the numbers that are there, up to a count that may be any: as first and last."""
    return [(a + 1, b - 1) for a, b in pairwise([0, *there, max(count, *there, 0) + 1]) if b - a > 1]


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers in order, neighbours together, as first and last."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))

    return ranges


def _numbers(ranges: Sequence[tuple[int, int]]) -> str:
    """Numbers of events in words: `events 1, 4-7`."""
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in ranges[:8]]
    more = ", …" if len(ranges) > len(shown) else ""
    is_one = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
    return f"event{'' if is_one else 's'} {', '.join(shown)}{more}"


def _is_partly(pieces: Pieces) -> bool:
    """Whether an event names a payload that the spans do not hold."""
    digests = {digest for piece in pieces.events.values() for digest in piece.inside.payloads}
    return not digests <= set(pieces.payloads)


def _events(pieces: Pieces, end: int) -> tuple[list[Event], tuple[str, ...]]:
    """The events from the first on, as long as each says what it is, before event `end`; and why there are no more."""
    events: list[Event] = []

    def load(value: Json) -> bytes | None:
        if not isinstance(value, Mapping) or MARK not in value:
            return None

        known = pieces.payloads.get(str(value[MARK]))
        return known if known is not None else f'"{UNKNOWN}"'.encode()

    for seq in range(1, end):
        piece = pieces.events.get(seq)
        if piece is None or not piece.raw:
            break

        try:
            event = decode(piece.raw, load)
        except (JournalDamaged, RecursionError) as error:
            return events, (f"event {seq} cannot be read by this agentflow: {error}",)

        seal(event, piece.digest)
        events.append(event)

    return events, ()
