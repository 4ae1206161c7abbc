"""Files on their way in and out: taken from one folder only, put into one folder only, each known by its digest."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentflow.exceptions import ToolError
from agentflow.toolkit.browser.outgoing import Upload

if TYPE_CHECKING:
    from playwright.async_api import Download

LARGEST_UPLOAD = 50 * 1024 * 1024
LARGEST_DOWNLOAD = 200 * 1024 * 1024
LONGEST_NAME = 120
_ODD = re.compile(r"[^\w. -]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A file that was downloaded: where it is, where it came from, its size in bytes and its SHA-256."""

    path: Path
    url: str
    size: int
    digest: str


def upload_of(folder: Path | None, name: str) -> tuple[Path, Upload]:
    """The file `name` below `folder`, with what a person is shown of it.

    Raises `ToolError` for one that is not there, lies elsewhere (also by a link) or is larger than `LARGEST_UPLOAD`.
    """
    if folder is None:
        raise ToolError("this session has no folder to upload from", hint="give the session `uploads=...`")

    root = folder.resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        known = ", ".join(f"`{p.name}`" for p in sorted(root.glob("*"))[:20] if p.is_file())
        raise ToolError(f"there is no file `{name}` to upload", hint=f"there are {known or 'none'}")

    size = path.stat().st_size
    if size > LARGEST_UPLOAD:
        raise ToolError(f"`{name}` has {size} bytes, and at most {LARGEST_UPLOAD} may be uploaded")

    return path, Upload(name=path.name, size=size, digest=_digest(path))


async def keep(download: Download, folder: Path) -> Kept:
    """Move a download into `folder` under a name that is free there; raises `ToolError` if it failed or is too large."""
    came = await download.path()
    size = came.stat().st_size
    if size > LARGEST_DOWNLOAD:
        await download.delete()
        raise ToolError(
            f"`{download.url}` has {size} bytes, and at most {LARGEST_DOWNLOAD} may be downloaded"
        )

    path = await asyncio.to_thread(_free, folder, _harmless(download.suggested_filename))
    await download.save_as(path)
    digest = await asyncio.to_thread(_digest, path)
    return Kept(path=path, url=download.url, size=size, digest=digest)


def _harmless(name: str) -> str:
    """A site's name for a file, without folders, control characters, and dots that would hide it."""
    plain = _ODD.sub("_", name.replace("\\", "/").rpartition("/")[2]).strip(". ")
    return plain[-LONGEST_NAME:] or "download"


def _free(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path, number = folder / name, 1
    while path.exists() or path.is_symlink():
        number += 1
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"

    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
