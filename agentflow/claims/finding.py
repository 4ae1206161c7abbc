"""What is wrong with an answer, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from agentflow.evidence import Answer

Code = Literal[
    # citations
    "unknown-source",
    "wrong-source",
    "wrong-text",
    "merged-text",
    "wrong-offsets",
    "wrong-place",
    "other-call",
    "raised-trust",
    "mark-to-nothing",
    "unused-citation",
    # quotes
    "quote-not-found",
    "quote-elsewhere",
    "quote-merged",
    # facts
    "number-unsupported",
    "name-unsupported",
    # what was done
    "tool-not-called",
    "tool-failed",
    "page-not-opened",
]
Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that an answer claims and its run does not bear out.

    `start` and `end` are character offsets into the answer's text; None where it is about a citation alone.
    `citation` is its number as in the text, counted from 1. `why` says what the record holds instead.
    """

    code: Code
    level: Level
    what: str
    why: str
    start: int | None = None
    end: int | None = None
    citation: int | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An answer, and what is wrong with it; it is supported where no finding is an error."""

    answer: Answer
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def errors(self) -> list[Finding]:
        """The findings that make the answer one not to be used."""
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def is_supported(self) -> bool:
        return not self.errors
