"""The router: which of the offered tools a request needs, if any, and how sure that is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from agentflow.models.embedded import features
from agentflow.models.embedded.families import Offer, family
from agentflow.models.embedded.head import head

__all__ = ["Choice", "Offer", "route"]

# What may stand in for a family that is not offered, and for how much of it; the rest goes to no tool at all.
_STAND_INS: Mapping[str, Mapping[str, float]] = {
    "web_search": {"file_search": 0.5, "computer": 0.3},
    "file_search": {"web_search": 0.2},
    "computer": {"web_search": 0.3},
    "code_interpreter": {},
}
_SHARPNESS = 20.0  # how strongly the more similar of two tools of one family is preferred
_ALONE = 6.0  # odds are this much better when nothing but tools of other kinds is offered


@dataclass(frozen=True, slots=True)
class Choice:
    """The tool that was chosen (None: no tool), its probability, and all others, the likeliest first."""

    tool: str | None
    confidence: float
    alternatives: tuple[tuple[str | None, float], ...] = ()


def route(request: str, offers: Sequence[Offer]) -> Choice:
    """Choose among `offers` for `request`, or no tool. Takes about 5 ms; raises `MissingExtra`."""
    ranked = sorted(_probabilities(request, offers).items(), key=lambda pair: -pair[1])
    (tool, confidence), *others = ranked
    return Choice(tool, confidence, tuple(others))


def _probabilities(request: str, offers: Sequence[Offer]) -> dict[str | None, float]:
    every = head().families(request)
    known: defaultdict[str, list[Offer]] = defaultdict(list)
    for offer in offers:
        known[family(offer) or ""].append(offer)

    others = _others(request, known.pop("", []), every, alone=not known)
    left = 1.0 - sum(others.values())
    shares = _offered(every, known)
    result: dict[str | None, float] = {**others, None: shares.pop("none") * left}
    for name, share in shares.items():
        result |= _within(request, known[name], share * left)

    return result


def _offered(every: Mapping[str, float], known: Container[str]) -> dict[str, float]:
    """The probabilities of the families that are offered and of `none`."""
    shares = {name: p for name, p in every.items() if name in known or name == "none"}
    for name in every.keys() - shares.keys():
        for stand_in, part in _STAND_INS[name].items():
            if stand_in in known:
                shares[stand_in] += every[name] * part

    shares["none"] += 1.0 - sum(shares.values())
    return shares


def _within(request: str, offers: Sequence[Offer], share: float) -> dict[str | None, float]:
    """Divide a family's probability among its members by their likeness to the request."""
    if len(offers) == 1:
        return {offers[0].name: share}

    import numpy as np

    asked = features.embedding(request)
    likeness = np.array([float(asked @ features.embedding(o.description or o.name)) for o in offers])
    parts = np.exp((likeness - likeness.max()) * _SHARPNESS)
    return {o.name: share * float(p) for o, p in zip(offers, parts / parts.sum(), strict=True)}


def _others(
    request: str, offers: Sequence[Offer], families: Mapping[str, float], *, alone: bool
) -> dict[str | None, float]:
    """The probabilities of tools of no known family; together they take what the best of them deserves."""
    fits = {o.name: head().fit(request, o, families) for o in offers}
    if alone:
        fits = {name: p * _ALONE / (1 - p + p * _ALONE) for name, p in fits.items()}

    best = max(fits.values(), default=0.0)
    parts = {name: (p / (1 - p)) ** 2 for name, p in fits.items()}
    total = sum(parts.values())
    return {name: best * part / total for name, part in parts.items()}
