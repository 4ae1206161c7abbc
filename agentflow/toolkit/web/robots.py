"""What a site asks programs not to fetch: its robots.txt, fetched through the same guard, and read as of RFC 9309."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from urllib.parse import urlsplit

from agentflow.exceptions import AddressRefused, FileUnreadable, MissingExtra, NetworkUnavailable, ToolTimeout
from agentflow.toolkit import guard
from agentflow.toolkit.guard import Guard

AGENT = "agentflow"
"""The name by which a robots.txt may speak of these programs."""

_READ = 512 * 1024  # bytes; RFC 9309 (2.5) asks for 500 KiB at least
_SECONDS = 5.0
_KEPT = 24 * 3600.0  # seconds; the most that RFC 9309 (2.4) allows
_KEPT_UNREACHABLE = 120.0
_SITES = 128


class Robots:
    """Keeps what sites say, and asks each site once a day."""

    def __init__(self, guarded: Guard, *, clock: Callable[[], float] = monotonic) -> None:
        self._guard = guarded
        self._clock = clock
        # The text and not what is made of it, which can take forty times the room.
        self._known: dict[str, tuple[float, bytes | str]] = {}

    async def check(self, url: str) -> None:
        """Raise `AddressRefused` if the site of `url` asks programs not to fetch it, or cannot say whether it does."""
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        said = self._recall(site)
        if said is None:
            said = await self._asked(url, f"{site}/robots.txt")
            self._remember(site, said)

        if isinstance(said, str):
            raise AddressRefused(
                f"`{url}` is not fetched, as {said}", hint="try again later, or use another source"
            )

        if not await asyncio.to_thread(_allows, said, url):
            raise AddressRefused(
                f"`{url}` is not fetched: the robots.txt of `{parts.netloc}` asks programs not to",
                hint="use another source",
            )

    async def _asked(self, page: str, url: str) -> bytes | str:
        try:
            return await self._ask(url)
        except NetworkUnavailable as error:
            # It is the page that was asked for; that its site is asked first is no concern of whoever did.
            raise NetworkUnavailable(
                f"`{page}` cannot be reached: {error.__cause__ or error}; the run goes on without it"
            ) from error

    async def _ask(self, url: str) -> bytes | str:
        """What the site says; why it is not known, where that means that nothing may be fetched."""
        try:
            async with asyncio.timeout(_SECONDS):
                status, body = await self._fetch(url)
        except (AddressRefused, FileUnreadable):
            # It leads nowhere that may be read, which is the same as having none (RFC 9309, 2.3.1.2 and 2.3.1.3).
            return b""
        except (TimeoutError, ToolTimeout):
            return f"`{url}` gave no answer within {_SECONDS:g} s"

        # A site in trouble is left alone (RFC 9309, 2.3.1.4); one that is asked too often too.
        if status == 429 or status >= 500:
            return f"`{url}` answered {status}"

        return body if 200 <= status < 300 else b""

    async def _fetch(self, url: str) -> tuple[int, bytes]:
        async with self._guard.client(timeout=_SECONDS) as client:
            request = guard.request(client, "GET", url)
            async with self._guard.follow(client, request) as response:
                return response.status_code, await guard.receive(response, max_bytes=_READ, cut=True)

    def _recall(self, site: str) -> bytes | str | None:
        until, said = self._known.get(site, (0.0, ""))
        return said if site in self._known and self._clock() < until else None

    def _remember(self, site: str, said: bytes | str) -> None:
        kept = _KEPT_UNREACHABLE if isinstance(said, str) else _KEPT
        self._known.pop(site, None)
        self._known[site] = (self._clock() + kept, said)
        if len(self._known) > _SITES:
            del self._known[next(iter(self._known))]


def _allows(text: bytes, url: str) -> bool:
    try:
        from protego import Protego
    except ImportError:
        raise MissingExtra("tools", "protego") from None

    return Protego.parse(text.decode("utf-8", "replace").lstrip("\ufeff")).can_fetch(url, AGENT)
