"""What a program in the sandbox costs: `python -m tests.benchmarks.sandbox_cost [--json] [--samples 20]`.

Milliseconds until the result is there (median, p95), CPU milliseconds of this process and the interpreter together
(mean), and its memory at most, for each engine that works here. Cold: a new session, its end included. Warm: one that
is up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from pathlib import Path

from agentflow.toolkit.sandbox import EngineName, Sandbox, SandboxSession, probe
from agentflow.toolkit.sandbox.bubblewrap import BubblewrapSession
from agentflow.toolkit.sandbox.monty import MontyInterpreter

ADD = "sum(range(100))"
TABLE = "import csv\nsum(float(row['units']) for row in csv.DictReader(data.splitlines()))"
PANDAS = "import io, pandas as pd\nfloat(pd.read_csv(io.StringIO(data)).groupby('region').units.sum().sum())"
PLOT = "import matplotlib.pyplot as plt\nplt.plot(range(100))\nplt.show()"
DATA = "region,units\n" + "".join(f"{'north' if n % 2 else 'south'},{n}\n" for n in range(5_000))
PROGRAMS = {"1 + 1": ADD, "5,000 rows by csv": TABLE, "5,000 rows by pandas": PANDAS, "a plot": PLOT}
LEAST = {"monty": ["1 + 1", "5,000 rows by csv"], "bwrap": list(PROGRAMS)}


def process(session: SandboxSession) -> Path:
    """Where the kernel tells of the process of a session."""
    inner = session._session
    if isinstance(inner, BubblewrapSession):
        assert inner._worker is not None
        lines = Path(f"/proc/self/fdinfo/{inner._worker._handle}").read_text().splitlines()
        return Path("/proc", next(line.split()[1] for line in lines if line.startswith("Pid:")))

    assert isinstance(inner, MontyInterpreter)
    assert inner._interpreter is not None
    return Path(f"/proc/{inner._interpreter.worker_pid}")


def cpu(session: SandboxSession) -> float:
    """CPU milliseconds of this process and of that of a session that is up, by now."""
    user, system = (process(session) / "stat").read_text().rpartition(")")[2].split()[11:13]
    return 1e3 * (time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK"))


def megabytes(session: SandboxSession) -> float:
    """The most memory that the process of a session has had, in MB."""
    status = (process(session) / "status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


async def cold(sandbox: Sandbox, code: str) -> tuple[float, float, float]:
    """Wall and CPU milliseconds of a program in a new session, and its memory in MB."""
    begin, used = time.perf_counter(), 1e3 * time.process_time()
    async with sandbox.session() as session:
        await session.run(code, data={"data": DATA})
        spent, memory = cpu(session) - used, megabytes(session)

    return 1e3 * (time.perf_counter() - begin), spent, memory


async def warm(session: SandboxSession, code: str) -> tuple[float, float, float]:
    """The same of a program in a session that is up."""
    begin, used = time.perf_counter(), cpu(session)
    await session.run(code, data={"data": DATA})
    return 1e3 * (time.perf_counter() - begin), cpu(session) - used, megabytes(session)


def summed(samples: list[tuple[float, float, float]]) -> dict[str, float]:
    """Median and p95 of the wall, mean CPU (the kernel counts in steps of 10 ms), the most memory."""
    walls, costs, memory = zip(*samples, strict=True)
    return {
        "median": statistics.median(walls),
        "p95": statistics.quantiles(walls, n=20)[-1],
        "cpu": statistics.mean(costs),
        "mb": max(memory),
    }


async def figures(engine: EngineName, samples: int) -> dict[str, dict[str, float]]:
    """Figures of one engine: each program cold and warm, after one time that does not count."""
    sandbox = Sandbox(engine=engine, seconds=60)
    rows: dict[str, dict[str, float]] = {}
    for name in LEAST[engine]:
        code = PROGRAMS[name]
        found = [await cold(sandbox, code) for _ in range(samples + 1)]
        rows[f"{engine}, {name}, cold"] = summed(found[1:])
        async with sandbox.session() as session:
            await session.run(code, data={"data": DATA})
            rows[f"{engine}, {name}, warm"] = summed([await warm(session, code) for _ in range(samples)])

    return rows


async def all_figures(samples: int) -> dict[str, dict[str, float]]:
    """Figures of all engines that work here."""
    rows = await figures("monty", samples)
    return {**rows, **(await figures("bwrap", samples) if probe().works else {})}


def main() -> int:
    """Print the figures as a table or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--samples", type=int, default=20)
    chosen = parser.parse_args()
    rows = asyncio.run(all_figures(chosen.samples))
    if chosen.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return 0

    for name, row in rows.items():
        sys.stdout.write(
            f"{name:36} {row['median']:8.1f} ms, p95 {row['p95']:8.1f}, CPU {row['cpu']:8.1f}, {row['mb']:4.0f} MB\n"
        )

    return 0


if __name__ == "__main__":
    sys.exit(main())
