"""What a page can reach: nothing but what its policy names, by whatever way a browser has of asking for something."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import pytest
import pytest_asyncio

from agentflow.exceptions import AddressRefused, ToolError
from agentflow.toolkit.browser import Browser, BrowserSession, Reach
from agentflow.toolkit.guard import Guard
from tests.toolkit.hostile_urls import (
    ELSEWHERE,
    HOSTILE,
    OPEN_HOST,
    OPEN_NETWORK,
    REBINDING,
    REDIRECTS,
    Ground,
    Hostile,
    resolver,
)
from tests.toolkit.test_browser import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOME = "http://home.localhost"
# Each is tried from a page that is within reach, towards a place that is not; `there` is its host and port.
WAYS = {
    "picture": '<img src="http://{there}/">',
    "picture set": '<img srcset="http://{there}/ 2x, http://{there}/1 1x">',
    "background": '<style>body {{ background: url("http://{there}/") }}</style>',
    "imported style": '<style>@import "http://{there}/";</style>',
    "style sheet": '<link rel="stylesheet" href="http://{there}/">',
    "font": '<style>@font-face {{ font-family: f; src: url("http://{there}/") }} p {{ font-family: f }}</style><p>x',
    "icon": '<link rel="icon" href="http://{there}/">',
    "script": '<script src="http://{there}/"></script>',
    "module": '<script type="module">import "http://{there}/";</script>',
    "frame": '<iframe src="http://{there}/"></iframe>',
    "object": '<object data="http://{there}/"></object>',
    "embedded": '<embed src="http://{there}/">',
    "video": '<video src="http://{there}/" poster="http://{there}/p" preload="auto" autoplay></video>',
    "audio": '<audio src="http://{there}/" preload="auto"></audio>',
    "prefetch": '<link rel="prefetch" href="http://{there}/"><link rel="prerender" href="http://{there}/r">',
    "preload": '<link rel="preload" as="fetch" href="http://{there}/">',
    "connection ahead": '<link rel="preconnect" href="http://{there}/"><link rel="dns-prefetch" href="//{there}/">',
    "speculation": """<script type="speculationrules">{{"prefetch": [{{"urls": ["http://{there}/"], "eagerness": "immediate"}}],
        "prerender": [{{"urls": ["http://{there}/"], "eagerness": "immediate"}}]}}</script>""",
    "manifest": '<link rel="manifest" href="http://{there}/">',
    "refresh": '<meta http-equiv="refresh" content="0; url=http://{there}/">',
    "script that moves on": '<script>location = "http://{there}/"</script>',
    "window": '<script>open("http://{there}/")</script>',
    "form": '<form action="http://{there}/"><input name="a"></form><script>document.forms[0].submit()</script>',
    "posted form": '<form method="post" action="http://{there}/"></form><script>document.forms[0].submit()</script>',
    "fetch": '<script>fetch("http://{there}/", {{ mode: "no-cors" }}).catch(() => 0)</script>',
    "fetch of a redirect": '<script>fetch("/moved", {{ mode: "no-cors" }}).catch(() => 0)</script>',
    "picture of a redirect": '<img src="/moved">',
    "frame of a redirect": '<iframe src="/moved"></iframe>',
    "posted fetch": '<script>fetch("http://{there}/", {{ method: "POST", mode: "no-cors" }}).catch(() => 0)</script>',
    "old request": '<script>x = new XMLHttpRequest(); x.open("GET", "http://{there}/"); x.send()</script>',
    "beacon": '<script>navigator.sendBeacon("http://{there}/", "x")</script>',
    "socket": '<script>new WebSocket("ws://{there}/"); new WebSocket("wss://{there}/")</script>',
    "stream of events": '<script>new EventSource("http://{there}/")</script>',
    "worker": """<script>const code = n => URL.createObjectURL(new Blob([n]));
        new Worker(code("fetch('http://{there}/', {{ mode: 'no-cors' }}); new WebSocket('ws://{there}/w'); "
          + "importScripts('http://{there}/i')"))</script>""",
    "shared worker": '<script>try {{ new SharedWorker("http://{there}/") }} catch {{ }}</script>',
    "service worker": '<script>navigator.serviceWorker?.register("http://{there}/").catch(() => 0)</script>',
    "WebTransport": '<script>try {{ new WebTransport("https://{there}/") }} catch {{ }}</script>',
    "WebRTC": """<script>const peer = new RTCPeerConnection({{ iceServers: [{{ urls: "stun:{there}" }},
        {{ urls: "turn:{there}?transport=tcp", username: "u", credential: "c" }}] }});
        peer.createDataChannel("c"); peer.createOffer().then(o => peer.setLocalDescription(o))</script>""",
    "report of a violation": """<meta http-equiv="Content-Security-Policy" content="img-src 'none'; report-uri http://{there}/">
        <img src="/x">""",
    "report in a frame": '<iframe csp="img-src \'none\'; report-uri http://{there}/" src="/other"></iframe>',
    "download": '<a id="a" href="http://{there}/" download></a><script>document.getElementById("a").click()</script>',
    "ping": '<a id="a" href="#x" ping="http://{there}/"></a><script>document.getElementById("a").click()</script>',
    "another spelling": '<img src="http://0x7f.1:{port}/"><img src="http://[::ffff:127.0.0.1]:{port}/">',
    "payment": """<script>try {{ new PaymentRequest([{{ supportedMethods: "https://{there}/pay" }}],
        {{ total: {{ label: "t", amount: {{ currency: "EUR", value: "1" }} }} }}).canMakePayment().catch(() => 0) }} catch {{ }}</script>""",
}


@dataclass
class Trap:
    """A port of this machine, for TCP and UDP, that keeps the first bytes of whoever comes."""

    port: int = 0
    came: list[bytes] = field(default_factory=list[bytes])


@contextmanager
def trapping() -> Generator[Trap]:
    trap = Trap()
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        trap.port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", trap.port))
        tcp.listen(64)
        # Closing a socket does not wake who waits on it; looking up from time to time does.
        tcp.settimeout(0.1)
        udp.settimeout(0.1)
        over: list[bool] = []

        def accept() -> None:
            while not over:
                try:
                    connection, _ = tcp.accept()
                except OSError:
                    continue
                with connection:
                    connection.settimeout(0.2)
                    try:
                        trap.came.append(connection.recv(200))
                    except OSError:
                        trap.came.append(b"")

        def receive() -> None:
            while not over:
                try:
                    trap.came.append(udp.recvfrom(200)[0])
                except OSError:
                    continue

        threads = [Thread(target=accept), Thread(target=receive)]
        for thread in threads:
            thread.start()

        try:
            yield trap
        finally:
            over.append(True)
            for thread in threads:
                thread.join()


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    with trapping() as trap:
        yield trap


@pytest.fixture(scope="module")
def home(trap: Trap) -> Iterator[Site]:
    """The one site within reach: a page for each way out, a page for all, and a redirect."""
    there = f"127.0.0.1:{trap.port}"
    pages = {
        f"/{number}": f"<title>tried</title>{way.format(there=there, port=trap.port)}"
        for number, way in enumerate(WAYS.values())
    }
    site = Site(
        pages
        | {"/moved": f"http://{there}/moved", "/": "<title>home</title>", "/other": "<title>other</title>"}
    )
    yield site
    site.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(home: Site) -> AsyncIterator[Browser]:
    async with Browser(Reach(hosts=frozenset(), sites={"home.localhost": lambda: home.port})) as browser:
        yield browser


@pytest.mark.parametrize("writes", ["refuse", "allow"])
async def test_no_way_leads_out(browser: Browser, trap: Trap, writes: Any) -> None:
    """Whatever a page tries, a place out of reach hears nothing: no connection is opened to it, and no packet comes."""
    trap.came.clear()
    async with BrowserSession(browser, writes=writes, action_seconds=0.3, navigation_seconds=2) as session:
        for number in range(len(WAYS)):
            try:
                await session.open(f"{HOME}/{number}")
            except ToolError:
                continue  # the page moved on to where it may not

    await asyncio.sleep(0.3)  # nothing tells when something did not come
    assert trap.came == []


async def test_the_trap_would_see_what_gets_through(trap: Trap) -> None:
    """With the place named, the same browser gets there: an empty trap means something."""
    trap.came.clear()
    async with BrowserSession(Reach(hosts=frozenset({f"127.0.0.1:{trap.port}"}))) as session:
        with pytest.raises(ToolError):
            await session.open(f"http://127.0.0.1:{trap.port}/")

    assert trap.came
    assert trap.came[0].startswith(b"GET / HTTP/1.1")


@pytest.mark.parametrize(
    "move",
    [
        "location = 'file:///etc/hostname'",
        "location = 'data:text/html,<title>data</title>'",
        "location = URL.createObjectURL(new Blob(['<title>blob</title>'], { type: 'text/html' }))",
        "location = 'chrome://version'",
        "location = 'view-source:' + location.origin",
        "location = 'about:blank#x'",
        "open('data:text/html,<title>data</title>')",
        "open(URL.createObjectURL(new Blob(['<title>blob</title>'], { type: 'text/html' })))",
        "open('file:///etc/hostname')",
        "open('chrome://version')",
        "open('view-source:' + location.origin)",
    ],
)
async def test_a_page_does_not_move_to_another_scheme(browser: Browser, move: str) -> None:
    """Scripts that move the page or open a window to a file, data, or the browser's own pages end at no such page."""
    async with BrowserSession(browser) as session:
        await session.open(f"{HOME}/")
        async with session._doing("move") as page:
            await page.evaluate(move)

        await asyncio.sleep(0.3)  # nothing tells when a page did not move
        tabs = await session.tabs()
        assert {tab.url.partition(":")[0] for tab in tabs} <= {"http", "about"}
        assert {tab.title for tab in tabs} <= {"home", ""}


def public(field: Ground, *hostile: Hostile) -> Reach:
    """Any public host: the open server stands for those, and no name is looked up outside of the stub."""
    answers = {name: turns for one in hostile for name, turns in one.answers.items()}
    guard = Guard(ports=(field.port,), networks=(OPEN_NETWORK,), resolver=resolver(answers))
    return Reach(hosts=None, public=guard)


FETCH_ALL = """async urls => {
  const fetched = url => fetch(url, { mode: 'no-cors', signal: AbortSignal.timeout(15000) });
  const shown = url => new Promise(done => {
    const picture = new Image();
    picture.onload = picture.onerror = done;
    picture.src = url;
    setTimeout(done, 15000);
  });
  await Promise.allSettled(urls.map(async url => { await fetched(url); }));
  await Promise.allSettled(urls.map(shown));
}"""


async def test_no_hostile_address_is_reached_by_a_page(field: Ground) -> None:
    """A page of a public host fetches every hostile address there is, as it is written and by redirects: none is reached."""
    async with Browser(public(field, *HOSTILE, *REBINDING)) as browser, BrowserSession(browser) as session:
        await session.open(f"http://{OPEN_HOST}:{field.port}/")
        direct = [hostile.url(field.port) for hostile in HOSTILE]
        turned = [
            field.redirecting(hostile.url(field.port), status=REDIRECTS[number % 5], hops=1 + number % 3)
            for number, hostile in enumerate(ELSEWHERE)
        ]
        async with session._doing("fetch") as page:
            await page.evaluate(FETCH_ALL, [*direct, *turned])

    assert field.seen == []
    assert len([path for path in field.asked if path.startswith("/to/")]) >= len(ELSEWHERE)


@pytest.mark.parametrize("hostile", HOSTILE[::6], ids=str)
async def test_no_hostile_address_is_opened(field: Ground, shared_public: Browser, hostile: Hostile) -> None:
    """Given to a session, they are refused with an error that says so, and nobody hears of them."""
    async with BrowserSession(shared_public) as session:
        with pytest.raises(AddressRefused):
            await session.open(hostile.url(field.port))

    assert (field.seen, field.asked) == ([], [])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_public(shared_field: Ground) -> AsyncIterator[Browser]:
    async with Browser(public(shared_field, *HOSTILE)) as browser:
        yield browser


@pytest.mark.parametrize("hostile", REBINDING, ids=str)
async def test_a_name_is_looked_up_once_for_each_connection(field: Ground, hostile: Hostile) -> None:
    """A name that is public when it is checked and private after that leads to where it was checked, or nowhere."""
    async with BrowserSession(public(field, hostile)) as session:
        await session.open(hostile.url(field.port))
        with pytest.raises(AddressRefused):
            await session.open(hostile.url(field.port) + "again")

    assert field.seen == []
