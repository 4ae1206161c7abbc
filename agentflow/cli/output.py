"""What the launcher prints: one JSON document, or text for a person; and what its exit codes mean."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from rich import markup
from rich.console import Console
from rich.table import Table

from agentflow.events import ErrorInfo, Payload
from agentflow.evidence import Answer, Evidence, fields_of
from agentflow.exceptions import AgentflowError, DefinitionError, JournalError, RunError
from agentflow.reporting.text import visible

DONE, FAILED, WRONG_USE, WAITING, UNPROVEN, INTERRUPTED = 0, 1, 2, 3, 4, 130
EXIT_CODES = {"done": DONE, "waiting": WAITING, "interrupted": INTERRUPTED}


class Pipe(Console):
    """A console whose reader may go away, as `head` does: what is left is not shown, and nothing fails."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        hush(self.file)


def hush(file: IO[str]) -> None:
    """Have what is still written to `file` go nowhere."""
    # Not every file has a descriptor.
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)


out = Pipe(highlight=False, soft_wrap=True)
err = Pipe(stderr=True, highlight=False, soft_wrap=True)
if not out.is_terminal:
    # What is piped has no width to keep to.
    out.width = 200


def escape(text: str) -> str:
    """Text for a console: it is no markup, and on a terminal nothing in it acts or hides."""
    return markup.escape(visible(text) if out.is_terminal or err.is_terminal else text)


def count(number: int, noun: str) -> str:
    """A number of things in words: `1 run`, `2 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def plain(value: Any) -> Any:
    """A value as JSON data."""
    return Payload(value).data


def print_json(document: Any) -> None:
    """Print the one JSON document of a `--json` command."""
    try:
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        hush(sys.stdout)


def print_error(error: AgentflowError, *, as_json: bool) -> None:
    """Say what went wrong and how to mend it."""
    if as_json:
        print_json({"error": error_data(error)})
        return

    err.print(f"[bold red]error:[/] {escape(str(error))}")
    if error.hint:
        err.print(f"[cyan]hint:[/] {escape(error.hint)}")


def error_data(error: AgentflowError) -> dict[str, Any]:
    """An error as JSON data; the problems of a definition one by one."""
    data: dict[str, Any] = {"kind": type(error).__name__, "message": str(error), "hint": error.hint}
    if isinstance(error, DefinitionError):
        data["problems"] = plain(error.problems)

    return data


def exit_code(error: AgentflowError) -> int:
    """What the process ends with: 1 for a run that failed, 2 for a call or a definition that is wrong."""
    return FAILED if isinstance(error, RunError | JournalError) else WRONG_USE


def citations_of(value: Any) -> list[Evidence]:
    """The citations of all answers inside an output, in order."""
    if isinstance(value, Answer):
        return list(value.citations)

    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [c for item in value for c in citations_of(item)]

    return [c for item in fields_of(value).values() for c in citations_of(item)]


def print_output(value: Any) -> None:
    """An output for a person: answers with their sources, lists item by item, else JSON."""
    if isinstance(value, str):
        out.print(escape(value))
    elif isinstance(value, Answer):
        out.print(escape(value.text))
        print_citations(value.citations)
    elif answers := {k: v for k, v in fields_of(value).items() if isinstance(v, Answer)}:
        rest = {k: v for k, v in fields_of(value).items() if k not in answers and v not in (None, "", [])}
        for name, item in rest.items():
            out.print(f"[bold]{name}[/]: {escape(item if isinstance(item, str) else _json(item))}")

        for item in answers.values():
            print_output(item)
    elif {"columns", "rows"} <= fields_of(value).keys():
        _print_table(fields_of(value))
    elif isinstance(value, list) and value and all(isinstance(item, Evidence) for item in value):
        print_citations(value, with_text=True)
    else:
        out.print(escape(_json(value)))


def _print_table(known: dict[str, Any]) -> None:
    """A table for a person: its title, its rows, then what else there is that fits on a line."""
    table = Table(title=str(known.get("title", "")) or None, title_justify="left")
    for number, name in enumerate(known["columns"]):
        numeric = all(isinstance(row[number], int | float) for row in known["rows"] if number < len(row))
        table.add_column(escape(str(name)), justify="right" if numeric else "left")

    for row in known["rows"]:
        table.add_row(*(f"{c:,}" if isinstance(c, int | float) else escape(str(c)) for c in row))

    out.print(table)
    for name, item in known.items():
        if name not in ("title", "columns", "rows") and isinstance(item, str) and item and "\n" not in item:
            out.print(f"[bold]{name}[/]: {escape(item)}")


def _json(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, indent=2)


def print_citations(citations: Sequence[Evidence], *, with_text: bool = False) -> None:
    """Numbered sources, each with the exact place."""
    if citations:
        out.print()

    for number, item in enumerate(citations, 1):
        place = f" · {item.place}" if item.place else ""
        out.print(f"[cyan]\\[{number}][/] {escape(item.source)}[dim]{escape(place)}[/]")
        if with_text:
            out.print(f"    {escape(' '.join(item.text.split())[:200])}", style="dim")


def print_failure(step: str, error: ErrorInfo) -> None:
    """How a run failed, with the step's own error."""
    where = f"step `{step}`: " if step else ""
    err.print(f"[bold red]failed:[/] {escape(where)}{escape(error.kind)}: {escape(error.message)}")
    if error.hint:
        err.print(f"[cyan]hint:[/] {escape(error.hint)}")

    if error.traceback:
        err.print(escape(error.traceback), style="dim")
