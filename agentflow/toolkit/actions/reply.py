"""From a response to what a call gives: JSON held against its schema and cut to size, text, or a file beside the run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from mimetypes import guess_extension
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from agentflow.conformance import Conformance
from agentflow.context import current
from agentflow.toolkit.actions.operation import Operation, Schema
from agentflow.toolkit.actions.parameters import is_json

_LINK = re.compile(r'<([^<>]{1,2000})>\s*;[^,<]*?rel="?(next|prev|first|last)"?', re.IGNORECASE)
_FAULTS = 5  # of a mismatch
_DEEPEST = 100  # levels of JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an API answered: `data` is JSON as data, or text.

    `notes` say what the reader must know of it: that it is not what the document promises, or was cut. `links` are other
    pages, by their relation (`next`, `prev`): they are told, not followed. `file` is where what is no text was kept.
    """

    status: int
    data: Any = None
    notes: list[str] = field(default_factory=list[str])
    links: dict[str, str] = field(default_factory=dict[str, str])
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A response as it came; `url` is the address without what is secret. `trouble` is why a body could not be read."""

    status: int
    url: str
    media_type: str
    charset: str
    headers: Mapping[str, str]
    body: bytes
    trouble: str = ""


def reply(operation: Operation, received: Received, most: int) -> Reply:
    """What a call gives, in at most about `most` characters of data."""
    links = dict(_links(operation, received))
    if not received.body:
        notes = _empty_notes(operation, received)
        return Reply(status=received.status, links=links, notes=notes)

    text = _text(received)
    if text is None:
        return Reply(status=received.status, links=links, **_kept(operation, received))

    if not is_json(received.media_type):
        data, cut = text[:most], len(text) > most
        notes = [*_kind_notes(operation, received), *([_cut_note(operation, received)] if cut else [])]
        return Reply(status=received.status, data=data, notes=notes, links=links)

    try:
        data = json.loads(text)
        is_cut = _is_deeper(data, _DEEPEST)
    except (ValueError, RecursionError) as error:
        note = f"it says that it is JSON, and is not: {error}"
        return Reply(status=received.status, data=text[:most], notes=[note], links=links)

    notes = _mismatch(operation, received, data)
    shown, cuts = _fitted(data, most) if not is_cut else (text[:most], ["it is nested too deep to be read"])
    notes += [*cuts, *([_cut_note(operation, received)] if cuts else [])]
    return Reply(status=received.status, data=shown, notes=notes, links=links)


def _text(received: Received) -> str | None:
    """The body as text; None where it is none."""
    kind = received.media_type
    is_text = is_json(kind) or kind.startswith("text/") or kind.endswith("+xml") or kind in _TEXT
    if kind and not is_text:
        return None

    try:
        return received.body.decode(received.charset or "utf-8", errors="strict" if not kind else "replace")
    except LookupError:
        return received.body.decode("utf-8", errors="replace")
    except UnicodeDecodeError:
        return None


_TEXT = (
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/javascript",
    "application/x-ndjson",
)


def _kept(operation: Operation, received: Received) -> dict[str, Any]:
    what = f"`{received.media_type or 'no media type'}`, {len(received.body):,} bytes"
    place = _keep(operation, received)
    if not place:
        return {"notes": [f"it is no text ({what}), and outside of a run it is kept nowhere"]}

    return {"notes": [f"it is no text ({what}): it is kept as a file"], "file": place}


def _keep(operation: Operation, received: Received) -> str:
    """Keep the body beside the run; the path of the file, empty outside of a run."""
    context = current()
    if context is None:
        return ""

    suffix = guess_extension(received.media_type) or ".bin"
    return context.artifact(f"{operation.tool}{suffix}", received.body, received.media_type)


def _cut_note(operation: Operation, received: Received) -> str:
    place = _keep(operation, received)
    return f"all of it ({len(received.body):,} bytes) is in {place}" if place else "the rest is not shown"


def _links(operation: Operation, received: Received) -> Iterator[tuple[str, str]]:
    """Addresses of other pages, without what is secret in them."""
    secret = {credential.name for credential in operation.credentials if credential.place == "query"}
    for target, relation in _LINK.findall(received.headers.get("link", "")[:20_000]):
        parts = urlsplit(urljoin(received.url, target))
        if parts.scheme in ("http", "https"):
            query = urlencode(
                [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in secret]
            )
            yield relation.lower(), urlunsplit(parts._replace(query=query))

    if received.headers.get("location"):
        yield "location", urljoin(received.url, received.headers["location"])


def _promised(operation: Operation, status: int) -> Mapping[str, Schema] | None:
    """What the document says of a status: schemas by media type; None where it says nothing of it."""
    names = (str(status), f"{status // 100}XX", f"{status // 100}xx", "default")
    return next((operation.answers[name] for name in names if name in operation.answers), None)


def _empty_notes(operation: Operation, received: Received) -> list[str]:
    if received.trouble:
        return [f"it was carried out, and its answer cannot be read: {received.trouble}"]

    if received.headers.get("location"):
        return ["it was carried out, and leads to another address, which was not opened"]

    promised = _promised(operation, received.status)
    return ["it is empty, and the document promises content"] if promised and received.status != 204 else []


def _kind_notes(operation: Operation, received: Received) -> list[str]:
    promised = _promised(operation, received.status)
    known = [kind.partition(";")[0].strip().lower() for kind in promised or ()]
    fits = not known or any(_is_like(received.media_type, kind) for kind in known)
    return [] if fits else [f"it is `{received.media_type}`, and the document promises {', '.join(known)}"]


def _is_like(kind: str, promised: str) -> bool:
    return promised in ("*/*", kind) or (promised.endswith("/*") and kind.startswith(promised[:-1]))


def _mismatch(operation: Operation, received: Received, data: Any) -> list[str]:
    promised = _promised(operation, received.status)
    if promised is None:
        return [f"the document does not tell of an answer {received.status}"] if operation.answers else []

    schemas = [
        schema for kind, schema in promised.items() if is_json(kind) or _is_like(received.media_type, kind)
    ]
    if promised and not schemas:
        return _kind_notes(operation, received)

    faults = [line for schema in schemas[:1] for line in Conformance(schema).faults(data, whole="data")]
    told = "; ".join(faults[:_FAULTS]) + ("; ..." if len(faults) > _FAULTS else "")
    return [f"it is not what the document promises: {told}"] if faults else []


def _is_deeper(data: Any, levels: int) -> bool:
    layer = [data]
    for _ in range(levels):
        layer = [item for value in layer for item in _inner(value)]
        if not layer:
            return False

    return True


def _inner(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())

    return cast("Sequence[Any]", value) if isinstance(value, list) else []


def _fitted(data: Any, most: int) -> tuple[Any, list[str]]:
    """`data` as much of it as fits, and what was cut: long lists are ended early, long texts as well."""
    if _size(data) <= most:
        return data, []

    cuts: list[str] = []
    for items, letters in ((50, 2000), (20, 500), (5, 200), (2, 80)):
        cuts = []
        shown = _cut(data, items, letters, "", cuts)
        if _size(shown) <= most:
            return shown, cuts[:_FAULTS]

    return json.dumps(data, ensure_ascii=False)[:most], ["it is too large to be shown as data"]


def _cut(value: Any, items: int, letters: int, where: str, cuts: list[str]) -> Any:
    if isinstance(value, list):
        known = cast("Sequence[Any]", value)
        if len(known) > items:
            cuts.append(f"`{where or 'data'}`: {items} of {len(known)} items are shown")

        return [_cut(item, items, letters, f"{where}[{n}]", cuts) for n, item in enumerate(known[:items])]

    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return {k: _cut(v, items, letters, f"{where}.{k}".lstrip("."), cuts) for k, v in named.items()}

    if isinstance(value, str) and len(value) > letters:
        cuts.append(f"`{where or 'data'}`: {letters} of {len(value)} characters are shown")
        return value[:letters] + "..."

    return value


def _size(data: Any) -> int:
    return len(json.dumps(data, ensure_ascii=False))
