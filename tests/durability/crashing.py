"""Runs that die and are taken up again, each in processes of their own."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from agentflow.events import Event
from agentflow.journal.memory import MemoryJournal
from agentflow.journal.sqlite import SqliteJournal
from agentflow.testing import CrashingJournal
from tests.durability.children import lived, spread
from tests.durability.claims import Story, broken
from tests.durability.driving import Subject, driven
from tests.durability.effects import Log

JOURNAL = "journal.db"
CORES = 2
Claims = Callable[[Story, Story], Sequence[str]]


class Crash(TypedDict, total=False):
    """What a process's journal is told of where to die."""

    after: int
    before: int


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """Where processes die: the first at so many events of its own, the next likewise; `before` or after they are on disk."""

    events: tuple[int, ...]
    before: bool = False

    def __str__(self) -> str:
        return ("before-" if self.before else "") + "-".join(map(str, self.events))

    @property
    def crashes(self) -> Sequence[Crash]:
        """One for each process."""
        return [Crash(before=number) if self.before else Crash(after=number) for number in self.events]


def warm(subject: Subject) -> None:
    """Run it once in this process, in memory: what that loads, children that are forked afterwards need not."""
    own = replace(subject, folder=subject.folder.with_name("warm"))
    own.folder.mkdir(parents=True)
    asyncio.run(driven(own, MemoryJournal()))


def attempt(subject: Subject, crash: Crash | None = None, *, file: Path | None = None) -> None:
    """Drive the run in this process until it is over, or until the process dies."""
    asyncio.run(_attempt(subject, crash, file or subject.folder / JOURNAL))


async def _attempt(subject: Subject, crash: Crash | None, file: Path) -> None:
    journal = SqliteJournal(file)
    try:
        await driven(subject, journal if crash is None else CrashingJournal(journal, **crash))
    finally:
        await journal.close()


def told(subject: Subject, *, file: Path | None = None) -> Story:
    """The story of a run, as its files tell it."""
    events = asyncio.run(_read(file or subject.folder / JOURNAL, subject.run_id))
    return Story(events=events, lines=Log(subject.folder).lines())


async def _read(file: Path, run_id: str) -> list[Event]:
    journal = SqliteJournal(file)
    try:
        return await journal.read(run_id)
    finally:
        await journal.close()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of one run: its story, how many of its processes were killed, and what does not hold of it."""

    story: Story
    killed: int
    problems: Sequence[str]

    @property
    def counts(self) -> Counter[str]:
        return Counter({**self.story.counts, "killed": self.killed})


def crashed(subject: Subject, point: Point, reference: Story, claims: Claims = broken) -> Trial:
    """Let processes die at `point`, and let a last one finish the run."""
    subject.folder.mkdir(parents=True, exist_ok=True)
    deaths = [lived(partial(attempt, subject, crash)) for crash in point.crashes]
    problems = [f"a process that was to die {one}" for one in deaths if not (one.is_killed or one.is_clean)]
    last = lived(partial(attempt, subject))
    story = told(subject)
    problems += [] if last.is_clean else [f"the last process {last}"]
    problems += claims(story, reference)
    return Trial(story=story, killed=sum(one.is_killed for one in deaths), problems=problems)


def whole(subject: Subject) -> Story:
    """The story of the run without a crash."""
    subject.folder.mkdir(parents=True, exist_ok=True)
    death = lived(partial(attempt, subject))
    story = told(subject)
    assert death.is_clean, f"the run without a crash {death}"
    assert story.output is not None, f"the run without a crash has no output: {story.events[-1]}"
    return story


# How one run is crashed: where, and what it is held against.
Case = tuple[Subject, Point, Story]
Attend = Callable[[Subject, Point, Story], Trial]


def tried(folder: Path, cases: Sequence[Case], attend: Attend | None = None) -> dict[str, Any]:
    """Try all cases, a share of them on each core, and put the reports together."""
    deaths = spread(CORES, partial(_share, folder, cases, attend or crashed))
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("share-*.json"))]
    problems = {case: found for one in reports for case, found in one["broken"].items()}
    problems |= {f"share {n}": [str(death)] for n, death in enumerate(deaths) if not death.is_clean}
    counts = sum((Counter(one["counts"]) for one in reports), Counter[str]())
    return {"points": len(cases), "counts": dict(counts), "broken": problems}


def _share(folder: Path, cases: Sequence[Case], attend: Attend, number: int) -> None:
    problems: dict[str, Sequence[str]] = {}
    counts: Counter[str] = Counter()
    for subject, point, reference in cases[number::CORES]:
        own = replace(subject, folder=folder / f"{subject.workflow.name}-{point}")
        trial = attend(own, point, reference)
        counts.update(trial.counts)
        if trial.problems:
            problems[own.folder.name] = trial.problems
        else:
            shutil.rmtree(own.folder)

    report = json.dumps({"counts": counts, "broken": problems})
    (folder / f"share-{number}.json").write_text(report, encoding="utf-8")
