"""What figures over many runs are made of: of each event only who, when, what it used and whether it failed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agentflow.events import Event, OperationFinished, OperationStarted, StepFailed, StepFinished, StepStarted

TYPES = ("step.started", "step.finished", "step.failed", "operation.started", "operation.finished")


class Skimmed(NamedTuple):
    """A step or an operation that began or ended; `error` is the kind of error by which it did, `at` in nanoseconds."""

    run: str
    type: str
    at: int
    step: str
    operation: str = ""
    kind: str = ""
    name: str = ""
    usage: Mapping[str, Any] | None = None
    error: str = ""


def skim(db: sqlite3.Connection, runs: Sequence[str]) -> Iterator[Skimmed]:
    """The steps and operations of runs, run by run and in order, read by SQLite alone; the chains are not checked.

    Payloads are not looked at, and an event that is no JSON any more is passed over.
    """
    # Runs are named in one list: there may be more of them than a statement takes values.
    rows = db.execute(_QUERY, (json.dumps(list(runs)),))
    for run, type_, at, text in rows:
        step, operation, kind, name, usage, error = json.loads(text)
        yield Skimmed(run, type_, at, step, operation or "", kind or "", name or "", usage, error or "")


_QUERY = f"""
with told as (select runs.run as run, events.type as type, events.at as at,
    case when substr(events.data, 1, 1) in (x'2c', x'7d') then '{{"type":""' || cast(events.data as text)
      else cast(events.data as text) end as data
  from events join runs on runs.id = events.run
  where runs.run in (select value from json_each(?)) and events.type in ({", ".join(f"'{t}'" for t in TYPES)})
  order by events.run, events.seq)
select run, type, at, json_extract(data, '$.step', '$.operation', '$.kind', '$.name', '$.usage', '$.error.kind')
from told where json_valid(data)
"""  # noqa: S608 - our own words only


def skimmed(run: str, events: Iterable[Event]) -> Iterator[Skimmed]:
    """The same, from events that are at hand."""
    for event in events:
        match event:
            case StepStarted() | StepFinished():
                yield Skimmed(run, event.type, event.at, event.step)
            case StepFailed():
                yield Skimmed(run, event.type, event.at, event.step, error=event.error.kind)
            case OperationStarted():
                yield Skimmed(run, event.type, event.at, event.step, event.operation, event.kind, event.name)
            case OperationFinished():
                error = event.error.kind if event.error is not None else ""
                yield Skimmed(
                    run, event.type, event.at, event.step, event.operation, usage=event.usage, error=error
                )
            case _:
                pass
