"""One search over one or several stores: by words and by meaning, joined by score, near copies left out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.context import operation
from agentflow.embedding import TextEncoder
from agentflow.evidence import Evidence, Trust
from agentflow.exceptions import ToolArgumentsInvalid
from agentflow.toolkit.files import ranking
from agentflow.toolkit.files.filters import Filter
from agentflow.toolkit.files.scope import attributes
from agentflow.toolkit.files.vector_store import Passage, VectorStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEPTH = 100  # hits taken of each ranking before they are joined
MOST_RESULTS = 50
Hits = tuple[Mapping[int, float], Mapping[int, float]]  # passages by words and by meaning, with their scores
Key = tuple[int, int]  # the store's place among those that are searched, and the passage's id in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked: `weight` is the share of meaning in the ranking, `per_file` how many passages a file may give."""

    query: str
    max_results: int = 5
    within: Filter | None = None
    weight: float | None = None
    per_file: int | None = None

    def check(self) -> None:
        """Raise `ToolArgumentsInvalid` where that makes no sense."""
        if not self.query.strip():
            raise ToolArgumentsInvalid("the `query` is empty", hint="say in a few words what to look for")

        if not 1 <= self.max_results <= MOST_RESULTS:
            hint = f"give 1 to {MOST_RESULTS}"
            raise ToolArgumentsInvalid(f"`max_results` is {self.max_results}", hint=hint)

        if self.weight is not None and not 0 <= self.weight <= 1:
            hint = "give 0 (words alone) to 1 (meaning alone)"
            raise ToolArgumentsInvalid(f"`weight` is {self.weight}", hint=hint)

        if self.per_file is not None and self.per_file < 1:
            raise ToolArgumentsInvalid(f"`per_file` is {self.per_file}", hint="give 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A store to search, and how its passages are shown: `prefix` stands before the path of a file."""

    store: VectorStore
    encoder: TextEncoder
    prefix: str
    weight: float
    trust: Trust
    tool: str

    def evidence(self, passage: Passage, score: float, at: str, within: Filter | None) -> Evidence:
        """A passage as what a tool returns."""
        path = self._path(passage, within)
        place = (passage.heading, passage.detail, f"characters {passage.start}-{passage.end}")
        return Evidence(
            text=passage.text,
            source=self.prefix + path,
            place=", ".join(filter(None, place)),
            title=passage.title or Path(path).stem.replace("-", " ").replace("_", " "),
            tool=self.tool,
            at=at,
            trust=self.trust,
            start=passage.start,
            end=passage.end,
            score=round(score, 4),
        )

    def _path(self, passage: Passage, within: Filter | None) -> str:
        """Of several files with the same content, one that was searched for."""
        if within is None or len(passage.paths) == 1:
            return passage.paths[0]

        files = self.store.files()
        fitting = (p for p in passage.paths if p in files and within.fits(p, attributes(files[p])))
        return next(fitting, passage.paths[0])


async def retrieve(name: str, sources: Sequence[Source], request: Request) -> list[Evidence]:
    """The passages that answer best, best first, recorded as a retrieval called `name`."""
    asked: dict[str, Any] = {"query": request.query}
    if request.within is not None and (request.within.conditions or request.within.paths):
        asked["where"] = request.within.described()

    async with operation("retrieval", name, request=asked, top_k=request.max_results) as found:
        vectors = {encoder.name: await _embedded(encoder, request.query) for encoder in _encoders(sources)}
        hits = await asyncio.gather(
            *(_hits(source, request, vectors[source.encoder.name]) for source in sources)
        )
        found.result = results = await asyncio.to_thread(_found, sources, request, hits)

    return results


async def _hits(source: Source, request: Request, vector: NDArray[np.float32]) -> Hits:
    """What a store has for both rankings, which are made at the same time."""
    telling = ranking.telling(request.query)
    words, meanings = await asyncio.gather(
        asyncio.to_thread(source.store.by_words, telling, DEPTH, request.within),
        asyncio.to_thread(source.store.by_vector, vector, DEPTH, request.within),
    )
    return words, meanings


def _encoders(sources: Sequence[Source]) -> list[TextEncoder]:
    return list({source.encoder.name: source.encoder for source in sources}.values())


async def _embedded(encoder: TextEncoder, query: str) -> NDArray[np.float32]:
    async with operation("embeddings", encoder.name, request={"input": query}, dimension=encoder.dimension):
        vectors = await asyncio.to_thread(encoder.embed, [query])
        vector: NDArray[np.float32] = vectors[0]
        return vector


def _found(sources: Sequence[Source], request: Request, hits: Sequence[Hits]) -> list[Evidence]:
    scores = _scores(sources, request, hits)
    # A long file may have the first hundred to itself.
    enough = max(50, 4 * request.max_results) if request.per_file is None else len(scores)
    best = sorted(scores, key=lambda key: (-scores[key], key))[:enough]
    passages = {
        (number, id_): passage
        for number, source in enumerate(sources)
        for id_, passage in source.store.passages([key[1] for key in best if key[0] == number]).items()
    }
    kept = ranking.distinct((key, passages[key].text) for key in best if key in passages)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        sources[key[0]].evidence(passages[key], scores[key], now, request.within)
        for key in islice(_limited(kept, passages, request.per_file), request.max_results)
    ]


def _scores(sources: Sequence[Source], request: Request, hits: Sequence[Hits]) -> dict[Key, float]:
    """The joined scores of all stores; those of the same model are scaled together, as they can be compared."""
    scores: dict[Key, float] = {}
    for model in {source.encoder.name for source in sources}:
        numbers = [number for number, source in enumerate(sources) if source.encoder.name == model]
        words = {(number, id_): score for number in numbers for id_, score in hits[number][0].items()}
        meanings = {(number, id_): score for number in numbers for id_, score in hits[number][1].items()}
        weights = {n: sources[n].weight if request.weight is None else request.weight for n in numbers}
        joined = {weight: dict(ranking.fuse(words, meanings, weight)) for weight in set(weights.values())}
        scores |= {key: joined[weights[key[0]]][key] for key in words.keys() | meanings.keys()}

    return scores


def _limited(keys: Iterator[Key], passages: Mapping[Key, Passage], most: int | None) -> Iterator[Key]:
    """`keys` without those of a file that has given `most` already."""
    given = Counter[tuple[int, str]]()
    for key in keys:
        file = (key[0], passages[key].paths[0])
        given[file] += 1
        if most is None or given[file] <= most:
            yield key


def ranked(
    store: VectorStore, query: str, vector: NDArray[np.float32], weight: float, within: Filter | None = None
) -> list[tuple[int, float]]:
    """Passages of one store by words and by meaning, joined by score; best first."""
    words = store.by_words(ranking.telling(query), DEPTH, within)
    return ranking.fuse(words, store.by_vector(vector, DEPTH, within), weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMatch:
    """A file that answers a query: its passages in the order in which they stand in it, `score` that of the best."""

    source: str
    title: str
    score: float
    passages: tuple[Evidence, ...]


def grouped(found: Sequence[Evidence]) -> list[FileMatch]:
    """Results of a search by file; the file with the best passage comes first."""
    files: dict[str, list[Evidence]] = {}
    for item in found:
        files.setdefault(item.source, []).append(item)

    return [
        FileMatch(
            source=source,
            title=items[0].title,
            score=items[0].score or 0.0,
            passages=tuple(sorted(items, key=lambda item: item.start or 0)),
        )
        for source, items in files.items()
    ]


def capped(request: Request) -> Request:
    """The request for enough passages to fill as many files as it asks for results."""
    per_file = request.per_file or 3
    return replace(request, max_results=min(MOST_RESULTS, request.max_results * per_file), per_file=per_file)
