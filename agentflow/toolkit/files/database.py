"""Connections to one SQLite file that many threads and processes use, and what its errors mean."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.exceptions import ToolError
from agentflow.toolkit.files.vector_store import IndexDamaged

if TYPE_CHECKING:
    import apsw

_BUSY = 60_000  # milliseconds to wait for another process that writes one document
# Kibibytes of the file that a connection keeps. The file is not mapped: whoever cut it short would end our process.
_CACHE = 16_384


class Database:
    """The file at `path`. Connections are kept open and used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[tuple[int, apsw.Connection]] = []
        self._damaged = 0  # the number of the file that was found to be damaged
        self._guard = threading.Lock()

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """All rows of one query."""
        with self.connection() as db:
            return db.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Generator[apsw.Connection]:
        """A connection whose changes are all made at the end, or none of them."""
        with self.connection() as db:
            db.execute("begin immediate")
            try:
                yield db
                db.execute("commit")
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")

                raise

    @contextlib.contextmanager
    def connection(self) -> Generator[apsw.Connection]:
        """A connection that nobody else uses meanwhile; raises `IndexDamaged` or `ToolError` for what goes wrong."""
        number = self.number()
        with self._errors(number):
            db = self._take(number) or self._open()
            try:
                yield db
            except BaseException:
                db.close()
                raise

            with self._guard:
                self._idle.append((number or self.number(), db))

    @contextlib.contextmanager
    def locked(self, stopped: Callable[[], bool]) -> Generator[None]:
        """Hold the right to write, waiting for another process or thread that has it until `stopped`."""
        import apsw

        def wait(_: int) -> bool:
            time.sleep(0.05)
            return not stopped()

        with self._errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite's lock on a file of its own: it works on each system and ends with the process.
            lock = apsw.Connection(f"{self.path}.lock")
            lock.set_busy_handler(wait)
            lock.execute("begin exclusive")

        try:
            yield
        finally:
            lock.close()

    def is_damaged(self) -> bool:
        """Was the file that is there now found to be damaged?"""
        return bool(self._damaged) and self._damaged == self.number()

    def put_aside(self) -> None:
        """Rename the damaged file, as it might be something else under a wrong name."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            file = Path(f"{self.path}{suffix}")
            if file.exists():
                file.replace(f"{self.path}.damaged{suffix}")

        self._damaged = 0

    def number(self) -> int:
        """The number of the file that has our path now: another process may have replaced it. 0 if there is none."""
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._guard:
            idle, self._idle = self._idle, []

        for _, db in idle:
            db.close()

    def _take(self, number: int) -> apsw.Connection | None:
        """A connection to the file with this number that nobody uses; those to files that are gone are closed."""
        with self._guard:
            while self._idle:
                of, db = self._idle.pop()
                if of == number:
                    return db

                db.close()

        return None

    def _open(self) -> apsw.Connection:
        import apsw

        db = apsw.Connection(str(self.path))
        db.set_busy_timeout(_BUSY)
        db.pragma("cache_size", -_CACHE)
        db.pragma(
            "synchronous", "normal"
        )  # a power cut may lose the last files, which are then indexed again
        return db

    @contextlib.contextmanager
    def _errors(self, number: int = 0) -> Generator[None]:
        import apsw

        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError) as error:
            self._damaged = number
            raise IndexDamaged(f"the index `{self.path}` is damaged: {error}", hint="delete it") from error
        except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.FullError, apsw.IOError, OSError) as error:
            hint = "check the disk and the permissions of its folder"
            raise ToolError(f"the index `{self.path}` cannot be written: {error}", hint=hint) from error
        except (apsw.BusyError, apsw.LockedError) as error:
            raise ToolError(
                f"the index `{self.path}` is in use by another process", hint="try again"
            ) from error
