"""Web search and page fetch, against servers on this machine that behave like the real ones."""

from __future__ import annotations

import gzip
import json
import socket
import sys
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentflow.context import Context, Operation, OperationKind, Verdict, entered
from agentflow.exceptions import (
    AddressRefused,
    FileUnreadable,
    MissingExtra,
    NetworkUnavailable,
    ProjectError,
    RateLimited,
    ToolError,
    ToolTimeout,
    UnknownName,
)
from agentflow.toolkit.web import PageReader, WebSearch, fetch_page
from agentflow.toolkit.web.passages import passages
from tests.toolkit.hostile_urls import HOSTILE, OPEN_NETWORK, Ground, Hostile, resolver
from tests.toolkit.sites import Reply, Site, names
from tools import web as tools_web

# Search


def duck(hits: Sequence[tuple[str, str, str]]) -> Reply:
    """A page of DuckDuckGo's."""
    items = "".join(
        f'<div class="links_main links_deep result__body"><h2><a href="{url}">{title}</a></h2><a href="{url}">{text}</a></div>'
        for title, url, text in hits
    )
    return Reply(f"<html><body>{items}</body></html>".encode())


def mojeek(hits: Sequence[tuple[str, str, str]]) -> Reply:
    items = "".join(
        f'<li><h2><a href="{url}">{title}</a></h2><p class="s">{text}</p></li>' for title, url, text in hits
    )
    return Reply(f'<html><body><ul class="results-standard">{items}</ul></body></html>'.encode())


TENT = ("Tents", "https://tents.example/one", "A tent for two weighs 1.9 kg.")
STOVE = ("Stoves", "https://stoves.example/", "A stove burns gas.")


@pytest.fixture
def engines(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """`site` in the place of two search engines."""
    from ddgs.engines.duckduckgo import Duckduckgo
    from ddgs.engines.mojeek import Mojeek

    monkeypatch.setattr(Duckduckgo, "search_url", f"{site.url}/duck/")
    monkeypatch.setattr(Mojeek, "search_url", f"{site.url}/mojeek/")
    return site


def search(**settings: Any) -> WebSearch:
    usual: dict[str, Any] = {"backends": "duckduckgo,mojeek", "timeout": 4, "resolver": names({})}
    return WebSearch(**(usual | settings))


async def test_hits_become_untrusted_evidence(engines: Site) -> None:
    """A hit is evidence with text, address, title, place and time, and is not trusted."""
    engines.replies["/duck/"] = duck([TENT, STOVE])
    first, second = await search()("two  person tent", max_results=2)

    assert (first.title, first.source, first.text) == TENT
    assert (first.trust, first.tool, first.place) == ("untrusted", "web_search", "result 1 of duckduckgo")
    assert first.at.endswith("+00:00")
    assert (first.score or 0) > (second.score or 0)
    assert engines.asked == ["/duck/"]


async def test_next_engine_fills_up(engines: Site) -> None:
    """Engines are asked in order until there are hits enough; the same page counts once."""
    engines.replies["/duck/"] = duck([TENT])
    engines.replies["/mojeek/"] = mojeek([(TENT[0], TENT[1] + "/", "the same"), STOVE])
    found = await search()("tent", max_results=5)

    assert [hit.source for hit in found] == [TENT[1], STOVE[1]]
    assert [path.partition("?")[0] for path in engines.asked] == ["/duck/", "/mojeek/"]


async def test_number_of_hits_is_bounded(engines: Site) -> None:
    """`max_results` is kept to, and at least one."""
    engines.replies["/duck/"] = duck([(f"t{n}", f"https://{n}.example/", "text") for n in range(30)])
    searching = search()

    assert [len(await searching("tent", max_results=n)) for n in (-1, 3, 999)] == [1, 3, 20]


async def test_links_that_are_none_are_dropped(engines: Site) -> None:
    """A hit whose address is not http or https is left out, and so are advertisements."""
    ad = ("Ad", "https://duckduckgo.com/y.js?ad", "buy")
    engines.replies["/duck/"] = duck([("x", "javascript:alert(1)", "x"), ad, TENT])

    assert [hit.source for hit in await search(backends="duckduckgo")("tent")] == [TENT[1]]


@pytest.mark.parametrize("status", [202, 403, 429, 503])
async def test_refusal_is_told_from_no_hits(engines: Site, status: int) -> None:
    """An engine that refuses is `RateLimited`, though the package would say that nothing was found."""
    engines.replies["/duck/"] = Reply(b"<html><body>slow down</body></html>", status)

    with pytest.raises(RateLimited, match=f"`duckduckgo` answered {status}"):
        await search(backends="duckduckgo")("tent")


async def test_no_hits_is_an_empty_list(engines: Site) -> None:
    """If every engine answers that it has nothing, so does the search."""
    engines.replies["/duck/"] = engines.replies["/mojeek/"] = Reply(b"<html><body>no results</body></html>")

    assert await search()("qzxv") == []


async def test_no_hits_is_not_claimed_when_an_engine_refused(engines: Site) -> None:
    """One empty answer beside one refusal does not mean that the web has nothing."""
    engines.replies["/duck/"] = Reply(b"", 429)
    engines.replies["/mojeek/"] = mojeek([])

    with pytest.raises(RateLimited):
        await search()("tent")


async def test_refusal_is_made_up_for_by_the_next_engine(engines: Site) -> None:
    """A failing engine does not matter if another one has hits."""
    engines.replies["/duck/"] = Reply(b"", 429)
    engines.replies["/mojeek/"] = mojeek([STOVE])

    assert [hit.source for hit in await search()("stove")] == [STOVE[1]]


async def test_server_error_is_named(engines: Site) -> None:
    """Any other status is an error that names engine and status."""
    engines.replies["/duck/"] = Reply(b"oops", 500)

    with pytest.raises(ToolError, match="`duckduckgo` answered 500"):
        await search(backends="duckduckgo")("tent")


@pytest.mark.parametrize("body", [b"\x00\xff\xfe garbage \x80" * 50, b"<<<>>><div class='body'>", b"{}"])
async def test_garbage_is_no_crash(engines: Site, body: bytes) -> None:
    """What is no page of results gives no hits."""
    engines.replies["/duck/"] = Reply(body)

    assert await search(backends="duckduckgo")("tent") == []


async def test_garbage_of_an_engine_with_json_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer in JSON that cannot be read is an error and not an empty list."""
    from ddgs.engines.wikipedia import Wikipedia

    def payload(self: Any, **settings: Any) -> dict[str, str]:
        self.search_url, self.lang = f"{site.url}/wiki", "en"
        return {}

    monkeypatch.setattr(Wikipedia, "build_payload", payload)
    site.replies["/wiki"] = Reply(b"<html>maintenance</html>")

    with pytest.raises(ToolError, match="`wikipedia` could not be understood"):
        await search(backends="wikipedia", resolver=names({"en.wikipedia.org": ["127.0.0.1"]}))("tent")


async def test_slow_engine_leaves_time_for_the_next(engines: Site) -> None:
    """An engine that stays silent is given up in time to ask another one."""
    engines.replies["/duck/"] = Reply(waits=True)
    engines.replies["/mojeek/"] = mojeek([STOVE])

    assert [hit.source for hit in await search(timeout=5)("stove")] == [STOVE[1]]


async def test_silence_is_a_timeout(engines: Site) -> None:
    """If nobody answers within `timeout`, that is `ToolTimeout`."""
    engines.replies["/duck/"] = Reply(waits=True)

    with pytest.raises(ToolTimeout, match="duckduckgo"):
        await search(backends="duckduckgo", timeout=0.4)("tent")


async def test_refused_connection_is_no_network(
    engines: Site, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that cannot be connected to is `NetworkUnavailable`."""
    from ddgs.engines.duckduckgo import Duckduckgo

    monkeypatch.setattr(Duckduckgo, "search_url", f"http://127.0.0.1:{closed_port}/")

    with pytest.raises(NetworkUnavailable, match=r"`duckduckgo` cannot be reached.*goes on without the web"):
        await search(backends="duckduckgo")("tent")


async def test_without_network_no_engine_is_asked(engines: Site) -> None:
    """If no name is found, the search ends before any engine is tried, and says which names were."""

    def nobody(host: str, *rest: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "no network")

    with pytest.raises(NetworkUnavailable, match=r"`127\.0\.0\.1`.*goes on without the web"):
        await search(resolver=nobody)("tent")

    assert engines.asked == []


async def test_silent_name_server_is_no_network(engines: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup without an answer is given up, although it cannot be cancelled."""
    from agentflow.toolkit.web import ddgs

    monkeypatch.setattr(ddgs, "_PROBE_SECONDS", 0.05)

    def silent(host: str, *rest: Any) -> list[Any]:
        engines.done.wait(5)
        return []

    with pytest.raises(NetworkUnavailable):
        await search(resolver=silent)("tent")

    assert engines.asked == []


async def test_same_search_is_not_asked_twice(engines: Site) -> None:
    """Within ten minutes the same query is answered from memory, after that anew."""
    now = [0.0]
    engines.replies["/duck/"] = duck([TENT])
    searching = search(backends="duckduckgo", clock=lambda: now[0])
    first = await searching("tent")
    first.clear()
    again = await searching(" tent ")
    now[0] = 601.0
    await searching("tent")
    await searching("tent", max_results=2)

    assert [hit.source for hit in again] == [TENT[1]]
    assert len(engines.asked) == 3


async def test_failure_is_not_remembered(engines: Site) -> None:
    """After a failure that is no refusal the next search asks again."""
    searching = search(backends="duckduckgo")
    engines.replies["/duck/"] = Reply(b"", 500)
    with pytest.raises(ToolError):
        await searching("tent")

    engines.replies["/duck/"] = duck([TENT])

    assert len(await searching("tent")) == 1


async def test_names_are_checked_before_anyone_is_asked(engines: Site) -> None:
    """A misspelt engine or provider is an error; the query is never sent to engines that were not named."""
    with pytest.raises(UnknownName) as caught:
        await search(backends="duckduckgo,mojek")("tent")

    assert caught.value.nearest == ["mojeek"]
    for backends in ("auto", "all,duckduckgo", " ,"):
        with pytest.raises(ProjectError):
            search(backends=backends)

    with pytest.raises(UnknownName):
        search(providers=["google"])

    assert engines.asked == []


async def test_empty_query_is_refused(engines: Site) -> None:
    """A query of spaces asks nobody."""
    with pytest.raises(ToolError, match="empty"):
        await search()(" \n ")

    assert engines.asked == []


async def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional packages the error says what to install."""
    monkeypatch.setitem(sys.modules, "ddgs.engines", None)
    with pytest.raises(MissingExtra, match="ddgs"):
        await search()("tent")

    monkeypatch.setitem(sys.modules, "ssrfguard", None)
    with pytest.raises(MissingExtra, match="ssrfguard"):
        await fetch_page("https://example.com/")


# SearXNG


def searx(results: Sequence[Mapping[str, Any]], **rest: Any) -> Reply:
    return Reply(
        json.dumps({"query": "q", "results": list(results)} | rest).encode(),
        headers={"Content-Type": "application/json"},
    )


@pytest.fixture
def server(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """`site` as the SearXNG server."""
    monkeypatch.setenv("SEARXNG_URL", f"{site.url}/")
    return site


async def test_searxng_is_asked_in_json(server: Site) -> None:
    """The server's results become evidence that names the engine behind it."""
    result = {"title": TENT[0], "url": TENT[1], "content": TENT[2], "engine": "brave"}
    results: list[Any] = [result, {"title": "no address"}, result | {"url": "ftp://x.example"}, 7]
    server.replies["/search"] = searx(results)
    (hit,) = await WebSearch(["searxng"])("two & tent")

    assert (hit.title, hit.source, hit.text, hit.place) == (*TENT, "result 1 of brave")
    assert server.asked == ["/search?q=two+%26+tent&format=json&safesearch=1&language=en-US"]


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (Reply(b"", 403), ToolError, "refuses to answer in JSON"),
        (Reply(b"", 429), RateLimited, "answered 429"),
        (Reply(b"", 500), ToolError, "answered 500"),
        (Reply(b"<html>"), ToolError, "did not answer like SearXNG"),
        (Reply(b'{"hits": []}'), ToolError, "did not answer like SearXNG"),
        (searx([], unresponsive_engines=[["google", "access denied"]]), ToolError, "access denied"),
        (Reply(waits=True), ToolTimeout, "within 0.3 s"),
    ],
)
async def test_searxng_failures(server: Site, reply: Reply, error: type[ToolError], text: str) -> None:
    """Each way that the server fails has its own error."""
    server.replies["/search"] = reply

    with pytest.raises(error, match=text):
        await WebSearch(["searxng"], timeout=0.3 if error is ToolTimeout else 20)("tent")


async def test_searxng_without_hits(server: Site) -> None:
    """No results and no failing engine is an empty list."""
    server.replies["/search"] = searx([])

    assert await WebSearch(["searxng"])("tent") == []


async def test_searxng_that_is_down(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not there is `NetworkUnavailable`; an address that is none says what to check."""
    monkeypatch.setenv("SEARXNG_URL", f"http://127.0.0.1:{closed_port}")
    with pytest.raises(NetworkUnavailable, match="goes on without the web"):
        await WebSearch(["searxng"])("tent")

    monkeypatch.setenv("SEARXNG_URL", "searx:notaport")
    with pytest.raises(ToolError) as caught:
        await WebSearch(["searxng"])("tent")

    assert "SEARXNG_URL" in caught.value.hint


async def test_second_provider_stands_in(engines: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next provider is asked if the one before failed, and if the one before is not set up."""
    engines.replies["/duck/"] = duck([TENT])
    assert len(await search(providers=["searxng", "ddgs"])("tent")) == 1

    monkeypatch.setenv("SEARXNG_URL", engines.url)
    assert len(await search(providers=["searxng", "ddgs"])("tent")) == 1
    assert [path.partition("?")[0] for path in engines.asked if "mojeek" not in path] == [
        "/duck/",
        "/search",
        "/duck/",
    ]


async def test_no_provider_is_an_error() -> None:
    """With SearXNG alone and no address of it, the error says what to set."""
    with pytest.raises(ProjectError) as caught:
        await WebSearch(["searxng"])("tent")

    assert "SEARXNG_URL" in caught.value.hint


# Pages


PAGE = """<html><head><title>Repair
 service</title></head><body><nav><a href="/">Home</a></nav><main><article><h1>Repairs</h1>
<p>We mend tents, packs and stoves in our workshop in Leeds, and we have done so since the year 1994.</p>
<h2>Prices</h2><p>A new zip costs 24 euros, and a new pole 18 euros, plus 6 euros for the way back to you.</p>
<h2>Times</h2><p>Most repairs take nine working days; in spring it can be up to three weeks — café.</p>
</article></main><footer>Imprint</footer></body></html>"""


def reader(site: Site, **settings: Any) -> PageReader:
    """A reader that may fetch from `site`, and from nowhere else on this machine."""
    usual: dict[str, Any] = {
        "ports": [site.port],
        "networks": ["127.0.0.1/32"],
        "resolver": names({}),
        "robots": False,
    }
    return PageReader(**(usual | settings))


async def test_page_becomes_passages(site: Site) -> None:
    """A page's content comes in passages with title and place, without navigation and footer."""
    site.replies["/repairs"] = Reply(PAGE.encode(), headers={"Content-Type": "text/html; charset=utf-8"})
    found = await reader(site)(f"{site.url}/repairs")

    assert [hit.place.partition(",")[0] for hit in found] == [
        "Repairs",
        "Repairs > Prices",
        "Repairs > Times",
    ]
    assert {hit.title for hit in found} == {"Repair service"}
    assert {(hit.source, hit.trust, hit.tool) for hit in found} == {
        (f"{site.url}/repairs", "untrusted", "fetch_page")
    }
    assert "24 euros" in found[1].text
    assert "café" in found[2].text
    assert not any("Imprint" in hit.text or "Home" in hit.text for hit in found)


@pytest.mark.parametrize(
    ("charset", "header"),
    [
        ("latin-1", "text/html; charset=latin-1"),
        ("utf-8", "text/html"),
        ("utf-8", "text/html; charset=none-such"),
    ],
)
async def test_charset_is_found(site: Site, charset: str, header: str) -> None:
    """The charset of the header counts, else the page's own, and an unknown one does no harm."""
    page = PAGE.replace(" — ", " ").encode(charset)
    site.replies["/"] = Reply(page, headers={"Content-Type": header})
    found = await reader(site)(site.url)

    assert "café" in found[-1].text


async def test_plain_text_keeps_its_offsets(site: Site) -> None:
    """The passages of a text are found again at their offsets."""
    text = "# One\n\nfirst\n\n## Two\n\nsecond\n"
    site.replies["/notes.md"] = Reply(text.encode(), headers={"Content-Type": "text/markdown"})
    found = await reader(site)(f"{site.url}/notes.md")

    assert [text[hit.start : hit.end] for hit in found] == [hit.text for hit in found]
    assert [hit.text for hit in found] == ["# One\n\nfirst", "## Two\n\nsecond"]


async def test_short_page_is_kept(site: Site) -> None:
    """A page with hardly any text is not lost to the search for its content."""
    site.replies["/"] = Reply(b"<html><body><p>Closed today.</p></body></html>")

    assert [hit.text for hit in await reader(site)(site.url)] == ["Closed today."]


async def test_long_page_is_cut(site: Site) -> None:
    """Text over the limit is left out, and each place tells how much there is."""
    site.replies["/"] = Reply(b"word " * 1000, headers={"Content-Type": "text/plain"})
    found = await reader(site, max_characters=2_000)(site.url)

    assert sum(len(hit.text) for hit in found) <= 2_000
    assert all(hit.place.endswith("of 5000") for hit in found)


async def test_redirects_are_followed(site: Site) -> None:
    """The evidence names the address that was read in the end."""
    site.replies["/old"] = Reply(b"", 301, {"Location": "/new"})
    site.replies["/new"] = Reply(b"moved here", headers={"Content-Type": "text/plain"})
    (hit,) = await reader(site)(f"{site.url}/old")

    assert (hit.source, hit.text) == (f"{site.url}/new", "moved here")


async def test_endless_redirects_are_refused(site: Site) -> None:
    """After five redirects it is enough."""
    site.replies["/"] = Reply(b"", 302, {"Location": "/"})

    with pytest.raises(AddressRefused, match="more than 5 times"):
        await reader(site)(f"{site.url}/")

    assert len(site.asked) == 6


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{port}/",
        "http://localhost:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://127.0.0.1:22/",
        "//127.0.0.2:{port}/",
    ],
)
async def test_redirect_to_a_refused_address(site: Site, target: str) -> None:
    """A redirect is checked like the first address."""
    site.replies["/"] = Reply(b"", 302, {"Location": target.format(port=site.port)})

    with pytest.raises(AddressRefused):
        await reader(site, resolver=names({"localhost": ["127.0.0.2"]}))(f"{site.url}/")

    assert site.asked == ["/"]


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
async def test_no_private_address_is_reached(field: Ground, hostile: Hostile) -> None:
    """However an address of this machine or of a private network is written, nothing is asked there."""
    reading = PageReader(ports=[field.port], networks=[OPEN_NETWORK], resolver=resolver(hostile.answers))
    with pytest.raises(AddressRefused):
        await reading(hostile.url(field.port))

    assert (field.seen, field.asked) == ([], [])


async def test_name_is_looked_up_once(site: Site) -> None:
    """A name that changes its address after the check does not change where the reader connects to."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    asked: list[str] = []

    def rebinding(host: str, *rest: Any) -> list[Any]:
        asked.append(host)
        return names({host: next(answers)})(host, *rest)

    site.replies["/"] = Reply(b"text", headers={"Content-Type": "text/plain"})
    (hit,) = await reader(site, resolver=rebinding)(f"http://moving.example:{site.port}/")

    assert (hit.text, asked) == ("text", ["moving.example"])


async def test_default_reader_refuses_this_machine(site: Site) -> None:
    """Without settings neither this machine nor an unusual port is reached."""
    with pytest.raises(AddressRefused, match="may not be opened"):
        await fetch_page(site.url)

    assert site.asked == []


async def test_proxy_of_the_environment_is_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would look names up out of the guard's sight, so it is not asked."""
    monkeypatch.setenv("HTTP_PROXY", site.url)
    with pytest.raises(NetworkUnavailable):
        await reader(site)(f"http://nowhere.example:{site.port}/")

    assert site.asked == []


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply(b"x" * 30_000), "larger than 20,000 bytes"),
        (Reply(gzip.compress(b"x" * 50_000_000), headers={"Content-Encoding": "gzip"}), "larger than"),
        (Reply(zlib.compress(b"x" * 50_000_000), headers={"Content-Encoding": "deflate"}), "larger than"),
        (
            Reply(gzip.compress(b"x"), headers={"Content-Encoding": "gzip, gzip"}),
            "compressed as `gzip, gzip`",
        ),
        (Reply(b"x", headers={"Content-Encoding": "br"}), "compressed as `br`"),
        (Reply(b"no gzip", headers={"Content-Encoding": "gzip"}), "is not the `gzip`"),
        (Reply(b"\x89PNG", headers={"Content-Type": "image/png"}), "is `image/png`"),
        (Reply(b"%PDF-1.7", headers={"Content-Type": "application/pdf"}), "cannot be read: Invalid PDF"),
        (Reply(b""), "holds no text"),
        (Reply(b"<html><body><script>run()</script></body></html>"), "holds no text"),
    ],
)
async def test_unreadable_page(site: Site, reply: Reply, text: str) -> None:
    """A page that is too large, is not text or is empty is an error that says so."""
    site.replies["/"] = reply

    with pytest.raises(FileUnreadable, match=text):
        await reader(site, max_bytes=20_000)(site.url)


async def test_page_with_an_xml_declaration(site: Site) -> None:
    """A page in XHTML that declares its charset twice is read."""
    page = '<?xml version="1.0" encoding="utf-8"?>' + PAGE
    site.replies["/"] = Reply(page.encode(), headers={"Content-Type": "application/xhtml+xml; charset=utf-8"})

    assert len(await reader(site)(site.url)) == 3


async def test_compressed_page_is_read(site: Site) -> None:
    """Compression within the limit is undone."""
    site.replies["/"] = Reply(
        gzip.compress(PAGE.encode()), headers={"Content-Encoding": "gzip", "Content-Type": "text/html"}
    )

    assert len(await reader(site)(site.url)) == 3


async def test_large_redirect_body_is_not_read(site: Site) -> None:
    """The body of a redirect, which may be a bomb, is left unread."""
    bomb = gzip.compress(b"x" * 50_000_000)
    site.replies["/"] = Reply(bomb, 302, {"Location": "/new", "Content-Encoding": "gzip"})
    site.replies["/new"] = Reply(b"moved", headers={"Content-Type": "text/plain"})

    assert [hit.text for hit in await reader(site, max_bytes=1_000)(site.url)] == ["moved"]


@pytest.mark.parametrize(("status", "error"), [(404, ToolError), (500, ToolError), (429, RateLimited)])
async def test_error_page_is_no_content(site: Site, status: int, error: type[ToolError]) -> None:
    """The page that a server sends with an error is not taken for the page that was asked for."""
    site.replies["/"] = Reply(PAGE.encode(), status)

    with pytest.raises(error, match=f"answered {status}"):
        await reader(site)(site.url)


async def test_slow_page_is_a_timeout(site: Site) -> None:
    """The time limit is for the whole fetch."""
    site.replies["/"] = Reply(waits=True)

    with pytest.raises(ToolTimeout, match=r"longer than 0\.3 s"):
        await reader(site, timeout=0.3)(site.url)


async def test_unknown_or_dead_host_is_unreachable(site: Site, closed_port: int) -> None:
    """A host that is not found, or does not answer, is `NetworkUnavailable`."""
    reading = reader(site, ports=[site.port, closed_port])
    for host in (f"nowhere.example:{site.port}", f"127.0.0.1:{closed_port}"):
        with pytest.raises(NetworkUnavailable, match="cannot be reached"):
            await reading(f"http://{host}/")


# Passages


def test_passages_cover_the_text() -> None:
    """Together the passages hold every word, in order, and none is over the size."""
    text = "# A\n\n" + "lorem ipsum " * 400 + "\n\n## B\n\n\n\n" + "x" * 5000 + "\n \n## C\n## D\ntail   \n"
    found = list(passages(text, size=1000))

    assert all(part.end - part.start <= 1000 for part in found)
    assert "".join("".join(text[part.start : part.end].split()) for part in found) == "".join(text.split())
    assert found[0].headings == ("A",)
    assert all(text[part.start] != " " for part in found)


def test_passages_of_hostile_text() -> None:
    """Pages of spaces, of line ends and of nothing take no time and give no passage."""
    for text in ("", " " * 1_000_000, "\n" * 1_000_000, " \n" * 500_000):
        assert list(passages(text)) == []

    assert len(list(passages("x" + " " * 1_000_000 + "x"))) == 2


# Records and tools


class Recorder:
    """Keeps the operations that were recorded."""

    mark = ""

    def __init__(self) -> None:
        self.begun: list[tuple[OperationKind, str, Any, dict[str, Any]]] = []
        self.ended: list[tuple[Any, str]] = []

    async def begin(
        self, kind: OperationKind, name: str, request: Any, attributes: Mapping[str, Any], **_: Any
    ) -> Operation:
        self.begun.append((kind, name, request, dict(attributes)))
        return Operation(id="1", kind=kind, name=name)

    async def finish(self, operation: Operation, error: BaseException | None) -> None:
        self.ended.append((operation.result, type(error).__name__))

    async def ask(self, tool: str, arguments: Mapping[str, Any], prompt: str) -> Verdict:
        return Verdict(approved=True, by="test")

    def refuse_unchecked(self, tool: Any) -> None: ...

    def refusal(self, tool: Any) -> str:
        return ""

    def saw(self, tool: Any) -> None: ...

    def count_seen(self) -> None: ...

    def has_read(self, taint: Any) -> bool:
        return False

    def is_bounded(self) -> bool:
        return False

    def key(self) -> str:
        return "r:s"

    def delta(self, text: str) -> None: ...

    def artifact(self, name: str, data: bytes, media_type: str) -> str:
        return name

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None: ...

    def shared(self, key: str, make: Callable[[], Any]) -> Any:
        return make()

    async def events(self) -> list[Any]:
        return []

    def output(self, step: str) -> Any: ...


@pytest.fixture
def inside(tmp_path: Path) -> Context:
    return Context(run_id="r", step="s", attempt=1, input=None, model="m", root=tmp_path, recorder=Recorder())


async def test_each_provider_that_is_asked_is_recorded(engines: Site, inside: Context) -> None:
    """A retrieval is recorded with provider, query and results; an answer from memory is none."""
    engines.replies["/duck/"] = duck([TENT])
    searching = search(backends="duckduckgo")
    with entered(inside):
        found = await searching("tent", max_results=3)
        await searching("tent", max_results=3)

    assert isinstance(inside.recorder, Recorder)
    assert inside.recorder.begun == [("retrieval", "ddgs", {"query": "tent"}, {"top_k": 3})]
    assert inside.recorder.ended == [(found, "NoneType")]


async def test_fetch_is_recorded_with_its_failure(site: Site, inside: Context) -> None:
    """A fetch is recorded too, and so is its failure."""
    with entered(inside), pytest.raises(ToolError):
        await reader(site)(f"{site.url}/missing")

    assert isinstance(inside.recorder, Recorder)
    assert inside.recorder.begun == [("retrieval", "page", {"url": f"{site.url}/missing"}, {})]
    assert inside.recorder.ended == [(None, "ToolError")]


def test_tools_say_what_they_touch() -> None:
    """Both tools read from outside, and what they return is not trusted."""
    for offered in (tools_web.web_search, tools_web.fetch_page):
        assert (offered.effect, offered.returns, offered.outside) == ("read", "untrusted", True)
        assert offered.timeout == 20
        assert offered.description

    assert tools_web.web_search.parameters["required"] == ["query"]


async def test_tools_search_and_fetch(engines: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's tools are the search and the reader."""
    monkeypatch.setattr(tools_web, "_search", search(backends="duckduckgo"))
    engines.replies["/duck/"] = duck([TENT])

    assert [hit.source for hit in await tools_web.web_search.invoke({"query": "tent"})] == [TENT[1]]
    with pytest.raises(AddressRefused):
        await tools_web.fetch_page.invoke({"url": engines.url})
