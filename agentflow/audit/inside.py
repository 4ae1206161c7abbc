"""What an event says of itself, read from JSON that need not be what was written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from agentflow.encoding import PAYLOADS
from agentflow.journal import MARK


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """As far as it can be read; `payloads` are the digests of what is kept beside it."""

    seq: int = 0
    at: int = 0
    type: str = ""
    step: str = ""
    chain: int = 1
    payloads: tuple[str, ...] = ()


def read(data: bytes) -> Inside:
    """What the JSON of an event says of itself; nothing where it is no event."""
    try:
        known = json.loads(data)
    except (ValueError, RecursionError):
        known = None

    if not isinstance(known, Mapping):
        return Inside()

    said = cast("Mapping[str, Any]", known)
    return Inside(
        seq=_number(said.get("seq"), 0),
        at=_number(said.get("at"), 0),
        type=str(said.get("type", "")),
        step=str(said.get("step", "")),
        chain=_number(said.get("chain"), 1),
        payloads=_payloads(said),
    )


def _number(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default


def _payloads(said: Mapping[str, Any]) -> tuple[str, ...]:
    found = [said[name] for name in PAYLOADS if name in said]
    return tuple(str(value[MARK]) for value in found if isinstance(value, Mapping) and MARK in value)
