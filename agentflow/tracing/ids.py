"""Span and trace ids, derived from a run's own names so that a span is the same however often it is made."""

from __future__ import annotations

import hashlib


def trace_id(run: str) -> int:
    """The 128-bit trace id of a run."""
    return int.from_bytes(hashlib.sha256(f"agentflow:{run}".encode()).digest()[:16], "big")


def span_id(run: str, *names: str | int) -> int:
    """The 64-bit id of the span of a run that `names` stand for; no names is the root."""
    return _id("\x1f".join(["agentflow", run, *map(str, names)]))


def _id(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def step_span_id(run: str, activation: str, attempt: int) -> int:
    """The id of the span of one attempt at a step: `span_id` of these, spelled out as each step has one."""
    return _id(f"agentflow\x1f{run}\x1f{activation}\x1f{attempt}")


def operation_span_id(run: str, activation: str, operation: str) -> int:
    """The id of the span of an operation inside a step; `operation` begins with the attempt, as in `2.1`."""
    return span_id(run, activation, operation)


def hex_trace_id(run: str) -> str:
    """The trace id as Jaeger shows it: 32 hexadecimal digits."""
    return f"{trace_id(run):032x}"
