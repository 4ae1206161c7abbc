"""MiniWoB++ tasks on loopback, and a desk from which a policy does one with nothing but the tools of a browser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentflow.toolkit.browser import Browser, BrowserSession, Reach, browser_tools
from agentflow.toolkit.browser.snapshot import Node, parse
from agentflow.tools import Tool

HOST = "miniwob.localhost"
# Seeded, and without the clock that would end a task after some seconds.
_BEGIN = "seed => { core.EPISODE_MAX_TIME = 1e6; Math.seedrandom(seed); core.startEpisodeReal(); }"
# The reward from -1 to 1 as the task gives it, before it is lowered for the time that was taken.
_SCORE = "() => [WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL]"
_SOLVED = 0.999

Policy = Callable[["Desk"], Awaitable[None]]


def pages() -> Path:
    """The folder of the tasks; the package is not imported, as that loads two browser drivers of its own."""
    found = find_spec("miniwob")
    assert found is not None, "install `miniwob`, it is in the group `dev`"
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "html"


@contextmanager
def served() -> Generator[Reach]:
    """The tasks at http://miniwob.localhost/, for a browser that may reach nothing else."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(pages())))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield Reach(hosts=frozenset(), sites={HOST: lambda: server.server_port})
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Desk:
    """What a policy has: the goal in words, the tools by name, and the page as a tool told it last."""

    goal: str
    tools: dict[str, Tool[..., Any]]
    root: Node = field(default_factory=lambda: Node(role="document"))
    actions: int = 0

    async def do(self, tool: str, **arguments: Any) -> Any:
        """Call a tool; what it tells of the page is the page from then on."""
        self.actions += 1
        result = await self.tools[tool].invoke(arguments)
        if isinstance(result, str) and "\n\n" in result:
            self.root = parse(result.partition("\n\n")[2])

        return result

    async def look(self) -> None:
        await self.do("read_page")

    async def click(self, node: Node, text: str = "") -> None:
        await self.do("click", ref=node.ref, text=text)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.do("press", key=key)

    async def fill(self, node: Node, text: str) -> None:
        await self.do("fill", ref=node.ref, text=text)

    async def push(self, name: str) -> None:
        """Click the button with this name."""
        await self.click(self.one("button", name))

    async def until(self, role: str, name: str | None = None, seconds: float = 30) -> Node:
        """Look until there is such an element; fails after so many seconds."""
        async with asyncio.timeout(seconds):
            while not self.every(role, name):
                await self.look()

        return self.one(role, name)

    def nodes(self) -> list[Node]:
        """All elements of the task, in order: not its goal, and not the box with the score."""
        return list(_own(self.root, self.goal))

    def every(self, role: str | None = None, name: str | None = None) -> list[Node]:
        """The elements with this role and this name or text, those that can be referred to."""
        return [
            node
            for node in self.nodes()
            if node.ref
            and (role is None or node.role == role)
            and (name is None or said(node).casefold() == name.casefold())
        ]

    def one(self, role: str | None = None, name: str | None = None, number: int = 0) -> Node:
        found = self.every(role, name)
        assert len(found) > number, f"there is no {role} {name!r} among {[said(n) for n in self.every(role)]}"
        return found[number]

    def numbers(self) -> list[int]:
        """The whole numbers that stand alone in an element."""
        return [int(n.text) for n in self.every("generic") if n.text.removeprefix("-").isdecimal()]


def said(node: Node) -> str:
    return node.name or node.inner_text()


def _own(node: Node, goal: str) -> Generator[Node]:
    text = node.text or node.name
    if text and " ".join(text.split()) == " ".join(goal.split()):
        return

    if any("Last reward" in child.text for child in node.children):
        return

    yield node
    for child in node.children:
        yield from _own(child, goal)


@dataclass
class Office:
    """A session on the tasks with its tools; one task at a time is set up in it and scored."""

    session: BrowserSession
    tools: dict[str, Tool[..., Any]]

    async def desk(self, task: str, seed: int) -> Desk:
        """A task as `seed` makes it, ready to be done."""
        await self.session.open(f"http://{HOST}/miniwob/{task}.html")
        async with self.session._doing("begin") as page:
            await page.evaluate(_BEGIN, str(seed))
            await page.wait_for_function("WOB_TASK_READY")
            goal = await page.evaluate("core.getUtterance()")

        desk = Desk(goal["utterance"] if isinstance(goal, dict) else goal, self.tools)
        await desk.look()
        return desk

    async def is_solved(self) -> bool:
        """Whether the task says that it was done, and done right."""
        async with self.session._doing("score") as page:
            done, reward = await page.evaluate(_SCORE)

        return bool(done) and reward >= _SOLVED


@asynccontextmanager
async def office(browser: Browser) -> AsyncGenerator[Office]:
    async with BrowserSession(browser, writes="allow") as session:
        tools = {tool.name: tool for tool in browser_tools(lambda: session)}
        yield Office(session, tools)
