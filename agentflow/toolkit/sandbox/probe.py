"""Whether the stronger sandbox works on this machine: found out once for each process, by starting one."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from agentflow.toolkit.sandbox.bubblewrap import Bubblewrap, setting_of
from agentflow.toolkit.sandbox.calls import is_known
from agentflow.toolkit.sandbox.engine import Limits
from agentflow.toolkit.sandbox.worker import message

_SECONDS = 20
_LINE = 300
_MEMORY = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was found: the path of `bwrap` where its sandbox works, and why it does or does not."""

    path: str
    works: bool
    reason: str


@cache
def probe() -> Probe:
    """Start a sandbox that proves its walls and ends; the answer holds for this process."""
    path = shutil.which("bwrap") or ""
    reason = _missing(path) or _trial(path)
    return Probe(
        path=path,
        works=not reason,
        reason=reason or f"`{path}` works, with Python {platform.python_version()}",
    )


def _missing(path: str) -> str:
    if sys.platform != "linux":
        return "it needs Linux"

    if not path:
        return "`bwrap` is not installed: install the package `bubblewrap`"

    return "" if is_known() else f"there is no filter of system calls for `{platform.machine()}`"


def _trial(path: str) -> str:
    """Why a sandbox does not start, in a line; nothing where it does."""
    limits = Limits(seconds=1, megabytes=64, disk=1, output=100, files=1, threads=4)
    try:
        ended = subprocess.run(  # noqa: S603 - the one program that was found
            Bubblewrap(path=path).command(),
            input=message(setting_of(limits)) + message({"memory": _MEMORY}),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env={},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"`{path}` does not start: {error}"

    told = _told(ended.stdout)
    # Once when its own walls stand, once when its memory is limited.
    if [one.get("ready") for one in told] == [True, True]:
        return ""

    return next(
        (str(one["error"]) for one in told if "error" in one), _complaint(ended.stderr, ended.returncode)
    )


def _told(output: bytes) -> list[dict[str, Any]]:
    """The messages of a worker, in order."""
    told: list[dict[str, Any]] = []
    with suppress(ValueError):  # what is no message was not said by a worker
        while output:
            size = int.from_bytes(output[:4], "big") + 4
            told.append(json.loads(output[4:size]))
            output = output[size:]

    return told


def _complaint(errors: bytes, status: int) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    return f"`bwrap` ends with {status}: {lines[-1][:_LINE] if lines else 'its worker does not say that it is ready'}"
