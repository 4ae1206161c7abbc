"""Values as the text of attributes: JSON that is always of a size that a collector takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Self, cast

from agentflow.events import Json, Payload

Attribute = str | bool | int | float | tuple[str, ...]

# Larger inputs and outputs of steps are named by digest: each stands twice in a trace already, and the journal has it.
INLINE = 4096
# The most that one attribute may hold, in bytes of UTF-8. OTLP has no limit, but collectors and their stores do.
LIMIT = 65536
# A journal may write a small payload anew when it reads it, and write a number in another way than before.
_REWRITTEN = 8192
# Whole numbers of fewer digits are written as they were read; Python refuses those of thousands.
_WIDE = 20
_CUTS = (8192, 2048, 512, 128)


class Joined(str):
    """A text put together of `parts`, which hold all that it says: known ones need not be looked at again."""

    __slots__ = ("parts",)
    parts: Sequence[str]

    def __new__(cls, text: str, parts: Sequence[str]) -> Self:
        """The text as a value of an attribute: it is valid Unicode, and no longer than one may be."""
        made = super().__new__(cls, text)
        made.parts = parts
        return made


def cut(text: str, limit: int = LIMIT) -> str:
    """`text` as valid UTF-8 of at most `limit` bytes; what is left out is said at its end."""
    if len(text) <= limit and text.isascii():
        return text

    raw = text.encode(errors="replace")
    if len(raw) <= limit:
        return raw.decode()

    mark = f" [cut: {len(raw)} bytes]"
    return raw[: limit - len(mark)].decode(errors="ignore") + mark


# Made once: `json.dumps` with options makes an encoder for each call.
_write = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=str).encode


def dumped(value: Json) -> str:
    """`value` as compact JSON; what JSON does not know becomes text."""
    return _write(value)


def fits(text: str) -> bool:
    """Whether an attribute may hold all of `text`."""
    return len(text) <= LIMIT // 4 or len(text.encode(errors="replace")) <= LIMIT


def is_valid(text: str) -> bool:
    """Whether `text` is Unicode, without halves of surrogate pairs."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def fitted(value: Json) -> str:
    """`value` as JSON of at most `LIMIT` bytes that still parses: long texts inside it are cut, then cut shorter."""
    text = dumped(value)
    for limit in _CUTS:
        if fits(text):
            break

        text = dumped(_shortened(value, limit))

    return cut(text)


def _shortened(value: Json, limit: int) -> Json:
    if isinstance(value, str):
        return cut(value, limit)

    if isinstance(value, list | tuple):
        return [_shortened(item, limit) for item in cast("list[Any]", value)]

    if isinstance(value, Mapping):
        return {key: _shortened(item, limit) for key, item in cast("Mapping[str, Any]", value).items()}

    return value


def written(payload: Payload) -> str:
    """A payload as JSON text, the same before and after it was in a journal."""
    raw = payload.json
    return _rewritten(raw) if len(raw) <= _REWRITTEN else raw.decode(errors="replace")


@lru_cache(64)
def _rewritten(raw: bytes) -> str:
    # What one step gives is what the next one is given.
    text = raw.decode(errors="replace")
    return text if len(text) < _WIDE and text.isdecimal() and text.isascii() else dumped(json.loads(text))


def data_of(payload: Payload | None) -> Json:
    """A payload as plain data; a value that cannot be written as JSON is named by its type."""
    if payload is None:
        return None

    try:
        return payload.data
    except ValueError:  # also pydantic's own, for an object that it does not know
        return "(a value that is no JSON)"


def describe(attributes: dict[str, Attribute], name: str, payload: Payload | None) -> dict[str, Attribute]:
    """Add a payload to attributes: as `name` where it is small, else its digest and size in bytes."""
    if payload is None:
        return attributes

    try:
        text = written(payload)
    except ValueError:
        text = "(a value that is no JSON)"

    is_small = len(text) <= INLINE and (text.isascii() or len(text.encode(errors="replace")) <= INLINE)
    if is_small:
        attributes[name] = text
        return attributes

    raw = text.encode(errors="replace")
    attributes[f"{name}.digest"] = "sha256:" + hashlib.sha256(raw).hexdigest()
    attributes[f"{name}.size"] = len(raw)
    return attributes


def attribute(value: Any) -> Attribute:
    """Any value as one that an attribute may have."""
    return value if isinstance(value, str | bool | int | float) else fitted(value)
