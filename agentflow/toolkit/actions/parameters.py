"""What an operation takes, read from a document: its parameters and its body, and the schema of both together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast, get_args

from agentflow.toolkit.actions.document import Json, Node
from agentflow.toolkit.actions.operation import Body, Parameter, Place
from agentflow.toolkit.actions.schemas import Schemas

_STYLES: Mapping[Place, tuple[str, ...]] = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
# OpenAPI leaves these three to other parts of the document.
_IGNORED = ("accept", "content-type", "authorization")
# What the client writes itself; a value from outside there would say where a message ends, or to whom it goes.
_CLIENTS = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "cookie",
    "proxy-authorization", "proxy-connection", "keep-alive", "content-encoding", "accept-encoding",
})  # fmt: skip
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_LONGEST = 600  # characters of a description
_KINDS = ("binary", "base64")


def parameters(
    schemas: Schemas, path: Node, operation: Node, taken: Collection[tuple[Place, str]]
) -> list[Parameter]:
    """The parameters of an operation and its path; those in `taken` are the client's: a model has no say in them."""
    found: dict[tuple[str, str], Node] = {}
    for node in (*path.child("parameters").items(), *operation.child("parameters").items()):
        known = node.resolved()
        found[known.text("in"), known.text("name")] = known

    made = [_parameter(schemas, node) for node in found.values() if _is_offered(node, taken)]
    return list(_with_arguments([parameter for parameter in made if parameter is not None]))


def _is_offered(node: Node, taken: Collection[tuple[Place, str]]) -> bool:
    place, name = node.text("in"), node.text("name")
    if place == "header" and name.lower() in _IGNORED:
        return False

    plain = name.lower() if place == "header" else name
    return all((place, plain) != (p, n.lower() if p == "header" else n) for p, n in taken)


def _parameter(schemas: Schemas, node: Node) -> Parameter | None:
    if node.value is None:
        return None

    place, name = cast("Place", node.text("in")), node.text("name")
    if place not in get_args(Place):
        node.fault(f"`in` is `{place}`", f"it is one of: {', '.join(get_args(Place))}")
        return None

    if not name:
        node.fault("has no `name`")
        return None

    if place in ("header", "cookie") and not _TOKEN.fullmatch(name):
        node.fault(f"`{name}` cannot be the name of a {place}")

    if place == "header" and name.lower() in _CLIENTS:
        node.fault(f"the header `{name}` is written by the client itself", "take the parameter out")

    style = node.text("style", _STYLES[place][0])
    if style not in _STYLES[place]:
        node.fault(f"`style` is `{style}`", f"in a {place} it is one of: {', '.join(_STYLES[place])}")

    if place == "path" and not node.flag("required"):
        node.fault(f"`{name}` is in the path and not `required`", "write `required: true`")

    schema, as_json = _schema(schemas, node)
    return Parameter(
        argument=name,
        name=name,
        place=place,
        schema=schema,
        is_required=node.flag("required"),
        description=brief(node.text("description"), _LONGEST),
        style=style,
        explode=node.flag("explode", default=style == "form"),
        as_json=as_json,
        keeps_reserved=place == "query" and node.flag("allowReserved"),
    )


def _schema(schemas: Schemas, node: Node) -> tuple[dict[str, Any] | bool, bool]:
    """The schema of a parameter, and whether its value is written as JSON."""
    if not node.has("content"):
        return (schemas.alone(node.child("schema")) if node.has("schema") else True), False

    types = list(node.child("content").members())
    if len(types) != 1:
        node.child("content").fault(f"has {len(types)} media types, and must have one")
        return True, True

    kind, content = types[0]
    if not is_json(kind):
        content.fault(f"`{kind}` cannot be written in a parameter", "use `schema`, or `application/json`")

    return (schemas.alone(content.child("schema")) if content.has("schema") else True), True


def _with_arguments(made: Sequence[Parameter]) -> Iterator[Parameter]:
    """Each parameter with a name for the tool: its own, as far as that can be a name, and no other has it."""
    taken = {"body"}
    for parameter in made:
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", parameter.name).strip("_")[:60] or parameter.place
        names = [plain, f"{plain}_in_{parameter.place}", *(f"{plain}_{n}" for n in range(2, len(made) + 3))]
        name = next(name for name in names if name not in taken)
        taken.add(name)
        yield replace(parameter, argument=name)


def body(schemas: Schemas, operation: Node) -> Body | None:
    """The body of an operation, of the media type that can best be written."""
    node = operation.child("requestBody").resolved()
    if node.value is None:
        return None

    types = dict(node.child("content").members())
    kind = _best(list(types))
    if kind is None:
        node.child("content").fault(
            f"a body of {_listed(types)} cannot be written",
            "JSON, forms and plain text can; leave the operation out",
        )
        return None

    content = types[kind]
    schema: dict[str, Any] | bool = schemas.alone(content.child("schema")) if content.has("schema") else True
    if kind in _FORMS and isinstance(schema, dict):
        schema = _without_files(_opened(schema), content)

    return Body(
        media_type=kind,
        schema=schema,
        is_required=node.flag("required"),
        description=brief(node.text("description"), _LONGEST),
        fields=_fields(content) if kind in _FORMS else {},
    )


def _best(kinds: Sequence[str]) -> str | None:
    ranked = [
        *(kind for kind in kinds if is_json(kind)),
        *(kind for form in _FORMS for kind in kinds if _plain(kind) == form),
        *(kind for kind in kinds if _plain(kind) == "text/plain"),
    ]
    return ranked[0] if ranked else None


def _opened(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` with its properties at hand, where it only refers to another one."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    known = schema.get("$defs", {}).get(name)
    return _opened({"$defs": schema["$defs"], **known}) if isinstance(known, dict) else schema


def _without_files(schema: dict[str, Any], content: Node) -> dict[str, Any]:
    """A form without the files that it may hold; one that must hold a file is a fault."""
    fields: dict[str, Any] = schema.get("properties", {})
    files = [name for name, part in fields.items() if _is_file(part)]
    for name in files:
        if name in schema.get("required", ()):
            content.fault(f"`{name}` is a file, and actions send none", "leave the operation out")

    return {**schema, "properties": {name: part for name, part in fields.items() if name not in files}}


def _is_file(part: Any) -> bool:
    if not isinstance(part, dict):
        return False

    known = cast("dict[str, Any]", part)
    return known.get("format") in _KINDS or _is_file(known.get("items"))


def _fields(content: Node) -> dict[str, Parameter]:
    """How the fields of a form are written, where the document says so."""
    return {
        name: Parameter(
            argument=name,
            name=name,
            place="query",
            schema=True,
            style=node.text("style", "form"),
            explode=node.flag("explode", default=node.text("style", "form") == "form"),
            as_json=is_json(node.text("contentType")),
        )
        for name, node in content.child("encoding").members()
    }


def arguments(parameters: Sequence[Parameter], body: Body | None) -> dict[str, Any]:
    """The schema of a tool's arguments: each parameter by name, and the body under `body`."""
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    required = [parameter.argument for parameter in parameters if parameter.is_required]
    parts = [(p.argument, p.schema, p.description) for p in parameters]
    if body is not None:
        parts.append(("body", body.schema, body.description))
        required += ["body"] if body.is_required else []

    for name, schema, description in parts:
        known: dict[str, Any] = dict(schema) if isinstance(schema, Mapping) else {}
        definitions |= known.pop("$defs", {})
        described = {"description": description} if description and "description" not in known else {}
        properties[name] = {**described, **known} if schema is not False else False

    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {
        **made,
        **({"required": required} if required else {}),
        **({"$defs": definitions} if definitions else {}),
    }


def is_json(kind: str) -> bool:
    """Whether a media type is JSON, as `application/json` and `application/problem+json` are."""
    plain = _plain(kind)
    return plain == "application/json" or plain.endswith("+json")


def _plain(kind: str) -> str:
    return kind.partition(";")[0].strip().lower()


def brief(text: str, most: int) -> str:
    """`text` in one piece, cut at a word after `most` characters."""
    plain = re.sub(r"[ \t]+\n", "\n", text).strip()
    return plain if len(plain) <= most else f"{plain[:most].rsplit(None, 1)[0]}..."


def _listed(names: Mapping[str, Json]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "no media type"
