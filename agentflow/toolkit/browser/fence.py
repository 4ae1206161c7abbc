"""A way through all of a session's browser and back: what was set off before has shown itself by then, however slow it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, CDPSession, Frame, Worker

# A page that is drawn does what it put off until then. One that is not drawn, as it is hidden, answers without.
_DRAWN = """() => new Promise(done => {
  requestAnimationFrame(() => setTimeout(done));
  setTimeout(done, 100);
})"""
_TASK = "0"
_NOWHERE = "http://nowhere.invalid/"


class Fence:
    """The pages, frames and workers of one context, and the browser behind them, each of which has to answer.

    What a frame sends is told of before its answer to what it was asked later, and the browser holds back a request only
    once its process for the network has said which cookies go with it. So frames and workers are asked first, and the
    browser for its cookies after that. A window or a worker that the browser has but has not told of yet is waited for.
    """

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._session: CDPSession | None = None
        self._id = ""

    async def passed(self, pause: float) -> None:
        """Return once all have answered, `pause` seconds from now at the earliest.

        Nothing bounds it but whoever calls it: a page may be busy for ever.
        """
        await asyncio.gather(
            asyncio.sleep(pause), *(_answer(page.main_frame, _DRAWN) for page in self._context.pages)
        )
        asked: list[Frame | Worker] = []
        while (those := self._those()) != asked or await self._opening():
            asked = those
            await asyncio.gather(*(_answer(one, _TASK) for one in asked))
            await self._browser_answers()

    async def close(self) -> None:
        """Let go of what it asked the browser through."""
        session, self._session = self._session, None
        if session:
            await _quietly(session.detach())

    def _those(self) -> list[Frame | Worker]:
        pages = self._context.pages
        frames: list[Frame | Worker] = [frame for page in pages for frame in page.frames]
        return frames + [worker for page in pages for worker in page.workers]

    async def _browser_answers(self) -> None:
        # Twice, as the first answer may overtake a page that is only just asked for and is handed on within the browser. Of
        # no site, as it is the answer that counts.
        for _ in range(2):
            await _quietly(self._context.cookies(_NOWHERE))

    async def _opening(self) -> bool:
        """Whether the browser has a window or a worker that it has not told of yet."""
        from playwright.async_api import Error

        pages = self._context.pages
        if not pages:
            return False

        with suppress(Error):  # the page that is asked through may close
            counted = await self._counted()
            return counted["page"] > len(pages) or counted["worker"] > sum(len(p.workers) for p in pages)

        return False

    async def _counted(self) -> Counter[str]:
        """How many targets of each type the browser has in this context."""
        session = self._session or await self._connected()
        targets: list[dict[str, Any]] = (await session.send("Target.getTargets"))["targetInfos"]
        # A page with a subtype is made ahead of its time, and is not shown.
        return Counter(
            t["type"] for t in targets if t.get("browserContextId") == self._id and not t.get("subtype")
        )

    async def _connected(self) -> CDPSession:
        browser = self._context.browser
        assert browser is not None
        page = await self._context.new_cdp_session(self._context.pages[0])
        self._id = (await page.send("Target.getTargetInfo"))["targetInfo"]["browserContextId"]
        await page.detach()
        self._session = await browser.new_browser_cdp_session()
        return self._session


async def _answer(one: Frame | Worker, script: str) -> None:
    await _quietly(one.evaluate(script))


async def _quietly(deed: Awaitable[Any]) -> None:
    from playwright.async_api import Error

    with suppress(Error):  # it is gone, or on its way to another page: there is nothing to wait for
        await deed
