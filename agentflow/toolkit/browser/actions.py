"""The single actions of a browser as tools, for an agent that steers it step by step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from agentflow.context import current
from agentflow.evidence import Evidence
from agentflow.toolkit.browser.session import BrowserSession, Visit
from agentflow.tools import Tool, tool

LONGEST_PAGE = 30_000


def browser_tools(
    session_factory: Callable[[], BrowserSession], *, needs_approval: bool = False
) -> list[Tool[..., Any]]:
    """The tools open_page, read_page, screenshot, click, fill, select and press, over one session a run.

    The session of a run is closed with it. Outside of a run `session_factory` is called once, and who made the
    session closes it. `needs_approval` has a person asked before each action that may send something.
    """
    actions = _Actions(session_factory)
    reading = tool(effect="read", returns="untrusted", outside=True, timeout=45)
    writing = tool(
        effect="write", returns="untrusted", outside=True, timeout=45, needs_approval=needs_approval
    )
    return [
        reading(actions.open_page),
        reading(actions.read_page),
        reading(actions.screenshot),
        writing(actions.click),
        writing(actions.fill),
        writing(actions.select),
        writing(actions.press),
    ]


class _Actions:
    """Finds the session of the present run and gives back what the page shows after an action."""

    def __init__(self, session_factory: Callable[[], BrowserSession]) -> None:
        self._factory = session_factory
        self._alone: BrowserSession | None = None

    def _session(self) -> BrowserSession:
        context = current()
        if context is None:
            self._alone = self._alone or self._factory()
            return self._alone

        def make() -> BrowserSession:
            session = self._factory()
            context.on_close(session.close)
            return session

        return context.shared(f"browser-session:{id(self)}", make)

    async def _page(self, session: BrowserSession, visit: Visit) -> str:
        text = await session.snapshot()
        if len(text) > LONGEST_PAGE:
            text = f"{text[:LONGEST_PAGE]}\n(cut here: {len(text) - LONGEST_PAGE} more characters)"

        status = f" (status {visit.status})" if visit.status >= 400 else ""
        return f"{visit.title}\n{visit.url}{status}\n\n{text}"

    async def open_page(self, url: str) -> str:
        """Open a web address. Returns the page as text with a reference such as [ref=e6] for each element."""
        session = self._session()
        return await self._page(session, await session.open(url))

    async def read_page(self) -> str:
        """Read the page that is open now, with fresh references for its elements."""
        session = self._session()
        return await self._page(session, await session.visit())

    async def click(self, ref: str) -> str:
        """Click the element with this reference, such as e6. Returns the page that this leads to."""
        session = self._session()
        return await self._page(session, await session.click(ref))

    async def fill(self, ref: str, text: str) -> str:
        """Replace the content of the text field with this reference."""
        await self._session().fill(ref, text)
        return f"`{ref}` now holds the text"

    async def select(self, ref: str, value: str) -> str:
        """Choose the option with this text in the list with this reference."""
        await self._session().select(ref, value)
        return f"`{value}` is chosen in `{ref}`"

    async def press(self, key: str) -> str:
        """Press a key, such as Enter, Tab or Control+a, where the cursor is. Returns the page after it."""
        session = self._session()
        return await self._page(session, await session.press(key))

    async def screenshot(self) -> Evidence | bytes:
        """Take a picture of the page. In a run it is kept as a file that the result names as its place."""
        session = self._session()
        image, visit = await session.screenshot(), await session.visit()
        context = current()
        if context is None:
            return image

        # Named after its content: taking the same picture again keeps one file.
        name = f"screenshot-{hashlib.sha256(image).hexdigest()[:12]}.png"
        path = context.artifact(name, image, "image/png")
        return Evidence(
            text=f"Screenshot of {visit.title}",
            source=visit.url,
            place=path,
            title=visit.title,
            tool="screenshot",
        )
