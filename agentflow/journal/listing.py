"""Which runs are in a SQLite journal, from their rows alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Any

from agentflow.journal import RunRow
from agentflow.journal.schema import seal

COLUMNS = "run, workflow, status, started, updated, events, head, seal"
# What may stand in the table for a status that is asked for.
_WORDS = {"running": ("open", "asked"), "waiting": ("waiting", "asked")}
# As `agentflow.journal.status_of` says it.
_STATUS = """case when status not in ('open', 'asked') then status when is_driven(run) then 'running'
  when status = 'asked' then 'waiting' else status end"""

# A row that is still as it was earlier is known by what came after.
_LAST = "(select max(seq) from events where events.run = runs.id)"


def select(
    db: sqlite3.Connection,
    *,
    driven: Collection[str],
    status: Collection[str],
    workflow: str,
    before: int | None,
    after: int | None,
    limit: int | None,
    pruned: bool,
) -> list[tuple[Any, ...]]:
    """The rows that fit, each with the status to show, and how many events are there."""
    db.create_function("is_driven", 1, driven.__contains__)
    words = {word for name in status for word in _WORDS.get(name, (name,))}
    parts: list[tuple[str, tuple[Any, ...]]] = []
    if status:
        parts.append((f"status in ({_marks(words)})", tuple(words)))
        parts.append((f"shown in ({_marks(status)})", tuple(status)))

    if workflow:
        parts.append(("workflow = ?", (workflow,)))

    if before is not None:
        parts.append(("updated < ?", (before,)))

    if after is not None:
        parts.append(("updated >= ?", (after,)))

    where = " and ".join(part for part, _ in parts) or "true"
    values = [value for _, part in parts for value in part]
    table, last = ("pruned", "events") if pruned else ("runs", _LAST)
    query = f"""select {COLUMNS}, {_STATUS} as shown, {last} from {table}
        where {where} order by started desc, id desc limit ?"""  # noqa: S608 - our own words only
    return db.execute(query, (*values, -1 if limit is None else limit)).fetchall()


def _marks(values: Collection[str]) -> str:
    return ",".join("?" * len(values))


def is_sound(row: tuple[Any, ...]) -> bool:
    """Whether a row of `COLUMNS` is what was written."""
    return isinstance(row[6], bytes) and bool(seal(*row[:7]) == row[7])


def row_of(row: tuple[Any, ...]) -> RunRow:
    run, workflow, _, started, updated, events, head, _, shown, _ = row
    return RunRow(
        run=run,
        workflow=workflow,
        status=shown,
        started=started,
        updated=updated,
        events=events,
        head=head.hex() if isinstance(head, bytes) else str(head),
    )
