"""What a page is about to send: the request as a person is shown it, and the digest that an approval is bound to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email import policy
from email.parser import BytesParser
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

LONGEST_SHOWN = 4_000  # characters of a body that is no form and no JSON
Pairs: TypeAlias = "Sequence[tuple[str, Any]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that was put into a form: its name, its size in bytes and its SHA-256."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request that may change something. `content` is its decoded body, or the query of a form sent by GET.

    `digest` is over the method, the address and the content, so that what is sent differs where it differs. Parts of a
    multipart body are taken without the boundary between them, which a browser draws anew each time.
    """

    method: str
    url: str
    content: Any
    digest: str

    def shown(self) -> dict[str, Any]:
        """The request as a person is asked about it, and as it is recorded."""
        return {"method": self.method, "url": self.url, "content": self.content, "digest": self.digest}

    def values(self) -> list[str]:
        """Each value of a form that is not empty; of other content, its text as one value."""
        if not isinstance(self.content, dict):
            return [] if self.content in (None, "") else [json.dumps(self.content, ensure_ascii=False)]

        values = [v if isinstance(v, list) else [v] for v in self.content.values()]
        return [str(item) for row in values for item in row if str(item)]


def outgoing(
    method: str, url: str, kind: str, body: bytes, uploads: Mapping[str, Upload] | None = None
) -> Outgoing:
    """The request with `body` of the content type `kind`; `uploads` are the files that the page was given, by name.

    A browser does not tell what is in the files of a multipart body, so they are shown by what the page was given.
    """
    content = _decoded(kind, body, uploads or {}) if body else _query(url)
    return Outgoing(method=method, url=url, content=content, digest=_digest(method, url, kind, body, content))


def _digest(method: str, url: str, kind: str, body: bytes, content: Any) -> str:
    is_parts = kind.lower().startswith("multipart/")
    data = json.dumps(content).encode() if is_parts else body
    digest = hashlib.sha256(f"{method}\0{url}\0".encode())
    digest.update(data)
    return f"sha256:{digest.hexdigest()}"


def _query(url: str) -> dict[str, Any] | None:
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    return _by_name(pairs) if pairs else None


def _decoded(kind: str, body: bytes, uploads: Mapping[str, Upload]) -> Any:
    plain = kind.partition(";")[0].strip().lower()
    try:
        if plain == "application/x-www-form-urlencoded":
            return _by_name(parse_qsl(body.decode(), keep_blank_values=True))

        if plain == "application/json" or plain.endswith("+json"):
            return json.loads(body)

        if plain == "multipart/form-data":
            return _by_name(list(_parts(kind, body, uploads)))
    except Exception:  # noqa: BLE001 - it is not what it says that it is, whatever the parsers make of that: shown as text
        return _text(body)

    return _text(body)


def _by_name(pairs: Pairs) -> dict[str, Any]:
    """Fields by name; of a name that stands there more than once, all its values in a list."""
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)

    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _parts(kind: str, body: bytes, uploads: Mapping[str, Upload]) -> Pairs:
    message = BytesParser(policy=policy.HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    if not message.is_multipart():
        raise ValueError("it has no parts")

    return [_part(part, uploads) for part in message.iter_parts()]


def _part(part: Any, uploads: Mapping[str, Upload]) -> tuple[str, Any]:
    name = _sound(part.get_param("name", header="content-disposition"))
    data: bytes = part.get_payload(decode=True) or b""
    file = part.get_filename()
    if file is None:
        return name, data.removesuffix(b"\r\n").decode(errors="replace")

    return name, _file(_sound(file), data, uploads)


def _sound(header: Any) -> str:
    """Text out of a header whose bytes may be none of any encoding."""
    return str(header or "").encode(errors="surrogateescape").decode(errors="replace")


def _file(name: str, data: bytes, uploads: Mapping[str, Upload]) -> dict[str, Any]:
    known = uploads.get(name)
    if data:
        return {"file": name, "size": len(data), "digest": f"sha256:{hashlib.sha256(data).hexdigest()}"}

    if known is not None:
        return {"file": name, "given": {"size": known.size, "digest": known.digest}}

    return {"file": name, "content": "not known"} if name else {"file": ""}


def _text(body: bytes) -> str | dict[str, Any]:
    text = body.decode(errors="replace")
    if "\ufffd" in text or len(text) > LONGEST_SHOWN:
        # The digest holds all of it; a person sees how it begins.
        return {"begins": text[:LONGEST_SHOWN].replace("\ufffd", "?"), "size": len(body)}

    return text
