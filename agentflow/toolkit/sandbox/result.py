"""What a program gave, and where its files are kept."""

from __future__ import annotations

import hashlib
import mimetypes
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from agentflow.context import current
from agentflow.toolkit.sandbox.engine import Ran

_PNG = b"\x89PNG\r\n\x1a\n"
_PLAIN_NAME = re.compile(r"[^\w.,+=@ -]|^\.+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]|\r(?!\n)")
_LONGEST, _LONGEST_SHOWN = 80, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """A file that a program left: `name` as the program called it (below its work folder), `path` where it is kept now.

    `size` is in bytes. The media type is only what the name says, except that what is no PNG is never called one.
    """

    name: str
    media_type: str
    size: int
    digest: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeResult:
    """What a program gave: the value of its last expression as JSON-able data, what it printed, files and figures.

    `programs` counts those that this session has run, this one included: 1 says that nothing was there before.
    """

    value: Any
    printed: str
    seconds: float
    files: tuple[OutputFile, ...] = ()
    images: tuple[OutputFile, ...] = ()
    engine: str = "monty"
    programs: int = 1


def result_of(ran: Ran, *, seconds: float, engine: str, programs: int) -> CodeResult:
    """The result of a program; its files are kept beside the run, or outside of one in a new folder."""
    keep = _Keeper()
    return CodeResult(
        value=tame(ran.value),
        printed=tame(ran.printed),
        seconds=round(seconds, 4),
        files=tuple(keep.file(name, data) for name, data in ran.files),
        images=tuple(keep.file(f"figure-{n}.png", data) for n, data in enumerate(ran.figures, 1)),
        engine=engine,
        programs=programs,
    )


def tame(value: Any) -> Any:
    """`value` with control characters of its texts written out: they steer terminals, or cannot be stored."""
    if isinstance(value, str):
        return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], value)

    if isinstance(value, list):
        return [tame(item) for item in value]

    return {tame(key): tame(item) for key, item in value.items()} if isinstance(value, dict) else value


class _Keeper:
    """Writes files under names of our own making: one that a program chose never leads anywhere."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def file(self, name: str, data: bytes) -> OutputFile:
        digest = hashlib.sha256(data).hexdigest()
        media_type = _media_type(name, data)
        return OutputFile(
            name=_shown_name(name),
            media_type=media_type,
            size=len(data),
            digest=f"sha256:{digest}",
            path=self._write(_kept_name(name, digest), data, media_type),
        )

    def _write(self, name: str, data: bytes, media_type: str) -> str:
        context = current()
        if context is not None:
            return context.artifact(name, data, media_type)

        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="agentflow-"))

        path = self._folder / name
        path.write_bytes(data)
        return str(path)


def _shown_name(name: str) -> str:
    return "".join(c if c.isprintable() else "_" for c in name[:_LONGEST_SHOWN])


def _kept_name(name: str, digest: str) -> str:
    """A plain name that says what the program called it, and by its digest cannot stand for another content."""
    plain = _PLAIN_NAME.sub("_", PurePosixPath(name.replace("\\", "/")).name)
    stem, dot, suffix = plain.rpartition(".")
    stem, suffix = (stem, suffix) if dot else (plain, "")
    return f"{stem[:_LONGEST] or 'file'}-{digest[:10]}{dot}{suffix[:12]}"


def _media_type(name: str, data: bytes) -> str:
    guessed = mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"
    if guessed == "image/png" and not data.startswith(_PNG):
        return "application/octet-stream"

    return guessed
