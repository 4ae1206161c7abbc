"""A picture that a model made: kept as a file, and known by its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from agentflow.context import current

_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A file with a picture; `size` is in bytes, `digest` begins with `sha256:`.

    `revised_prompt` is what the model made of the prompt, where it says so.
    """

    path: str
    media_type: str
    size: int
    digest: str
    revised_prompt: str = ""


def kept(data: bytes, media_type: str, folder: Path, revised_prompt: str = "") -> Picture:
    """The picture in `data` as a file: of the run that goes on here, else in `folder`, which is made if need be."""
    digest = hashlib.sha256(data).hexdigest()
    # Named after its content: several pictures of one step do not overwrite one another.
    name = f"picture-{digest[:12]}.{_SUFFIXES[media_type]}"
    context = current()
    if context is not None:
        path = context.artifact(name, data, media_type)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        path = str(folder / name)

    return Picture(
        path=path,
        media_type=media_type,
        size=len(data),
        digest=f"sha256:{digest}",
        revised_prompt=revised_prompt,
    )


def image_type(data: bytes) -> str:
    """The media type of an image, by how it begins; empty for what is none that models make or take."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"

    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"

    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"

    return "image/gif" if data[:6] in (b"GIF87a", b"GIF89a") else ""
