"""Brings the index in step with a folder: only what changed is read, and each file is replaced as a whole."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agentflow.exceptions import FileUnreadable
from agentflow.toolkit.files import chunking
from agentflow.toolkit.files.chunking import Chunk
from agentflow.toolkit.files.document import Document
from agentflow.toolkit.files.parsing import Readers
from agentflow.toolkit.files.scope import Scope, suspects, with_digest
from agentflow.toolkit.files.vector_store import File, VectorStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONTEXT = 200  # characters of titles that are embedded with a passage, whose own text must fit in as well
_BATCH = 16  # passages embedded between two looks at whether to stop

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file that is not in the index, and why."""

    path: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """What indexing did, in files; `skipped` are all that the folder has, `chunks` all passages of the index."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: tuple[Skipped, ...] = ()
    chunks: int = 0
    seconds: float = 0.0


class Estimate:
    """How long indexing still takes, by the bytes that are done and those that are left."""

    def __init__(self, total: int = 0) -> None:
        self._total, self._done = total, 0
        self._began = time.monotonic()

    def add(self, size: int) -> None:
        """So many bytes more are done."""
        self._done += size

    @property
    def seconds_left(self) -> float | None:
        """None as long as nothing is done by which it could be told."""
        passed = time.monotonic() - self._began
        return passed * (self._total - self._done) / self._done if self._done else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexer:
    """Indexes `scope` into `store`. `tell(done, total, what)` is called before each file and may raise to stop.

    `check` is called more often and may raise as well; what was finished until then stays. `estimate` gets what tells
    the time that is left.
    """

    scope: Scope
    store: VectorStore
    embed: Callable[[Sequence[str]], NDArray[np.float32]]
    tell: Progress
    check: Callable[[], None]
    estimate: Callable[[Estimate], None]
    seconds: float = 60.0
    size: int = 900
    overlap: int = 100

    def run(self, *, retry: bool = False) -> IndexReport:
        """Index what changed, while holding the store's lock; `retry` also tries again what was skipped."""
        began = time.monotonic()
        before = self.store.files()
        found = self.scope.scan()
        fresh = self._new(suspects(found, before, retry=retry), before, retry=retry)
        self._add(fresh)
        gone = sorted(before.keys() - found.keys())
        if gone:
            self.store.forget(gone)  # last, so that a file that was only moved is not embedded again

        return self._report(before, self.store.files(), time.monotonic() - began)

    def _new(self, files: Sequence[File], before: Mapping[str, File], *, retry: bool) -> list[File]:
        """Those of `files` that have to be read; of those whose time stamp alone changed, that is noted."""
        fresh: list[File] = []
        same: list[File] = []
        for file in files:
            self.check()
            hashed, known = with_digest(self.scope.folder, file), before.get(file.path)
            if not known or not hashed.digest or hashed.digest != known.digest or (retry and known.why):
                fresh.append(hashed)
            else:
                same.append(replace(hashed, why=known.why))

        self.store.note(*same)
        return fresh

    def _add(self, files: Sequence[File]) -> None:
        """Index `files`, of which several may have the same content, which is read once."""
        unread: dict[str, File] = {}
        for file in files:
            if file.digest and not self.store.holds(file.digest):
                unread.setdefault(file.digest, file)

        problems: dict[str, str] = {}
        estimate = Estimate(sum(file.size for file in unread.values()))
        self.estimate(estimate)
        documents = Readers(seconds=self.seconds).read_all(
            [self.scope.folder / file.path for file in unread.values()]
        )
        with contextlib.closing(documents):
            for number, file in enumerate(files, start=1):
                self.tell(number, len(files), file.path)
                if unread.get(file.digest or "") is file:
                    self._put(file, next(documents), problems)
                    estimate.add(file.size)
                else:
                    self.store.note(replace(file, why=file.why or problems.get(file.digest or "")))

    def _put(self, file: File, document: Document | FileUnreadable, problems: dict[str, str]) -> None:
        try:
            if isinstance(document, FileUnreadable):
                raise document

            chunks = self._cut(document)
        except FileUnreadable as error:
            problems[file.digest or ""] = str(error)
            self.store.note(replace(file, why=str(error)))
        else:
            self.store.put(file, document, chunks, self._embedded(document, chunks))

    def _cut(self, document: Document) -> list[Chunk]:
        try:
            chunks = chunking.chunks(document, size=self.size, overlap=self.overlap)
        except Exception as error:  # whatever is wrong with one file, the others can be indexed
            raise FileUnreadable(f"it could not be cut into passages: {error}") from error

        if not chunks:
            raise FileUnreadable("it holds no text")

        return chunks

    def _embedded(self, document: Document, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        import numpy as np

        texts = [f"{chunk.context[:_CONTEXT]}\n{document.text[chunk.start : chunk.end]}" for chunk in chunks]
        batches = [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
        # The encoder runs on one core and lets go of the interpreter, so threads give it the others but one.
        with ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1)) as pool:
            return np.concatenate(list(pool.map(self._embed, batches)))

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.check()
        return self.embed(texts)

    def _report(self, before: Mapping[str, File], after: Mapping[str, File], seconds: float) -> IndexReport:
        old, new = (
            {file.path: file.digest for file in files.values() if not file.why} for files in (before, after)
        )
        kept = [path for path in new if path in old]
        changed = sum(old[path] != new[path] for path in kept)
        return IndexReport(
            added=len(new) - len(kept),
            changed=changed,
            removed=len(old) - len(kept),
            unchanged=len(kept) - changed,
            skipped=tuple(Skipped(path=f.path, why=f.why) for f in after.values() if f.why),
            chunks=self.store.count(),
            seconds=round(seconds, 3),
        )
