"""Who drives a run of a SQLite journal, and what others ask of that one."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any

from agentflow.journal import Lease, Request
from agentflow.journal.database import Database
from agentflow.journal.owner import is_gone, process_of
from agentflow.journal.refusals import was_pruned


class Desk:
    """Leases and requests."""

    def __init__(self, file: Database) -> None:
        self._file = file
        # What was seen since the file was last found changed, and its state at that time.
        self._seen: dict[str, list[Request]] = {}
        self._requested: frozenset[str] | None = None
        self._state: tuple[int, ...] = ()
        self._changes = 0

    def claim(self, run: str, owner: str, until: int) -> Lease | None:
        self._file.check_place()
        with self._file.transaction():
            known = self.holder_in_transaction(run)
            if known is not None and known.owner != owner:
                return known

            self._refuse_pruned(run)
            self._file.connection.execute("replace into leases values (?,?,?)", (run, owner, until))

        return None

    def renew(self, leases: Sequence[tuple[str, str]], until: int) -> list[Lease]:
        """Prolong leases, and take those that nobody has any more; gives the live ones that are in the way."""
        self._file.check_place()
        lost: list[Lease] = []
        with self._file.transaction():
            for run, owner in leases:
                renewed = self._file.connection.execute(
                    "update leases set until = ? where run = ? and owner = ?", (until, run, owner)
                )
                if not renewed.rowcount and (holder := self._taken(run, owner, until)) is not None:
                    lost.append(holder)

        return lost

    def _taken(self, run: str, owner: str, until: int) -> Lease | None:
        known = self.holder_in_transaction(run)
        if known is None:
            self._refuse_pruned(run)
            self._file.connection.execute("replace into leases values (?,?,?)", (run, owner, until))

        return known

    def release(self, run: str, owner: str) -> None:
        with self._file.transaction():
            self._file.connection.execute("delete from leases where run = ? and owner = ?", (run, owner))

    def holder(self, run: str) -> Lease | None:
        with self._file.snapshot():
            return self.holder_in_transaction(run)

    def holder_in_transaction(self, run: str) -> Lease | None:
        lease = self._lease(run)
        return lease if lease is not None and lease.is_live() else None

    def _lease(self, run: str) -> Lease | None:
        row = self._file.connection.execute("select * from leases where run = ?", (run,)).fetchone()
        return None if row is None else _lease(row)

    def driven(self) -> Callable[[str], bool]:
        """What says whether a run has a live lease, within the snapshot of the caller; each process is looked for once."""
        gone: dict[str, bool] = {}

        def is_driven(run: str) -> bool:
            lease = self._lease(run)
            if lease is None or lease.until <= time.time_ns():
                return False

            process = process_of(lease.owner)
            if process not in gone:
                gone[process] = is_gone(lease.owner)

            return not gone[process]

        return is_driven

    def _refuse_pruned(self, run: str) -> None:
        if self._file.connection.execute("select 1 from pruned where run = ?", (run,)).fetchone():
            raise was_pruned(run)

    def send(self, run: str, body: Any) -> int:
        values = (run, time.time_ns(), json.dumps(body))
        with self._file.transaction():
            self._refuse_pruned(run)
            sent = self._file.connection.execute(
                "insert into requests (run, at, body) values (?,?,?)", values
            )

        self._changes += 1
        assert sent.lastrowid is not None
        return sent.lastrowid

    def requested(self) -> frozenset[str]:
        """The runs that have requests."""
        with self._file.errors():
            self._look()
            if self._requested is None:
                rows = self._file.connection.execute("select distinct run from requests")
                self._requested = frozenset(run for (run,) in rows)

        return self._requested

    def requests(self, run: str) -> list[Request]:
        with self._file.errors():
            self._look()
            known = self._seen.get(run)
            if known is None:
                known = self._seen[run] = self._requests(run)

        return list(known)

    def _look(self) -> None:
        """Forget what was seen where the file has changed since."""
        self._file.follow()
        # Tells of commits by others only, so our own are counted.
        (version,) = self._file.connection.execute("pragma data_version").fetchone()
        state = version, self._changes, self._file.opened
        if state != self._state:
            self._state, self._requested = state, None
            self._seen.clear()

    def _requests(self, run: str) -> list[Request]:
        rows = self._file.connection.execute(
            "select id, at, body from requests where run = ? order by id", (run,)
        )
        return [Request(id=id_, run=run, at=at, body=_body(body)) for id_, at, body in rows]

    def take(self, run: str, request: int) -> bool:
        with self._file.transaction():
            taken = self._file.connection.execute(
                "delete from requests where run = ? and id = ?", (run, request)
            )

        self._changes += 1
        return taken.rowcount == 1

    def forget(self, run: str) -> None:
        """Remove a run's lease and requests, within the transaction of the caller."""
        self._file.connection.execute("delete from leases where run = ?", (run,))
        self._file.connection.execute("delete from requests where run = ?", (run,))
        self._changes += 1


def _lease(row: Sequence[Any]) -> Lease:
    run, owner, until = row
    if not (isinstance(run, str) and isinstance(owner, str) and isinstance(until, int)):
        raise sqlite3.DatabaseError("a lease is not what was written")

    return Lease(run=run, owner=owner, until=until)


def _body(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        raise sqlite3.DatabaseError("a request is not what was written") from None
