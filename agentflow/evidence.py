"""What a model may say, and on what grounds: passages with their source, and answers that cite them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, cast

from agentflow.marking import marked

Trust = Literal["trusted", "untrusted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A passage that a tool returned, with the exact place that it comes from.

    `start` and `end` are character offsets into the text of the source, so `text` can be found again there.
    `at` is the time of retrieval, ISO 8601 in UTC. `score` is comparable within one result list only.
    """

    text: str
    source: str
    place: str = ""
    title: str = ""
    tool: str = ""
    at: str = ""
    trust: Trust = "untrusted"
    start: int | None = None
    end: int | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A text whose marks `[1]`, `[2]`, ... stand for `citations[0]`, `citations[1]`, ..."""

    text: str
    citations: list[Evidence] = field(default_factory=list[Evidence])


_MARK = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")


def numbered(evidence: Sequence[Evidence], first: int = 1, *, mark: str = "") -> list[dict[str, Any]]:
    """Evidence as a model reads it: numbered from `first`, with what it needs to judge each passage.

    What is not trusted is marked with `mark`, where one is given.
    """

    def told(text: str, e: Evidence) -> str:
        return marked(text, mark) if text and e.trust == "untrusted" else text

    return [
        {
            "n": n,
            **{name: told(getattr(e, name), e) for name in ("text", "source", "place", "title")},
            "trust": e.trust,
        }
        for n, e in enumerate(evidence, first)
    ]


def cite(text: str, evidence: Sequence[Evidence]) -> Answer:
    """An answer from a text with marks like `[2]` or `[1, 3]` into `evidence`, counted from 1.

    Marks are renumbered in the order of first use; a mark that points at nothing is taken out.
    """
    order: dict[int, int] = {}

    def renumber(match: re.Match[str]) -> str:
        wanted = [int(n) for n in match[1].split(",")]
        kept = [order.setdefault(n, len(order) + 1) for n in wanted if 1 <= n <= len(evidence)]
        return "".join(f"[{n}]" for n in kept)

    marked = re.sub(r" +([.,;]|$)", r"\1", _MARK.sub(renumber, text), flags=re.MULTILINE)
    return Answer(text=marked.strip(), citations=[evidence[n - 1] for n in order])


def evidence_in(value: Any) -> list[Evidence]:
    """All evidence inside a value, in order: in lists, tuples, dataclasses and pydantic models."""
    if isinstance(value, Evidence):
        return [value]

    if isinstance(value, list | tuple):
        return [e for item in cast("Sequence[Any]", value) for e in evidence_in(item)]

    return [e for item in fields_of(value).values() for e in evidence_in(item)]


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, a pydantic model or a mapping, by name; empty for anything else."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in fields(value)}

    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))

    names = getattr(type(value), "model_fields", None)
    return {name: getattr(value, name) for name in names} if isinstance(names, dict) else {}
