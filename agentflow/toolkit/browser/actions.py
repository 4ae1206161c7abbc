"""The single actions of a browser as tools, for an agent that steers it step by step."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

from agentflow.context import current
from agentflow.evidence import Evidence
from agentflow.exceptions import ToolError
from agentflow.toolkit.browser.folders import Kept
from agentflow.toolkit.browser.pages import Tab, Visit
from agentflow.toolkit.browser.run_session import RunSession
from agentflow.toolkit.browser.session import BrowserSession
from agentflow.toolkit.browser.tables import Table
from agentflow.tools import Labels, Tool, tool

LONGEST_PAGE = 30_000
LOOKING_SECONDS = 60


def browser_tools(
    session_factory: Callable[[], BrowserSession], *, needs_approval: bool = False
) -> list[Tool[..., Any]]:
    """The actions of a browser, over one session a run: it is made by `session_factory`, and closed with the run.

    What they may do is what the session may: with `writes="refuse"` all of them only read; with `"ask"` a person is asked
    about each request that could change something, before it leaves; with `"allow"` nobody is asked, unless `needs_approval`
    has a person asked before each action. The factory is also called here, for use outside of a run.
    """
    actions = _Actions(session_factory)
    looking = tool(effect="read", returns="untrusted", outside=True, timeout=LOOKING_SECONDS)
    tools: list[Tool[..., Any]] = [looking(action) for action in actions.looking()]
    return tools + [_acting(action, actions.alone, needs_approval) for action in actions.acting()]


@dataclass(frozen=True, kw_only=True)
class AskingTool(Tool[..., Any]):
    """A tool that has a person asked itself: about what it is about to send, not about what it was called with."""

    @property
    def labels(self) -> Labels:
        return super().labels._replace(needs_approval=True)


def _acting(action: Callable[..., Any], session: BrowserSession, needs_approval: bool) -> Tool[..., Any]:
    if session.writes == "refuse":
        return tool(effect="read", returns="untrusted", outside=True, timeout=LOOKING_SECONDS)(action)

    if session.writes == "allow":
        return tool(
            effect="write",
            returns="untrusted",
            outside=True,
            timeout=LOOKING_SECONDS,
            needs_approval=needs_approval,
        )(action)

    # What an action sends is an effect of its own that is not repeated, so the action itself may be. It has no time limit
    # here, as a person may take long: the session's own limits do not count that time.
    made = tool(effect="write", returns="untrusted", outside=True, idempotent=True)(action)
    return AskingTool(**{f.name: getattr(made, f.name) for f in fields(made)})


class _Actions:
    """Finds the session of the present run and gives back what the page shows after an action."""

    def __init__(self, session_factory: Callable[[], BrowserSession]) -> None:
        self._run = RunSession(session_factory)
        self.alone = self._run.alone

    def _session(self) -> BrowserSession:
        return self._run.get()

    def looking(self) -> list[Callable[..., Any]]:
        actions: list[Callable[..., Any]] = [self.open_page, self.read_page, self.go_back, self.tabs]
        actions += [self.read_field, self.extract_table, self.screenshot]
        if self.alone.has_trace:
            actions.append(self.keep_trace)

        return actions

    def acting(self) -> list[Callable[..., Any]]:
        actions: list[Callable[..., Any]] = [
            self.click,
            self.fill,
            self.check,
            self.select,
            self.press,
            self.hover,
            self.drag,
            self.scroll,
        ]
        if self.alone.has_uploads:
            actions.append(self.upload)

        if self.alone.has_downloads:
            actions.append(self.download)

        return actions

    async def _page(self, session: BrowserSession, visit: Visit) -> str:
        text = await session.snapshot()
        if len(text) > LONGEST_PAGE:
            text = f"{text[:LONGEST_PAGE]}\n(cut here: {len(text) - LONGEST_PAGE} more characters)"

        status = f" (status {visit.status})" if visit.status >= 400 else ""
        notes = "".join(f"({note})\n" for note in session.notes())
        return f"{visit.title}\n{visit.url}{status}\n{notes}\n{text}"

    async def open_page(self, url: str) -> str:
        """Open a web address. Returns the page as text with a reference such as [ref=e6] for each element."""
        session = self._session()
        return await self._page(session, await session.open(url))

    async def read_page(self) -> str:
        """Read the page that is open now, with fresh references for its elements."""
        session = self._session()
        return await self._page(session, await session.visit())

    async def go_back(self) -> str:
        """Go back to the page before this one. Returns it."""
        session = self._session()
        return await self._page(session, await session.back())

    async def tabs(
        self, do: Literal["list", "switch", "close", "new"] = "list", number: int = 0
    ) -> list[Tab]:
        """List the open tabs, or switch to, close (both by number) or open one. Returns the tabs after it."""
        session = self._session()
        match do:
            case "switch":
                await session.switch_tab(number)
            case "close":
                await session.close_tab(number)
            case "new":
                await session.new_tab()
            case "list":
                pass

        return await session.tabs()

    async def extract_table(self, ref: str) -> Table:
        """Read a table of the page as rows with typed columns, by its reference or that of an element around it."""
        return await self._session().table(ref)

    async def read_field(self, ref: str) -> str:
        """Read what a field holds, exactly: a page as text leaves out spaces and cuts what is long."""
        return await self._session().held(ref)

    async def click(self, ref: str, text: str = "", double: bool = False, accept: bool = False) -> str:
        """Click the element with this reference, such as e6. Returns the page that this leads to.

        `text` clicks on these words in the element. `accept` answers yes to a dialog in which the page asks whether it shall.
        """
        session = self._session()
        visit = await session.click(ref, text=text or None, double=double, accept=accept)
        return await self._page(session, visit)

    async def fill(self, ref: str, text: str, keys: bool = False) -> str:
        """Replace the content of the text field with this reference; `keys` types it, for fields that suggest."""
        session = self._session()
        visit = await session.fill(ref, text, keys=keys)
        return await self._page(session, visit) if keys else f"`{ref}` now holds the text"

    async def check(self, ref: str, on: bool = True) -> str:
        """Tick the checkbox or radio button with this reference, or untick it."""
        await self._session().check(ref, on)
        return f"`{ref}` is now {'ticked' if on else 'not ticked'}"

    async def select(self, ref: str, value: str | list[str]) -> str:
        """Choose the option with this text in the list with this reference, or several where it takes more."""
        values = [value] if isinstance(value, str) else value
        await self._session().select(ref, *values)
        return f"{', '.join(f'`{chosen}`' for chosen in values)} is chosen in `{ref}`"

    async def press(self, key: str, ref: str = "") -> str:
        """Press a key, such as Enter, Tab or Control+a, on an element or where the cursor is. Returns the page."""
        session = self._session()
        return await self._page(session, await session.press(key, ref or None))

    async def hover(self, ref: str) -> str:
        """Put the mouse over an element, for menus and hints that show only then. Returns the page."""
        session = self._session()
        return await self._page(session, await session.hover(ref))

    async def drag(self, ref: str, to: str) -> str:
        """Drag the element with one reference onto that with another. Returns the page after it."""
        session = self._session()
        return await self._page(session, await session.drag(ref, to))

    async def scroll(self, down: int = 600, ref: str = "") -> str:
        """Scroll down by so many pixels (up: negative), the page or what scrolls around an element. Returns the page."""
        session = self._session()
        return await self._page(session, await session.scroll(down, ref=ref or None))

    async def upload(self, ref: str, file: str) -> str:
        """Put a file of the folder for uploads into the file field with this reference."""
        await self._session().upload(ref, file)
        return f"`{ref}` now holds `{file}`"

    async def download(self, ref: str) -> Kept:
        """Click the link or button with this reference and keep the file that comes. Returns where it is."""
        kept = await self._session().download(ref)
        context = current()
        if context is not None:
            media = mimetypes.guess_type(kept.path.name)[0] or "application/octet-stream"
            context.artifact(kept.path.name, kept.path.read_bytes(), media)

        return kept

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

    async def keep_trace(self) -> str:
        """Keep a record of what the browser did so far, with pictures, for people to look at later."""
        context = current()
        if context is None:
            raise ToolError("a trace is kept with a run, and this is none", hint="use `session.trace()`")

        data = await self._session().trace()
        name = f"browser-trace-{hashlib.sha256(data).hexdigest()[:12]}.zip"
        return f"kept as `{context.artifact(name, data, 'application/zip')}`"
