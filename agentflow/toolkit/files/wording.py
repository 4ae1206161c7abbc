"""What words to look for in FTS5, so that no query has to score a great part of a large index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# Stands in each passage, so that `rare AND (common OR MARK)` finds all with a rare word and scores common ones as well.
MARK = "\ue000"
ROWS = 10_000  # passages that a query scores at most, if one of its words is rarer than that


def match_any(words: Sequence[str], count: Callable[[str], int], rows: int = ROWS) -> str:
    """An FTS5 expression for passages with any of `words`; each is quoted, so none is an operator.

    Where that would be far more than `rows` passages, one of the rarer words has to be there; the score is the
    same. `count` tells how many passages hold a word. Nothing is looked for if no passage holds any.
    """
    known = sorted((number, place) for place, word in enumerate(words) if (number := count(word)))
    rare: list[int] = []
    total = 0
    for number, place in known:
        if rare and total + number > rows:
            break

        rare.append(place)
        total += number

    common = [words[place] for _, place in known[len(rare) :]]
    needed = _any([words[place] for place in rare])
    return f"({needed}) AND ({_any([*common, MARK])})" if common else needed


def _any(words: Sequence[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)
