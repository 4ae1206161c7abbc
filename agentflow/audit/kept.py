"""A trail beside the heads that were kept of it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agentflow.audit.heads import Head
from agentflow.audit.keys import PublicKey
from agentflow.audit.verdict import Fault, Verdict, first_of, state_of


def against(
    verdict: Verdict,
    hashes: Mapping[int, bytes],
    heads: Sequence[Head],
    *,
    key: PublicKey | None = None,
    is_wanted: bool = True,
    is_whole: bool = True,
) -> Verdict:
    """The verdict once the hashes of the events are compared with the heads that are kept, of lower counts first.

    With a `key` only heads that it signed count. `is_wanted` says that there should be one; `is_whole`, that events which are
    not there are not still to come, as they are in a journal.
    """
    faults = [] if verdict.fault is None else [verdict.fault]
    hashes = _proven(hashes, verdict.fault)
    gaps = list(verdict.gaps)
    agreed = 0
    for head in heads:
        if key is not None and head.key != key.id:
            continue

        if key is not None and not head.is_signed_by(key):
            why = f"the head that is kept of it was not signed by key {key.id}: the file of heads was altered"
            faults.append(Fault(seq=head.count, what="altered", why=why))
        elif (hash_ := hashes.get(head.count)) is None:
            _absent(head, verdict, faults, gaps, is_whole=is_whole)
        elif hash_.hex() == head.head:
            agreed = head.count
        else:
            why = f"its {head.count} events come to another head than the one that was kept: they were written anew"
            faults.append(Fault(seq=agreed + 1, upto=head.count, what="altered", why=why))
            break

    if is_wanted and not agreed and not faults:
        whose = f"signed by key {key.id}" if key is not None else "of it"
        gaps.append(f"no head {whose} is kept that could be compared")

    fault = first_of(faults)
    return replace(
        verdict,
        state=state_of(fault, tuple(gaps)),
        fault=fault,
        gaps=tuple(gaps),
        checks=(*verdict.checks, *_checks(agreed, key)),
        limits=_limits(verdict, agreed),
    )


def _proven(hashes: Mapping[int, bytes], fault: Fault | None) -> Mapping[int, bytes]:
    """The hashes of events before the first at fault: what stands behind it may be left from what was there."""
    if fault is None or fault.of == "span":
        return hashes

    return {seq: hash_ for seq, hash_ in hashes.items() if seq < fault.seq}


def _absent(head: Head, verdict: Verdict, faults: list[Fault], gaps: list[str], *, is_whole: bool) -> None:
    """A head is kept of an event that is not there."""
    if is_whole and verdict.fault is None and head.count > verdict.events:
        why = f"a head is kept of {head.count} events, and {verdict.events} are there: the end was cut off"
        faults.append(Fault(seq=verdict.events + 1, upto=head.count, what="missing", why=why))
    elif not is_whole:
        gaps.append(f"a head is kept of event {head.count}, which no span that is there tells of")


def _checks(agreed: int, key: PublicKey | None) -> tuple[str, ...]:
    if not agreed:
        return ()

    signed = f", signed by key {key.id}" if key is not None else ", whose signature was not asked for"
    return (f"the head that was kept of {agreed} events{signed}",)


def _limits(verdict: Verdict, agreed: int) -> tuple[str, ...]:
    """What cannot be told, now that a head agreed with the first events."""
    if not agreed:
        return verdict.limits

    rest = verdict.limits[1:]
    if agreed >= verdict.count:
        return rest

    return (
        f"what came after event {agreed} could have been cut off or written anew: no head is kept of it",
        *rest,
    )


def vanished(run: str, heads: Sequence[Head]) -> Verdict:
    """The verdict on a run of which heads are kept, and nothing else."""
    last = heads[-1]
    why = f"a head is kept of {last.count} events, and the run is not there"
    return Verdict(
        run=run,
        state="forged",
        events=0,
        count=last.count,
        chain=last.chain,
        fault=Fault(seq=1, upto=last.count, what="missing", why=why),
    )
