"""Fetching one page from the public web, with a guard against addresses that are not public."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urljoin

from agentflow.context import operation
from agentflow.evidence import Evidence
from agentflow.exceptions import FileUnreadable, ProjectError, ToolTimeout
from agentflow.toolkit import guard
from agentflow.toolkit.guard import Guard
from agentflow.toolkit.lookup import Resolver
from agentflow.toolkit.web.cache import Page, PageCache
from agentflow.toolkit.web.charset import clean, decoded
from agentflow.toolkit.web.download import Download, age_of, kind_of, may_keep
from agentflow.toolkit.web.extraction import Extractors
from agentflow.toolkit.web.passages import Passage, passages
from agentflow.toolkit.web.robots import AGENT, Robots

if TYPE_CHECKING:
    import httpx

_TOO_SHORT = 200  # characters; a page with less that sends its reader on has nothing of its own to say
_HEADERS = {
    "User-Agent": f"{AGENT} (+https://github.com/agentflow/agentflow)",
    "Accept": "text/html,application/xhtml+xml,text/*;q=0.9,application/pdf;q=0.8,*/*;q=0.5",
}
_extractors = Extractors()


class PageReader:
    """Reads pages and documents (PDF, Word, Excel, PowerPoint, EPUB) as Markdown passages.

    Only public addresses are reached, on `ports`; `networks` (such as `10.1.0.0/16`) are allowed besides, and `hosts`
    narrows it to names. What is checked is the address that is connected to, also after each of at most `redirects`.
    `timeout` is for all of it, in seconds; `max_bytes` counts what has been decompressed, `max_document_bytes` that of
    documents; `max_characters` is where the text is cut. With `robots` what a site's robots.txt forbids is not fetched.
    Pages that were read at most `keep` seconds ago are not fetched again; they are kept in memory, and in `folder`.
    """

    def __init__(
        self,
        *,
        timeout: float = 15,
        max_bytes: int = 5_000_000,
        max_document_bytes: int = 20_000_000,
        max_characters: int = 50_000,
        ports: Sequence[int] = (80, 443),
        networks: Sequence[str] = (),
        hosts: Sequence[str] | None = None,
        redirects: int = 5,
        robots: bool = True,
        keep: float = 3600,
        folder: Path | None = None,
        max_folder_bytes: int = 64_000_000,
        resolver: Resolver | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        if timeout <= 0 or max_bytes < 1 or max_characters < 1:
            raise ProjectError("a page reader needs a `timeout`, `max_bytes` and `max_characters` above 0")

        self._guard = Guard(
            ports=tuple(ports),
            networks=tuple(networks),
            hosts=tuple(hosts) if hosts is not None else None,
            resolver=resolver,
        )
        self._timeout, self._max_characters, self._redirects = timeout, max_characters, redirects
        self._max_bytes, self._max_document_bytes = max_bytes, max_document_bytes
        self._robots = Robots(self._guard, clock=clock) if robots else None
        self._keep, self._clock = keep, clock
        self._cache = PageCache(folder, max_bytes=max_folder_bytes, clock=clock)
        # Readers of other rules may share a folder, and must not see what only those allow.
        self._rules = json.dumps(
            [ports, networks, hosts, robots, max_bytes, max_document_bytes], default=list
        )

    async def __call__(self, url: str, *, max_age: float | None = None) -> list[Evidence]:
        """The passages of the page at `url`, in order; `start` and `end` are offsets into its text.

        `max_age` is how many seconds old a kept copy may be, in place of the reader's own `keep`; 0 fetches anew. The
        source of each passage is the address that redirects had led to, its time that of the fetch. Raises
        `AddressRefused`, `NetworkUnavailable`, `RateLimited`, `ToolTimeout`, `FileUnreadable` (too large, not text,
        empty), or `ToolError` if the server answers with an error.
        """
        async with operation("retrieval", "page", request={"url": url}) as record:
            page = await self._kept(url, self._keep if max_age is None else max_age)
            record.attributes["from_cache"] = page is not None
            if page is None:
                page = await self._read(url)

            found = record.result = self._evidence(page)

        return found

    async def _kept(self, url: str, max_age: float) -> Page | None:
        await guard.load()
        self._guard.check(url)
        if max_age <= 0:
            return None

        return await asyncio.to_thread(self._cache.get, self._key(url), max_age=max_age)

    async def _read(self, url: str) -> Page:
        try:
            async with asyncio.timeout(self._timeout):
                download = await self._fetch(url)
                page = await self._page(download)
        except TimeoutError:
            raise ToolTimeout(f"`{url}` took longer than {self._timeout:g} s") from None

        if download.may_keep and self._keep > 0:
            await asyncio.to_thread(self._cache.put, self._key(url), page)

        return page

    def _key(self, url: str) -> str:
        return f"{self._rules} {urldefrag(url).url}"

    async def _fetch(self, url: str) -> Download:
        async with self._guard.client(timeout=self._timeout, headers=_HEADERS) as client:
            request = guard.request(client, "GET", url)
            approve = self._robots.check if self._robots else None
            async with self._guard.follow(
                client, request, redirects=self._redirects, approve=approve
            ) as response:
                return await self._receive(response)

    async def _receive(self, response: httpx.Response) -> Download:
        guard.check_status(response)
        url, headers = urldefrag(str(response.url)).url, response.headers
        kind = kind_of(url, headers)
        if kind == "html":
            await _extractors.warm()

        most = self._max_document_bytes if kind.startswith(".") else self._max_bytes
        return Download(
            url=url,
            kind=kind,
            charset=response.charset_encoding,
            body=await guard.receive(response, max_bytes=most),
            at=self._clock(),
            age=age_of(headers),
            may_keep=may_keep(headers),
        )

    async def _page(self, download: Download) -> Page:
        if download.kind.startswith("."):
            return await self._document(download)

        text = await asyncio.to_thread(decoded, download.body, download.charset)
        title = ""
        if download.kind == "html":
            title, text = await _content(download.url, text)

        title, text = clean(title), clean(text)
        if not text.strip():
            raise FileUnreadable(
                f"`{download.url}` holds no text",
                hint="it may need a browser to show anything: try `browse`",
            )

        return Page(url=download.url, title=title, text=text, at=download.at, age=download.age)

    async def _document(self, download: Download) -> Page:
        # Imported here: it brings the whole of file search along.
        from agentflow.toolkit.files import read_document

        try:
            read = await read_document(download.body, download.kind, seconds=self._timeout)
        except FileUnreadable as error:
            raise FileUnreadable(f"`{download.url}` cannot be read: {error}", hint=error.hint) from error

        return Page(
            url=download.url,
            title=read.title,
            text=read.text,
            at=download.at,
            age=download.age,
            places=read.pages,
        )

    def _evidence(self, page: Page) -> list[Evidence]:
        at = datetime.fromtimestamp(page.at, UTC).isoformat(timespec="seconds")
        return [
            Evidence(
                text=page.text[part.start : part.end],
                source=page.url,
                place=_place(page, part),
                title=page.title,
                tool="fetch_page",
                at=at,
                trust="untrusted",
                start=part.start,
                end=part.end,
            )
            for part in passages(page.text[: self._max_characters])
        ]


async def _content(url: str, page: str) -> tuple[str, str]:
    """Title and text of a page in HTML."""
    content = await _extractors.content(url, page)
    if content.refresh and len(content.text.strip()) < _TOO_SHORT:
        # Followed in silence it would lead past robots.txt, and cite what was never asked for.
        raise FileUnreadable(
            f"`{url}` only sends its reader on to `{urljoin(url, content.refresh)}`",
            hint="fetch that address, if it is what you look for",
        )

    return content.title, content.text


def _place(page: Page, part: Passage) -> str:
    # The total tells the reader where a page was cut.
    where = f"characters {part.start}-{part.end} of {len(page.text)}"
    inside = [name for start, name in page.places if start <= part.start][-1:]
    return ", ".join([*filter(None, [" > ".join(part.headings)]), *inside, where])


async def fetch_page(url: str) -> list[Evidence]:
    """The passages of the page at `url`, read with the limits that `PageReader` has by default."""
    return await PageReader()(url)
