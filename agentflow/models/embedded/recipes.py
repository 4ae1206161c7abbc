"""Programs for questions about one table, put together from recipes; no language model writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentflow.exceptions import ModelCannot
from agentflow.models.embedded.coding import program_of, title_of
from agentflow.models.embedded.questions import read
from agentflow.models.embedded.tables import Column, cannot


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A program, what it computes in words, and how surely that is what was asked."""

    code: str
    title: str
    confidence: float


def write_program(request: str) -> Recipe:
    """A Python program for `{"question", "table": {"columns": [...]}}`; raises `ModelCannot` naming the part."""
    reading = read(*_request(request))
    title = title_of(reading)
    return Recipe(code=program_of(reading, title), title=title, confidence=round(reading.confidence, 2))


def _request(text: str) -> tuple[str, list[Column]]:
    try:
        request = json.loads(text)
        if error := request.get("error"):  # the same question would only give the same program again
            raise cannot("this question", f"the one it wrote failed: {error}")

        return str(request["question"]), [_column(c) for c in request["table"]["columns"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelCannot(
            "the embedded model writes programs only for a question about a table",
            hint='give it JSON: {"question": ..., "table": {"columns": [{"name", "type", "samples"}]}}, or connect a language model',
        ) from None


def _column(raw: Mapping[str, Any]) -> Column:
    samples = tuple(str(s) for s in raw.get("samples") or ())
    return Column(str(raw["name"]), str(raw.get("type", "text")), samples, int(raw.get("distinct") or 0))
