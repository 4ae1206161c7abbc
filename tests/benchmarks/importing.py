"""What a fresh Python pays to load something: CPU seconds and memory, told by that process itself."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping

from tests.benchmarks.case import Case

_ASKED = """
import json, resource, sys, time
began = time.process_time()
exec(sys.argv[1])
spent = time.process_time() - began
peak = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
print(json.dumps([spent, peak * 1024, len(sys.modules)]))
"""


def importing(code: str) -> Case:
    """A case whose CPU is that of `code` in a fresh process (its own start not counted), with bytecode at hand."""
    spent: list[float] = []
    told: dict[str, float] = {}
    # Without bytecode each process would compile anew, which no user's does.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    async def run() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _ASKED, code, stdout=asyncio.subprocess.PIPE, env=environment
        )
        out, _ = await process.communicate()
        seconds, peak, modules = json.loads(out)
        spent.append(seconds)
        told.update({"process_mb": peak / 1e6, "modules": modules})
        return process.returncode or 0

    def check(code: int) -> None:
        assert code == 0

    def notes() -> Mapping[str, float]:
        return told

    return Case(run=run, units=1, check=check, inner=1, cpu=lambda: sum(spent), notes=notes)
