"""A small project on disk, and the launcher as a function."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agentflow.cli import commands

SUMS = """
from dataclasses import dataclass
from agentflow import Approval, Rejected, Workflow, each, step


@dataclass(frozen=True, kw_only=True)
class Numbers:
    numbers: list[int]
    limit: int = 100


@dataclass(frozen=True, kw_only=True)
class Total:
    total: int


@step
async def split(given: Numbers) -> list[int]:
    return given.numbers


@step
async def square(number: int) -> int:
    if number < 0:
        raise ValueError("below zero")
    return number * number


@step
async def add(squares: list[int]) -> Total:
    return Total(total=sum(squares))


sums = Workflow("sums", start=split, end=add, edges=[split >> each(square) >> add])

approve = Approval("approve", of=Total, prompt="Is it right?")


@step
async def tell(total: Total) -> str:
    return f"the total is {total.total}"


@step
async def drop(refusal: Rejected) -> str:
    return f"dropped by {refusal.by}: {refusal.comment}"


@step
async def last(text: str) -> str:
    return text


asked = Workflow("asked", start=split, end=last, edges=[
    split >> each(square) >> add >> approve,
    approve.on(Total) >> tell >> last,
    approve.on(Rejected) >> drop >> last,
])
"""


class Called(NamedTuple):
    """What a call of the launcher gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Launcher = Callable[..., Called]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with the workflows `sums` and `asked`, as the current folder."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "sums.py").write_text(SUMS, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("[tool.agentflow]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTFLOW_JOURNAL", f"sqlite:///{tmp_path}/traces/journal.db")
    path = list(sys.path)
    held = {
        name: module for name, module in sys.modules.items() if name.split(".")[0] in ("workflows", "tools")
    }
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in ("workflows", "tools")]:
        del sys.modules[name]

    sys.modules.update(held)
    sys.path[:] = path


@pytest.fixture
def launch(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Launcher:
    """Call the launcher with arguments, as `agentflow ...` does."""

    def call(*arguments: str) -> Called:
        monkeypatch.setattr(sys, "argv", ["agentflow", *arguments])
        with pytest.raises(SystemExit) as ended:
            commands.run_launcher()

        captured = capfd.readouterr()
        return Called(int(ended.value.code or 0), captured.out, captured.err)

    return call
