"""A Chromium process behind its gate, started when it is first needed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agentflow.context import current
from agentflow.exceptions import BrowserMissing, MissingExtra
from agentflow.toolkit.browser.chromium import FLAGS, LEAVING, find_chromium, may_sandbox
from agentflow.toolkit.browser.gate import Gate
from agentflow.toolkit.browser.reach import Reach

if TYPE_CHECKING:
    from playwright.async_api import Browser as Process
    from playwright.async_api import BrowserContext, Playwright

VIEWPORT = (1024, 768)


class Browser:
    """One Chromium for one `Reach`; each session on it has its own cookies and pages."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.gate = Gate(reach)
        self._start: asyncio.Task[Process] | None = None
        self._stack = AsyncExitStack()
        self._turn = asyncio.Lock()
        self._proxy = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def context(self, *, downloads: bool = False) -> BrowserContext:
        """A fresh context: no cookies, no permissions, no downloads unless asked for, all traffic through the gate."""
        process = await self._running()
        context = await process.new_context(
            # Chromium would go past the proxy for names of this machine without `<-loopback>`.
            proxy={"server": self._proxy, "bypass": "<-loopback>"},
            viewport={"width": VIEWPORT[0], "height": VIEWPORT[1]},
            accept_downloads=downloads,
            service_workers="block",
            permissions=[],
        )
        await context.add_init_script(LEAVING)
        return context

    async def close(self) -> None:
        """End the process, the driver and the gate; a later use starts them again."""
        async with self._turn:
            await self._end()

    async def _running(self) -> Process:
        async with self._turn:
            if self._start is None or not _lives(self._start):
                await self._end()
                self._start = asyncio.create_task(self._begin())

            # Shielded: a call that is given up while the browser starts would leave half of it behind.
            return await asyncio.shield(self._start)

    async def _end(self) -> None:
        start, self._start = self._start, None
        if start:
            await asyncio.wait([start])
            _lives(start)  # looks at its error, which asyncio would else report as never retrieved

        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def _begin(self) -> Process:
        # Closed in the reverse order, also when a later one of the three fails to start.
        async with AsyncExitStack() as stack:
            self._proxy = await self.gate.start()
            stack.push_async_callback(self.gate.stop)
            driver = await _driver()
            stack.push_async_callback(driver.stop)
            process = await _launch(driver)
            stack.push_async_callback(_quit, process)
            self._stack = stack.pop_all()

        return process


def require_playwright() -> None:
    """Raise `MissingExtra` unless Playwright can be imported."""
    if find_spec("playwright") is None:
        raise MissingExtra("tools", "playwright")


async def _driver() -> Playwright:
    require_playwright()
    # Imported here: a quarter of a second that only a browser needs.
    from playwright.async_api import async_playwright

    return await async_playwright().start()


async def _launch(driver: Playwright) -> Process:
    from playwright.async_api import Error

    path = find_chromium(driver.chromium.executable_path)
    try:
        return await driver.chromium.launch(
            executable_path=str(path), args=list(FLAGS), chromium_sandbox=may_sandbox()
        )
    except Error as error:
        raise BrowserMissing(
            f"`{path}` was found but does not start: {first_line(error)}",
            hint="run it by hand with `--headless --version` to see why, or name another in `AGENTFLOW_CHROMIUM`",
        ) from None


def _lives(start: asyncio.Task[Process]) -> bool:
    if not start.done():
        return True

    return not start.cancelled() and start.exception() is None and start.result().is_connected()


async def _quit(process: Process) -> None:
    from playwright.async_api import Error

    with suppress(Error):  # it may be gone already, which is what was wanted
        await process.close()


def first_line(error: Exception) -> str:
    """What a Playwright error says, without its log of attempts."""
    return str(error).partition("\n")[0].strip()


def run_browser(reach: Reach) -> Browser:
    """The browser that the current run keeps for `reach`, closed with the run; a new one outside of a run."""
    context = current()
    if context is None:
        return Browser(reach)

    def make() -> Browser:
        browser = Browser(reach)
        context.on_close(browser.close)
        return browser

    return context.shared(f"browser:{id(reach)}", make)
