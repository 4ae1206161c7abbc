"""`claims`: whether the answers of a run are borne out by its tool calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentflow.claims import Checked, Finding, Record, check
from agentflow.claims.answers import answers
from agentflow.cli.definitions import events_of
from agentflow.cli.output import DONE, UNPROVEN, count, out, plain, print_json
from agentflow.cli.summary import escape
from agentflow.exceptions import ProjectError

_MARKS = {"error": "[red]✗[/]", "warning": "[yellow]![/]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An answer in a run: where it stands, and what its check gave."""

    where: str
    checked: Checked


def check_run(run_id: str, step: str, *, is_strict: bool, as_json: bool) -> int:
    """Print what the run's answers claim and its calls do not bear out; gives the exit code."""
    events = asyncio.run(events_of(run_id))
    record = Record.of(events)
    found = [Found(where=where, checked=check(answer, record)) for where, answer in answers(events, step)]
    if not found:
        raise ProjectError(
            f"run `{run_id}` has no answer to check"
            if not step
            else f"`{step}` of run `{run_id}` gave no answer",
            hint="an answer is a text with citations: a step that `gives=Answer`",
        )

    if as_json:
        print_json(
            {"run_id": run_id, "supported": _is_supported(found), "answers": [_data(f) for f in found]}
        )
    else:
        for item in found:
            _print(item, record)

    findings = [f for item in found for f in (item.checked.findings if is_strict else item.checked.errors)]
    return UNPROVEN if findings else DONE


def _is_supported(found: Sequence[Found]) -> bool:
    return all(item.checked.is_supported for item in found)


def _data(item: Found) -> dict[str, Any]:
    return {
        "where": item.where,
        "supported": item.checked.is_supported,
        "text": item.checked.answer.text,
        "citations": len(item.checked.answer.citations),
        "findings": plain(item.checked.findings),
    }


def _print(item: Found, record: Record) -> None:
    answer = item.checked.answer
    told = [count(len(answer.citations), "citation"), f"{count(len(record.calls), 'tool call')} in the run"]
    out.print(f"[bold]{escape(item.where)}[/]  [dim]{', '.join(told)}[/]")
    for finding in item.checked.findings:
        out.print(
            f"  {_MARKS[finding.level]} [bold]{finding.code}[/]{escape(_place(finding))}  {escape(finding.what)}"
        )
        if finding.why:
            out.print(f"      {escape(finding.why)}", style="dim")

    if not item.checked.findings:
        out.print("  [green]✓[/] each citation, quote and statement of a call is borne out")


def _place(finding: Finding) -> str:
    return "" if finding.start is None else f" at {finding.start}-{finding.end}"
