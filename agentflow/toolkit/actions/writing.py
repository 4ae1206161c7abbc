"""Values written into addresses, headers and forms, by the styles of OpenAPI 3.1 ("Style Values")."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote, unquote

from agentflow.exceptions import ToolArgumentsInvalid
from agentflow.toolkit.actions.operation import Parameter

Pairs = list[tuple[str, str]]
# Of the reserved characters, those that do not end or divide a query (RFC 3986, section 2.2).
_RESERVED = ":/?@!$'()*,;[]"
_DIVIDERS = {"spaceDelimited": "%20", "pipeDelimited": "|", "form": ","}


def in_path(parameter: Parameter, value: Any) -> str:
    """A value for a path. What would lead to another path is refused, however often it is decoded."""
    text = plain = encoded(_json(value)) if parameter.as_json else _in_path(parameter, value)
    while (decoded := unquote(plain)) != plain:
        plain = decoded

    if not plain.strip("/\\") or any(step in (".", "..") for step in plain.replace("\\", "/").split("/")):
        raise ToolArgumentsInvalid(
            f"`{parameter.argument}` is {json.dumps(value, ensure_ascii=False)}, which would lead to another path",
            hint="give the value that names one thing, without `.`, `..` or slashes alone",
        )

    return text


def _in_path(parameter: Parameter, value: Any) -> str:
    name, style, explode = encoded(parameter.name), parameter.style, parameter.explode
    if isinstance(value, Mapping):
        members = [(encoded(k), encoded(v)) for k, v in _members(parameter, value)]
        joined = (
            [f"{k}={v}" for k, v in members] if explode else [",".join(part for m in members for part in m)]
        )
    elif isinstance(value, list):
        texts = [encoded(text) for text in _texts(parameter, value)]
        named = style == "matrix" and explode
        joined = [f"{name}={t}" if named else t for t in texts] if explode else [",".join(texts)]
    else:
        joined = [encoded(_text(parameter, value))]

    if style == "matrix":
        is_named = explode and isinstance(value, Mapping | list)
        return ";" + ";".join(joined) if is_named else f";{name}={joined[0]}"

    return "." + ".".join(joined) if style == "label" else ",".join(joined)


def in_query(parameter: Parameter, value: Any) -> Pairs:
    """Names and values for a query or a form, already encoded."""
    name = encoded(parameter.name)
    safe = _RESERVED if parameter.keeps_reserved else ""
    if parameter.as_json:
        return [(name, encoded(_json(value), safe))]

    if parameter.style == "deepObject":
        return list(_deep(parameter, name, value, safe))

    if isinstance(value, Mapping):
        members = [(encoded(k), encoded(v, safe)) for k, v in _members(parameter, value)]
        flat = [part for member in members for part in member]
        return members if parameter.explode else [(name, _DIVIDERS[parameter.style].join(flat))]

    if isinstance(value, list):
        texts = [encoded(text, safe) for text in _texts(parameter, value)]
        return (
            [(name, t) for t in texts]
            if parameter.explode
            else [(name, _DIVIDERS[parameter.style].join(texts))]
        )

    return [(name, encoded(_text(parameter, value), safe))]


def _deep(parameter: Parameter, name: str, value: Any, safe: str) -> Iterator[tuple[str, str]]:
    """An object as `name[key]=value`, and what is inside of it as `name[key][key]=value`."""
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[str, Any]", value).items():
            yield from _deep(parameter, f"{name}[{encoded(key)}]", item, safe)
    elif isinstance(value, list):
        for item in cast("Sequence[Any]", value):
            yield from _deep(parameter, name, item, safe)
    elif value is not None:
        yield name, encoded(_text(parameter, value), safe)


def in_header(parameter: Parameter, value: Any) -> str:
    """A value for a header; raises `ToolArgumentsInvalid` for characters that would end it."""
    if parameter.as_json:
        text = _json(value)
    elif isinstance(value, Mapping):
        members = _members(parameter, value)
        text = ",".join(f"{k}={v}" if parameter.explode else f"{k},{v}" for k, v in members)
    else:
        text = ",".join(_texts(parameter, value if isinstance(value, list) else [value]))

    if not text.isprintable() or not text.isascii():
        raise ToolArgumentsInvalid(
            f"`{parameter.argument}` holds characters that no header can: {json.dumps(text)}",
            hint="give plain ASCII, without line breaks",
        )

    return text.strip()


def in_cookie(parameter: Parameter, value: Any) -> Pairs:
    """Names and values for the `Cookie` header."""
    return in_query(parameter, value)


def form(fields: Mapping[str, Parameter], value: Mapping[str, Any]) -> Pairs:
    """A body as names and values, already encoded; an object in a field is JSON, where the document does not say else."""
    pairs: Pairs = []
    for name, item in value.items():
        known = fields.get(name) or Parameter(
            argument=name,
            name=name,
            place="query",
            schema=True,
            explode=True,
            as_json=isinstance(item, Mapping),
        )
        pairs += in_query(known, item) if item is not None else []

    return pairs


def _members(parameter: Parameter, value: Any) -> list[tuple[str, str]]:
    known = cast("Mapping[str, Any]", value)
    return [(key, _text(parameter, item)) for key, item in known.items() if item is not None]


def _texts(parameter: Parameter, value: Any) -> list[str]:
    return [_text(parameter, item) for item in cast("Sequence[Any]", value) if item is not None]


def _text(parameter: Parameter, value: Any) -> str:
    """A plain value as text, as JSON has it; whole numbers without `.0`."""
    if isinstance(value, str):
        return value

    if isinstance(value, Mapping | list):
        raise ToolArgumentsInvalid(
            f"`{parameter.argument}` holds a list or an object inside of another one, which cannot be written in a {parameter.place}",
            hint="give plain values there",
        )

    if isinstance(value, float) and value.is_integer():
        return str(int(value))

    return "" if value is None else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def encoded(text: str, safe: str = "") -> str:
    """`text` in percent-encoding, but for the characters `safe`."""
    return quote(text, safe=safe, errors="replace")


def decoded(text: str) -> str:
    """What `encoded` wrote."""
    return unquote(text)
