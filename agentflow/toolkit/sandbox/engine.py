"""What an engine is: something that runs programs one after another, each seeing what the earlier ones left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agentflow.exceptions import CodeFailed

_LONGEST = 4_000
SHORTER = "give back a summary of it, or its first rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may use.

    `seconds` each; `megabytes` of memory and `disk` megabytes of files for all programs of a session together;
    `output` characters printed, and as many as its value; `files` that it may leave at a time; `threads`.
    """

    seconds: float
    megabytes: int
    disk: int
    output: int
    files: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Code, the variables that it is given, and the files that lie in its work folder (name to content)."""

    code: str
    data: Mapping[str, Any]
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of a program: the value of its last line, what it printed, files it left, figures it showed (PNG)."""

    value: Any
    printed: str
    files: tuple[tuple[str, bytes], ...] = ()
    figures: tuple[bytes, ...] = ()


class Session(Protocol):
    """One interpreter. When a program hit a limit it `is_over`, and what programs left in it is gone."""

    @property
    def is_over(self) -> bool: ...

    async def run(self, program: Program) -> Ran: ...

    async def close(self) -> None: ...


class Engine(Protocol):
    """A way to run programs apart from this process."""

    @property
    def name(self) -> str: ...

    def describe(self, limits: Limits) -> str:
        """What a program finds there and what not, told to the model that writes it."""
        ...

    def session(self, limits: Limits) -> Session: ...


class LimitHit(CodeFailed):
    """Raised when a program was ended because it hit a limit."""


def flooded(most: int) -> LimitHit:
    """What is raised for a program that prints more than `most` characters."""
    return LimitHit(
        f"the program printed more than {most:,} characters and was stopped",
        hint="print less, and let the last line be an expression whose value is the result",
    )


def failed(text: str, hints: Mapping[str, str]) -> CodeFailed:
    """What is raised for a program that failed with this end of a traceback; the first hint whose cue is in it."""
    hint = next((hint for cue, hint in hints.items() if cue in text), "")
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} [...] {text[-_LONGEST // 2 :]}"

    return CodeFailed(f"the program failed:\n{text}", hint=hint)
