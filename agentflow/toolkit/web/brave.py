"""Search through the API of Brave, which has an index of its own; a key is needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agentflow.exceptions import RateLimited, ToolError
from agentflow.secrets import Secret
from agentflow.toolkit.guard import retry_after
from agentflow.toolkit.web.provider import Hit, Query
from agentflow.toolkit.web.service import Reply, Service, text_of

_BASE = "https://api.search.brave.com"
_FRESHNESS = {"day": "pd", "week": "pw", "month": "pm", "year": "py"}
_MOST = 20  # results of one answer
_LONGEST = 400  # characters of a query
_BOLD = re.compile(r"</?(?:strong|b|em)>")


class Brave:
    """Asks `base` with the key that the secret `key` holds, by default BRAVE_API_KEY."""

    name = "brave"

    def __init__(self, *, key: Secret | None = None, base: str = _BASE) -> None:
        self._key = key or Secret("BRAVE_API_KEY")
        self._base = base.rstrip("/")

    @property
    def needs(self) -> str:
        return "" if self._key.is_set() else self._key.name

    def lacks(self, query: Query) -> str:
        return f"queries of over {_LONGEST} characters" if len(query.text) > _LONGEST else ""

    async def find(self, query: Query, *, seconds: float) -> list[Hit]:
        kind = "news" if query.news else "web"
        service = Service(
            url=f"{self._base}/res/v1/{kind}/search", name=self.name, hint="see api.search.brave.com"
        )
        headers = {"X-Subscription-Token": self._key.reveal()}
        reply = await service.ask("GET", seconds=seconds, headers=headers, params=_parameters(query))
        self._check(reply)
        if reply.data is None or reply.data.get("type") not in {"search", "news"}:
            raise service.strange()

        # Without any hit the whole section is missing.
        rows = reply.rows("results") if query.news else reply.rows("web", "results")
        return [_hit(row) for row in rows][: query.wanted]

    def _check(self, reply: Reply) -> None:
        if reply.status == 200:
            return

        error: Any = (reply.data or {}).get("error")
        detail = error if isinstance(error, dict) else {}
        said = " ".join(filter(None, (text_of(detail, "code"), text_of(detail, "detail"))))
        text = f"`{self.name}` answered {reply.status}" + (f": {said}" if said else "")
        if reply.status in {429, 503}:
            raise RateLimited(
                text, hint="wait, or look at the plan of the key", retry_after=_wait(reply.headers)
            )

        is_key = reply.status in {401, 403} or "TOKEN" in said
        raise ToolError(text, hint=f"check the key in {self._key.name}" if is_key else "")


def _parameters(query: Query) -> dict[str, str]:
    asked = {
        "q": query.text,
        "count": str(min(query.wanted, _MOST)),
        "safesearch": query.safe,
        "text_decorations": "false",
        # Brave has no "no region" but this.
        "country": "ALL" if query.country == "wt" else query.country.upper(),
    }
    asked |= {"search_lang": query.language} if query.country != "wt" else {}
    asked |= {} if query.news else {"result_filter": "web"}
    return asked | ({"freshness": _FRESHNESS[query.time_range]} if query.time_range else {})


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: as `Retry-After` has it, else until the longest of the limits that are used up begins anew.

    There are several limits, by the second and by the month, told in two headers such as `0, 1200` and `1, 86000`.
    """
    if (wait := retry_after(headers.get("retry-after"))) is not None:
        return wait

    left = headers.get("x-ratelimit-remaining", "").split(",")
    until = [retry_after(part) for part in headers.get("x-ratelimit-reset", "").split(",")]
    used_up = [
        wait for part, wait in zip(left, until, strict=False) if part.strip() == "0" and wait is not None
    ]
    return max(used_up, default=None)


def _hit(row: Mapping[str, Any]) -> Hit:
    return Hit(
        title=_plain(text_of(row, "title")),
        url=str(row["url"]),
        text=_plain(text_of(row, "description")),
        engine="brave",
        published=text_of(row, "page_age", "age"),
    )


def _plain(text: str) -> str:
    # Imported here: its table of names is large.
    from html import unescape

    return unescape(_BOLD.sub("", text))
