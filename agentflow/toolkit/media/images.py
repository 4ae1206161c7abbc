"""Pictures made and changed by a service that speaks the OpenAI API."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentflow.exceptions import FileUnreadable, ToolError
from agentflow.toolkit import guard
from agentflow.toolkit.media.calling import Answer, Upload, asked, downloaded, uploaded
from agentflow.toolkit.media.endpoint import Endpoint, named
from agentflow.toolkit.media.folder import Folder
from agentflow.toolkit.media.picture import Picture, image_type, kept

VARIABLE = "AGENTFLOW_IMAGES"
# What OpenAI takes, https://platform.openai.com/docs/api-reference/images/createEdit
LARGEST = 50_000_000
MOST_TAKEN = 16
MOST_MADE = 10
_EDITABLE = ("image/png", "image/jpeg", "image/webp")
# These always answer with the picture itself, and refuse to be asked for that.
_INLINE = ("gpt-image", "chatgpt-image")


class Images:
    """Pictures by `endpoint`, else by the server that AGENTFLOW_IMAGES, OPENAI_BASE_URL or OPENAI_API_KEY names.

    What is to be changed comes from the folder `files` only. A picture is kept beside the run, outside of one in `out`;
    none is larger than `max_bytes`. Where the service answers with an address, it is opened on that very server, or
    through `reach`, which lets public addresses only be reached.
    """

    def __init__(
        self,
        files: Folder | Path | str | None = None,
        *,
        endpoint: Endpoint | None = None,
        out: Path | str = "traces/artifacts",
        max_bytes: int = LARGEST,
        reach: guard.Guard | None = None,
    ) -> None:
        self._files = files if isinstance(files, Folder | None) else Folder(files)
        self._endpoint, self._out, self._max_bytes = endpoint, Path(out), max_bytes
        self._reach = reach or guard.Guard()

    async def generate(self, prompt: str, size: str = "", count: int = 1) -> list[Picture]:
        """Make pictures from a description. `size` is width x height in pixels, such as `1024x1024`."""
        endpoint, wanted = self._service(), _wanted(prompt, count)
        body: dict[str, Any] = {"prompt": prompt, "n": wanted} | _sized(size) | _inline(endpoint)
        answer = await asked(endpoint, "/images/generations", body=body, max_bytes=self._room(wanted))
        return await self._pictures(endpoint, answer, wanted)

    async def edit(
        self, prompt: str, paths: list[str], mask: str = "", size: str = "", count: int = 1
    ) -> list[Picture]:
        """Make pictures from others, in the files `paths`, and a description of what is to be different.

        Where `mask`, a file too, is transparent, the first picture is changed, and nowhere else.
        """
        endpoint, wanted = self._service(), _wanted(prompt, count)
        form = {"prompt": prompt, "n": str(wanted)} | _sized(size) | _inline(endpoint)
        uploads = await asyncio.to_thread(self._uploads, paths, mask)
        answer = await uploaded(endpoint, "/images/edits", uploads, form=form, max_bytes=self._room(wanted))
        return await self._pictures(endpoint, answer, wanted)

    def _service(self) -> Endpoint:
        return self._endpoint or named(VARIABLE, model="gpt-image-1", what="images")

    def _room(self, wanted: int) -> int:
        # Base64 takes four bytes for three; the rest is for words.
        return wanted * self._max_bytes * 4 // 3 + 1_000_000

    def _uploads(self, paths: Sequence[str], mask: str) -> list[Upload]:
        if not 1 <= len(paths) <= MOST_TAKEN:
            raise ToolError(f"{len(paths)} pictures were named", hint=f"name 1 to {MOST_TAKEN} in `paths`")

        # One goes under the name that all servers know.
        part = "image" if len(paths) == 1 else "image[]"
        uploads = [self._upload(path, part) for path in paths]
        return [*uploads, self._upload(mask, "mask")] if mask else uploads

    def _upload(self, path: str, part: str) -> Upload:
        if self._files is None:
            raise ToolError("no folder is set up for pictures", hint="give it as `Images(FOLDER)`")

        data = self._files.read(path, max_bytes=self._max_bytes)
        media_type = image_type(data)
        if media_type not in _EDITABLE:
            raise FileUnreadable(
                f"`{path}` is no picture that can be changed", hint="give a PNG, JPEG or WebP"
            )

        return Upload(part=part, name=f"picture.{media_type[6:]}", data=data, media_type=media_type)

    async def _pictures(self, endpoint: Endpoint, answer: Answer, wanted: int) -> list[Picture]:
        given = answer.data().get("data")
        if not isinstance(given, list) or not 1 <= len(given) <= wanted:
            raise answer.odd(f"`data` does not hold 1 to {wanted} pictures")

        found = [await self._picture(endpoint, answer, one) for one in given]
        # Kept only when all are there: a call that fails leaves nothing behind.
        return [kept(data, media_type, self._out, said) for data, media_type, said in found]

    async def _picture(self, endpoint: Endpoint, answer: Answer, one: Any) -> tuple[bytes, str, str]:
        given: dict[str, Any] = one if isinstance(one, dict) else {}
        encoded, url = given.get("b64_json"), given.get("url")
        if isinstance(encoded, str) and encoded:
            data = _decoded(encoded, answer)
        elif isinstance(url, str) and url.startswith("data:"):
            data = _decoded(url.partition(",")[2], answer)
        elif isinstance(url, str) and url:
            data = await downloaded(endpoint, url, self._reach, max_bytes=self._max_bytes)
        else:
            raise answer.odd("a picture without `b64_json` and `url`")

        if len(data) > self._max_bytes:
            raise ToolError(f"a picture of {answer.where} is larger than {self._max_bytes:,} bytes")

        media_type = image_type(data)
        if not media_type:
            raise answer.odd("what it gives as a picture is no PNG, JPEG, WebP or GIF")

        return data, media_type, str(given.get("revised_prompt") or "")


def _wanted(prompt: str, count: int) -> int:
    if not prompt.strip():
        raise ToolError("the prompt is empty", hint="describe the picture")

    if not 1 <= count <= MOST_MADE:
        raise ToolError(f"{count} pictures were asked for", hint=f"ask for 1 to {MOST_MADE}")

    return count


def _sized(size: str) -> dict[str, str]:
    return {"size": size} if size else {}


def _inline(endpoint: Endpoint) -> dict[str, str]:
    return {} if endpoint.model.startswith(_INLINE) else {"response_format": "b64_json"}


def _decoded(text: str, answer: Answer) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise answer.odd("a picture that is no Base64") from None
