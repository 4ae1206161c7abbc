"""Spans made anew from the events that they tell of, beside those that were given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentflow.audit.comparing import Lost, difference, is_unknown, lost_by
from agentflow.audit.pieces import Pieces
from agentflow.audit.verdict import Fault
from agentflow.events import Event, RunStarted
from agentflow.tracing import semconv
from agentflow.tracing.content import FULL, NONE, Capture, told
from agentflow.tracing.span import SpanData
from agentflow.tracing.spans import SpanFolder

# How much of what was said a span may tell, the most first.
_LEVELS = (FULL, Capture("redacted"), Capture("digests"), NONE)


class Made:
    """The spans of a run, made anew from its events as far as those are known."""

    def __init__(self, run: str, events: Sequence[Event], *, is_whole: bool, is_partly: bool) -> None:
        self._is_whole, self._is_partly = is_whole, is_partly
        self.gaps: tuple[str, ...] = ()
        self.compared = 0
        self._ended: dict[int, SpanData] = {}
        self._open: set[int] = set()
        self._fold(run, events)

    def _fold(self, run: str, events: Sequence[Event]) -> None:
        if not events or not isinstance(events[0], RunStarted):
            return

        folder = SpanFolder(run, with_records=True)
        for event in events:
            try:
                self._ended |= {span.span_id: span for span in folder.fold(event)}
            except Exception as error:  # noqa: BLE001 - a payload that is not known may be of any use
                self.gaps = (f"spans from event {event.seq} on could not be made anew: {error}",)
                self._is_whole = False
                return

        self._open = {span.span_id for span in folder.open()}

    def compare(self, pieces: Pieces) -> list[Fault]:
        """What is wrong with the spans that are there."""
        pairs = [(self._ended.get(given.span_id), given) for given in pieces.spans]
        known = [(made, given) for made, given in pairs if made is not None]
        lost = lost_by([made for made, _ in known], [given for _, given in known])
        self.gaps += tuple(f"not kept by who had the spans, so not compared: {what}" for what in lost.words())
        stands: dict[int, list[int]] = {}
        for seq, piece in pieces.events.items():
            stands.setdefault(piece.span, []).append(seq)

        faults: list[Fault] = []
        partly = 0
        for made, given in pairs:
            if made is None:
                faults += self._unmade(given)
                continue

            self.compared += 1
            is_partly = self._is_partly and is_unknown(made)
            partly += is_partly
            why = _difference(made, given, lost, is_partly=is_partly)
            if not why and stands.get(given.span_id, []) != [record.seq for record in made.records or ()]:
                why = "the events that it tells of are not its own"

            if why:
                faults.append(_fault(made, given, why))

        there = {span.span_id for span in pieces.spans}
        self._note(partly, [span for id_, span in self._ended.items() if id_ not in there])
        return faults

    def _note(self, partly: int, absent: Sequence[SpanData]) -> None:
        if partly:
            why = "payloads too large for the spans are not on them"
            self.gaps += (f"{partly} spans were compared in part: {why}",)

        if absent:
            names = ", ".join(f"`{span.name}`" for span in absent[:3])
            self.gaps += (f"{len(absent)} spans are not there: {names}",)

    def _unmade(self, given: SpanData) -> list[Fault]:
        if not self._is_whole or given.span_id in self._open:
            return []

        why = f"no event makes the span `{given.name}`"
        return [Fault(seq=0, what="inserted", why=why, span=f"{given.span_id:016x}", of="span")]


def _difference(made: SpanData, given: SpanData, lost: Lost, *, is_partly: bool) -> str:
    """What is different, of a span that tells all of what was said, or less of it."""
    plain = made._replace(records=None)
    levels = _LEVELS if semconv.AUDIT_CONTENT not in given.attributes else _LEVELS[:2]
    whys = (difference(told(plain, content=level), given, lost, is_partly=is_partly) for level in levels)
    first = next(whys)
    return first if first and all(whys) else ""


def _fault(made: SpanData, given: SpanData, why: str) -> Fault:
    first = made.records[0] if made.records else None
    event: Any = first.event if first is not None else None
    return Fault(
        seq=first.seq if first is not None else 0,
        what="altered",
        why=f"span `{given.name}`: {why}",
        type=event.type if event is not None else "",
        step=str(getattr(event, "step", "")),
        span=f"{given.span_id:016x}",
        of="span",
    )
