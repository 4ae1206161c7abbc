"""File search: passages of a folder's documents that answer a query, each with its exact place."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from weakref import WeakKeyDictionary

from agentflow.context import operation
from agentflow.embedding import Encoder, encoder
from agentflow.evidence import Evidence, Trust
from agentflow.exceptions import FileUnreadable, MissingExtra, ToolArgumentsInvalid, ToolError, UnknownName
from agentflow.toolkit.files import ranking
from agentflow.toolkit.files.index import Indexer, IndexReport, Progress, scan, suspects
from agentflow.toolkit.files.relay import Relay
from agentflow.toolkit.files.store import IndexDamaged, Passage, Store

_DEPTH = 100  # hits taken of each ranking before they are joined
_MOST_RESULTS = 50
_SIZE, _OVERLAP = (
    900,
    100,
)  # characters; with its titles a passage just fits into the 256 tokens of the encoder
_PACKAGES = {
    "apsw": "apsw",
    "kreuzberg": "kreuzberg",
    "semantic_text_splitter": "semantic-text-splitter",
    "sqlite_vec": "sqlite-vec",
}


class FileSearch:
    """Search in the documents of `folder`, which are indexed at the first search and kept in step after that.

    `weight` is the share of meaning (vectors) in the ranking, the rest is that of words. `trust` is what the
    evidence is labelled with. `progress(done, total, what)` is called while files are indexed. The folder is
    looked at again when a search comes more than `fresh_for` seconds after the last look. `seconds` is the
    time limit for reading one file.
    """

    def __init__(
        self,
        folder: Path,
        *,
        index: Path | None = None,
        weight: float = 0.5,
        trust: Trust = "untrusted",
        tool: str = "file_search",
        progress: Progress | None = None,
        fresh_for: float = 2.0,
        seconds: float = 60.0,
    ) -> None:
        self.folder = folder.resolve()
        self.index_file = index or index_path(Path.cwd(), self.folder)
        self.report: IndexReport | None = None
        self._weight, self._tool = weight, tool
        self._trust: Trust = trust
        self._progress, self._fresh_for, self._seconds = progress, fresh_for, seconds
        self._store: Store | None = None
        self._looked = float("-inf")
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def search(
        self, query: str, max_results: int = 5, path_contains: str | None = None
    ) -> list[Evidence]:
        """The passages that answer `query` best, best first; `path_contains` limits them to some files."""
        if not query.strip():
            raise ToolArgumentsInvalid("the `query` is empty", hint="say in a few words what to look for")

        if not 1 <= max_results <= _MOST_RESULTS:
            raise ToolArgumentsInvalid(f"`max_results` is {max_results}", hint=f"give 1 to {_MOST_RESULTS}")

        await self._keep_in_step()
        try:
            return await self._retrieve(query, max_results, path_contains)
        except IndexDamaged:
            await self.index(self._progress)
            return await self._retrieve(query, max_results, path_contains)

    async def index(self, progress: Progress | None = None, *, retry_skipped: bool = False) -> IndexReport:
        """Bring the index in step with the folder now; what `progress` raises stops it, finished files stay."""
        async with self._gate():
            return await self._update(progress or self._progress, retry=retry_skipped)

    async def text(self, source: str) -> str:
        """The whole text of a source as it was indexed: what `start` and `end` of evidence count in."""
        await self._keep_in_step()
        _, store = await asyncio.to_thread(self._open)
        prefix = f"{self.folder.name}/"
        found = await asyncio.to_thread(store.text, source.removeprefix(prefix))
        if found is None:
            known = [prefix + path for path in await asyncio.to_thread(store.files)]
            raise UnknownName("file", source, known)

        return found

    def close(self) -> None:
        """Let go of the index file."""
        if self._store is not None:
            self._store.close()

    async def _keep_in_step(self) -> None:
        async with self._gate():
            if time.monotonic() - self._looked > self._fresh_for and not await asyncio.to_thread(
                self._in_step
            ):
                await self._update(self._progress)

    async def _update(self, progress: Progress | None, *, retry: bool = False) -> IndexReport:
        relay = Relay(asyncio.get_running_loop(), progress)
        try:
            self.report = await asyncio.to_thread(self._index, relay, retry=retry)
        finally:
            relay.stop()

        return self.report

    async def _retrieve(self, query: str, max_results: int, path_contains: str | None) -> list[Evidence]:
        encoder_, store = await asyncio.to_thread(self._open)
        async with operation(
            "retrieval", self.folder.name, request={"query": query}, top_k=max_results
        ) as found:
            async with operation(
                "embeddings", encoder_.name, request={"input": query}, dimension=encoder_.dimension
            ):
                vector = await asyncio.to_thread(lambda: encoder_.embed([query])[0].tobytes())

            among = await asyncio.to_thread(self._among, store, path_contains)
            found.result = results = await asyncio.to_thread(
                self._find, store, query, vector, max_results, among
            )

        return results

    def _gate(self) -> asyncio.Lock:
        # One for each event loop: a tool lives as long as its module, loops come and go.
        return self._gates.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def _open(self) -> tuple[Encoder, Store]:
        for module, package in _PACKAGES.items():
            if self._store is None and find_spec(module) is None:
                raise MissingExtra("tools", package)

        loaded = encoder()
        if self._store is None:
            settings = {"version": "1", "model": loaded.name, "size": str(_SIZE), "overlap": str(_OVERLAP)}
            self._store = Store(self.index_file, settings=settings, dimension=loaded.dimension)

        return loaded, self._store

    def _in_step(self) -> bool:
        """Is there nothing to index?"""
        _, store = self._open()
        found = scan(self._existing())
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

    def _index(self, relay: Relay, *, retry: bool) -> IndexReport:
        try:
            return self._index_once(relay, retry=retry)
        except IndexDamaged:
            return self._index_once(relay, retry=retry)

    def _index_once(self, relay: Relay, *, retry: bool) -> IndexReport:
        loaded, store = self._open()
        if all(file.why for file in scan(self._existing()).values()):
            # Refused before anything is removed: the folder may be a disk that is not mounted.
            hint = "put documents there: .md, .txt, .csv, .html, .pdf, .docx, .pptx, .xlsx, .epub or .eml"
            raise ToolError(f"the folder `{self.folder}` holds no document", hint=hint)

        with store.locked(relay.is_stopped):
            said = store.prepare()
            if said:
                relay.tell(0, 0, said)

            indexer = Indexer(
                folder=self.folder,
                store=store,
                embed=loaded.embed,
                tell=relay.tell,
                check=relay.check,
                seconds=self._seconds,
                size=_SIZE,
                overlap=_OVERLAP,
            )
            report = indexer.run(retry=retry)

        self._looked = time.monotonic()
        return report

    def _among(self, store: Store, path_contains: str | None) -> list[int] | None:
        if not path_contains:
            return None

        wanted = path_contains.casefold()
        return store.inside([path for path in store.files() if wanted in self._source(path).casefold()])

    def _find(
        self, store: Store, query: str, vector: bytes, max_results: int, among: Sequence[int] | None
    ) -> list[Evidence]:
        scores = dict(ranked(store, query, vector, self._weight, among)[: max(50, 4 * max_results)])
        passages = store.passages(list(scores))
        texts = ((key, passages[key].text) for key in scores if key in passages)
        best = list(islice(ranking.distinct(texts), max_results))
        if not best and among is None:
            self._explain_nothing(store)

        now = datetime.now(UTC).isoformat(timespec="seconds")
        return [self._evidence(passages[key], scores[key], now) for key in best]

    def _explain_nothing(self, store: Store) -> None:
        why = "; ".join(
            f"`{file.path}`: {file.why}" for file in islice(store.files().values(), 5) if file.why
        )
        raise ToolError(
            f"nothing in `{self.folder}` could be read: {why}", hint="put readable documents there"
        )

    def _evidence(self, passage: Passage, score: float, now: str) -> Evidence:
        path = passage.paths[0]
        place = (passage.heading, passage.detail, f"characters {passage.start}-{passage.end}")
        return Evidence(
            text=passage.text,
            source=self._source(path),
            place=", ".join(filter(None, place)),
            title=passage.title or _title(path),
            tool=self._tool,
            at=now,
            trust=self._trust,
            start=passage.start,
            end=passage.end,
            score=round(score, 4),
        )

    def _source(self, path: str) -> str:
        return f"{self.folder.name}/{path}"


def ranked(
    store: Store, query: str, vector: bytes, weight: float, among: Sequence[int] | None = None
) -> list[tuple[int, float]]:
    """Passages by words and by meaning, joined by score; best first."""
    match = ranking.match_any(query)
    words = store.by_words(match, _DEPTH, among) if match else {}
    return ranking.fuse(words, store.by_vector(vector, _DEPTH, among), weight)


def index_path(root: Path, folder: Path) -> Path:
    """Where a project at `root` keeps the index of `folder`."""
    folder, root = folder.resolve(), root.resolve()
    if folder.is_relative_to(root) and folder != root:
        name = "-".join(folder.relative_to(root).parts)
    else:
        name = f"{folder.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"

    return root / "traces" / "index" / f"{name}.db"


def _title(path: str) -> str:
    return Path(path).stem.replace("-", " ").replace("_", " ")
