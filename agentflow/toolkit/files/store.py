"""The index: one SQLite file with each document's text, its passages, their words (FTS5) and vectors (sqlite-vec)."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.exceptions import ToolError
from agentflow.toolkit.files.chunking import Chunk
from agentflow.toolkit.files.document import Document

if TYPE_CHECKING:
    import apsw
    import numpy as np
    from numpy.typing import NDArray

_APPLICATION = 0x61666669  # "affi": tells our files from other people's databases
_BUSY = 60_000  # milliseconds to wait for another process that writes one document
_SCHEMA = """
create table settings (name text primary key, value text not null) without rowid;
create table documents (id integer primary key, digest text not null unique, title text not null, text text not null);
create table files (path text primary key, size integer not null, changed integer not null,
    seen integer not null, digest text, why text) without rowid;
create index files_digest on files (digest);
create table passages (id integer primary key autoincrement, document integer not null, start integer not null,
    stop integer not null, heading text not null, detail text not null, text text not null);
create index passages_document on passages (document);
create virtual table words using fts5(context, text, content='', contentless_delete=1, tokenize='porter unicode61');
create virtual table vectors using vec0(vector float[{dimension}] distance_metric=cosine);
"""


class IndexDamaged(ToolError):
    """Raised when the index file cannot be read as a database; a rebuild mends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What the index knows of a file: `changed` and `seen` are times in ns, `why` says why it was skipped.

    `digest` names its content; a file that could not even be opened has none.
    """

    path: str
    size: int
    changed: int
    seen: int
    digest: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A passage with the document that it stands in; `paths` are the files with that content."""

    id: int
    paths: tuple[str, ...]
    title: str
    start: int
    end: int
    heading: str
    detail: str
    text: str


class Store:
    """One index file. Safe to use from many threads and processes; `settings` say what it was made with."""

    def __init__(self, path: Path, *, settings: Mapping[str, str], dimension: int) -> None:
        self.path = path
        self._settings, self._dimension = dict(settings), dimension
        self._idle: list[tuple[int, apsw.Connection]] = []
        self._damaged = 0  # the number of the file that was found to be damaged
        self._guard = threading.Lock()

    def usable(self) -> bool:
        """Does the file exist, made with the same settings? Raises `IndexDamaged`, or `ToolError` if it is not ours."""
        if not self.path.exists():
            return False

        with self._connection() as db:
            return self._state(db) == "usable"

    @contextlib.contextmanager
    def locked(self, stopped: Callable[[], bool]) -> Generator[None]:
        """Hold the right to index, waiting for another process or thread that has it until `stopped`."""
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

    def prepare(self) -> str:
        """Make the file fit to be written, holding the lock; what had to be done to an existing one."""
        state = self._look()
        if state == "damaged":
            self._replace()
        elif state != "usable":
            with self._connection() as db:
                self._create(db)

        why = {"damaged": "was damaged", "outdated": "was made with other settings"}.get(state)
        return f"`{self.path.name}` {why}: indexing all files again" if why else ""

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._guard:
            idle, self._idle = self._idle, []

        for _, db in idle:
            db.close()

    def files(self) -> dict[str, File]:
        rows = self._rows("select path, size, changed, seen, digest, why from files")
        return {
            path: File(path=path, size=size, changed=changed, seen=seen, digest=digest, why=why)
            for path, size, changed, seen, digest, why in rows
        }

    def holds(self, digest: str) -> bool:
        """Is a document with this content there already?"""
        return bool(self._rows("select 1 from documents where digest = ?", digest))

    def count(self) -> int:
        """The number of passages."""
        return int(self._rows("select count(*) from passages")[0][0])

    def text(self, path: str) -> str | None:
        """The whole text of a file as it was indexed."""
        rows = self._rows("select d.text from documents d join files f using (digest) where f.path = ?", path)
        return rows[0][0] if rows else None

    def note(self, *files: File) -> None:
        """Remember `files`, whose content is known already or was skipped."""
        with self._transaction() as db:
            for file in files:
                self._note(db, file)

    def put(
        self, file: File, document: Document, chunks: Sequence[Chunk], vectors: NDArray[np.float32]
    ) -> None:
        """Replace what is known of a file, all or nothing."""
        with self._transaction() as db:
            insert = "insert into documents (digest, title, text) values (?, ?, ?) returning id"
            number = _all(db, insert, file.digest, document.title, document.text)[0][0]
            for chunk, vector in zip(chunks, vectors, strict=True):
                self._add(db, number, document.text[chunk.start : chunk.end], chunk, vector.tobytes())

            self._note(db, file)

    def forget(self, paths: Sequence[str]) -> None:
        """Remove files that are gone."""
        named = json.dumps(list(paths))
        with self._transaction() as db:
            gone = "delete from files where path in (select value from json_each(?)) returning digest"
            self._sweep(db, [row[0] for row in _all(db, gone, named)])

    def by_words(self, match: str, limit: int, among: Sequence[int] | None = None) -> dict[int, float]:
        """Passages that hold words of the FTS5 expression `match`, with their BM25 score."""
        only, values = _only(among)
        sql = f"select rowid, -rank from words where words match ?{only} order by rank limit ?"  # noqa: S608 - our own words
        return dict(self._rows(sql, match, *values, limit))

    def by_vector(self, vector: bytes, limit: int, among: Sequence[int] | None = None) -> dict[int, float]:
        """The passages nearest to a float32 vector, with their cosine similarity."""
        only, values = _only(among)
        sql = f"select rowid, 1 - distance from vectors where vector match ? and k = ?{only}"  # noqa: S608 - our own words
        return dict(self._rows(sql, vector, limit, *values))

    def passages(self, ids: Sequence[int]) -> dict[int, Passage]:
        rows = self._rows(
            "select p.id, (select json_group_array(path) from files where digest = d.digest), d.title, "
            "p.start, p.stop, p.heading, p.detail, p.text from passages p join documents d on d.id = p.document "
            "where p.id in (select value from json_each(?))",
            json.dumps(list(ids)),
        )
        return {row[0]: _passage(*row) for row in rows}

    def inside(self, paths: Sequence[str]) -> list[int]:
        """The passages of these files."""
        rows = self._rows(
            "select p.id from passages p join documents d on d.id = p.document join files f using (digest) "
            "where f.path in (select value from json_each(?))",
            json.dumps(list(paths)),
        )
        return [row[0] for row in rows]

    def _add(self, db: apsw.Connection, document: int, text: str, chunk: Chunk, vector: bytes) -> None:
        insert = "insert into passages (document, start, stop, heading, detail, text) values (?, ?, ?, ?, ?, ?) returning id"
        place = (document, chunk.start, chunk.end, chunk.heading, chunk.detail, text)
        number = _all(db, insert, *place)[0][0]
        db.execute("insert into words (rowid, context, text) values (?, ?, ?)", (number, chunk.context, text))
        db.execute("insert into vectors (rowid, vector) values (?, ?)", (number, vector))

    def _note(self, db: apsw.Connection, file: File) -> None:
        before = _all(db, "select digest from files where path = ?", file.path)
        values = (file.path, file.size, file.changed, file.seen, file.digest, file.why)
        db.execute("insert or replace into files values (?, ?, ?, ?, ?, ?)", values)
        self._sweep(db, [row[0] for row in before])

    def _sweep(self, db: apsw.Connection, digests: Sequence[str | None]) -> None:
        """Remove the documents of `digests` that no file has any more."""
        lost = "select id from documents where digest = ?1 and not exists (select 1 from files where digest = ?1)"
        for document in [row for digest in digests for row in _all(db, lost, digest)]:
            db.execute(
                "delete from words where rowid in (select id from passages where document = ?)", document
            )
            db.execute(
                "delete from vectors where rowid in (select id from passages where document = ?)", document
            )
            db.execute("delete from passages where document = ?", document)
            db.execute("delete from documents where id = ?", document)

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with self._connection() as db:
            return _all(db, sql, *values)

    @contextlib.contextmanager
    def _transaction(self) -> Generator[apsw.Connection]:
        with self._connection() as db:
            db.execute("begin immediate")
            try:
                yield db
                db.execute("commit")
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")

                raise

    @contextlib.contextmanager
    def _connection(self) -> Generator[apsw.Connection]:
        number = self._number()
        with self._errors(number):
            db = self._take(number) or self._open()
            try:
                yield db
            except BaseException:
                db.close()
                raise

            with self._guard:
                self._idle.append((number or self._number(), db))

    def _take(self, number: int) -> apsw.Connection | None:
        """A connection to the file with this number that nobody uses; those to files that are gone are closed."""
        with self._guard:
            while self._idle:
                of, db = self._idle.pop()
                if of == number:
                    return db

                db.close()

        return None

    def _number(self) -> int:
        """The number of the file that has our path now: another process may have replaced it. 0 if there is none."""
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return 0

    def _open(self) -> apsw.Connection:
        import apsw
        import sqlite_vec

        db = apsw.Connection(str(self.path))
        db.set_busy_timeout(_BUSY)
        db.pragma(
            "synchronous", "normal"
        )  # a power cut may lose the last files, which are then indexed again
        db.enable_load_extension(True)
        db.load_extension(sqlite_vec.loadable_path())
        db.enable_load_extension(False)
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

    def _look(self) -> str:
        """`new`, `usable`, `outdated` or `damaged`."""
        if self._damaged and self._damaged == self._number():
            return "damaged"

        try:
            with self._connection() as db:
                return self._state(db)
        except IndexDamaged:
            return "damaged"

    def _state(self, db: apsw.Connection) -> str:
        if not db.execute("select count(*) from sqlite_master").fetchall()[0][0]:
            return "new"

        if db.pragma("application_id") != _APPLICATION:
            hint = "name another file for the index"
            raise ToolError(f"`{self.path}` is a database of something else", hint=hint)

        return (
            "usable" if dict(db.execute("select name, value from settings")) == self._settings else "outdated"
        )

    def _create(self, db: apsw.Connection) -> None:
        db.pragma("journal_mode", "wal")  # searches go on while a file is written
        db.execute("begin immediate")
        # Those behind virtual tables go with them, and SQLite keeps its own.
        tables = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
        for (name,) in db.execute(tables).fetchall():
            db.execute(f'drop table if exists "{name}"')

        db.execute(_SCHEMA.format(dimension=self._dimension))
        db.executemany("insert into settings values (?, ?)", self._settings.items())
        db.pragma("application_id", _APPLICATION)
        db.execute("commit")

    def _replace(self) -> None:
        """Put the damaged file aside, as it might be something else under a wrong name, and start a new one."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            file = Path(f"{self.path}{suffix}")
            if file.exists():
                file.replace(f"{self.path}.damaged{suffix}")

        self._damaged = 0
        with self._connection() as db:
            self._create(db)


def _all(db: apsw.Connection, sql: str, *values: Any) -> list[Any]:
    return db.execute(sql, values).fetchall()


def _passage(
    number: int, paths: str, title: str, start: int, end: int, heading: str, detail: str, text: str
) -> Passage:
    return Passage(
        id=number,
        paths=tuple(sorted(json.loads(paths))),
        title=title,
        start=start,
        end=end,
        heading=heading,
        detail=detail,
        text=text,
    )


def _only(among: Sequence[int] | None) -> tuple[str, tuple[str, ...]]:
    """The SQL that limits passages to those in `among`, if given, and its values."""
    if among is None:
        return "", ()

    return " and rowid in (select value from json_each(?))", (json.dumps(list(among)),)
