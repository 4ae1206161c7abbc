"""The figures as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.benchmarks.growth import growths


def number(value: float) -> str:
    """Three digits that count, and no more."""
    if value >= 100:
        return f"{value:,.0f}"

    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread_text(spread: Mapping[str, float]) -> str:
    """Median, with least and most."""
    return f"{number(spread['median'])} ({number(spread['min'])}-{number(spread['max'])})"


def lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """All figures of a run."""
    host = figures["host"]
    yield f"{host['processor']}, {host['cores']} cores, Python {host['python']}, load {host['load']}, {host['day']}"
    yield ""
    yield from job_lines(figures["jobs"])
    yield from growth_lines(figures["jobs"])
    for case, told in figures.get("holding", {}).items():
        yield f"{case}: " + "; ".join(f"{name} {value}" for name, value in told.items())


def job_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each job."""
    yield f"{'microseconds a unit':44} {'size':>9} {'CPU median (min-max)':>28} {'wall':>28} {'peak, growth MB':>17}  notes"
    for row in rows:
        name = f"{row['workload']:9} {row['subject']} ({row['unit']})"
        if "cpu_us" not in row:
            yield f"{name:44} {row['size']:>9,} {row['error']}"
            continue

        memory = f"{row['peak_mb']:.0f}, {row['growth_mb']:+.0f}"
        notes = ", ".join(f"{key} {number(value)}" for key, value in row["notes"].items())
        yield (
            f"{name:44} {row['size']:>9,} {spread_text(row['cpu_us']):>28} {spread_text(row['wall_us']):>28}"
            f" {memory:>17}  {notes}".rstrip()
        )


def growth_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each series, with what ten times the size costs more."""
    found = growths(rows)
    if found:
        yield ""
        yield "CPU microseconds a unit as sizes grow; the last: the worst factor from one size to the next"

    for growth in found:
        points = "  ".join(
            f"{size:,}: {number(cost)}" for size, cost in zip(growth.sizes, growth.cpu_us, strict=True)
        )
        mark = "" if growth.is_within else "  (more than 1.3)"
        yield f"{growth.series.title:40} x {growth.factor:.2f}{mark}  {points}"
