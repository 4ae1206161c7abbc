"""Search providers with a key, and what all providers have in common, against servers that behave like the real ones."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from agentflow.exceptions import (
    MissingExtra,
    NetworkUnavailable,
    ProjectError,
    RateLimited,
    SecretMissing,
    ToolArgumentsInvalid,
    ToolError,
    ToolTimeout,
    UnknownName,
)
from agentflow.toolkit.web import Brave, Hit, Query, SearXng, Tavily, WebSearch
from agentflow.toolkit.web.backoff import Backoff
from agentflow.toolkit.web.provider import combined, same_page
from tests.toolkit.sites import Reply, Site, in_json, names

KEY = "key-of-these-tests"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BRAVE_API_KEY", "TAVILY_API_KEY"):
        monkeypatch.setenv(name, KEY)


def brave_web(*rows: Mapping[str, Any]) -> dict[str, Any]:
    found = {"web": {"type": "search", "results": list(rows)}} if rows else {}
    return {"type": "search", "query": {"original": "q"}, **found}


def brave_error(status: int, code: str, detail: str, **headers: str) -> Reply:
    error = {"id": "1", "status": status, "code": code, "detail": detail}
    return in_json({"type": "ErrorResponse", "error": error, "time": 1}, status, **headers)


def tavily_found(*rows: Any) -> dict[str, Any]:
    return {"query": "q", "answer": None, "images": [], "results": list(rows), "response_time": 0.4}


BRAVE_ROW = {
    "title": "Tents &amp; <strong>poles</strong>",
    "url": "https://tents.example/one",
    "description": "A <strong>tent</strong> for two weighs 1.9 kg.",
    "page_age": "2026-11-20T08:00:00",
}
TAVILY_ROW = {
    "title": "Tents",
    "url": "https://tents.example/one",
    "content": "A tent for two weighs 1.9 kg.",
    "score": 0.9,
    "published_date": "Fri, 20 Nov 2026 08:00:00 GMT",
}


async def test_brave_is_asked_and_read(site: Site) -> None:
    """The query goes out with the key in a header and everything that was asked; marks are taken out of the hits."""
    site.replies["/res/v1/web/search"] = in_json(
        brave_web(BRAVE_ROW, {"title": "no address"}, {"url": "ftp://x"})
    )
    query = Query(text="two & tent", wanted=3, time_range="week", region="de-de", safe="strict")
    (hit,) = await Brave(base=site.url).find(query, seconds=5)

    assert hit == Hit(
        title="Tents & poles",
        url="https://tents.example/one",
        text="A tent for two weighs 1.9 kg.",
        engine="brave",
        published="2026-11-20T08:00:00",
    )
    (sent,) = site.received
    assert sent.headers["x-subscription-token"] == KEY
    assert sent.query == {
        "q": "two & tent",
        "count": "3",
        "freshness": "pw",
        "country": "DE",
        "search_lang": "de",
        "safesearch": "strict",
        "text_decorations": "false",
        "result_filter": "web",
    }
    assert KEY not in sent.path


async def test_brave_has_news(site: Site) -> None:
    """News are another address, and their list stands elsewhere in the answer."""
    site.replies["/res/v1/news/search"] = in_json(
        {"type": "news", "results": [BRAVE_ROW | {"age": "2 days ago"}]}
    )
    (hit,) = await Brave(base=site.url).find(Query(text="tent", news=True, region="wt-wt"), seconds=5)

    assert hit.published == "2026-11-20T08:00:00"
    assert site.received[0].query["country"] == "ALL"
    assert "search_lang" not in site.received[0].query


async def test_tavily_is_asked_and_read(site: Site) -> None:
    """The query goes out as JSON with the key as a bearer."""
    site.replies["/search"] = in_json(tavily_found(TAVILY_ROW, {"url": 7}, "row"))
    query = Query(text="two & tent", wanted=50, time_range="month", news=True)
    (hit,) = await Tavily(base=f"{site.url}/").find(query, seconds=5)

    assert (hit.title, hit.url, hit.text) == (
        "Tents",
        "https://tents.example/one",
        "A tent for two weighs 1.9 kg.",
    )
    assert hit.published == "Fri, 20 Nov 2026 08:00:00 GMT"
    (sent,) = site.received
    assert (sent.method, sent.headers["authorization"]) == ("POST", f"Bearer {KEY}")
    assert json.loads(sent.body) == {
        "query": "two & tent",
        "max_results": 20,
        "topic": "news",
        "time_range": "month",
    }


async def test_searxng_is_told_all_that_is_asked(site: Site) -> None:
    """Time range, news, region and safe search reach the server; without a region no language is sent."""
    row = {"title": "t", "url": "https://a.example/", "content": "c", "publishedDate": "2026-11-20T08:00:00"}
    site.replies["/search"] = in_json({"results": [row]})
    query = Query(text="tent", time_range="day", news=True, region="de-de", safe="strict")
    (hit,) = await SearXng(site.url).find(query, seconds=5)
    await SearXng(site.url).find(replace(query, region="wt-wt"), seconds=5)

    assert hit.published == "2026-11-20T08:00:00"
    first, second = site.received
    assert first.query == {
        "q": "tent",
        "format": "json",
        "time_range": "day",
        "categories": "news",
        "language": "de-DE",
        "safesearch": "2",
    }
    assert "language" not in second.query


TAVILY_401 = {"detail": {"error": "Unauthorized: missing or invalid API key."}}
SERVICES: list[tuple[str, Reply, type[ToolError], str, str]] = [
    ("brave", brave_error(429, "RATE_LIMITED", "Request rate limit exceeded for plan."), RateLimited, "RATE_LIMITED", "plan"),
    ("brave", brave_error(422, "SUBSCRIPTION_TOKEN_INVALID", "invalid"), ToolError, "422", "BRAVE_API_KEY"),
    ("brave", brave_error(401, "UNAUTHORIZED", "no"), ToolError, "401", "BRAVE_API_KEY"),
    ("brave", brave_error(422, "VALIDATION", "country"), ToolError, "VALIDATION country", ""),
    ("brave", Reply(b"oops", 500), ToolError, "answered 500", ""),
    ("brave", Reply(b"", 503), RateLimited, "answered 503", ""),
    ("brave", Reply(b"<html>maintenance"), ToolError, "did not answer as it should", ""),
    ("brave", in_json([1, 2]), ToolError, "did not answer as it should", ""),
    ("brave", in_json({"type": "ErrorResponse"}), ToolError, "did not answer as it should", ""),
    ("brave", Reply(b'{"type":"search",' + b" " * 5_000_000, headers={"Content-Type": "application/json"}), ToolError, "larger than", ""),
    ("brave", Reply(b"[" * 100_000), ToolError, "did not answer as it should", ""),
    ("brave", Reply(waits=True), ToolTimeout, r"within 0\.4 s", ""),
    ("brave", Reply(b'{"type": "search"}', stalls=True), ToolTimeout, r"within 0\.4 s", ""),
    ("brave", Reply(b'{"type": "search"}', cut=True), NetworkUnavailable, "broke off", ""),
    ("brave", Reply(b"", 302, {"Location": "http://127.0.0.1:1/"}), ToolError, "answered 302", ""),
    ("tavily", in_json(TAVILY_401, 401), ToolError, "invalid API key", "TAVILY_API_KEY"),
    ("tavily", in_json({"detail": {"error": "blocked due to excessive requests"}}, 429, Retry_After="7"), RateLimited, "excessive", ""),
    ("tavily", in_json({"detail": {"error": "exceeds your plan's set usage limit"}}, 432), RateLimited, "usage limit", "used up"),
    ("tavily", in_json({"detail": {"error": "PayGo limit"}}, 433), RateLimited, "PayGo", "used up"),
    ("tavily", in_json({"detail": "Query is too long."}, 400), ToolError, "400: Query is too long", ""),
    ("tavily", Reply(b"\x00\xff", 502), ToolError, "answered 502", ""),
    ("tavily", in_json({"answer": "no results here"}), ToolError, "did not answer as it should", ""),
    ("tavily", in_json({"results": {"0": 1}}), ToolError, "did not answer as it should", ""),
    ("tavily", Reply(b"{}", stalls=True), ToolTimeout, r"within 0\.4 s", ""),
    ("tavily", Reply(b"{}", cut=True), NetworkUnavailable, "broke off", ""),
    ("searxng", Reply(b"{}", cut=True), NetworkUnavailable, "broke off", ""),
    ("searxng", Reply(b'{"results": []}', stalls=True), ToolTimeout, r"within 0\.4 s", ""),
    ("searxng", Reply(b"x" * 5_000_000), ToolError, "larger than", "SEARXNG_URL"),
    ("searxng", in_json({"results": [], "unresponsive_engines": [["google", "Suspended: too many requests"]]}), RateLimited, "too many", "other engines"),
    ("searxng", in_json({"results": [], "unresponsive_engines": [["google", "timeout"]]}), ToolError, "timeout", ""),
    ("searxng", Reply(b"", 429, {"Retry-After": "9"}), RateLimited, "answered 429", ""),
]  # fmt: skip


def provider(name: str, site: Site) -> Any:
    return {"brave": Brave, "tavily": Tavily, "searxng": SearXng}[name](base=site.url)


@pytest.mark.parametrize(("name", "reply", "error", "text", "hint"), SERVICES)
async def test_each_failure_has_its_error(
    site: Site, name: str, reply: Reply, error: type[ToolError], text: str, hint: str
) -> None:
    """Each way that a service fails is told apart, with the service's own words and no word of the key."""
    for path in ("/res/v1/web/search", "/search"):
        site.replies[path] = reply

    seconds = 0.4 if error is ToolTimeout else 20
    with pytest.raises(error, match=text) as caught:
        await provider(name, site).find(Query(text="tent"), seconds=seconds)

    assert type(caught.value) is error
    assert hint in caught.value.hint
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["brave", "tavily", "searxng"])
async def test_service_that_is_down(name: str, closed_port: int) -> None:
    """A server that is not there is `NetworkUnavailable`."""
    made: Any = {"brave": Brave, "tavily": Tavily, "searxng": SearXng}[name]
    with pytest.raises(NetworkUnavailable, match="cannot be reached"):
        await made(base=f"http://127.0.0.1:{closed_port}").find(Query(text="tent"), seconds=5)


@pytest.mark.parametrize(
    ("name", "data"),
    [("brave", brave_web()), ("tavily", tavily_found()), ("searxng", {"results": []})],
)
async def test_no_hits_is_no_failure(site: Site, name: str, data: dict[str, Any]) -> None:
    """A service that has nothing says so with an empty list."""
    for path in ("/res/v1/web/search", "/search"):
        site.replies[path] = in_json(data)

    assert await provider(name, site).find(Query(text="qzxv"), seconds=5) == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "12", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, 12),
        ({"X-RateLimit-Remaining": "0, 1200", "X-RateLimit-Reset": "1, 1419704"}, 1),
        ({"X-RateLimit-Remaining": "0, 0", "X-RateLimit-Reset": "1, 3600"}, 3600),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, None),
        ({}, None),
    ],
)
async def test_brave_says_when_to_come_back(
    site: Site, headers: dict[str, str], seconds: float | None
) -> None:
    """Of several limits it is the longest of those that are used up that counts."""
    site.replies["/res/v1/web/search"] = Reply(b"", 429, headers)
    with pytest.raises(RateLimited) as caught:
        await Brave(base=site.url).find(Query(text="tent"), seconds=5)

    assert caught.value.retry_after == seconds


async def test_redirect_does_not_take_the_key_along(site: Site) -> None:
    """A service with a key is not followed to another address, where the key would be read."""
    site.replies["/res/v1/web/search"] = Reply(b"", 302, {"Location": f"{site.url}/elsewhere"})
    with pytest.raises(ToolError):
        await Brave(base=site.url).find(Query(text="tent"), seconds=5)

    assert len(site.received) == 1


async def test_key_comes_from_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key a provider says what it needs, and one that is no key is refused."""
    monkeypatch.delenv("BRAVE_API_KEY")
    assert Brave().needs == "BRAVE_API_KEY"
    assert Tavily().needs == ""
    monkeypatch.setenv("BRAVE_API_KEY", "short")
    with pytest.raises(SecretMissing):
        await Brave().find(Query(text="tent"), seconds=1)


# The search over several providers


class Fixed:
    """A provider of a project's own: gives what it was told to."""

    def __init__(self, name: str, *answers: list[Hit] | ToolError, needs: str = "", lacks: str = "") -> None:
        self.name, self.needs = name, needs
        self._answers, self._lacks = list(answers), lacks
        self.queries: list[Query] = []

    def lacks(self, query: Query) -> str:
        return self._lacks if query.news else ""

    async def find(self, query: Query, *, seconds: float) -> list[Hit]:
        self.queries.append(query)
        answer = self._answers.pop(0)
        if isinstance(answer, ToolError):
            raise answer

        return answer


def hit(url: str, text: str = "text") -> Hit:
    return Hit(title="title", url=url, text=text, engine="own")


async def test_order_is_policy_and_pages_count_once() -> None:
    """Providers are asked in the order that is given until there are hits enough; a page that two found counts once."""
    first = Fixed("first", [hit("https://a.example/x?utm_source=n"), hit("https://b.example/")])
    second = Fixed("second", [hit("http://a.example/x#part", "again"), hit("https://c.example/")])
    third = Fixed("third")
    found = await WebSearch([first, second, third])("tent", 3)

    assert [(item.source, item.text) for item in found] == [
        ("https://a.example/x?utm_source=n", "text"),
        ("https://b.example/", "text"),
        ("https://c.example/", "text"),
    ]
    assert [item.score for item in found] == [1, 1 / 2, 1 / 3]
    assert third.queries == []


async def test_failure_of_one_is_made_up_for_by_the_next() -> None:
    """What goes wrong with one provider does not matter once another has hits, and does where none has."""
    failing = Fixed("failing", ToolTimeout("slow"), ToolTimeout("slow"))
    search = WebSearch([failing, Fixed("working", [hit("https://a.example/")], [])])

    assert len(await search("tent")) == 1
    with pytest.raises(ToolTimeout, match="slow"):
        await search("stove")


async def test_one_that_refused_is_left_alone_until_its_time() -> None:
    """After a refusal a provider is not asked again before its time has passed, as long as it asked for."""
    now = [0.0]
    refusing = Fixed("own", RateLimited("no", retry_after=90), [hit("https://a.example/")])
    search = WebSearch([refusing], clock=lambda: now[0])
    for moment, left in ((0.0, 90), (50.0, 40)):
        now[0] = moment
        with pytest.raises(RateLimited) as caught:
            await search("tent")

        assert caught.value.retry_after == left

    now[0] = 90.0
    assert len(await search("tent")) == 1
    assert len(refusing.queries) == 2


async def test_engine_and_service_of_one_name_are_two(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the API of Brave refuses says nothing about the engine of that name, which is asked all the same."""
    from ddgs.engines.brave import Brave as BraveEngine

    monkeypatch.setattr(BraveEngine, "search_url", f"{site.url}/brave")
    site.replies["/res/v1/web/search"] = Reply(b"", 429)
    site.replies["/brave"] = Reply(b"<html><body>nothing</body></html>")
    with pytest.raises(RateLimited, match="`brave` answered 429"):
        await WebSearch([Brave(base=site.url), "ddgs"], backends="brave", resolver=names({}))("tent")

    assert [path.partition("?")[0] for path in site.asked] == ["/res/v1/web/search", "/brave"]


async def test_answer_with_a_gap_is_not_kept() -> None:
    """What was found while somebody failed is given, and asked for again the next time."""
    own = Fixed("own", [hit("https://a.example/")], [hit("https://a.example/")])
    other = Fixed("other", ToolTimeout("slow"), [hit("https://b.example/")])
    search = WebSearch([own, other])

    assert [len(await search("tent")) for _ in range(3)] == [1, 2, 2]


async def test_no_hits_is_not_claimed_of_those_that_were_not_asked() -> None:
    """Where the time is used up before all were asked, an empty list would be a lie."""

    class Slow(Fixed):
        async def find(self, query: Query, *, seconds: float) -> list[Hit]:
            time.sleep(seconds)  # noqa: ASYNC251 - the time is to be gone, whatever the clock of the loop says
            return []

    last = Fixed("last")
    with pytest.raises(ToolTimeout, match="no time was left to ask `last`"):
        await WebSearch([Slow("slow"), last], timeout=0.01)("tent")

    assert last.queries == []


def test_waits_grow_where_no_time_is_named() -> None:
    """Each further refusal doubles the wait, up to an hour; an answer forgets them, another failure does not."""
    now = [0.0]
    backoff = Backoff(lambda: now[0])

    def refused() -> float | None:
        with pytest.raises(RateLimited) as caught, backoff.turn("a"):
            raise RateLimited("no")

        return caught.value.retry_after

    waits = []
    for _ in range(10):
        waits.append(refused() or 0)
        with pytest.raises(ToolTimeout), backoff.turn("b"):
            raise ToolTimeout("slow")

        now[0] += waits[-1]

    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    with backoff.turn("a"):
        pass

    assert refused() == 30


async def test_what_none_can_do_is_an_error() -> None:
    """One that lacks what is asked is passed over; where all do, the error names them."""
    plain, able = Fixed("plain", lacks="news"), Fixed("able", [hit("https://a.example/")])

    assert len(await WebSearch([plain, able])("tent", news=True)) == 1
    assert plain.queries == []
    with pytest.raises(ToolArgumentsInvalid, match="`plain` has no news"):
        await WebSearch([plain])("tent", news=True)


async def test_long_query_is_not_cut_in_silence(site: Site) -> None:
    """Services take no more than 400 characters: a longer query goes to one that takes it, or is an error."""
    services: list[Any] = [Brave(base=site.url), Tavily(base=site.url)]
    with pytest.raises(ToolArgumentsInvalid, match="`tavily` has no queries of over 400 characters"):
        await WebSearch(services)("tent " * 100)

    assert len(await WebSearch([*services, Fixed("own", [hit("https://a.example/")])])("tent " * 100)) == 1
    assert site.received == []


async def test_hit_is_a_passage_whatever_was_sent(site: Site) -> None:
    """Of a book that comes as one hit the beginning is kept, characters that no text holds are not, nor odd addresses."""
    row = {
        "url": "https://a.example/",
        "title": "a\nb" * 500,
        "content": "x\ud800\x00y" * 10_000,
        "engine": "e\x1b\n" * 90,
        "publishedDate": "d" * 90,
    }
    odd = [
        {"url": f"https://{url}"} for url in ("a.example/" + "x" * 3000, "b.example/ x", "c.example/\ud800\n")
    ]
    site.replies["/search"] = in_json({"results": [*odd, row]})
    (found,) = await WebSearch([SearXng(site.url)])("tent")

    assert found.text == "xy" * 2_000
    assert (len(found.title), len(found.place.split("published ")[1])) == (300, 40)
    assert all(part.isprintable() for part in (found.title, found.place, found.source))


async def test_missing_package_does_not_lose_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one provider found something, it does not matter that the package for the next one is missing."""
    monkeypatch.setitem(sys.modules, "ddgs.engines", None)
    search = WebSearch([Fixed("own", [hit("https://a.example/")], []), "ddgs"])

    assert len(await search("tent")) == 1
    with pytest.raises(MissingExtra):
        await search("stove")


@pytest.mark.parametrize(
    ("settings", "asked", "lacks"),
    [
        ({"backends": "mojeek,wikipedia"}, {"time_range": "week"}, "time ranges"),
        ({"backends": "duckduckgo,wikipedia", "safe": "strict"}, {}, "strict safe search"),
        (
            {"backends": "wikipedia", "safe": "strict"},
            {"time_range": "day"},
            "time ranges and strict safe search",
        ),
        (
            {"backends": "duckduckgo,mojeek", "safe": "strict"},
            {"time_range": "day"},
            "time ranges together with",
        ),
        ({"news_backends": "yahoo", "safe": "strict"}, {"news": True}, "strict safe search"),
    ],
)
async def test_engines_that_would_drop_it_are_not_asked(
    settings: dict[str, Any], asked: dict[str, Any], lacks: str
) -> None:
    """An engine that drops what is asked without a word is not asked at all."""
    with pytest.raises(ToolArgumentsInvalid, match=f"`ddgs` has no {lacks}"):
        await WebSearch(**settings, resolver=names({}))("tent", **asked)


async def test_engines_are_told_the_time_range(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the engines named, those that can do it are asked, each in its own words."""
    from ddgs.engines.brave import Brave as BraveEngine
    from ddgs.engines.mojeek import Mojeek

    monkeypatch.setattr(BraveEngine, "search_url", f"{site.url}/brave")
    monkeypatch.setattr(Mojeek, "search_url", f"{site.url}/mojeek")
    site.replies["/brave"] = Reply(b"<html><body>nothing</body></html>")
    search = WebSearch(backends="mojeek,brave", resolver=names({}))

    assert await search("tent", time_range="month") == []
    assert [(request.path.partition("?")[0], request.query["tf"]) for request in site.received] == [
        ("/brave", "pm")
    ]


BING_NEWS = """<html><body><div class="newsitem" data-title="Tents sold out" url="https://news.example/tents"
data-author="The Example"><span aria-label="3 days">3d</span><div class="snippet">All tents are gone.</div></div>
</body></html>"""


async def test_news_of_the_engines(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """News come from the engines that are named for them, with the date that the engine gives."""
    from ddgs.engines.bing_news import BingNews
    from ddgs.engines.duckduckgo_news import DuckduckgoNews

    row = {
        "date": 1_795_000_000,
        "title": "Stoves",
        "excerpt": "Stoves too.",
        "url": "https://news.example/stoves",
    }

    def token(self: Any, query: str) -> str:
        return "4-1"

    monkeypatch.setattr(BingNews, "search_url", f"{site.url}/bing")
    monkeypatch.setattr(DuckduckgoNews, "search_url", f"{site.url}/duck")
    monkeypatch.setattr(DuckduckgoNews, "_get_vqd", token)
    site.replies["/bing"] = Reply(BING_NEWS.encode())
    site.replies["/duck"] = in_json({"results": [row]})
    found = await WebSearch(news_backends="bing,duckduckgo", resolver=names({}))(
        "tent", news=True, time_range="week"
    )

    assert [(item.title, item.source, item.text) for item in found] == [
        ("Tents sold out", "https://news.example/tents", "All tents are gone."),
        ("Stoves", "https://news.example/stoves", "Stoves too."),
    ]
    assert all(", published 20" in item.place for item in found)
    assert [request.query.get("qft") or request.query["df"] for request in site.received] == [
        'interval="7"',
        "w",
    ]


async def test_refusal_before_the_search_itself_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that already refuses the page that it has to be asked for first is no garbage but a refusal."""
    from ddgs.engines.duckduckgo_news import DuckduckgoNews

    def token(self: Any, query: str) -> str:
        self.http_client.request("GET", f"{site.url}/token")
        raise ValueError("no token")

    monkeypatch.setattr(DuckduckgoNews, "_get_vqd", token)
    site.replies["/token"] = Reply(b"", 403)
    resolver = names({"duckduckgo.com": ["127.0.0.1"]})
    with pytest.raises(RateLimited, match="answered 403"):
        await WebSearch(news_backends="duckduckgo", resolver=resolver)("tent", news=True)


async def test_engine_that_refused_is_left_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each engine has a time of its own, as long as its `Retry-After` says; the others are asked meanwhile."""
    from ddgs.engines.duckduckgo import Duckduckgo
    from ddgs.engines.mojeek import Mojeek

    now = [0.0]
    monkeypatch.setattr(Duckduckgo, "search_url", f"{site.url}/duck")
    monkeypatch.setattr(Mojeek, "search_url", f"{site.url}/mojeek")
    site.replies["/duck"] = Reply(b"", 429, {"Retry-After": "100"})
    row = '<li><h2><a href="https://a.example/">A</a></h2><p class="s">text</p></li>'
    site.replies["/mojeek"] = Reply(f'<ul class="results">{row}</ul>'.encode())
    search = WebSearch(backends="duckduckgo,mojeek", resolver=names({}), clock=lambda: now[0], keep=0)
    for moment in (0.0, 99.0, 100.0):
        now[0] = moment
        assert len(await search("tent")) == 1

    asked = [path.partition("?")[0] for path in site.asked]
    assert asked == ["/duck", "/mojeek", "/mojeek", "/duck", "/mojeek"]


async def test_huge_page_of_an_engine_is_not_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that answers without end is given up; one that stalls in the middle is a timeout."""
    from ddgs.engines.duckduckgo import Duckduckgo

    monkeypatch.setattr(Duckduckgo, "search_url", f"{site.url}/duck")
    site.replies["/duck"] = Reply(b"<p>" * 2_000_000)
    with pytest.raises(ToolError, match="larger than 4,000,000 bytes"):
        await WebSearch(backends="duckduckgo", resolver=names({}))("tent")

    site.replies["/duck"] = Reply(b"<p>" * 1000, stalls=True)
    with pytest.raises(ToolTimeout):
        await WebSearch(backends="duckduckgo", resolver=names({}), timeout=0.6)("tent")


async def test_settings_are_checked() -> None:
    """A region, a safe search or a time range that is none is an error before anyone is asked."""
    wrong: Sequence[tuple[dict[str, Any], type[Exception]]] = (
        ({"region": "english"}, ProjectError),
        ({"region": "en-us-x"}, ProjectError),
        ({"safe": "very"}, UnknownName),
        ({"news_backends": "auto"}, ProjectError),
        ({"providers": ["bing"]}, UnknownName),
    )
    for settings, error in wrong:
        with pytest.raises(error):
            WebSearch(**settings)

    own = Fixed("own")
    hour: Any = "hour"
    with pytest.raises(ToolArgumentsInvalid, match="`hour` is no time range"):
        await WebSearch([own])("tent", time_range=hour)

    assert own.queries == []


async def test_all_that_could_be_set_up_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no provider is set up, the error says what each of them needs."""
    monkeypatch.delenv("BRAVE_API_KEY")
    monkeypatch.delenv("TAVILY_API_KEY")
    with pytest.raises(ProjectError) as caught:
        await WebSearch(["searxng", "brave", "tavily"])("tent")

    assert all(name in caught.value.hint for name in ("SEARXNG_URL", "BRAVE_API_KEY", "TAVILY_API_KEY"))


def test_addresses_of_one_page() -> None:
    """What tells two addresses of one page apart is left out, and nothing that names another page."""
    alike = (
        "https://A.example/x/",
        "http://a.example./x",
        "https://a.example:443/x#y",
        "https://a.example/x?utm_id=1",
    )
    other = (
        "https://a.example/X",
        "https://a.example/x?y=1",
        "https://b.example/x",
        "https://a.example:8443/x",
    )

    assert len({same_page(url) for url in alike}) == 1
    assert len({same_page(url) for url in (*alike, *other)}) == 1 + len(other)
    assert same_page("https://a.example/?b=2&a=1") == same_page("https://a.example?a=1&b=2")
    assert same_page("http://[::1/") == "http://[::1/"


def test_several_failures_are_one() -> None:
    """The kind that a caller can do most about is told, with all texts and the shortest wait."""
    refused, later = RateLimited("a", hint="h", retry_after=50), RateLimited("b", retry_after=7)
    away, odd = NetworkUnavailable("c"), SecretMissing("d", hint="set it")
    whole = combined([away, odd, refused, later, away])

    assert (type(whole), str(whole), whole.hint) == (RateLimited, "c; d; a; b", "h")
    assert isinstance(whole, RateLimited)
    assert whole.retry_after == 7
    assert type(combined([away, ToolTimeout("e")])) is ToolTimeout
    assert (type(combined([away, odd])), combined([away, odd]).hint) == (ToolError, "set it")
    assert type(combined([away])) is NetworkUnavailable
