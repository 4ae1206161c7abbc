"""The pages of one session: a context with its own cookies, the tabs in it, and one action at a time on one of them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agentflow.exceptions import NetworkUnavailable, ToolError, ToolTimeout
from agentflow.toolkit.browser.fence import Fence
from agentflow.toolkit.browser.obstacles import late
from agentflow.toolkit.browser.process import Browser, first_line, require_playwright
from agentflow.toolkit.browser.reach import Reach
from agentflow.toolkit.browser.settling import Action, settled
from agentflow.toolkit.browser.snapshot import clean
from agentflow.toolkit.browser.traffic import Traffic, Writes

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Dialog, Download, Frame, Page

ACTION_SECONDS = 3.0
NAVIGATION_SECONDS = 15.0
MOST_TABS = 12
_SCHEMES = ("http:", "https:", "about:", "chrome-error:")
_NO_TRACE = "make the session with `trace=True`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Where a session is now; `status` is the HTTP status of the page, 0 if none is known."""

    url: str
    title: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """One of the pages that are open, by the number that it is switched to with."""

    number: int
    url: str
    title: str
    is_current: bool


class Pages:
    """What a session stands on. Given a `Reach` it owns its browser; given a `Browser` it shares that one.

    Nothing starts before the first action. Actions are done one after another, also when several tasks ask for them at once.
    """

    def __init__(
        self,
        where: Reach | Browser,
        *,
        writes: Writes,
        action_seconds: float,
        navigation_seconds: float,
        trace: bool,
        downloads: bool,
    ) -> None:
        self._owns = isinstance(where, Reach)
        self._browser = Browser(where) if isinstance(where, Reach) else where
        self._traffic = Traffic(self._browser.gate, writes)
        self._action = action_seconds * 1000
        self._navigation = navigation_seconds * 1000
        self._traces = trace
        self._downloads = downloads
        self._context: BrowserContext | None = None
        self._fence: Fence | None = None
        self._current: Page | None = None
        self._turn = asyncio.Lock()
        self._doing_now: Action | None = None
        self._accepts = False  # whether a question that the page puts in a dialog is answered with yes
        self._expects = False  # whether a download is wanted
        self._closing: set[asyncio.Task[None]] = set()
        self._lost = False  # the page or the browser crashed: the next action begins anew
        self._stray = False  # an action was cancelled: the page may be on its way to somewhere

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def writes(self) -> Writes:
        """What becomes of requests that could change something."""
        return self._traffic.writes

    @property
    def has_trace(self) -> bool:
        return self._traces

    async def close(self) -> None:
        """Forget pages and cookies, and end the browser if it is the session's own."""
        await self._forget()
        if self._owns:
            await self._browser.close()

    def approve(self, values: list[str], url: str) -> None:
        """A person has approved that a form with just these values is sent to the host of `url`, once; all else is asked about."""
        self._traffic.approve(values, url)

    def notes(self) -> list[str]:
        """What happened by itself since this was last asked: dialogs, refused requests, closed windows."""
        notes, self._traffic.notes = self._traffic.notes, []
        return [clean(note)[:500] for note in notes]

    async def visit(self) -> Visit:
        """Where the session is now."""
        async with self._doing("read the address") as page:
            return await self._here(page)

    async def is_blank(self) -> bool:
        """Whether no page was opened yet."""
        async with self._doing("read the address") as page:
            return page.url == "about:blank"

    async def tabs(self) -> list[Tab]:
        """The pages that are open, in the order in which they were opened."""
        async with self._doing("list the tabs") as page:
            return [
                Tab(number=number, url=tab.url, title=await _title(tab), is_current=tab is page)
                for number, tab in enumerate(page.context.pages, start=1)
            ]

    async def switch_tab(self, number: int) -> Visit:
        """Go on with another one of the open pages."""
        async with self._doing(f"switch to tab {number}") as page:
            self._current = _numbered(page, number)
            await self._current.bring_to_front()
            return await self._here(self._current)

    async def close_tab(self, number: int) -> Visit:
        """Close a page, and go on with the one that is current then; a new one if it was the last."""
        async with self._doing(f"close tab {number}") as page:
            await _numbered(page, number).close()
            return await self._here(await self._page())

    async def new_tab(self) -> Visit:
        """Open an empty page beside the others, and go on with it."""
        async with self._doing("open a tab") as page:
            if len(page.context.pages) >= MOST_TABS:
                raise ToolError(f"there are {MOST_TABS} tabs already", hint="close one of them")

            self._current = await page.context.new_page()
            return await self._here(self._current)

    async def screenshot(self) -> bytes:
        """What a person would see now, as a PNG."""
        async with self._doing("take a screenshot") as page:
            return await page.screenshot(type="png", animations="disabled", timeout=self._navigation)

    async def trace(self) -> bytes:
        """What was done since the session began or this was last asked, as a Playwright trace (a zip)."""
        if not self._traces:
            raise ToolError("this session keeps no trace", hint=_NO_TRACE)

        async with self._doing("keep the trace") as page:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "trace.zip"
                await page.context.tracing.stop_chunk(path=path)
                await page.context.tracing.start_chunk()
                return path.read_bytes()

    @asynccontextmanager
    async def _doing(self, what: str, *, may_send: bool = False) -> AsyncGenerator[Page]:
        """The page, for one action at a time; its errors become errors that a model can act on."""
        async with self._turn:
            require_playwright()
            # Imported here: Playwright takes a quarter of a second, and defining a session does not need it.
            from playwright.async_api import Error
            from playwright.async_api import TimeoutError as Late

            self._doing_now = action = self._traffic.begin(what, may_send=may_send)
            try:
                async with asyncio.timeout(3 * self._navigation / 1000) as action.limit:
                    yield await self._page()
            except asyncio.CancelledError:
                self._stray = True
                raise
            except TimeoutError:
                self._stray = True
                raise ToolTimeout(f"could not {what} in time") from None
            except Late as error:
                raise self._cause(action) or late(what, error) from None
            except Error as error:
                raise self._cause(action) or self._failure(what, error) from None
            finally:
                await self._traffic.end()

    def _cause(self, action: Action) -> Exception | None:
        """What lies behind an error of the browser: a request that was not sent, or an address that was refused."""
        return action.errors[0] if action.errors else self._traffic.refusal()

    def _failure(self, what: str, error: Exception) -> ToolError:
        text = first_line(error)
        if "has been closed" in text and self._is_only_the_page():
            return ToolError(
                f"could not {what}: the page has closed", hint="go on in another tab, or open a page"
            )

        if "has been closed" in text or "crashed" in text:
            self._lost = True
            return ToolError(f"could not {what}: the browser has closed", hint="open the page again")

        if "Download is starting" in text:
            if not self._downloads:
                return ToolError(f"could not {what}: it is a download, and downloads are off")

            hint = "use `download` with the reference of a link to it"
            return ToolError(f"could not {what}: it is a download", hint=hint)

        if "net::ERR_" in text:
            return NetworkUnavailable(f"could not {what}: {text.partition(': ')[2]}")

        return ToolError(f"could not {what}: {text.partition(': ')[2] or text}")

    def _is_only_the_page(self) -> bool:
        """Whether a page closed, by itself or as it had to be, while the browser and its other pages live on."""
        browser = self._context.browser if self._context is not None else None
        return (
            browser is not None
            and browser.is_connected()
            and self._current is not None
            and self._current.is_closed()
        )

    async def _page(self) -> Page:
        if self._lost:
            await self._forget()

        context = self._context or await self._new_context()
        self._context = context
        for page in [page for page in context.pages if not _is_known(page.url)]:
            # Closing it when it moved may have come too early, while it was still on its way.
            await page.close()

        if self._current is None or self._current.is_closed():
            self._current = context.pages[-1] if context.pages else await context.new_page()

        return self._current

    async def _fresh(self, old: Page) -> Page:
        """A new page in the place of one whose navigation would come in between."""
        self._current = await old.context.new_page()
        await old.close()
        self._stray = False
        return self._current

    async def _new_context(self) -> BrowserContext:
        context = await self._browser.context(downloads=self._downloads)
        await self._traffic.attach(context)
        self._fence = Fence(context)
        context.on("page", self._opened)
        context.on("dialog", self._asked)
        if self._traces:
            await context.tracing.start(screenshots=True, snapshots=True)
            await context.tracing.start_chunk()

        return context

    async def _forget(self) -> None:
        context, self._context, self._current = self._context, None, None
        fence, self._fence = self._fence, None
        self._lost = self._stray = False
        if fence:
            await fence.close()

        if context:
            from playwright.async_api import Error

            with suppress(Error):  # the browser may be gone already
                await context.close()

    def _opened(self, page: Page) -> None:
        """A window that opens while something is done is the one to go on with."""
        page.on("download", self._came)
        page.on("framenavigated", self._moved)
        self._moved(page.main_frame)
        if len(page.context.pages) > MOST_TABS:
            self._traffic.note(f"a window was closed, as there are {MOST_TABS} tabs already")
            self._later(page.close())
        else:
            self._current = page

    def _moved(self, frame: Frame) -> None:
        """A page that moves to data of its own making, which is no request that could be refused, is closed."""
        if frame.parent_frame is None and not _is_known(frame.url):
            self._traffic.note(f"a page was closed that moved to `{frame.url[:60]}`")
            self._later(frame.page.close())

    def _came(self, download: Download) -> None:
        if not self._expects:
            self._traffic.note(f"a download was not kept: {download.url}")
            self._later(download.cancel())

    async def _asked(self, dialog: Dialog) -> None:
        """A page that asks in a dialog is told no, unless the action says otherwise."""
        from playwright.async_api import Error

        answer = "yes" if self._accepts or dialog.type in ("alert", "beforeunload") else "no"
        self._traffic.note(f"the page asked `{dialog.message}`, and was told {answer}")
        with suppress(Error):
            await (dialog.accept() if answer == "yes" else dialog.dismiss())

    def _later(self, deed: Awaitable[None]) -> None:
        from playwright.async_api import Error

        async def do() -> None:
            with suppress(Error):
                await deed

        task = asyncio.ensure_future(do())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _settled(self, page: Page) -> Visit:
        """Where an action led to, once the page is there; raises what kept it from getting there."""
        from playwright.async_api import Error

        assert self._doing_now is not None
        assert self._fence is not None
        await settled(
            self._doing_now,
            self._fence,
            seconds=self._action / 1000,
            page_seconds=self._navigation / 1000,
        )
        page = self._current if self._current is not None and not self._current.is_closed() else page
        if page.is_closed():
            page = await self._page()

        try:
            return await self._loaded(page)
        except Error:
            # To close itself can be what the action was for, and may take until now.
            if not page.is_closed() or not self._is_only_the_page():
                raise

            return await self._loaded(await self._page())

    async def _loaded(self, page: Page) -> Visit:
        from playwright.async_api import TimeoutError as Late

        await page.wait_for_load_state("domcontentloaded", timeout=self._navigation)
        with suppress(Late):
            # Pictures and scripts get a moment; a page that never ends loading is read as it is.
            await page.wait_for_load_state("load", timeout=self._action)

        refused = self._traffic.refusal()
        if refused:
            raise refused

        return await self._here(page)

    async def _here(self, page: Page) -> Visit:
        return Visit(url=page.url, title=clean(await page.title()), status=self._traffic.status)


async def _title(page: Page) -> str:
    """The title of a page that may be closing."""
    from playwright.async_api import Error

    try:
        return clean(await page.title())
    except Error:
        return ""


def _is_known(url: str) -> bool:
    """Whether a page may be at this address; a page that is only just made has none."""
    return url in ("", ":") or url.startswith(_SCHEMES)


def _numbered(page: Page, number: int) -> Page:
    tabs = page.context.pages
    if not 1 <= number <= len(tabs):
        raise ToolError(f"there is no tab {number}", hint=f"there are {len(tabs)}, counted from 1")

    return tabs[number - 1]
