"""What words to look for in FTS5, so that no query has to score a great part of a large index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import apsw

# Stands in each passage, so that `rare AND (common OR MARK)` finds all with a rare word and scores common ones as well.
MARK = "\ue000"
ROWS = 8_000  # passages that a query scores at most, if one of its words is rarer than that


def match_any(words: Sequence[str], count: Callable[[str], int], *, total: int, rows: int) -> str:
    """An FTS5 expression for passages with any of `words`; each is quoted, so none is an operator.

    Where that would be far more than `rows` of `total` passages, one of the rarer words has to be there; the score is
    the same. `count` tells how many passages hold a word. Nothing is looked for if no passage holds any.
    """
    held = sorted((number, place) for place, word in enumerate(words) if (number := count(word)))
    # FTS5 gives no weight to a word that more than half of the passages hold.
    known = [(number, place) for number, place in held if 2 * number <= total] or held
    rare: list[int] = []
    so_far = 0
    for number, place in known:
        if rare and so_far + number > rows:
            break

        rare.append(place)
        so_far += number

    common = [words[place] for _, place in known[len(rare) :]]
    needed = _any([words[place] for place in rare])
    return f"({needed}) AND ({_any([*common, MARK])})" if common else needed


def passages_with(db: apsw.Connection, word: str, counts: dict[str, int]) -> int:
    """How many passages hold `word`, in any of its forms: of a word of several parts, the rarest of them."""
    import apsw

    if word not in counts:
        stems = db.fts5_tokenizer("porter", ["unicode61"])(
            word.encode(), apsw.FTS5_TOKENIZE_QUERY, None, include_offsets=False
        )
        sql = "select doc from terms where term = ?"
        found = [_rows(db, sql, stem[0]) for stem in stems]
        counts[word] = min((rows[0][0] if rows else 0 for rows in found), default=0)

    return counts[word]


def best(db: apsw.Connection, match: str, limit: int, only: str | None) -> dict[int, float]:
    """The first `limit` passages that fit an FTS5 expression, among those of the JSON list `only` if given."""
    if not match:
        return {}

    if only is None:
        sql = "select rowid, -rank from words where words match ? order by rank limit ?"
        return dict(_rows(db, sql, match, limit))

    # Not ordered by `rank` itself, for which FTS5 would score all passages before any is left out.
    sql = (
        "select rowid, -rank as score from words where words match ? "
        "and +rowid in (select value from json_each(?)) order by score desc, rowid limit ?"
    )
    return dict(_rows(db, sql, match, only, limit))


def _rows(db: apsw.Connection, sql: str, *values: Any) -> list[Any]:
    return db.execute(sql, values).fetchall()


def _any(words: Sequence[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)
