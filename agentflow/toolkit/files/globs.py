"""Patterns for paths: `*` and `?` stay inside of one folder, `**` goes through any number, `[ab]` is one of several."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import translate
from functools import lru_cache


def matches(path: str, patterns: Collection[str]) -> bool:
    """Does `path`, with `/` between its parts, fit one of `patterns`?

    A pattern without `/` is looked for at any depth, as `*.pdf`; one that ends in `/` means all in that folder.
    """
    if "**" in patterns:
        return True

    parts = path.split("/")
    return any(_fits(parts, _split(pattern)) for pattern in patterns)


def _fits(parts: list[str], pattern: tuple[re.Pattern[str] | None, ...]) -> bool:
    # All places in the pattern that the parts so far may have led to: no pattern takes more than their product.
    places = _with_following({0}, pattern)
    for part in parts:
        on = {place for place in places if place < len(pattern)}
        stay = {place for place in on if pattern[place] is None}
        go = {place + 1 for place in on if (known := pattern[place]) is not None and known.match(part)}
        places = _with_following(stay | go, pattern)

    return len(pattern) in places


def _with_following(places: set[int], pattern: tuple[re.Pattern[str] | None, ...]) -> set[int]:
    """`places` and those behind each `**`, which may stand for nothing."""
    for place in sorted(places):
        while place < len(pattern) and pattern[place] is None:
            place += 1
            places.add(place)

    return places


@lru_cache(maxsize=1000)
def _split(pattern: str) -> tuple[re.Pattern[str] | None, ...]:
    """The parts of a pattern; None stands for `**`."""
    full = pattern.removeprefix("./").removeprefix("/") if "/" in pattern.rstrip("/") else f"**/{pattern}"
    parts = (full + "**" if full.endswith("/") else full).split("/")
    return tuple(None if part == "**" else re.compile(translate(part)) for part in parts)
