"""A small project on disk, and the launcher as a function."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agentflow import app
from agentflow.app import Settings
from agentflow.cli import commands
from agentflow.events import Event
from agentflow.journal.memory import MemoryJournal
from agentflow.journal.sqlite import SqliteJournal
from agentflow.project import find_project

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


DEEDS = '''
import asyncio
from agentflow import Context, Workflow, gather, step, tool
from agentflow.tools import call


@tool(effect="write", needs_approval=True)
async def pay(to: str, amount: int) -> str:
    """Pay somebody."""
    return f"paid {amount} to {to}"


@tool(effect="write")
async def wire(to: str) -> str:
    """Wire what is owed."""
    return f"wired to {to}"


@step
async def begin(to: str) -> str:
    return to


@step
async def pays(to: str) -> str:
    return await call(pay, {"to": to, "amount": 5})


@step
async def pays_twice(to: str) -> str:
    return " ".join(await asyncio.gather(*(call(pay, {"to": to, "amount": n}) for n in (5, 7))))


@step
async def wires(to: str) -> str:
    return await call(wire, {"to": to})


@step
async def stays(to: str, ctx: Context) -> str:
    (ctx.root / "started").touch()
    while not (ctx.root / "go").exists():
        await asyncio.sleep(0.01)
    return "stayed"


@step
async def join(both: tuple[str, str]) -> str:
    return ", ".join(both)


pays_once = Workflow("pays_once", start=begin, end=pays, edges=[begin >> pays])
two = Workflow("two", start=begin, end=pays_twice, edges=[begin >> pays_twice])
wiring = Workflow("wiring", start=begin, end=wires, edges=[begin >> wires])
staying = Workflow("staying", start=begin, end=stays, edges=[begin >> stays])
beside = Workflow("beside", start=begin, end=join, edges=[begin >> gather(pays, stays) >> join])
'''


@pytest.fixture
def deeds(project: Path) -> Path:
    """The project with workflows that pay, wire money, and stay until a file `go` is there."""
    (project / "workflows" / "deeds.py").write_text(DEEDS, encoding="utf-8")
    return project


def journal_of(project: Path) -> SqliteJournal:
    """The journal that the launcher uses there."""
    return SqliteJournal(project / "traces" / "journal.db")


def add(project: Path, run_id: str, events: Sequence[Event]) -> None:
    """Append events to a run, as a process that is gone did."""

    async def write() -> None:
        journal = journal_of(project)
        await journal.append(run_id, events)
        await journal.close()

    asyncio.run(write())


def events_in(project: Path, run_id: str) -> list[Event]:
    """The events of a run in the journal."""

    async def read() -> list[Event]:
        journal = journal_of(project)
        try:
            return await journal.read(run_id)
        finally:
            await journal.close()

    return asyncio.run(read())


def cut_off(project: Path, workflow: str, value: Any, run_id: str, after: type[Event]) -> None:
    """Leave a run in the journal as a process did that was killed right after its first event of a kind."""

    async def events() -> list[Event]:
        journal = MemoryJournal()
        (project / "go").touch()
        settings = Settings(journal=journal, root=project)
        await app.run(find_project().load(workflow), value, run_id=run_id, settings=settings).result()
        (project / "go").unlink()
        return await journal.read(run_id)

    made = asyncio.run(events())
    number = next(n for n, event in enumerate(made, 1) if isinstance(event, after))
    add(project, run_id, made[:number])


@contextmanager
def driven(project: Path, workflow: str, value: Any, run_id: str) -> Generator[None, None, None]:
    """Drive a run in another thread, as another process does, until a file `go` is there."""

    async def drive() -> None:
        journal = journal_of(project)
        settings = Settings(journal=journal, root=project)
        await app.run(find_project().load(workflow), value, run_id=run_id, settings=settings).result()
        await journal.close()

    thread = threading.Thread(target=lambda: asyncio.run(drive()))
    thread.start()
    deadline = time.monotonic() + 20
    while not (project / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.01)

    try:
        yield
    finally:
        (project / "go").touch()
        thread.join(20)
