"""Search of the public web: providers tried in turn, within one time limit, remembered for a while."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import monotonic

from agentflow.context import operation
from agentflow.evidence import Evidence
from agentflow.exceptions import NetworkUnavailable, ProjectError, ToolError, UnknownName
from agentflow.toolkit.lookup import Resolver
from agentflow.toolkit.web.ddgs import Ddgs
from agentflow.toolkit.web.provider import Hit, Provider, combined
from agentflow.toolkit.web.searxng import SearXng

_PROVIDERS = ("ddgs", "searxng")
_REMEMBERED = 256
_MOST = 20


class WebSearch:
    """Searches with `providers` in turn, the next one if the one before found nothing or failed.

    `searxng` asks the server at SEARXNG_URL and is passed over without it; `ddgs` asks the public engines in
    `backends`, a comma-separated list, in this order. `timeout` bounds a whole search, in seconds; answers are
    kept for `keep` seconds.
    """

    def __init__(
        self,
        providers: Sequence[str] = ("ddgs",),
        *,
        timeout: float = 8,
        backends: str = "duckduckgo,brave,mojeek,startpage,wikipedia",
        region: str = "us-en",
        keep: float = 600,
        resolver: Resolver | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        for name in providers:
            if name not in _PROVIDERS:
                raise UnknownName("search provider", name, _PROVIDERS)

        names = [name.strip() for name in backends.split(",") if name.strip()]
        self._ddgs = Ddgs(names, region=region, resolver=resolver)
        self._providers = tuple(providers)
        self._timeout = timeout
        self._keep = keep
        self._clock = clock
        self._answers: dict[tuple[str, int], tuple[float, list[Evidence]]] = {}

    async def __call__(self, query: str, max_results: int = 5) -> list[Evidence]:
        """The best passages for `query`, best first; empty if all that were asked have none.

        Raises `NetworkUnavailable`, `RateLimited`, `ToolTimeout`, or `ToolError` for any other failure.
        """
        query = " ".join(query.split())
        if not query:
            raise ToolError("the query is empty", hint="say what to search for")

        wanted = min(max(1, max_results), _MOST)
        if (known := self._recall((query, wanted))) is not None:
            return known

        found = await self._search(query, wanted)
        self._remember((query, wanted), found)
        return list(found)

    async def _search(self, query: str, wanted: int) -> list[Evidence]:
        end = monotonic() + self._timeout
        faults: list[ToolError] = []
        for provider in self._ready():
            left = end - monotonic()
            if left <= 0:
                break

            try:
                if found := await _ask(provider, query, wanted, left):
                    return found
            except ToolError as fault:
                faults.append(fault)

        if faults:
            raise _told(combined(faults))

        return []

    def _ready(self) -> list[Provider]:
        base = os.environ.get("SEARXNG_URL", "")
        made: dict[str, Provider] = {"ddgs": self._ddgs}
        if base:
            made["searxng"] = SearXng(base)

        ready = [made[name] for name in self._providers if name in made]
        if not ready:
            raise ProjectError(
                "no search provider is set up", hint="set SEARXNG_URL, or add `ddgs` to `providers`"
            )

        return ready

    def _recall(self, asked: tuple[str, int]) -> list[Evidence] | None:
        until, found = self._answers.get(asked, (0.0, []))
        return list(found) if asked in self._answers and self._clock() < until else None

    def _remember(self, asked: tuple[str, int], found: list[Evidence]) -> None:
        self._answers.pop(asked, None)
        self._answers[asked] = (self._clock() + self._keep, found)
        if len(self._answers) > _REMEMBERED:
            del self._answers[next(iter(self._answers))]


async def _ask(provider: Provider, query: str, wanted: int, seconds: float) -> list[Evidence]:
    async with operation("retrieval", provider.name, request={"query": query}, top_k=wanted) as record:
        hits = await provider.find(query, wanted=wanted, seconds=seconds)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        found = [_evidence(hit, rank, now) for rank, hit in enumerate(hits, start=1)]
        record.result = found

    return found


def _evidence(hit: Hit, rank: int, now: str) -> Evidence:
    return Evidence(
        # A page may be listed without any passage; its title is then all that is known of it.
        text=hit.text or hit.title,
        source=hit.url,
        place=f"result {rank} of {hit.engine}",
        title=hit.title,
        tool="web_search",
        at=now,
        trust="untrusted",
        score=1 / rank,
    )


def _told(fault: ToolError) -> ToolError:
    """`fault` in words for the model that asked."""
    if isinstance(fault, NetworkUnavailable):
        return NetworkUnavailable(
            f"the web cannot be reached: {fault}; the run goes on without the web",
            hint=fault.hint or "use the tools that need no network, or say that the web could not be asked",
        )

    return type(fault)(f"the web search failed: {fault}", hint=fault.hint)
