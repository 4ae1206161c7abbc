"""File search: passages of a folder's documents that answer a query, each with its exact place."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from agentflow.embedding import TextEncoder, encoder
from agentflow.evidence import Evidence, Trust
from agentflow.exceptions import FileUnreadable, MissingExtra, ToolError, UnknownName
from agentflow.toolkit.files.document import Document
from agentflow.toolkit.files.filters import Filter, filter_from
from agentflow.toolkit.files.index import Estimate, Indexer, IndexReport, Progress
from agentflow.toolkit.files.relay import Relay
from agentflow.toolkit.files.retrieval import FileMatch, Request, Source, capped, grouped, retrieve
from agentflow.toolkit.files.scope import Rule, Scope, attributes, suspects
from agentflow.toolkit.files.store import SqliteStore
from agentflow.toolkit.files.vector_store import File, IndexDamaged, VectorStore
from agentflow.toolkit.files.watching import changes

_SIZE, _OVERLAP = (
    900,
    100,
)  # characters; with its titles a passage just fits into the 256 tokens of the encoder
_PACKAGES = {
    "apsw": "apsw",
    "kreuzberg": "kreuzberg",
    "numpy": "numpy",
    "semantic_text_splitter": "semantic-text-splitter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A place in a file: characters `start` to `end` of its text, and what stands around them."""

    source: str
    file: Path
    title: str
    page: int | None
    start: int
    end: int
    before: str
    text: str
    after: str


class FileSearch:
    """Search in the documents of `folder`, which are indexed at the first search and kept in step after that.

    Only files that fit `include` and not `exclude` are taken (see `globs`), and `rules` give them metadata. `weight` is
    the share of meaning (vectors) in the ranking, the rest is that of words. `embedding` makes the vectors, MiniLM if
    none is given. `trust` is what the evidence is labelled with. `progress(done, total, what)` is called while files
    are indexed. The folder is looked at again when a search comes more than `fresh_for` seconds after the last
    look. `seconds` is the time limit for reading one file. `store` takes the place of the file `index`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        index: Path | None = None,
        include: Sequence[str] = ("**",),
        exclude: Sequence[str] = (),
        rules: Sequence[Rule] = (),
        weight: float = 0.5,
        embedding: TextEncoder | None = None,
        trust: Trust = "untrusted",
        tool: str = "file_search",
        progress: Progress | None = None,
        fresh_for: float = 2.0,
        seconds: float = 60.0,
        store: VectorStore | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.scope = Scope(
            folder=self.folder, include=tuple(include), exclude=tuple(exclude), rules=tuple(rules)
        )
        self.index_file = index or index_path(Path.cwd(), self.folder)
        self.report: IndexReport | None = None
        self.weight = weight
        self._tool, self._embedding, self._store = tool, embedding, store
        self._trust: Trust = trust
        self._progress, self._fresh_for, self._seconds = progress, fresh_for, seconds
        self._looked = float("-inf")
        self._estimate = Estimate()
        self._opening = threading.Lock()
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    @property
    def seconds_left(self) -> float | None:
        """About how long the indexing that goes on still takes; None where that cannot be told yet."""
        return self._estimate.seconds_left

    async def search(
        self,
        query: str,
        max_results: int = 5,
        path_contains: str | None = None,
        *,
        where: Filter | Mapping[str, Any] | None = None,
        weight: float | None = None,
        per_file: int | None = None,
    ) -> list[Evidence]:
        """The passages that answer `query` best, best first.

        `where` limits them to files by their metadata, `kind`, `name`, `size`, `modified` and `path` (see `filter_from`),
        `path_contains` to those with that in their path. `per_file` is the most passages that one file may give.
        """
        request = Request(query=query, max_results=max_results, weight=weight, per_file=per_file)
        return await self._search(request, where, path_contains)

    async def search_files(
        self,
        query: str,
        max_results: int = 5,
        *,
        where: Filter | Mapping[str, Any] | None = None,
        weight: float | None = None,
        per_file: int = 3,
    ) -> list[FileMatch]:
        """The files that answer `query` best, best first, each with up to `per_file` passages."""
        request = Request(query=query, max_results=max_results, weight=weight, per_file=per_file)
        request.check()
        return grouped(await self._search(capped(request), where, None))[:max_results]

    async def index(
        self, progress: Progress | None = None, *, retry_skipped: bool = False, rebuild: bool = False
    ) -> IndexReport:
        """Bring the index in step with the folder now; what `progress` raises stops it, finished files stay.

        `rebuild` makes it anew, as it has to be for another `embedding`.
        """
        async with self._gate():
            return await self._update(progress or self._progress, retry=retry_skipped, rebuild=rebuild)

    async def watch(self, progress: Progress | None = None) -> AsyncGenerator[IndexReport]:
        """Index now, and again whenever something in the folder changes, until the iteration is left."""
        yield await self.index(progress)
        async for _ in changes(self._existing(), self.scope.covers):
            yield await self.index(progress)

    async def files(self) -> Mapping[str, File]:
        """All files of the folder by their path in it, as far as they are indexed."""
        return await asyncio.to_thread(lambda: store.files() if (store := self._open()).usable() else {})

    async def count(self) -> int:
        """The number of passages that are indexed."""
        return await asyncio.to_thread(lambda: store.count() if (store := self._open()).usable() else 0)

    async def text(self, source: str) -> str:
        """The whole text of a source as it was indexed: what `start` and `end` of evidence count in."""
        return (await self.document(source)).text

    async def document(self, source: str) -> Document:
        """The text of a source as it was indexed, its title, and where its pages begin."""
        await self._keep_in_step()
        store = await asyncio.to_thread(self._open)
        found = await asyncio.to_thread(store.document, source.removeprefix(self._prefix))
        if found is None:
            known = [self._prefix + path for path in await asyncio.to_thread(store.files)]
            raise UnknownName("file", source, known)

        return found

    async def open(self, source: str, start: int, end: int | None = None, *, around: int = 300) -> Excerpt:
        """The place that evidence cites, with up to `around` characters before and after it.

        Without `end` it is the rest of the passage that `start` lies in.
        """
        document = await self.document(source)
        text = document.text
        if not 0 <= start < len(text) or (end is not None and not start < end <= len(text)):
            raise ToolError(
                f"`{source}` has {len(text)} characters, and none from {start} to {end or 'there'}",
                hint="give `start` and `end` as they stand in the evidence",
            )

        path = source.removeprefix(self._prefix)
        if end is None:
            passage = await asyncio.to_thread(lambda: self._open().passage_at(path, start))
            end = max(start + 1, passage.end if passage else 0)

        return Excerpt(
            source=source,
            file=self.folder / path,
            title=document.title,
            page=document.page_number(start),
            start=start,
            end=end,
            before=text[max(0, start - around) : start],
            text=text[start:end],
            after=text[end : end + around],
        )

    async def source(self) -> Source:
        """The store, in step with its folder, as `Stores` searches it."""
        await self._keep_in_step()
        store, encoder_ = await asyncio.to_thread(lambda: (self._open(), self._encoder()))
        return Source(
            store=store,
            encoder=encoder_,
            prefix=self._prefix,
            weight=self.weight,
            trust=self._trust,
            tool=self._tool,
        )

    def close(self) -> None:
        """Let go of the index file."""
        if self._store is not None:
            self._store.close()

    async def _search(
        self, request: Request, where: Filter | Mapping[str, Any] | None, contained: str | None
    ) -> list[Evidence]:
        request.check()
        source = await self.source()
        asked = await asyncio.to_thread(self._limited, source.store, where, contained)
        request = Request(
            query=request.query,
            max_results=request.max_results,
            within=asked,
            weight=request.weight,
            per_file=request.per_file,
        )
        try:
            found = await retrieve(self.folder.name, [source], request)
        except IndexDamaged:
            await self.index(self._progress)
            found = await retrieve(self.folder.name, [source], request)

        if not found:
            await asyncio.to_thread(explain_nothing, self.folder, source.store, request.within)

        return found

    def _limited(
        self, store: VectorStore, where: Filter | Mapping[str, Any] | None, contained: str | None
    ) -> Filter | None:
        wanted = where if isinstance(where, Filter) or where is None else filter_from(where)
        if not contained:
            return wanted

        part = contained.casefold()
        only = frozenset(path for path in store.files() if part in (self._prefix + path).casefold())
        known = wanted or Filter()
        return Filter(conditions=known.conditions, paths=known.paths, only=only)

    async def _keep_in_step(self) -> None:
        async with self._gate():
            if time.monotonic() - self._looked > self._fresh_for and not await asyncio.to_thread(
                self._in_step
            ):
                await self._update(self._progress)

    async def _update(
        self, progress: Progress | None, *, retry: bool = False, rebuild: bool = False
    ) -> IndexReport:
        relay = Relay(asyncio.get_running_loop(), progress)
        try:
            self.report = await asyncio.to_thread(self._index, relay, retry=retry, rebuild=rebuild)
        finally:
            relay.stop()

        return self.report

    def _gate(self) -> asyncio.Lock:
        # One for each event loop: a tool lives as long as its module, loops come and go.
        return self._gates.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def _encoder(self) -> TextEncoder:
        return self._embedding or encoder()

    def _open(self) -> VectorStore:
        with self._opening:
            for module, package in _PACKAGES.items():
                if self._store is None and find_spec(module) is None:
                    raise MissingExtra("tools", package)

            if self._store is None:
                settings = {"size": str(_SIZE), "overlap": str(_OVERLAP)}
                self._store = SqliteStore(self.index_file, model=self._encoder().name, settings=settings)

            return self._store

    def _in_step(self) -> bool:
        """Is there nothing to index?"""
        store = self._open()
        self._existing()
        found = self.scope.scan()
        try:
            known = store.files() if store.usable() else None
        except IndexDamaged:
            return False

        if known is None or suspects(found, known) or known.keys() - found.keys():
            return False

        self._looked = time.monotonic()
        return True

    def _existing(self) -> Path:
        if not self.folder.is_dir():
            hint = "name a folder that exists, for example in `AGENTFLOW_FILES`"
            raise FileUnreadable(f"the folder `{self.folder}` does not exist", hint=hint)

        return self.folder

    def _index(self, relay: Relay, *, retry: bool, rebuild: bool) -> IndexReport:
        try:
            return self._index_once(relay, retry=retry, rebuild=rebuild)
        except IndexDamaged:
            return self._index_once(relay, retry=retry, rebuild=rebuild)

    def _index_once(self, relay: Relay, *, retry: bool, rebuild: bool) -> IndexReport:
        store, encoder_ = self._open(), self._encoder()
        self._existing()
        if all(file.why for file in self.scope.scan().values()):
            # Refused before anything is removed: the folder may be a disk that is not mounted.
            hint = "put documents there: .md, .txt, .csv, .html, .pdf, .docx, .pptx, .xlsx, .epub or .eml"
            raise ToolError(f"the folder `{self.folder}` holds no document", hint=hint)

        with store.locked(relay.is_stopped):
            said = store.prepare(rebuild=rebuild)
            if said:
                relay.tell(0, 0, said)

            indexer = Indexer(
                scope=self.scope,
                store=store,
                embed=encoder_.embed,
                tell=relay.tell,
                check=relay.check,
                estimate=self._estimated,
                seconds=self._seconds,
                size=_SIZE,
                overlap=_OVERLAP,
            )
            report = indexer.run(retry=retry)

        self._looked = time.monotonic()
        return report

    def _estimated(self, estimate: Estimate) -> None:
        self._estimate = estimate

    @property
    def _prefix(self) -> str:
        return f"{self.folder.name}/"


def explain_nothing(folder: Path, store: VectorStore, within: Filter | None) -> None:
    """Raise an error where nothing could be found: no file could be read, or the filter fits none by its kind."""
    files = store.files()
    readable = [attributes(file) for file in files.values() if not file.why]
    if not readable:
        why = "; ".join(f"`{file.path}`: {file.why}" for file in islice(files.values(), 5))
        raise ToolError(f"nothing in `{folder}` could be read: {why}", hint="put readable documents there")

    if within is not None:
        within.check(readable)


def index_path(root: Path, folder: Path) -> Path:
    """Where a project at `root` keeps the index of `folder`."""
    folder, root = folder.resolve(), root.resolve()
    if folder.is_relative_to(root) and folder != root:
        name = "-".join(folder.relative_to(root).parts)
    else:
        name = f"{folder.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"

    return root / "traces" / "index" / f"{name}.db"
