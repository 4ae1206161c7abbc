"""Labels chosen for a text without examples: each label's meaning is compared with what the text says.

A label's meaning is written in the schema: `returns: sending back, exchange; shipping: where is my parcel, tracking`.
What such a text would itself say (`this is my third mail`) works better than a description of it (`repeated complaint`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agentflow.embedding import encoder
from agentflow.models.embedded.passages import question_of, sentences, terms_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_SEGMENTS = 14
_PEAKS = 3  # so many of the likest sentences speak for a label
_WORDS = 0.35  # weight of shared words beside the similarity of embeddings
_SHARPNESS = 16.0
_STATED = 0.15  # weight of a statement's words that the text has, beside the likeness
_TRUE_FROM = 0.36  # from here a statement is taken as true: few are then, and hardly any wrongly


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The chosen value of each property, nested as the schema is, and the least sure choice's probability."""

    values: dict[str, Any]
    confidence: float


@dataclass(frozen=True, slots=True)
class _Text:
    """What is labelled: its sentences, their vectors, its stemmed words."""

    segments: tuple[str, ...]
    vectors: NDArray[np.float32]
    words: Mapping[str, int]


def is_labels(schema: Mapping[str, Any]) -> bool:
    """Is every property of `schema` a label (enum, const, boolean), or an object of such?"""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    return bool(properties) and all(_is_label(_resolved(p, schema), schema) for p in properties.values())


def choose_labels(schema: Mapping[str, Any], text: str, instructions: str = "") -> Labels:
    """A value for each property of `schema`; meanings are read from its descriptions, else from `instructions`."""
    sure: list[float] = []
    values = _object(schema, schema, _read(text), instructions, sure)
    return Labels(values=values, confidence=round(min(sure, default=1.0), 2))


def _is_label(field: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    if "properties" in field:
        return all(_is_label(_resolved(p, root), root) for p in field["properties"].values())

    return "enum" in field or "const" in field or field.get("type") == "boolean"


def _resolved(field: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """`field` with its reference followed; what stands beside the reference wins, descriptions are joined."""
    options = [o for o in field.get("anyOf", field.get("allOf", ())) if o.get("type") != "null"]
    inner = options[0] if len(options) == 1 else {}
    if "$ref" in field:
        inner = root.get("$defs", {}).get(str(field["$ref"]).rpartition("/")[2], {})

    if not inner:
        return field

    target = _resolved(inner, root)
    described = "\n".join(d for d in (field.get("description"), target.get("description")) if d)
    return {**target, **field, "description": described}


def _object(
    schema: Mapping[str, Any], root: Mapping[str, Any], text: _Text, instructions: str, sure: list[float]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, raw in schema["properties"].items():
        field = _resolved(raw, root)
        if "properties" in field:
            values[name] = _object(field, root, text, instructions, sure)
        elif "const" in field:
            values[name] = field["const"]
        elif "enum" in field:
            values[name], probability = _choose(field, text, instructions)
            sure.append(probability)
        else:
            values[name], probability = _is_true(name, field, text)
            sure.append(probability)

    return values


def _read(text: str) -> _Text:
    """The text's sentences, preceded by the whole; a subject is a sentence."""
    message = question_of(text)
    lines = [line for line in message.splitlines() if line.strip()]
    parts = [s for line in lines for s in sentences(" ".join(line.split())) if len(s.split()) > 1]
    segments = (" ".join(message.split()), *parts[:_MOST_SEGMENTS])
    return _Text(segments, encoder().embed(segments), Counter(terms_of(message)))


def _choose(field: Mapping[str, Any], text: _Text, instructions: str) -> tuple[Any, float]:
    options: list[Any] = [o for o in field["enum"] if o is not None]
    described = _meanings(options, field.get("description", ""))
    meanings = described if any(described) else _meanings(options, instructions)
    scores = [
        a + _WORDS * b
        for a, b in zip(_likeness(options, meanings, text), _shared(options, meanings, text), strict=True)
    ]
    best = max(range(len(options)), key=scores.__getitem__)
    total = sum(math.exp(_SHARPNESS * (s - scores[best])) for s in scores)
    return options[best], 1 / total


def _meanings(options: Sequence[Any], description: str) -> list[str]:
    """What `description` says after `label:`, up to the next semicolon, line or label; empty where it says nothing."""
    names = "|".join(re.escape(str(o)) for o in sorted(options, key=lambda o: -len(str(o))))
    found = re.split(
        rf"(?:^|(?<=[;.,\n*\s`\"']))[`\"'*]*({names})[`\"'*]*\s*(?::|=| [-–—])\s*",
        description,
        flags=re.IGNORECASE,
    )
    told = dict(zip((n.lower() for n in found[1::2]), found[2::2], strict=True))
    return [re.split(r"[;\n]", told.get(str(o).lower(), ""))[0].strip(" .,*-") for o in options]


def _phrases(option: Any, meaning: str) -> tuple[str, ...]:
    """The label with its whole meaning, and each thing listed in that, unless it begins with `not`."""
    name = str(option).replace("_", " ").replace("-", " ")
    listed = [p.strip() for p in re.split(r",| or (?=an? )", meaning)]
    return (f"{name}: {meaning}" if meaning else name, *(p for p in listed if p and not p.startswith("not ")))


@lru_cache(maxsize=256)
def _vectors(phrases: tuple[str, ...]) -> NDArray[np.float32]:
    """The phrases' embeddings; the same labels are asked for again and again."""
    return encoder().embed(phrases)


def _likeness(options: Sequence[Any], meanings: Sequence[str], text: _Text) -> list[float]:
    """For each label how like it the text is: as a whole, and its likest sentences to the things that it names."""
    scores: list[float] = []
    for option, meaning in zip(options, meanings, strict=True):
        near = text.vectors @ _vectors(_phrases(option, meaning)).T
        peaks = sorted(near[1:].max(axis=1).tolist() or [float(near[0].max())], reverse=True)[:_PEAKS]
        scores.append((float(near[0, 0]) + sum(peaks) / len(peaks)) / 2)

    return scores


def _shared(options: Sequence[Any], meanings: Sequence[str], text: _Text) -> list[float]:
    """For each label the words of its meaning that the text has, heavier the fewer labels have them; 0 to 1."""
    words = [set(terms_of(f"{o} {m}")) for o, m in zip(options, meanings, strict=True)]
    labels = Counter(w for own in words for w in own)
    weights = [sum(math.log(1 + len(options) / labels[w]) for w in own if w in text.words) for own in words]
    return [w / (w + 4.0) for w in weights]


def _is_true(name: str, field: Mapping[str, Any], text: _Text) -> tuple[bool, float]:
    """A statement is true when a sentence of the text is like it; without a clear sign it is false."""
    statement = field.get("description") or name.replace("_", " ")
    statement = re.sub(
        r"^(?:true|whether|is true)\b(?: (?:if|when|that))?\s*", "", statement, flags=re.IGNORECASE
    )
    words = set(terms_of(statement))
    like = float((text.vectors @ _vectors(_phrases(statement, "")).T).max())
    score = like + _STATED * sum(word in text.words for word in words) / max(1, len(words))
    probability = 1 / (1 + math.exp(-_SHARPNESS * (score - _TRUE_FROM)))
    return score >= _TRUE_FROM, max(probability, 1 - probability)
