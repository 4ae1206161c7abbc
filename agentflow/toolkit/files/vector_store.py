"""What a store of passages and their vectors has to do, so that another database can take the place of SQLite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agentflow.exceptions import ToolError
from agentflow.toolkit.files.chunking import Chunk
from agentflow.toolkit.files.document import Document
from agentflow.toolkit.files.filters import Filter, Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class IndexDamaged(ToolError):
    """Raised when the index cannot be read as one; a rebuild mends it."""


class IndexMismatch(ToolError):
    """Raised when the index holds vectors of another model or dimension than those that are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What the index knows of a file: `changed` and `seen` are times in ns, `why` says why it was skipped.

    `digest` names its content; a file that could not even be opened has none.
    """

    path: str
    size: int
    changed: int
    seen: int
    digest: str | None = None
    why: str | None = None
    metadata: Mapping[str, Value | list[str]] = field(default_factory=dict[str, Value | list[str]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A passage with the document that it stands in; `paths` are the files with that content.

    `start` and `end` count characters of the document's text; `page` is the number of the page or slide that it begins on.
    """

    id: int
    paths: tuple[str, ...]
    title: str
    start: int
    end: int
    page: int | None
    heading: str
    detail: str
    text: str


class VectorStore(Protocol):
    """Files, the passages of their documents, and two ways to find passages. Safe to use from many threads.

    A file counts once it was put, as a whole: whatever happens in between, others see it as before or complete. Two
    files of the same content share one document. Scores are higher for what fits better, and comparable within
    one answer. Methods raise `IndexDamaged` where the store cannot be read, and `ToolError` where it cannot be used.
    """

    def usable(self) -> bool:
        """Is there an index, made as this one would be? Raises `IndexMismatch` for vectors of another model."""
        ...

    def locked(self, stopped: Callable[[], bool]) -> AbstractContextManager[None]:
        """Hold the right to write, waiting for whoever has it until `stopped`. It ends with the process."""
        ...

    def prepare(self, *, rebuild: bool = False) -> str:
        """Make the store fit to be written, while it is locked; what had to be done to an existing one, in words."""
        ...

    def put(
        self, file: File, document: Document, chunks: Sequence[Chunk], vectors: NDArray[np.float32]
    ) -> None:
        """Replace what is known of a file, all or nothing. `vectors` has one row a chunk, each of length 1."""
        ...

    def note(self, *files: File) -> None:
        """Remember files whose content is known already or was skipped."""
        ...

    def forget(self, paths: Sequence[str]) -> None:
        """Remove files, and what no other file shares."""
        ...

    def files(self) -> Mapping[str, File]:
        """All files by their path, skipped ones as well."""
        ...

    def holds(self, digest: str) -> bool:
        """Is a document with this content there already?"""
        ...

    def count(self) -> int:
        """The number of passages."""
        ...

    def document(self, path: str) -> Document | None:
        """The text, title and pages of a file as it was indexed; its headings are not kept."""
        ...

    def by_words(self, words: Sequence[str], limit: int, within: Filter | None = None) -> dict[int, float]:
        """The passages that hold any of `words`, best first, with a score such as BM25."""
        ...

    def by_vector(
        self, vector: NDArray[np.float32], limit: int, within: Filter | None = None
    ) -> dict[int, float]:
        """The passages nearest to a vector of length 1, nearest first, with their cosine similarity."""
        ...

    def passages(self, ids: Sequence[int]) -> dict[int, Passage]:
        """Passages by their ids; those that are gone are left out."""
        ...

    def passage_at(self, path: str, start: int) -> Passage | None:
        """The last passage of a file that begins at or before the character `start` of its text."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...
