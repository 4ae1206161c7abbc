"""Lets a thread that indexes report to the event loop, and the event loop stop the thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import wait


class Stopped(Exception):
    """Raised in the thread to stop it, when nobody waits for its work any more."""


class Relay:
    """Calls `progress(done, total, what)` on `loop`, where it may do what a step may; what it raises goes up here."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, progress: Callable[[int, int, str], None] | None
    ) -> None:
        self._loop, self._progress = loop, progress
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def check(self) -> None:
        """Raise `Stopped` if there is no need to go on."""
        if self._stopped.is_set():
            raise Stopped

    def tell(self, done: int, total: int, what: str) -> None:
        self.check()
        if self._progress is None:
            return

        call = asyncio.run_coroutine_threadsafe(self._call(done, total, what), self._loop)
        # The loop may be gone by now, and with it whoever would answer.
        while not wait([call], timeout=0.2).done:
            self.check()

        call.result()

    async def _call(self, done: int, total: int, what: str) -> None:
        if self._progress is not None:
            self._progress(done, total, what)
