"""The guard: costs as ratios to floors of the same run, and their growth, held against what was recorded.

    python -m tests.benchmarks.guard [--json] [--record]

All cases are measured in one process, in turn, over rounds in another order each; of each the best of its samples counts, which is
the one least disturbed. Ratios are of CPU time, and are held to what `guard.json` says for this version of Python; a cost at ten
times the size is held to `growth.LIMIT` and some slack. What is over is measured again before it counts. `--record` writes the ratios down.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.case import Case, sampled, warmed
from tests.benchmarks.counting import counts
from tests.benchmarks.growth import LIMIT
from tests.benchmarks.host import host
from tests.benchmarks.plan import job_of

RECORDED = Path(__file__).with_name("guard.json")
# How much more than recorded a ratio may be, and how much more than its limit a growth, whose figures are noisy as well.
MARGIN, SLACK = 0.3, 0.2
# The margin on a processor that is not the one of the record: caches and system calls differ, so ratios carry over only roughly.
ELSEWHERE = 1.0
ROUNDS = 5
# How often what is over is measured again: what others do on the machine passes, what a change did stays.
AGAIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A cost beside another of the same run; both are names of jobs. A growth is beside the same at a tenth of the size."""

    name: str
    cost: str
    beside: str
    is_growth: bool = False


def _growth(name: str, job: str, size: int) -> Ratio:
    return Ratio(name=name, cost=f"{job}/{10 * size}", beside=f"{job}/{size}", is_growth=True)


RATIOS = (
    Ratio(name="step of a chain / task", cost="W1/agentflow/1000", beside="W1/task/1000"),
    Ratio(name="step of a short chain / task", cost="W1/agentflow/10", beside="W1/task/10"),
    Ratio(name="branch / gathered coroutine", cost="W2/agentflow/1000", beside="W2/gather/1000"),
    Ratio(name="iteration / task", cost="W3/agentflow/1000", beside="W1/task/1000"),
    Ratio(name="turn / turn of the bare SDK", cost="W4/agentflow/20", beside="W4/bare SDK/20"),
    Ratio(name="durable step / raw commit", cost="W5/agentflow, NORMAL/1000", beside="W5/commit, NORMAL/100"),
    Ratio(
        name="step built and checked / graphlib",
        cost="W6/agentflow, in line/1000",
        beside="W6/graphlib, in line/1000",
    ),
    Ratio(
        name="step of a random graph built and checked / graphlib",
        cost="W6/agentflow, random/1000",
        beside="W6/graphlib, random/1000",
    ),
    Ratio(
        name="step with its span / span of the SDK", cost="W9/agentflow, spans/100", beside="W9/SDK span/100"
    ),
    _growth("a step, 100 to 1,000", "W1/agentflow", 100),
    _growth("a branch, 1,000 to 10,000", "W2/agentflow", 1_000),
    _growth("an iteration, 1,000 to 10,000", "W3/agentflow", 1_000),
    _growth("a step built and checked, 1,000 to 10,000", "W6/agentflow, in line", 1_000),
    _growth("a step of a random graph built and checked, 1,000 to 10,000", "W6/agentflow, random", 1_000),
    _growth("an event taken up, 1,000 to 10,000", "long run/resume", 1_000),
    _growth("a step of one more run, 1,000 to 10,000 events", "journal/one more run", 1_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A ratio that is over what it may be."""

    name: str
    ratio: float
    limit: float

    def __str__(self) -> str:
        return f"{self.name}: {self.ratio:.2f}, at most {self.limit:.2f}"


def limits(
    ratios: Sequence[Ratio], recorded: Mapping[str, float], margin: float = MARGIN
) -> dict[str, float]:
    """What each ratio may be, where that is known: of growth always, else where it was recorded."""
    found = {ratio.name: LIMIT * (1 + SLACK) for ratio in ratios if ratio.is_growth}
    return found | {
        ratio.name: recorded[ratio.name] * (1 + margin)
        for ratio in ratios
        if not ratio.is_growth and ratio.name in recorded
    }


def excesses(measured: Mapping[str, float], allowed: Mapping[str, float]) -> list[Excess]:
    """The ratios that are over, worst first."""
    found = [
        Excess(name=name, ratio=measured[name], limit=limit)
        for name, limit in allowed.items()
        if name in measured and measured[name] > limit
    ]
    return sorted(found, key=lambda excess: excess.ratio / excess.limit, reverse=True)


def recorded_here() -> dict[str, float]:
    """The ratios that were recorded for this version of Python; none where none were."""
    known: dict[str, float] = recorded()["ratios"].get(_python(), {})
    return known


def margin_here() -> float:
    """How much more than recorded a ratio may be on this processor."""
    return MARGIN if recorded()["processors"].get(_python()) == host()["processor"] else ELSEWHERE


def recorded() -> dict[str, Any]:
    """All that was recorded: `ratios` by version of Python, each with its processor, and `counts`, which hold for each."""
    known: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return known


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


async def best(names: Collection[str], folder: Path, rounds: int = ROUNDS) -> dict[str, float]:
    """Microseconds of CPU a unit of each job: the least of its samples, taken in turn with those of the others."""
    cases = [(name, *await _prepared(name, folder)) for name in sorted(names)]
    found = dict.fromkeys(names, float("inf"))
    # What all cases have ready is not gone through by the garbage collector while one of them runs.
    gc.collect()
    gc.freeze()
    try:
        for number in range(rounds):
            random.Random(number).shuffle(cases)
            for name, case, runs in cases:
                found[name] = min(found[name], (await sampled(case, runs)).cpu_us)
    finally:
        gc.unfreeze()

    return found


async def _prepared(name: str, folder: Path) -> tuple[Case, int]:
    job = job_of(name)
    case = await job.made()(job.size, folder)
    return case, await warmed(case)


def measured(ratios: Sequence[Ratio], folder: Path) -> dict[str, float]:
    """Each ratio."""
    costs = asyncio.run(best({job for ratio in ratios for job in (ratio.cost, ratio.beside)}, folder))
    return {ratio.name: costs[ratio.cost] / costs[ratio.beside] for ratio in ratios}


def guarded(ratios: Sequence[Ratio], allowed: Mapping[str, float], folder: Path) -> dict[str, float]:
    """Each ratio; one that is over is measured again, at most `AGAIN` times, and the least counts."""
    found = measured(ratios, folder)
    for _ in range(AGAIN):
        over = {excess.name for excess in excesses(found, allowed)}
        if over:
            again = measured([ratio for ratio in ratios if ratio.name in over], folder)
            found |= {name: min(found[name], again[name]) for name in over}

    return found


def record(found: Mapping[str, float], counted: Mapping[str, float]) -> None:
    """Write down the ratios of this version of Python, and the counts; of growth nothing, as its limit stands."""
    known = recorded()
    known["ratios"][_python()] = {
        ratio.name: round(found[ratio.name], 2) for ratio in RATIOS if not ratio.is_growth
    }
    known["processors"][_python()] = host()["processor"]
    known["counts"] = dict(counted)
    RECORDED.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def _lines(found: Mapping[str, float], allowed: Mapping[str, float]) -> Iterator[str]:
    for name, ratio in found.items():
        limit = f"at most {allowed[name]:.2f}" if name in allowed else "nothing is recorded"
        yield f"{name:62} {ratio:7.2f}  {limit}"


def main() -> int:
    """Measure, print or record; gives 1 where something is over."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--record", action="store_true", help="write the ratios down as those that are held to"
    )
    given = parser.parse_args()
    allowed = {} if given.record else limits(RATIOS, recorded_here(), margin_here())
    with tempfile.TemporaryDirectory() as folder:
        found = guarded(RATIOS, allowed, Path(folder))
        if given.record:
            record(found, asyncio.run(counts(Path(folder))))

    print(json.dumps(found, indent=2) if given.json else "\n".join(_lines(found, allowed)))
    over = excesses(found, allowed)
    print("".join(f"over: {excess}\n" for excess in over), end="", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
