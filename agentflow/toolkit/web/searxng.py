"""Search through a SearXNG server of one's own: the provider for steady use."""

from __future__ import annotations

import os
import re
from typing import Any

from agentflow.exceptions import RateLimited, ToolError
from agentflow.toolkit.guard import retry_after
from agentflow.toolkit.web.provider import Hit, Query, refusal
from agentflow.toolkit.web.service import Reply, Service, text_of

_SAFE = {"off": "0", "moderate": "1", "strict": "2"}
# How the server words it when an engine behind it asks for patience or takes it for a program.
_REFUSED = re.compile(r"(?i)too many requests|captcha|access denied|suspended|rate.?limit")


class SearXng:
    """Asks the server at `base`, by default at SEARXNG_URL."""

    name = "searxng"

    def __init__(self, base: str | None = None) -> None:
        self._base = base

    @property
    def needs(self) -> str:
        return "" if self._address() else "SEARXNG_URL"

    def lacks(self, query: Query) -> str:
        del query
        return ""

    async def find(self, query: Query, *, seconds: float) -> list[Hit]:
        base = self._address()
        service = Service(url=f"{base}/search", name=base, hint="check SEARXNG_URL", redirects=True)
        reply = await service.ask("GET", seconds=seconds, params=_parameters(query))
        if reply.status == 403:
            raise ToolError(
                f"`{base}` refuses to answer in JSON",
                hint="add `json` to `search.formats` in the server's settings.yml",
            )

        if error := refusal(base, reply.status, retry_after=retry_after(reply.headers.get("retry-after"))):
            raise error

        if reply.data is None or not isinstance(reply.data.get("results"), list):
            raise ToolError(f"`{base}` did not answer like SearXNG", hint="check SEARXNG_URL")

        hits = [_hit(row) for row in reply.rows("results")]
        if not hits:
            _check_engines(base, reply)

        return hits[: query.wanted]

    def _address(self) -> str:
        return (self._base if self._base is not None else os.environ.get("SEARXNG_URL", "")).rstrip("/")


def _parameters(query: Query) -> dict[str, str]:
    asked = {"q": query.text, "format": "json", "safesearch": _SAFE[query.safe]}
    asked |= {"language": f"{query.language}-{query.country.upper()}"} if query.country != "wt" else {}
    asked |= {"categories": "news"} if query.news else {}
    return asked | ({"time_range": query.time_range} if query.time_range else {})


def _check_engines(base: str, reply: Reply) -> None:
    """Raise if none was found because the engines behind the server failed."""
    silent = (reply.data or {}).get("unresponsive_engines")
    if not silent:
        return

    text = f"`{base}` found nothing, and some of its engines failed: {silent}"
    if _REFUSED.search(str(silent)):
        raise RateLimited(text, hint="wait a minute, or enable other engines on the server")

    raise ToolError(text)


def _hit(row: Any) -> Hit:
    return Hit(
        title=text_of(row, "title"),
        url=str(row["url"]),
        text=text_of(row, "content"),
        engine=text_of(row, "engine") or "searxng",
        published=text_of(row, "publishedDate"),
    )
