"""Measure file search on the Cranfield collection: 1,400 abstracts, 225 questions, judged by their askers.

    python tests/benchmarks/cranfield.py FOLDER [--json] [--weights 0 0.5 1]

`FOLDER` holds `cran.all.1400.xml`, `cran.qry.xml` and `cranqrel.trec.txt`. Weight 0 ranks by words alone, 1 by
meaning alone. Each abstract is one passage of one document in the store that file search uses.

The judgements list one document of grade 0 for each question. Both readings are given: `ndcg@10` and `recall@10`
count every document listed for a question as relevant, `graded_ndcg@10` only those of grade 1 and above.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from html import unescape
from pathlib import Path
from statistics import fmean

from agentflow.embedding import Encoder, encoder
from agentflow.toolkit.files.chunking import Chunk
from agentflow.toolkit.files.document import plain
from agentflow.toolkit.files.retrieval import ranked
from agentflow.toolkit.files.store import SqliteStore
from agentflow.toolkit.files.vector_store import File

_DEPTH = 10


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    options = parser.parse_args(arguments)
    results = measure(options.folder, options.weights)
    if options.json:
        print(json.dumps(results))
        return

    for result in results:
        print("  ".join(f"{name} {value}" for name, value in result.items()))


def measure(folder: Path, weights: Sequence[float]) -> list[dict[str, float]]:
    """nDCG@10 and recall@10 over all questions, and the time of indexing and of one search, for each weight."""
    with tempfile.TemporaryDirectory() as place:
        store = SqliteStore(Path(place) / "cranfield.db", model=encoder().name)
        began = time.process_time()
        _index(store, encoder(), _documents(folder))
        seconds = round(time.process_time() - began, 1)
        questions, grades = _questions(folder), _judgements(folder)
        with closing(store):
            return [_score(store, questions, grades, weight) | {"index_cpu_s": seconds} for weight in weights]


def _score(
    store: SqliteStore, questions: Sequence[str], grades: dict[int, dict[int, int]], weight: float
) -> dict[str, float]:
    vectors = list(encoder().embed(questions))
    began = time.process_time()
    found = [
        [document for document, _ in ranked(store, question, vector, weight)[:_DEPTH]]
        for question, vector in zip(questions, vectors, strict=True)
    ]
    seconds = time.process_time() - began
    listed = [set(grades[number]) for number in range(1, len(questions) + 1)]
    graded = [
        {d for d, grade in grades[number].items() if grade > 0} for number in range(1, len(questions) + 1)
    ]
    return {
        "weight": weight,
        "ndcg@10": _mean(map(_ndcg, found, listed)),
        "recall@10": _mean(map(_recall, found, listed)),
        "graded_ndcg@10": _mean(map(_ndcg, found, graded)),
        "search_cpu_ms": round(1000 * seconds / len(questions), 1),
    }


def _mean(values: Iterable[float]) -> float:
    return round(fmean(values), 4)


def _recall(found: Sequence[int], relevant: set[int]) -> float:
    return len(relevant.intersection(found)) / len(relevant)


def _ndcg(found: Sequence[int], relevant: set[int]) -> float:
    """Discounted cumulative gain over the best possible one; a document is relevant or it is not."""
    gain = sum(1 / math.log2(rank + 2) for rank, document in enumerate(found) if document in relevant)
    best = sum(1 / math.log2(rank + 2) for rank in range(min(len(relevant), _DEPTH)))
    return gain / best


def _index(store: SqliteStore, encoder_: Encoder, documents: Sequence[str]) -> None:
    with store.locked(lambda: False):
        store.prepare()
        for number, text in enumerate(documents, start=1):
            chunk = Chunk(start=0, end=len(text))
            file = File(path=str(number), size=0, changed=0, seen=0, digest=str(number))
            # Passages are numbered from 1 in the order in which they are added: as the documents are.
            store.put(file, plain(text), [chunk], encoder_.embed([text]))


def _documents(folder: Path) -> list[str]:
    """Title and text of each document, by its number; the file has no root element for an XML parser."""
    source = (folder / "cran.all.1400.xml").read_text(encoding="utf-8")
    entries = re.findall(r"(?s)<doc>(.*?)</doc>", source)
    return [f"{_field(entry, 'title')}\n{_field(entry, 'text')}" for entry in entries]


def _questions(folder: Path) -> list[str]:
    """The questions in their order, by which (and not by `<num>`) the judgements count them."""
    source = (folder / "cran.qry.xml").read_text(encoding="utf-8")
    return [_field(entry, "title") for entry in re.findall(r"(?s)<top>(.*?)</top>", source)]


def _field(entry: str, name: str) -> str:
    match = re.search(rf"(?s)<{name}>(.*?)</{name}>", entry)
    return unescape(match[1]).strip() if match else ""


def _judgements(folder: Path) -> dict[int, dict[int, int]]:
    """The grade of each document listed for a question."""
    grades: dict[int, dict[int, int]] = {}
    for line in (folder / "cranqrel.trec.txt").read_text(encoding="utf-8").splitlines():
        if line.strip():
            question, _, document, grade = map(int, line.split())
            grades.setdefault(question, {})[document] = grade

    return grades


if __name__ == "__main__":
    main()
