"""An action ends when what it set off is there, however long the page, a frame, a worker or a window takes for it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio

from agentflow.exceptions import AddressRefused
from agentflow.toolkit.browser import Browser, BrowserSession, Reach
from tests.toolkit.sites import Reply, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOST = "http://slow.localhost"
Deed = Callable[[BrowserSession], Awaitable[object]]
# The page is busy for longer than any pause after an action, and only then sends.
BUSY = """const busy = () => { const until = Date.now() + 400; while (Date.now() < until); return '_blank'; };
    const send = () => { busy(); fetch('/sent', { method: 'POST' }); };"""
PAGES = {
    "/": f"""<style>* {{ margin: 0 }} #first {{ position: absolute; left: 0; top: 300px; width: 200px; height: 100px }}</style>
        <button>Timer</button> <button>Answer</button> <button>Worker</button> <button>Window</button> <button>Page</button> <button>Frame</button>
        <input type="checkbox" aria-label="Box"> <select aria-label="List"><option>One</option><option>Two</option></select>
        <button id="first">Here</button>
        <iframe src="http://other.localhost/frame" title="frame"></iframe>
        <script>
        {BUSY}
        const soon = () => setTimeout(send);
        const own = code => new Worker(URL.createObjectURL(new Blob([code])));
        const [timer, answer, worker, opener, mover, framed] = document.querySelectorAll('button');
        timer.onclick = soon;
        first.onkeydown = soon;
        first.onmousedown = () => addEventListener('mouseup', soon);
        for (const input of document.querySelectorAll('input, select')) input.onchange = soon;
        answer.onclick = () => fetch('/answer').then(soon);
        worker.onclick = () => own(`{BUSY.replace("/sent", HOST + "/sent")} send()`);
        opener.onclick = () => setTimeout(() => open('/next', busy()));
        mover.onclick = () => setTimeout(() => location.assign('/next?' + busy()));
        framed.onclick = () => frames[0].postMessage('send', '*');
        </script>""",
    "/next": "<title>Next</title>",
    "/frame": f"<script>{BUSY} onmessage = () => setTimeout(send)</script>",
    "/answer": "",
    "/stuck": """<title>Stuck</title><iframe src="http://other.localhost/endless" style="display: none"></iframe><script>
        onclick = () => { document.title = 'Clicked'; frames[0].postMessage('go', '*'); };</script>""",
    "/endless": "<script>onmessage = () => { for (;;); }</script>",
}


@pytest.fixture(scope="module")
def desk() -> Iterator[Site]:
    site = Site()
    site.replies = {path: Reply(page.encode()) for path, page in PAGES.items()}
    yield site
    site.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(desk: Site) -> AsyncIterator[Browser]:
    sites = {f"{name}.localhost": lambda: desk.port for name in ("slow", "other")}
    async with Browser(Reach(hosts=frozenset(), sites=sites)) as browser:
        yield browser


async def found(session: BrowserSession, element: str) -> str:
    """The reference of an element such as `button "Timer"`."""
    snapshot = await session.snapshot()
    match = re.search(rf"{re.escape(element)}[^\n]*?\[ref=(\w+)\]", snapshot)
    assert match, f"{element} is not in:\n{snapshot}"
    return match[1]


def clicked(button: str) -> Deed:
    async def do(session: BrowserSession) -> object:
        return await session.click(await found(session, f'button "{button}"'))

    return do


async def pressed(session: BrowserSession) -> object:
    return await session.press("Enter", await found(session, 'button "Here"'))


async def ticked(session: BrowserSession) -> object:
    return await session.check(await found(session, 'checkbox "Box"'), True)


async def chosen(session: BrowserSession) -> object:
    return await session.select(await found(session, 'combobox "List"'), "Two")


async def dragged(session: BrowserSession) -> object:
    return await session.drag(await found(session, 'button "Here"'), await found(session, 'button "Timer"'))


async def pointed(session: BrowserSession) -> None:
    await session.click_at(50, 350)


async def dragged_along(session: BrowserSession) -> None:
    await session.drag_along([(50, 350), (90, 350)])


@pytest.mark.parametrize(
    "deed",
    [pressed, ticked, chosen, dragged, pointed, dragged_along, clicked("Timer"), clicked("Answer"), clicked("Worker"),
     clicked("Frame")],
    ids=["key", "box", "list", "drag", "place", "path", "timer", "answer", "worker", "frame"],
)  # fmt: skip
async def test_what_a_busy_page_sends_belongs_to_the_action(browser: Browser, deed: Deed) -> None:
    """The request that comes late is held back for the action that set it off, which says so; nobody is there to be asked."""
    async with BrowserSession(browser) as session:
        await session.open(f"{HOST}/")
        with pytest.raises(AddressRefused, match=r"`POST .*/sent` was not sent, as a person has to approve"):
            await deed(session)

        assert session.notes() == []


@pytest.mark.parametrize("button", ["Window", "Page"])
async def test_an_action_ends_where_a_busy_page_leads_to(browser: Browser, button: str) -> None:
    """A page or a window that is opened late is where the session is after the click."""
    async with BrowserSession(browser) as session:
        await session.open(f"{HOST}/")
        visit = await session.click(await found(session, f'button "{button}"'))
        assert visit.title == "Next"


async def test_a_frame_that_is_busy_for_ever_holds_up_no_action(browser: Browser) -> None:
    """What never answers is not waited for longer than an action may take."""
    async with BrowserSession(browser, action_seconds=0.5) as session:
        await session.open(f"{HOST}/stuck")
        await session.click_at(50, 50)
        assert (await session.visit()).title == "Clicked"
