"""What a browser may reach: named hosts, sites served on this machine, or any public host."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from agentflow.exceptions import AddressRefused, NetworkUnavailable
from agentflow.toolkit.guard import Guard

PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SCHEMES_HINT = "open an address that begins with `http://` or `https://`"


@dataclass(frozen=True, slots=True)
class Place:
    """A host and a port, in the form in which both are compared."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS["http"] else f"{host}:{self.port}"


def place_of(url: str) -> Place:
    """Where `url` points to; raises `AddressRefused` when that is no web address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressRefused(f"`{url}` is not an address: {error}", hint=_SCHEMES_HINT) from None

    if parts.scheme not in PORTS or not parts.hostname:
        raise AddressRefused(f"`{url}` is no http or https address", hint=_SCHEMES_HINT)

    if parts.username is not None or parts.password is not None:
        raise AddressRefused(
            f"`{parts.hostname}` is given with a user name in its address", hint=_SCHEMES_HINT
        )

    return Place(_plain(parts.hostname), port or PORTS[parts.scheme])


def _plain(host: str) -> str:
    return host.rstrip(".").lower()


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The one policy of a browser.

    `hosts` are names, or `name:port` where the port is not 80 or 443; None stands for every host that `public` lets
    through. A host that is named may be private: naming it is the permission. `sites` are hosts that this machine serves:
    the function starts a server on loopback and gives its port, once a browser.
    """

    hosts: AbstractSet[str] | None
    public: Guard = field(default_factory=Guard)
    sites: Mapping[str, Callable[[], int]] = field(default_factory=dict[str, Callable[[], int]])

    def check(self, place: Place) -> None:
        """Raise `AddressRefused` unless `place` may be asked for by its name."""
        if place.host in self.sites and place.port == PORTS["http"]:
            return

        if self.hosts is None:
            allowed = place.port in self.public.ports
        else:
            allowed = any(_fits(entry, place) for entry in self.hosts)

        if not allowed:
            raise AddressRefused(f"`{place}` is outside of what this browser may open", hint=self._hint())

    def _hint(self) -> str:
        if self.hosts is None:
            return f"only public hosts on the ports {', '.join(map(str, self.public.ports))} may be opened"

        names = ", ".join(f"`{name}`" for name in sorted({*self.hosts, *(f"http://{s}" for s in self.sites)}))
        return f"it may open {names}" if names else "it may open no host at all: name some in `hosts`"

    async def addresses(self, place: Place) -> list[tuple[str, int]]:
        """The addresses to connect to for `place`, each of them checked; they are not resolved again later."""
        self.check(place)
        if place.host in self.sites and place.port == PORTS["http"]:
            return [("127.0.0.1", await asyncio.to_thread(self.sites[place.host]))]

        if self.hosts is None:
            found = await self.public.addresses(place.host, place.port)
        else:
            found = await _resolve(place)

        return [(address, place.port) for address in found]


def _fits(entry: str, place: Place) -> bool:
    parts = urlsplit(f"//{entry}")
    ports = (parts.port,) if parts.port else (80, 443)
    return _plain(parts.hostname or "") == place.host and place.port in ports


async def _resolve(place: Place) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        rows = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NetworkUnavailable(
            f"the name `{place.host}` cannot be resolved", hint="check the spelling and the network"
        ) from None

    return list(dict.fromkeys(str(row[4][0]) for row in rows))
