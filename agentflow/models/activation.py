"""An agent at work: one operation that stays open while the SDK's loop runs in tasks of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextvars import Context, copy_context
from typing import Any, TypeVar

from agentflow.context import Operation, operation

T = TypeVar("T")


class Activation:
    """Holds an agent's operation open in a task, so that begin and finish share one context.

    The SDK calls models and tools from tasks whose context it chose; `within` runs them in this one instead, so
    that what they record nests under the agent.
    """

    def __init__(self, name: str, outer: Context) -> None:
        self.name = name
        self._outer = outer
        self._ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self._begun: asyncio.Future[tuple[Operation, Context]] = asyncio.get_running_loop().create_future()

    async def begin(self, request: Any, attributes: Mapping[str, Any]) -> None:
        """Open the operation; what it raises is raised here."""
        self._holder = asyncio.create_task(self._hold(request, attributes), context=self._outer.copy())
        waited: list[asyncio.Future[Any]] = [self._holder, self._begun]
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._holder.cancel()
            raise

        if not self._begun.done():
            self._begun.cancel()
            await self._holder

        self.record, self._context = self._begun.result()

    async def _hold(self, request: Any, attributes: Mapping[str, Any]) -> None:
        async with operation("agent", self.name, request=request, **attributes) as record:
            self._begun.set_result((record, copy_context()))
            error = await self._ended
            if error is not None:
                raise error

    async def within(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` under this agent; each piece gets a copy, so that parallel ones stay apart."""
        return await asyncio.create_task(work, context=self._context.copy())

    async def finish(self, error: BaseException | None) -> None:
        """Close the operation, as failed when there is an `error`; a second call does nothing."""
        if self._ended.done():
            return

        self._ended.set_result(error)
        try:
            await self._holder
        except BaseException as raised:
            if raised is not error:
                raise
