"""Processes that run a small workflow and send its spans, and what arrived of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

from agentflow.events import Event
from agentflow.tracing.spans import spans_of

PROJECT = """
import asyncio, os, signal
from agentflow import Workflow, step

@step
async def begin(text: str) -> int:
    return len(text)

@step
async def slow(n: int) -> int:
    match os.environ.get("WHAT", ""):
        case "wait":
            await asyncio.sleep(60)
        case "term":
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)

    return n + 1

@step
async def end(n: int) -> int:
    return n + 1

slowly = Workflow("slowly", start=begin, end=end, edges=[begin >> slow >> end])
"""


def bytes_by_id(requests: Sequence[ExportTraceServiceRequest]) -> dict[bytes, set[bytes]]:
    """Each span that arrived, with all the forms that it arrived in: its own bytes and those of its resource."""
    found: dict[bytes, set[bytes]] = {}
    for request in requests:
        for resource in request.resource_spans:
            whose = resource.resource.SerializeToString(deterministic=True)
            for scoped in resource.scope_spans:
                for span in scoped.spans:
                    found.setdefault(span.span_id, set()).add(
                        whose + span.SerializeToString(deterministic=True)
                    )

    return found


def ids_of(events: Sequence[Event]) -> set[bytes]:
    return {span.span_id.to_bytes(8, "big") for span in spans_of(events)}


def command(*arguments: str, **environ: str) -> dict[str, Any]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME") if name in os.environ}
    return {"args": [sys.executable, "-m", "agentflow", *arguments], "env": {**kept, **environ}, "text": True}


def begun(folder: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(**command(*arguments, **environ), cwd=folder)


def launched(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(**command(*arguments, **environ), cwd=folder, capture_output=True, timeout=60)
