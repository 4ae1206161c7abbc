"""Search of the public web: providers tried in turn, within one time limit, remembered for a while."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import get_args

from agentflow.context import operation
from agentflow.evidence import Evidence
from agentflow.exceptions import (
    MissingExtra,
    NetworkUnavailable,
    ProjectError,
    RateLimited,
    ToolArgumentsInvalid,
    ToolError,
    ToolTimeout,
    UnknownName,
)
from agentflow.toolkit.lookup import Resolver
from agentflow.toolkit.web.backoff import Backoff
from agentflow.toolkit.web.brave import Brave
from agentflow.toolkit.web.charset import clean
from agentflow.toolkit.web.ddgs import Ddgs
from agentflow.toolkit.web.provider import Hit, Provider, Query, SafeSearch, TimeRange, combined, same_page
from agentflow.toolkit.web.searxng import SearXng
from agentflow.toolkit.web.tavily import Tavily

_REMEMBERED = 256
_MOST = 20
_REGION = re.compile(r"[a-z]{2}-[a-z]{2,3}")
_LONGEST_TEXT, _LONGEST_URL = 4_000, 2_048  # characters of a hit; an engine may send any number


class WebSearch:
    """Searches with `providers` in turn, the next one if those before found too little or failed.

    Each is one of `ddgs` (the public engines in `backends`, and for news in `news_backends`, comma-separated lists, in
    this order), `searxng` (the server at SEARXNG_URL), `brave` (key in BRAVE_API_KEY), `tavily` (key in TAVILY_API_KEY),
    or a `Provider` of one's own. One that is not set up is passed over, and so is one that cannot do what is asked. No
    provider and no engine is asked that is not named. Who refuses as it is asked too often is left alone for a while.
    `timeout` bounds a whole search, in seconds; answers are kept for `keep` seconds. `region` is a country and a
    language as in `us-en`, `wt-wt` for none.
    """

    def __init__(
        self,
        providers: Sequence[str | Provider] = ("ddgs",),
        *,
        timeout: float = 8,
        backends: str = "duckduckgo,brave,mojeek,startpage,wikipedia",
        news_backends: str = "duckduckgo,bing,yahoo",
        region: str = "us-en",
        safe: SafeSearch = "moderate",
        keep: float = 600,
        resolver: Resolver | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if not _REGION.fullmatch(region):
            raise ProjectError(
                f"`{region}` is no region", hint="write a country and a language, such as `us-en`"
            )

        if safe not in get_args(SafeSearch):
            raise UnknownName("safe search", safe, get_args(SafeSearch))

        self._backoff = Backoff(clock)
        # One of its own for the engines, as an engine and a provider can have the same name.
        ddgs = Ddgs(_names(backends), news=_names(news_backends), backoff=Backoff(clock), resolver=resolver)
        made: dict[str, Provider] = {p.name: p for p in (ddgs, SearXng(), Brave(), Tavily())}
        self._providers = [_provider(provider, made) for provider in providers]
        self._region = region
        self._safe: SafeSearch = safe
        self._timeout = timeout
        self._keep = keep
        self._clock = clock
        self._answers: dict[Query, tuple[float, list[Evidence]]] = {}

    async def __call__(
        self,
        query: str,
        max_results: int = 5,
        *,
        time_range: TimeRange | None = None,
        news: bool = False,
    ) -> list[Evidence]:
        """The best passages for `query`, best first; empty if all that were asked have none.

        `time_range` leaves out what is older; `news` asks for articles of newspapers. Raises `ToolArgumentsInvalid`
        where no provider can do that, `NetworkUnavailable`, `RateLimited` with the seconds to wait, `ToolTimeout`, or
        `ToolError` for any other failure.
        """
        asked = Query(
            text=" ".join(query.split()),
            wanted=min(max(1, max_results), _MOST),
            time_range=_known_range(time_range),
            news=news,
            region=self._region,
            safe=self._safe,
        )
        if not asked.text:
            raise ToolError("the query is empty", hint="say what to search for")

        if (known := self._recall(asked)) is not None:
            return known

        found, is_whole = await self._search(asked)
        if is_whole:
            self._remember(asked, found)

        return list(found)

    async def _search(self, query: Query) -> tuple[list[Evidence], bool]:
        """What was found, and whether all who were to be asked did answer."""
        end = monotonic() + self._timeout
        found: dict[str, Evidence] = {}
        faults: list[ToolError] = []
        for provider in self._able(query):
            left = end - monotonic()
            if len(found) >= query.wanted:
                break

            if left <= 0:
                faults.append(ToolTimeout(f"no time was left to ask `{provider.name}`"))
                break

            try:
                more = await self._ask(provider, query, left)
            except ToolError as fault:
                faults.append(fault)
                continue
            except MissingExtra:
                # What others found is not lost for a package that is not there.
                if not found:
                    raise

                continue

            for item in more:
                found.setdefault(same_page(item.source), item)

        if faults and not found:
            raise _told(combined(faults))

        return _ranked(list(found.values())[: query.wanted]), not faults

    def _able(self, query: Query) -> list[Provider]:
        """Those that are set up and can do what is asked, in order."""
        ready = [provider for provider in self._providers if not provider.needs]
        if not ready:
            missing = " or ".join(dict.fromkeys(provider.needs for provider in self._providers))
            raise ProjectError(
                "no search provider is set up", hint=f"set {missing}, or add `ddgs` to `providers`"
            )

        lacking = {provider.name: provider.lacks(query) for provider in ready}
        if all(lacking.values()):
            texts = ", ".join(f"`{name}` has no {lacks}" for name, lacks in lacking.items())
            raise ToolArgumentsInvalid(
                f"this search cannot be made: {texts}",
                hint="leave that out of the search, or add a provider or an engine that has it",
            )

        return [provider for provider in ready if not lacking[provider.name]]

    async def _ask(self, provider: Provider, query: Query, seconds: float) -> list[Evidence]:
        if isinstance(provider, Ddgs):
            # It is several engines, each of which it leaves alone by itself.
            return await _asked(provider, query, seconds)

        with self._backoff.turn(provider.name):
            return await _asked(provider, query, seconds)

    def _recall(self, asked: Query) -> list[Evidence] | None:
        until, found = self._answers.get(asked, (0.0, []))
        return list(found) if asked in self._answers and self._clock() < until else None

    def _remember(self, asked: Query, found: list[Evidence]) -> None:
        self._answers.pop(asked, None)
        self._answers[asked] = (self._clock() + self._keep, found)
        if len(self._answers) > _REMEMBERED:
            del self._answers[next(iter(self._answers))]


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def _provider(provider: str | Provider, made: Mapping[str, Provider]) -> Provider:
    if not isinstance(provider, str):
        return provider

    if provider not in made:
        raise UnknownName("search provider", provider, list(made))

    return made[provider]


def _known_range(given: TimeRange | None) -> TimeRange | None:
    if given is None or given in get_args(TimeRange):
        return given

    raise ToolArgumentsInvalid(
        f"`{given}` is no time range", hint=f"give one of {', '.join(get_args(TimeRange))}"
    )


async def _asked(provider: Provider, query: Query, seconds: float) -> list[Evidence]:
    request = {"query": query.text}
    request |= {"time_range": query.time_range} if query.time_range else {}
    request |= {"news": "yes"} if query.news else {}
    async with operation("retrieval", provider.name, request=request, top_k=query.wanted) as record:
        hits = [hit for hit in await provider.find(query, seconds=seconds) if _is_address(hit.url)]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        found = [_evidence(hit, rank, now) for rank, hit in enumerate(hits, start=1)]
        record.result = found

    return found


def _ranked(found: list[Evidence]) -> list[Evidence]:
    """Scores by the place in this list, where those of several providers are put together."""
    return [replace(item, score=1 / rank) for rank, item in enumerate(found, start=1)]


def _evidence(hit: Hit, rank: int, now: str) -> Evidence:
    published = f", published {_line(hit.published, 40)}" if hit.published else ""
    return Evidence(
        # A page may be listed without any passage; its title is then all that is known of it.
        text=clean(hit.text or hit.title)[:_LONGEST_TEXT],
        source=hit.url,
        place=f"result {rank} of {_line(hit.engine, 60)}{published}",
        title=_line(hit.title, 300),
        tool="web_search",
        at=now,
        trust="untrusted",
        score=1 / rank,
    )


def _line(text: str, most: int) -> str:
    return " ".join(clean(text).split())[:most]


def _is_address(url: str) -> bool:
    return len(url) <= _LONGEST_URL and url.isprintable() and " " not in url


def _told(fault: ToolError) -> ToolError:
    """`fault` in words for the model that asked."""
    if isinstance(fault, NetworkUnavailable):
        return NetworkUnavailable(
            f"the web cannot be reached: {fault}; the run goes on without the web",
            hint=fault.hint or "use the tools that need no network, or say that the web could not be asked",
        )

    text = f"the web search failed: {fault}"
    if isinstance(fault, RateLimited):
        return RateLimited(text, hint=fault.hint, retry_after=fault.retry_after)

    return type(fault)(text, hint=fault.hint)
