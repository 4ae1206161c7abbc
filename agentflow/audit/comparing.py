"""A span that was given back beside the same span made anew from the events: what is different."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agentflow.tracing.records import is_of_audit
from agentflow.tracing.span import SpanData, SpanEvent, SpanLink

# Stands in made values for what the spans do not hold: a payload that was too large for them.
UNKNOWN = "\ue000not on the spans\ue000"
# What stores of traces add of their own.
_STORES = ("@jaeger@", "internal.span.format", "otel.scope.", "otel.library.", "opentracing.ref_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What the store of a whole trace does not keep, as far as the trace itself shows it."""

    precision: int = 1  # nanoseconds
    links: bool = False

    def is_near(self, mine: int, yours: int) -> bool:
        """Whether two times are the same, as far as they were kept: some stores round, others cut."""
        return abs(mine - yours) < self.precision

    def words(self) -> tuple[str, ...]:
        """What is therefore not compared."""
        times = (f"times below {self.precision} ns",) if self.precision > 1 else ()
        return (*times, *(("attributes of links",) if self.links else ()))


def lost_by(made: Sequence[SpanData], given: Sequence[SpanData]) -> Lost:
    """What nothing of is left in any of the spans: some stores keep whole microseconds, and bare links."""
    return Lost(
        precision=1000 if _is_coarse(given) and not _is_coarse(made) else 1,
        links=_has_bare_links(given) and not _has_bare_links(made),
    )


def _is_coarse(spans: Sequence[SpanData]) -> bool:
    times = [time for s in spans for time in (s.start, s.end, *(e.at for e in s.events))]
    return all(time % 1000 == 0 for time in times)


def _has_bare_links(spans: Sequence[SpanData]) -> bool:
    links = [link for span in spans for link in span.links]
    return bool(links) and not any(_own(link) for link in links)


def _own(link: SpanLink) -> dict[str, Any]:
    """What a link says, without what stores add: Jaeger's on this machine says of each only that it follows."""
    return {name: value for name, value in link.attributes.items() if not name.startswith(_STORES)}


def difference(made: SpanData, given: SpanData, lost: Lost, *, is_partly: bool = False) -> str:
    """The first thing that is different, in words; empty where nothing is.

    `is_partly` says that the made span holds what is not known: that, and what would follow from it, is not compared.
    """
    plain = (
        ("name", made.name, given.name),
        ("kind", made.kind, given.kind),
        ("trace", made.trace_id, given.trace_id),
        ("parent", made.parent_id, given.parent_id),
        ("status", made.status, given.status),
        ("start", made.start, given.start),
        ("end", made.end, given.end),
    )
    for name, mine, yours in plain:
        is_time = name in ("start", "end")
        if mine != yours and not (is_time and lost.is_near(cast("int", mine), cast("int", yours))):
            return f"its {name} is {yours!r}, and was {mine!r}"

    if made.error != given.error:
        return f"its error is {given.error!r}, and was {made.error!r}"

    return (
        _of_attributes(made.attributes, given.attributes, is_partly=is_partly)
        or _of_events(made.events, given.events, lost, is_partly=is_partly)
        or _of_links(made.links, given.links, lost)
    )


def is_unknown(made: SpanData) -> bool:
    """Whether a made span holds what is not known."""
    values = [*made.attributes.values(), *(v for event in made.events for v in event.attributes.values())]
    return any(UNKNOWN in str(value) for value in values)


def _of_attributes(made: Mapping[str, Any], given: Mapping[str, Any], *, is_partly: bool) -> str:
    for name, mine in made.items():
        if is_of_audit(name):
            continue

        if name not in given:
            if is_partly and UNKNOWN in str(mine):
                continue

            return f"`{name}` is not there, and was {_short(mine)}"

        if not (is_partly and UNKNOWN in str(mine)) and not _same(mine, given[name]):
            return f"`{name}` is {_short(given[name])}, and was {_short(mine)}"

    for name in given:
        # What follows from a payload that is not known has names that are not known either.
        if name not in made and not is_of_audit(name) and not name.startswith(_STORES) and not is_partly:
            return f"`{name}` was not there, and is {_short(given[name])}"

    return ""


def _same(mine: Any, yours: Any) -> bool:
    if isinstance(mine, bool) or isinstance(yours, bool):
        return mine is yours

    if isinstance(mine, tuple) and isinstance(yours, str):  # some stores keep lists as JSON
        return bool(_parsed(yours) == list(mine))

    return bool(mine == yours)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _of_events(made: Sequence[SpanEvent], given: Sequence[SpanEvent], lost: Lost, *, is_partly: bool) -> str:
    if is_partly and len(made) != len(given):
        return ""

    if len(made) != len(given):
        return f"it has {len(given)} events, and had {len(made)}"

    for mine, yours in zip(made, given, strict=True):
        if mine.name != yours.name or not lost.is_near(mine.at, yours.at):
            return f"its event `{yours.name}` at {yours.at} was `{mine.name}` at {mine.at}"

        found = _of_attributes(mine.attributes, yours.attributes, is_partly=is_partly)
        if found:
            return f"in its event `{mine.name}` {found}"

    return ""


def _of_links(made: Sequence[SpanLink], given: Sequence[SpanLink], lost: Lost) -> str:
    if [link.span_id for link in made] != [link.span_id for link in given]:
        return "its links are not those that it had"

    for mine, yours in zip(made, given, strict=True):
        if not lost.links and _own(mine) != _own(yours):
            return "a link says something else than it did"

    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
