"""Ways to tamper with a trail, each with where that is to be found."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from agentflow.encoding import chained
from agentflow.journal import Kept, Trail
from tests.audit.trails import spans_in_document


@dataclass(frozen=True, kw_only=True)
class Tampered:
    """A trail that was tampered with: how, and the events of which one must be named as the first at fault."""

    how: str
    what: Any
    places: range
    kinds: tuple[str, ...] = ("altered", "missing", "reordered", "inserted")


def _numbered(rows: Sequence[Kept]) -> list[Kept]:
    return [replace(row, seq=number) for number, row in enumerate(rows, 1)]


def flipped(raw: bytes, random: Random) -> bytes:
    """With one bit of it turned over."""
    at = random.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << random.randrange(8))]) + raw[at + 1 :]


def tampered_rows(trail: Trail, other: Trail, random: Random) -> Iterator[Tampered]:
    """Each way, on each event."""
    for number in range(1, len(trail.rows) + 1):
        yield from _on_one(trail, number, random)
        yield from _on_two(trail, other, number, random)


def _on_one(trail: Trail, number: int, random: Random) -> Iterator[Tampered]:
    rows, row = list(trail.rows), trail.rows[number - 1]
    here, last = range(number, number + 1), number == len(rows)

    def with_row(changed: Kept) -> Trail:
        return replace(trail, rows=[*rows[: number - 1], changed, *rows[number:]])

    data = flipped(row.data, random)
    yield Tampered(how="flip data", what=with_row(replace(row, data=data)), places=here)
    yield Tampered(how="flip hash", what=with_row(replace(row, hash=flipped(row.hash, random))), places=here)
    yield Tampered(how="alter the time", what=with_row(replace(row, at=row.at + 1)), places=here)
    yield Tampered(how="alter the type", what=with_row(replace(row, type="step.other")), places=here)
    before = rows[number - 2].hash if number > 1 else b""
    made = replace(row, data=data, hash=chained(before, data, 2))
    # It fits what comes before, so the next is the first that does not fit; of the last, only the head tells.
    where = range(1, number + 1) if last else range(number, number + 2)
    yield Tampered(how="flip and hash anew", what=with_row(made), places=where)
    without = [*rows[: number - 1], *rows[number:]]
    yield Tampered(how="drop", what=replace(trail, rows=without), places=here, kinds=("missing",))
    yield Tampered(
        how="drop and number anew",
        what=replace(trail, rows=_numbered(without)),
        places=here,
        kinds=("missing",),
    )
    yield Tampered(
        how="truncate", what=replace(trail, rows=rows[: number - 1]), places=here, kinds=("missing",)
    )


def _on_two(trail: Trail, other: Trail, number: int, random: Random) -> Iterator[Tampered]:
    rows = list(trail.rows)
    second = random.choice([n for n in range(1, len(rows) + 1) if n != number])
    low, high = sorted((number, second))
    swapped = list(rows)
    swapped[low - 1], swapped[high - 1] = rows[high - 1], rows[low - 1]
    yield Tampered(
        how="swap",
        what=replace(trail, rows=_numbered(swapped)),
        places=range(low, low + 1),
        kinds=("reordered",),
    )
    inserted = _numbered([*rows[: number - 1], rows[second - 1], *rows[number - 1 :]])
    yield Tampered(
        how="insert a copy",
        what=replace(trail, rows=inserted),
        places=range(number, number + 2),
        kinds=("inserted", "reordered"),
    )
    twice = [*rows[:number], rows[number - 1], *rows[number:]]
    yield Tampered(
        how="duplicate",
        what=replace(trail, rows=twice),
        places=range(number, number + 2),
        kinds=("inserted",),
    )
    spliced = [*rows[: number - 1], *other.rows[number - 1 :]]
    if number <= len(other.rows) and number > 1:
        what = replace(trail, rows=spliced, count=len(spliced), head=other.head)
        yield Tampered(how="splice", what=what, places=range(number, number + 1))


def altered(value: dict[str, Any], random: Random) -> dict[str, Any]:
    """Another value of the same kind of attribute."""
    ((kind, known),) = value.items()
    match kind:
        case "stringValue" if known:
            at = random.randrange(len(known))
            return {kind: known[:at] + chr(ord(known[at]) ^ 1) + known[at + 1 :]}
        case "stringValue":
            return {kind: "x"}
        case "intValue":
            return {kind: str(int(known) + random.choice([-1, 1]))}
        case "doubleValue":
            return {kind: known + 0.25}
        case "boolValue":
            return {kind: not known}
        case _:
            return {kind: {"values": [*known.get("values", []), {"stringValue": "more"}]}}


def _holders(span: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return [held["attributes"] for held in (span, *span["events"], *span["links"])]


def tampered_spans(document: Any, random: Random, share: float) -> Iterator[tuple[str, Any, str]]:
    """A share of the attributes, and of what else spans say, altered or taken away; with the id of the span."""
    for place, span in enumerate(spans_in_document(document)):
        for way, change in _changes(span):
            if random.random() > share:
                continue

            changed = copy.deepcopy(document)
            change(spans_in_document(changed)[place], random)
            yield f"{way} of `{span['name']}`", changed, span["spanId"]


def _changes(span: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for holder, attributes in enumerate(_holders(span)):
        for number, entry in enumerate(attributes):

            def alter(known: Any, random: Random, *, holder: int = holder, number: int = number) -> None:
                held = _holders(known)[holder][number]
                held["value"] = altered(held["value"], random)

            def take(known: Any, _: Random, *, holder: int = holder, number: int = number) -> None:
                del _holders(known)[holder][number]

            def add(known: Any, _: Random, *, holder: int = holder) -> None:
                _holders(known)[holder].append({"key": "approved.by", "value": {"stringValue": "ann"}})

            yield f"alter {entry['key']} of {holder}", alter
            yield f"take {entry['key']} of {holder}", take
            yield f"add to {holder}", add

    for name in ("name", "startTimeUnixNano", "endTimeUnixNano", "kind", "parentSpanId", "status"):

        def say(known: Any, _: Random, *, name: str = name) -> None:
            others = {
                "name": "step x",
                "startTimeUnixNano": str(int(known["startTimeUnixNano"]) - 1),
                "endTimeUnixNano": str(int(known["endTimeUnixNano"]) + 1),
                "kind": 2,
                "parentSpanId": "00000000000000aa",
                "status": {"code": 2, "message": "broken"} if not known["status"] else {},
            }
            known[name] = others[name]

        yield f"alter {name}", say

    for name in ("events", "links"):
        for number in range(len(span[name])):

            def drop(known: Any, _: Random, *, name: str = name, number: int = number) -> None:
                del known[name][number]

            yield f"take one of its {name}", drop
