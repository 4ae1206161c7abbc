"""Where the parts of a definition stand: a file, a line and, in files that are data, a column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

# The way to a part in the data of a definition: `("steps", "one", "timeout")`, `("edges", 3)`.
Key = tuple[str | int, ...]


class Place(NamedTuple):
    """Where a part was defined; column 0 is none."""

    file: str
    line: int
    column: int = 0

    def __str__(self) -> str:
        column = f":{self.column}" if self.column else ""
        return f"{self.file}:{self.line}{column}" if self.file else ""


NOWHERE = Place("", 0)


@dataclass(frozen=True, slots=True)
class Places:
    """Where each part of a definition stands; those of a part are asked for by the way from `root`."""

    known: Mapping[Key, Place] = field(default_factory=dict[Key, Place])
    root: Key = ()

    def at(self, *path: str | int) -> Place:
        """The place of a part, or of the nearest part around it that is known."""
        key = (*self.root, *path)
        while key and key not in self.known:
            key = key[:-1]

        return self.known.get(key, NOWHERE)

    def below(self, *path: str | int) -> Places:
        """The places inside of a part."""
        return Places(self.known, (*self.root, *path))

    def said(self, *path: str | int) -> str:
        """The place of a part as it stands behind its name: ` (flow.yaml:3:1)`; empty where it is not known."""
        place = str(self.at(*path))
        return f" ({place})" if place else ""
