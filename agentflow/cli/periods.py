"""Points in time as people name them on the command line."""

from __future__ import annotations

import re
import time
from datetime import datetime

from agentflow.exceptions import ProjectError

_PERIOD = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
# The journal counts in 64 bits: what lies before or after that is before or after all of its runs.
_FIRST, _LAST = -(2**63), 2**63 - 1
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def moment(text: str, option: str) -> int:
    """Nanoseconds since the epoch: `2h` or `30d` ago, or a date such as `2026-05-01` or `2026-05-01T12:00`, local time."""
    if period := _PERIOD.fullmatch(text.strip().lower()):
        number, unit = period.groups()
        return max(_FIRST, time.time_ns() - int(float(number) * _SECONDS[unit] * 1e9))

    try:
        at = datetime.fromisoformat(text.strip()).astimezone().timestamp()
        return min(_LAST, max(_FIRST, int(at * 1e9)))
    except (ValueError, OverflowError):
        raise ProjectError(
            f"`{option} {text}` is no point in time",
            hint="write a period (`90s`, `30m`, `2h`, `3d`, `1w`) or a date (`2026-05-01`, `2026-05-01T12:00`)",
        ) from None


def stamp(at: int) -> str:
    """A point in time for a person: date and time of day, here."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at / 1e9))


def iso(at: int) -> str:
    """A point in time for a program, with its zone."""
    return datetime.fromtimestamp(at / 1e9).astimezone().isoformat(timespec="seconds")
