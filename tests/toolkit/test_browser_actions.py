"""The single actions of a browser: tabs, tables, files, what is in the way of an action, and what is kept of a session."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agentflow import Agent, Workflow
from agentflow.events import ArtifactKept, OperationFinished
from agentflow.exceptions import ToolError, ToolTimeout
from agentflow.testing import ScriptedModel, assistant_message, function_call, run_to_end
from agentflow.toolkit.browser import Browser, BrowserSession, Reach, browser_tools
from agentflow.toolkit.browser.tables import Column, Table, typed
from agentflow.tracing.spans import spans_of
from tests.toolkit.test_browser import PNG, Site, ref

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOST = "http://yard.localhost"
PAGES = {
    "/": """<title>Yard</title><a href="/two" target="_blank">Two</a>
        <a href="/shut" target="_blank" rel="opener">Shut</a> <button disabled>Off</button>
        <div style="position: relative"><button id="below">Below</button>
        <div class="cover" style="position: absolute; inset: 0; background: white">Accept cookies?</div></div>
        <p onmouseover="this.textContent = 'shown'">Hover here</p>
        <label><input type="checkbox"> Tick</label>
        <select aria-label="Several" multiple><option>One</option><option>Two</option><option>Three</option></select>
        <textarea aria-label="Notes"> spaces </textarea> <input aria-label="Suggest" onkeydown="this.title += event.key">
        <p onclick="document.title = getSelection().focusNode?.data ?? 'none'">some <span onclick="document.title = 'word'">word</span> here</p>
        <div style="height: 3000px"></div><button onclick="document.title = scrollY > 500 ? 'far' : 'near'">End</button>
        <div style="position: fixed; top: 0; left: 500px; width: 60px; height: 60px" id="box" role="img" aria-label="Box"
          onmouseup="document.title = 'dropped'"></div>""",
    "/shut": "<title>Shut</title><script>setTimeout(close, 50)</script>",
    "/two": "<title>Two</title><h1>Second</h1>",
    "/table": """<title>Table</title><table><caption>Stock</caption>
        <tr><th>Item</th><th>Count</th><th>Price</th><th>Since</th><th>Code</th></tr>
        <tr><td rowspan="2">Tent</td><td>1,200</td><td>9.50</td><td>2026-01-31</td><td>007</td></tr>
        <tr><td>3</td><td>10</td><td></td><td>12</td></tr>
        <tr style="display: none"><td colspan="5">hidden</td></tr></table>
        <div role="grid"><div role="row"><span role="columnheader">A</span></div><div role="row"><span role="gridcell">x</span></div></div>""",
    "/changed": "<title>Changed</title><button>Send letter</button><button>Send message now</button><a href='/'>Back</a>",
    "/letter": "<title>Letter</title><button>Send message</button>",
    "/file": "zip",
    "/get": """<title>Get</title><a href="/file" download="../../.bashrc">Archive</a> <a href="/two">Page</a>""",
    "/many": "<script>for (let n = 0; n < 14; n++) open('/two')</script>",
}


@pytest.fixture(scope="module")
def yard() -> Iterator[Site]:
    site = Site(dict(PAGES))
    yield site
    site.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(yard: Site) -> AsyncIterator[Browser]:
    async with Browser(Reach(hosts=frozenset(), sites={"yard.localhost": lambda: yard.port})) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def session(browser: Browser, tmp_path: Path) -> AsyncIterator[BrowserSession]:
    async with BrowserSession(
        browser, downloads=tmp_path / "got", trace=True, action_seconds=1, navigation_seconds=3
    ) as session:
        yield session


async def found(session: BrowserSession, element: str) -> str:
    return ref(await session.snapshot(), element)


async def test_tabs_are_listed_switched_opened_and_closed(session: BrowserSession) -> None:
    """A window that a page opens is current; others are gone to by their number, and the last one is replaced by a new one."""
    await session.open(f"{HOST}/")
    await session.click(await found(session, 'link "Two"'))
    while (await session.visit()).title != "Two":
        pass

    assert [(t.number, t.title, t.is_current) for t in await session.tabs()] == [
        (1, "Yard", False),
        (2, "Two", True),
    ]
    assert (await session.switch_tab(1)).title == "Yard"
    await session.new_tab()
    assert [t.is_current for t in await session.tabs()] == [False, False, True]
    await session.close_tab(3)
    assert (await session.close_tab(1)).title == "Two"
    assert (await session.close_tab(1)).url == "about:blank"
    with pytest.raises(ToolError, match="there is no tab 2") as caught:
        await session.switch_tab(2)

    assert caught.value.hint == "there are 1, counted from 1"


async def test_a_page_that_closes_itself_takes_nothing_with_it(session: BrowserSession) -> None:
    """When a window closes itself, the session goes on in another one, as the visitor that it was."""
    await session.open(f"{HOST}/")
    await session.click(await found(session, 'link "Shut"'))
    while (await session.visit()).title != "Yard":
        pass

    assert [tab.title for tab in await session.tabs()] == ["Yard"]
    assert "Second" not in await session.snapshot()


async def test_windows_are_bounded(session: BrowserSession) -> None:
    """A page that opens windows without end gets twelve tabs in all."""
    await session.open(f"{HOST}/many")
    while len(await session.tabs()) != 12 or not session.notes():
        pass

    with pytest.raises(ToolError, match="12 tabs already"):
        await session.new_tab()


async def test_a_table_comes_as_typed_rows(session: BrowserSession) -> None:
    """Numbers, dates and codes are told apart, spans are repeated, hidden rows left out; a grid of roles is a table too."""
    await session.open(f"{HOST}/table")
    table = await session.table(await found(session, 'table "Stock"'))
    assert [(c.name, c.kind) for c in table.columns] == [
        ("Item", "text"),
        ("Count", "integer"),
        ("Price", "number"),
        ("Since", "date"),
        ("Code", "text"),
    ]
    assert table.rows == [["Tent", 1200, 9.5, "2026-01-31", "007"], ["Tent", 3, 10.0, None, "12"]]
    assert (await session.table(await found(session, "grid"))).rows == [["x"]]
    await session.open(f"{HOST}/two")
    with pytest.raises(ToolError, match="no table with rows"):
        await session.table(await found(session, 'heading "Second"'))


async def test_rows_without_headings_have_numbered_columns() -> None:
    """Where not all of the first row are headings, it is a row; short rows are filled up."""
    assert typed([[["a", False], ["1", False]], [["b", False]]]) == Table(
        columns=[Column(name="column 1", kind="text"), Column(name="column 2", kind="integer")],
        rows=[["a", 1], ["b", None]],
    )


async def test_what_is_in_the_way_is_named(session: BrowserSession) -> None:
    """Something that covers an element, a disabled one, and one that is no field have errors that say what to do."""
    await session.open(f"{HOST}/")
    for element, obstacle, hint in (
        (
            'button "Below"',
            'class="cover".* intercepts pointer events',
            "it is covered: close what covers it",
        ),
        ('button "Off"', "element is not enabled", "it is disabled: fill in what it waits for"),
    ):
        with pytest.raises(ToolError, match=obstacle) as caught:
            await session.click(await found(session, element))

        assert not isinstance(caught.value, ToolTimeout), "it would be tried again"
        assert caught.value.hint.startswith(hint)


async def test_a_stale_reference_names_what_is_like_it(session: BrowserSession) -> None:
    """After the page has changed, the error says what the element was, and which of those there now are most like it."""
    await session.open(f"{HOST}/letter")
    old = await found(session, 'button "Send message"')
    await session.open(f"{HOST}/changed")
    with pytest.raises(
        ToolError, match=r'\(it was button "Send message"\) is stale, take a new snapshot'
    ) as caught:
        await session.click(old)

    near = re.findall(r"`(\w+)` \((.*?)\)", caught.value.hint)
    assert [told for _, told in near] == ['button "Send message now"', 'button "Send letter"']
    await session.click(near[0][0])


async def test_elements_are_hovered_ticked_chosen_typed_and_scrolled(session: BrowserSession) -> None:
    """Each of these does what a person would see it do."""
    await session.open(f"{HOST}/")
    await session.hover(await found(session, "paragraph"))
    assert "shown" in await session.snapshot()
    box = await found(session, 'checkbox "Tick"')
    await session.check(box, True)
    assert re.search(r'checkbox "Tick" \[checked\]', await session.snapshot())
    await session.check(box, False)
    several = await found(session, 'listbox "Several"')
    await session.select(several, "one", "Three")
    assert (await session.snapshot()).count("[selected]") == 2
    assert await session.held(await found(session, 'textbox "Notes"')) == " spaces "
    field = await found(session, 'textbox "Suggest"')
    await session.fill(field, "ab", keys=True)
    assert await session.held(field) == "ab"
    assert 'textbox "Suggest"' in await session.snapshot()
    await session.scroll(5_000)
    end = await found(session, 'button "End"')
    assert (await session.click(end)).title == "far"
    await session.drag(end, await found(session, 'img "Box"'))
    assert (await session.visit()).title == "dropped"


async def test_words_in_an_element_can_be_clicked(session: BrowserSession) -> None:
    """What a page did not mark up as something to click is clicked by the words that stand there."""
    await session.open(f"{HOST}/")
    line = re.search(r"\[ref=(\w+)\]: some word here", await session.snapshot())
    assert line
    assert (await session.click(line[1], text="word")).title == "word"
    with pytest.raises(ToolError, match="`nothing` does not stand in"):
        await session.click(line[1], text="nothing")


async def test_a_download_is_kept_under_a_harmless_name(session: BrowserSession, tmp_path: Path) -> None:
    """Whatever name a site gives a file, it lands in the folder for downloads and overwrites nothing."""
    await session.open(f"{HOST}/get")
    link = await found(session, 'link "Archive"')
    first, second = await session.download(link), await session.download(link)
    assert {first.path.parent, second.path.parent} == {tmp_path / "got"}
    assert first.path != second.path
    assert not first.path.name.startswith(".")
    assert (first.size, first.path.read_bytes()) == (3, b"zip")
    assert first.digest == f"sha256:{hashlib.sha256(b'zip').hexdigest()}"
    with pytest.raises(ToolError):
        await session.download(await found(session, 'link "Page"'))


async def test_downloads_and_uploads_are_off_unless_there_is_a_folder(browser: Browser) -> None:
    """Without a folder the error says what to give the session."""
    async with BrowserSession(browser) as session:
        await session.open(f"{HOST}/get")
        with pytest.raises(ToolError, match="no folder to download to") as caught:
            await session.download(await found(session, 'link "Archive"'))

        assert "downloads=" in caught.value.hint
        with pytest.raises(ToolError, match="no folder to upload from"):
            await session.upload("e1", "a.txt")

        with pytest.raises(ToolError, match="keeps no trace"):
            await session.trace()


async def test_a_trace_holds_what_was_done(session: BrowserSession) -> None:
    """A trace is a zip that Playwright's viewer opens, and each one begins where the last one ended."""
    await session.open(f"{HOST}/two")
    with zipfile.ZipFile(io.BytesIO(await session.trace())) as archive:
        assert "trace.trace" in archive.namelist()
        assert b"/two" in archive.read("trace.trace")

    with zipfile.ZipFile(io.BytesIO(await session.trace())) as archive:
        assert b"/two" not in archive.read("trace.trace")


async def test_what_a_run_keeps_of_a_browser_is_on_its_spans(browser: Browser, tmp_path: Path) -> None:
    """An agent's screenshots, downloads and traces are files of the run, known by digest, linked from its spans."""
    tools = browser_tools(lambda: BrowserSession(browser, downloads=tmp_path / "got", trace=True))
    turns: list[Any] = [
        [function_call("open_page", {"url": f"{HOST}/get"}, call_id="c0")],
        [function_call("screenshot", {}, call_id="c1")],
        [function_call("download", {"ref": "e2"}, call_id="c2")],
        [function_call("tabs", {}, call_id="c3")],
        [function_call("keep_trace", {}, call_id="c4")],
        [assistant_message("done")],
    ]
    agent = Agent("visit", takes=str, gives=str, prompt="Go.", tools=tools)
    workflow = Workflow("visit", start=agent, end=agent)
    ended = await run_to_end(workflow, "x", model=ScriptedModel(turns), settings={"root": tmp_path})
    assert ended.output == "done"
    failed = [e.error.message for e in ended.events if isinstance(e, OperationFinished) and e.error]
    assert failed == []
    kept = [event for event in ended.events if isinstance(event, ArtifactKept)]
    assert [event.media_type for event in kept] == [
        "image/png",
        "application/octet-stream",
        "application/zip",
    ]
    data = [_content(event.path) for event in kept]
    assert [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in data] == [e.digest for e in kept]
    assert data[0].startswith(PNG)
    told = "".join(str(span) for span in spans_of(ended.events))
    assert all(event.digest in told for event in kept)


def _content(path: str) -> bytes:
    return Path(path).read_bytes()
