"""`python -m tests.durability.matrix once|twice FOLDER`: the synthetic workflow, crashed at each event, or twice."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

from tests.durability.crashing import Point, tried, warm, whole
from tests.durability.driving import Subject
from tests.durability.reports import print_report
from tests.durability.synthetic import ORDER, answering_model, synthetic

PAIRS = 60
SEED = 20


def subject_in(folder: Path) -> Subject:
    """The synthetic workflow as it is run here."""
    settings = {"model": "scripted/test", "models": {"test": answering_model()}}
    return Subject(workflow=synthetic, value=ORDER, folder=folder, settings=settings)


def crash(how: str, folder: Path) -> dict[str, Any]:
    """Crash once at each event, or at chosen ones and again at one of those that the next process adds."""
    subject = subject_in(folder / "whole")
    warm(subject)
    reference = whole(subject)
    number = len(reference.events)
    points = {(n,) for n in range(1, number)} if how == "once" else _pairs(number)
    return tried(folder, [(subject, Point(events=point), reference) for point in sorted(points)])


def _pairs(number: int) -> set[tuple[int, ...]]:
    chosen = random.Random(SEED)
    points: set[tuple[int, ...]] = set()
    while len(points) < PAIRS:
        first = chosen.randrange(1, number)
        points.add((first, chosen.randrange(1, number - first + 2)))

    return points


if __name__ == "__main__":
    print_report(crash, sys.argv[1], Path(sys.argv[2]))
