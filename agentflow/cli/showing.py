"""`show`: what happened in one run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from agentflow.app import load
from agentflow.app.resuming import OVER
from agentflow.cli.definitions import opened
from agentflow.cli.listing import waited_for
from agentflow.cli.output import DONE, out, plain, print_json
from agentflow.events import Event, RunFailed, RunStarted
from agentflow.tracing.ids import hex_trace_id
from agentflow.tracing.spans import SpanData, spans_of

BAR = 24
# Columns of a terminal from which remarks have room.
WIDE = 120


async def _events(run_id: str) -> tuple[list[Event], str]:
    async with opened(read_only=True) as journal:
        return await load(journal, run_id), await journal.head(run_id)


def show_run(run_id: str, *, as_json: bool) -> int:
    """Print one run's trace; gives the exit code."""
    events, head = asyncio.run(_events(run_id))
    spans = spans_of(events, include_open=True)
    started = events[0]
    assert isinstance(started, RunStarted)
    waits = waited_for(events) if events[-1].type not in OVER else []
    if as_json:
        print_json(
            {
                "run_id": run_id,
                "workflow": started.workflow,
                "head": head,
                "waits_for": waits,
                "spans": [_span_data(s) for s in spans],
            }
        )
        return DONE

    _print_tree(spans)
    last = events[-1]
    if isinstance(last, RunFailed):
        out.print(
            f"\n[red]failed:[/] {escape(last.step)} {escape(last.error.kind)}: {escape(last.error.message)}"
        )

    if waits:
        out.print(f"\n[cyan]waits for a person:[/] {escape(', '.join(waits))}")

    out.print(
        f"\n[dim]trace {hex_trace_id(run_id)}  head {head[:16]}  {len(events)} events  {len(spans)} spans[/]"
    )
    return DONE


def _span_data(span: SpanData) -> dict[str, Any]:
    """A span as JSON; ids as in Jaeger, in hexadecimal, which every reader of JSON can hold."""
    data: dict[str, Any] = plain(span)
    data["trace_id"] = f"{span.trace_id:032x}"
    data["span_id"] = f"{span.span_id:016x}"
    data["parent_id"] = None if span.parent_id is None else f"{span.parent_id:016x}"
    data["links"] = [{**link, "span_id": f"{link['span_id']:016x}"} for link in data["links"]]
    return data


def _print_tree(spans: Sequence[SpanData]) -> None:
    children: dict[Any, list[SpanData]] = {}
    known = {span.span_id for span in spans}
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        parent = span.parent_id if span.parent_id in known else None
        children.setdefault(parent, []).append(span)

    begin = min(span.start for span in spans)
    total = max(1, max(span.end for span in spans) - begin)
    wide = not out.is_terminal or out.width >= WIDE
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=56)
    table.add_column(justify="right", no_wrap=True, min_width=9)
    table.add_column(no_wrap=True, width=BAR)
    table.add_column(no_wrap=True, overflow="ellipsis", style="dim", max_width=96)
    todo = [(span, 0) for span in reversed(children.get(None, []))]
    while todo:
        span, depth = todo.pop()
        name = Text("  " * depth + _label(span), style="red" if span.error else "")
        table.add_row(
            name,
            f"{(span.end - span.start) / 1e9:.3f} s",
            _bar(span, begin, total),
            _remark(span) if wide else "",
        )
        todo += [(child, depth + 1) for child in reversed(children.get(span.span_id, []))]

    out.print(table)


def _label(span: SpanData) -> str:
    """A step by its activation, so that visits and items can be told apart; other spans by their name."""
    activation = span.attributes.get("agentflow.step.activation")
    attempt = span.attributes.get("agentflow.step.attempt", 1)
    again = f" (attempt {attempt})" if attempt != 1 else ""
    return (
        f"step {str(activation).rpartition('/')[2]}{again}"
        if activation and span.name.startswith("step ")
        else span.name
    )


def _bar(span: SpanData, begin: int, total: int) -> Text:
    first = int((span.start - begin) / total * (BAR - 1))
    length = max(1, round((span.end - span.start) / total * BAR))
    length = min(length, BAR - first)
    return Text(" " * first + "━" * length, style="red" if span.error else "cyan")


def _remark(span: SpanData) -> str:
    if span.error:
        return span.error

    known = span.attributes
    sides = [known.get(f"gen_ai.usage.{side}_tokens") for side in ("input", "output")]
    tokens = sum(side for side in sides if isinstance(side, int))
    words = [f"{tokens} tokens" if tokens else ""]
    words += [
        str(known[key])
        for key in ("gen_ai.tool.call.arguments", "agentflow.plan.thought", "agentflow.approval.by")
        if key in known
    ]
    return "  ".join(filter(None, words))[:160]
