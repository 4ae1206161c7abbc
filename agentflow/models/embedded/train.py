"""Train the router's head from the seed requests: `python -m agentflow.models.embedded.train`."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.models.embedded import features
from agentflow.models.embedded.families import Offer, words
from agentflow.models.embedded.head import CLASSES, WEIGHTS, Head, fit_features, softmax

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

SEEDS = WEIGHTS.parent / "seeds"
_PENALTY = 1 / 3  # the usual C of 3
_FIT_PENALTY = 1.0
_ROUNDS = 4000
_FOLDS = 5


def seeds() -> list[tuple[str, str]]:
    """All seed requests as (request, class)."""
    return [(line, name) for name in CLASSES for line in _lines(SEEDS / f"{name}.txt")]


def digest() -> str:
    """What identifies the seeds that a head was trained on."""
    contents = (path.read_bytes() for path in sorted(SEEDS.iterdir()))
    return hashlib.sha256(b"\0".join(contents)).hexdigest()


def train(rows: Sequence[tuple[str, str]]) -> Head:
    """A head fitted to `rows` and to the seed offers."""
    import numpy as np

    terms, idf = _vocabulary([request for request, _ in rows])
    empty = np.zeros((0, 0), dtype=np.float32)
    blank = Head(weights=empty, bias=empty, fit_weights=empty, terms=terms, idf=idf, seeds=digest())
    inputs = np.stack([features.vector(request, blank.vocabulary) for request, _ in rows])
    weights, bias = _regression(
        inputs, np.array([CLASSES.index(name) for _, name in rows]), len(CLASSES), _PENALTY
    )
    head = replace(blank, weights=weights, bias=bias)
    return replace(head, fit_weights=_fit_weights(head, rows))


def save(head: Head, path: Path) -> None:
    """Write `head` so that `head.head` can read it; half precision changes no choice and halves the file."""
    import numpy as np

    np.savez_compressed(
        path,
        weights=head.weights.astype(np.float16),
        bias=head.bias,
        fit_weights=head.fit_weights,
        terms=np.array(head.terms),
        idf=head.idf.astype(np.float16),
        seeds=np.array(head.seeds),
    )


def cross_validated(rows: Sequence[tuple[str, str]]) -> float:
    """The accuracy over requests that the head was not trained on, five folds."""
    right = 0
    for fold in range(_FOLDS):
        head = train([row for place, row in enumerate(rows) if place % _FOLDS != fold])
        tested = [row for place, row in enumerate(rows) if place % _FOLDS == fold]
        right += sum(_likeliest(head, request) == name for request, name in tested)

    return right / len(rows)


def _likeliest(head: Head, request: str) -> str:
    shares = head.families(request)
    return max(shares, key=lambda name: shares[name])


def _vocabulary(requests: Sequence[str]) -> tuple[tuple[str, ...], Matrix]:
    """Terms that stand in two requests or more, with their smoothed inverse document frequency."""
    import numpy as np

    counts = Counter(term for request in requests for term in features.terms(request))
    kept = sorted(term for term, count in counts.items() if count > 1)
    idf = [math.log((1 + len(requests)) / (1 + counts[term])) + 1 for term in kept]
    return tuple(kept), np.array(idf, dtype=np.float32)


def _regression(
    inputs: Matrix, classes: NDArray[np.int64], number: int, penalty: float
) -> tuple[Matrix, Matrix]:
    """Multinomial logistic regression with an L2 penalty, by Nesterov's accelerated gradient from zero."""
    import numpy as np

    targets = np.eye(number, dtype=np.float32)[classes]
    # Half the largest eigenvalue of the inputs' Gram matrix bounds the curvature of the softmax loss.
    rate = 1 / (0.5 * float(np.linalg.norm(inputs, 2)) ** 2 + 0.5 * len(inputs) + penalty)
    weights = ahead = np.zeros((inputs.shape[1], number), dtype=np.float32)
    bias = bias_ahead = np.zeros(number, dtype=np.float32)
    for turn in range(_ROUNDS):
        errors = softmax(inputs @ ahead + bias_ahead) - targets
        stepped = ahead - rate * (inputs.T @ errors + penalty * ahead)
        bias_stepped = bias_ahead - rate * errors.sum(axis=0)
        momentum = turn / (turn + 3)
        ahead, weights = stepped + momentum * (stepped - weights), stepped
        bias_ahead, bias = bias_stepped + momentum * (bias_stepped - bias), bias_stepped

    return weights, bias


def _fit_weights(head: Head, rows: Sequence[tuple[str, str]]) -> Matrix:
    """Weights of the binary head: does a request ask for a tool of no known family?"""
    import numpy as np

    pairs = _pairs(rows)
    inputs = np.stack([fit_features(request, offer, head.families(request)) for request, offer, _ in pairs])
    weights, bias = _regression(inputs, np.array([int(fits) for _, _, fits in pairs]), 2, _FIT_PENALTY)
    difference: Matrix = weights[:, 1] - weights[:, 0]
    difference[-1] += bias[1] - bias[0]  # the last feature is the constant
    return difference


def _pairs(rows: Sequence[tuple[str, str]]) -> list[tuple[str, Offer, bool]]:
    pairs: list[tuple[str, Offer, bool]] = []
    records = [json.loads(line) for line in _lines(SEEDS / "offers.jsonl")]
    for record in records:
        offer = Offer(name=record["name"], description=record["description"])
        pairs += [(request, offer, True) for request in record["requests"]]
        unfit = (*record["not"], *_talk(offer), *_foreign(record, rows, records))
        pairs += [(request, offer, False) for request in unfit]

    return pairs


def _talk(offer: Offer) -> tuple[str, ...]:
    """Requests that only talk about what the tool does."""
    name = words(offer.name)
    return (f"How do I {name} well?", f"What does it mean to {name}?", f"Explain {name} to a beginner")


def _foreign(
    record: dict[str, Any], rows: Sequence[tuple[str, str]], records: Sequence[dict[str, Any]]
) -> list[str]:
    """Requests that do not ask for the tool of `record`: a tenth of the seeds, and what other tools are asked."""
    kin = re.compile(record["kin"], re.IGNORECASE)
    strangers = [request for other in records if other is not record for request in other["requests"]]
    strangers += [request for request, _ in rows[::10]]
    return [request for request in strangers if not kin.search(request)]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def main() -> None:
    """Train, write the weights, and say how well the head does on seeds it has not seen."""
    rows = seeds()
    save(train(rows), WEIGHTS)
    print(f"{len(rows)} seeds, cross-validated accuracy {cross_validated(rows):.3f}, written to {WEIGHTS}")  # noqa: T201


if __name__ == "__main__":
    main()
