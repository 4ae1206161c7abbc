"""Speech to text over a service that speaks the OpenAI API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Protocol

from agentflow.exceptions import FileUnreadable
from agentflow.toolkit.media.calling import Answer, Upload, uploaded
from agentflow.toolkit.media.endpoint import Endpoint, named
from agentflow.toolkit.media.folder import Folder
from agentflow.toolkit.media.transcript import Transcript, transcript

VARIABLE = "AGENTFLOW_SPEECH"
# What OpenAI takes, https://platform.openai.com/docs/guides/speech-to-text
LARGEST = 25_000_000
FORMATS: Mapping[str, str] = {
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpga": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".wav": "audio/wav",
    ".webm": "video/webm",
}
# Only these tell no times; a server that does not know `verbose_json` would refuse the whole call.
_WITHOUT_TIMES = ("gpt-",)


class SpeechEngine(Protocol):
    """Turns a file of speech into text, here or elsewhere."""

    @property
    def is_outside(self) -> bool:
        """Whether what is said leaves this machine."""
        ...

    async def transcribe(self, path: str, language: str = "", prompt: str = "") -> Transcript: ...

    async def translate(self, path: str, prompt: str = "") -> Transcript: ...


class Speech:
    """Speech to text by `endpoint`, else by the server that AGENTFLOW_SPEECH, OPENAI_BASE_URL or OPENAI_API_KEY names.

    Files come from the folder `files` only, at most `max_bytes` each. `times` asks for segments with their times; by
    default all models are asked but OpenAI's `gpt-...`, which have none.
    """

    is_outside = True

    def __init__(
        self,
        files: Folder | Path | str,
        *,
        endpoint: Endpoint | None = None,
        times: bool | None = None,
        max_bytes: int = LARGEST,
    ) -> None:
        self._files = files if isinstance(files, Folder) else Folder(files)
        self._endpoint, self._times, self._max_bytes = endpoint, times, max_bytes

    async def transcribe(self, path: str, language: str = "", prompt: str = "") -> Transcript:
        """Write down what is said in an audio or video file, in the language that is spoken.

        `language` is its ISO 639-1 code, such as `de`, if it is known; `prompt` may hold names and words that occur.
        """
        given = {"language": language, "prompt": prompt}
        return await self._heard("/audio/transcriptions", path, given)

    async def translate(self, path: str, prompt: str = "") -> Transcript:
        """Write down in English what is said in an audio or video file in another language."""
        return await self._heard("/audio/translations", path, {"prompt": prompt})

    async def _heard(self, route: str, path: str, given: Mapping[str, str]) -> Transcript:
        endpoint = self._endpoint or named(VARIABLE, model="whisper-1", what="speech to text")
        upload = await asyncio.to_thread(self._upload, path)
        times = not endpoint.model.startswith(_WITHOUT_TIMES) if self._times is None else self._times
        form = {name: value for name, value in given.items() if value}
        form["response_format"] = "verbose_json" if times else "json"
        return _read(await uploaded(endpoint, route, [upload], form=form))

    def _upload(self, path: str) -> Upload:
        media_type = media_type_of(path)
        data = self._files.read(path, max_bytes=self._max_bytes)
        return Upload(part="file", name=_plain(path), data=data, media_type=media_type)


def media_type_of(path: str) -> str:
    """The media type of an audio or video file, by its name; raises `FileUnreadable` for other names."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in FORMATS:
        raise FileUnreadable(
            f"`{path}` is not known as audio by its name",
            hint=f"speech is read from {', '.join(s[1:] for s in FORMATS)}",
        )

    return FORMATS[suffix]


def _plain(path: str) -> str:
    """A name that tells the server the format of the file, and nothing of this machine."""
    return f"speech{PurePath(path).suffix.lower()}"


def _read(answer: Answer) -> Transcript:
    # Some servers answer in plain text whatever they are asked for.
    if answer.media_type == "text/plain" and not answer.body.lstrip().startswith(b"{"):
        return Transcript(text=answer.text().strip())

    return transcript(answer.data(), answer.odd)
