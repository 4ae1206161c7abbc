"""Files to documents: plain text is read here, all else by child processes that have a time limit."""

from __future__ import annotations

import asyncio
import codecs
import json
import stat
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from queue import LifoQueue
from typing import Any

from agentflow.exceptions import FileUnreadable, MissingExtra
from agentflow.toolkit.files import document, pages
from agentflow.toolkit.files.document import Document

_PLAIN = {".md": document.markdown, ".markdown": document.markdown, ".txt": document.plain}
_TABLES = {".csv": document.table, ".tsv": document.table}
_PARSED = (".html", ".htm", ".pdf", ".docx", ".pptx", ".xlsx", ".epub", ".eml")
_TEXTS = _PLAIN | _TABLES
_LARGEST = 50 * 2**20  # bytes; of a text, whose every passage has to be embedded, a tenth
_LONGEST_ANSWER = 200 * 2**20  # characters of JSON from a reader, ten times what it may find in a document
MEMORY = 2 * 2**30  # bytes of address space of a reader; the worst file that it takes needs .7 of that
_PROGRAM = Path(__file__).with_name("reader.py")
_OPEN_XML = "application/vnd.openxmlformats-officedocument"
_MEDIA_TYPES = {
    "application/pdf": ".pdf",
    f"{_OPEN_XML}.wordprocessingml.document": ".docx",
    f"{_OPEN_XML}.presentationml.presentation": ".pptx",
    f"{_OPEN_XML}.spreadsheetml.sheet": ".xlsx",
    "application/epub+zip": ".epub",
    "application/xhtml+xml": ".html",
    "message/rfc822": ".eml",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
    "text/tab-separated-values": ".tsv",
}

READABLE = frozenset({*_TEXTS, *_PARSED})


async def read_document(source: Path | bytes, kind: str = "", *, seconds: float = 60.0) -> Document:
    """The document in a file or in bytes, read as files of a folder are: by a child process with limits.

    `kind` is an ending (`.pdf`, `pdf`) or a media type; of a file, its name's ending if not given. Raises
    `FileUnreadable` that says what is wrong, and `MissingExtra`. Cancelling ends the child.
    """
    if find_spec("kreuzberg") is None:
        raise MissingExtra("tools", "kreuzberg")

    child = _Child(seconds)
    try:
        return await asyncio.to_thread(_read_one, source, kind, child)
    except asyncio.CancelledError:
        child.kill()
        raise


def kind_of(kind: str) -> str:
    """An ending such as `.pdf` from an ending, with or without its dot, or a media type; raises `FileUnreadable`."""
    name = kind.partition(";")[0].strip().lower()
    ending = _MEDIA_TYPES.get(name) or f".{name.removeprefix('.')}"
    if ending in READABLE:
        return ending

    hint = f"kinds that are read: {', '.join(sorted(READABLE))}"
    raise FileUnreadable(f"`{kind}` files are not read" if kind else "its kind is not known", hint=hint)


def too_large(size: int, kind: str) -> str:
    """Why a file of `size` bytes is not read, if it is not."""
    largest = _LARGEST // 10 if kind in _TEXTS else _LARGEST
    return f"it has {size / 2**20:.0f} MB; at most {largest // 2**20} MB are read" if size > largest else ""


class Readers:
    """Reads files with up to `count` child processes, each started when first needed.

    Reading one file takes at most `seconds`, and a child at most `memory` bytes of address space.
    """

    def __init__(self, *, seconds: float, count: int = 2, memory: int = MEMORY) -> None:
        self._seconds, self._count, self._memory = seconds, count, memory
        self._idle: LifoQueue[_Child] = LifoQueue()

    def read_all(self, files: Sequence[Path]) -> Generator[Document | FileUnreadable]:
        """Each file's document or what is wrong with it, in order; a few files are read ahead."""
        children = [_Child(self._seconds, self._memory) for _ in range(self._count)]
        for child in children:
            self._idle.put(child)

        pool = ThreadPoolExecutor(self._count, thread_name_prefix="agentflow-read")
        waiting: deque[Future[Document | FileUnreadable]] = deque()
        try:
            for file in files:
                waiting.append(pool.submit(self._read, file))
                if len(waiting) > 2 * self._count:
                    yield waiting.popleft().result()

            while waiting:
                yield waiting.popleft().result()
        finally:
            for child in children:
                child.kill()

            pool.shutdown(cancel_futures=True)
            for child in children:
                child.close()

    def _read(self, file: Path) -> Document | FileUnreadable:
        child = self._idle.get()
        try:
            return _read(file, child)
        except FileUnreadable as error:
            return error
        except OSError as error:
            return FileUnreadable(error.strerror or str(error), hint="check that it may be read")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one file, the others can be read
            return FileUnreadable(f"it could not be read: {type(error).__name__}: {error}")
        finally:
            self._idle.put(child)


class _Child:
    """One child process, replaced when a file has ended it."""

    def __init__(self, seconds: float, memory: int = MEMORY) -> None:
        self._seconds, self._memory = seconds, memory
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def ask(self, file: Path, kind: str) -> dict[str, Any]:
        """What the child found in `file`, read as a file whose name ends in `kind`."""
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise FileUnreadable("its reader could not be started")

        asked = time.monotonic()
        try:
            process.stdin.write(json.dumps([str(file), kind]) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline(_LONGEST_ANSWER)
        except OSError:
            answer = ""

        if answer.endswith("\n"):
            result: dict[str, Any] = json.loads(answer)
            return result

        self._end(process)
        # The watchdog that ends a slow reader looks into it while it runs, which can itself bring it down.
        late = process.returncode == 1 or time.monotonic() - asked >= self._seconds
        raise FileUnreadable(
            f"reading took longer than {self._seconds:g} s"
            if late
            else "its reader crashed: it may need more memory than that may have"
        )

    def kill(self) -> None:
        """End what runs; to be followed by `close` when nobody asks any more."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        if self._process is not None:
            self._end(self._process)

    def _running(self) -> subprocess.Popen[str]:
        if self._stopped:
            raise FileUnreadable("indexing was stopped")

        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 - our own program; the file's name goes by its input
                [sys.executable, "-P", str(_PROGRAM), str(self._seconds), str(self._memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
            )

        return self._process

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Close what is left of `process`."""
        self._process = None
        with process:
            process.kill()


def _read_one(source: Path | bytes, kind: str, child: _Child) -> Document:
    try:
        if isinstance(source, Path):
            return _read(source, child, kind_of(kind or source.suffix))

        with tempfile.TemporaryDirectory(prefix="agentflow-") as place:
            file = Path(place, f"document{kind_of(kind)}")
            file.write_bytes(source)
            return _read(file, child)
    except OSError as error:
        raise FileUnreadable(error.strerror or str(error), hint="check that it may be read") from error
    finally:
        child.close()


def _read(file: Path, child: _Child, kind: str = "") -> Document:
    kind = kind or file.suffix.lower()
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise FileUnreadable("it is not a regular file")

    if why := too_large(status.st_size, kind):
        raise FileUnreadable(why)

    make = _TEXTS.get(kind)
    read = make(_decoded(file.read_bytes())) if make else _parsed(child.ask(file, kind))
    if not read.text.strip():
        raise FileUnreadable("it holds no text" + (" (a scan?)" if kind == ".pdf" else ""))

    return read


def _parsed(answer: Mapping[str, Any]) -> Document:
    if "error" in answer:
        raise FileUnreadable(answer["error"])

    title: str = answer["title"]
    if "markdown" in answer:
        return document.markdown(answer["markdown"], title=title)

    if "unit" in answer:
        return document.slides(answer["pages"], unit=answer["unit"], title=title)

    return pages.assemble(answer["pages"], answer["headings"], title=title)


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")

    if b"\0" in data:
        raise FileUnreadable("it is not a text")

    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # what Windows programs still write
