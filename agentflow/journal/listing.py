"""Which runs are in a SQLite journal, from their rows alone, found by index: a list costs what it lists, not what there is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from agentflow.journal import DAMAGED, RunRow, status_of
from agentflow.journal.schema import GOING, seal

COLUMNS = "run, workflow, status, started, updated, events, head, seal"
# What may stand in the table for a status that is asked for.
_WORDS = {"running": ("open", "asked"), "waiting": ("waiting", "asked")}
# A row that is still as it was earlier is known by what came after.
_LAST = "(select max(seq) from events where events.run = runs.id)"

Row = tuple[Any, ...]
Condition = tuple[str, tuple[Any, ...]]
# Rows that are read as they are asked for, and are let go of where no more are.
Stream = sqlite3.Cursor | Generator[Row, None, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs are asked for, as `Journal.runs` says it."""

    status: Collection[str] = ()
    workflow: str = ""
    before: int | None = None
    after: int | None = None
    limit: int | None = None
    pruned: bool = False

    @property
    def table(self) -> str:
        """Where their rows are."""
        return "pruned" if self.pruned else "runs"

    @property
    def words(self) -> set[str]:
        """What may stand in a row for a status that is asked for; empty for any."""
        return {word for name in self.status for word in _WORDS.get(name, (name,))}

    @property
    def same(self) -> list[Condition]:
        """Of which workflow they are."""
        return [("workflow = ?", (self.workflow,))] if self.workflow else []

    @property
    def changed(self) -> list[Condition]:
        """When they changed last."""
        return _between("updated", self.after, self.before)


def select(
    db: sqlite3.Connection, wanted: Wanted, *, is_driven: Callable[[str], bool], has_indexes: bool
) -> list[RunRow]:
    """The runs that fit, the newest first; without indexes, as in a file of an earlier format, all are looked at."""
    with ExitStack() as stack:
        streams = _by_index(db, wanted) if has_indexes else [_looked_through(db, wanted)]
        for stream in streams:  # none is read to its end
            stack.callback(stream.close)

        rows = merge(*streams, key=_age)
        told = ((row, status_of(row[2], driven=row[2] in GOING and is_driven(row[0]))) for row in rows)
        fitting = ((row, status) for row, status in told if not wanted.status or status in wanted.status)
        return [_listed(row, status) for row, status in islice(fitting, wanted.limit)]


def _looked_through(db: sqlite3.Connection, wanted: Wanted) -> Stream:
    words = tuple(wanted.words)
    among = [(f"status in ({','.join('?' * len(words))})", words)] if words else []
    return _read(db, wanted, [*among, *wanted.same, *wanted.changed])


def _by_index(db: sqlite3.Connection, wanted: Wanted) -> list[Stream]:
    """The rows that may fit as streams, each from an index in which they stand together: those of one word of status."""
    if not (wanted.status or wanted.workflow or wanted.changed):
        return [_read(db, wanted, [])]

    return [_of_word(db, wanted, word) for word in wanted.words or _words_there(db, wanted)]


def _of_word(db: sqlite3.Connection, wanted: Wanted, word: str) -> Generator[Row]:
    """The rows with one word of status, the newest first.

    Of runs at rest nearly all that began in the time that is asked for fit, and are found by when they began. Those that
    began before are found by when they changed, and those that began after, as a clock was set back, by that. So only runs
    that were under way as that time began or ended are looked at in vain. Of runs that go on there are few: all are looked at.
    """
    fitting: list[Condition] = [("status = ?", (word,)), *wanted.same, *wanted.changed]
    if word in GOING:
        yield from _read(db, wanted, fitting)
        return

    if wanted.before is not None:
        later = _between("started", wanted.before, None)
        set_back: list[Condition] = [*fitting, *later, ("rested < started", ())]
        yield from _read(db, wanted, set_back, f"{wanted.table} indexed by {wanted.table}_set_back")

    yield from _read(db, wanted, [*fitting, *_between("started", wanted.after, wanted.before)])
    if wanted.after is not None:
        yield from _read_by_rest(db, wanted, word)


def _words_there(db: sqlite3.Connection, wanted: Wanted) -> list[str]:
    """Each word of status that stands in a row, of the workflow that is asked for; one step in an index for each."""
    where, values = ("workflow = ? and", [wanted.workflow] * 2) if wanted.workflow else ("", [])
    query = f"""with recursive words (word) as (
          select min(status) from {wanted.table} where {where} true
          union all
          select (select min(status) from {wanted.table} where {where} status > word) from words where word is not null)
        select word from words where word is not null"""  # noqa: S608 - our own words only
    return [word for (word,) in db.execute(query, values)]


def _between(column: str, first: int | None, end: int | None) -> list[Condition]:
    """That a time is `first` or later, and before `end`."""
    conditions = [(f"{column} >= ?", first), (f"{column} < ?", end)]
    return [(text, (value,)) for text, value in conditions if value is not None]


def _read(
    db: sqlite3.Connection, wanted: Wanted, conditions: Collection[Condition], source: str = ""
) -> sqlite3.Cursor:
    """Rows of `COLUMNS`, the id and the number of the last event that is there, the newest first, read as they are asked for."""
    where, values = _where(conditions)
    query = f"""select {COLUMNS}, id, {"events" if wanted.pruned else _LAST} from {source or wanted.table}
        where {where} order by started desc, id desc"""  # noqa: S608 - our own words only
    return db.execute(query, values)


def _read_by_rest(db: sqlite3.Connection, wanted: Wanted, word: str) -> sqlite3.Cursor:
    """The same of runs at rest that began before the time that is asked for, picked out in an index: their rows alone are read."""
    index = f"{wanted.table}_by_{'workflow_' if wanted.workflow else ''}rest"
    rested = _between("rested", wanted.after, wanted.before)
    earlier = _between("started", None, wanted.after)
    where, values = _where([("status = ?", (word,)), *wanted.same, *rested, *earlier])
    newest = f"""id in (select id from {wanted.table} indexed by {index} where {where}
        order by started desc, id desc limit ?)"""  # noqa: S608 - our own words only
    limit = -1 if wanted.limit is None else wanted.limit
    return _read(db, wanted, [(newest, (*values, limit)), *wanted.changed])


def _where(conditions: Collection[Condition]) -> tuple[str, list[Any]]:
    """Conditions as the text of all of them, and their values."""
    text = " and ".join(text for text, _ in conditions) or "true"
    return text, [value for _, values in conditions for value in values]


def _age(row: Row) -> tuple[float, int]:
    """What rows of several streams are ordered by; a time that was altered stands first, as it does for SQLite."""
    began = row[3]
    return (-began if isinstance(began, int | float) else float("-inf"), -row[8])


def _listed(row: Row, status: str) -> RunRow:
    """What a list says of a run; one that is not what was written must not hide the others."""
    run, workflow, _, started, updated, events, head, _, _, last = row
    return RunRow(
        run=run,
        workflow=workflow,
        status=status if is_sound(row[:8]) and events == last else DAMAGED,
        started=started,
        updated=updated,
        events=events,
        head=head.hex() if isinstance(head, bytes) else str(head),
    )


def is_sound(row: Row) -> bool:
    """Whether a row of `COLUMNS` is what was written."""
    return isinstance(row[6], bytes) and bool(seal(*row[:7]) == row[7])
