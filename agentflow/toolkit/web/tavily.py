"""Search through the API of Tavily, which answers with longer passages; a key is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentflow.exceptions import RateLimited, ToolError
from agentflow.secrets import Secret
from agentflow.toolkit.guard import retry_after
from agentflow.toolkit.web.provider import Hit, Query
from agentflow.toolkit.web.service import Reply, Service, text_of

_BASE = "https://api.tavily.com"
_MOST = 20  # results of one answer
_LONGEST = 400  # characters of a query
_USED_UP = {432: "the plan of the key", 433: "the limit that was set for paying as you go"}


class Tavily:
    """Asks `base` with the key that the secret `key` holds, by default TAVILY_API_KEY.

    It has no regions, which are passed over in silence as the language of a query decides, and no strict safe search.
    """

    name = "tavily"

    def __init__(self, *, key: Secret | None = None, base: str = _BASE) -> None:
        self._key = key or Secret("TAVILY_API_KEY")
        self._base = base.rstrip("/")

    @property
    def needs(self) -> str:
        return "" if self._key.is_set() else self._key.name

    def lacks(self, query: Query) -> str:
        if len(query.text) > _LONGEST:
            return f"queries of over {_LONGEST} characters"

        return "strict safe search" if query.safe == "strict" else ""

    async def find(self, query: Query, *, seconds: float) -> list[Hit]:
        service = Service(url=f"{self._base}/search", name=self.name, hint="see docs.tavily.com")
        headers = {"Authorization": f"Bearer {self._key.reveal()}"}
        reply = await service.ask("POST", seconds=seconds, headers=headers, json=_body(query))
        self._check(reply)
        if reply.data is None or not isinstance(reply.data.get("results"), list):
            raise service.strange()

        return [_hit(row) for row in reply.rows("results")][: query.wanted]

    def _check(self, reply: Reply) -> None:
        if reply.status == 200:
            return

        said = _said(reply.data or {})
        text = f"`{self.name}` answered {reply.status}" + (f": {said}" if said else "")
        if reply.status in {429, 503}:
            wait = retry_after(reply.headers.get("retry-after"))
            raise RateLimited(text, hint="wait, or look at the plan of the key", retry_after=wait)

        if reply.status in _USED_UP:
            # Trying again within the hour is of no use.
            raise RateLimited(text, hint=f"{_USED_UP[reply.status]} is used up", retry_after=3600)

        raise ToolError(text, hint=f"check the key in {self._key.name}" if reply.status in {401, 403} else "")


def _body(query: Query) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "query": query.text,
        "max_results": min(query.wanted, _MOST),
        "topic": "news" if query.news else "general",
    }
    return asked | ({"time_range": query.time_range} if query.time_range else {})


def _said(data: Mapping[str, Any]) -> str:
    """The service's own words, which it gives as `{"detail": {"error": ...}}`, or as `{"detail": ...}`."""
    detail = data.get("detail")
    return text_of(detail, "error") if isinstance(detail, dict) else text_of(data, "detail", "error")


def _hit(row: Mapping[str, Any]) -> Hit:
    return Hit(
        title=text_of(row, "title"),
        url=str(row["url"]),
        text=text_of(row, "content"),
        engine="tavily",
        published=text_of(row, "published_date"),
    )
