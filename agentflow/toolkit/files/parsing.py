"""Files to documents: plain text is read here, all else by child processes that have a time limit."""

from __future__ import annotations

import codecs
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import LifoQueue
from typing import Any

from agentflow.exceptions import FileUnreadable
from agentflow.toolkit.files import document, pages
from agentflow.toolkit.files.document import Document

_PLAIN = {".md": document.markdown, ".markdown": document.markdown, ".txt": document.plain}
_TABLES = {".csv": document.table, ".tsv": document.table}
_PARSED = (".html", ".htm", ".pdf", ".docx", ".pptx", ".xlsx", ".epub", ".eml")
_TEXTS = _PLAIN | _TABLES
_LARGEST = 50 * 2**20  # bytes; of a text, whose every passage has to be embedded, a tenth
_PROGRAM = Path(__file__).with_name("reader.py")

READABLE = frozenset({*_TEXTS, *_PARSED})


class Readers:
    """Reads files with up to `count` child processes, each started when first needed."""

    def __init__(self, *, seconds: float, count: int = 2) -> None:
        self._seconds, self._count = seconds, count
        self._idle: LifoQueue[_Child] = LifoQueue()

    def read_all(self, files: Sequence[Path]) -> Generator[Document | FileUnreadable]:
        """Each file's document or what is wrong with it, in order; a few files are read ahead."""
        children = [_Child(self._seconds) for _ in range(self._count)]
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

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def ask(self, file: Path) -> dict[str, Any]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise FileUnreadable("its reader could not be started")

        asked = time.monotonic()
        try:
            process.stdin.write(json.dumps(str(file)) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""

        if answer:
            result: dict[str, Any] = json.loads(answer)
            return result

        self._end(process)
        # The watchdog that ends a slow reader looks into it while it runs, which can itself bring it down.
        late = process.returncode == 1 or time.monotonic() - asked >= self._seconds
        raise FileUnreadable(
            f"reading took longer than {self._seconds:g} s" if late else "its reader crashed"
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
                [sys.executable, "-P", str(_PROGRAM), str(self._seconds)],
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


def _read(file: Path, child: _Child) -> Document:
    kind = file.suffix.lower()
    size = file.stat().st_size
    largest = _LARGEST // 10 if kind in _TEXTS else _LARGEST
    if size > largest:
        raise FileUnreadable(f"it has {size / 2**20:.0f} MB; at most {largest // 2**20} MB are read")

    make = _TEXTS.get(kind)
    read = make(_decoded(file.read_bytes())) if make else _parsed(child.ask(file))
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
