"""`show`: what happened in one run."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from agentflow.app import load
from agentflow.app.resuming import OVER
from agentflow.cli.definitions import opened
from agentflow.cli.listing import waited_for
from agentflow.cli.output import DONE, out, plain, print_json
from agentflow.cli.summary import (
    account_data,
    escape,
    print_heading,
    print_plans,
    print_problems,
    print_questions,
)
from agentflow.events import Event, OperationFinished, OperationStarted, Payload, RunStarted
from agentflow.exceptions import ProjectError, UnknownName
from agentflow.reporting.account import Account
from agentflow.reporting.text import visible
from agentflow.reporting.tree import Node, label, tree_of
from agentflow.tracing import semconv
from agentflow.tracing.ids import hex_trace_id
from agentflow.tracing.span import SpanData

# Columns of a terminal from which remarks have room.
WIDE = 120
_BAR, _TIME = 24, 9
# Rows of a tree; a longer one is shown without what went well inside of maps.
_MOST_ROWS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of a run is to be shown: all, a `step` with what is below it, or the `result` of one operation."""

    step: str = ""
    result: str = ""
    as_json: bool = False


def show_run(run_id: str, wanted: Wanted) -> int:
    """Print one run's trace; gives the exit code."""
    events, head, driven = asyncio.run(_read(run_id))
    if wanted.result:
        return _show_result(events, wanted)

    account, tops = Account.of(events, driven=driven), tree_of(events)
    if wanted.step:
        tops = _tops_of(tops, wanted.step)

    if wanted.as_json:
        print_json(_document(run_id, events, head, account, tops))
        return DONE

    if wanted.step:
        _print_step(tops)
        return DONE

    print_heading(account, head)
    print_problems(account)
    out.print()
    _print_tree(tops)
    _print_end(run_id, events, account)
    return DONE


async def _read(run_id: str) -> tuple[list[Event], str, bool]:
    async with opened(read_only=True) as journal:
        driven = await journal.holder(run_id) is not None
        return await load(journal, run_id), await journal.head(run_id), driven


def _print_end(run_id: str, events: Sequence[Event], account: Account) -> None:
    if account.plans or account.questions:
        out.print()
        print_plans(account.plans)
        print_questions(account.questions)

    waits = _waits(events)
    if waits:
        out.print(f"\n[cyan]waits for a person:[/] {escape(', '.join(waits))}")

    out.print(
        f"\n[dim]trace {hex_trace_id(run_id)}  {len(events)} events  page: agentflow report {escape(run_id)}[/]"
    )


def _waits(events: Sequence[Event]) -> list[str]:
    return waited_for(events) if events[-1].type not in OVER else []


def _document(
    run_id: str, events: Sequence[Event], head: str, account: Account, tops: Sequence[Node]
) -> dict[str, Any]:
    started = events[0]
    assert isinstance(started, RunStarted)
    # As spans end: what is inside comes before what is around it.
    spans = sorted((node.span for top in tops for node in top.all()), key=lambda s: (s.end, -s.start))
    return {
        "run_id": run_id,
        "workflow": started.workflow,
        "head": head,
        **account_data(account),
        "waits_for": _waits(events),
        "spans": [_span_data(span) for span in spans],
    }


def _span_data(span: SpanData) -> dict[str, Any]:
    """A span as JSON; ids as in Jaeger, in hexadecimal, which every reader of JSON can hold."""
    data: dict[str, Any] = plain(span._asdict())
    data["trace_id"] = f"{span.trace_id:032x}"
    data["span_id"] = f"{span.span_id:016x}"
    data["parent_id"] = None if span.parent_id is None else f"{span.parent_id:016x}"
    data["links"] = [{**link, "span_id": f"{link['span_id']:016x}"} for link in data["links"]]
    return data


def _tops_of(tops: Sequence[Node], step: str) -> list[Node]:
    """The attempts of an activation, or all visits of a step that is named without its number."""
    every = [node for top in tops for node in top.all()]
    exact = [node for node in every if node.activation == step]
    found = exact or [n for n in every if n.activation and n.activation.rpartition("#")[0] == step]
    if not found:
        known = [n.activation for n in every if n.activation]
        raise UnknownName("step in this run", step, known)

    return found


def _print_step(tops: Sequence[Node]) -> None:
    """A step: what went in and came out, and the operations below it."""
    for top in tops:
        _print_tree([top])
        for side in (top.given, top.got):
            if side is not None:
                out.print(f"\n[bold]{side[0]}[/]")
                out.print(escape(_text(side[1])))

        for key, name in ((semconv.STEP_INPUT, "input"), (semconv.STEP_OUTPUT, "output")):
            if key in top.span.attributes and (top.given if name == "input" else top.got) is None:
                out.print(f"\n[bold]{name}[/]\n{escape(str(top.span.attributes[key]))}")


def _text(payload: Payload) -> str:
    data = payload.data
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, indent=2)


def _show_result(events: Sequence[Event], wanted: Wanted) -> int:
    """Print what an operation gave, whole: it is named as `plan#1/1.3`, or `1.3` where no other step has that one."""
    started = {f"{e.step}/{e.operation}": e for e in events if isinstance(e, OperationStarted)}
    name = wanted.result
    named = [key for key in started if key == name or (key.endswith(f"/{name}") and "/" not in name)]
    if wanted.step:
        named = [key for key in named if started[key].step == wanted.step]

    if not named:
        raise UnknownName("operation in this run", name, list(started))

    if len(named) > 1:
        raise ProjectError(
            f"{len(named)} steps have an operation `{name}`", hint=f"name one: {', '.join(named[:6])}"
        )

    begun = started[named[0]]
    ended = next(
        (
            e
            for e in events
            if isinstance(e, OperationFinished) and (e.step, e.operation) == (begun.step, begun.operation)
        ),
        None,
    )
    if wanted.as_json:
        print_json({"operation": named[0], **_operation_data(begun, ended)})
    elif ended is None:
        raise ProjectError(f"`{named[0]}` has no outcome yet")
    elif ended.error is not None:
        raise ProjectError(
            f"`{named[0]}` failed: {ended.error.kind}: {ended.error.message}", hint=ended.error.hint
        )
    elif ended.result is not None:
        text = _text(ended.result) + "\n"
        # A program gets the bytes; a terminal would act on some of them.
        sys.stdout.write(visible(text) if out.is_terminal else text)

    return DONE


def _operation_data(begun: OperationStarted, ended: OperationFinished | None) -> dict[str, Any]:
    return {
        "kind": begun.kind,
        "name": begun.name,
        "request": begun.request.data if begun.request is not None else None,
        "result": ended.result.data if ended is not None and ended.result is not None else None,
        "usage": ended.usage if ended is not None else None,
        "error": plain(ended.error) if ended is not None else None,
        "ended": ended is not None,
    }


def _print_tree(tops: Sequence[Node]) -> None:
    rows = list(_rows(tops))
    begin = min(node.span.start for node in rows)
    total = max(1, max(node.span.end for node in rows) - begin)
    is_wide = not out.is_terminal or out.width >= WIDE
    bar = _BAR if is_wide else min(_BAR, max(8, out.width // 4))
    table = _columns(rows, tops[0].depth, bar, is_wide=is_wide)
    for node in rows:
        span = node.span
        style = "red" if span.error else "cyan" if node.is_open else ""
        took = f"{(span.end - span.start) / 1e9:.3f} s"
        remark = [Text(visible(_remark(span)))] if is_wide else []
        name = Text(_title(node, tops[0].depth), style=style)
        table.add_row(name, took, _bar(span, begin, total, bar), *remark)

    out.print(table)
    shown, every = len(rows), sum(1 for top in tops for _ in top.all())
    if shown < every:
        left = f"{every - shown:,} items of maps that went well are left out"
        out.print(f"[dim]{left}; `--step` shows one, `--json` all[/]")


def _columns(rows: Sequence[Node], depth: int, bar: int, *, is_wide: bool) -> Table:
    """A table whose columns fit: a line that is too long would be broken by the terminal."""
    longest = max(len(_title(node, depth)) for node in rows)
    most = 56 if is_wide else out.width - bar - _TIME - 4
    table = Table(box=None, pad_edge=False, show_header=False)
    name = min(longest, max(most, 12))
    table.add_column(no_wrap=True, overflow="ellipsis", width=name)
    table.add_column(justify="right", no_wrap=True, width=_TIME)
    table.add_column(no_wrap=True, width=bar)
    if is_wide:
        rest = max(10, min(96, out.width - name - bar - _TIME - 8))
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim", max_width=rest)

    return table


def _title(node: Node, depth: int) -> str:
    """The name of a span, and of an operation the number by which `--result` knows it."""
    number = str(node.span.attributes.get(semconv.OPERATION_ID, ""))
    name = visible(label(node.span))
    return "  " * (node.depth - depth) + (f"{name}  {number}" if number else name)


def _rows(tops: Sequence[Node]) -> Iterator[Node]:
    every = [node for top in tops for node in top.all()]
    if len(every) <= _MOST_ROWS:
        yield from every
        return

    for node in every:
        if (
            "[" not in str(node.span.attributes.get(semconv.STEP_ACTIVATION, ""))
            or node.span.error
            or node.is_open
        ):
            yield node


def _bar(span: SpanData, begin: int, total: int, width: int) -> Text:
    first = int((span.start - begin) / total * (width - 1))
    length = max(1, round((span.end - span.start) / total * width))
    length = min(length, width - first)
    return Text(" " * first + "━" * length, style="red" if span.error else "cyan")


def _remark(span: SpanData) -> str:
    if span.error:
        return span.error

    known = span.attributes
    sides = [known.get(key) for key in (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS)]
    tokens = sum(side for side in sides if isinstance(side, int))
    usd = known.get(f"{semconv.USAGE}usd")
    words = [f"{tokens:,} tokens" if tokens else "", f"${usd:.4f}" if isinstance(usd, float) and usd else ""]
    if (retries := known.get(f"{semconv.OWN}retries")) is not None:
        words.append(f"tried again: {retries}")

    words += [
        str(known[key])
        for key in (semconv.TOOL_ARGUMENTS, semconv.PLAN_THOUGHT, semconv.APPROVED_BY, semconv.STEP_CASE)
        if key in known
    ]
    return "  ".join(filter(None, words))[:160]
