"""The log of all that the runs under test did to the world: one line an effect begun, one an effect ended."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

What = Literal["body", "model", "failed", "begun", "ended"]
FILE = "effects.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What was done: the body of a step, a turn of a model, or a tool; `at` is in nanoseconds since the epoch.

    The `ended` line of a tool is its effect: a tool that was only begun has done nothing.
    """

    what: What
    step: str
    name: str = ""
    argument: str = ""
    key: str = ""
    at: int = 0
    pid: int = 0


class Log:
    """Lines in a file, each written at once and on disk when `add` returns; many processes may add to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def add(self, line: Line) -> None:
        data = asdict(line) | {"at": time.time_ns(), "pid": os.getpid()}
        file = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            os.write(file, json.dumps(data).encode() + b"\n")
            os.fsync(file)
        finally:
            os.close(file)

    def lines(self) -> Sequence[Line]:
        if not self.path.exists():
            return []

        return [Line(**json.loads(text)) for text in self.path.read_text(encoding="utf-8").splitlines()]

    def has(self, what: What, step: str, name: str = "", argument: str = "") -> bool:
        """Whether there is such a line."""
        wanted = (what, step, name, argument)
        return any((one.what, one.step, one.name, one.argument) == wanted for one in self.lines())
