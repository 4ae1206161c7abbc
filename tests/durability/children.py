"""Processes that are forked from a warm one, so that each begins with all modules loaded."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

# A child that takes longer than this hangs: it is ended by its own alarm.
SECONDS = 60


class Death(NamedTuple):
    """How a child ended: by a signal, or with an exit code."""

    signal: int
    code: int

    @property
    def is_killed(self) -> bool:
        return self.signal == signal.SIGKILL

    @property
    def is_clean(self) -> bool:
        return self == (0, 0)

    def __str__(self) -> str:
        if self.signal == signal.SIGALRM:
            return f"took longer than {SECONDS} s"

        return f"ended by signal {self.signal}" if self.signal else f"ended with {self.code}"


def begin(work: Callable[[], object], *, seconds: int = SECONDS) -> int:
    """Do `work` in a child and give its process id; what it raises goes to standard error. 0 seconds are no limit."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid

    code = 1
    try:
        signal.alarm(seconds)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        # Nothing of the parent's is tidied up here.
        os._exit(code)


def end(pid: int) -> Death:
    """Wait for a child; until then it is not gone, also where it was killed."""
    _, status = os.waitpid(pid, 0)
    return _death(status)


def ended(pid: int) -> Death | None:
    """How a child ended; None while it lives."""
    gone, status = os.waitpid(pid, os.WNOHANG)
    return _death(status) if gone else None


def _death(status: int) -> Death:
    if os.WIFSIGNALED(status):
        return Death(os.WTERMSIG(status), 0)

    return Death(0, os.WEXITSTATUS(status))


def lived(work: Callable[[], object]) -> Death:
    """Do `work` in a child, and wait for it."""
    return end(begin(work))


def spread(count: int, work: Callable[[int], object]) -> Sequence[Death]:
    """Do `work(0)` to `work(count - 1)` at the same time, each in a child that may have further ones."""
    pids = [begin(partial(work, number), seconds=0) for number in range(count)]
    return [end(pid) for pid in pids]
