"""One call of a service that speaks the OpenAI API: sent, bounded, and its failures told as those of a tool."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from agentflow.exceptions import MissingExtra, NetworkUnavailable, ToolError, ToolTimeout
from agentflow.toolkit import guard
from agentflow.toolkit.guard import Guard
from agentflow.toolkit.media.endpoint import Endpoint
from agentflow.toolkit.media.faults import refusal

if TYPE_CHECKING:
    import ssl

    import httpx

# Words about an error, a transcript of a day, or a verdict: text is never longer.
LONGEST_TEXT = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file as the field `part` of a form."""

    part: str
    name: str
    data: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered with status 200; `where` names it in errors."""

    where: str
    media_type: str
    body: bytes = field(repr=False)

    def data(self) -> dict[str, Any]:
        """The JSON object that it is; raises `ToolError` for anything else."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None

        if not isinstance(found, dict):
            raise self.odd("no JSON object")

        return cast("dict[str, Any]", found)

    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    def odd(self, what: str) -> ToolError:
        """The error for an answer that is not what this API gives."""
        return ToolError(
            f"{self.where} did not answer as the OpenAI API does: {what}",
            hint="check that the address ends in `/v1`, and which model it serves",
        )


async def asked(
    endpoint: Endpoint, path: str, *, body: Mapping[str, Any], max_bytes: int = LONGEST_TEXT
) -> Answer:
    """What `endpoint` answers to the JSON `body`, sent to `path` with the name of its model."""
    return await _sent(endpoint, path, max_bytes, json={"model": endpoint.model, **body})


async def uploaded(
    endpoint: Endpoint,
    path: str,
    uploads: list[Upload],
    *,
    form: Mapping[str, str | list[str]],
    max_bytes: int = LONGEST_TEXT,
) -> Answer:
    """What `endpoint` answers to files and fields of a form, sent to `path` with the name of its model."""
    files = [(u.part, (u.name, u.data, u.media_type)) for u in uploads]
    return await _sent(endpoint, path, max_bytes, data={"model": endpoint.model, **form}, files=files)


async def _sent(endpoint: Endpoint, path: str, max_bytes: int, **content: Any) -> Answer:
    # In a thread, as the first import takes long enough to be felt by all that runs beside it.
    await asyncio.to_thread(require)
    where = f"`{endpoint.base_url}{path}`"
    headers = _headers(endpoint)
    async with bounded(where, endpoint.timeout), client(endpoint.timeout) as sender:
        url = f"{endpoint.base_url}{path}"
        async with sender.stream("POST", url, headers=headers, **content) as response:
            answer = Answer(
                where=where,
                media_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
                body=await guard.receive(response, max_bytes=max_bytes),
            )
            if response.status_code != 200:
                raise refusal(where, response.status_code, response.headers, answer.body)

    return answer


def _headers(endpoint: Endpoint) -> dict[str, str]:
    # Compressed answers can grow beyond bounds.
    headers = {"Accept-Encoding": "identity", "User-Agent": "agentflow"}
    if endpoint.key is None:
        return headers

    value = endpoint.key.reveal()
    if not (value.isascii() and value.isprintable()):
        raise ToolError(
            f"the secret `{endpoint.key.name}` cannot be sent as a key",
            hint="it holds characters that no header may hold: was it copied whole?",
        )

    return headers | {"Authorization": f"Bearer {value}"}


def client(timeout: float) -> httpx.AsyncClient:
    """A client that follows no redirect."""
    import httpx

    return httpx.AsyncClient(timeout=timeout, follow_redirects=False, verify=_tls())


@asynccontextmanager
async def bounded(where: str, seconds: float) -> AsyncGenerator[None, None]:
    """Hold a call to a time limit, and turn the client's errors into those of a tool."""
    import httpx

    try:
        async with asyncio.timeout(seconds):
            yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise NetworkUnavailable(
            f"{where} cannot be reached: {error or 'no answer'}", hint="is the server running?"
        ) from error
    except (TimeoutError, httpx.TimeoutException):
        raise ToolTimeout(
            f"{where} took longer than {seconds:g} s",
            hint="a larger `timeout` of the endpoint, or less at once",
        ) from None
    except httpx.TransportError as error:
        raise NetworkUnavailable(f"{where} broke off: {error or type(error).__name__}") from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise ToolError(f"{where} could not be asked: {error}", hint="check its address") from error


@cache
def _tls() -> ssl.SSLContext:
    # Reading the certificates takes longer than most calls to a server nearby.
    import httpx

    return httpx.create_ssl_context()


def require() -> None:
    """Raise `MissingExtra` where there is no HTTP client."""
    try:
        import_module("httpx")
    except ImportError:
        raise MissingExtra("tools", "httpx") from None


async def downloaded(endpoint: Endpoint, url: str, reach: Guard, *, max_bytes: int) -> bytes:
    """The file at `url`, which `endpoint` named in an answer: its own, or one that `reach` allows, without the key."""
    await guard.load()
    where = f"`{url[:200]}`"
    async with bounded(where, endpoint.timeout):
        if _is_own(endpoint, url):
            return await _own(endpoint, url, max_bytes)

        async with reach.client(timeout=endpoint.timeout) as sender:
            request = guard.request(sender, "GET", url)
            async with reach.follow(sender, request) as response:
                guard.check_status(response)
                return await guard.receive(response, max_bytes=max_bytes)


def _is_own(endpoint: Endpoint, url: str) -> bool:
    import httpx

    # Read as they are read when they are opened: another parser may see another host in the same text.
    own, other = httpx.URL(endpoint.base_url), httpx.URL(url)
    here, there = ((u.scheme, u.host, u.port) for u in (own, other))
    return here == there and not other.userinfo


async def _own(endpoint: Endpoint, url: str, max_bytes: int) -> bytes:
    async with (
        client(endpoint.timeout) as sender,
        sender.stream("GET", url, headers=_headers(endpoint)) as response,
    ):
        body = await guard.receive(response, max_bytes=max_bytes)
        if response.status_code != 200:
            raise refusal(f"`{url[:200]}`", response.status_code, response.headers, body)

    return body
