"""A SQLite file as a journal needs it: opened with care, in whole transactions, its errors in our words."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from agentflow.exceptions import (
    JournalConflict,
    JournalDamaged,
    JournalError,
    JournalUnwritable,
    JournalVersion,
)
from agentflow.journal import schema

# A commit writes two pages. Each checkpoint costs an fsync, so they come half as often as SQLite would make them.
_CHECKPOINT = 4000
_ELSEWHERE = "choose another with AGENTFLOW_JOURNAL=sqlite:///path"
# What says that the file cannot be used now; all else says that it is not what was written.
_UNUSABLE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_TOOBIG,
}


class Database:
    """One connection; `durable` transactions are on disk when they end, whatever `synchronous` says."""

    def __init__(self, path: Path, synchronous: str, *, read_only: bool) -> None:
        self.path, self.read_only = path, read_only
        self.opened = 0
        # False for a file of an earlier format, which is only read.
        self.is_current = True
        self._relaxed = synchronous != "FULL"
        self._file: tuple[int, int] | None = None
        with self.errors():
            self._refuse_emptied()
            if read_only:
                self._open_to_read()
            else:
                self._open(synchronous)

    def _refuse_emptied(self) -> None:
        # SQLite would take it for a new file, and throw the log away.
        size, log, written = self._stamped()
        if written and not size and log:
            raise self.damaged("it is empty, but its log is not")

    def _open(self, synchronous: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._connect(str(self.path))
        with self._closed_on_failure():
            # Before anything is written: the file may be of a newer format, or not a journal at all.
            if self._refuse_others() == 0:
                # Only before the first table; so that what is pruned can be given back without writing all anew.
                self.connection.execute("pragma auto_vacuum=incremental")

            self.connection.execute("pragma journal_mode=wal")
            self.connection.execute(f"pragma synchronous={synchronous}")
            self.connection.execute(f"pragma wal_autocheckpoint={_CHECKPOINT}")
            self._bring_up()
            schema.prepare(self.connection)
            self._file = self._identity()

    def check_place(self) -> None:
        """Raise `JournalDamaged` where another file stands at the path: what is written here would be lost."""
        found = self._identity()
        if self._file is not None and found != self._file:
            raise self.damaged("another file was put in its place while it was open")

    def _identity(self) -> tuple[int, int] | None:
        try:
            known = self.path.stat()
        except OSError:
            return None

        return known.st_dev, known.st_ino

    def _open_to_read(self) -> None:
        """The file as it is, and no file beside it; an empty journal where there is none."""
        self._stamp = size, log, _ = self._stamped()
        url = self.path.absolute().as_uri()
        # Where nobody writes, all there is stands in the file, and SQLite need make no files to share it.
        self._connect((f"{url}?mode=ro" if log else f"{url}?immutable=1") if size else ":memory:")
        with self._closed_on_failure():
            version = self._refuse_others()
            self.is_current = version in (0, schema.SCHEMA)
            if version == 0:
                schema.create(self.connection)
            elif version == 1:
                schema.show_as_new(self.connection)

            self.connection.execute("pragma query_only=1")

    def _connect(self, place: str) -> None:
        # The owner of a journal takes care that one thread uses it at a time.
        self.connection = sqlite3.connect(
            place, isolation_level=None, check_same_thread=False, timeout=10, uri=place.startswith("file:")
        )
        self.opened += 1

    @contextmanager
    def _closed_on_failure(self) -> Generator[None, None, None]:
        try:
            yield
        except BaseException:
            self.connection.close()
            raise

    def _stamped(self) -> tuple[int, int, int]:
        """Size of the file and of its log, and when it was written."""
        if not self.path.exists():
            return 0, 0, 0

        found, log = self.path.stat(), Path(f"{self.path}-wal")
        return found.st_size, log.stat().st_size if log.exists() else 0, found.st_mtime_ns

    def follow(self) -> None:
        """Open a file that is only read anew where somebody began to write it, or it came to be."""
        if self._is_stale():
            self.connection.close()
            self._open_to_read()

    def _is_stale(self) -> bool:
        return self.read_only and not self._stamp[1] and self._stamp != self._stamped()

    def _version(self) -> int:
        return int(self.connection.execute("pragma user_version").fetchone()[0])

    def _refuse_others(self) -> int:
        version = self._version()
        if version > schema.SCHEMA:
            raise JournalVersion(
                f"the journal {self.path} has format {version}; this agentflow reads up to {schema.SCHEMA}",
                hint="upgrade agentflow, or use another journal",
            )

        if version < 0:
            raise self.damaged(f"its format is {version}")

        # In one statement with the version, as another process may be making the tables at this moment.
        query = "select count(*) from pragma_user_version, sqlite_master where user_version = 0"
        if self.connection.execute(query).fetchone()[0]:
            raise JournalDamaged(
                f"{self.path} is a database, but not a journal of agentflow",
                hint="choose another file with AGENTFLOW_JOURNAL=sqlite:///path",
            )

        return version

    def _bring_up(self) -> None:
        """Make the tables, or bring those of an older version up, once among processes that open the file together."""
        if self._version() < schema.SCHEMA:
            with self.transaction():
                version = self._version()
                if version == 0:
                    schema.create(self.connection)
                else:
                    schema.migrate(self.connection, version)

                self.connection.execute(f"pragma user_version={schema.SCHEMA}")

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Generator[None, None, None]:
        """All or nothing of what is written inside."""
        synced = durable and self._relaxed and not self.read_only
        execute = self.connection.execute
        try:
            if synced:
                execute("pragma synchronous=full")

            try:
                execute("begin immediate")
                yield
                execute("commit")
            except BaseException:
                if self.connection.in_transaction:
                    execute("rollback")

                raise
            finally:
                if synced:
                    execute("pragma synchronous=normal")
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            raise self.refusal(error) from None

    @contextmanager
    def snapshot(self) -> Generator[None, None, None]:
        """What is read inside is of one moment."""
        with self.errors():
            self.follow()
            self.connection.execute("begin")
            try:
                yield
            except (sqlite3.DatabaseError, JournalDamaged):
                if self._is_stale():
                    raise self._changed() from None

                raise
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("rollback")

    @contextmanager
    def errors(self) -> Generator[None, None, None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            raise self.refusal(error) from None

    def close(self) -> None:
        self.connection.close()

    def refusal(self, error: Exception) -> JournalError:
        """An error of SQLite's as one of ours, that says what to do."""
        if isinstance(error, sqlite3.IntegrityError):
            return JournalConflict(
                "another process has continued this run; this one stopped before it did anything twice"
            )

        if isinstance(error, sqlite3.ProgrammingError):
            return JournalError(f"the journal {self.path} cannot be used: {error}")

        code = getattr(error, "sqlite_errorcode", None)
        if isinstance(error, OSError) or (code is not None and code & 0xFF in _UNUSABLE):
            return self._unusable(error)

        return self.damaged(f"{error}{self._details()}")

    def _details(self) -> str:
        with suppress(sqlite3.Error):
            found = str(self.connection.execute("pragma quick_check(1)").fetchone()[0])
            return "" if found == "ok" else f" ({found.strip()})"

        return ""

    def _changed(self) -> JournalError:
        # A file that nobody wrote was opened without locks; somebody began to.
        return JournalError(f"the journal {self.path} was written while it was read", hint="try again")

    def damaged(self, what: str) -> JournalDamaged:
        return JournalDamaged(
            f"the journal {self.path} is damaged: {what}", hint=f"restore it from a copy, or {_ELSEWHERE}"
        )

    def _unusable(self, error: Exception) -> JournalError:
        text = str(error)
        hint = _ELSEWHERE
        if self.read_only and "readonly" in text:
            hint = "it was opened to be read only"
        elif self.read_only and "unable to open" in text:
            hint = (
                f"what stands in {self.path}-wal can only be read where the folder may be written: copy both"
            )
        elif "full" in text:
            hint = f"free some space, then resume the run; or {hint}"
        elif "readonly" in text or "unable to open" in text or isinstance(error, OSError):
            hint = f"make {self.path.parent} and the file writable, then resume the run; or {hint}"
        elif "locked" in text:
            hint = "another process holds it; try again"
        elif "I/O" in text:
            text = f"{text} ({getattr(error, 'sqlite_errorname', '')})"
            hint = f"see whether the disk has room and works, then resume the run; or {hint}"

        what = "read" if self.read_only and "readonly" not in text else "written"
        return JournalUnwritable(f"the journal {self.path} cannot be {what}: {text}", hint=hint)
