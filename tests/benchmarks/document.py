"""Writes the measured figures into `docs/performance.md`: `python -m tests.benchmarks.document [FILE]`.

`FILE` is what `python -m tests.benchmarks --json FILE` wrote; without it, `figures.json` beside this module, which is what the document
shows. Tables stand between markers of the document, and are made anew; the plots are drawn anew. All else is left as it is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.goals import GOALS, Figures, Told
from tests.benchmarks.growth import growths
from tests.benchmarks.table import number

HERE = Path(__file__).parent
FIGURES, PEERS = HERE / "figures.json", HERE / "peers.json"
DOCUMENT = HERE.parents[1] / "docs" / "performance.md"


def host_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """The machine."""
    host = figures["host"]
    packages = ", ".join(f"{name} {version}" for name, version in host["packages"].items())
    yield (
        f"Measured on {host['day']} on {host['cores']} cores of a shared virtual machine ({host['processor']}, "
        f"{host['memory_gib']} GiB, {host['system']}), load {host['load']} when it began, with Python {host['python']}, "
        f"SQLite {host['sqlite']}, {packages}."
    )


def goal_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """The table of workloads, floors, goals and peers."""
    rows, peers = Figures(figures["jobs"]), json.loads(PEERS.read_text(encoding="utf-8"))["figures"]
    yield "| what | agentflow | floor | goal | peers |"
    yield "| --- | --- | --- | --- | --- |"
    for goal in GOALS:
        cells = (
            goal.what,
            _told(goal.ours, rows),
            _told(goal.floor, rows),
            goal.wanted,
            peers.get(goal.peers, ""),
        )
        yield f"| {' | '.join(cells)} |"


def _told(told: Told, rows: Figures) -> str:
    try:
        return told(rows)
    except KeyError:  # a run of some workloads only
        return "not measured"


def growth_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """The table of how costs grow."""
    yield "| what | microseconds of CPU, by size | worst factor for ten times the size |"
    yield "| --- | --- | --- |"
    for growth in growths(figures["jobs"]):
        points = ", ".join(
            f"{size:,}: {number(cost)}" for size, cost in zip(growth.sizes, growth.cpu_us, strict=True)
        )
        mark = "" if growth.is_within else " (over)"
        yield f"| {growth.series.title}, by {growth.series.axis} | {points} | {growth.factor:.2f}{mark} |"


def holding_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """The table of runs that wait."""
    yield "| runs that wait for | to begin all: wall, CPU s | KB a run | CPU while idle | until all are over: CPU s | taken up after a kill: wall, CPU s |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for case, told in figures["holding"].items():
        over = told.get("all_answered") or told["fired"]
        taken = told.get("taken_up_after_kill")
        cells = (
            f"{case}, {told['runs']:,} of them",
            _pair(told["begun"]),
            f"{told['bytes_per_run'] / 1e3:.1f}",
            f"{told['cpu_while_idle'] * 100:.1f} % of a core",
            f"{over['cpu_s']:.1f}",
            _pair(taken) if taken else "",
        )
        yield f"| {' | '.join(cells)} |"


def _pair(spent: Mapping[str, float]) -> str:
    return f"{spent['wall_s']:.1f}, {spent['cpu_s']:.1f}"


def peer_lines(_: Mapping[str, Any]) -> Iterator[str]:
    """Which peers, and when."""
    peers = json.loads(PEERS.read_text(encoding="utf-8"))
    yield f"Versions, as measured on {peers['day']}: {peers['versions']}."


BLOCKS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "host": host_lines,
    "goals": goal_lines,
    "peers": peer_lines,
    "growth": growth_lines,
    "holding": holding_lines,
}


def filled(text: str, figures: Mapping[str, Any]) -> str:
    """The document with its blocks made anew; raises `ValueError` where one has no place."""
    for name, lines in BLOCKS.items():
        begin, end = f"<!-- figures: {name} -->", f"<!-- end of figures: {name} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"the document has no place for {name}: put `{begin}` and `{end}` there")

        block = "\n".join((begin, "", *lines(figures), "", end))
        text = pattern.sub(block.replace("\\", r"\\"), text)

    return text


def main(arguments: Sequence[str]) -> int:
    """Write the document and its plots."""
    from tests.benchmarks.plots import draw

    file = Path(arguments[0]) if arguments else FIGURES
    figures = json.loads(file.read_text(encoding="utf-8"))
    DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8"), figures), encoding="utf-8")
    draw(figures["jobs"], DOCUMENT.parent / "plots")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
