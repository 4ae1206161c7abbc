"""What a server sent for a page: its bytes, what they are said to be, and whether they may be kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from agentflow.exceptions import FileUnreadable

Kind = str
"""`html`, `text`, or the ending of a document that a parser reads, such as `.pdf`."""

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_PLAIN = re.compile(r"text/.+|application/(?:.+\+)?(?:json|xml|yaml|toml|x-ndjson|javascript)")
_DOCUMENTS = {
    "application/pdf": ".pdf",
    "application/x-pdf": ".pdf",
    "application/epub+zip": ".epub",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "message/rfc822": ".eml",
}
# What servers say of a file that they know nothing of.
_UNKNOWN = frozenset(
    {"", "application/octet-stream", "binary/octet-stream", "application/download", "application/zip"}
)
_PLAIN_ENDINGS = frozenset({".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".rst", ".log"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """`body` from `url`, where redirects had led to, fetched at `at` (seconds since 1970)."""

    url: str
    kind: Kind
    charset: str | None
    body: bytes
    at: float
    age: float
    may_keep: bool


def kind_of(url: str, headers: Mapping[str, str]) -> Kind:
    """What is to be read from a response with `headers`; raises `FileUnreadable` for what holds no text."""
    stated = headers.get("content-type")
    media_type = ("text/html" if stated is None else stated).partition(";")[0].strip().lower()
    if media_type in _HTML:
        return "html"

    if _PLAIN.fullmatch(media_type):
        return "text"

    ending = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    kind = _DOCUMENTS.get(media_type) or (_of_ending(ending) if media_type in _UNKNOWN else "")
    if kind:
        return kind

    raise FileUnreadable(
        f"`{url}` is `{media_type}`, which is not read",
        hint="fetch a page in HTML or plain text, a PDF, or a document in Word, Excel, PowerPoint or EPUB",
    )


def _of_ending(ending: str) -> Kind:
    if ending in _PLAIN_ENDINGS:
        return "text"

    if ending in {".html", ".htm"}:
        return "html"

    return ending if ending in _DOCUMENTS.values() else ""


def age_of(headers: Mapping[str, str]) -> float:
    """How old the server's own copy is, in seconds, by its `Age` header."""
    stated = headers.get("age", "").strip()
    return float(stated) if stated.isascii() and stated.isdigit() and len(stated) < 10 else 0.0


def may_keep(headers: Mapping[str, str]) -> bool:
    """Whether the server lets a copy be kept at all."""
    directives = {part.strip().lower() for part in headers.get("cache-control", "").split(",")}
    return "no-store" not in directives
