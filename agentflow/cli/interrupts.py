"""Signals that ask to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interrupting(interrupt: Callable[[str], None]) -> Generator[None, None, None]:
    """Call `interrupt` with the name of the first signal, which leaves runs resumable; a second one does not wait for that."""
    loop = asyncio.get_running_loop()

    def leave() -> None:
        for number in _NUMBERS:
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)

    def stop(name: str) -> None:
        leave()
        interrupt(name)

    for number in _NUMBERS:
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stop, number.name)

    try:
        yield
    finally:
        leave()
