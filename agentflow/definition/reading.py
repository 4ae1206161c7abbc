"""The text of a workflow file as data: read as YAML 1.2 reads it, with the place of each part.

Of the core schema of YAML 1.2.2 (section 10.3): only `true` and `false` are truth values, so that a step or a key may be
called `on`, `yes` or `no`. A key is the text that stands there. Aliases and tags are refused: a file is written out in full.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml

from agentflow.exceptions import Problem
from agentflow.places import Key, Place

CODE = "AF160"
_TAG = "tag:yaml.org,2002:"
# What a plain scalar is, in the order in which it is tried: its tag, how it looks, and its value.
_Plain = tuple[str, str, Callable[[str], Any]]
PLAIN: tuple[_Plain, ...] = (
    ("null", r"~|null|Null|NULL|", lambda _: None),
    ("bool", r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", lambda text: int(text, 0 if text[1:2] in "ox" else 10)),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", lambda text: float(text.replace(".", ""))),
)

_TEXT: _Plain = ("str", r"(?s:.)*", str)


class Text(NamedTuple):
    """What a text holds, where each part of it stands, and what is wrong with how it is written."""

    data: Any
    marks: Mapping[Key, Place]
    problems: list[Problem]


class _Loader(yaml.SafeLoader):
    """Composes the parts of a text with their places; what they are worth is told by `PLAIN`."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            what = "it uses an alias (`*name`), and a workflow is written out in full"
            raise _Refused(None, None, what, mark, "write the part out")

        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {}
for _tag, _look, _ in PLAIN:
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(f"^(?:{_look})$"), None)


class _Refused(yaml.MarkedYAMLError):
    """Raised when a text is YAML, and of a kind that no workflow file may be."""


def read(text: str, file: Path) -> Text:
    """The data of a text; what is no YAML at all is one problem, and there is no data then."""
    reading = _Reading(file)
    try:
        node = _Loader(text).get_single_node()
        return Text(None if node is None else reading.value(node, ()), reading.marks, reading.problems)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error).replace("\n", " ")
        what = said if isinstance(error, _Refused) else f"it is not YAML: {said}"
        hint = (getattr(error, "note", None) or "") if isinstance(error, _Refused) else ""
        problem = Problem(code=CODE, what=what, where=place_said("the file", _at(file, mark)), hint=hint)
        return Text(None, {}, [problem])


def place_said(name: str, place: Place) -> str:
    """A part of a file with its place, as problems name it."""
    return f"{name} ({place})"


def _at(file: Path, mark: Any) -> Place:
    return Place(str(file), 1) if mark is None else Place(str(file), mark.line + 1, mark.column + 1)


class _Reading:
    """Reads the parts of one text."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.marks: dict[Key, Place] = {}
        self.problems: list[Problem] = []

    def value(self, node: Any, path: Key) -> Any:
        self.marks.setdefault(path, _at(self.file, node.start_mark))
        tag = str(node.tag).removeprefix(_TAG)
        if node.id == "mapping" and tag == "map":
            return dict(self._entries(node, path))

        if node.id == "sequence" and tag == "seq":
            return [self.value(item, (*path, n)) for n, item in enumerate(node.value)]

        for known, look, made in (*PLAIN, _TEXT) if node.id == "scalar" else ():
            if known == tag and re.fullmatch(look, node.value):
                return made(node.value)

        raise _Refused(None, None, f"`{node.tag}` is no plain value", node.start_mark, "leave the tag out")

    def _entries(self, node: Any, path: Key) -> Iterator[tuple[str, Any]]:
        """The parts of a mapping; a key that stands twice is a problem, as YAML drops the first."""
        seen: set[str] = set()
        for key, value in cast("list[tuple[Any, Any]]", node.value):
            if key.id != "scalar":
                raise _Refused(None, None, "a key is a plain name", key.start_mark, "write a name before `:`")

            name, place = str(key.value), _at(self.file, key.start_mark)
            if name in seen:
                where = place_said(said_of((*path, name)), place)
                hint = "leave one of them out"
                self.problems.append(
                    Problem(code=CODE, what=f"`{name}` stands twice", where=where, hint=hint)
                )

            seen.add(name)
            self.marks[(*path, name)] = place
            yield name, self.value(value, (*path, name))


def said_of(path: Key) -> str:
    """The way to a part as problems name it: `steps.one.kind`."""
    return f"`{'.'.join(map(str, path))}`" if path else "the file"
