"""Measure file search: how fast files are read and indexed, and what a search costs at 1,000 to 100,000 passages.

    python -m tests.benchmarks.file_search [--json] [--sizes 1000 10000 100000] [--files 200]

The passages are windows of the texts that come with Python itself (documentation of the language, docstrings of the standard
library). The vectors of the first 1,000 are real; those of further ones are mixed from two real ones each, as embedding
100,000 passages takes an hour. Queries are other windows of the same texts, twelve words long, with their real vectors.
Building and searching each size have a process of their own. Times are given as CPU time (`cpu`) and as wall time; the query's embedding
is measured apart. `recall` compares the vectors found with those of an exact search over all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pkgutil
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentflow.embedding import encoder
from agentflow.toolkit.files import FileSearch, Filter
from agentflow.toolkit.files.chunking import Chunk
from agentflow.toolkit.files.document import plain
from agentflow.toolkit.files.filters import Condition
from agentflow.toolkit.files.ranking import telling
from agentflow.toolkit.files.retrieval import DEPTH, ranked
from agentflow.toolkit.files.store import SqliteStore
from agentflow.toolkit.files.vector_store import File
from tests.toolkit.documents import hostile, office

_SEED = 20261130
_REAL = 1000  # passages with vectors of their own
_QUERIES = 60
_WORDS = 120  # of a passage
_A_FILE = 20  # passages


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--files", type=int, default=200, help="documents of the folder that is read")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--one", nargs=3, metavar=("PART", "SIZE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        part, size, folder = options.one
        measure = {"built": _built, "searched": _searched}[part]
        print(json.dumps(measure(int(size), Path(folder))))
        return

    results = [_folder(options.files), *_sizes(options.sizes)]
    if options.json:
        print(json.dumps(results))
        return

    for result in results:
        print("  ".join(f"{name} {value}" for name, value in result.items()))


def _folder(count: int) -> dict[str, Any]:
    """Index a folder of `count` documents of ten kinds and the hostile files, and find what each document says."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "office")
        folder.mkdir()
        paragraphs = [" ".join(window) for window in _windows(random.Random(_SEED), 50, 60)]
        said = office(folder, count, paragraphs)
        wanted = hostile(folder)
        encoder()
        began, cpu = time.perf_counter(), time.process_time()
        files = FileSearch(folder, index=Path(place, "office.db"))
        report = asyncio.run(files.index())
        wall, used = time.perf_counter() - began, time.process_time() - cpu
        skipped = {item.path: item.why for item in report.skipped}
        found = asyncio.run(_own(files, said))
        files.close()
    named = sum(bool(re.search(why, skipped.get(path, ""))) for path, why in wanted.items())
    return {
        "files": report.added,
        "passages": report.chunks,
        "hostile_named": f"{named} of {len(wanted)}",
        "own_sentence_among_five": f"{found} of {len(said)}",
        "wall_s": round(wall, 1),
        "passages_per_wall_s": round(report.chunks / wall, 1),
        "passages_per_cpu_s": round(report.chunks / used, 1),
    }


async def _own(files: FileSearch, said: dict[str, str]) -> int:
    found = [await files.search(own) for own in said.values()]
    return sum(
        any(own in item.text for item in items) for own, items in zip(said.values(), found, strict=True)
    )


def _sizes(sizes: Sequence[int]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as place:
        results: list[dict[str, Any]] = []
        for size in sizes:
            parts: dict[str, Any] = {}
            for part in ("built", "searched"):
                program = [
                    sys.executable,
                    "-m",
                    "tests.benchmarks.file_search",
                    "--one",
                    part,
                    str(size),
                    place,
                ]
                parts |= json.loads(subprocess.run(program, check=True, stdout=subprocess.PIPE).stdout)

            results.append(parts)

        return results


def _built(size: int, place: Path) -> dict[str, Any]:
    passages = _windows(random.Random(_SEED), size, _WORDS)
    real = _kept(place / "real.npy", [" ".join(window)[:900] for window in passages[:_REAL]])
    vectors = _mixed(real, size)
    path = place / f"{size}.db"
    store = SqliteStore(path, model="benchmark")
    began = time.process_time()
    _fill(store, passages, vectors)
    built = time.process_time() - began
    store.close()
    np.save(place / f"{size}.npy", vectors)
    _kept(place / "queries.npy", _queries())
    return {
        "passages": size,
        "stored_per_cpu_s": round(size / built),
        "file_mb": round(path.stat().st_size / 1e6, 1),
    }


def _queries() -> list[str]:
    return [" ".join(window) for window in _windows(random.Random(_SEED + 1), _QUERIES, 12)]


def _searched(size: int, place: Path) -> dict[str, Any]:
    queries = _queries()
    asked = _kept(place / "queries.npy", queries)
    path = place / f"{size}.db"
    before = _resident()
    store = SqliteStore(path, model="benchmark")
    began = time.perf_counter()
    store.by_vector(asked[0], DEPTH)
    opened = time.perf_counter() - began
    figures = _searches(store, queries, asked)
    memory = round((_resident() - before) / 1e6, 1)
    vectors = np.load(place / f"{size}.npy")
    return {
        "open_ms": round(1000 * opened, 1),
        "memory_mb": memory,
        **figures,
        **_recalls(store, vectors, asked),
        "embed_query_cpu_ms": _times(lambda n: encoder().embed([queries[n]]))["cpu_p50_ms"],
    }


def _searches(store: SqliteStore, queries: Sequence[str], asked: NDArray[np.float32]) -> dict[str, Any]:
    tenth = Filter(conditions=(Condition(name="part", values=(3,)),))

    def words(n: int) -> object:
        return store.by_words(telling(queries[n]), DEPTH)

    def nearest(n: int) -> object:
        return store.by_vector(asked[n], DEPTH)

    def hybrid(n: int) -> object:
        found = ranked(store, queries[n], asked[n], 0.5)
        return store.passages([id_ for id_, _ in found[:50]])

    def filtered(n: int) -> object:
        return ranked(store, queries[n], asked[n], 0.5, tenth)

    kinds = {"words": words, "vectors": nearest, "hybrid": hybrid, "hybrid_in_a_tenth": filtered}
    return {f"{name}_{key}": value for name, call in kinds.items() for key, value in _times(call).items()}


def _times(call: Callable[[int], object]) -> dict[str, float]:
    """Median and 95th percentile of one call for each query, after one call that is not counted."""
    call(0)
    wall: list[float] = []
    cpu: list[float] = []
    for number in range(_QUERIES):
        began, used = time.perf_counter(), time.process_time()
        call(number)
        wall.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - used))

    late = round(0.95 * _QUERIES) - 1
    return {
        "cpu_p50_ms": round(median(cpu), 1),
        "cpu_p95_ms": round(sorted(cpu)[late], 1),
        "p50_ms": round(median(wall), 1),
        "p95_ms": round(sorted(wall)[late], 1),
    }


def _recalls(
    store: SqliteStore, vectors: NDArray[np.float32], asked: NDArray[np.float32]
) -> dict[str, float]:
    shares: dict[int, list[float]] = {10: [], DEPTH: []}
    for query in asked:
        exact = np.argsort(-(vectors @ query))[:DEPTH] + 1  # passages are numbered from 1
        found = list(store.by_vector(query, DEPTH))
        for depth, share in shares.items():
            share.append(len(set(found[:depth]) & set(exact[:depth].tolist())) / depth)

    return {f"recall@{depth}": round(sum(share) / len(share), 4) for depth, share in shares.items()}


def _fill(store: SqliteStore, passages: Sequence[Sequence[str]], vectors: NDArray[np.float32]) -> None:
    with store.locked(lambda: False):
        store.prepare()
        for number, at in enumerate(range(0, len(passages), _A_FILE)):
            texts = [" ".join(window) for window in passages[at : at + _A_FILE]]
            starts = np.cumsum([0, *(len(text) + 1 for text in texts)]).tolist()
            chunks = [Chunk(start=s, end=s + len(text)) for s, text in zip(starts, texts, strict=False)]
            file = File(
                path=f"{number}.txt",
                size=1,
                changed=0,
                seen=0,
                digest=str(number),
                metadata={"part": number % 10},
            )
            store.put(file, plain("\n".join(texts)), chunks, vectors[at : at + _A_FILE])


def _mixed(real: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """`real`, then vectors that lie between two of them, with some noise."""
    rng = np.random.default_rng(_SEED)
    vectors = np.empty((size, real.shape[1]), dtype=np.float32)
    vectors[: len(real)] = real[:size]
    for at in range(len(real), size, 10_000):
        part = vectors[at : at + 10_000]
        one, other = (real[rng.integers(len(real), size=len(part))] for _ in range(2))
        share = rng.uniform(0.5, 1.0, size=(len(part), 1)).astype(np.float32)
        part[:] = share * one + (1 - share) * other + rng.normal(0, 0.01, part.shape)
        part /= np.linalg.norm(part, axis=1, keepdims=True)

    return vectors


def _kept(path: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    if not path.exists():
        np.save(path, encoder().embed(texts))

    vectors: NDArray[np.float32] = np.load(path)
    return vectors


def _windows(rng: random.Random, count: int, length: int) -> list[list[str]]:
    """`count` runs of `length` words, put together from two places of the texts."""
    texts = [words for text in _texts() if len(words := text.split()) > length]
    half = length // 2
    made: list[list[str]] = []
    for _ in range(count):
        parts = (rng.choice(texts) for _ in range(2))
        starts = ((words, rng.randrange(len(words) - half)) for words in parts)
        made.append([word for words, start in starts for word in words[start : start + half]])

    return made


def _texts() -> list[str]:
    topics: dict[str, str] = import_module("pydoc_data.topics").topics
    library = Path(json.__file__).parents[1]
    names = sorted(module.name for module in pkgutil.iter_modules([str(library)]))
    files = [library / f"{name}.py" for name in names if (library / f"{name}.py").is_file()]
    found = [
        m for file in files for m in re.findall(r'(?s)"""(.{400,}?)"""', file.read_text(errors="replace"))
    ]
    return [*topics.values(), *found]


def _resident() -> int:
    """Bytes of memory that this process holds now, pages of files that are mapped not counted."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])

    return 0


if __name__ == "__main__":
    main()
