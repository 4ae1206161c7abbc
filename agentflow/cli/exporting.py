"""`audit export`: send runs of the journal to a collector again, or write them to a file."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentflow.app import load
from agentflow.cli.definitions import opened, project_here
from agentflow.cli.output import DONE, FAILED, count, err, escape, out, print_json
from agentflow.events import Event
from agentflow.exceptions import JournalError, ProjectError, UnknownName
from agentflow.journal import Journal
from agentflow.tracing.collector import Collector, collector_at, collector_of, whole_address
from agentflow.tracing.content import Capture, capture_of, level_of
from agentflow.tracing.delivery import Recipient, deliver
from agentflow.tracing.document import otlp_json
from agentflow.tracing.spans import spans_of

# Seconds for which one run is sent before it is given up.
PATIENCE = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Which runs are to be exported, and where to: `otlp` is a collector, `file` a file of OTLP/JSON."""

    run: str | None = None
    is_for_all: bool = False
    is_pending: bool = False
    otlp: str | None = None
    file: Path | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What became of one run; `why` says why not all of its spans arrived."""

    run: str
    spans: int
    failed: int = 0
    why: str = ""


def export(wanted: Export, *, as_json: bool) -> int:
    """Export runs; gives the exit code: 1 unless every span arrived."""
    _check(wanted)
    capture = capture_of(os.environ, project_here().settings)
    if wanted.content is not None:
        capture = replace(capture, level=level_of(wanted.content, "`--content`"))

    if wanted.file is not None:
        found = asyncio.run(_to_file(wanted, wanted.file, capture))
        where = str(wanted.file)
    else:
        collector = _collector(wanted)
        found = asyncio.run(_to_collector(wanted, collector, capture))
        where = collector.place

    is_whole = not any(one.failed or one.why for one in found)
    _report(found, where, capture, is_whole=is_whole, as_json=as_json)
    return DONE if is_whole else FAILED


def _check(wanted: Export) -> None:
    if [wanted.run is not None, wanted.is_for_all, wanted.is_pending].count(True) != 1:
        raise ProjectError(
            "it is not said which runs",
            hint="name one, or give `--all`, or `--pending` for what a collector is owed",
        )

    if wanted.file is not None and (wanted.otlp is not None or wanted.is_pending):
        raise ProjectError(
            "a file and a collector are named", hint="give `--file`, or `--otlp`, one after the other"
        )


def _collector(wanted: Export) -> Collector:
    if wanted.otlp is not None:
        return collector_at(whole_address(wanted.otlp), os.environ)

    collector = collector_of(os.environ)
    if collector is None:
        raise ProjectError(
            "no collector is named", hint="give `--otlp http://localhost:4318`, or `--file spans.json`"
        )

    return collector


async def _to_collector(wanted: Export, collector: Collector, capture: Capture) -> list[Exported]:
    to = Recipient(collector=collector, capture=capture, environ=os.environ)
    found: list[Exported] = []
    async with opened() as journal:
        owed = (
            {known.run: known for known in await journal.deliveries(collector.place)}
            if wanted.is_pending
            else {}
        )
        async for run, events in _chosen(wanted, journal, found, list(owed)):
            (known,) = await journal.deliveries(collector.place, run) or [to.noted(run, 0)]
            if wanted.content is not None:
                known = to.noted(run, known.upto)

            # All of it once more, unless only the rest is asked for.
            known = known if wanted.is_pending else replace(known, upto=0)
            sent = await deliver(journal, events, known, to, PATIENCE)
            found.append(Exported(run=run, spans=sent.sent, failed=sent.failed, why=sent.why))

    return found


async def _to_file(wanted: Export, file: Path, capture: Capture) -> list[Exported]:
    """One document for one run; for many a document a line, as collectors write them and Jaeger's page reads them."""
    found: list[Exported] = []
    try:
        # What was said in a run is not for everybody on this machine.
        with os.fdopen(
            os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as to:
            async with opened(read_only=True) as journal:
                async for run, events in _chosen(wanted, journal, found, []):
                    spans = spans_of(events, with_records=True)
                    document = otlp_json(spans, os.environ, content=capture)
                    to.write(json.dumps(document, separators=(",", ":"), ensure_ascii=True) + "\n")
                    found.append(Exported(run=run, spans=len(spans)))
    except OSError as error:
        raise ProjectError(f"`{file}` cannot be written: {error.strerror or error}") from None

    return found


async def _chosen(
    wanted: Export, journal: Journal, found: list[Exported], owed: Sequence[str]
) -> AsyncIterator[tuple[str, list[Event]]]:
    """The runs to export, the oldest first; of many, one that cannot be read is noted, and does not hold the others back."""
    if wanted.run is not None:
        yield wanted.run, await load(journal, wanted.run)
        return

    rows = [row.run for row in reversed(await journal.runs())] if wanted.is_for_all else owed
    for run in rows:
        try:
            events = await load(journal, run)
        except (JournalError, UnknownName) as error:
            found.append(Exported(run=run, spans=0, why=str(error)))
            continue

        yield run, events


def _report(
    found: Sequence[Exported], where: str, capture: Capture, *, is_whole: bool, as_json: bool
) -> None:
    if as_json:
        runs: list[dict[str, Any]] = [
            {"run_id": one.run, "spans": one.spans, "failed": one.failed, "why": one.why} for one in found
        ]
        print_json({"to": where, "content": capture.level, "ok": is_whole, "runs": runs})
        return

    for one in found:
        if one.failed or one.why:
            missing = f"{count(one.failed, 'span')} did not arrive: " if one.failed else ""
            err.print(f"[red]✗[/] {escape(one.run)}  {escape(missing + one.why)}")

    spans = sum(one.spans for one in found)
    out.print(
        f"{count(spans, 'span')} of {count(len(found), 'run')} to {escape(where)}, content: {capture.level}"
    )
