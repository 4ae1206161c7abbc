"""One job in a process of its own: `python -m tests.benchmarks.process JOB SAMPLES FOLDER` prints its samples as JSON.

A process of its own has the heap, the imports and the peak of memory of that job alone. `FOLDER` is where files are, the same
for all jobs of a run, so that a large one is made once.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from tests.benchmarks.case import Case, noted, sampled, warmed

PACKAGE = "tests.benchmarks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A case by name: whose figure of which workload, at which size. `make` is `module:function` of this package."""

    workload: str
    subject: str
    size: int
    unit: str
    make: str

    @property
    def name(self) -> str:
        return f"{self.workload}/{self.subject}/{self.size}"

    def made(self) -> Callable[[int, Path], Awaitable[Case]]:
        """What makes the case from a size and a folder; nothing else is imported for it."""
        module, _, function = self.make.partition(":")
        return cast(
            "Callable[[int, Path], Awaitable[Case]]", getattr(import_module(f"{PACKAGE}.{module}"), function)
        )


async def measured(job: Job, samples: int, folder: Path) -> dict[str, Any]:
    """The samples of a job, its peak of memory and how far that is above what it had before, and its notes."""
    case = await job.made()(job.size, folder)
    before = _reset_peak()
    runs = await warmed(case)
    taken = [asdict(await sampled(case, runs)) for _ in range(samples)]
    peak = _peak()
    return {
        "samples": taken,
        "runs": runs,
        "peak_mb": peak / 1e6,
        "growth_mb": (peak - before) / 1e6,
        "notes": dict(await noted(case)),
    }


def _reset_peak() -> int:
    """Bytes resident now, from where on the peak is counted anew where the kernel lets us (Linux: proc_pid_clear_refs(5))."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    return _peak()


def _peak() -> int:
    """The most bytes that were resident; Linux keeps it by process image, `getrusage` across images."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main() -> int:
    name, samples, folder = sys.argv[1:]
    from tests.benchmarks.plan import job_of

    json.dump(asyncio.run(measured(job_of(name), int(samples), Path(folder))), sys.stdout)
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
