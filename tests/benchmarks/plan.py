"""All jobs, as data: what is measured, of whom, and at which sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.benchmarks.process import Job

OURS = "agentflow"


def _jobs(workload: str, unit: str, *rows: tuple[str, Sequence[int], str]) -> Iterator[Job]:
    for subject, sizes, make in rows:
        for size in sizes:
            yield Job(workload=workload, subject=subject, size=size, unit=unit, make=make)


# Events in a journal of many runs; events of one run.
MANY = (1_000, 10_000, 100_000, 1_000_000)
LONG = (1_000, 10_000, 100_000)

JOBS: tuple[Job, ...] = (
    *_jobs(
        "W1",
        "step",
        (OURS, (10, 100, 1_000, 10_000), "workloads:w1_chain"),
        ("await", (100,), "floors:awaited"),
        ("task", (10, 100, 1_000), "floors:task"),
    ),
    *_jobs(
        "W2",
        "branch",
        (OURS, (100, 1_000, 10_000), "workloads:w2_fan"),
        ("gather", (1_000, 10_000), "floors:gathered"),
    ),
    *_jobs(
        "W3",
        "iteration",
        (OURS, (100, 1_000, 10_000), "workloads:w3_loop"),
        ("await", (1_000,), "floors:awaited"),
    ),
    *_jobs(
        "W4",
        "turn",
        (OURS, (20, 200), "turns:w4_agent"),
        ("bare SDK", (20, 200), "turns:w4_bare"),
    ),
    *_jobs(
        "W5",
        "step",
        (f"{OURS}, NORMAL", (10, 100, 1_000), "workloads:w5_normal"),
        (f"{OURS}, FULL", (100,), "workloads:w5_full"),
        ("commit, NORMAL", (100,), "floors:commit_normal"),
        ("commit, FULL", (100,), "floors:commit_full"),
    ),
    *_jobs(
        "W6",
        "step",
        (f"{OURS}, in line", (1_000, 10_000), "workloads:w6_linear"),
        (f"{OURS}, in line, ready to run", (1_000, 10_000), "workloads:w6_ready"),
        (f"{OURS}, random", (1_000, 10_000), "workloads:w6_random"),
        ("graphlib, in line", (1_000, 10_000), "floors:graphlib_linear"),
        ("networkx, in line", (1_000, 10_000), "floors:networkx_linear"),
        ("graphlib, random", (1_000, 10_000), "floors:graphlib_dag"),
        ("networkx, random", (1_000, 10_000), "floors:networkx_dag"),
    ),
    *_jobs(
        "W7",
        "step",
        (OURS, (1_000,), "workloads:w7_sleeping"),
        ("sleep", (1_000,), "floors:asleep"),
    ),
    *_jobs(
        "W8",
        "process",
        (f"{OURS}, imported", (1,), "workloads:w8_import"),
        (f"{OURS}, one step run", (1,), "workloads:w8_run"),
        ("asyncio imported", (1,), "floors:imported"),
    ),
    *_jobs(
        "W9",
        "step",
        (f"{OURS}, spans", (100,), "workloads:w9_spans"),
        (f"{OURS}, no collector", (100,), "workloads:w9_none"),
        ("SDK span", (100,), "floors:spans"),
        ("no SDK", (100,), "floors:no_spans"),
    ),
    *_jobs("W9A", "turn", (f"{OURS}, spans", (20,), "turns:w9_agent")),
    *_jobs(
        "journal",
        "step",
        ("one more run", MANY, "journals:append_another"),
    ),
    *_jobs(
        "journal",
        "page",
        ("runs", MANY, "journals:list_newest"),
        ("runs --status waiting", MANY, "journals:list_waiting"),
        ("runs --since", MANY, "journals:list_since"),
        ("runs --until", MANY, "journals:list_until"),
        ("runs --workflow", MANY, "journals:list_workflow"),
        ("owed to a collector", MANY, "journals:owed_to_one"),
    ),
    *_jobs(
        "journal",
        "run",
        ("read one", MANY, "journals:read_one"),
        ("resume one", MANY, "journals:resume_one"),
        ("verify one", MANY, "journals:trail_of_one"),
        ("prune", MANY, "journals:prune_some"),
        ("stats", MANY, "journals:figures_of_all"),
    ),
    *_jobs(
        "long run",
        "event",
        ("resume", LONG, "journals:resume_long"),
        ("verify", LONG, "journals:verify_long"),
        ("replay", LONG, "journals:replay_long"),
    ),
)


def job_of(name: str) -> Job:
    """The job of that name."""
    return next(job for job in JOBS if job.name == name)
