"""What is said of a trail once it was looked through."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "incomplete", "forged"]
What = Literal["altered", "missing", "reordered", "inserted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What contradicts the trail: the first event at fault, and in words what is wrong.

    `seq` is 0 where a span is at fault of which it is not known what events it is made of. `upto` is the last event that it may be instead, where that cannot be told apart. `type` and `step` are of that event as
    it is found now, empty where it is not there; `span` is the id of the span that shows it. `of` says whether the event
    itself is at fault, or only a span that is made of it.
    """

    seq: int
    what: What
    why: str
    upto: int = 0
    type: str = ""
    step: str = ""
    span: str = ""
    of: Literal["event", "span"] = "event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is said of the trail of one run.

    `forged`: something contradicts the chain, `fault` says what. `incomplete`: nothing does, but not all is there to be
    checked, `gaps` says what not. `events` counts those that were found, `count` those that there should be; `head` is the
    hash that stands for all that were found without a gap. `checks` says what was compared, `limits` what cannot be told.
    """

    run: str
    state: State
    events: int
    count: int
    head: str = ""
    chain: int = 0
    spans: int = 0
    fault: Fault | None = None
    gaps: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


def state_of(fault: Fault | None, gaps: tuple[str, ...]) -> State:
    """What faults and gaps come to."""
    if fault is not None:
        return "forged"

    return "incomplete" if gaps else "ok"


def first_of(faults: list[Fault]) -> Fault | None:
    """The fault of the earliest event; of several of one event, the one that was found first."""
    return min(faults, key=lambda fault: fault.seq or sys.maxsize, default=None)
