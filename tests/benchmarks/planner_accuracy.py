"""How well the embedded planner chooses: `python tests/benchmarks/planner_accuracy.py FILE.jsonl [--json]`.

A row has `prompt`, `level`, `tools`, `expected_tool` (null: no tool), `expected_plan` (a list: several parts) and
`expected_args` (argument name -> words that it must hold).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentflow.models.embedded.arguments import Source, fill
from agentflow.models.embedded.router import Offer, route
from agentflow.models.embedded.steps import steps

Row = Mapping[str, Any]


def _schema(**properties: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties)[:1],
    }


OFFERS = {
    offer.name: offer
    for offer in (
        Offer(
            name="web_search",
            description="Search the public web and return ranked passages.",
            parameters=_schema(query="string", max_results="integer"),
        ),
        Offer(
            name="file_search",
            description="Search the project's files and return passages with their exact places.",
            parameters=_schema(query="string", max_results="integer"),
        ),
        Offer(
            name="computer",
            description="Carry out a task on a web site with a browser: open, click, fill in forms.",
            parameters=_schema(task="string", url="string", values="object"),
        ),
        Offer(
            name="code_interpreter",
            description="Run Python code in a sandbox and return what it prints.",
            parameters=_schema(code="string"),
        ),
        Offer(
            name="image_generation",
            description="Generate an image from a text description.",
            parameters=_schema(prompt="string"),
        ),
        Offer(
            name="send_email",
            description="Send an e-mail to a recipient.",
            parameters=_schema(to="string", subject="string", body="string"),
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of how many were right."""

    right: int
    of: int

    @property
    def rate(self) -> float:
        """The share as a number from 0 to 1."""
        return self.right / self.of if self.of else 0.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All figures of one file. `single` counts choices; `kept_whole`, single requests planned as one right call."""

    single: Share
    kept_whole: Share
    multi: Share
    arguments: Share
    levels: Mapping[str, Share]
    classes: Mapping[str, Share]
    cpu_ms: float
    misses: Sequence[Mapping[str, Any]]


def measure(rows: Sequence[Row]) -> Figures:
    """Choose for each row and count."""
    singles = [row for row in rows if not row.get("expected_plan")]
    multi = [row for row in rows if row.get("expected_plan")]
    route("warm up", list(OFFERS.values()))  # loading the model is not part of a choice
    began = time.process_time()
    chosen = [route(row["prompt"], _offers(row)) for row in singles]
    spent = time.process_time() - began
    right = [choice.tool == row["expected_tool"] for choice, row in zip(chosen, singles, strict=True)]
    judged = list(zip(singles, right, strict=True))
    missed = [
        {
            "prompt": row["prompt"],
            "expected": row["expected_tool"],
            "chosen": choice.tool,
            "confidence": choice.confidence,
        }
        for choice, row in zip(chosen, singles, strict=True)
        if choice.tool != row["expected_tool"]
    ]
    return Figures(
        single=_share(right),
        kept_whole=_share(_sequence(row) == [row["expected_tool"]] for row in singles),
        multi=_share(_sequence(row) == row["expected_plan"] for row in multi),
        arguments=_arguments(singles),
        levels={str(n): _share(ok for row, ok in judged if row.get("level") == n) for n in _levels(singles)},
        classes={
            n: _share(ok for row, ok in judged if (row["expected_tool"] or "none") == n)
            for n in _classes(singles)
        },
        cpu_ms=1000 * spent / max(len(singles), 1),
        misses=missed + [_missed_plan(row) for row in multi if _sequence(row) != row["expected_plan"]],
    )


def _offers(row: Row) -> list[Offer]:
    return [OFFERS[name] for name in row["tools"]]


def _sequence(row: Row) -> list[str | None]:
    return [step.choice.tool for step in steps(row["prompt"], _offers(row))]


def _missed_plan(row: Row) -> dict[str, Any]:
    return {"prompt": row["prompt"], "expected": row["expected_plan"], "chosen": _sequence(row)}


def _share(flags: Iterable[bool]) -> Share:
    every = list(flags)
    return Share(right=sum(every), of=len(every))


def _levels(rows: Sequence[Row]) -> list[int]:
    return sorted({row["level"] for row in rows if row.get("level") is not None})


def _classes(rows: Sequence[Row]) -> list[str]:
    return sorted({row["expected_tool"] or "none" for row in rows})


def _arguments(rows: Sequence[Row]) -> Share:
    """Of the words that arguments must hold, those that they do hold when the right tool is given."""
    found: list[bool] = []
    for row in rows:
        if row["expected_tool"] is None or not row.get("expected_args"):
            continue

        filled = fill(Source(text=row["prompt"]), OFFERS[row["expected_tool"]].parameters).arguments or {}
        for name, words in row["expected_args"].items():
            found += [word.lower() in str(filled.get(name, "")).lower() for word in words]

    return _share(found)


def tables(figures: Figures) -> str:
    """The figures for people."""
    lines = [
        _line("single requests: tool", figures.single),
        _line("single requests: one right call", figures.kept_whole),
        _line("several parts: exact sequence", figures.multi),
        _line("argument words found", figures.arguments),
        *(_line(f"level {name}", share) for name, share in figures.levels.items()),
        *(_line(name, share) for name, share in figures.classes.items()),
        f"{'CPU a choice':34} {figures.cpu_ms:6.1f} ms",
    ]
    return "\n".join(lines)


def _line(name: str, share: Share) -> str:
    return f"{name:34} {share.rate:6.3f}   {share.right} of {share.of}"


def load(path: Path) -> list[Row]:
    """The rows of a file with one JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def main() -> None:
    """Print the tables, or with --json all figures and all misses."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", action="store_true", help="all figures and all misses as JSON")
    given = parser.parse_args()
    figures = measure(load(given.file))
    sys.stdout.write((json.dumps(asdict(figures), indent=2) if given.json else tables(figures)) + "\n")


if __name__ == "__main__":
    main()
