"""What a search provider is, what it is asked, and how the failures of several are told as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from agentflow.exceptions import NetworkUnavailable, RateLimited, ToolError, ToolTimeout

TimeRange = Literal["day", "week", "month", "year"]
SafeSearch = Literal["strict", "moderate", "off"]

# Parameters that say where a reader came from, and change nothing about the page.
_TRACKING = ("utm_", "gclid", "fbclid", "msclkid", "mc_cid", "mc_eid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked: `wanted` is the most hits that are of use, `region` a country and a language as in `us-en`.

    `time_range` leaves out what is older. `news` asks for articles of newspapers and the like.
    """

    text: str
    wanted: int = 5
    time_range: TimeRange | None = None
    news: bool = False
    region: str = "us-en"
    safe: SafeSearch = "moderate"

    @property
    def country(self) -> str:
        return self.region.partition("-")[0].lower()

    @property
    def language(self) -> str:
        return self.region.partition("-")[2].lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One search result, as `engine` gave it; `published` is the engine's own word on when, empty if it gave none."""

    title: str
    url: str
    text: str
    engine: str
    published: str = ""


class Provider(Protocol):
    """A way to search the web."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> str:
        """What is to be set before it can be asked, such as an environment variable; empty if nothing is missing."""
        ...

    def lacks(self, query: Query) -> str:
        """What `query` asks for that it does not have, such as `time ranges`; empty if it can do all of it."""
        ...

    async def find(self, query: Query, *, seconds: float) -> list[Hit]:
        """At most `query.wanted` hits, within `seconds`; empty only if every engine answered that it has none."""
        ...


def same_page(url: str) -> str:
    """What is alike in two addresses of one page: no scheme, no fragment, no trailing slash, no word of where one came from."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port in (None, 80, 443) else f":{parts.port}"
    except ValueError:
        return url

    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if not name.lower().startswith(_TRACKING)
    ]
    host = (parts.hostname or "").rstrip(".")
    return f"{host}{port}{parts.path.rstrip('/')}?{urlencode(sorted(kept))}"


def combined(faults: Sequence[ToolError]) -> ToolError:
    """One error in place of several, of the kind that a caller can do most about and with the texts of all.

    That the network is missing is true only if all say so.
    """
    text = "; ".join(dict.fromkeys(map(str, faults)))
    if refused := [fault for fault in faults if isinstance(fault, RateLimited)]:
        # The first that may be asked again makes the next try worth while.
        waits = [fault.retry_after for fault in refused if fault.retry_after is not None]
        return RateLimited(text, hint=_hint(refused), retry_after=min(waits, default=None))

    if late := [fault for fault in faults if isinstance(fault, ToolTimeout)]:
        return ToolTimeout(text, hint=_hint(late))

    others = [fault for fault in faults if not isinstance(fault, NetworkUnavailable)]
    return ToolError(text, hint=_hint(others)) if others else NetworkUnavailable(text, hint=_hint(faults))


def _hint(faults: Sequence[ToolError]) -> str:
    return next((fault.hint for fault in faults if fault.hint), "")


def refusal(engine: str, status: int, *, retry_after: float | None = None) -> ToolError | None:
    """The error that an HTTP `status` of a search engine stands for; None if it is an answer."""
    if status == 200:
        return None

    # DuckDuckGo answers 202, and others 403 or 503, to those who ask too often or look like a program.
    if status in {202, 403, 429, 503}:
        return RateLimited(
            f"`{engine}` answered {status}: it is asked too often, or refuses programs",
            hint="wait a minute, or set SEARXNG_URL to a search server of your own",
            retry_after=retry_after,
        )

    return ToolError(f"`{engine}` answered {status}")
