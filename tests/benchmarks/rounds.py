"""Many jobs in one run: in each round all of them, in another order, each in a process of its own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.process import Job

# Seconds after which a job is given up, and left out of later rounds.
LIMIT = 300
Say = Callable[[str], None]


def interleaved(
    jobs: Sequence[Job], *, rounds: int, samples: int, folder: Path, say: Say
) -> list[dict[str, Any]]:
    """A row for each job, from the samples of all rounds."""
    told: dict[Job, list[dict[str, Any]]] = {job: [] for job in jobs}
    wrong: dict[Job, str] = {}
    began = time.monotonic()
    for number in range(rounds):
        order = [job for job in jobs if job not in wrong]
        random.Random(number).shuffle(order)
        for place, job in enumerate(order, 1):
            say(
                f"round {number + 1} of {rounds}, {place} of {len(order)}: {job.name} ({time.monotonic() - began:.0f} s)"
            )
            try:
                told[job].append(_one(job, samples, folder))
            except RuntimeError as error:
                wrong[job] = str(error)
                say(f"{job.name}: {error}")

    return [_row(job, told[job], wrong.get(job)) for job in jobs]


def _one(job: Job, samples: int, folder: Path) -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "tests.benchmarks.process", job.name, str(samples), str(folder)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not done within {LIMIT} s") from None

    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])

    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _row(job: Job, told: Sequence[dict[str, Any]], wrong: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "workload": job.workload,
        "subject": job.subject,
        "size": job.size,
        "unit": job.unit,
    }
    samples = [sample for one in told for sample in one["samples"]]
    if samples:
        row |= {name: spread([sample[name] for sample in samples]) for name in ("cpu_us", "wall_us")}
        row |= {name: median(one[name] for one in told) for name in ("peak_mb", "growth_mb")}
        row["notes"] = {name: median(one["notes"][name] for one in told) for name in told[0]["notes"]}
        row["samples"] = len(samples)

    return row | ({"error": wrong} if wrong is not None else {})


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most, and the value that 95 of 100 do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-95 * len(ordered) // 100) - 1
    return {"median": median(ordered), "min": ordered[0], "max": ordered[-1], "p95": ordered[rank]}
