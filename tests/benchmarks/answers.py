"""How often `research` answers right with the embedded model: `python tests/benchmarks/answers.py [--json]`.

Runs the workflow on the sample questions. An answer is right when it holds all the words that it should; a citation is
exact when its text stands at its offsets in the source.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from agentflow import Answer, Settings, run
from agentflow.project import find_project

ROOT = Path(__file__).parents[2]


async def measured() -> dict[str, Any]:
    """The figures over all sample questions, each in a run of its own."""
    project = find_project(ROOT)
    workflow = project.load("research")
    from tools import files  # importable once the project is found

    lines = (ROOT / "workflows/samples/questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    right = exact = cited = 0
    seconds: list[float] = []
    missed: list[str] = []
    for asked in questions:
        begin = time.perf_counter()
        answer: Answer = await run(workflow, {"question": asked["question"]}, settings=Settings(root=ROOT))
        seconds.append(time.perf_counter() - begin)
        text = " ".join(answer.text.split()).lower()
        ok = all(words in text for words in asked["answer_contains"])
        right += ok
        missed += [] if ok else [asked["question"]]
        for citation in answer.citations:
            cited += 1
            source = await files._search.text(citation.source)
            exact += source[citation.start : citation.end] == citation.text

    return {
        "questions": len(questions),
        "right": right,
        "citations": cited,
        "exact": exact,
        "seconds_median": round(statistics.median(seconds), 3),
        "missed": missed,
    }


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    figures = asyncio.run(measured())
    if parser.parse_args().json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return 0

    for name, value in figures.items():
        sys.stdout.write(f"{name:16} {value}\n")

    return 0


if __name__ == "__main__":
    sys.exit(main())
