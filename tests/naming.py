"""Names of cases that are the same in each process: several of them share the tests."""

from __future__ import annotations

import re
from typing import Any


def named(value: Any) -> str:
    """`str(value)` with sets in order and without the places of objects in memory."""
    text = str(sorted(value, key=str) if isinstance(value, set | frozenset) else value)
    return re.sub(r" at 0x[0-9a-f]+", "", text)
