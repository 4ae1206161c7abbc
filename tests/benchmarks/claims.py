"""What the check of claims finds, and its false alarms: `python -m tests.benchmarks.claims [--json] [--most N]`.

Runs `research` on the sample questions with the embedded model. Its answers are quotes, so each finding on one of them is a
false alarm; then each answer is forged in each way of `tests/steps/forgeries.py`, and what is not found is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from agentflow import Answer, MemoryJournal, Settings, run
from agentflow.claims import Record, check
from agentflow.project import find_project
from tests.steps.forgeries import FORGERIES, forged

ROOT = Path(__file__).parents[2]


async def measured(most: int) -> dict[str, Any]:
    """The figures over the sample questions, each in a run of its own."""
    workflow = find_project(ROOT).load("research")
    lines = (ROOT / "workflows/samples/questions.jsonl").read_text(encoding="utf-8").splitlines()
    alarms: Counter[str] = Counter()
    planted, found, missed, said, seconds = 0, 0, [""], [""], [0.0]
    for line in lines[:most]:
        journal = MemoryJournal()
        settings = Settings(root=ROOT, journal=journal)
        result = await run(workflow, {"question": json.loads(line)["question"]}, settings=settings).result()
        answer: Answer = result.unwrap()
        record = Record.of(await journal.read(result.run_id))
        begin = time.process_time()
        checked = check(answer, record)
        seconds.append(time.process_time() - begin)
        alarms.update(f.code for f in checked.findings)
        said += [f"{answer.text!r}: {finding}" for finding in checked.findings]
        for name in FORGERIES:
            for case in forged(name, answer, record):
                planted += 1
                codes = {f.code for f in check(case.answer, case.record).findings}
                found += bool(codes & case.codes)
                missed += [] if codes & case.codes else [f"{name}: {case.answer.text!r}"]

    return {
        "answers": len(lines[:most]),
        "false_alarms": dict(alarms),
        "planted": planted,
        "found": found,
        "missed": missed[1:],
        "alarms": said[1:],
        "cpu_ms_median": round(1000 * statistics.median(seconds[1:]), 2),
    }


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--most", type=int, default=1000, help="of how many questions")
    arguments = parser.parse_args()
    figures = asyncio.run(measured(arguments.most))
    if arguments.json:
        print(json.dumps(figures, ensure_ascii=False, indent=2))
    else:
        print("\n".join(f"{name}: {value}" for name, value in figures.items()))

    return 0


if __name__ == "__main__":
    sys.exit(main())
