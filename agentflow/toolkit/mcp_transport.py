"""A transport of httpx2 that reaches what a guard allows, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import httpcore2
import httpx2

from agentflow.exceptions import AgentflowError
from agentflow.toolkit.guard import Guard

_MAX_BYTES = 20_000_000  # of one answer


class Transport(httpx2.AsyncHTTPTransport):
    """Checks each address as it is written, and connects only to what its name was checked to stand for."""

    def __init__(self, own: Guard) -> None:
        super().__init__(trust_env=False)
        self._own = own
        context = httpx2.create_ssl_context(trust_env=False)
        # The only place where the way to connect can be given.
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=context, network_backend=_Backend(own))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            self._own.check(str(request.url))
        except AgentflowError as error:
            raise httpx2.ConnectError(str(error)) from error

        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            await response.aclose()
            raise httpx2.ReadError("an answer is compressed, which was not asked for")

        # What is not an answer is a stream of messages that lasts as long as the connection.
        if request.method == "POST":
            response.stream = _Bounded(response.stream)

        return response


class _Backend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses, never to a name; TLS still holds the server to its name."""

    def __init__(self, own: Guard) -> None:
        self._own = own
        self._plain = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of the class above
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            found = await self._own.addresses(host, port)
        except AgentflowError as error:
            raise httpcore2.ConnectError(str(error)) from error

        last: Exception = httpcore2.ConnectError(f"`{host}` has no address")
        for address in found:
            try:
                return await self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                last = error

        raise last

    async def sleep(self, seconds: float) -> None:
        await self._plain.sleep(seconds)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = _MAX_BYTES
        async for chunk in self._inner:
            left -= len(chunk)
            if left < 0:
                raise httpx2.ReadError(f"an answer is larger than {_MAX_BYTES:,} bytes")

            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
