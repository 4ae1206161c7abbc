"""One visitor's view of the web: pages, the actions on them by reference, and clear errors when they fail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agentflow.exceptions import AddressRefused, ToolError
from agentflow.toolkit.browser.folders import Kept, keep, upload_of
from agentflow.toolkit.browser.obstacles import named, stale
from agentflow.toolkit.browser.pages import ACTION_SECONDS, NAVIGATION_SECONDS, Visit
from agentflow.toolkit.browser.pointing import BUTTON, Pointing
from agentflow.toolkit.browser.process import Browser
from agentflow.toolkit.browser.reach import Reach, place_of
from agentflow.toolkit.browser.snapshot import Link, clean, links_of, parse
from agentflow.toolkit.browser.tables import Table, table_of
from agentflow.toolkit.browser.traffic import Writes

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page, Position

_REF = re.compile(r"(f\d+)?e\d+")
_OPTIONS = "element => Array.from(element.options ?? [], option => option.label.trim())"
_HELD = "e => ['checkbox', 'radio'].includes(e.type) && !e.checked ? '' : String(e.value ?? '')"
# Where the middle of some words is, from the corner of the element that they stand in.
_WORDS = """(element, words) => {
  const nodes = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
    const from = node.data.indexOf(words);
    if (from < 0) continue;
    const range = document.createRange();
    range.setStart(node, from);
    range.setEnd(node, from + words.length);
    const box = range.getClientRects()[0], own = element.getBoundingClientRect();
    if (box?.width && box.height)
      return { x: box.x + box.width / 2 - own.x - element.clientLeft, y: box.y + box.height / 2 - own.y - element.clientTop };
  }
  return null;
}"""
_SCROLL = """(element, [x, y]) => {
  const moves = e => e.scrollHeight > e.clientHeight + 1 || e.scrollWidth > e.clientWidth + 1;
  let e = element;
  while (e && !(moves(e) && !['visible', 'clip'].includes(getComputedStyle(e).overflowY) || e.tagName === 'TEXTAREA'))
    e = e.parentElement;
  (e ?? document.scrollingElement).scrollBy(x, y);
}"""


class BrowserSession(Pointing):
    """A page in a browser, and what may be done on it. `writes` says what becomes of requests that could change something.

    `uploads` and `downloads` are the folders that files may be taken from and put into; without them there are none.
    `trace` keeps a record of all that is done, to be had from `trace()`. Seconds are for one action, and for one page.
    """

    def __init__(
        self,
        where: Reach | Browser,
        *,
        writes: Writes = "ask",
        uploads: Path | None = None,
        downloads: Path | None = None,
        trace: bool = False,
        action_seconds: float = ACTION_SECONDS,
        navigation_seconds: float = NAVIGATION_SECONDS,
    ) -> None:
        super().__init__(
            where,
            writes=writes,
            action_seconds=action_seconds,
            navigation_seconds=navigation_seconds,
            trace=trace,
            downloads=downloads is not None,
        )
        self._from, self._into = uploads, downloads
        self._seen = ""

    @property
    def has_uploads(self) -> bool:
        return self._from is not None

    @property
    def has_downloads(self) -> bool:
        return self._into is not None

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

    async def snapshot(self) -> str:
        """The page as text: roles, names and values, with a reference such as `[ref=e6]` for each element."""
        async with self._doing("read the page") as page:
            return await self._read(page)

    async def links(self) -> list[Link]:
        """The links of the page, each address once."""
        async with self._doing("read the links") as page:
            return links_of(parse(await self._read(page)), page.url)

    async def table(self, ref: str) -> Table:
        """The table with this reference, with typed rows; of an element around it, the first table in it."""
        async with self._doing(f"read the table `{ref}`") as page:
            return await table_of(await self._element(page, ref), self._action)

    async def click(
        self, ref: str, *, text: str | None = None, double: bool = False, accept: bool = False
    ) -> Visit:
        """Click the element and wait for the page that this may lead to; `accept` says yes to a dialog of the page.

        With `text`, click where these words stand in the element: not all that can be clicked is marked up so.
        """
        async with self._doing(f"click `{ref}`", may_send=True) as page:
            element = await self._element(page, ref)
            await self._guard(element)
            where = await self._position(element, ref, text) if text else None
            deed = element.dblclick if double else element.click
            self._accepts = accept
            await self._pressed(deed(position=where, timeout=self._action))
            return await self._settled(page)

    async def fill(self, ref: str, text: str, *, keys: bool = False) -> Visit:
        """Replace what stands in a field; with `keys` a key at a time, for pages that look at each."""
        async with self._doing(f"fill `{ref}`", may_send=True) as page:
            element = await self._element(page, ref)
            await element.fill("" if keys else text, timeout=self._action)
            if keys:
                await element.press_sequentially(text, timeout=self._navigation)

            return await self._settled(page)

    async def check(self, ref: str, on: bool) -> Visit:
        """Set a checkbox or radio button."""
        async with self._doing(f"set `{ref}`", may_send=True) as page:
            element = await self._element(page, ref)
            await element.set_checked(on, timeout=self._action)
            return await self._settled(page)

    async def held(self, ref: str) -> str:
        """What a form would send of the field; nothing of a box that is not ticked."""
        async with self._doing(f"read `{ref}`") as page:
            value: str = await (await self._element(page, ref)).evaluate(_HELD, timeout=self._action)
            return value

    async def select(self, ref: str, *values: str) -> Visit:
        """Choose the options of a list whose texts are `values`; more than one where the list takes more."""
        async with self._doing(f"select in `{ref}`", may_send=True) as page:
            element = await self._element(page, ref)
            options: list[str] = await element.evaluate(_OPTIONS, timeout=self._action)
            await element.select_option(
                label=[_option(ref, options, value) for value in values], timeout=self._action
            )
            return await self._settled(page)

    async def press(self, key: str, ref: str | None = None) -> Visit:
        """Press a key, such as `Enter` or `Control+a`, on an element, or where the cursor is."""
        async with self._doing(f"press `{key}`", may_send=True) as page:
            focused = await self._element(page, ref) if ref else page.locator(":focus")
            element = focused if await focused.count() == 1 else page.locator("body")
            if key in ("Enter", "Space", " "):
                await self._guard(element)

            await self._pressed(element.press(key, timeout=self._action))
            return await self._settled(page)

    async def hover(self, ref: str) -> Visit:
        """Put the mouse over the element, for what shows only then."""
        async with self._doing(f"hover over `{ref}`", may_send=True) as page:
            await (await self._element(page, ref)).hover(timeout=self._action)
            return await self._settled(page)

    async def drag(self, ref: str, to: str) -> Visit:
        """Drag the element onto another one and let it go there."""
        async with self._doing(f"drag `{ref}` to `{to}`", may_send=True) as page:
            element, target = await self._element(page, ref), await self._element(page, to)
            where = await _beyond(element, target, self._action)
            self._clicks()
            await element.drag_to(target, target_position=where, timeout=self._action, steps=8)
            return await self._settled(page)

    async def scroll(self, down: int, *, right: int = 0, ref: str | None = None) -> Visit:
        """Scroll by so many pixels (up and left are negative): the page, or what scrolls around the element."""
        async with self._doing("scroll", may_send=True) as page:
            element = await self._element(page, ref) if ref else page.locator("html")
            await element.evaluate(_SCROLL, [right, down], timeout=self._action)
            return await self._settled(page)

    async def upload(self, ref: str, *names: str) -> Visit:
        """Put files of the folder for uploads into a file field; what the page sends of them is still asked about."""
        uploads = [upload_of(self._from, name) for name in names]
        async with self._doing(f"upload to `{ref}`", may_send=True) as page:
            element = await self._element(page, ref)
            self._traffic.uploads |= {upload.name: upload for _, upload in uploads}
            paths: Sequence[Path] = [path for path, _ in uploads]
            await element.set_input_files(paths, timeout=self._navigation)
            return await self._settled(page)

    async def download(self, ref: str) -> Kept:
        """Click what starts a download, and keep the file in the folder for downloads; its name is made harmless."""
        into = self._into
        if into is None:
            raise ToolError(
                "this session has no folder to download to", hint="give the session `downloads=...`"
            )

        async with self._doing(f"download from `{ref}`", may_send=True) as page:
            element = await self._element(page, ref)
            await self._guard(element)
            self._expects = True
            try:
                async with page.expect_download(timeout=self._navigation) as coming:
                    await element.click(timeout=self._action)

                return await keep(await coming.value, into)
            finally:
                self._expects = False

    async def _read(self, page: Page) -> str:
        self._seen = clean(await page.aria_snapshot(mode="ai", timeout=self._navigation))
        return self._seen

    async def _element(self, page: Page, ref: str) -> Locator:
        if not _REF.fullmatch(ref):
            raise ToolError(f"`{ref}` is no reference, take one such as `e6` from a snapshot")

        from playwright.async_api import Error

        self._accepts = False
        element = page.get_by_ref(ref)
        with suppress(Error):  # Playwright says of some stale references that their frame is invalid
            if await element.count():
                return element

        old = named(parse(self._seen), ref)
        raise stale(ref, old, parse(await self._read(page)))

    async def _position(self, element: Locator, ref: str, text: str) -> Position:
        await element.scroll_into_view_if_needed(timeout=self._action)
        found: Position | None = await element.evaluate(_WORDS, text, timeout=self._action)
        if found is None:
            raise ToolError(
                f"`{text}` does not stand in `{ref}`", hint="take words of one line, as they stand there"
            )

        return found

    async def _guard(self, element: Locator) -> None:
        self._guarded(await element.evaluate(BUTTON, timeout=self._action))


async def _beyond(element: Locator, target: Locator, milliseconds: float) -> Position | None:
    """Where on the target to let go: past its middle, seen from where it is dragged from, as lists that sort want it."""
    start, end = (
        await element.bounding_box(timeout=milliseconds),
        await target.bounding_box(timeout=milliseconds),
    )
    if start is None or end is None:
        return None

    right = end["x"] + end["width"] / 2 - start["x"] - start["width"] / 2
    down = end["y"] + end["height"] / 2 - start["y"] - start["height"] / 2
    return {
        "x": end["width"] * (0.5 + _past(right, end["width"])),
        "y": end["height"] * (0.5 + _past(down, end["height"])),
    }


def _past(way: float, size: float) -> float:
    return 0.0 if abs(way) < size / 2 else 0.2 if way > 0 else -0.2


def _option(ref: str, options: Sequence[str], value: str) -> str:
    chosen = next((o for o in options if o.casefold() == value.strip().casefold()), None)
    if chosen is None:
        known = ", ".join(f"`{option}`" for option in options[:30])
        raise ToolError(f"`{ref}` has no option `{value}`; it has {known or 'none at all'}")

    return chosen
