"""Which operations of a document become tools, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from agentflow.toolkit.actions.document import Document, Node

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_LONGEST = 64  # characters of a tool's name, as model servers have it


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An operation of a document, by its place: `id` is its `operationId`, or else its method and path."""

    id: str
    tool: str
    method: str
    path: str
    at: Node
    operation: Node

    def fits(self, wanted: str) -> bool:
        """Whether `wanted` means this one: an id, `tag:NAME`, a method, or a method and a path; `*` stands for anything."""
        kind, colon, tag = wanted.partition(":")
        if colon and kind == "tag":
            return any(fnmatchcase(known, tag) for known in tags(self.operation))

        method, _, path = wanted.partition(" ")
        if method.lower() in METHODS and method.isupper():
            return method.lower() == self.method and (not path or fnmatchcase(self.path, path))

        return fnmatchcase(self.id, wanted)


def tags(operation: Node) -> tuple[str, ...]:
    return tuple(str(item.value) for item in operation.child("tags").items())


def selected(document: Document, include: Sequence[str], exclude: Sequence[str], prefix: str) -> list[Entry]:
    """The operations that become tools; a name that means none is a fault."""
    every = list(_entries(document, prefix))
    for wanted in (*include, *exclude):
        if not any(entry.fits(wanted) for entry in every):
            document.root.child("paths").fault(
                f"there is no operation `{wanted}`",
                f"there are: {', '.join(entry.id for entry in every[:30])}",
            )

    chosen = [e for e in every if not include or any(e.fits(wanted) for wanted in include)]
    return [e for e in chosen if not any(e.fits(wanted) for wanted in exclude)]


def _entries(document: Document, prefix: str) -> Iterator[Entry]:
    ids: dict[str, str] = {}
    names: set[str] = set()
    for path, item in document.root.child("paths").members():
        at = item.resolved()
        for method in METHODS:
            operation = at.child(method)
            if operation.value is None:
                continue

            if not path.startswith("/"):
                item.fault(f"the path `{path}` does not begin with `/`")

            given = operation.text("operationId")
            id_ = given or f"{method} {path}"
            if id_ in ids:
                operation.fault(f"`operationId` is `{id_}`, as that of {ids[id_]}", "give each its own")

            ids.setdefault(id_, operation.pointer)
            name = _name(f"{prefix}{given or _made(method, path)}", names)
            yield Entry(id=id_, tool=name, method=method, path=path, at=at, operation=operation)


def _made(method: str, path: str) -> str:
    """A name from a method and a path: `get_orders_by_id` for GET /orders/{id}."""
    steps = [re.sub(r"^\{(.*)\}$", r"by_\1", step) for step in path.split("/") if step]
    return "_".join([method, *steps])


def _name(text: str, taken: set[str]) -> str:
    """`text` as the name of a tool: letters, digits, `_` and `-`, at most 64 of them, and no other tool has it."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:_LONGEST] or "call"
    name, count = plain, 1
    while name in taken:
        count += 1
        end = f"_{count}"
        name = plain[: _LONGEST - len(end)] + end

    taken.add(name)
    return name
