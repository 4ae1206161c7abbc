"""The browser as a screen, for OpenAI's computer-use models: pictures out, mouse and keyboard in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentflow.exceptions import ToolError
from agentflow.toolkit.browser.actions import AskingTool
from agentflow.toolkit.browser.pointing import Button
from agentflow.toolkit.browser.process import VIEWPORT
from agentflow.toolkit.browser.run_session import RunSession
from agentflow.toolkit.browser.session import BrowserSession


class Screen:
    """What a computer-use model has of a session: a picture of the window, and actions at places on it."""

    environment = "browser"
    dimensions = VIEWPORT

    def __init__(self, session: BrowserSession, start: str) -> None:
        self._session = session
        self._start = start

    async def screenshot(self) -> bytes:
        """The window as a PNG; the first one opens the page to start at."""
        if await self._session.is_blank():
            await self._session.open(self._start)

        return await self._session.screenshot()

    async def click(self, x: int, y: int, button: Button, keys: Sequence[str] = ()) -> None:
        await self._session.click_at(x, y, button, held=keys)

    async def double_click(self, x: int, y: int, keys: Sequence[str] = ()) -> None:
        await self._session.click_at(x, y, count=2, held=keys)

    async def scroll(self, x: int, y: int, scroll_x: int, scroll_y: int, keys: Sequence[str] = ()) -> None:
        await self._session.scroll_at(x, y, scroll_x, scroll_y, held=keys)

    async def type(self, text: str) -> None:
        await self._session.type_text(text)

    async def wait(self) -> None:
        await self._session.pause()

    async def move(self, x: int, y: int, keys: Sequence[str] = ()) -> None:
        await self._session.move_to(x, y, held=keys)

    async def keypress(self, keys: Sequence[str]) -> None:
        await self._session.press_keys(keys)

    async def drag(self, path: Sequence[tuple[int, int]], keys: Sequence[str] = ()) -> None:
        await self._session.drag_along(path, held=keys)


@dataclass(frozen=True, kw_only=True)
class ComputerUse(AskingTool):
    """A tool that is no function: an agent whose model knows how to use a computer is given the screen itself."""

    screen: Callable[[], Screen]


def computer_tool(session_factory: Callable[[], BrowserSession], *, start: str) -> ComputerUse:
    """The computer of an agent of a computer-use model (Responses API): a browser that stands at `start`.

    Each action is recorded with a picture; what it would send is asked about as with `browser_tools`, which may be given to
    the same agent beside it: of one factory, they steer the same page. What the model's own safety checks report stops the
    run, unless a person acknowledges it.
    """
    session = RunSession(session_factory)

    async def computer() -> str:
        """Use a browser by what it shows: look at pictures of it, and use mouse and keyboard."""
        raise ToolError(
            "a computer is used by an agent, not called", hint="give a planner `browser_tools(...)` instead"
        )

    return ComputerUse(
        name="computer",
        description=(computer.__doc__ or "").strip(),
        function=computer,
        effect="write",
        returns="untrusted",
        outside=True,
        idempotent=True,
        origin=f"{__name__}:computer",
        screen=lambda: Screen(session.get(), start),
    )
