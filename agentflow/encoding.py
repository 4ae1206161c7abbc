"""Events as canonical JSON, back from it, and the hashes that chain them: what a journal, a trail and a proof are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from agentflow.events import CHAIN, EVENTS, HALVES, ErrorInfo, Event, Json, Payload, RunStarted, json_text
from agentflow.exceptions import JournalDamaged, JournalVersion
from agentflow.identity import Same
from agentflow.secrets import redact

_REQUIRED = object()


# What many runs have on record as the same object: it is large, and written once.
_SHARED = frozenset({"spec", "bound"})


def _plan(kind: type[Event]) -> tuple[bytes, tuple[tuple[str, bytes, Any], ...]]:
    """How an event of this kind is written: what it begins with, and each field with its key and its default."""
    known = tuple(
        (f.name, f',"{f.name}":'.encode(), _REQUIRED if f.default is MISSING else f.default)
        for f in fields(kind)
    )
    return f'{{"type":"{kind.type}"'.encode(), known


_PLANS = {kind: _plan(kind) for kind in EVENTS.values()}


def opening(type_: str, at: int, seq: int) -> bytes:
    """What the canonical JSON of an event begins with: a journal that keeps these by themselves need not keep them twice."""
    return f'{{"type":"{type_}","at":{at},"seq":{seq}'.encode()


def encode(event: Event, keep: Callable[[bytes], bytes] | None = None) -> bytes:
    """The event as canonical JSON: fields in the order of the class, those at their default left out.

    `keep` may take the JSON of a payload and give a shorter one that stands for it.
    """
    begin, known = _PLANS[type(event)]
    parts = [begin]
    for name, key, default in known:
        value = getattr(event, name)
        kind = type(value)
        if value is default or (default is not _REQUIRED and (value is None or (kind is str and not value))):
            continue

        parts.append(key)
        if kind is int:  # most fields are whole numbers, texts and payloads
            parts.append(b"%d" % value)
        elif kind is str:
            parts.append(redact(encode_basestring(value)).encode(errors=HALVES))
        elif isinstance(value, Payload):
            parts.append(keep(value.json) if keep is not None else value.json)
        else:
            parts.append(redact(_text_of(name, value)).encode(errors=HALVES))

    parts.append(b"}")
    return b"".join(parts)


def _text_of(name: str, value: Any) -> str:
    """The JSON of a field, with what secrets it holds."""
    if name in _SHARED:
        return _shared_text(Same(value))

    if type(value) is ErrorInfo:
        value = {name: text for name in ErrorInfo.__slots__ if (text := getattr(value, name))}

    return json_text(value)


@lru_cache(16)
def _shared_text(value: Same[Json]) -> str:
    """The JSON of what is not changed."""
    return json_text(value.value)


# The fields that say something in words.
_WORDS = {kind: [f.name for f in fields(kind) if f.type not in ("int", "float", "bool")] for kind in _PLANS}


def texts_of(event: Event) -> list[str]:
    """What an event says in words, in parts: its texts, and the JSON of what else is no number, payloads whole.

    There is nothing to be hidden in its JSON where there is nothing in any of these: they hold what is a secret by now also
    where it was none yet when that was written.
    """
    texts: list[str] = []
    for name in _WORDS[type(event)]:
        value = getattr(event, name)
        if type(value) is str:
            texts.append(value)
        elif isinstance(value, Payload):
            texts += value.texts
        elif value is not None:
            texts.append(_text_of(name, value))

    return texts


# The fields that hold payloads.
PAYLOADS = frozenset({"input", "output", "request", "result", "subject"})
_scan = json.JSONDecoder().raw_decode


def decode(raw: bytes, load: Callable[[Json], bytes | None] = lambda _: None) -> Event:
    """The event that `encode` wrote; raises `JournalDamaged` where it is none.

    `load` gives the JSON of a payload for what `keep` put in its place, or None where it stands there itself.
    """
    try:
        data: dict[str, Any] = {}
        for name, value, text in _fields_of(raw.decode()):
            data[name] = Payload(raw=load(value) or text.encode()) if name in PAYLOADS else value

        kind = EVENTS[data.pop("type")]
        if "error" in data:
            data["error"] = ErrorInfo(**{"kind": "", "message": "", **data["error"]})

        return kind(**data)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise JournalDamaged(f"an event cannot be read: {error}: {raw[:120]!r}") from None


def _fields_of(text: str) -> Iterator[tuple[str, Json, str]]:
    """The fields of canonical JSON with the text of each, so that a payload stays as it was written, byte for byte."""
    at = 0
    while text[at] in "{,":
        name, colon = _scan(text, at + 1)
        value, at = _scan(text, colon + 1)
        yield name, value, text[colon + 1 : at]

    if text[at:] != "}":
        raise ValueError("it does not end as an event does")


def chained(previous: bytes, encoded: bytes, chain: int = 1) -> bytes:
    """The hash of an event that stands for all up to it, from the hash of the one before and its own canonical JSON.

    Chain 1 hashes the two together. Chain 2 hashes the digest of the JSON, so that the chain can be followed without it.
    """
    if chain == 1:
        return hashlib.sha256(previous + encoded).digest()

    return linked(previous, hashlib.sha256(encoded).digest())


def linked(previous: bytes, digest: bytes) -> bytes:
    """The hash of an event in chain 2: SHA-256 over the hash of the one before and the digest of its canonical JSON."""
    return hashlib.sha256(previous + digest).digest()


def seal(event: Event, digest: bytes) -> None:
    """Note the digest of an event's JSON as it was written: what is written anew may hide more, and differ."""
    object.__setattr__(event, "_digest", digest)


def seal_of(event: Event) -> bytes:
    """The digest that was noted; empty where none was."""
    return getattr(event, "_digest", b"")


def chain_of(first: Event) -> int:
    """How the hashes of a run are chained that begins with this event; raises `JournalVersion` for a way not known."""
    chain = first.chain if isinstance(first, RunStarted) else 1
    if chain not in (1, CHAIN):
        raise JournalVersion(
            f"the hashes of this run are chained in way {chain}; this agentflow knows up to {CHAIN}",
            hint="upgrade agentflow",
        )

    return chain
