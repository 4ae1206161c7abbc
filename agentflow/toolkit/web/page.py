"""Fetching one page from the public web, with a guard against addresses that are not public."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agentflow.context import operation
from agentflow.evidence import Evidence
from agentflow.exceptions import FileUnreadable, MissingExtra, ToolTimeout
from agentflow.toolkit import guard
from agentflow.toolkit.guard import Guard
from agentflow.toolkit.lookup import Resolver
from agentflow.toolkit.web.passages import Passage, passages

if TYPE_CHECKING:
    import httpx

_REDIRECTS = 5
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_PLAIN = frozenset({"application/json", "application/xml", "application/rss+xml", "application/atom+xml"})
# Below this the extractor has most likely missed the content, and all of the page's text is better.
_TOO_SHORT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    url: str
    media_type: str
    charset: str | None
    body: bytes


class PageReader:
    """Reads pages as Markdown passages.

    Only public addresses are reached, on `ports`; `networks` (such as `10.1.0.0/16`) are allowed besides. What
    is checked is the address that is connected to, also after each of at most 5 redirects. `timeout` is for all
    of it, in seconds; `max_bytes` counts what has been decompressed; `max_characters` is where the text is cut.
    """

    def __init__(
        self,
        *,
        timeout: float = 15,
        max_bytes: int = 5_000_000,
        max_characters: int = 50_000,
        ports: Sequence[int] = (80, 443),
        networks: Sequence[str] = (),
        resolver: Resolver | None = None,
    ) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._max_characters = max_characters
        self._guard = Guard(ports=tuple(ports), networks=tuple(networks), resolver=resolver)

    async def __call__(self, url: str) -> list[Evidence]:
        """The passages of the page at `url`, in order; `start` and `end` are offsets into its text.

        Raises `AddressRefused`, `NetworkUnavailable`, `RateLimited`, `ToolTimeout`, `FileUnreadable` (too large,
        not text, empty), or `ToolError` if the server answers with an error.
        """
        async with operation("retrieval", "page", request={"url": url}) as record:
            try:
                async with asyncio.timeout(self._timeout):
                    page = await self._fetch(url)
                    title, text = await asyncio.to_thread(_read, page)
            except TimeoutError:
                raise ToolTimeout(f"`{url}` took longer than {self._timeout:g} s") from None

            found = self._evidence(page.url, title, text)
            record.result = found

        return found

    async def _fetch(self, url: str) -> _Page:
        await guard.load()
        async with self._guard.client(timeout=self._timeout) as client:
            request = guard.request(client, "GET", url)
            async with self._guard.follow(client, request, redirects=_REDIRECTS) as response:
                return await self._receive(response)

    async def _receive(self, response: httpx.Response) -> _Page:
        guard.check_status(response)
        media_type = response.headers.get("content-type", "text/html").partition(";")[0].strip().lower()
        if media_type not in _HTML | _PLAIN and not media_type.startswith("text/"):
            raise FileUnreadable(
                f"`{response.url}` is `{media_type}`, which is not a page of text",
                hint="fetch a page in HTML or plain text",
            )

        return _Page(
            url=str(response.url),
            media_type=media_type,
            charset=response.charset_encoding,
            body=await guard.receive(response, max_bytes=self._max_bytes),
        )

    def _evidence(self, url: str, title: str, text: str) -> list[Evidence]:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return [
            Evidence(
                text=text[part.start : part.end],
                source=url,
                place=_place(part, len(text)),
                title=title,
                tool="fetch_page",
                at=now,
                trust="untrusted",
                start=part.start,
                end=part.end,
            )
            for part in passages(text[: self._max_characters])
        ]


def _place(part: Passage, total: int) -> str:
    # The total tells the reader where a page was cut.
    where = f"characters {part.start}-{part.end} of {total}"
    return f"{' > '.join(part.headings)}, {where}" if part.headings else where


async def fetch_page(url: str) -> list[Evidence]:
    """The passages of the page at `url`, read with the limits that `PageReader` has by default."""
    return await PageReader()(url)


def _read(page: _Page) -> tuple[str, str]:
    """Title and text of a page, the text as Markdown. Blocks for up to seconds on a large page."""
    title, text = _extracted(page) if page.media_type in _HTML else ("", _decoded(page))
    if not text.strip():
        raise FileUnreadable(
            f"`{page.url}` holds no text", hint="it may need a browser to show anything: try `browse`"
        )

    return title, text


def _decoded(page: _Page) -> str:
    try:
        return page.body.decode(page.charset or "utf-8", errors="replace")
    except LookupError:
        return page.body.decode("utf-8", errors="replace")


def _extracted(page: _Page) -> tuple[str, str]:
    try:
        # Over a second to import, and only needed for HTML.
        import trafilatura
    except ImportError:
        raise MissingExtra("tools", "trafilatura") from None

    # Without a charset in the header the page's own declaration decides, which the extractor reads.
    source = _decoded(page) if page.charset else page.body
    tree = trafilatura.load_html(source)
    if tree is None:
        return "", ""

    title = " ".join((tree.findtext(".//title") or "").split())
    text = trafilatura.extract(source, url=page.url, output_format="markdown", include_comments=False) or ""
    if len(text) >= _TOO_SHORT:
        return title, text

    return title, max(text, trafilatura.html2txt(source), key=len)
