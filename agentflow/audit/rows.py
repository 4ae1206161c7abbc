"""The trail of a run as a journal keeps it: whether its rows are what was appended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from agentflow.audit.inside import Inside, read
from agentflow.audit.verdict import Fault, Verdict, What, state_of
from agentflow.encoding import chained
from agentflow.events import CHAIN
from agentflow.journal import Kept, Trail

_UNCAUGHT = "without a kept head, it cannot be told whether the whole journal was written anew, or its end cut off together with its count"


def verify_rows(trail: Trail) -> Verdict:
    """Follow the chain over the rows of a run, and compare its end with the one that is kept apart."""
    if trail.is_pruned:
        return _pruned(trail)

    inside = [read(row.data) for row in trail.rows]
    chain = inside[0].chain if inside else CHAIN
    good, fault = _followed(trail, inside, chain)
    head = trail.rows[good - 1].hash if good else b""
    return Verdict(
        run=trail.run,
        state=state_of(fault, ()),
        events=len(trail.rows),
        count=trail.count,
        head=head.hex(),
        chain=chain,
        fault=fault,
        checks=("the chain of hashes over all events", "the number of events and their head"),
        limits=(_UNCAUGHT,),
    )


def hashes_in(trail: Trail) -> dict[int, bytes]:
    """The hashes of a run's events by number, of rows that were verified."""
    return {row.seq: row.hash for row in trail.rows}


def _pruned(trail: Trail) -> Verdict:
    return Verdict(
        run=trail.run,
        state="incomplete",
        events=0,
        count=trail.count,
        head=trail.head.hex(),
        gaps=("its events were pruned: only the number of them and the head are kept",),
    )


def _followed(trail: Trail, inside: Sequence[Inside], chain: int) -> tuple[int, Fault | None]:
    """How many events are what was written, and what is wrong with the next."""
    head = b""
    if chain not in (1, CHAIN):
        return 0, _fault(
            1, "altered", f"its hashes would be chained in way {chain}, which is not known", inside
        )

    for number, row in enumerate(trail.rows, 1):
        before, head = head, chained(head, row.data, chain)
        if row.seq != number or head != row.hash or not _agrees(row, inside[number - 1]):
            return number - 1, _broken(number, trail.rows, inside, before, chain)

        for digest in inside[number - 1].payloads:
            if (what := trail.faults.get(digest)) is not None:
                why = f"its payload {digest[:23]}… is {'not there' if what == 'missing' else 'not what was written'}"
                return number - 1, _fault(number, cast("What", what), why, inside)

    return len(trail.rows), _end(trail, head, inside)


def _agrees(row: Kept, inside: Inside) -> bool:
    return (row.seq, row.at, row.type) == (inside.seq, inside.at, inside.type)


def _broken(number: int, rows: Sequence[Kept], inside: Sequence[Inside], before: bytes, chain: int) -> Fault:
    """What happened at the first row that does not follow on the one before."""
    row, found = rows[number - 1], inside[number - 1]
    if row.seq > number:
        return _fault(number, "missing", f"after event {number - 1} comes event {row.seq}", inside)

    if row.seq < number:
        return _fault(row.seq, "inserted", f"event {row.seq} is there twice", inside)

    if found.seq not in (0, number):
        return _moved(number, found.seq, inside)

    if [one.seq for one in inside].count(number) > 1:
        return _fault(number, "inserted", f"several rows say that they are event {number}", inside)

    if chained(before, row.data, chain) != row.hash:
        why = "it does not follow on the event before it: what it says does not fit its hash"
        if number < len(rows) and chained(row.hash, rows[number].data, chain) != rows[number].hash:
            why = "neither what it says nor its hash fits the events around it"

        return _fault(number, "altered", why, inside)

    return _fault(number, "altered", "its row says something else than the event", inside)


def _moved(number: int, says: int, inside: Sequence[Inside]) -> Fault:
    """Where event `number` should be, one stands that says it is another."""
    numbers = [one.seq for one in inside]
    why = f"in its place stands what says that it is event {says}"
    if number not in numbers:
        return _fault(number, "missing", why, inside)

    return _fault(number, "reordered" if numbers.count(says) == 1 else "inserted", why, inside)


def _end(trail: Trail, head: bytes, inside: Sequence[Inside]) -> Fault | None:
    """What is wrong with the end of events that follow on one another."""
    there = len(trail.rows)
    if there < trail.count:
        why = f"{trail.count} events were written, and {there} are there: the end was cut off"
        return _fault(there + 1, "missing", why, inside)

    if there > trail.count:
        why = f"{trail.count} events were written, and {there} are there"
        return _fault(trail.count + 1, "inserted", why, inside)

    if head != trail.head:
        why = "the events follow on one another, but not to the head that is kept of them: they were written anew"
        return Fault(seq=1, upto=there, what="altered", why=why)

    if trail.notes:
        return _fault(max(there, 1), "altered", trail.notes[0], inside)

    return None


def _fault(number: int, what: What, why: str, inside: Sequence[Inside]) -> Fault:
    found = next((one for one in inside if one.seq == number), Inside())
    return Fault(seq=number, what=what, why=why, type=found.type, step=found.step)
