"""`python -m tests.durability.matrix after|before|twice FOLDER`: the synthetic workflow, crashed at each of its events."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentflow.events import OperationFinished, StepFailed, StepFinished
from tests.durability.claims import Story
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
    """Crash runs at all points of a kind."""
    subject = subject_in(folder / "whole")
    warm(subject)
    reference = whole(subject)
    points = {"after": _after, "before": _before, "twice": _twice}[how](reference)
    return tried(folder, [(subject, point, reference) for point in sorted(points)])


def _after(reference: Story) -> Iterator[Point]:
    """After each event, but the last."""
    return (Point((event.seq,)) for event in reference.events[:-1])


def _before(reference: Story) -> Iterator[Point]:
    """Before each event that says what was done: then it was done, and nothing says so."""
    done = (OperationFinished, StepFailed, StepFinished)
    return (Point((event.seq,), before=True) for event in reference.events if isinstance(event, done))


def _twice(reference: Story) -> set[Point]:
    """After chosen events, and again after, or before, one of those that the next process adds."""
    chosen, number = random.Random(SEED), len(reference.events)
    points: set[Point] = set()
    while len(points) < PAIRS:
        first = chosen.randrange(1, number)
        pair = first, chosen.randrange(1, number - first + 2)
        points.add(Point(pair, before=chosen.random() < 0.5))

    return points


if __name__ == "__main__":
    print_report(crash, sys.argv[1], Path(sys.argv[2]))
