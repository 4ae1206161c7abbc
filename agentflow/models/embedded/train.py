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
_PENALTY = 0.2  # of 0.2, 0.33 and 0.5 the one with the best likelihood in cross-validation
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
    head = fitted(rows)
    return replace(head, fit_weights=_fit_weights(head, rows))


def fitted(rows: Sequence[tuple[str, str]], *, rounds: int = _ROUNDS) -> Head:
    """A head for the families alone, fitted to `rows`."""
    import numpy as np

    terms, idf = _vocabulary([request for request, _ in rows])
    empty = np.zeros((0, 0), dtype=np.float32)
    blank = Head(weights=empty, bias=empty, fit_weights=empty, terms=terms, idf=idf, seeds=digest())
    inputs = np.stack([features.vector(request, blank.vocabulary) for request, _ in rows])
    targets = np.eye(len(CLASSES), dtype=np.float32)[[CLASSES.index(name) for _, name in rows]]
    weights, bias = _regression(inputs, targets, _PENALTY, rounds)
    return replace(blank, weights=weights, bias=bias)


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
        head = fitted([row for place, row in enumerate(rows) if place % _FOLDS != fold])
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


def _regression(inputs: Matrix, targets: Matrix, penalty: float, rounds: int) -> tuple[Matrix, Matrix]:
    """Multinomial logistic regression with an L2 penalty, by Nesterov's accelerated gradient from zero."""
    import numpy as np

    inputs = np.hstack([inputs, np.ones((len(inputs), 1), dtype=np.float32)])  # the last weight is the bias
    penalties = np.full((inputs.shape[1], 1), penalty, dtype=np.float32)
    penalties[-1] = 0
    # Half the largest eigenvalue of the inputs' Gram matrix bounds the curvature of the softmax loss.
    rate = 1 / (0.5 * float(np.linalg.norm(inputs, 2)) ** 2 + penalty)
    weights: Matrix = np.zeros((inputs.shape[1], targets.shape[1]), dtype=np.float32)
    ahead = weights
    for turn in range(rounds):
        slope = inputs.T @ (softmax(inputs @ ahead) - targets) + penalties * ahead
        before, weights = weights, (ahead - rate * slope).astype(np.float32, copy=False)
        ahead = (weights + turn / (turn + 3) * (weights - before)).astype(np.float32, copy=False)

    return weights[:-1], weights[-1]


def _fit_weights(head: Head, rows: Sequence[tuple[str, str]]) -> Matrix:
    """Weights of the binary head: does a request ask for a tool of no known family?"""
    import numpy as np

    pairs = _pairs(rows)
    families = {request: head.families(request) for request, _, _ in pairs}
    inputs = np.stack([fit_features(request, offer, families[request]) for request, offer, _ in pairs])
    targets = np.eye(2, dtype=np.float32)[[int(fits) for _, _, fits in pairs]]
    weights, bias = _regression(inputs, targets, _FIT_PENALTY, _ROUNDS)
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
    """Requests that do not ask for the tool of `record`: what other tools are asked, and some of the seeds.

    Of the seeds a tenth, and all that share a word with the tool's name: those are the hard ones.
    """
    kin = re.compile(record["kin"], re.IGNORECASE)
    name = re.compile("|".join(words(record["name"]).split()), re.IGNORECASE)
    strangers = [request for other in records if other is not record for request in other["requests"]]
    strangers += [
        request for place, (request, _) in enumerate(rows) if place % 10 == 0 or name.search(request)
    ]
    return [request for request in strangers if not kin.search(request)]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def main() -> None:
    """Train, write the weights, and say how well the head does on seeds it has not seen."""
    rows = seeds()
    save(train(rows), WEIGHTS)
    print(f"{len(rows)} seeds, cross-validated accuracy {cross_validated(rows):.3f}, written to {WEIGHTS}")


if __name__ == "__main__":
    main()
