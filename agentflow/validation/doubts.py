"""What is not known of a definition that could only be read in part, so that nothing false is said of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from agentflow.spec import EdgeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """`edges`: some are lost, or some step is. `guessed` are edges whose end was misspelt and taken for the nearest name.

    `ends`: False where a start or end is missing and this was said already.
    """

    edges: bool = False
    guessed: Collection[EdgeSpec] = ()
    ends: bool = True


CERTAIN = Doubts()
