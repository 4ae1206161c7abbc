"""The one way out to the web: a client that reaches public addresses only, and reads no more than it was told to."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from ipaddress import ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agentflow.exceptions import (
    AddressRefused,
    FileUnreadable,
    MissingExtra,
    NetworkUnavailable,
    ProjectError,
    RateLimited,
    ToolError,
    ToolTimeout,
)
from agentflow.toolkit.lookup import Resolver, bounded

if TYPE_CHECKING:
    import ssl

    import httpx
    from ssrfguard import AddressTable, Policy

_LOOKUP_SECONDS = 5
_LONGEST_WAIT = 86_400.0  # seconds; what a server asks beyond that is not waited for
_OVERHEAD = 65_536  # bytes that compression may add to what it cannot make smaller
_SHOWN = 200  # characters of an address in an error
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
# Never sent on to another host by a redirect: the three of HTTP itself, and those that services have made usual.
_CREDENTIALS = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-subscription-token",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What may be reached: public addresses on `ports`, `networks` (such as `10.1.0.0/16`) besides, and no others.

    `hosts` narrows that to names; `*.example.com` stands for all below `example.com`. What is checked is the address that
    is connected to, so neither another spelling, nor a redirect, nor a name that changes its address gets past it.
    `credentials` are headers that a redirect to another host must not carry on, besides the usual ones. `resolver` has
    the shape of `socket.getaddrinfo`.
    """

    ports: tuple[int, ...] = (80, 443)
    networks: tuple[str, ...] = ()
    hosts: tuple[str, ...] | None = None
    credentials: tuple[str, ...] = ()
    resolver: Resolver | None = None

    def __post_init__(self) -> None:
        # The package takes an empty list of hosts for "any".
        if self.hosts is not None and not self.hosts:
            raise ProjectError("`hosts` names no host", hint="name one, or give None for any public host")

        for network in self.networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise ProjectError(f"`networks`: {error}", hint="write it as in `10.1.0.0/16`") from None

    def policy(self) -> Policy:
        """The rules of this guard, for `ssrfguard`. Raises `ProjectError` for ports, hosts or networks that cannot be."""
        _require()
        from ssrfguard import Policy

        try:
            return Policy(
                denied_networks=_table(),
                allowed_ports=frozenset(self.ports),
                allowed_networks=tuple(map(ip_network, self.networks)),
                allowed_hosts=frozenset(self.hosts or ()),
                sensitive_headers=frozenset((*_CREDENTIALS, *self.credentials)),
                max_redirects=20,
            )
        except ValueError as error:
            raise ProjectError(f"the guard cannot be set up: {error}") from None

    def check(self, url: str) -> None:
        """Raise `AddressRefused` if `url` is refused as it is written, whatever its name resolves to."""
        policy = self.policy()
        try:
            policy.check_url(url)
        except _refusals() as error:
            raise _refused(url, error) from error

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses that `host` may be reached at on `port`, each of them checked; connect to these, not to the name.

        Raises `AddressRefused`, or `NetworkUnavailable` if the name is not found.
        """
        await load()
        from ssrfguard import resolve

        policy, named = self.policy(), f"[{host}]" if ":" in host else host
        async with faults(f"{named}:{port}"):
            target = policy.check_url(f"http://{named}:{port}/")
            # A "host" with a slash in it would have pushed the port out of sight.
            if target.port != port:
                raise _no_address(f"{named}:{port}", ValueError("that is no name of a host"))

            found = await asyncio.to_thread(resolve, target, policy=policy, resolver=self._resolver())
            return [str(address.ip) for address in found]

    def client(self, *, timeout: float, headers: Mapping[str, str] = _NO_HEADERS) -> httpx.AsyncClient:
        """A client that opens nothing else; `timeout` is for each read, in seconds. Send with `follow`."""
        _require()
        from ssrfguard.httpx import AsyncClient

        return AsyncClient(
            policy=self.policy(),
            resolver=self._resolver(),
            timeout=timeout,
            verify=tls(),
            # A proxy would look the name up by itself, out of the guard's sight.
            trust_env=False,
            # Other encodings can grow beyond bounds within one read.
            headers={"User-Agent": "agentflow"} | dict(headers) | {"Accept-Encoding": "gzip"},
        )

    @asynccontextmanager
    async def follow(
        self,
        client: httpx.AsyncClient,
        request: httpx.Request,
        *,
        redirects: int = 5,
        approve: Callable[[str], Awaitable[None]] | None = None,
    ) -> AsyncGenerator[httpx.Response, None]:
        """The response to `request`, whose body is still to be read, after at most `redirects` redirects, each checked.

        `approve` is awaited with each address before it is asked for, and raises what is then raised here.
        Raises `AddressRefused`, `NetworkUnavailable`, `ToolTimeout`, or `ToolError`, also while the body is read.
        """
        url = str(request.url)
        async with faults(url):
            for _ in range(redirects + 1):
                if approve is not None:
                    await approve(str(request.url))

                response = await _sent(client, request)
                try:
                    # Followed here: the client would first read the body of a redirect, of whatever size.
                    if response.next_request is None:
                        yield response
                        return

                    request = response.next_request
                finally:
                    await response.aclose()

            raise AddressRefused(
                f"`{_short(url)}` redirects more than {redirects} times, now to `{_short(str(request.url))}`",
                hint="open the address that it leads to, if it may be opened",
            )

    def _resolver(self) -> Resolver:
        return bounded(self.resolver, _LOOKUP_SECONDS)


async def load() -> None:
    """Import what a guard needs, in a thread: the first import takes long enough to be felt by all that runs beside it."""
    await asyncio.to_thread(_require)


def request(client: httpx.AsyncClient, method: str, url: str, **parts: Any) -> httpx.Request:
    """A request for `follow`, with `parts` as `httpx` takes them; raises `AddressRefused` where `url` is no address."""
    import httpx

    try:
        return client.build_request(method, url, **parts)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _no_address(url, error) from error


async def receive(response: httpx.Response, *, max_bytes: int, cut: bool = False) -> bytes:
    """The body of `response`, decompressed; raises `FileUnreadable` beyond `max_bytes` of that, or if it ends too early.

    With `cut` a larger body is no error, and its first `max_bytes` are what is given.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip", "x-gzip", "deflate"}:
        raise FileUnreadable(f"`{response.url}` is compressed as `{encoding}`, which was not asked for")

    # 47: the largest window, with the header of gzip or of zlib.
    inflate = None if encoding in {"identity", ""} else zlib.decompressobj(47)
    body = bytearray()
    left = max_bytes + _OVERHEAD
    try:
        async for chunk in response.aiter_raw():
            # What comes in is counted too: a stream may go on for ever and hold nothing.
            left -= len(chunk)
            room = max_bytes - len(body) + 1
            body += inflate.decompress(chunk, room) if inflate else chunk
            if len(body) > max_bytes and cut:
                return bytes(body[:max_bytes])

            if len(body) > max_bytes or left < 0:
                raise FileUnreadable(f"`{_short(str(response.url))}` is larger than {max_bytes:,} bytes")

            if inflate and inflate.eof:
                break
    except zlib.error as error:
        raise FileUnreadable(f"`{response.url}` is not the `{encoding}` that it claims: {error}") from error

    if inflate and body and not inflate.eof:
        raise FileUnreadable(f"`{response.url}` was cut short", hint="fetch it again")

    return bytes(body)


def check_status(response: httpx.Response) -> None:
    """Raise `RateLimited` (429, or 503 that says when to come back), or `ToolError` for any status but success."""
    status = response.status_code
    wait = retry_after(response.headers.get("retry-after"))
    if status == 429 or (status == 503 and wait is not None):
        raise RateLimited(
            f"`{_short(str(response.url))}` answered {status}: it is asked too often",
            hint="try again later" if wait is None else f"try again in {wait:.0f} s",
            retry_after=wait,
        )

    if not response.is_success:
        raise ToolError(f"`{_short(str(response.url))}` answered {status} {response.reason_phrase}".rstrip())


def retry_after(value: str | None) -> float | None:
    """Seconds to wait, from a `Retry-After` header: a number of seconds, or a date. None if it says nothing usable."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_WAIT)

    from email.utils import parsedate_to_datetime

    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None

    seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT)


@asynccontextmanager
async def faults(url: str) -> AsyncGenerator[None, None]:
    """Turn the errors of the client and its guard into those of a tool."""
    import httpx

    try:
        yield
    except _refusals() as error:
        raise _refused(url, error) from error
    except httpx.UnsupportedProtocol as error:
        raise _no_address(url, error) from error
    except (httpx.ConnectError, httpx.ConnectTimeout, socket.gaierror) as error:
        raise NetworkUnavailable(
            f"`{url}` cannot be reached: {error or 'no answer'}; the run goes on without it"
        ) from error
    except httpx.TimeoutException as error:
        raise ToolTimeout(f"`{url}` gave no answer in time") from error
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise NetworkUnavailable(
            f"the connection to `{url}` broke off: {error or 'it was closed'}"
        ) from error
    except httpx.HTTPError as error:
        raise ToolError(f"`{url}` could not be fetched: {error}") from error


async def _sent(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    import httpx

    try:
        return await client.send(request, stream=True)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _no_address(str(request.url), error) from error
    except httpx.RemoteProtocolError as error:
        # The client says so of a redirect to what is no address, in words only.
        if "location header" not in str(error):
            raise

        raise AddressRefused(
            f"`{_short(str(request.url))}` redirects to what is no address: {error}"
        ) from error


def _refused(url: str, error: Exception) -> AddressRefused:
    return AddressRefused(
        f"`{_short(url)}` may not be opened: {error}",
        hint="only public addresses on the usual ports are opened",
    )


def _short(url: str) -> str:
    return url if len(url) <= _SHOWN else f"{url[:_SHOWN]}..."


def _no_address(url: str, error: Exception) -> AddressRefused:
    return AddressRefused(
        f"`{_short(url)}` is not an address that can be opened: {error}",
        hint="give a full http or https address",
    )


def _refusals() -> Any:
    from ssrfguard import SSRFGuardError

    return SSRFGuardError


@cache
def _table() -> AddressTable:
    """The package's table, and no IPv6 outside of what IANA gives out as global unicast (RFC 4291).

    Without that, `::ffff:0:127.0.0.1`, an IPv4 address as RFC 2765 translates it, would pass.
    """
    from ssrfguard import DEFAULT_DENIED, AddressTable, Block, Reach

    def block(network: str, name: str, reach: Reach) -> Block:
        return Block(network=ip_network(network), name=name, rfc="RFC4291", reach=reach)

    ours = block("::/0", "no public address", Reach.DENIED), block("2000::/3", "global", Reach.PERMITTED)
    return AddressTable((*DEFAULT_DENIED.blocks, *ours), snapshot=DEFAULT_DENIED.snapshot)


@cache
def tls() -> ssl.SSLContext:
    """The certificates that servers are held to; reading them takes longer than a request."""
    import httpx

    return httpx.create_ssl_context()


def _require() -> None:
    try:
        import_module("ssrfguard")
        import_module("ssrfguard.httpx")
    except ImportError:
        raise MissingExtra("tools", "ssrfguard[httpx]") from None
