"""Policies for tasks in which something is dragged to its place."""

from __future__ import annotations

import re

from agentflow.toolkit.browser.snapshot import Node
from tests.miniwob.desk import Desk, Policy, said

_GRID = (
    "top left",
    "top center",
    "top right",
    "center left",
    "center",
    "center right",
    "bottom left",
    "bottom center",
)


def _items(desk: Desk) -> list[Node]:
    return desk.every("listitem")


def _found(desk: Desk) -> tuple[Node, int, str]:
    """What is to be dragged, where in the list it is, and where it is to go in words."""
    found = re.search(r"Drag (\w+) (.*)\.", desk.goal)
    assert found
    names = [said(item) for item in _items(desk)]
    at = names.index(found[1])
    return _items(desk)[at], at, found[2]


async def one_in_list(desk: Desk) -> None:
    item, at, where = _found(desk)
    number = re.search(r"(\d)(st|nd|rd|th) position", where)
    steps = {
        "to the top": 0,
        "to the bottom": 4,
        "up by one position": at - 1,
        "down by one position": at + 1,
    }
    to = int(number[1]) - 1 if number else steps[where]
    await desk.do("drag", ref=item.ref, to=_items(desk)[to].ref)


async def one_in_grid(desk: Desk) -> None:
    item, at, where = _found(desk)
    steps = {"up by one": at - 3, "down by one": at + 3, "left by one": at - 1, "right by one": at + 1}
    places = {f"to the {name}": place for place, name in enumerate([*_GRID, "bottom right"])}
    await desk.do("drag", ref=item.ref, to=_items(desk)[(steps | places)[where]].ref)


async def sort(desk: Desk) -> None:
    """The least of those that are left goes to the first place that is left."""
    for place in range(len(_items(desk)) - 1):
        items = _items(desk)
        least = min(items[place:], key=lambda item: int(said(item)))
        if least is not items[place]:
            await desk.do("drag", ref=least.ref, to=items[place].ref)

    await desk.push("Submit")


async def box(desk: Desk) -> None:
    await desk.do("drag", ref=desk.one("generic", "s").ref, to=desk.one("generic", "L").ref)
    await desk.push("Submit")


ARRANGING: dict[str, Policy] = {
    "drag-box": box,
    "drag-items": one_in_list,
    "drag-items-grid": one_in_grid,
    "drag-sort-numbers": sort,
}
