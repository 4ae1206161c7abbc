"""`stats`: figures over many runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from agentflow.cli.definitions import opened
from agentflow.cli.listing import COLOURS, Choice
from agentflow.cli.output import DONE, count, out, print_json
from agentflow.cli.summary import escape
from agentflow.exceptions import JournalDamaged, ProjectError
from agentflow.journal import Journal, RunRow
from agentflow.journal.skimming import Skimmed, skimmed
from agentflow.journal.sqlite import SqliteJournal
from agentflow.reporting.stats import Stats, Tally
from agentflow.reporting.text import duration, money

_P50, _P95 = 0.50, 0.95


def print_stats(choice: Choice, most: int, *, as_json: bool) -> int:
    """Print the figures of the runs that are meant; gives the exit code."""
    if most < 1:
        raise ProjectError(f"`--most {most}` shows nothing", hint="give a number from 1 on")

    rows, stats = asyncio.run(_stats(choice))
    if as_json:
        print_json(_document(rows, stats))
    elif not rows:
        out.print("no such runs" if choice.is_narrow else "no runs yet")
    else:
        _print(stats, most)

    return DONE


async def _stats(choice: Choice) -> tuple[list[RunRow], Stats]:
    async with opened(read_only=True) as journal:
        rows = await choice.rows(journal)
        names = [row.run for row in rows]
        if isinstance(journal, SqliteJournal):
            return rows, Stats.of(rows, journal.skim(names))

        return rows, Stats.of(rows, [one async for one in _read(journal, names)])


async def _read(journal: Journal, runs: Iterable[str]) -> AsyncIterator[Skimmed]:
    """Of a journal that cannot be skimmed, each run is read."""
    for run in runs:
        try:
            for one in skimmed(run, await journal.read(run)):
                yield one
        except JournalDamaged:  # which is for those to say that are about this run alone
            continue


def _document(rows: Sequence[RunRow], stats: Stats) -> dict[str, Any]:
    return {
        "runs": len(rows),
        "statuses": dict(stats.statuses),
        "total": _data(stats.total),
        "workflows": _all(stats.workflows),
        "steps": _all(stats.steps),
        "tools": _all(stats.tools),
        "models": _all(stats.models),
    }


def _all(tallies: Mapping[str, Tally]) -> dict[str, Any]:
    return {name: _data(tally) for name, tally in _ordered(tallies)}


def _ordered(tallies: Mapping[str, Tally]) -> list[tuple[str, Tally]]:
    """What costs most first: money, then tokens, then how many."""
    return sorted(tallies.items(), key=lambda item: (-item[1].usd, -item[1].tokens, -item[1].count, item[0]))


def _data(tally: Tally) -> dict[str, Any]:
    p50, p95, success = tally.seconds(_P50), tally.seconds(_P95), tally.success
    return {
        "count": tally.count,
        "ok": tally.ok,
        "failed": tally.failed,
        "success": None if success is None else round(success, 4),
        "seconds_p50": None if p50 is None else round(p50, 4),
        "seconds_p95": None if p95 is None else round(p95, 4),
        "model_calls": tally.model_calls,
        "tool_calls": tally.tool_calls,
        "input_tokens": tally.input_tokens,
        "output_tokens": tally.output_tokens,
        "usd": round(tally.usd, 6),
        "errors": dict(tally.errors.most_common()),
    }


def _print(stats: Stats, most: int) -> None:
    statuses = "  ".join(
        f"[{COLOURS.get(name, 'default')}]{name}[/] {number:,}"
        for name, number in stats.statuses.most_common()
    )
    total = stats.total
    out.print(f"[bold]{count(total.count, 'run')}[/]  {statuses}  success {_share(total)}")
    figures = [
        f"p50 {_time(total, _P50)}",
        f"p95 {_time(total, _P95)}",
        count(total.model_calls, "model call"),
        count(total.tool_calls, "tool call"),
        f"{total.tokens:,} tokens",
        money(total.usd),
    ]
    out.print(f"[dim]{'  '.join(figures)}[/]")
    for name, tallies in (
        ("workflow", stats.workflows),
        ("step", stats.steps),
        ("tool", stats.tools),
        ("model", stats.models),
    ):
        if tallies:
            out.print()
            _print_table(name, _ordered(tallies), most)


def _print_table(name: str, tallies: Sequence[tuple[str, Tally]], most: int) -> None:
    table = Table(box=None, pad_edge=False)
    for head in (name, "count", "success", "p50", "p95", "tokens", "cost", "most frequent error"):
        is_text = head in (name, "most frequent error")
        table.add_column(
            head,
            justify="left" if is_text else "right",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if is_text else None,
        )

    for key, tally in tallies[:most]:
        error = "".join(f"{kind} ({number:,})" for kind, number in tally.errors.most_common(1))
        table.add_row(
            escape(key),
            f"{tally.count:,}",
            _share(tally),
            _time(tally, _P50),
            _time(tally, _P95),
            f"{tally.tokens:,}",
            money(tally.usd),
            escape(error),
        )

    out.print(table)
    if len(tallies) > most:
        out.print(f"[dim]and {len(tallies) - most} more: --most {len(tallies)}[/]")


def _share(tally: Tally) -> str:
    return "–" if tally.success is None else f"{100 * tally.success:.1f} %"


def _time(tally: Tally, share: float) -> str:
    seconds = tally.seconds(share)
    return "–" if seconds is None else duration(seconds)
