"""Search through a SearXNG server of one's own: the provider for steady use."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agentflow.exceptions import MissingExtra, NetworkUnavailable, ToolError, ToolTimeout
from agentflow.toolkit.web.provider import Hit, refusal

if TYPE_CHECKING:
    import httpx


class SearXng:
    """Asks the server at `base`; its address is the operator's choice and may be private."""

    name = "searxng"

    def __init__(self, base: str) -> None:
        self._base = base.rstrip("/")

    async def find(self, query: str, *, wanted: int, seconds: float) -> list[Hit]:
        try:
            async with asyncio.timeout(seconds):
                response = await self._get(query, seconds)
        except TimeoutError:
            raise ToolTimeout(f"`{self._base}` gave no answer within {seconds:.1f} s") from None

        answer = self._answer(response)
        hits = [_hit(found) for found in answer["results"] if _usable(found)]
        silent = answer.get("unresponsive_engines")
        if silent and not hits:
            raise ToolError(f"`{self._base}` found nothing, and some of its engines failed: {silent}")

        return hits[:wanted]

    async def _get(self, query: str, seconds: float) -> httpx.Response:
        await asyncio.to_thread(_require)
        import httpx

        try:
            async with httpx.AsyncClient(timeout=seconds, follow_redirects=True) as client:
                return await client.get(f"{self._base}/search", params={"q": query, "format": "json"})
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NetworkUnavailable(f"`{self._base}` cannot be reached: {error or 'no answer'}") from error
        except httpx.TimeoutException:
            raise ToolTimeout(f"`{self._base}` gave no answer within {seconds:.1f} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ToolError(f"`{self._base}` failed: {error}", hint="check SEARXNG_URL") from error

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        if response.status_code == 403:
            raise ToolError(
                f"`{self._base}` refuses to answer in JSON",
                hint="add `json` to `search.formats` in the server's settings.yml",
            )

        if error := refusal(self._base, response.status_code):
            raise error

        try:
            answer = response.json()
        except ValueError:
            answer = None

        if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
            raise ToolError(f"`{self._base}` did not answer like SearXNG", hint="check SEARXNG_URL")

        return answer


def _require() -> None:
    # In a thread of its own the first import does not hold up what runs beside it.
    try:
        import_module("httpx")
    except ImportError:
        raise MissingExtra("tools", "httpx") from None


def _usable(found: Any) -> bool:
    return isinstance(found, dict) and str(found.get("url", "")).startswith(("http://", "https://"))


def _hit(found: dict[str, Any]) -> Hit:
    return Hit(
        title=str(found.get("title") or ""),
        url=str(found["url"]),
        text=str(found.get("content") or ""),
        engine=str(found.get("engine") or "searxng"),
    )
