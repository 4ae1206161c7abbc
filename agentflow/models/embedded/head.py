"""The trained head: how likely each family of tools is for a request, and whether a tool of another kind fits it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agentflow.models.embedded import cues, features
from agentflow.models.embedded.families import Offer, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

WEIGHTS = Path(__file__).parents[2] / "data" / "router.npz"
CLASSES = ("web_search", "file_search", "computer", "code_interpreter", "none")
_NEGATED = re.compile(r"\b(?:do not|don['’]?t|never|without|no need to)\s+\w+", re.IGNORECASE)
_SMALL_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "to",
        "in",
        "on",
        "for",
        "by",
        "with",
        "from",
        "and",
        "or",
        "its",
        "it",
        "is",
        "at",
        "as",
        "into",
        "get",
        "user",
        "user's",
        "text",
        "one",
    ]
)


@dataclass(frozen=True, kw_only=True)
class Head:
    """Multinomial logistic regression over `features.vector`, and a binary one over `fit_features`."""

    weights: Matrix = field(repr=False)
    bias: Matrix = field(repr=False)
    fit_weights: Matrix = field(repr=False)
    terms: tuple[str, ...] = field(repr=False)
    idf: Matrix = field(repr=False)
    seeds: str

    @cached_property
    def vocabulary(self) -> Mapping[str, tuple[int, float]]:
        """Each known term with its place among the features and its inverse document frequency."""
        return {term: (place, float(self.idf[place])) for place, term in enumerate(self.terms)}

    def families(self, request: str) -> dict[str, float]:
        """The probability of each of `CLASSES` for `request`."""
        scores = features.vector(request, self.vocabulary) @ self.weights + self.bias
        return dict(zip(CLASSES, softmax(scores).tolist(), strict=True))

    def fit(self, request: str, offer: Offer, families: Mapping[str, float]) -> float:
        """How likely it is that `request`, with those family probabilities, asks for just this tool, 0 to 1."""
        import numpy as np

        if _declined(request, offer):
            return 0.0

        score = float(np.dot(fit_features(request, offer, families), self.fit_weights))
        return 1 / (1 + float(np.exp(-score)))


@cache
def head() -> Head:
    """The head that ships with the package, read once."""
    import numpy as np

    with np.load(WEIGHTS, allow_pickle=False) as stored:
        return Head(
            weights=stored["weights"].astype(np.float32),
            bias=stored["bias"].astype(np.float32),
            fit_weights=stored["fit_weights"].astype(np.float32),
            terms=tuple(str(t) for t in stored["terms"]),
            idf=stored["idf"].astype(np.float32),
            seeds=str(stored["seeds"]),
        )


def softmax(scores: Matrix) -> Matrix:
    """Scores as probabilities, along the last axis."""
    import numpy as np

    raised: Matrix = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Matrix = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def fit_features(request: str, offer: Offer, families: Mapping[str, float]) -> Matrix:
    """What speaks for `offer`: likeness to its description and name, words in common; against it: the families."""
    import numpy as np

    asked = features.embedding(request)
    name = words(offer.name)
    described = float(asked @ features.embedding(offer.description or name))
    named = float(asked @ features.embedding(name))
    said = _stems(_NEGATED.sub(" ", cues.masked(request)))
    in_name = _shared(said, name)
    talk = cues.speaks_about(request)
    likeness = (described, named, max(described, named))
    led = float(bool(_stems(cues.lead(request)) & _stems(f"{name} {offer.description}")))
    overlap = (in_name, float(in_name == 1.0), _shared(said, offer.description), led, led * in_name)
    against = (*(families[name] for name in CLASSES), talk, in_name * talk)
    return np.array((*likeness, *overlap, *against, 1.0), dtype=np.float32)


def _declined(request: str, offer: Offer) -> bool:
    declined = " ".join(match.group(0) for match in _NEGATED.finditer(cues.masked(request)))
    return bool(_stems(declined) & _stems(words(offer.name)))


def _shared(said: frozenset[str], text: str) -> float:
    wanted = _stems(text)
    return len(wanted & said) / len(wanted) if wanted else 0.0


def _stems(text: str) -> frozenset[str]:
    # Five letters stand for a word: good enough to see that `booking` and `book` or `e-mails` and `email` meet.
    plain = text.lower().replace("-", "")
    found = ("".join(c if c.isalnum() else " " for c in plain)).split()
    return frozenset(w[:5].rstrip("s") for w in found if w not in _SMALL_WORDS)
