"""Public search engines without a key, through the `ddgs` package.

It reads the pages that the engines make for people, with the headers of a browser: their terms may forbid that.
For more than occasional use run a SearXNG server and set SEARXNG_URL, or use a service with a key.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentflow.exceptions import (
    MissingExtra,
    NetworkUnavailable,
    ProjectError,
    ToolError,
    ToolTimeout,
    UnknownName,
)
from agentflow.toolkit.lookup import Resolver, bounded
from agentflow.toolkit.web.backoff import Backoff
from agentflow.toolkit.web.engine_client import EngineClient, TooLarge
from agentflow.toolkit.web.provider import Hit, Query, combined, same_page

if TYPE_CHECKING:
    from ddgs.base import BaseSearchEngine

    Engine = type[BaseSearchEngine[Any]]

_PROBE_SECONDS = 1.5
_RANGES = {"day": "d", "week": "w", "month": "m", "year": "y"}
_SAFE = {"off": "off", "moderate": "moderate", "strict": "on"}
# What the engines of the package 9.16 do with what they are given; the others drop it without a word.
_WITH_RANGE = {"text": {"brave", "duckduckgo", "startpage", "yahoo"}, "news": {"bing", "duckduckgo", "yahoo"}}
_WITH_STRICT = {"text": {"brave", "mojeek", "startpage"}, "news": {"duckduckgo"}}


class Ddgs:
    """Asks `backends`, or for news `news`, one after the other until there are hits enough; no other is ever asked."""

    name = "ddgs"
    needs = ""

    def __init__(
        self,
        backends: Sequence[str],
        *,
        news: Sequence[str] = ("duckduckgo", "bing", "yahoo"),
        backoff: Backoff | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        for names, setting in ((backends, "backends"), (news, "news_backends")):
            # `auto` would send the query to every engine that the package knows.
            if not names or {"auto", "all"} & set(names):
                raise ProjectError(
                    f"`{setting}` must name search engines", hint="such as `duckduckgo,wikipedia`"
                )

        self._named = {"text": tuple(backends), "news": tuple(news)}
        self._backoff = backoff or Backoff()
        self._resolver = resolver

    def lacks(self, query: Query) -> str:
        missing = []
        if query.time_range and not _able(self._named[_category(query)], query, _WITH_RANGE):
            missing.append("time ranges")

        if query.safe == "strict" and not _able(self._named[_category(query)], query, _WITH_STRICT):
            missing.append("strict safe search")

        if missing or self._suited(query):
            return " and ".join(missing)

        return "time ranges together with strict safe search"

    async def find(self, query: Query, *, seconds: float) -> list[Hit]:
        end = monotonic() + seconds
        engines = await asyncio.to_thread(_engines, _category(query), self._named[_category(query)])
        engines = [engine for engine in engines if engine.name in self._suited(query)]
        await asyncio.to_thread(_probe, engines, self._resolver)
        hits: dict[str, Hit] = {}
        faults: list[ToolError] = []
        for engine in engines:
            # Half of the time at most, so that one silent engine leaves room for the next.
            limit = min(seconds / 2, end - monotonic())
            if len(hits) >= query.wanted:
                break

            if limit <= 0:
                faults.append(ToolTimeout(f"no time was left to ask `{engine.name}`"))
                break

            try:
                with self._backoff.turn(engine.name):
                    found = await self._ask(engine, query, limit)
            except ToolError as fault:
                faults.append(fault)
                continue

            for hit in found:
                hits.setdefault(same_page(hit.url), hit)

        if faults and not hits:
            raise combined(faults)

        return list(hits.values())[: query.wanted]

    def _suited(self, query: Query) -> list[str]:
        """The names of the engines that do all that is asked."""
        names: Sequence[str] = self._named[_category(query)]
        names = _able(names, query, _WITH_RANGE) if query.time_range else names
        return list(_able(names, query, _WITH_STRICT) if query.safe == "strict" else names)

    async def _ask(self, engine: Engine, query: Query, limit: float) -> list[Hit]:
        try:
            async with asyncio.timeout(limit):
                return await asyncio.to_thread(_ask, engine, query, limit)
        except TimeoutError:
            raise ToolTimeout(f"`{engine.name}` gave no answer within {limit:.1f} s") from None


def _category(query: Query) -> str:
    return "news" if query.news else "text"


def _able(names: Sequence[str], query: Query, able: dict[str, set[str]]) -> list[str]:
    return [name for name in names if name in able[_category(query)]]


def _engines(category: str, names: Sequence[str]) -> list[Engine]:
    try:
        from ddgs.engines import ENGINES
    except ImportError:
        raise MissingExtra("tools", "ddgs") from None

    known = ENGINES[category]
    for name in names:
        # The package itself would only log an unknown name, and ask all engines instead.
        if name not in known:
            raise UnknownName("search engine", name, sorted(known))

    return [known[name] for name in names]


def _probe(engines: Sequence[Engine], resolver: Resolver | None) -> None:
    """Raise `NetworkUnavailable` if no host of `engines` is found: they would take far longer to say so."""
    # Imported here: it brings a whole HTTP client along.
    from urllib.request import getproxies

    # Behind a proxy names need not be known here.
    if os.environ.get("DDGS_PROXY") or getproxies():
        return

    end = monotonic() + _PROBE_SECONDS
    hosts = dict.fromkeys(urlsplit(engine.search_url).hostname or "" for engine in engines)
    # Some addresses hold a language that is still to be filled in.
    tried = [host for host in hosts if host and "{" not in host]
    for host in tried:
        try:
            bounded(resolver, max(0.0, end - monotonic()))(host, 443)
        except (OSError, ValueError):
            continue

        return

    if tried:
        names = ", ".join(f"`{host}`" for host in tried)
        raise NetworkUnavailable(f"none of {names} was found")


def _ask(engine: Engine, query: Query, limit: float) -> list[Hit]:
    """The hits of one engine. Blocks; the package's own timeout ends the thread soon after `limit`."""
    from ddgs.exceptions import DDGSException
    from lxml.etree import LxmlError

    asked = engine(proxy=os.environ.get("DDGS_PROXY"), timeout=max(1, round(limit)))
    client = EngineClient(asked.http_client)
    asked.http_client = client  # type: ignore[assignment]
    try:
        found = asked.search(
            query.text,
            region=query.region,
            safesearch=_SAFE[query.safe],
            timelimit=_RANGES[query.time_range] if query.time_range else None,
        )
    except TooLarge as error:
        raise ToolError(f"the answer of `{engine.name}` is larger than {error}") from error
    except DDGSException as error:
        client.check(engine.name)
        raise _fault(engine.name, error) from error
    except (LxmlError, ValueError, LookupError, TypeError, AttributeError) as error:
        # A refusal is often no page of results, or lacks what is looked for before the search.
        client.check(engine.name)
        raise ToolError(f"the answer of `{engine.name}` could not be understood: {error}") from error

    if not found:
        client.check(engine.name)

    hits = [_hit(result, engine.name) for result in found or []]
    return [hit for hit in hits if hit.url.startswith(("http://", "https://"))]


def _hit(result: Any, engine: str) -> Hit:
    """A result, of whose fields any can be missing; those of news name their address and date otherwise."""

    def text(*names: str) -> str:
        return next((str(value) for name in names if (value := getattr(result, name, None))), "")

    return Hit(
        title=text("title"), url=text("href", "url"), text=text("body"), engine=engine, published=text("date")
    )


def _fault(name: str, error: Exception) -> ToolError:
    """What an error of the package means; it tells causes apart only by the exception below its own."""
    import primp
    from ddgs.exceptions import TimeoutException

    if isinstance(error, TimeoutException):
        return ToolTimeout(f"`{name}` gave no answer in time")

    cause = error.__cause__
    if isinstance(cause, primp.ConnectError | primp.DNSError):
        return NetworkUnavailable(f"`{name}` cannot be reached: {_last(cause)}")

    return ToolError(f"`{name}` failed: {_last(error)}")


def _last(error: BaseException) -> str:
    """The innermost of the causes that the HTTP client strings together."""
    return str(error).rpartition(" > ")[2]
