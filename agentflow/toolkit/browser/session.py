"""One visitor's view of the web: a page, the actions on it by reference, and clear errors when they fail."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agentflow.exceptions import AddressRefused, NetworkUnavailable, ToolError, ToolTimeout
from agentflow.toolkit.browser.process import Browser, first_line, require_playwright
from agentflow.toolkit.browser.reach import Reach, place_of
from agentflow.toolkit.browser.snapshot import Link, clean, links_of, parse

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Locator, Page, Request, Response, Route, WebSocketRoute

ACTION_SECONDS = 3.0
NAVIGATION_SECONDS = 15.0
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_REF = re.compile(r"(f\d+)?e\d+")
_OPTIONS = "element => Array.from(element.options ?? [], option => option.label.trim())"
_BLOCKED_BY = re.compile(r"element is not \w+|<.*> intercepts pointer events|outside of the viewport")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Where a session is now; `status` is the HTTP status of the page, 0 if none is known."""

    url: str
    title: str
    status: int


class BrowserSession:
    """A page in a browser. `read_only` refuses every request that could change something (POST and the like).

    Given a `Reach` the session owns its browser; given a `Browser` it shares that one. Nothing starts before
    the first action. Actions are done one after another, also when several tasks ask for them at once.
    """

    def __init__(
        self,
        where: Reach | Browser,
        *,
        read_only: bool = False,
        action_seconds: float = ACTION_SECONDS,
        navigation_seconds: float = NAVIGATION_SECONDS,
    ) -> None:
        self._owns = isinstance(where, Reach)
        self._browser = Browser(where) if isinstance(where, Reach) else where
        self._read_only = read_only
        self._action = action_seconds * 1000
        self._navigation = navigation_seconds * 1000
        self._context: BrowserContext | None = None
        self._turn = asyncio.Lock()
        self._asked = ""  # the address of the last navigation within the present action
        self._status = 0
        self._vetoed = ""
        self._lost = False  # the page or the browser crashed: the next action begins anew
        self._stray = False  # an action was cancelled: the page may be on its way to somewhere

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Forget pages and cookies, and end the browser if it is the session's own."""
        await self._forget()
        if self._owns:
            await self._browser.close()

    async def _forget(self) -> None:
        context, self._context = self._context, None
        self._lost = self._stray = False
        if context:
            from playwright.async_api import Error

            with suppress(Error):  # the browser may be gone already
                await context.close()

    async def open(self, url: str) -> Visit:
        """Go to `url`; raises `AddressRefused` outside of the reach, `NetworkUnavailable` if nobody answers."""
        place = place_of(url)
        if not url.lower().startswith(("http://", "https://")):
            raise AddressRefused(f"`{url}` is no http or https address")

        self._browser.reach.check(place)
        async with self._doing(f"open `{url}`") as page:
            page = await self._fresh(page) if self._stray else page
            await page.goto(url, wait_until="domcontentloaded", timeout=self._navigation)
            return await self._settled(page)

    async def back(self) -> Visit:
        """Go to the page before this one."""
        async with self._doing("go back") as page:
            before = page.url
            response = await page.go_back(wait_until="domcontentloaded", timeout=self._navigation)
            if response is None and page.url == before:
                raise ToolError("there is no page to go back to", hint="open an address instead")

            return await self._settled(page)

    async def visit(self) -> Visit:
        """Where the session is now."""
        async with self._doing("read the address") as page:
            return await self._here(page)

    async def snapshot(self) -> str:
        """The page as text: roles, names and values, with a reference such as `[ref=e6]` for each element."""
        async with self._doing("read the page") as page:
            return clean(await page.aria_snapshot(mode="ai", timeout=self._navigation))

    async def links(self) -> list[Link]:
        """The links of the page, each address once."""
        async with self._doing("read the links") as page:
            text = clean(await page.aria_snapshot(mode="ai", timeout=self._navigation))
            return links_of(parse(text), page.url)

    async def click(self, ref: str) -> Visit:
        """Click the element and wait for the page that this may lead to."""
        async with self._doing(f"click `{ref}`") as page:
            element = await self._element(page, ref)
            # Tried first, so that an element that cannot be clicked fails soon while a slow page may take long.
            await element.click(trial=True, timeout=self._action)
            await element.click(timeout=self._navigation)
            return await self._settled(page)

    async def fill(self, ref: str, text: str) -> None:
        """Replace what stands in a text field."""
        async with self._doing(f"fill `{ref}`") as page:
            element = await self._element(page, ref)
            await element.fill(text, timeout=self._action)

    async def check(self, ref: str, on: bool) -> None:
        """Set a checkbox or radio button."""
        async with self._doing(f"set `{ref}`") as page:
            element = await self._element(page, ref)
            await element.set_checked(on, timeout=self._action)

    async def select(self, ref: str, value: str) -> Visit:
        """Choose the option of a list whose text is `value`."""
        async with self._doing(f"select in `{ref}`") as page:
            element = await self._element(page, ref)
            options: list[str] = await element.evaluate(_OPTIONS, timeout=self._action)
            chosen = next((o for o in options if o.casefold() == value.strip().casefold()), None)
            if chosen is None:
                known = ", ".join(f"`{option}`" for option in options[:30])
                raise ToolError(f"`{ref}` has no option `{value}`; it has {known or 'none at all'}")

            await element.select_option(label=chosen, timeout=self._action)
            return await self._settled(page)

    async def press(self, key: str) -> Visit:
        """Press a key, such as `Enter` or `Control+a`, where the cursor is."""
        async with self._doing(f"press `{key}`") as page:
            focused = page.locator(":focus")
            element = focused if await focused.count() == 1 else page.locator("body")
            await element.press(key, timeout=self._navigation)
            return await self._settled(page)

    async def screenshot(self) -> bytes:
        """What a person would see now, as a PNG."""
        async with self._doing("take a screenshot") as page:
            return await page.screenshot(type="png", animations="disabled", timeout=self._navigation)

    @asynccontextmanager
    async def _doing(self, what: str) -> AsyncGenerator[Page]:
        """The page, for one action at a time; its errors become errors that a model can act on."""
        async with self._turn:
            require_playwright()
            # Imported here: Playwright takes a quarter of a second, and defining a session does not need it.
            from playwright.async_api import Error
            from playwright.async_api import TimeoutError as Late

            self._asked = self._vetoed = ""
            try:
                yield await self._page()
            except asyncio.CancelledError:
                self._stray = True
                raise
            except Late as error:
                raise self._refused() or _late(what, error) from None
            except Error as error:
                raise self._refused() or self._failed(what, error) from None

    def _failed(self, what: str, error: Exception) -> ToolError:
        text = first_line(error)
        if "has been closed" in text or "crashed" in text:
            self._lost = True
            return ToolError(f"could not {what}: the browser has closed", hint="open the page again")

        if "Download is starting" in text:
            return ToolError(f"could not {what}: it is a download, and downloads are off")

        if "net::ERR_" in text:
            return NetworkUnavailable(f"could not {what}: {text.partition(': ')[2]}")

        return ToolError(f"could not {what}: {text.partition(': ')[2] or text}")

    async def _page(self) -> Page:
        if self._lost:
            await self._forget()

        context = self._context or await self._new_context()
        self._context = context
        # A click may have opened a window of its own: the newest is the one to go on with.
        return context.pages[-1] if context.pages else await context.new_page()

    async def _fresh(self, old: Page) -> Page:
        """A new page in the place of one whose navigation would come in between."""
        page = await old.context.new_page()
        await old.close()
        self._stray = False
        return page

    async def _new_context(self) -> BrowserContext:
        context = await self._browser.context()
        await context.route("**/*", self._route)
        await context.route_web_socket("**/*", self._route_socket)
        context.on("response", self._answered)
        context.on("requestfailed", self._unanswered)
        return context

    async def _route(self, route: Route) -> None:
        from playwright.async_api import Error

        request = route.request
        moves = request.is_navigation_request()
        with suppress(Error):  # the page may be closed while the request waits here
            if not _ordinary(request.url, moves=moves):
                await route.abort("blockedbyclient")
            elif self._read_only and request.method not in _READING:
                self._vetoed = f"{request.method} {request.url}" if moves else self._vetoed
                # "aborted" leaves the page as it is, where other reasons replace it by an error page.
                await route.abort("aborted")
            else:
                await route.continue_()

    async def _route_socket(self, socket: WebSocketRoute) -> None:
        try:
            self._browser.reach.check(place_of(socket.url))
        except AddressRefused as error:
            await socket.close(code=1008, reason=str(error)[:120])
            return

        # A socket can write without a request that could be vetoed.
        if self._read_only:
            await socket.close(code=1008, reason="this session only reads")
        else:
            socket.connect_to_server()

    def _answered(self, response: Response) -> None:
        if _is_page(response.request):
            self._asked, self._status = response.url, response.status

    def _unanswered(self, request: Request) -> None:
        if _is_page(request):
            self._asked, self._status = request.url, 0

    async def _element(self, page: Page, ref: str) -> Locator:
        if not _REF.fullmatch(ref):
            raise ToolError(f"`{ref}` is no reference, take one such as `e6` from a snapshot")

        from playwright.async_api import Error

        element = page.get_by_ref(ref)
        with suppress(Error):  # Playwright says of some stale references that their frame is invalid
            if await element.count():
                return element

        raise ToolError(f"the reference `{ref}` is stale, take a new snapshot")

    async def _settled(self, page: Page) -> Visit:
        """Where an action led to, once the page is there; raises what kept it from getting there."""
        from playwright.async_api import TimeoutError as Late

        await page.wait_for_load_state("domcontentloaded", timeout=self._navigation)
        with suppress(
            Late
        ):  # pictures and scripts get a moment; a page that never ends loading is read as it is
            await page.wait_for_load_state("load", timeout=self._action)

        refused = self._refused()
        if refused:
            raise refused

        return await self._here(page)

    async def _here(self, page: Page) -> Visit:
        return Visit(url=page.url, title=clean(await page.title()), status=self._status)

    def _refused(self) -> ToolError | None:
        if self._vetoed:
            return AddressRefused(
                f"the page tried to send data (`{self._vetoed}`), and this session only reads",
                hint="use a tool that may submit forms",
            )

        known = self._browser.gate.trouble(self._asked) if self._status in (0, 403, 502) else None
        return type(known)(str(known), hint=known.hint) if known else None


def _ordinary(url: str, *, moves: bool) -> bool:
    return url.startswith(("http://", "https://")) or (not moves and url.startswith(("data:", "blob:")))


def _is_page(request: Request) -> bool:
    from playwright.async_api import Error

    try:
        return request.is_navigation_request() and request.frame.parent_frame is None
    except Error:  # the frame is gone or not there yet
        return False


def _late(what: str, error: Exception) -> ToolTimeout:
    reasons = _BLOCKED_BY.findall(str(error))
    return ToolTimeout(f"could not {what} in time" + (f": {reasons[-1]}" if reasons else ""))
