"""A search service that answers in JSON: one request within a time and a size limit, its failures told alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from agentflow.exceptions import FileUnreadable, NetworkUnavailable, ToolError, ToolTimeout
from agentflow.toolkit import guard

if TYPE_CHECKING:
    import httpx

_LARGEST = 4_000_000  # bytes of an answer; real ones have a hundredth of that
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a service answered: `data` is None where that is no JSON object."""

    status: int
    headers: Mapping[str, str]
    data: Mapping[str, Any] | None

    def rows(self, *path: str) -> list[Mapping[str, Any]]:
        """The objects in the list at `path` that name a web page by `url`; none where there is no such list."""
        found: Any = self.data
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None

        return [row for row in found if _is_page(row)] if isinstance(found, list) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Asks `url`, whose address is the operator's choice and may be private. `hint` is told where it does not answer.

    With `redirects` it follows those: only where nothing secret is sent.
    """

    url: str
    name: str
    hint: str = ""
    redirects: bool = False

    async def ask(
        self,
        method: str,
        *,
        seconds: float,
        headers: Mapping[str, str] = _NO_HEADERS,
        **parts: Any,
    ) -> Reply:
        """The reply, of whatever status, to a request with `parts` as `httpx` takes them.

        Raises `NetworkUnavailable`, `ToolTimeout`, or `ToolError`.
        """
        # Not counted: only the first search of a process has to wait for it.
        await guard.load()
        try:
            async with asyncio.timeout(seconds):
                return await self._asked(method, seconds, headers, parts)
        except TimeoutError:
            raise self._late(seconds) from None

    async def _asked(
        self, method: str, seconds: float, headers: Mapping[str, str], parts: Mapping[str, Any]
    ) -> Reply:
        import httpx

        sent = {"User-Agent": "agentflow", "Accept": "application/json", "Accept-Encoding": "gzip"}
        try:
            async with (
                httpx.AsyncClient(
                    timeout=seconds, follow_redirects=self.redirects, verify=guard.tls()
                ) as client,
                client.stream(method, self.url, headers={**sent, **headers}, **parts) as response,
            ):
                return await self._reply(response)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NetworkUnavailable(f"`{self.name}` cannot be reached: {error or 'no answer'}") from error
        except httpx.TimeoutException:
            raise self._late(seconds) from None
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise NetworkUnavailable(f"the connection to `{self.name}` broke off: {error}") from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise ToolError(f"`{self.name}` failed: {error}", hint=self.hint) from error

    async def _reply(self, response: httpx.Response) -> Reply:
        try:
            body = await guard.receive(response, max_bytes=_LARGEST)
        except FileUnreadable as error:
            raise ToolError(f"the answer of `{self.name}` cannot be read: {error}", hint=self.hint) from error

        return Reply(status=response.status_code, headers=response.headers, data=_object(body))

    def _late(self, seconds: float) -> ToolTimeout:
        return ToolTimeout(f"`{self.name}` gave no answer within {seconds:.1f} s")

    def strange(self) -> ToolError:
        """The error for an answer that is not what this service gives."""
        return ToolError(f"`{self.name}` did not answer as it should", hint=self.hint)


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None

    return cast("Mapping[str, Any]", data) if isinstance(data, dict) else None


def _is_page(row: Any) -> bool:
    return isinstance(row, dict) and str(row.get("url", "")).startswith(("http://", "https://"))


def text_of(row: Mapping[str, Any], *names: str) -> str:
    """The first of the fields `names` in `row` that holds a text; empty if none does."""
    return next((value for name in names if isinstance(value := row.get(name), str) and value), "")
