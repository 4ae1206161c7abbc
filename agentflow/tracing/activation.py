"""Names of activations, taken apart: `sub#1/read#2[3]` is item 3 of the second visit of `read` inside `sub#1`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_FORM = re.compile(r"(?:(?P<frame>.+#\d+(?:\[\d+\])?)/)?(?P<node>.+)#(?P<visit>\d+)(?:\[(?P<item>\d+)\])?")


class Activation(NamedTuple):
    """Where a step runs: in which frame (`` is the workflow's own), which node, which visit, which item of a map."""

    id: str
    frame: str
    node: str
    visit: int
    item: int | None

    @property
    def container(self) -> str:
        """The activation of the map that this is an item of."""
        return self.id[: self.id.rindex("[")]

    @property
    def outer(self) -> str:
        """The activation around this one: its map, else its sub-workflow; `` is the run."""
        return self.frame if self.item is None else self.container


@lru_cache(1024)
def parse(id_: str) -> Activation:
    """The parts of an activation's name; a name of another form is a node of its own."""
    match = _FORM.fullmatch(id_)
    if match is None:
        return Activation(id_, "", id_, 1, None)

    item = int(match["item"]) if match["item"] is not None else None
    return Activation(id_, match["frame"] or "", match["node"], int(match["visit"]), item)
