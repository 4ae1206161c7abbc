"""What a page sends: held back, shown to a person as it would leave, bound to the answer, recorded and not repeated."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agentflow import Workflow, step
from agentflow.app import Decision, Pending, Result, Settings, resume, run
from agentflow.context import Context
from agentflow.events import OperationFinished, OperationStarted
from agentflow.exceptions import AddressRefused, ToolError
from agentflow.journal.memory import MemoryJournal
from agentflow.testing import run_to_end
from agentflow.toolkit.browser import Browser, BrowserSession, Reach
from agentflow.toolkit.browser.outgoing import Upload, outgoing
from agentflow.toolkit.browser.traffic import Writes

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOST = "http://desk.localhost"
Deed = Callable[[BrowserSession], Awaitable[Any]]
PAGES = {
    "/": """<title>Desk</title>
        <form method="post" action="/orders"><input type="hidden" name="token" value="t-1">
          <label>Item <input name="item" value="tent"></label>
          <label>Size <select name="size"><option value="9">Large</option></select></label>
          <label>Note <textarea name="note"></textarea></label><button>Place it</button></form>
        <form method="post" action="/files" enctype="multipart/form-data">
          <label>About <input name="about" value="é"></label><label>File <input type="file" name="file"></label>
          <button>Hand in</button></form>
        <form action="/delete"><input type="hidden" name="id" value="7"><button>Delete</button></form>
        <form action="/find"><label>Words <input name="q" value="tents"></label><button>Search</button></form>
        <form method="post" action="/moved"><button>Move on</button></form>
        <form method="post" action="/blank" target="_blank"><button>New window</button></form>
        <form method="post" action="/inside" target="inside"><button>In a frame</button></form>
        <iframe name="inside" title="inside"></iframe>
        <a href="/other" ping="/pinged">Elsewhere</a>
        <button id="json">Say it</button> <button id="xhr">Say it the old way</button>
        <button id="beacon">Beacon</button> <button id="twice">Twice</button> <button id="worker">Worker</button>
        <button id="shared">Shared</button> <button id="late">Later</button> <button id="socket">Socket</button>
        <form onsubmit="sneak(event)"><input type="hidden" name="id" value="7"><button>Delete it all</button></form>
        <button id="put">Put</button> <button id="ask">Ask me</button>
        <script>
        const json = body => ({ method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
        const on = (id, deed) => document.getElementById(id).onclick = deed;
        const told = () => { document.title = 'told'; };
        let count = 0;
        const sneak = event => { event.preventDefault(); fetch('/seen?x=1').then(() => { location = '/delete?id=8'; }); };
        on('json', () => fetch('/said', json({ text: 'hello', list: [1, 2] })).then(told, told));
        on('xhr', () => { const x = new XMLHttpRequest(); x.open('POST', '/xhr'); x.onloadend = told; x.send('plain'); });
        on('beacon', () => { document.title = navigator.sendBeacon('/beacon', 'x') ? 'sent' : 'not sent'; });
        on('twice', () => fetch('/said', json({ count: ++count })).then(told, told));
        on('worker', () => new Worker('/worker.js'));
        on('shared', () => { try { new SharedWorker('/worker.js'); } catch { document.title = 'no shared worker'; } });
        on('late', () => { document.title = typeof fetchLater; });
        on('put', () => fetch('/thing', { method: 'PUT', body: 'x' }).then(told, told));
        on('ask', () => { document.title = confirm('Really?') ? 'yes' : 'no'; });
        on('socket', () => { const s = new WebSocket('ws://desk.localhost/live'); s.onopen = () => s.send('over the wire'); });
        </script>""",
    "/greedy": "<title>Greedy</title><script>fetch('/greed', { method: 'POST', body: 'x' })</script>",
    "/leaving": """<title>Leaving</title><a href="/other">Go</a><iframe srcdoc="<p>frame</p>"></iframe><script>
        const own = document.createElement('iframe'); document.body.append(own);
        const beacon = own.contentWindow.navigator.sendBeacon, send = own.contentWindow.fetch;
        const quiet = deed => { try { deed(); } catch { } };
        for (const event of ['pagehide', 'visibilitychange', 'unload', 'beforeunload']) addEventListener(event, () => {
          quiet(() => navigator.sendBeacon('/left-1', 'x'));
          quiet(() => beacon.call(navigator, '/left-2', 'x'));
          fetch('/left-3', { method: 'POST', body: 'x', keepalive: true }).catch(() => 0);
          send(location.origin + '/left-4', { method: 'POST', body: 'x', keepalive: true }).catch(() => 0);
          quiet(() => { const x = new XMLHttpRequest(); x.open('POST', '/left-5'); x.send('x'); });
          fetch(new Request('/left-6', { method: 'POST', body: 'x', keepalive: true })).catch(() => 0);
        });</script>""",
    "/worker.js": "fetch('/from-worker', { method: 'POST', body: 'x' })",
    "/moved": "307 /landed",
    "/other": "<title>Elsewhere</title>",
}


@dataclass(frozen=True)
class Came:
    method: str
    path: str
    body: bytes


@dataclass
class Desk:
    """A site that keeps all that it was sent; `pages` may be changed between two visits."""

    pages: dict[str, str] = field(default_factory=lambda: dict(PAGES))
    came: list[Came] = field(default_factory=list[Came])
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                desk.came.append(Came(self.command, self.path, body))
                page = desk.pages.get(self.path, f"<title>{self.path}</title>")
                moved = page.startswith("307 ")
                self.send_response(307 if moved else 200)
                self.send_header("Location", page.partition(" ")[2]) if moved else None
                kind = "text/javascript" if self.path.endswith(".js") else "text/html; charset=utf-8"
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(page.encode())

            do_POST = do_PUT = do_GET

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def sent(self) -> list[str]:
        """What came that could have changed something."""
        return [f"{c.method} {c.path}" for c in self.came if c.method not in ("GET", "HEAD", "OPTIONS")]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.stop()


@pytest.fixture
def desk(server: Desk) -> Desk:
    server.came.clear()
    server.pages = dict(PAGES)
    return server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(server: Desk) -> AsyncIterator[Browser]:
    async with Browser(
        Reach(hosts=frozenset(), sites={"desk.localhost": lambda: server.server.server_port})
    ) as b:
        yield b


def pressed(*names: str, first: Mapping[str, str] | None = None, page: str = "/") -> Deed:
    """Open the desk, fill in what is named in `first`, and click the buttons."""

    async def do(session: BrowserSession) -> str:
        await session.open(HOST + page)
        for label, text in (first or {}).items():
            await session.fill(ref(await session.snapshot(), f'textbox "{label}"'), text)

        for name in names:
            await session.click(ref(await session.snapshot(), f'button "{name}"'))

        return (await session.visit()).title

    return do


def ref(snapshot: str, element: str) -> str:
    found = re.search(rf"{re.escape(element)}[^\n]*?\[ref=(\w+)\]", snapshot)
    assert found, f"{element} is not in:\n{snapshot}"
    return found[1]


def visiting(browser: Browser, deed: Deed, **settings: Any) -> Workflow[int, str]:
    """A workflow of one step that does `deed` with a session of its own."""

    @step
    async def visit(number: int, ctx: Context) -> str:
        async with BrowserSession(browser, **settings) as session:
            try:
                return str(await deed(session))
            except ToolError as error:
                return f"{type(error).__name__}: {error}"

    return Workflow("visit", start=visit, end=visit)


@dataclass
class Person:
    """Answers what a run asks, and remembers it."""

    yes: bool = True
    asked: list[Any] = field(default_factory=list[Any])

    def __call__(self, pending: Pending) -> bool:
        self.asked.append(pending.subject)
        return self.yes


FORM = {"token": "t-1", "item": "tent", "size": "9", "note": ""}


async def test_a_form_is_approved_as_it_is_sent(browser: Browser, desk: Desk) -> None:
    """A person is asked with method, address and every field, hidden ones too; then it is sent, once, and recorded."""
    person = Person()
    ended = await run_to_end(
        visiting(browser, pressed("Place it", first={"Note": "a\nb"})), 1, approve=person
    )
    assert ended.output == "/orders"
    (asked,) = person.asked
    assert (asked["method"], asked["url"]) == ("POST", f"{HOST}/orders")
    assert asked["content"] == FORM | {"note": "a\r\nb"}
    assert asked["digest"].startswith("sha256:")
    assert desk.sent() == ["POST /orders"]
    calls = [event for event in ended.events if isinstance(event, OperationStarted)]
    assert [(call.name, call.once) for call in calls] == [("browser_send", True)]
    outcomes = [event for event in ended.events if isinstance(event, OperationFinished)]
    assert outcomes[0].result is not None
    assert outcomes[0].result.data == {"status": 200, "url": f"{HOST}/orders"}


async def test_what_a_person_refuses_is_not_sent(browser: Browser, desk: Desk) -> None:
    """After a no the site has heard nothing, and whoever acted is told so; the page stays as it was."""

    async def do(session: BrowserSession) -> str:
        with pytest.raises(ToolError, match=r"a person refused to send `POST .*/orders`"):
            await pressed("Place it")(session)

        return (await session.visit()).url

    ended = await run_to_end(visiting(browser, do), 1, approve=Person(yes=False))
    assert ended.output == f"{HOST}/"
    assert desk.sent() == []


async def test_outside_of_a_run_nothing_is_sent(browser: Browser, desk: Desk) -> None:
    """Where nobody can be asked, a request that changes something is refused, with what it would have sent."""
    async with BrowserSession(browser) as session:
        with pytest.raises(
            AddressRefused, match=r'a person has to approve it: \{"token": "t-1", "item": "tent"'
        ):
            await pressed("Place it")(session)

    assert desk.sent() == []


@pytest.mark.parametrize(
    ("button", "method", "path", "content"),
    [
        ("Say it", "POST", "/said", {"text": "hello", "list": [1, 2]}),
        ("Say it the old way", "POST", "/xhr", "plain"),
        ("Worker", "POST", "/from-worker", "x"),
        ("Put", "PUT", "/thing", "x"),
        ("New window", "POST", "/blank", None),
        ("In a frame", "POST", "/inside", None),
        ("Delete", "GET", "/delete?id=7", {"id": "7"}),
    ],
)
async def test_each_way_of_sending_is_asked_about(
    browser: Browser, desk: Desk, button: str, method: str, path: str, content: Any
) -> None:
    """Scripts, workers, windows, frames, and forms that delete by a mere GET are held back and shown as they are."""
    person = Person(yes=False)
    ended = await run_to_end(visiting(browser, pressed(button)), 1, approve=person)
    assert ended.output.startswith("CallRefused: a person refused")
    assert [(a["method"], a["url"], a["content"]) for a in person.asked] == [(method, HOST + path, content)]
    assert [c.path for c in desk.came if c.path == path] == []


async def test_looking_something_up_is_not_asked_about(browser: Browser, desk: Desk) -> None:
    """A form that searches is sent without a question."""
    ended = await run_to_end(visiting(browser, pressed("Search")), 1, approve=Person(yes=False))
    assert ended.output == "/find?q=tents"


async def test_a_harmless_request_does_not_cover_for_another(browser: Browser, desk: Desk) -> None:
    """After a button that deletes, each thing that the page asks for is put to the person until another page is there."""

    @dataclass
    class Wary(Person):
        def __call__(self, pending: Pending) -> bool:
            self.asked.append(pending.subject)
            return "/seen" in pending.subject["url"]

    person = Wary()
    ended = await run_to_end(visiting(browser, pressed("Delete it all")), 1, approve=person)
    assert ended.output.startswith("CallRefused: a person refused")
    assert [asked["url"] for asked in person.asked] == [f"{HOST}/seen?x=1", f"{HOST}/delete?id=8"]
    assert [c.path for c in desk.came if c.path.startswith("/delete")] == []


async def test_each_request_is_asked_about_for_itself(browser: Browser, desk: Desk) -> None:
    """What is sent a second time with something else in it is asked about again."""
    person = Person()
    await run_to_end(visiting(browser, pressed("Twice", "Twice")), 1, approve=person)
    assert [asked["content"] for asked in person.asked] == [{"count": 1}, {"count": 2}]
    assert person.asked[0]["digest"] != person.asked[1]["digest"]
    assert desk.sent() == ["POST /said", "POST /said"]


async def test_files_are_asked_about_by_name_and_digest(browser: Browser, desk: Desk, tmp_path: Path) -> None:
    """A file that is handed in is shown with its size and digest, and only files of the folder can be."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("content")
    (tmp_path / "secret.txt").write_text("no")
    (tmp_path / "in" / "link.txt").symlink_to(tmp_path / "secret.txt")

    async def do(session: BrowserSession) -> str:
        await session.open(f"{HOST}/")
        field_ref = ref(await session.snapshot(), 'button "File"')
        for name in ("../secret.txt", "link.txt", "/etc/hostname", "b.txt"):
            with pytest.raises(ToolError, match="there is no file"):
                await session.upload(field_ref, name)

        await session.upload(field_ref, "a.txt")
        await session.click(ref(await session.snapshot(), 'button "Hand in"'))
        return (await session.visit()).title

    person = Person()
    ended = await run_to_end(visiting(browser, do, uploads=tmp_path / "in"), 1, approve=person)
    assert ended.output == "/files"
    digest = "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert person.asked[0]["content"] == {
        "about": "é",
        "file": {"file": "a.txt", "given": {"size": 7, "digest": digest}},
    }
    assert b"content" in next(c.body for c in desk.came if c.path == "/files")


async def test_a_page_sends_nothing_by_itself(browser: Browser, desk: Desk) -> None:
    """What a page posts while it is only looked at is refused without a question, and noted."""
    person = Person()

    async def do(session: BrowserSession) -> list[str]:
        await session.open(f"{HOST}/greedy")
        await session.snapshot()
        return session.notes()

    ended = await run_to_end(visiting(browser, do), 1, approve=person)
    assert "not sent, as no action asked for it: POST http://desk.localhost/greed" in ended.output
    assert (person.asked, desk.sent()) == ([], [])


@pytest.mark.parametrize("writes", ["refuse", "ask", "allow"])
async def test_a_page_that_is_left_sends_nothing(browser: Browser, desk: Desk, writes: Writes) -> None:
    """Beacons and requests that would outlive their page stay here, whichever frame's functions they are sent with."""
    async with BrowserSession(browser, writes=writes) as session:
        await session.open(f"{HOST}/leaving")
        link = ref(await session.snapshot(), 'link "Go"')
        with suppress(AddressRefused):
            await session.click(link)

        await session.open(f"{HOST}/leaving")
        await session.open(f"{HOST}/other")
        await session.back()

    await asyncio.sleep(0.3)  # nothing tells when something did not come
    gone = [c.path for c in desk.came if c.path.startswith("/left")]
    assert [path for path in gone if writes != "allow"] == []


async def test_ways_to_send_that_nobody_sees_are_shut(browser: Browser, desk: Desk) -> None:
    """Shared workers, delayed requests, pings of links and beacons, which no session is shown, do nothing."""
    async with BrowserSession(browser, writes="refuse") as session:
        await pressed("Beacon")(session)
        assert (await session.visit()).title == "not sent"
        await pressed("Shared")(session)
        assert (await session.visit()).title == "no shared worker"
        await pressed("Later")(session)
        assert (await session.visit()).title == "undefined"
        await session.click(ref(await session.snapshot(), 'link "Elsewhere"'))
        assert (await session.visit()).title == "Elsewhere"

    assert desk.sent() == []


async def test_what_is_approved_for_one_address_is_not_sent_on_to_another(
    browser: Browser, desk: Desk
) -> None:
    """A redirect that would repeat a form elsewhere (307) is refused, and the second address hears nothing."""
    person = Person()
    ended = await run_to_end(visiting(browser, pressed("Move on")), 1, approve=person)
    assert re.search(
        r"AddressRefused: `POST http://desk.localhost/landed` was not asked for|handed what was sent on",
        ended.output,
    )
    assert desk.sent() == ["POST /moved"]


@pytest.mark.slow
async def test_a_person_may_take_longer_than_an_action(browser: Browser, desk: Desk) -> None:
    """The limits of an action and of a page do not count the time in which somebody is asked."""

    async def slow(pending: Pending) -> Decision:
        await asyncio.sleep(7)
        return Decision(approved=True)

    workflow = visiting(browser, pressed("Place it"), action_seconds=1, navigation_seconds=2)
    result = await run(workflow, 1, settings=Settings(journal=MemoryJournal(), approver=slow)).result()
    assert result.unwrap() == "/orders"


async def test_an_approval_outlives_the_process_and_is_bound_to_what_is_sent(
    browser: Browser, desk: Desk
) -> None:
    """A run that was let go and is answered later sends what was approved without a question, and anything else with one."""
    nobody = Settings(journal=MemoryJournal())
    workflow = visiting(browser, pressed("Place it"))

    async def answered(run_id: str) -> Result[str]:
        waiting = await run(workflow, 1, run_id=run_id, settings=nobody).result()
        assert (waiting.status, desk.sent()) == ("waiting", [])
        desk.pages["/"] = PAGES["/"].replace('value="tent"', f'value="{run_id}"')
        again = await resume(workflow, run_id, settings=nobody)
        again.decide(waiting.pending[0].name, Decision(approved=True))
        return await again.result()

    other = await answered("boat")
    assert other.status == "waiting"
    assert other.pending[0].subject["content"]["item"] == "boat"
    assert desk.sent() == []

    desk.pages["/"] = PAGES["/"]
    same = await answered("tent")
    assert same.unwrap() == "/orders"
    assert desk.sent() == ["POST /orders"]


async def test_what_was_sent_is_not_sent_again(browser: Browser, desk: Desk) -> None:
    """A step that fails after it sent something, and is tried again, is told that it was sent."""
    tries: list[str] = []

    @step(retries=1)
    async def visit(number: int, ctx: Context) -> str:
        async with BrowserSession(browser) as session:
            try:
                tries.append(str(await pressed("Place it")(session)))
            except ToolError as error:
                tries.append(str(error))
            if ctx.attempt == 1:
                raise ValueError("once more")

        return "over"

    person = Person()
    ended = await run_to_end(Workflow("visit", start=visit, end=visit), 1, approve=person)
    assert ended.output == "over"
    assert tries[0] == "/orders"
    assert "was sent before, and answered with the status 200: it is not sent again" in tries[1]
    assert desk.sent() == ["POST /orders"]


async def test_a_dialog_is_told_no_unless_the_action_says_yes(browser: Browser, desk: Desk) -> None:
    """A question of the page is answered with no and noted; an action may say yes to it."""
    async with BrowserSession(browser) as session:
        await session.open(f"{HOST}/")
        button = ref(await session.snapshot(), 'button "Ask me"')
        assert (await session.click(button)).title == "no"
        assert session.notes() == ["the page asked `Really?`, and was told no"]
        assert (await session.click(button, accept=True)).title == "yes"


async def test_what_is_sent_is_shown_as_it_is() -> None:
    """Forms by name, all values of a name, JSON as JSON, other text as text; bytes by how they begin and their size."""
    form = "application/x-www-form-urlencoded"
    assert outgoing("POST", "http://x/", form, b"a=1&b=&a=2").content == {"a": ["1", "2"], "b": ""}
    assert outgoing("POST", "http://x/", "application/json", b'{"a": [1]}').content == {"a": [1]}
    assert outgoing("POST", "http://x/", "application/json", b"{nothing").content == "{nothing"
    assert outgoing("POST", "http://x/", "", b"\xff\x00a").content == {"begins": "?\x00a", "size": 3}
    assert outgoing("GET", "http://x/?q=1", "", b"").content == {"q": "1"}
    assert outgoing("POST", "http://x/", "multipart/form-data", b"no parts").content == "no parts"
    json.dumps(
        outgoing(
            "POST",
            "http://x/",
            "multipart/form-data; boundary=B",
            b'--B\r\nContent-Disposition: form-data; name="\xff"; filename="\xfe"\r\n\r\nx\r\n--B--\r\n',
        ).shown()
    )


async def test_the_digest_is_that_of_what_is_sent() -> None:
    """Another value, address, method or file makes another digest; the boundary of parts, drawn anew each time, does not."""

    def parts(boundary: str, value: str, upload: str = "sha256:1") -> str:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="a"'
        file = f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\n\r\n\r\n'
        body = f"{head}\r\n\r\n{value}\r\n{file}--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        known = {"f.txt": Upload(name="f.txt", size=1, digest=upload)}
        return outgoing("POST", "http://x/", kind, body, known).digest

    assert parts("one", "1") == parts("two", "1")
    assert len({parts("one", "1"), parts("one", "2"), parts("one", "1", "sha256:2")}) == 3
    plain = [("POST", "/a", b"x"), ("PUT", "/a", b"x"), ("POST", "/b", b"x"), ("POST", "/a", b"y")]
    assert len({outgoing(m, f"http://x{p}", "text/plain", b).digest for m, p, b in plain}) == 4
