"""`report`: a run as one HTML file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from agentflow.app import load
from agentflow.audit.heads import read_heads
from agentflow.audit.kept import against
from agentflow.audit.rows import hashes_in, verify_rows
from agentflow.audit.verdict import Verdict
from agentflow.cli.definitions import opened, project_here
from agentflow.cli.output import DONE, escape, out, print_json
from agentflow.events import Event
from agentflow.exceptions import ProjectError
from agentflow.journal import Journal
from agentflow.reporting.page import page
from agentflow.secrets import redact
from agentflow.tracing.content import capture_of

_TRIES = 20


def report_run(run_id: str, target: Path | None, *, is_full: bool, as_json: bool) -> int:
    """Write the page of a run, without keys and addresses unless it `is_full`; gives the exit code."""
    clean = redact if is_full else capture_of(os.environ, project_here().settings).redactor
    events, head, driven, verdict = asyncio.run(_read(run_id))
    path = target if target is not None else Path(f"{run_id}.html")
    data = page(events, head, driven=driven, note=_told(verdict), clean=clean).encode()
    if not path.parent.is_dir():
        raise ProjectError(f"there is no folder `{path.parent}`", hint="make it first, or name another file")

    try:
        path.write_bytes(data)
    except OSError as error:
        raise ProjectError(f"`{path}` cannot be written: {error.strerror or error}") from None

    if as_json:
        print_json(
            {"run_id": run_id, "file": str(path), "bytes": len(data), "head": head, "trail": verdict.state}
        )
    else:
        out.print(f"wrote {escape(str(path))} [dim]({len(data):,} bytes; open it in a browser)[/]")

    return DONE


async def _read(run_id: str) -> tuple[list[Event], str, bool, Verdict]:
    """The events of a run, their head, and whether a process drives it, which may append while we read."""
    async with opened(read_only=True) as journal:
        events, head = await load(journal, run_id), await journal.head(run_id)
        for _ in range(_TRIES):
            before, events, head = head, await load(journal, run_id), await journal.head(run_id)
            if head == before:
                break

        driven = await journal.holder(run_id) is not None
        return events, head, driven, await _verified(journal, run_id)


async def _verified(journal: Journal, run_id: str) -> Verdict:
    """What is said of the trail, as `audit verify` says it: from its rows, and against heads that the project keeps."""
    trail = await journal.trail(run_id)
    assert trail is not None
    verdict, path = verify_rows(trail), project_here().heads_file()
    heads = read_heads(path)[0].get(run_id, ()) if path is not None and path.exists() else ()
    return against(verdict, hashes_in(trail), heads) if heads else verdict


def _told(verdict: Verdict) -> str:
    """The verdict in a line, with what cannot be told from here."""
    why = [verdict.fault.why] if verdict.fault is not None else list(verdict.gaps)
    known = "; ".join((*why, *verdict.checks, *(f"not known: {limit}" for limit in verdict.limits)))
    return f"trail when this page was written: {verdict.state}" + (f" ({known})" if known else "")
