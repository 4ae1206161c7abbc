"""What is not known of a definition that could only be read in part, so that nothing false is said of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from agentflow.spec import EdgeSpec

# The name of a start, an end or a step that could not be read, as was said already; no text in YAML is this.
UNREAD = "\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """`edges`: some are lost, or some step is. `guessed` are edges whose end was misspelt and taken for the nearest name."""

    edges: bool = False
    guessed: Collection[EdgeSpec] = ()


CERTAIN = Doubts()
