"""Who drives a run: a process as text, and whether it is surely dead."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

# host, boot, namespace of process ids, process id, start time, random
_PARTS = 6


def new_owner() -> str:
    """A name for what drives runs in this process, which no other has."""
    return f"{_process(os.getpid())}/{os.urandom(4).hex()}"


@cache
def _process(pid: int) -> str:
    """What names this process; asked by its id, which a fork has its own of."""
    return "/".join((_host(), _boot(), _namespace(), str(pid), _stat(pid)[1]))


def is_gone(owner: str) -> bool:
    """Whether it was a process of this machine that surely runs no more; elsewhere only time can tell."""
    parts = owner.split("/")
    if len(parts) != _PARTS or not parts[3].isdecimal():
        return False

    host, boot, namespace, pid, start, _ = parts
    if host != _host():
        return False

    if boot != _boot():
        return bool(boot and _boot())

    return namespace == _namespace() and _is_dead(int(pid), start)


def process_of(owner: str) -> str:
    """What names the process of an owner, the same for all that it drives."""
    return owner.rpartition("/")[0]


def describe(owner: str) -> str:
    """An owner in words, for texts of errors."""
    parts = owner.split("/")
    return f"process {parts[3]} on {parts[0]}" if len(parts) == _PARTS else f"`{owner}`"


def _host() -> str:
    import socket  # here, as who only reads a journal asks for no name

    return socket.gethostname().replace("/", "_")


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id")


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux, or hidden by a sandbox
        return ""


def _is_dead(pid: int, start: str) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is no question, but ends the process
        return False

    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it is there, and not ours to signal
        pass

    state, now = _stat(pid)
    return state == "Z" or bool(start and now and now != start)


def _stat(pid: int) -> tuple[str, str]:
    """The state of a process, and when it began in the kernel's ticks since the boot; empty where nothing tells."""
    # proc(5): field 3 of /proc/PID/stat is the state, and 22 the start; field 2, in brackets, may hold anything.
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
