"""Measure file search on the questions about the sample handbook that name their document: is the passage with the answer found, and where?

    python -m tests.benchmarks.handbook_search [--json] [--weights 0 0.5 1]

A passage answers when it comes from the document that the question is about and holds the words that the answer must have.
`mrr@10` is the mean of 1/rank of the first such passage among ten, `hit@5` the share of questions with one among five.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from agentflow.evidence import Evidence
from agentflow.toolkit.files import FileSearch

_SAMPLES = Path(__file__).parents[2] / "workflows" / "samples"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    options = parser.parse_args(arguments)
    results = asyncio.run(_measured(options.weights))
    if options.json:
        print(json.dumps(results))
        return

    for result in results:
        print("  ".join(f"{name} {value}" for name, value in result.items()))


async def _measured(weights: Sequence[float]) -> list[dict[str, float]]:
    lines = (_SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [asked for line in lines if "source" in (asked := json.loads(line))]
    with tempfile.TemporaryDirectory() as place:
        files = FileSearch(_SAMPLES / "handbook", index=Path(place, "handbook.db"), fresh_for=3600)
        results = [await _scored(files, questions, weight) for weight in weights]
        files.close()

    return results


async def _scored(files: FileSearch, questions: Sequence[dict[str, Any]], weight: float) -> dict[str, float]:
    found = [await files.search(asked["question"], 10, weight=weight) for asked in questions]
    ranks = [_rank(asked, passages) for asked, passages in zip(questions, found, strict=True)]
    return {
        "weight": weight,
        "mrr@10": round(fmean(1 / rank if rank else 0.0 for rank in ranks), 3),
        "hit@5": round(fmean(0 < rank <= 5 for rank in ranks), 3),
    }


def _rank(asked: dict[str, Any], passages: Sequence[Evidence]) -> int:
    """The rank of the first passage that answers; 0 if none does."""
    for rank, passage in enumerate(passages, 1):
        text = " ".join(passage.text.split()).lower()
        if passage.source.endswith(asked["source"]) and all(
            words in text for words in asked["answer_contains"]
        ):
            return rank

    return 0


if __name__ == "__main__":
    main()
