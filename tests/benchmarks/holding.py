"""What one process holds: `python -m tests.benchmarks.holding [--json] [--runs 10000] [--only NAME]`.

Runs that wait at once in one process, for a person or for a timer, with a journal in memory or in a SQLite file: what beginning
them costs, what they take in memory, what they cost while they only wait, how soon one that is answered is over, how long it
takes until all are, and how long it takes another process to take all up after this one was killed. Each case has processes of
its own. Wall and CPU seconds; memory in bytes a run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from agentflow import Decision, MemoryJournal, Pending, Run, Settings, SqliteJournal, Workflow, resume, run
from agentflow.events import RunResumed, TimerSet
from agentflow.journal import Journal
from tests.benchmarks.flows import gated, timed

RUNS = 10_000
# Seconds for which runs that only wait are looked at, and until when timers fire after the last run has begun.
IDLE, AHEAD = 5.0, 8.0
LONG = 86_400.0
CASES = ("approval, in memory", "approval, SQLite", "timer, in memory", "timer, SQLite")


class Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def spent(self) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"wall_s": round(wall, 4), "cpu_s": round(cpu, 4)}


class Desk:
    """Whoever is asked for approvals: answers none until they say so. Also sees timers being set, and runs taken up."""

    def __init__(self, expected: int) -> None:
        self._left = expected
        self.all_wait = asyncio.Event()
        self._opened = asyncio.Event()

    async def ask(self, pending: Pending) -> Decision | None:
        self._one_waits()
        await self._opened.wait()
        return Decision(approved=True, by="benchmark")

    def observe(self, event: object) -> None:
        if isinstance(event, TimerSet | RunResumed):
            self._one_waits()

    def _one_waits(self) -> None:
        self._left -= 1
        if not self._left:
            self.all_wait.set()

    def approve_all(self) -> None:
        self._opened.set()


def resident() -> int:
    """Bytes of memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def journal_of(case: str, folder: Path) -> Journal:
    return SqliteJournal(folder / "held.db") if "SQLite" in case else MemoryJournal()


async def begun(case: str, runs: int, folder: Path, told: dict[str, Any]) -> Held:
    """So many runs, all of which wait; what beginning them cost and what they take is put into `told`."""
    held = Held(case, runs, journal_of(case, folder))
    # What the first run of a process loads is no part of what runs take.
    await Held(case, 1, MemoryJournal()).settle()
    before, clock = resident(), Clock()
    await held.begin()
    told["begun"] = clock.spent()
    told["bytes_per_run"] = round((resident() - before) / runs)
    return held


class Held:
    """Runs that wait at once."""

    def __init__(self, case: str, runs: int, journal: Journal) -> None:
        self.is_timer, self.number, self.journal = "timer" in case, runs, journal
        self.desk = Desk(runs)
        self.runs: list[Run[int]] = []
        self.settings = (
            Settings(journal=journal, observers=(self.desk.observe,))
            if self.is_timer
            else Settings(journal=journal, approver=self.desk.ask)
        )

    def workflow(self, seconds: float = LONG) -> Workflow[int, int]:
        return timed(seconds) if self.is_timer else gated()

    async def settle(self) -> None:
        """One such run to its end."""
        self.desk.approve_all()
        assert await run(self.workflow(0.0), 0, settings=self.settings) == 2

    async def begin(self, seconds: float = LONG) -> None:
        """Begin all, and come back when all wait."""
        workflow = self.workflow(seconds)
        self.runs = [
            run(workflow, 0, run_id=f"r{number}", settings=self.settings) for number in range(self.number)
        ]
        for one in self.runs:
            one.start()

        await self.desk.all_wait.wait()

    async def take_up(self) -> None:
        """The same in a process that finds them in the journal."""
        workflow = self.workflow()
        for number in range(self.number):
            one = await resume(workflow, f"r{number}", settings=self.settings)
            one.start()
            self.runs.append(one)

        await self.desk.all_wait.wait()

    async def end(self) -> None:
        """Stop all so that they can be taken up again."""
        for one in self.runs:
            one.interrupt()

        await asyncio.gather(*(one.result() for one in self.runs))


async def waiting(case: str, runs: int, folder: Path) -> dict[str, Any]:
    """Begin runs, wait, and let them come to their end."""
    told: dict[str, Any] = {}
    held = await begun(case, runs, folder, told)
    clock = Clock()
    await asyncio.sleep(IDLE)
    told["cpu_while_idle"] = round(clock.spent()["cpu_s"] / IDLE, 4)
    if held.is_timer:
        await held.end()
        told["fired"] = await fired(runs, journal_of(case, folder / "fired"), told["begun"]["wall_s"])
        return told

    one, clock = held.runs[runs // 2], Clock()
    one.decide(None, Decision(approved=True, by="benchmark"))
    assert await one == 2
    told["one_answered"] = clock.spent()
    clock = Clock()
    held.desk.approve_all()
    assert sum([await one for one in held.runs]) == 2 * runs
    told["all_answered"] = clock.spent()
    return told


async def fired(runs: int, journal: Journal, begins: float) -> dict[str, float]:
    """Runs whose timers all fire within the time that it took to begin them: seconds from the last that is due to the last end."""
    held = Held("timer", runs, journal)
    seconds = begins * 1.5 + AHEAD
    await held.begin(seconds)
    due = time.monotonic() + seconds
    clock = Clock()
    assert sum([await one for one in held.runs]) == 2 * runs
    return {"after_the_last_was_due_s": round(time.monotonic() - due, 4), "cpu_s": clock.spent()["cpu_s"]}


async def to_be_killed(case: str, runs: int, folder: Path) -> dict[str, Any]:
    """Begin runs, say so, and wait for the end."""
    held = await begun(case, runs, folder, {})
    print("begun", flush=True)
    await asyncio.Event().wait()
    return {"runs": len(held.runs)}


async def taken_up(case: str, runs: int, folder: Path) -> dict[str, Any]:
    """Take up all runs that another process left."""
    held = Held(case, runs, journal_of(case, folder))
    clock = Clock()
    await held.take_up()
    return clock.spent()


PARTS: dict[str, Callable[[str, int, Path], Coroutine[Any, Any, dict[str, Any]]]] = {
    "waiting": waiting,
    "to be killed": to_be_killed,
    "taken up": taken_up,
}


def part(name: str, case: str, runs: int, folder: Path) -> subprocess.Popen[str]:
    """A part of a case in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.holding", "--runs", str(runs)]
    return subprocess.Popen([*command, "--part", name, case, str(folder)], stdout=subprocess.PIPE, text=True)


def measured(case: str, runs: int) -> dict[str, Any]:
    """All figures of one case."""
    with tempfile.TemporaryDirectory() as folder:
        out, _ = part("waiting", case, runs, Path(folder)).communicate()
        told: dict[str, Any] = json.loads(out)

    if "SQLite" in case:
        with tempfile.TemporaryDirectory() as folder:
            dying = part("to be killed", case, runs, Path(folder))
            assert dying.stdout is not None
            assert dying.stdout.readline() == "begun\n"
            dying.kill()
            dying.wait()
            out, _ = part("taken up", case, runs, Path(folder)).communicate()
            told["taken_up_after_kill"] = json.loads(out)

    return told


def main() -> int:
    """Print the figures, as lines or as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", choices=CASES, help="one case alone")
    parser.add_argument("--part", nargs=3, metavar=("PART", "CASE", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        name, case, folder = given.part
        print(json.dumps(asyncio.run(PARTS[name](case, given.runs, Path(folder)))), flush=True)
        # Runs that still wait are not stopped one by one.
        os._exit(0)

    cases = CASES if given.only is None else (given.only,)
    figures = {case: {"runs": given.runs, **measured(case, given.runs)} for case in cases}
    print(json.dumps(figures, indent=2) if given.json else "\n".join(f"{k}: {v}" for k, v in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
