"""`python -m tests.durability.fence leased|unleased TRIES FOLDER`: two processes take up one run at the same moment."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from agentflow import Context, Workflow, each, step
from agentflow.exceptions import AgentflowError
from agentflow.journal import Lease
from agentflow.journal.sqlite import SqliteJournal
from agentflow.tools import call
from tests.durability.children import begin, end, lived
from tests.durability.claims import Story, fenced
from tests.durability.crashing import JOURNAL, attempt, told, warm, whole
from tests.durability.driving import Subject, driven
from tests.durability.reports import print_report
from tests.durability.synthetic import begun, look, post, stamp


@step
async def split(number: int, ctx: Context) -> list[int]:
    """Read something, and make a list."""
    begun(ctx)
    await call(look, {"text": "before"})
    return list(range(number))


@step
async def write(number: int, ctx: Context) -> int:
    """Write twice: what must happen once, and what may be repeated."""
    begun(ctx)
    await call(post, {"text": str(number)})
    await call(stamp, {"text": str(number)})
    return number


@step
async def close(numbers: list[int], ctx: Context) -> int:
    """Write once more."""
    begun(ctx)
    await call(post, {"text": "last"})
    return sum(numbers)


contested = Workflow("contested", start=split, end=close, edges=[split >> each(write, parallel=2) >> close])


class Unleased(SqliteJournal):
    """A journal that lets anybody drive any run: only its primary key is left to tell two of them apart."""

    async def claim(self, run: str, owner: str, until: int) -> Lease | None:
        return None

    async def holder(self, run: str) -> Lease | None:
        return None


JOURNALS = {"leased": SqliteJournal, "unleased": Unleased}


def race(how: str, tries: int, folder: Path) -> dict[str, Any]:
    """Two processes for each try, on a run that was cut off at one event after the other."""
    subject = Subject(workflow=contested, value=3, folder=folder / "whole")
    warm(subject)
    reference = whole(subject)
    cuts = [_cut(subject, folder, after) for after in range(1, len(reference.events))]
    outcomes: Counter[str] = Counter()
    problems: dict[str, Sequence[str]] = {}
    for number in range(tries):
        own = replace(subject, folder=folder / f"try-{number}")
        # Copied as the killed process left it; the index of the log is made anew from the log.
        shutil.copytree(cuts[number % len(cuts)].folder, own.folder, ignore=shutil.ignore_patterns("*-shm"))
        ends, found = _contested(own, how, reference)
        outcomes[" + ".join(sorted(ends))] += 1
        if found:
            problems[str(number)] = found
        else:
            shutil.rmtree(own.folder)

    return {"tries": tries, "cuts": len(cuts), "outcomes": dict(outcomes), "broken": problems}


def _cut(subject: Subject, folder: Path, after: int) -> Subject:
    own = replace(subject, folder=folder / f"cut-{after}")
    own.folder.mkdir()
    death = lived(partial(attempt, own, {"after": after}))
    assert death.is_killed, f"the process that was to die after {after} events {death}"
    return own


def _contested(subject: Subject, how: str, reference: Story) -> tuple[Sequence[str], Sequence[str]]:
    """How the two ended, and what does not hold of the run once a third has finished it."""
    waits, opens = os.pipe()
    pids = [begin(partial(_contend, subject, how, n, waits, opens), seconds=20) for n in range(2)]
    os.close(opens)
    deaths = [end(pid) for pid in pids]
    os.close(waits)
    last = lived(partial(attempt, subject))
    problems = [f"one of two processes {death}" for death in deaths if not death.is_clean]
    problems += [] if last.is_clean else [f"the last process {last}"]
    ends = [path.read_text(encoding="utf-8") for path in sorted(subject.folder.glob("end-*"))]
    return ends, [*problems, *fenced(told(subject), reference)]


def _contend(subject: Subject, how: str, number: int, waits: int, opens: int) -> None:
    said = asyncio.run(_contended(subject, JOURNALS[how], waits, opens))
    (subject.folder / f"end-{number}").write_text(said, encoding="utf-8")


async def _contended(subject: Subject, kind: type[SqliteJournal], waits: int, opens: int) -> str:
    journal = kind(subject.folder / JOURNAL)
    os.close(opens)
    # Nothing is ever written: it ends when the last of the three who could write has closed its end.
    os.read(waits, 1)
    try:
        result = await driven(subject, journal, answers=False)
    except AgentflowError as error:
        return type(error).__name__
    finally:
        await journal.close()

    return result.status if result is not None else "over"


if __name__ == "__main__":
    print_report(race, sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
