"""The events that a span is made of, as attributes of it, and read back from there.

`agentflow.audit.records` is `CHAIN/COUNT`, then `SEQ.HASH` for each event: the hash that stands for all events up to it, in
base64 without padding. Where what the event says does not stand on the span, `SEQ.HASH.DIGEST` gives the digest of its JSON
too: else that follows from the JSON. `agentflow.audit.content` (then `.1` and on) holds the JSON of the events, one a line,
and then that of their large payloads, which an event names by digest: as text, or compressed where that is long.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode, urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentflow.tracing import semconv
from agentflow.tracing.span import Record
from agentflow.tracing.values import LIMIT, Attribute

# Shorter content is worth being read where it stands.
READABLE = 2048
# Content stands on at most so many attributes, each of at most LIMIT bytes; beyond it stands in the journal alone.
PARTS = 4
_COMPRESSED = "z:"
_URLSAFE = bytes.maketrans(b"+/", b"-_")
# What a compressed content may grow to when it is read: one that is larger was not made here.
_GROWN = 256 * 1024 * 1024
# A hash, and a digest where the event does not stand there.
_FORM = 2


class RecordsUnreadable(ValueError):
    """Raised when attributes of a span hold no records, or not in the form that was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record as a span tells it; `digest` is empty where it follows from the content."""

    chain: int
    seq: int
    hash: bytes
    digest: bytes = b""


def attributes_of(
    records: Sequence[Record], *, content: Callable[[Sequence[bytes]], bool] | None
) -> dict[str, Attribute]:
    """The attributes that tell of these events; with `content` also what they say, as far as it has room.

    `content` says of the JSON of events, or of payloads, whether all of it may be told.
    """
    told = _content(records, content) if content is not None and records else {}
    entries = [f"{r.seq}.{_text(r.hash)}" + ("" if told else f".{_text(r.digest)}") for r in records]
    way = records[0].chain if records else 0
    return {semconv.AUDIT_RECORDS: " ".join([f"{way}/{len(entries)}", *entries]), **told}


def _content(records: Sequence[Record], may_tell: Callable[[Sequence[bytes]], bool]) -> dict[str, Attribute]:
    """What the events say, with their large payloads if there is room; nothing where it is not what was written."""
    events = [record.raw for record in records]
    lines = b"\n".join(events)
    # They stand there a line each.
    if b"" in events or lines.count(b"\n") >= len(events) or not may_tell(events):
        return {}

    payloads: dict[bytes, None] = {}
    for record in records:
        if record.payloads:
            payloads |= dict.fromkeys(record.payloads)

    told = [raw for raw in payloads if b"\n" not in raw and may_tell([raw])] if payloads else ()
    return (_parts(_packed(b"\n".join([lines, *told]))) if told else {}) or _parts(_packed(lines))


def _parts(text: str) -> dict[str, Attribute]:
    """A text as attributes; as none where it is too long for them."""
    if len(text) <= LIMIT:
        return {semconv.AUDIT_CONTENT: text}

    count = -(-len(text) // LIMIT)
    return {_name(n): text[n * LIMIT : (n + 1) * LIMIT] for n in range(count)} if count <= PARTS else {}


def _packed(raw: bytes) -> str:
    # The length of text is counted in bytes, so what is not ASCII is compressed too where it is near the limit.
    if len(raw) <= READABLE:
        return raw.decode()

    return _COMPRESSED + b64encode(zlib.compress(raw, 6)).decode()


def _name(part: int) -> str:
    return f"{semconv.AUDIT_CONTENT}.{part}" if part else semconv.AUDIT_CONTENT


def is_of_audit(name: str) -> bool:
    """Whether an attribute holds records, or what they say."""
    return name == semconv.AUDIT_RECORDS or name.startswith(semconv.AUDIT_CONTENT)


def entries_in(attributes: Mapping[str, Any]) -> list[Entry]:
    """The records that stand in attributes; raises `RecordsUnreadable`."""
    first, *words = str(attributes.get(semconv.AUDIT_RECORDS, "")).split(" ")
    chain, _, count = first.partition("/")
    if not _is_number(chain) or count != str(len(words)):
        raise RecordsUnreadable("its records are not all there")

    return [_read(int(chain), word) for word in words]


def _read(chain: int, word: str) -> Entry:
    seq, *hashes = word.split(".")
    try:
        raw = [_bytes(text) for text in hashes]
    except ValueError:
        raw = []

    if not _is_number(seq) or not 0 < len(raw) <= _FORM or any(len(part) != 32 for part in raw):
        raise RecordsUnreadable(f"its record `{word[:60]}` is not in the form that was written")

    return Entry(chain=chain, seq=int(seq), hash=raw[0], digest=raw[1] if len(raw) > 1 else b"")


def _is_number(text: str) -> bool:
    # As it was written: other digits, and zeros before them, are read alike.
    return text.isascii() and text.isdecimal() and text == str(int(text))


def content_in(attributes: Mapping[str, Any]) -> list[bytes]:
    """The lines of JSON that stand in attributes: of events, then of payloads; raises `RecordsUnreadable`."""
    parts: list[str] = []
    while (name := _name(len(parts))) in attributes:
        parts.append(str(attributes[name]))

    text = "".join(parts)
    if not text.startswith(_COMPRESSED):
        return text.encode(errors="replace").split(b"\n") if text else []

    try:
        packed = b64decode(text.removeprefix(_COMPRESSED), validate=True)
        if b64encode(packed).decode() != text.removeprefix(_COMPRESSED):
            raise ValueError("other letters than those that were written")

        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(packed, _GROWN)
    except (ValueError, zlib.error) as error:
        raise RecordsUnreadable(f"what its events say cannot be read: {error}") from None

    if not unpacker.eof or unpacker.unused_data:
        raise RecordsUnreadable("what its events say is not in the form that was written")

    return raw.split(b"\n")


def _text(raw: bytes) -> str:
    # What `urlsafe_b64encode` gives, in half of the time: each event has a hash.
    return b2a_base64(raw, newline=False).translate(_URLSAFE).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _text(raw) != text:
        raise ValueError("other letters than those that were written")

    return raw
