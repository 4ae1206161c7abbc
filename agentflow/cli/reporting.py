"""How a run ended, for the person who watched it, and as the JSON document of `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentflow import app
from agentflow.cli.arguments import Options
from agentflow.cli.output import citations_of, err, escape, plain, print_failure, print_json, print_output
from agentflow.cli.pending import Item, print_items
from agentflow.cli.view import usage_note


def report(
    result: app.Result[Any], items: Sequence[Item], options: Options, delivery: str, *, was_asked: bool
) -> None:
    """Show how a run ended: the answer, the error or what it waits for, and where to look."""
    if options.as_json:
        print_json(result_data(result, items) | ({"delivery": delivery} if delivery else {}))
        return

    err.print()
    print_items(items, was_asked=was_asked)
    if result.status == "done":
        print_output(result.output)
    elif result.error is not None:
        print_failure(result.step, result.error)

    usage = usage_note(result.usage)
    words = [f"run {result.run_id}", result.status, f"{result.seconds:.1f} s", usage]
    err.print("\n[dim]" + escape("  ".join(filter(None, words))) + "[/]")
    err.print(f"[dim]{escape(_next_line(result))}[/]")
    for line in filter(None, (result.kept, delivery)):
        err.print(f"[dim]{escape(line)}[/]")


def _next_line(result: app.Result[Any]) -> str:
    run = result.run_id
    if result.status == "waiting":
        return "waits for a person: " + ", ".join(p.name for p in result.pending)

    if result.status in ("interrupted", "failed"):
        return f"look: agentflow show {run}    go on: agentflow resume {run}"

    return f"look: agentflow show {run}    head {result.head[:16]}"


def result_data(result: app.Result[Any], items: Sequence[Item]) -> dict[str, Any]:
    """A result as the JSON that `run --json` prints."""
    return {
        "run_id": result.run_id,
        "status": result.status,
        "output": plain(result.output),
        "citations": plain(citations_of(result.output)),
        "usage": dict(result.usage),
        "trace_id": result.trace_id,
        "head": result.head,
        "kept": result.kept,
        "seconds": round(result.seconds, 3),
        "step": result.step,
        "error": plain(result.error),
        "pending": [item.data() for item in items],
    }
