"""What a driver found: it runs as a process of its own, as a test's has threads, and forking goes well only without."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def report_of(module: str, *arguments: object, seconds: float = 580) -> dict[str, Any]:
    """The report of `python -m tests.durability.MODULE ARGUMENTS`; fails with what it said where it gave none."""
    command = [sys.executable, "-m", f"tests.durability.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report | {"said": done.stderr[-4000:]}


def print_report(work: Callable[..., dict[str, Any]], *arguments: Any) -> None:
    """Do a driver's work and print what it found, with the time that it took."""
    begun = time.monotonic()
    report = work(*arguments)
    print(json.dumps(report | {"seconds": round(time.monotonic() - begun, 1)}))
