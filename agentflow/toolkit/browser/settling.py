"""One action of a session, and the wait until all that it set off is over."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import Context as Variables
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentflow.toolkit.browser.fence import Fence

if TYPE_CHECKING:
    from playwright.async_api import Request

# How long a page may put off what it does upon an action, by a timer of its own; a click gets longer.
PAUSE_SECONDS = 0.015
CLICK_PAUSE_SECONDS = 0.05


@dataclass(slots=True, eq=False)
class Action:
    """One action of a session: on whose behalf it is done, and what became of what the page sent meanwhile.

    `may_send` is False for actions that only look. `is_guarded` holds a request back also if it only reads, as the button
    that was pressed says that it does more.
    """

    what: str
    may_send: bool
    variables: Variables
    is_guarded: bool = False
    has_clicked: bool = False
    limit: asyncio.Timeout | None = None
    has_asked: bool = False
    errors: list[Exception] = field(default_factory=list[Exception])
    deciding: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    loading: set[Any] = field(default_factory=set[Any])
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def paused(self) -> Generator[None, None, None]:
        """The time in which a person is asked does not count against the action's limit."""
        limit, now = self.limit, asyncio.get_running_loop().time
        left = when - now() if limit is not None and (when := limit.when()) is not None else None
        if limit is not None and left is not None:
            limit.reschedule(None)

        try:
            yield
        finally:
            if limit is not None and left is not None and not limit.expired():
                limit.reschedule(now() + left)


async def settled(action: Action, fence: Fence, *, seconds: float, page_seconds: float) -> None:
    """Wait until all that the action set off is decided and answered, but not longer than so many seconds.

    A page that is on its way gets `page_seconds`. Raises what kept a request from being sent.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        action.moved.clear()
        if action.deciding:
            await asyncio.wait(action.deciding)
            began = loop.time()
            continue

        most = page_seconds if any(map(is_page, action.loading)) else seconds
        try:
            async with asyncio.timeout_at(began + most):
                if action.loading:
                    await action.moved.wait()
                elif await _passed(fence, action):
                    break
        except TimeoutError:
            break

    if action.errors:
        raise action.errors[0]


async def _passed(fence: Fence, action: Action) -> bool:
    """Whether the fence was passed before anything moved; it is given up when something does, as it may wait for that."""
    passing = asyncio.create_task(fence.passed(CLICK_PAUSE_SECONDS if action.has_clicked else PAUSE_SECONDS))
    moving = asyncio.create_task(action.moved.wait())
    try:
        await asyncio.wait((passing, moving), return_when=asyncio.FIRST_COMPLETED)
        if passing.done():
            passing.result()
    finally:
        passing.cancel()
        moving.cancel()
        await asyncio.gather(passing, moving, return_exceptions=True)

    return not action.moved.is_set()


def is_page(request: Request) -> bool:
    """Whether it is the request of a page itself, not of a frame or of what a page consists of."""
    from playwright.async_api import Error

    try:
        return request.is_navigation_request() and request.frame.parent_frame is None
    except Error:  # the frame is gone or not there yet
        return False
