"""The proxy that all of a browser's traffic goes through, so that redirects and sockets are checked too."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape

from agentflow.exceptions import AddressRefused, NetworkUnavailable, ToolError
from agentflow.toolkit.browser.reach import PORTS, Place, Reach, place_of

CONNECT_SECONDS = 10
HEAD_SECONDS = 30
LARGEST_HEAD = 64 * 1024
READING = frozenset({"GET", "HEAD", "OPTIONS"})
_CHUNK = 64 * 1024
_HOP = (b"connection:", b"proxy-connection:", b"keep-alive:", b"proxy-authorization:")


@dataclass(frozen=True, slots=True)
class _Request:
    """The head of one request to a proxy; `line` is what the server behind is told."""

    tunnel: bool
    place: Place
    line: bytes
    fields: list[bytes]
    method: str = ""
    url: str = ""


class Gate:
    """A forward proxy on loopback that lets through what `reach` allows, and remembers why it did not.

    Over plain http it also lets through only those requests that change something which a session said it would send: a
    browser has ways to send that no session sees, such as a beacon of a page that is left, or a redirect with a body.
    """

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self._expected: Counter[tuple[str, str]] = Counter()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._troubles: dict[Place, ToolError] = {}

    async def start(self) -> str:
        """Listen on a free port and return the address of the proxy."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", limit=LARGEST_HEAD)
        return "http://{}:{}".format(*self._server.sockets[0].getsockname())

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return

        self._server.close()
        for task in self._tasks:
            task.cancel()

        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def trouble(self, url: str) -> ToolError | None:
        """Why the host of `url` was last not reached, or None if it was."""
        try:
            return self._troubles.get(place_of(url))
        except AddressRefused:
            return None

    @contextmanager
    def expecting(self, method: str, url: str) -> Generator[None, None, None]:
        """Let one request like this through while the body runs."""
        key = (method, url.partition("#")[0])
        self._expected[key] += 1
        try:
            yield
        finally:
            self._expected[key] -= 1
            self._expected += Counter()  # forgets what stands at nought

    def expect_socket(self, url: str) -> None:
        """Let one socket to `url` through."""
        self._expected["CONNECT", str(place_of(url))] += 1

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError):
            pass  # a connection that broke or spoke no HTTP: there is nobody to tell
        except asyncio.CancelledError:
            pass  # `stop` was called; ending normally keeps asyncio from logging it
        finally:
            self._tasks.discard(task)
            await _close(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")

        request = None
        try:
            request = _parse(head)
            self._check(request)
            upstream = await self._connect(request.place)
        except ToolError as error:
            if request:
                self._troubles[request.place] = error

            await _refuse(writer, error)
            return

        self._troubles.pop(request.place, None)
        try:
            await _exchange(request, (reader, writer), upstream)
        finally:
            await _close(upstream[1])

    def _check(self, request: _Request) -> None:
        """Raise `AddressRefused` for what nobody said would be sent; within a tunnel nothing can be seen."""
        if request.tunnel and request.place.port != PORTS["ws"]:
            return

        if request.method in READING:
            return

        key = (request.method, request.url)
        if self._expected[key] < 1:
            raise AddressRefused(f"`{request.method} {request.url}` was not asked for by any action")

        if request.tunnel:
            self._expected[key] -= 1

    async def _connect(self, place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for address, port in await self.reach.addresses(place):
            with suppress(OSError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(address, port, limit=LARGEST_HEAD)

        raise NetworkUnavailable(f"nothing answers at `{place}`", hint="check the address and the network")


def _parse(head: bytes) -> _Request:
    first, *fields = head.rstrip(b"\r\n").split(b"\r\n")
    method, target, version = first.split(b" ")
    kept = [field for field in fields if not field.lower().startswith(_HOP)]
    if method == b"CONNECT":
        place = place_of(f"https://{target.decode('ascii')}")
        return _Request(True, place, b"", kept, "CONNECT", str(place))

    url = target.decode("ascii")
    if not url.startswith("http://"):
        raise AddressRefused(f"`{url}` is no http address")

    path = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    line = b" ".join((method, path, version))
    return _Request(False, place_of(url), line, kept, method.decode("ascii"), url)


async def _exchange(
    request: _Request,
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Pass bytes both ways until the server is done."""
    if request.tunnel:
        client[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        server[1].write(_head(request.line, request.fields))

    up = asyncio.create_task(_pump(client[0], server[1]))
    try:
        if not request.tunnel:
            head = await server[0].readuntil(b"\r\n\r\n")
            line, *fields = head.rstrip(b"\r\n").split(b"\r\n")
            client[1].write(_head(line, [f for f in fields if not f.lower().startswith(_HOP)]))

        await _pump(server[0], client[1])
    finally:
        up.cancel()
        await asyncio.gather(up, return_exceptions=True)


def _head(line: bytes, fields: list[bytes]) -> bytes:
    # One request a connection: a second one could otherwise go to a host that was checked for the first.
    return b"\r\n".join((line, *fields, b"Connection: close", b"", b""))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def _refuse(writer: asyncio.StreamWriter, error: ToolError) -> None:
    status = b"403 Forbidden" if isinstance(error, AddressRefused) else b"502 Bad Gateway"
    body = f"<!doctype html><title>Not opened</title><p>{escape(str(error))}</p>".encode()
    fields = [b"Content-Type: text/html; charset=utf-8", b"Content-Length: %d" % len(body)]
    writer.write(_head(b"HTTP/1.1 " + status, fields) + body)
    await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
