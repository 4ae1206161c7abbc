"""OpenAPI documents: read from a file, a text or data, and walked with the place at hand, so that each fault has one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from agentflow.exceptions import DocumentInvalid, ProjectError

Json = Any
_MOST_NODES = 2_000_000  # a document of 10,000 operations has some 500,000 values
_DEEPEST = 200
_DIALECTS = ("https://spec.openapis.org/oas/3.1/dialect/base", "https://json-schema.org/draft/2020-12/schema")


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A document, and what was found wrong with it so far, each fault once."""

    name: str
    data: Mapping[str, Json]
    faults: dict[str, None] = field(default_factory=dict[str, None])

    @property
    def root(self) -> Node:
        return Node(self, "", self.data)

    @property
    def is_30(self) -> bool:
        """Whether schemas are those of OpenAPI 3.0, and not JSON Schemas."""
        return str(self.data.get("openapi", "")).startswith("3.0")

    def refuse(self) -> None:
        """Raise `DocumentInvalid` if there are faults."""
        if self.faults:
            raise DocumentInvalid(self.name, list(self.faults))


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a document, and the JSON pointer that leads to it."""

    document: Document
    pointer: str
    value: Json

    def fault(self, what: str, hint: str = "") -> None:
        """Note what is wrong here."""
        place = f"#{self.pointer or '/'}"
        self.document.faults[f"{place}: {what}" + (f"\n    hint: {hint}" if hint else "")] = None

    def has(self, key: str) -> bool:
        return isinstance(self.value, Mapping) and key in self.value

    def child(self, key: str | int) -> Node:
        """The value under `key`, None where there is none."""
        value: Json = None
        if isinstance(key, int):
            value = self.value[key]
        elif isinstance(self.value, Mapping):
            value = cast("Mapping[str, Json]", self.value).get(key)

        step = str(key).replace("~", "~0").replace("/", "~1")
        return Node(self.document, f"{self.pointer}/{step}", value)

    def members(self) -> Iterator[tuple[str, Node]]:
        """The values of an object by name; names that begin with `x-` are extensions, and left out."""
        if self.value is None:
            return

        if not isinstance(self.value, Mapping):
            self.fault(f"is {_shown(self.value)}, and must be an object")
            return

        for name in cast("Mapping[str, Json]", self.value):
            if not name.startswith("x-"):
                yield name, self.child(name)

    def items(self) -> Iterator[Node]:
        """The values of a list."""
        if self.value is None:
            return

        if not isinstance(self.value, list):
            self.fault(f"is {_shown(self.value)}, and must be a list")
            return

        for index in range(len(cast("Sequence[Json]", self.value))):
            yield self.child(index)

    def text(self, key: str, default: str = "") -> str:
        """The text under `key`, `default` where there is none."""
        found = self.child(key)
        if found.value is None:
            return default

        if not isinstance(found.value, str):
            found.fault(f"is {_shown(found.value)}, and must be text")
            return default

        return found.value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """The boolean under `key`, `default` where there is none."""
        found = self.child(key)
        if found.value is None:
            return default

        if not isinstance(found.value, bool):
            found.fault(f"is {_shown(found.value)}, and must be true or false")

        return bool(found.value)

    def resolved(self) -> Node:
        """The value that a reference leads to, through others if need be; itself where it is none."""
        node, seen = self, set[str]()
        while isinstance(node.value, Mapping) and "$ref" in node.value:
            if node.pointer in seen:
                self.fault("its `$ref` leads back to itself")
                return Node(self.document, self.pointer, None)

            seen.add(node.pointer)
            node = node.referred()

        return node

    def referred(self) -> Node:
        """The value that the `$ref` of this object names; None, with a fault, where that is not in the document."""
        ref = self.child("$ref")
        text = ref.value
        if not isinstance(text, str) or not text.startswith("#"):
            ref.fault(
                f"refers to {_shown(text)}, which is outside of the document",
                "bundle the document into one file: nothing is fetched when it is read",
            )
            return Node(self.document, ref.pointer, None)

        found = self.document.root
        steps = unquote(text[1:]).split("/")
        if steps[0]:
            ref.fault(f"refers to {_shown(text)}, which is no JSON pointer", "write it as `#/components/...`")
            return Node(self.document, ref.pointer, None)

        for step in steps[1:]:
            found = _stepped(found, step.replace("~1", "/").replace("~0", "~"))

        if found.value is None:
            ref.fault(f"refers to {_shown(text)}, which is not in the document")

        return found


def _stepped(node: Node, step: str) -> Node:
    if (
        isinstance(node.value, list)
        and step.isdigit()
        and int(step) < len(cast("Sequence[Json]", node.value))
    ):
        return node.child(int(step))

    return node.child(step)


def _shown(value: Json) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return f"`{text if len(text) <= 60 else text[:60] + '...'}`"


def read(source: str | Path | Mapping[str, Any], folder: Path) -> Document:
    """The document `source`: a file (relative to `folder`), the text of one in JSON or YAML, or its data.

    Raises `ProjectError` if it cannot be read, `DocumentInvalid` if it is no OpenAPI 3.0 or 3.1.
    """
    if isinstance(source, Mapping):
        document = Document("the document", _copied(source, "the document"))
    else:
        name, text = _text(source, folder)
        document = Document(name, _copied(_parsed(text, name), name))

    _check_version(document)
    return document


def _check_version(document: Document) -> None:
    version, root = str(document.data.get("openapi", "")), document.root
    if "swagger" in document.data:
        root.fault("is Swagger 2.0", "convert it to OpenAPI 3, for example with `npx swagger2openapi`")
    elif not re.fullmatch(r"3\.[01](\.\d+)?", version):
        root.child("openapi").fault(f"is {_shown(version)}", "documents of OpenAPI 3.0 and 3.1 can be used")

    dialect = root.text("jsonSchemaDialect")
    if dialect and dialect.rstrip("#") not in _DIALECTS:
        root.child("jsonSchemaDialect").fault(f"is {_shown(dialect)}", f"schemas are read as {_DIALECTS[1]}")

    document.refuse()


def _text(source: str | Path, folder: Path) -> tuple[str, str]:
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return "the document", source

    if re.match(r"https?://", str(source)):
        raise ProjectError(
            f"`{source}` is an address, and a document is read from a file",
            hint="put it into the project: what its tools do must not change from one run to the next",
        )

    path = folder / source
    try:
        return path.name, path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"the OpenAPI document {path} cannot be read: {error}") from None


def _parsed(text: str, name: str) -> Json:
    try:
        return json.loads(text) if text.lstrip().startswith("{") else _yaml(text)
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{name} is neither JSON nor YAML: {error}") from None


def _yaml(text: str) -> Json:
    import yaml

    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506 - a safe loader with fewer types
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _loader() -> Any:
    """A safe loader of what JSON knows: no dates, and no `yes`, `no`, `on`, `off` as booleans (as YAML 1.2 has it)."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers = {  # noqa: RUF012 - as the class above has it
            first: [(tag, rule) for tag, rule in rules if not tag.endswith((":timestamp", ":bool"))]
            for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
    )
    return Loader


def _copied(data: Json, name: str) -> Mapping[str, Json]:
    """`data` with text as names, as JSON has it; refuses what is too large, too deep, or holds itself."""
    left = _MOST_NODES

    def copy(value: Json, depth: int) -> Json:
        nonlocal left
        left -= 1
        if depth > _DEEPEST or left < 0:
            raise ProjectError(f"{name} is too large, or holds itself", hint="look for anchors (`&`) in it")

        if isinstance(value, Mapping):
            named = cast("Mapping[object, Json]", value)
            return {str(key): copy(item, depth + 1) for key, item in named.items()}

        if isinstance(value, list | tuple):
            return [copy(item, depth + 1) for item in cast("Sequence[Json]", value)]

        return value

    if not isinstance(data, Mapping):
        raise ProjectError(f"{name} is no OpenAPI document: it is {_shown(data)}")

    return cast("Mapping[str, Json]", copy(data, 0))
