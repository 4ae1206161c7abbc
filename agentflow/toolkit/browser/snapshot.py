"""Reading Playwright's accessibility snapshot: a tree of roles, names and references."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urljoin

_KEY = re.compile(r'(?P<role>[\w-]+)(?: "(?P<name>(?:[^"\\]|\\.)*)")?(?P<attributes>(?: \[[^\]]*\])*)$')
_ATTRIBUTE = re.compile(r"\[([\w-]+)(?:=([^\]]*))?\]")
# Control, zero-width, directional and tag characters: they hide text from people, and models still read it.
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)

_Item: TypeAlias = "str | Mapping[str, Any]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One element as assistive technology sees it; `text` is what stands directly in it."""

    role: str
    name: str = ""
    ref: str = ""
    text: str = ""
    url: str = ""
    level: int = 0
    flags: frozenset[str] = frozenset()
    children: tuple[Node, ...] = field(default=(), repr=False)

    def walk(self) -> Iterator[Node]:
        """The node and all below it, in the order of the document."""
        yield self
        for child in self.children:
            yield from child.walk()

    def inner_text(self) -> str:
        """All text below this node in one line; controls count with their name."""
        parts = [self.text] if self.text else [child.inner_text() for child in self.children]
        return " ".join(" ".join(filter(None, parts)).split()) or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link on a page; `around` is the text of the list item or paragraph that it stands in."""

    text: str
    url: str
    ref: str
    around: str = ""


def clean(text: str) -> str:
    """`text` without the characters that nobody can see."""
    return _INVISIBLE.sub("", text)


def parse(snapshot: str) -> Node:
    """The tree of a snapshot, without what is hidden from assistive technology."""
    # Imported here: only reading pages needs it.
    import yaml

    # The base loader leaves every scalar a string: a page that says `2024-01-01` means the text.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    items = yaml.load(snapshot, Loader=loader) or []  # noqa: S506 - a base loader makes only strings, lists and dicts
    return Node(role="document", children=_nodes(items))


def _nodes(items: object) -> tuple[Node, ...]:
    if not isinstance(items, list):
        return ()

    nodes = (_node(item) for item in items)
    return tuple(node for node in nodes if node and "aria-hidden" not in node.flags)


def _node(item: _Item) -> Node | None:
    key, value = (item, "") if isinstance(item, str) else next(iter(item.items()))
    found = _KEY.match(key)
    if found is None:
        return None  # a property such as `/url`, which its parent reads

    attributes = dict(_ATTRIBUTE.findall(found["attributes"]))
    return Node(
        role=found["role"],
        name=_unquoted(found["name"] or ""),
        ref=attributes.get("ref", ""),
        text=value if isinstance(value, str) else "",
        url=_property(value, "/url"),
        level=int(attributes.get("level") or 0),
        flags=frozenset(attributes),
        children=_nodes(value),
    )


def _unquoted(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)


def _property(value: object, name: str) -> str:
    rows = value if isinstance(value, list) else []
    return next((str(row[name]) for row in rows if isinstance(row, dict) and name in row), "")


def links_of(root: Node, base: str) -> list[Link]:
    """The links to web pages below `root`, each address once, resolved against `base`."""
    links: dict[str, Link] = {}
    for node, around in _with_block(root, root):
        url = urljoin(base, node.url) if node.role == "link" and node.url else ""
        if url.startswith(("http://", "https://")) and url not in links:
            context = "" if around.role == "document" else around.inner_text()[:300]
            links[url] = Link(text=node.name or node.inner_text(), url=url, ref=node.ref, around=context)

    return list(links.values())


def _with_block(node: Node, block: Node) -> Iterator[tuple[Node, Node]]:
    inside = node if node.role in {"listitem", "paragraph", "row", "article"} else block
    yield node, inside
    for child in node.children:
        yield from _with_block(child, inside)
