"""Python code in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def begun(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs `code`; what it prints can be read."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def together(code: str, *arguments: object, number: int = 2) -> list[list[str]]:
    """The lines that each of some processes printed, which all begin to work when the last of them is ready.

    `code` prints a line when it is ready, and waits for one before it goes on.
    """
    processes = [begun(code, n, *arguments) for n in range(number)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    return [process.communicate()[0].split() for process in processes]
