"""The last walls, put up by the worker itself before it runs a program: folder, user, limits, system calls.

Until then it is this file alone that runs, with the few rights that these steps need; they are gone afterwards.
Sources: the man pages mount(2), capabilities(7), getrlimit(2), prctl(2), seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

WORK, PACKAGES = "/work", "/packages"
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_SECCOMP, _NO_NEW_PRIVS, _AMBIENT = 22, 38, 47
_CLEAR_ALL, _FILTER = 4, 2
_CAPABILITY_VERSION = 0x20080522
_SOME_UID = 65534

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def confine(setting: Mapping[str, Any]) -> None:
    """Put up all walls of `setting`; raises `OSError` or `RuntimeError` where one does not stand."""
    _mount(setting["disk"], setting["entries"])
    _become(setting["uid"])
    _limit(setting)
    _filter(bytes.fromhex(setting["filter"]))
    _prove()


def _must(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(size: int, entries: int) -> None:
    """A work folder in memory: `size` bytes and `entries` files, nothing in it can be run."""
    options = f"size={size},nr_inodes={entries},mode=1777".encode()
    flags = _NOSUID | _NODEV | _NOEXEC
    _must(_libc.mount(b"tmpfs", WORK.encode(), b"tmpfs", flags, options), "no work folder")


def _become(uid: int | None) -> None:
    """A user that owns nothing on this machine, where root started the sandbox; no capabilities either way."""
    if uid is not None:
        os.setgroups([])
        for candidate in (uid, _SOME_UID):
            # In a container the first may not exist.
            if _can(os.setresgid, candidate) and _can(os.setresuid, candidate):
                break
        else:
            raise RuntimeError("the sandbox is not closed: there is no user but root")

    _must(_libc.prctl(_AMBIENT, _CLEAR_ALL, 0, 0, 0), "capabilities stay")
    nothing = (ctypes.c_uint32 * 6)()
    _must(_libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION, 0)), nothing), "capabilities stay")
    Path(WORK, ".tmp").mkdir()
    os.chdir(WORK)


def _can(change: Callable[[int, int, int], None], to: int) -> bool:
    try:
        change(to, to, to)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise

        return False

    return True


def _limit(setting: Mapping[str, Any]) -> None:
    for name, most in {
        "NPROC": setting["threads"],
        "NOFILE": setting["handles"],
        "FSIZE": setting["disk"],
        "CORE": 0,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "SIGPENDING": 64,
        "NICE": 0,
        "RTPRIO": 0,
    }.items():
        _at_most(getattr(resource, f"RLIMIT_{name}"), most)


def bound(size: int) -> None:
    """Limit the address space to `size` bytes, for good."""
    _at_most(resource.RLIMIT_AS, size)


def _at_most(limit: int, most: int) -> None:
    _, allowed = resource.getrlimit(limit)
    most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(limit, (most, most))


def _filter(code: bytes) -> None:
    program = _Program(len(code) // 8, code)
    _must(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "privileges could be gained")
    _must(_libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0), "no filter of system calls")


def _prove() -> None:
    """Try what must not work, and what must: better no sandbox than one with a missing wall."""
    for what, attempt in {
        "a network socket can be opened": lambda: socket.socket(socket.AF_INET).close(),
        "a process can be started": os.fork,
        "a program can be run": lambda: os.execv(sys.executable, ["python3", "-V"]),  # noqa: S606
        "users of the machine can be read": lambda: Path("/etc/passwd").stat(),
        "processes of the machine can be seen": lambda: Path("/proc/1").stat(),
        "root can be written": lambda: Path("/new").mkdir(),
        "a device can be made": lambda: os.mknod(f"{WORK}/.device", 0o20666, os.makedev(1, 1)),
        "the user can be changed": lambda: os.setuid(0),
    }.items():
        if _works(attempt):
            raise RuntimeError(f"the sandbox is not closed: {what}")

    # And what must work: modules can be read, and a thread be started.
    for place in (*map(os.path.dirname, (os.__file__, __file__)), PACKAGES):
        os.listdir(place)  # noqa: PTH208

    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


def _works(attempt: Callable[[], object]) -> bool:
    try:
        given = attempt()
    except OSError:
        return False

    if given == 0:  # a child that should not be
        os._exit(1)

    return True
