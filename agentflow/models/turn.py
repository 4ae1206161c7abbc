"""The calls that a model asked for in one answer: done at the same time, told one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import takewhile


class Turn:
    """The calls of one answer, by id. `told` is how much evidence the model had been shown before it.

    Evidence gets its numbers when it is told. Told in the order in which it came, it would be numbered otherwise by a
    resumed run, where recorded results come at once; so results are told in the order in which they were asked for.
    """

    def __init__(self, call_ids: Sequence[str] = (), told: int = 0) -> None:
        self.told = told
        self._order = tuple(call_ids)
        self._over: dict[str, asyncio.Event] = {}

    @contextmanager
    def begun(self, call_id: str) -> Generator[None, None, None]:
        """A call, from its beginning to when it was told or failed."""
        over = self._over[call_id] = asyncio.Event()
        try:
            yield
        finally:
            over.set()

    async def reached(self, call_id: str) -> None:
        """Wait until the calls before this one are over; one that nobody began is not waited for."""
        if call_id not in self._order:
            return

        for earlier in takewhile(lambda other: other != call_id, self._order):
            if earlier in self._over:
                await self._over[earlier].wait()
