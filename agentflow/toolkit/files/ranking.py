"""What to look for, and in which order to show what was found: pure functions over words and scores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

# Words that nearly every English passage has; asking for them only costs time.
_COMMON = """
a about after all also am an and any are as at be because been before being between both but by can could did do does
doing during each few for from further had has have having he her here him his how i if in into is it its me more most
my no nor not of off on once only or other our out over own please same she should so some such tell than that the
their them then there these they this those through to too under until up very was we were what when where which while
who whom why will with would you your
"""
_STOP_WORDS = frozenset(_COMMON.split())
_NEGATIONS = frozenset({"no", "not", "never", "none", "nor", "without", "except", "neither", "cannot"})
_MOST_WORDS = 64  # of a query; SQLite's parser has a limit and more words find nothing better
K = TypeVar("K", int, tuple[int, int])
_ALIKE = 0.9  # share of words that two passages have in common if one is nearly the other


def telling(query: str) -> list[str]:
    """The words of `query` to look for, each once; common ones only where there are no others."""
    words = list(dict.fromkeys(re.findall(r"\w+", query.lower())))
    return ([word for word in words if word not in _STOP_WORDS] or words)[:_MOST_WORDS]


def fuse(words: Mapping[K, float], meanings: Mapping[K, float], weight: float) -> list[tuple[K, float]]:
    """Both rankings as one, best first: scores are scaled to 0..1 each, `weight` is the share of the meaning."""
    scaled = (_scaled(words), 1 - weight), (_scaled(meanings), weight)
    total = {
        key: sum(share * scores.get(key, 0.0) for scores, share in scaled)
        for key in words.keys() | meanings.keys()
    }
    return sorted(total.items(), key=lambda item: (-item[1], item[0]))


def _scaled(scores: Mapping[K, float]) -> dict[K, float]:
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    span = high - low
    return {key: (score - low) / span if span else 1.0 for key, score in scores.items()}


def distinct(texts: Iterable[tuple[K, str]]) -> Iterator[K]:
    """The keys of `texts` without those that say nearly the same as one before."""
    kept: list[frozenset[str]] = []
    for key, text in texts:
        words = frozenset(re.findall(r"\w+", text.lower()))
        if not any(_same(words, other) for other in kept):
            kept.append(words)
            yield key


def _same(one: frozenset[str], other: frozenset[str]) -> bool:
    # An old and a new version of a rule differ in one number or one "not": both must be seen.
    differing = one ^ other
    if any(word in _NEGATIONS or any(map(str.isdigit, word)) for word in differing):
        return False

    return len(one & other) >= _ALIKE * len(one | other)
