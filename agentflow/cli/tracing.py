"""`trace`: a run's page in Jaeger, and a trace read back from there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agentflow.app import load
from agentflow.cli.definitions import opened, project_here
from agentflow.cli.output import DONE, count, err, out, print_json
from agentflow.exceptions import ProjectError
from agentflow.tracing.ids import hex_trace_id
from agentflow.tracing.jaeger import fetch_trace
from agentflow.tracing.received import spans_in

DEFAULT = "http://localhost:16686"
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


def open_trace(run: str, jaeger: str | None, *, is_quiet: bool, as_json: bool) -> int:
    """Print the address of a run's trace, and open it where somebody sits in front of a browser; gives the exit code."""
    trace = trace_of(run)
    if trace != run:
        asyncio.run(_refuse_unknown(run))

    url = f"{base_of(jaeger)}/trace/{trace}"
    if as_json:
        print_json({"run_id": run, "trace_id": trace, "url": url})
        return DONE

    out.print(url)
    if not is_quiet and _has_screen() and not webbrowser.open(url):
        err.print("[dim]there is no browser here to open it with[/]")

    return DONE


def _has_screen() -> bool:
    """Whether somebody sits in front of a browser: one that takes the terminal instead would only be in the way."""
    is_drawn = os.name == "nt" or sys.platform == "darwin"
    return sys.stdout.isatty() and (
        is_drawn or any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY"))
    )


def pull_trace(run: str, jaeger: str | None, to: Path | None, *, as_json: bool) -> int:
    """Read a trace back from Jaeger as OTLP/JSON, to a file or to standard output; gives the exit code."""
    trace, base = trace_of(run), base_of(jaeger)
    document = fetch_trace(base, trace)
    if to is None:
        print_json(document)
        return DONE

    spans = len(spans_in(document))
    _write(to, document)
    if as_json:
        print_json({"trace_id": trace, "spans": spans, "file": str(to)})
    else:
        out.print(f"{count(spans, 'span')} of trace {trace} to {to}")
        err.print(f"[dim]prove it: agentflow audit verify --file {to}[/]")

    return DONE


def trace_of(text: str) -> str:
    """The trace id that is meant by a run's name, or by itself."""
    small = text.lower()
    return small if _TRACE_ID.fullmatch(small) else hex_trace_id(text)


def base_of(given: str | None) -> str:
    """Where the page of Jaeger is: as given, by AGENTFLOW_JAEGER, by `jaeger` of the settings, or on this machine."""
    url = given or os.environ.get("AGENTFLOW_JAEGER") or _of_settings() or DEFAULT
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ProjectError(f"`{url}` is no address of Jaeger", hint=f"name its page, as in {DEFAULT}")

    return url.rstrip("/")


def _of_settings() -> str:
    try:
        return str(project_here().settings.get("jaeger", ""))
    except ProjectError:  # traces can be looked at from anywhere
        return ""


async def _refuse_unknown(run: str) -> None:
    async with opened(read_only=True) as journal:
        await load(journal, run)


def _write(to: Path, document: dict[str, Any]) -> None:
    try:
        with os.fdopen(
            os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump(document, file)
    except OSError as error:
        raise ProjectError(f"`{to}` cannot be written: {error.strerror or error}") from None
