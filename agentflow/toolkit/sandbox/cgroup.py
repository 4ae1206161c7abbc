"""Limits of the kernel on all of a sandbox together, for where this process may make control groups (version 2).

They hold beside those that each sandbox has anyway, and also count what the kernel itself needs for its processes.
Source: Documentation/admin-guide/cgroup-v2.rst of Linux.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agentflow.toolkit.sandbox.engine import Limits

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_MB = 2**20
# What Python and `bwrap` take up before a program runs.
_BASE_MEGABYTES, _BASE_TASKS = 128, 8
_ENTER = 'echo $$ > "$0" && exec "$@"'
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Group:
    """A control group that was made for one sandbox."""

    folder: Path

    @property
    def entry(self) -> list[str]:
        """What to put before a command, so that it and all that it starts are in the group from the first moment."""
        return ["/bin/sh", "-c", _ENTER, str(self.folder / "cgroup.procs")]

    def close(self) -> None:
        """Remove the group, whose processes have ended."""
        with suppress(OSError):  # the kernel keeps one that is not empty
            self.folder.rmdir()


def group(limits: Limits) -> Group | None:
    """A new group with these limits; None where this process may not make one."""
    parent = _parent(_ROOT, _OWN)
    return _made(parent, limits) if parent is not None else None


@cache
def _parent(root: Path, own: Path) -> Path | None:
    """The nearest group above this process in which others can be made, limited, and entered; found by trying."""
    trial = Limits(seconds=1, megabytes=64, disk=1, output=1, files=1, threads=1)
    for folder in _above(root, own):
        made = _made(folder, trial)
        if made is not None:
            entered = subprocess.run([*made.entry, "/bin/true"], capture_output=True, check=False, env={})  # noqa: S603
            made.close()
            if entered.returncode == 0:
                return folder

    return None


def _above(root: Path, own: Path) -> Iterator[Path]:
    """Groups from that of this process upwards which hand on limits of memory and tasks."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return

    name = next((line[3:] for line in lines if line.startswith("0::")), None)
    if name is None:
        return

    folder = root / name.lstrip("/")
    for above in (folder, *folder.parents):
        with suppress(OSError):
            given = (above / "cgroup.subtree_control").read_text().split()
            if {"memory", "pids"} <= set(given):
                yield above


def _made(parent: Path, limits: Limits) -> Group | None:
    made = Group(parent / f"agentflow-{os.getpid()}-{next(_numbers)}")
    memory = (limits.megabytes + limits.disk + _BASE_MEGABYTES) * _MB
    try:
        made.folder.mkdir()
        (made.folder / "memory.max").write_text(str(memory))
        (made.folder / "pids.max").write_text(str(limits.threads + _BASE_TASKS))
    except OSError:
        made.close()
        return None

    for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
        with suppress(OSError):  # older kernels, or none that swaps
            (made.folder / name).write_text(value)

    return made
