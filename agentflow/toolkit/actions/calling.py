"""Calls of an API: through the guard, with what went wrong in words that help."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from socket import gaierror
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentflow.context import current
from agentflow.exceptions import (
    EffectInDoubt,
    NetworkUnavailable,
    RateLimited,
    ToolArgumentsInvalid,
    ToolError,
)
from agentflow.secrets import redact
from agentflow.toolkit import guard
from agentflow.toolkit.actions.operation import Operation
from agentflow.toolkit.actions.reply import Received, Reply, reply
from agentflow.toolkit.actions.request import Request, request
from agentflow.toolkit.guard import Guard
from agentflow.toolkit.lookup import Resolver

if TYPE_CHECKING:
    import httpx

_TOLD = 1500  # characters of an error's body
_REDIRECTS = 3
READS = ("get", "head", "options", "trace")
_HEADERS = ("link", "location", "retry-after")
# Answers of which a gateway does not know what became of the request behind it.
_UNKNOWN = (502, 504)
_PASSING = (502, 503, 504)
_HINTS = {
    400: "mend the arguments by what it says",
    401: "the credentials are not accepted: a person has to look after the secret",
    403: "this is not allowed with these credentials: do not try again",
    404: "look the value up by another operation: there is nothing under it",
    405: "this API does not take such calls, whatever its document says",
    409: "read its present state, and decide again",
    422: "mend the arguments by what it says",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """How an API is called: `timeout` in seconds for each read, `max_bytes` of an answer, `max_characters` of data.

    Beside public addresses, `networks` may be reached. `key_header` is the header that carries the idempotency key of a
    write, where the API takes one.
    """

    timeout: float
    max_bytes: int
    max_characters: int
    networks: tuple[str, ...] = ()
    key_header: str = ""
    resolver: Resolver | None = None

    async def call(self, operation: Operation, arguments: Mapping[str, Any], *, is_once: bool) -> Reply:
        """Make a call. Where it `is_once` and nobody knows whether it was carried out, `EffectInDoubt` is raised.

        Raises `ToolArgumentsInvalid`, `SecretMissing`, `AddressRefused`, `NetworkUnavailable`, `RateLimited`, `ToolTimeout`,
        or `ToolError` with what the API said.
        """
        try:
            made = self._with_key(request(operation, arguments), is_write=operation.method not in READS)
        except ValueError as error:
            raise ToolArgumentsInvalid(f"the arguments cannot be written: {error}") from None

        own = self._guard(operation)
        received = await self._exchange(operation, made, own, is_once=is_once)
        _refuse_failure(made, received, is_once=is_once)
        return reply(operation, received, self.max_characters)

    def _with_key(self, made: Request, *, is_write: bool) -> Request:
        context = current()
        if not self.key_header or not is_write or context is None:
            return made

        return replace(made, headers={**made.headers, self.key_header: context.idempotency_key})

    def _guard(self, operation: Operation) -> Guard:
        """Nothing but this API: its host and its port, also after a redirect."""
        parts = urlsplit(operation.server)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return Guard(
            ports=(port,),
            networks=self.networks,
            hosts=(str(parts.hostname),),
            credentials=tuple(c.name.lower() for c in operation.credentials if c.place == "header"),
            resolver=self.resolver,
        )

    async def _exchange(self, operation: Operation, made: Request, own: Guard, *, is_once: bool) -> Received:
        await guard.load()
        async with self._client(own) as client:
            asked = guard.request(
                client, made.method, made.url, headers=dict(made.headers), content=made.content
            )
            try:
                async with _response(own, client, asked, is_read=operation.method in READS) as response:
                    return await self._received(response, made, is_read=operation.method in READS)
            except ToolError as error:
                if is_once and isinstance(error, NetworkUnavailable) and not _is_unsent(error):
                    raise _doubt(made, redact(str(error))) from None

                # The guard knows the address only as it is sent, with what is secret in it.
                raise _without_secrets(error) from None

    async def _received(self, response: httpx.Response, made: Request, *, is_read: bool) -> Received:
        body, trouble = b"", ""
        try:
            body = await guard.receive(response, max_bytes=self.max_bytes)
        except ToolError as error:
            # A write that was carried out has not failed because its answer cannot be read; a failure has a status.
            if is_read and response.is_success:
                raise

            trouble = redact(str(error))

        kind, _, _ = response.headers.get("content-type", "").partition(";")
        return Received(
            status=response.status_code,
            url=made.shown,
            media_type=kind.strip().lower(),
            charset=response.charset_encoding or "",
            headers={name: response.headers.get(name, "") for name in _HEADERS},
            body=body,
            trouble=trouble,
        )

    @asynccontextmanager
    async def _client(self, own: Guard) -> AsyncGenerator[httpx.AsyncClient, None]:
        """The client of this run, so that its connections last; one for this call outside of a run."""
        context = current()
        if context is None:
            async with _client(own, self.timeout) as client:
                yield client

            return

        def make() -> httpx.AsyncClient:
            client = _client(own, self.timeout)
            context.on_close(client.aclose)
            return client

        yield context.shared(f"actions:{own!r}", make)


def _client(own: Guard, timeout: float) -> httpx.AsyncClient:
    """A client that keeps no cookies: a call must not go out as the one before it was answered."""
    client = own.client(timeout=timeout)
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


@asynccontextmanager
async def _response(
    own: Guard, client: httpx.AsyncClient, asked: httpx.Request, *, is_read: bool
) -> AsyncGenerator[httpx.Response, None]:
    """The response; redirects of a read are followed within the API, those of a write are told."""
    if is_read:
        async with own.follow(client, asked, redirects=_REDIRECTS) as response:
            yield response

        return

    async with guard.faults(str(asked.url)):
        response = await _sent(client, asked)
        try:
            yield response
        finally:
            await response.aclose()


async def _sent(client: httpx.AsyncClient, asked: httpx.Request) -> httpx.Response:
    import httpx

    try:
        return await client.send(asked, stream=True)
    except (httpx.InvalidURL, UnicodeError) as error:
        # The client looks where a redirect leads, also where it does not follow it.
        raise NetworkUnavailable(f"`{asked.url}` redirects to what is no address: {error}") from error


def _is_unsent(error: NetworkUnavailable) -> bool:
    """Whether there was no connection, so that nothing can have been done."""
    import httpx

    return isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout | gaierror)


def _without_secrets(error: ToolError) -> ToolError:
    error.args = tuple(redact(str(part)) for part in error.args)
    return error


def _doubt(made: Request, why: str) -> EffectInDoubt:
    return EffectInDoubt(
        f"it is not known whether `{made.method} {made.shown}` was carried out: {why}",
        hint="look it up by an operation that reads",
    )


def _refuse_failure(made: Request, received: Received, *, is_once: bool) -> None:
    status = received.status
    if status < 300 or status in (302, 303, 304):
        return

    said = _said(received)
    text = f"`{made.method} {made.shown}` answered {status} {_phrase(status)}".rstrip() + (
        f": {said}" if said else ""
    )
    if status < 400:
        place = redact(received.headers.get("location", ""))
        raise ToolError(
            f"{text} It is at `{place}` now.", hint="the address of the API in its document is out of date"
        )

    wait = guard.retry_after(received.headers.get("retry-after"))
    if status == 429 or (status == 503 and wait is not None):
        when = "later" if wait is None else f"in {wait:.0f} s"
        raise RateLimited(text, hint=f"try again {when}", retry_after=wait)

    if status in _UNKNOWN and is_once:
        raise _doubt(made, text)

    if status in _PASSING:
        raise NetworkUnavailable(text, hint="the API is not to be had at the moment")

    raise ToolError(text, hint=_HINTS.get(status, ""))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _said(received: Received) -> str:
    """What an error says, in one line of printable text."""
    text = received.body[: 4 * _TOLD].decode(received.charset or "utf-8", errors="replace")
    if "html" in received.media_type:
        text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)

    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return redact(plain if len(plain) <= _TOLD else f"{plain[:_TOLD]}...")
