"""Public search engines without a key, through the `ddgs` package.

It reads the pages that the engines make for people, with the headers of a browser: their terms may forbid that.
For more than occasional use run a SearXNG server and set SEARXNG_URL.
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
from agentflow.toolkit.web.provider import Hit, combined, refusal

if TYPE_CHECKING:
    from ddgs.base import BaseSearchEngine

    Engine = type[BaseSearchEngine[Any]]

_PROBE_SECONDS = 1.5


class Ddgs:
    """Asks `backends` one after the other until there are hits enough."""

    name = "ddgs"

    def __init__(
        self, backends: Sequence[str], *, region: str = "us-en", resolver: Resolver | None = None
    ) -> None:
        # `auto` would send the query to every engine that the package knows.
        if not backends or {"auto", "all"} & set(backends):
            raise ProjectError("`backends` must name search engines", hint="such as `duckduckgo,wikipedia`")

        self._backends = tuple(backends)
        self._region = region
        self._resolver = resolver

    async def find(self, query: str, *, wanted: int, seconds: float) -> list[Hit]:
        end = monotonic() + seconds
        engines = await asyncio.to_thread(_engines, self._backends)
        await asyncio.to_thread(_probe, engines, self._resolver)
        hits: dict[str, Hit] = {}
        faults: list[ToolError] = []
        for engine in engines:
            # Half of the time at most, so that one silent engine leaves room for the next.
            limit = min(seconds / 2, end - monotonic())
            if limit <= 0 or len(hits) >= wanted:
                break

            try:
                found = await self._ask(engine, query, limit)
            except ToolError as fault:
                faults.append(fault)
                continue

            for hit in found:
                hits.setdefault(hit.url.rstrip("/"), hit)

        if faults and not hits:
            raise combined(faults)

        return list(hits.values())[:wanted]

    async def _ask(self, engine: Engine, query: str, limit: float) -> list[Hit]:
        try:
            async with asyncio.timeout(limit):
                return await asyncio.to_thread(_ask, engine, query, self._region, limit)
        except TimeoutError:
            raise ToolTimeout(f"`{engine.name}` gave no answer within {limit:.1f} s") from None


def _engines(names: Sequence[str]) -> list[Engine]:
    try:
        from ddgs.engines import ENGINES
    except ImportError:
        raise MissingExtra("tools", "ddgs") from None

    known = ENGINES["text"]
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


def _ask(engine: Engine, query: str, region: str, limit: float) -> list[Hit]:
    """The hits of one engine. Blocks; the package's own timeout ends the thread soon after `limit`."""
    from ddgs.exceptions import DDGSException
    from lxml.etree import LxmlError  # type: ignore[import-untyped]

    asked = engine(proxy=os.environ.get("DDGS_PROXY"), timeout=max(1, round(limit)))
    statuses = _watched(asked)
    try:
        found = asked.search(query, region=region) or []
    except DDGSException as error:
        raise _fault(engine.name, error) from error
    except (LxmlError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ToolError(f"the answer of `{engine.name}` could not be understood: {error}") from error

    if not found:
        _refused(engine.name, statuses)

    return [
        Hit(title=hit.title, url=hit.href, text=hit.body, engine=engine.name)
        for hit in found
        if hit.href.startswith(("http://", "https://"))
    ]


def _watched(engine: BaseSearchEngine[Any]) -> list[int]:
    """A list that receives the HTTP statuses `engine` gets, which it otherwise drops."""
    statuses: list[int] = []
    send = engine.http_client.request

    def request(*args: Any, **kwargs: Any) -> Any:
        response = send(*args, **kwargs)
        statuses.append(response.status_code)
        return response

    engine.http_client.request = request  # type: ignore[method-assign]
    return statuses


def _refused(name: str, statuses: Sequence[int]) -> None:
    for status in statuses:
        if error := refusal(name, status):
            raise error


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
