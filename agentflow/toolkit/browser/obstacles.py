"""Why an action on an element cannot be done, and what to do instead."""

from __future__ import annotations

import difflib
import re

from agentflow.exceptions import ToolError, ToolTimeout
from agentflow.toolkit.browser.snapshot import Node

_OBSTACLE = re.compile(
    r"element is not \w+|<[^\n]*> (?:from <[^\n]*> subtree )?intercepts pointer events|outside of the viewport"
)
_HINTS = {
    "not enabled": "it is disabled: fill in what it waits for, or choose another element",
    "not editable": "it is read-only: choose another element",
    "not visible": "it is hidden: open what it is in, scroll, or take a new snapshot",
    "not stable": "it is moving: try again",
    "intercepts": "it is covered: close what covers it, such as a dialog or a banner, and try again",
    "viewport": "scroll to it first",
}
_ALIKE = 0.5
_MOST_ALIKE = 5
# What a person can act on; a page is full of elements that only hold others.
_PLAIN = frozenset({"generic", "document", "paragraph", "group", "none", "text"})


def late(what: str, error: Exception) -> ToolError:
    """The error of an action that was waited for in vain: with what is in its way, where the browser says so."""
    found = _OBSTACLE.findall(str(error))
    if not found:
        return ToolTimeout(f"could not {what} in time")

    obstacle = found[-1][:300]
    return ToolError(
        f"could not {what}: {obstacle}",
        hint=next((hint for word, hint in _HINTS.items() if word in obstacle), ""),
    )


def stale(ref: str, old: Node | None, now: Node) -> ToolError:
    """The error for a reference that leads nowhere any more, with those elements that are like the one it was."""
    near = ", ".join(f"`{node.ref}` ({_told(node)})" for node in _alike(old, now))
    was = f" (it was {_told(old)})" if old is not None else ""
    return ToolError(
        f"the reference `{ref}`{was} is stale, take a new snapshot",
        hint=f"the page has now {near}" if near else "",
    )


def _alike(old: Node | None, now: Node) -> list[Node]:
    if old is None:
        return []

    usable = [node for node in now.walk() if node.ref and node.role not in _PLAIN]
    scored = sorted(((_likeness(old, node), node) for node in usable), key=lambda row: -row[0])
    return [node for score, node in scored[:_MOST_ALIKE] if score >= _ALIKE]


def _likeness(old: Node, node: Node) -> float:
    name, other = old.name or old.inner_text(), node.name or node.inner_text()
    by_name = difflib.SequenceMatcher(None, name[:80].casefold(), other[:80].casefold()).ratio()
    return by_name * (1.0 if node.role == old.role else 0.7)


def _told(node: Node) -> str:
    name = (node.name or node.inner_text())[:60]
    return f'{node.role} "{name}"' if name else node.role


def named(root: Node, ref: str) -> Node | None:
    """The element that `ref` stands for in a snapshot."""
    return next((node for node in root.walk() if node.ref == ref), None)
