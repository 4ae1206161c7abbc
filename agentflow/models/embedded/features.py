"""A request as numbers: its embedding, its cues and its words, side by side."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from agentflow.embedding import encoder
from agentflow.models.embedded import cues

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

_TOKEN = re.compile(r"\w+|[^\w\s]")
_CUE_SCALE = 0.35  # the best of 0.2, 0.35 and 0.5 in cross-validation over the seeds


@lru_cache(maxsize=1024)
def embedding(text: str) -> Vector:
    """The vector of one text, of length 1. Cached: descriptions of tools come again with each choice."""
    vector: Vector = encoder().embed([text])[0]
    return vector


def terms(text: str) -> Counter[str]:
    """How often each word and each pair of words stands in `text`, outside of quotation marks."""
    words = _TOKEN.findall(cues.masked(text).lower())
    return Counter([*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))])


def vector(text: str, vocabulary: Mapping[str, tuple[int, float]]) -> Vector:
    """Embedding, scaled cues and weighted terms of `text`; `vocabulary` maps a term to its place and its idf."""
    import numpy as np

    cue_row = np.array(cues.read(text), dtype=np.float32) * _CUE_SCALE
    return np.concatenate([embedding(text), cue_row, _term_row(text, vocabulary)])


def _term_row(text: str, vocabulary: Mapping[str, tuple[int, float]]) -> Vector:
    import numpy as np

    row = np.zeros(len(vocabulary), dtype=np.float32)
    for term, count in terms(text).items():
        place, idf = vocabulary.get(term, (0, 0.0))
        if idf:
            row[place] = (1 + math.log(count)) * idf

    return row / max(float(np.linalg.norm(row)), 1e-9)
