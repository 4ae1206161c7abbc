"""Actions at a place of the page instead of on an element: what a model does that sees the page as a picture."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from agentflow.exceptions import ToolError
from agentflow.toolkit.browser.pages import Pages
from agentflow.toolkit.browser.process import VIEWPORT

if TYPE_CHECKING:
    from playwright.async_api import Page

Button = Literal["left", "right", "wheel", "back", "forward"]
_BUTTONS: Mapping[Button, Literal["left", "middle", "right"]] = {
    "left": "left",
    "right": "right",
    "wheel": "middle",
}
PAUSE_SECONDS = 1.0
LONGEST_PATH = 500
# What a person reads on a button, and whether it sends a form: of a field, of the button that Enter would press.
BUTTON = """element => {
  const own = element.closest('button, input, a, summary, [role]') ?? element;
  const types = ['submit', 'image'];
  const sends = e => e.form && types.includes(e.type);
  const button = sends(own) || !own.form || own.tagName === 'BUTTON' ? own
    : Array.from(own.form.elements).find(sends) ?? own;
  const label = button.innerText || button.value || button.getAttribute('aria-label') || button.alt || button.title || '';
  return [String(label).trim().slice(0, 200), Boolean(sends(button))];
}"""
_AT = f"([x, y]) => ({BUTTON})(document.elementFromPoint(x, y) ?? document.body)"
_FOCUSED = f"() => ({BUTTON})(document.activeElement ?? document.body)"
# Labels of what changes something although only a form with GET, or a link, may be behind it.
_CHANGES = re.compile(
    r"(?i)\b(delete|remove|unsubscribe|pay|buy|purchase|transfer|donate|(place|cancel) (the |my |your )?order|cancel subscription)\b"
)
_SENDS = re.compile(
    r"(?i)\b(send|submit|order|book|reserve|post|publish|confirm|sign|apply|approve|accept|subscribe)\b"
)
# What the browser notes once the click or the key was done, and only the page that it leads to is waited for.
_DONE = re.compile(r"action done|waiting for scheduled navigations")
# The names that models give to keys, and those that a browser knows.
_KEYS = {
    "alt": "Alt",
    "arrowdown": "ArrowDown",
    "arrowleft": "ArrowLeft",
    "arrowright": "ArrowRight",
    "arrowup": "ArrowUp",
    "backspace": "Backspace",
    "capslock": "CapsLock",
    "cmd": "Meta",
    "command": "Meta",
    "control": "Control",
    "ctrl": "Control",
    "del": "Delete",
    "delete": "Delete",
    "down": "ArrowDown",
    "end": "End",
    "enter": "Enter",
    "esc": "Escape",
    "escape": "Escape",
    "home": "Home",
    "insert": "Insert",
    "left": "ArrowLeft",
    "meta": "Meta",
    "option": "Alt",
    "pagedown": "PageDown",
    "pageup": "PageUp",
    "pgdn": "PageDown",
    "pgup": "PageUp",
    "return": "Enter",
    "right": "ArrowRight",
    "shift": "Shift",
    "space": "Space",
    "super": "Meta",
    "tab": "Tab",
    "up": "ArrowUp",
    "win": "Meta",
}


class Pointing(Pages):
    """Mouse and keyboard on the page; coordinates are pixels from the upper left corner of the window."""

    async def click_at(
        self, x: int, y: int, button: Button = "left", *, count: int = 1, held: Sequence[str] = ()
    ) -> None:
        """Click at a place; `back` and `forward` go through the history, `wheel` is the middle button."""
        which = _BUTTONS.get(button)
        if which is None:
            await self._through_history(button)
            return

        async with self._pointed(f"click at {x}, {y}", x, y, held) as page:
            self._guarded(await page.evaluate(_AT, [x, y]))
            await self._pressed(page.mouse.click(x, y, button=which, click_count=count))

    async def move_to(self, x: int, y: int, *, held: Sequence[str] = ()) -> None:
        """Move the mouse to a place."""
        async with self._pointed(f"move to {x}, {y}", x, y, held) as page:
            await page.mouse.move(x, y)

    async def scroll_at(self, x: int, y: int, right: int, down: int, *, held: Sequence[str] = ()) -> None:
        """Turn the wheel at a place, by so many pixels."""
        async with self._pointed(f"scroll at {x}, {y}", x, y, held) as page:
            await page.mouse.move(x, y)
            await page.mouse.wheel(right, down)

    async def drag_along(self, path: Sequence[tuple[int, int]], *, held: Sequence[str] = ()) -> None:
        """Hold the mouse button down from the first place to the last."""
        if not 2 <= len(path) <= LONGEST_PATH:
            raise ToolError(f"a path has 2 to {LONGEST_PATH} places, and this one has {len(path)}")

        for x, y in path:
            _within(x, y)

        async with self._pointed("drag", *path[0], held) as page:
            await page.mouse.move(*path[0])
            await page.mouse.down()
            for x, y in path[1:]:
                await page.mouse.move(x, y, steps=4)

            await self._pressed(page.mouse.up())

    async def type_text(self, text: str) -> None:
        """Type where the cursor is; the end of a line is the key Enter."""
        async with self._doing("type", may_send=True) as page:
            if "\n" in text:
                self._guarded(await page.evaluate(_FOCUSED))

            await self._pressed(page.keyboard.type(text))
            await self._settled(page)

    async def press_keys(self, keys: Sequence[str]) -> None:
        """Press keys together, such as `["ctrl", "a"]`, by the names that models give them."""
        chord = "+".join(map(_key, keys))
        if not chord:
            raise ToolError("there is no key to press")

        async with self._doing(f"press `{chord}`", may_send=True) as page:
            if chord in ("Enter", "Space"):
                self._guarded(await page.evaluate(_FOCUSED))

            await self._pressed(page.keyboard.press(chord))
            await self._settled(page)

    async def pause(self) -> None:
        """Give the page a second to do what it does."""
        async with self._doing("wait", may_send=True) as page:
            await asyncio.sleep(PAUSE_SECONDS)
            await self._settled(page)

    async def _through_history(self, button: Button) -> None:
        async with self._doing(f"go {button}") as page:
            await (page.go_back() if button == "back" else page.go_forward())
            await self._settled(page)

    @asynccontextmanager
    async def _pointed(self, what: str, x: int, y: int, held: Sequence[str]) -> AsyncGenerator[Page]:
        """An action with the mouse while keys are held down."""
        _within(x, y)
        async with self._doing(what, may_send=True) as page:
            down = [_key(key) for key in held]
            try:
                for key in down:
                    await page.keyboard.down(key)

                yield page
            finally:
                for key in down:
                    await page.keyboard.up(key)

            await self._settled(page)

    def _clicks(self) -> None:
        """What is done now is what pages do something upon, if only a moment later."""
        assert self._doing_now is not None
        self._doing_now.has_clicked = True

    async def _pressed(self, deed: Awaitable[Any]) -> None:
        """Do what may lead to another page, which is not waited for here: it may be slow, or a person is asked first."""
        from playwright.async_api import Error
        from playwright.async_api import TimeoutError as Late

        self._clicks()
        try:
            await deed
        except Late as error:
            if not _DONE.search(str(error)):
                raise
        except Error:
            if not self._is_only_the_page():
                raise

    def _guarded(self, button: tuple[str, bool]) -> None:
        """Have what a press loads asked about too, where the button says that it changes something."""
        label, sends = button
        if self._doing_now is not None:
            self._doing_now.is_guarded = bool(_CHANGES.search(label) or (sends and _SENDS.search(label)))


def _within(x: int, y: int) -> None:
    width, height = VIEWPORT
    if not (0 <= x < width and 0 <= y < height):
        raise ToolError(f"{x}, {y} lies outside of the window, which is {width} by {height} pixels")


def _key(name: str) -> str:
    return _KEYS.get(
        name.casefold().replace("_", ""), name.upper() if re.fullmatch(r"[fF]\d+", name) else name
    )
