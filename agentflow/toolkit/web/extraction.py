"""The content of HTML pages, found by child processes with limits on time and memory, which stay for the next page."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, LifoQueue
from threading import Lock
from typing import Any

from agentflow.exceptions import FileUnreadable, MissingExtra

_PROGRAM = Path(__file__).with_name("extractor.py")
_LONGEST_ANSWER = 64 * 2**20  # bytes of JSON
# All that the child needs of the environment: what else stands there, keys for one, is none of a hostile page's business.
_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "SYSTEMROOT",
    "TMPDIR",
    "VIRTUAL_ENV",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a page says: `text` as Markdown, and `refresh`, the address that it sends its reader on to by itself."""

    title: str
    text: str
    refresh: str


class Extractors:
    """Up to `count` child processes, each started when first needed; a page may take `seconds`."""

    def __init__(self, *, seconds: float = 10.0, count: int = 2) -> None:
        self._seconds = seconds
        self._idle: LifoQueue[_Child] = LifoQueue()
        self._children = [_Child(seconds) for _ in range(count)]
        for child in self._children:
            self._idle.put(child)

        atexit.register(self.close)

    async def content(self, url: str, page: str) -> Content:
        """The content of `page`, whose links are meant from `url`.

        Raises `FileUnreadable` if it cannot be parsed within the limits. Cancelling ends the child that is at work.
        """
        job = _Job()
        try:
            answer = await asyncio.to_thread(self._work, job, url, page.encode("utf-8", "replace"))
        except asyncio.CancelledError:
            job.stop()
            raise

        if "missing" in answer:
            raise MissingExtra("tools", answer["missing"])

        if "error" in answer:
            raise FileUnreadable(f"`{url}` cannot be read: {answer['error']}")

        return Content(**answer)

    async def warm(self) -> None:
        """Start a child, if none runs yet: its imports take longer than most pages, and than fetching one."""
        await asyncio.to_thread(self._children[-1].start)

    def close(self) -> None:
        """End all children; they are started anew when they are needed again."""
        for child in self._children:
            child.end()

    def _work(self, job: _Job, url: str, page: bytes) -> dict[str, Any]:
        try:
            child = self._idle.get(timeout=self._seconds)
        except Empty:
            raise FileUnreadable(
                f"`{url}` cannot be read: too many pages at once", hint="fetch it again"
            ) from None

        try:
            job.begin(child)
            return child.ask(url, page)
        finally:
            job.end()
            self._idle.put(child)


class _Job:
    """The work on one page, which can be stopped from another thread while it is under way, and only then."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._child: _Child | None = None
        self._stopped = False

    def begin(self, child: _Child) -> None:
        with self._lock:
            self._child = child
            if self._stopped:
                raise FileUnreadable("the fetch was stopped")

    def end(self) -> None:
        with self._lock:
            self._child = None

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.kill()


class _Child:
    """One child process, replaced when a page has ended it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, url: str, page: bytes) -> dict[str, Any]:
        """The child's answer; asked again if it was just about to leave, having had nothing to do."""
        asked = time.monotonic()
        for _ in range(2):
            process = self.start()
            line = _exchange(process, json.dumps({"url": url, "size": len(page)}).encode() + b"\n" + page)
            if line.endswith(b"\n"):
                answer: dict[str, Any] = json.loads(line)
                return answer

            self.end()
            if process.returncode != 0:
                break

        late = time.monotonic() - asked >= self._seconds
        raise FileUnreadable(
            f"`{url}` cannot be read: "
            + (f"its HTML took longer than {self._seconds:g} s" if late else "its HTML crashed the parser"),
            hint="use another source",
        )

    def start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(  # noqa: S603 - our own program; the page goes by its input
                    [sys.executable, "-P", str(_PROGRAM), str(self._seconds)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                )

            return self._process

    def kill(self) -> None:
        """End what runs, while another thread waits for its answer."""
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """End what runs, and close what is left of it."""
        with self._lock:
            process, self._process = self._process, None

        if process is None:
            return

        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                _close(pipe)

        try:
            # One that is leaving by itself says so by its code.
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _exchange(process: subprocess.Popen[bytes], question: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        return b""

    try:
        process.stdin.write(question)
        process.stdin.flush()
        return process.stdout.readline(_LONGEST_ANSWER)
    except (OSError, ValueError):
        return b""


def _close(pipe: Any) -> None:
    try:
        pipe.close()
    except OSError:
        # What was still to be written to a child that is gone.
        return
