"""Schemas of OpenAPI 3.0 and 3.1 as JSON Schemas (draft 2020-12) that stand by themselves: references become `$defs`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from agentflow.conformance import schema_faults
from agentflow.toolkit.actions.document import Document, Json, Node

Direction = Literal["request", "response"]

_ONE = frozenset({
    "items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else", "unevaluatedItems",
    "unevaluatedProperties",
})  # fmt: skip
_LISTS = frozenset({"allOf", "oneOf", "anyOf", "prefixItems"})
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"})
_PLAIN = frozenset({
    "type", "enum", "const", "default", "format", "pattern", "title", "description", "required", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems",
    "minProperties", "maxProperties", "minContains", "maxContains", "dependentRequired",
})  # fmt: skip
# Names under which a schema is found in other ways than by a place in the document.
_FOREIGN = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef")
_HIDDEN: Mapping[Direction, str] = {"request": "readOnly", "response": "writeOnly"}


@dataclass(slots=True, kw_only=True)
class Schemas:
    """The schemas of a document as they hold for what is sent or for what comes back; each is converted once."""

    document: Document
    direction: Direction
    _names: dict[str, str] = field(default_factory=dict[str, str])
    _done: dict[str, Json] = field(default_factory=dict[str, Any])
    _uses: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    _within: list[set[str]] = field(default_factory=list[set[str]])

    def alone(self, node: Node) -> dict[str, Any] | bool:
        """The schema at `node` with all that it refers to under `$defs`."""
        made, used = self.part(node)
        return self.whole(made, used) if isinstance(made, dict) else made

    def part(self, node: Node) -> tuple[dict[str, Any] | bool, set[str]]:
        """The schema at `node`, and the names of the definitions that it refers to."""
        self._within.append(set())
        made = self._checked(node)
        return made, self._within.pop()

    def whole(self, schema: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
        """`schema` with the definitions `used`, and those that they use, under `$defs`."""
        needed, todo = set[str](), list(used)
        while todo:
            name = todo.pop()
            if name not in needed:
                needed.add(name)
                todo += self._uses[name]

        definitions = {name: self._done[name] for name in sorted(needed)}
        return {**schema, **({"$defs": definitions} if definitions else {})}

    def _checked(self, node: Node) -> dict[str, Any] | bool:
        made = self._convert(node)
        # References lead to what is checked where it is converted.
        for line in schema_faults(made):
            node.fault(f"is no schema: {line}")

        return made

    def _convert(self, node: Node) -> dict[str, Any] | bool:
        value = node.value
        if isinstance(value, bool):
            return value

        if not isinstance(value, Mapping):
            node.fault("is no schema", "write an object, such as `type: string`")
            return True

        for name in _FOREIGN:
            if name in value:
                node.child(name).fault(
                    f"`{name}` cannot be used", "refer to schemas by their place: `#/components/...`"
                )

        if "$ref" not in value:
            return self._object(node)

        made = {"$ref": self._reference(node)}
        if self.document.is_30 or len(value) == 1:
            return made

        beside = Node(self.document, node.pointer, {k: v for k, v in value.items() if k != "$ref"})
        return {**self._object(beside), **made}

    def _reference(self, node: Node) -> str:
        target = node.referred()
        name = self._named(target.pointer)
        if self._within:
            self._within[-1].add(name)

        if name not in self._done:
            self._done[name] = True  # stands for itself while it is converted: a schema may hold itself
            if target.value is not None:
                self._done[name], self._uses[name] = self.part(target)

            self._uses.setdefault(name, set())

        return f"#/$defs/{name}"

    def _named(self, pointer: str) -> str:
        if pointer not in self._names:
            plain = re.sub(r"[^A-Za-z0-9_.-]", "_", pointer.rpartition("/")[2]) or "schema"
            taken, name, count = set(self._names.values()), plain, 1
            while name in taken:
                count += 1
                name = f"{plain}_{count}"

            self._names[pointer] = name

        return self._names[pointer]

    def _object(self, node: Node) -> dict[str, Any]:
        value = cast("Mapping[str, Json]", node.value)
        made: dict[str, Any] = {key: value[key] for key in value if key in _PLAIN}
        for key in value:
            child = node.child(key)
            if key in _ONE:
                made[key] = self._convert(child)
            elif key in _LISTS:
                made[key] = [self._convert(item) for item in child.items()]
            elif key in _NAMED:
                made[key] = {name: self._convert(item) for name, item in _schemas(child)}

        self._hide(node, made)
        return _as_2020(value, made) if self.document.is_30 else made

    def _hide(self, node: Node, made: dict[str, Any]) -> None:
        """Leave out what only goes the other way: `readOnly` of what is sent, `writeOnly` of what comes back."""
        hidden = set(_marked(node, _HIDDEN[self.direction], set()))
        if not hidden:
            return

        for name in hidden & set(made.get("properties", {})):
            del made["properties"][name]

        if isinstance(made.get("required"), list):
            made["required"] = [name for name in made["required"] if name not in hidden]


def _schemas(node: Node) -> Iterator[tuple[str, Node]]:
    """The schemas of an object by name; here also names that begin with `x-` are plain names."""
    if isinstance(node.value, Mapping):
        for name in cast("Mapping[str, Json]", node.value):
            yield name, node.child(name)
    else:
        node.fault("must be an object of schemas")


def _marked(node: Node, mark: str, seen: set[str]) -> Iterator[str]:
    """The names of properties with `mark`, also those of the schemas that are joined by `allOf`."""
    if node.pointer in seen or not isinstance(node.value, Mapping):
        return

    seen.add(node.pointer)
    properties = node.child("properties")
    if isinstance(properties.value, Mapping):
        for name in cast("Mapping[str, Json]", properties.value):
            found = properties.child(name).resolved().value
            if isinstance(found, Mapping) and cast("Mapping[str, Json]", found).get(mark) is True:
                yield name

    joined = node.child("allOf")
    if isinstance(joined.value, list):
        for part in joined.items():
            yield from _marked(part.resolved(), mark, seen)


def _as_2020(value: Mapping[str, Json], made: dict[str, Any]) -> dict[str, Any]:
    """What means something else in OpenAPI 3.0: `nullable`, and bounds that a boolean makes exclusive."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(made.get(exclusive), bool) and made.pop(exclusive) and bound in made:
            made[exclusive] = made.pop(bound)

    if value.get("nullable") is not True:
        return made

    if isinstance(made.get("enum"), list) and None not in made["enum"]:
        made["enum"] = [*made["enum"], None]

    if isinstance(made.get("type"), str):
        return {**made, "type": [made["type"], "null"]}

    # Without a type, `nullable` stands beside a reference or a choice, and is meant for the whole of it.
    said: dict[str, Any] = {key: made.pop(key) for key in ("title", "description", "default") if key in made}
    return {**said, "anyOf": [made, {"type": "null"}]} if made else {**said}
