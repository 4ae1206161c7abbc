"""All benchmarks: `python -m tests.benchmarks [--only W1,W5,holding] [--quick] [--json FILE]`.

W1 to W9 beside their floors, journals that grow, runs that wait, and the scripts of this folder, in one run. What is being done
is told on standard error; the table is printed, and all figures go to FILE. With `--only`, names of workloads (`W1`, `journal`,
`long run`), `holding`, or scripts. With `--quick`, one round of three samples, the smaller sizes only, and no scripts unless named.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.host import host
from tests.benchmarks.plan import JOBS
from tests.benchmarks.process import PACKAGE, Job
from tests.benchmarks.rounds import interleaved
from tests.benchmarks.table import lines

ROOT = Path(__file__).parents[2]
# Scripts with figures of their own, and what they are given.
SCRIPTS: dict[str, tuple[str, ...]] = {
    "check_cost": (),
    "agent_cost": (),
    "replay_cost": (),
    "audit_cost": (),
    "delivery": (),
    "reading_cost": (),
    "planner_accuracy": ("tests/models/planner_heldout.jsonl",),
    "file_search": (),
    "handbook_search": (),
    "sandbox_cost": (),
    "web_cost": (),
    "actions_cost": (),
    "media": (),
}
HOLDING = "holding"
ROUNDS, SAMPLES = 3, 4
# Of a quick run.
SMALL, FEW_RUNS = 10_000, 500


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def chosen(only: Collection[str], *, quick: bool) -> list[Job]:
    """The jobs of those workloads, or all."""
    return [job for job in JOBS if (not only or job.workload in only) and not (quick and job.size > SMALL)]


def scripts(only: Collection[str], *, quick: bool) -> list[str]:
    """The scripts of those names; where none is named all, or none in a quick run."""
    return [name for name in SCRIPTS if name in only or (not only and not quick)]


def script(name: str, arguments: Sequence[str]) -> Any:
    """What a script tells as JSON, or why not."""
    say(f"{name} ...")
    command = [sys.executable, "-m", f"{PACKAGE}.{name}", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(done.stdout) if not done.returncode else {"error": f"it ended with {done.returncode}"}


def measured(only: Collection[str], *, quick: bool, rounds: int) -> dict[str, Any]:
    """All figures that are asked for."""
    figures: dict[str, Any] = {"host": host()}
    rounds, samples = (1, 3) if quick else (rounds, SAMPLES)
    # Beside the project: where temporary files are may be memory, and a commit would cost nothing there.
    with tempfile.TemporaryDirectory(dir=ROOT / "traces") as folder:
        jobs = chosen(only, quick=quick)
        figures["jobs"] = interleaved(jobs, rounds=rounds, samples=samples, folder=Path(folder), say=say)

    if not only or HOLDING in only:
        figures[HOLDING] = script(HOLDING, ("--runs", str(FEW_RUNS)) if quick else ())

    figures["scripts"] = {name: script(name, SCRIPTS[name]) for name in scripts(only, quick=quick)}
    return figures


def failures(figures: dict[str, Any]) -> list[str]:
    """What could not be measured."""
    parts = {**figures["scripts"], HOLDING: figures.get(HOLDING, {})}
    found = [name for name, told in parts.items() if isinstance(told, dict) and "error" in told]
    return found + [f"{row['workload']}/{row['subject']}" for row in figures["jobs"] if "error" in row]


def main() -> int:
    """Measure, print and write; gives 1 where something could not be measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of all jobs, where it is not quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    given = parser.parse_args()
    only = [name.strip() for name in given.only.split(",") if name.strip()]
    known = {job.workload for job in JOBS} | set(SCRIPTS) | {HOLDING}
    if unknown := [name for name in only if name not in known]:
        parser.error(f"there is no {unknown[0]!r}; there are: {', '.join(sorted(known))}")

    figures = measured(only, quick=given.quick, rounds=given.rounds)
    print("\n".join(lines(figures)))
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")

    if wrong := failures(figures):
        say(f"not measured: {', '.join(wrong)}")

    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
