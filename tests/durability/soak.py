"""`python -m tests.durability.soak SECONDS FOLDER`: eight runs at a time in one journal, killed at any moment."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.durability.children import Death, begin, ended
from tests.durability.claims import Story, broken
from tests.durability.crashing import JOURNAL, attempt, told, warm, whole
from tests.durability.driving import Subject
from tests.durability.matrix import subject_in
from tests.durability.reports import print_report

SLOTS = 8
# Mean seconds between two kills, so that a run is killed about twice.
PAUSE = 0.08
TICK = 0.01


@dataclass(kw_only=True)
class Soak:
    """Who is at work, and what came of it so far."""

    folder: Path
    reference: Story
    chosen: random.Random
    at_work: dict[int, Subject] = field(default_factory=dict[int, Subject])
    counts: Counter[str] = field(default_factory=Counter[str])
    broken: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    @property
    def file(self) -> Path:
        return self.folder / JOURNAL

    def start(self) -> None:
        """Begin another run."""
        self.counts["runs"] += 1
        name = f"run-{self.counts['runs']}"
        subject = replace(subject_in(self.folder / name), run_id=name)
        subject.folder.mkdir()
        self.drive(subject)

    def drive(self, subject: Subject) -> None:
        self.at_work[begin(partial(attempt, subject, file=self.file))] = subject

    def kill(self) -> None:
        """Kill one of those at work."""
        pid = self.chosen.choice(sorted(self.at_work))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def reap(self) -> int:
        """Take up the runs whose process was killed, and judge those that are over: how many were?"""
        over = 0
        for pid, subject in list(self.at_work.items()):
            death = ended(pid)
            if death is None:
                continue

            del self.at_work[pid]
            if death.is_killed:
                self.counts["killed"] += 1
                self.drive(subject)
            else:
                over += 1
                self.judge(subject, death)

        return over

    def judge(self, subject: Subject, death: Death) -> None:
        story = told(subject, file=self.file)
        problems = [] if death.is_clean else [f"a process {death}"]
        problems += broken(story, self.reference)
        self.counts.update(story.counts)
        if problems:
            self.broken[subject.run_id] = problems
        else:
            shutil.rmtree(subject.folder)


def soak(seconds: float, folder: Path) -> dict[str, Any]:
    """Kill at random moments for so many seconds, then let all runs end."""
    seed = random.SystemRandom().randrange(10**6)
    subject = subject_in(folder / "whole")
    warm(subject)
    reference = whole(subject)
    work = Soak(folder=folder, reference=reference, chosen=random.Random(seed))
    for _ in range(SLOTS):
        work.start()

    until = time.monotonic() + seconds
    next_kill = time.monotonic()
    while work.at_work:
        time.sleep(TICK)
        now = time.monotonic()
        while work.at_work and next_kill <= now < until:
            work.kill()
            next_kill += work.chosen.expovariate(1 / PAUSE)

        for _ in range(work.reap()):
            if now < until:
                work.start()

    return {"seed": seed, "counts": dict(work.counts), "broken": work.broken}


if __name__ == "__main__":
    print_report(soak, float(sys.argv[1]), Path(sys.argv[2]))
