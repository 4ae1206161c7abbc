"""`diff`: where two runs part."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from rich.table import Table

from agentflow import app
from agentflow.app.diffing import Cost, Parting, Row
from agentflow.cli.definitions import opened
from agentflow.cli.output import DONE, FAILED, count, escape, out, print_json
from agentflow.events import Event

# Differences of one step that are shown: the first ones explain the rest.
_SHOWN = 3


def diff_runs(first: str, second: str, *, as_json: bool) -> int:
    """Compare two runs; gives 0 where they are the same but for times and cost, and 1 where they part."""
    a, b = asyncio.run(_both(first, second))
    found = app.diff(a, b)
    if as_json:
        print_json(_data(found))
    else:
        _print(found)

    return DONE if found.same and not found.definition else FAILED


async def _both(first: str, second: str) -> tuple[list[Event], list[Event]]:
    async with opened(read_only=True) as journal:
        return await app.load(journal, first), await app.load(journal, second)


def _data(found: app.Diff) -> dict[str, Any]:
    first = found.first
    return {
        "same": found.same,
        "first": None if first is None else {"step": first[0], **asdict(first[1])},
        **{name: asdict(getattr(found, name)) for name in ("a", "b")},
        "definition": list(found.definition),
        "partings": [asdict(parting) for parting in found.partings],
        "steps": [{**asdict(row), "same": row.same} for row in found.rows],
    }


def _print(found: app.Diff) -> None:
    _print_first(found)
    for change in found.definition:
        out.print(f"[yellow]definition[/]: {escape(change)}")

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("")
    for name in ("step", "differs in"):
        table.add_column(name, overflow="fold")

    for name in ("calls", "tokens", "usd", "seconds"):
        table.add_column(name, justify="right")

    for row in found.rows:
        table.add_row(*_cells(row))

    table.add_row("", "[bold]run[/]", escape(_ends(found)), *_costs(found.a.cost, found.b.cost))
    out.print(table)


def _print_first(found: app.Diff) -> None:
    out.print(
        f"[bold]A[/] {escape(found.a.run)} [dim]{escape(found.a.workflow)}, {escape(found.a.model)}, {found.a.status}[/]"
    )
    out.print(
        f"[bold]B[/] {escape(found.b.run)} [dim]{escape(found.b.workflow)}, {escape(found.b.model)}, {found.b.status}[/]"
    )
    if found.first is None:
        out.print(f"[bold green]same[/]: {count(len(found.rows), 'step')}, but for times and cost\n")
        return

    step, parting = found.first
    where = f"step `{step}`" if step else "the run"
    out.print(f"[bold red]they part[/] at {escape(where)}: {escape(_told(parting))}")
    out.print(f"  A  {escape(parting.a)}")
    out.print(f"  B  {escape(parting.b)}\n")


def _told(parting: Parting) -> str:
    what = parting.part if parting.what in (parting.part, "") else f"{parting.what}, {parting.part}"
    return f"{what} at {parting.path}" if parting.path else what


def _cells(row: Row) -> list[str]:
    mark = "[green]=[/]" if row.same else "[red]≠[/]"
    mark = "[red]A[/]" if row.b is None else "[red]B[/]" if row.a is None else mark
    said = [_told(parting) for parting in row.partings[:_SHOWN]] if row.a and row.b else ["only there"]
    more = len(row.partings) - _SHOWN
    text = "; ".join(said) + (f"; and {more} more" if more > 0 else "")
    return [mark, escape(row.step), escape(text), *_costs(row.a, row.b)]


def _ends(found: app.Diff) -> str:
    return "; ".join(_told(parting) for parting in found.partings)


def _costs(a: Cost | None, b: Cost | None) -> list[str]:
    def both(name: str, form: str) -> str:
        one, other = (_number(cost, name, form) for cost in (a, b))
        return one if one == other else f"{one} → {other}"

    calls = [None if c is None else c.model_calls + c.tool_calls for c in (a, b)]
    told = ["-" if number is None else str(number) for number in calls]
    first = told[0] if told[0] == told[1] else f"{told[0]} → {told[1]}"
    return [first, both("tokens", ",d"), both("usd", ".4f"), both("seconds", ".2f")]


def _number(cost: Cost | None, name: str, form: str) -> str:
    value = None if cost is None else getattr(cost, name)
    return "-" if value is None else format(value, form)
