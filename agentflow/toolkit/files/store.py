"""The index as one SQLite file: each document's text, its passages, their words (FTS5) and their vectors."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.exceptions import ToolError
from agentflow.toolkit.files import nearest, wording
from agentflow.toolkit.files.chunking import Chunk
from agentflow.toolkit.files.database import Database
from agentflow.toolkit.files.document import Document
from agentflow.toolkit.files.filters import Filter
from agentflow.toolkit.files.scope import attributes
from agentflow.toolkit.files.vector_store import File, IndexDamaged, IndexMismatch, Passage

if TYPE_CHECKING:
    import apsw
    import numpy as np
    from numpy.typing import NDArray

_APPLICATION = 0x61666669  # "affi": tells our files from other people's databases
_VERSION = "2"  # of the tables below
_FILTERS = 16  # filters whose passages are kept in mind
_SCHEMA = """
create table settings (name text primary key, value text not null) without rowid;
create table changes (all_ integer not null, removals integer not null);
insert into changes values (abs(random()) / 2, abs(random()) / 2);
create table documents (id integer primary key, digest text not null unique, title text not null, text text not null,
    pages text not null);
create table files (path text primary key, size integer not null, changed integer not null, seen integer not null,
    digest text, why text, metadata text not null) without rowid;
create index files_digest on files (digest);
create table passages (id integer primary key autoincrement, document integer not null, start integer not null,
    stop integer not null, page integer, heading text not null, detail text not null, text text not null);
create index passages_document on passages (document);
create virtual table words using fts5(context, text, mark, content='', contentless_delete=1, tokenize='porter unicode61');
create virtual table terms using fts5vocab(words, row);
create table vectors (id integer primary key, vector blob not null);
create table signs (id integer primary key, bits blob not null);
"""
_PASSAGES = """
select p.id, (select json_group_array(path) from files where digest = d.digest), d.title, p.start, p.stop, p.page,
    p.heading, p.detail, p.text from passages p join documents d on d.id = p.document
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Within:
    """The passages that a filter leaves, as numbers and as JSON."""

    ids: NDArray[np.int64]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """What is kept in memory of the file with `number` as it was after `changes`."""

    number: int
    changes: int
    removals: int
    codes: nearest.Codes
    counts: dict[str, int] = field(default_factory=dict[str, int])
    within: dict[Filter, _Within] = field(default_factory=dict[Filter, Any])


class SqliteStore:
    """One index file: a `VectorStore`. Safe to use from many processes, too; `settings` say what it was made with.

    `model` names what makes the vectors, whose dimension is that of the first ones that are put.
    """

    def __init__(self, path: Path, *, model: str, settings: Mapping[str, str] | None = None) -> None:
        self.path = path
        self._model, self._settings = model, {"version": _VERSION, **(settings or {})}
        self._database = Database(path)
        self._guard = threading.Lock()
        self._snapshot: _Snapshot | None = None

    def usable(self) -> bool:
        """Does the file exist, made with the same settings? Raises as `VectorStore` says, and if it is not ours."""
        if not self.path.exists():
            return False

        with self._database.connection() as db:
            return self._state(db) == "usable"

    @contextmanager
    def locked(self, stopped: Callable[[], bool]) -> Generator[None]:
        """Hold the right to index, waiting for another process or thread that has it until `stopped`."""
        with self._database.locked(stopped):
            yield

    def prepare(self, *, rebuild: bool = False) -> str:
        """Make the file fit to be written, holding the lock; what had to be done to an existing one."""
        state = self._look(rebuild=rebuild)
        if state == "damaged":
            self._database.put_aside()

        if state != "usable":
            with self._database.connection() as db:
                self._create(db)

        why = {
            "damaged": "was damaged",
            "outdated": "was made with other settings",
            "unwanted": "is made anew",
        }.get(state)
        return f"`{self.path.name}` {why}: indexing all files again" if why else ""

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._database.close()

    def files(self) -> dict[str, File]:
        rows = self._database.rows("select path, size, changed, seen, digest, why, metadata from files")
        return {row[0]: _file(*row) for row in rows}

    def holds(self, digest: str) -> bool:
        return bool(self._database.rows("select 1 from documents where digest = ?", digest))

    def count(self) -> int:
        return int(self._database.rows("select count(*) from passages")[0][0])

    def document(self, path: str) -> Document | None:
        sql = "select d.text, d.title, d.pages from documents d join files f using (digest) where f.path = ?"
        for text, title, pages in self._database.rows(sql, path):
            return Document(text=text, title=title, pages=tuple((at, name) for at, name in json.loads(pages)))

        return None

    def note(self, *files: File) -> None:
        if files:
            with self._writing() as db:
                for file in files:
                    self._note(db, file)

    def put(
        self, file: File, document: Document, chunks: Sequence[Chunk], vectors: NDArray[np.float32]
    ) -> None:
        with self._writing() as db:
            self._fix_dimension(db, vectors.shape[1])
            insert = "insert into documents (digest, title, text, pages) values (?, ?, ?, ?) returning id"
            pages = json.dumps(document.pages)
            number = _all(db, insert, file.digest, document.title, document.text, pages)[0][0]
            halves = vectors.astype("float16")
            for chunk, vector, bits in zip(chunks, halves, nearest.signs_of(vectors), strict=True):
                text = document.text[chunk.start : chunk.end]
                self._add(db, number, text, chunk, (vector.tobytes(), bits))

            self._note(db, file)

    def forget(self, paths: Sequence[str]) -> None:
        named = json.dumps(list(paths))
        with self._writing() as db:
            gone = "delete from files where path in (select value from json_each(?)) returning digest"
            self._sweep(db, [row[0] for row in _all(db, gone, named)])

    def by_words(self, words: Sequence[str], limit: int, within: Filter | None = None) -> dict[int, float]:
        known = self._known()
        with self._database.connection() as db:
            only = None if within is None else self._within(db, known, within)
            total = len(known.codes.ids)
            if only is not None and not len(only.ids):
                return {}

            # Where most passages are left out, more of them have to be looked at to find enough of the others.
            rows = wording.ROWS if only is None else wording.ROWS * total // len(only.ids)
            match = wording.match_any(
                words, lambda word: wording.passages_with(db, word, known.counts), total=total, rows=rows
            )
            return wording.best(db, match, limit, None if only is None else only.text)

    def by_vector(
        self, vector: NDArray[np.float32], limit: int, within: Filter | None = None
    ) -> dict[int, float]:
        known = self._known()
        with self._database.connection() as db:
            self._check_dimension(db, len(vector))
            only = None if within is None else self._within(db, known, within)
            ids = known.codes.candidates(vector, limit, None if only is None else only.ids)
            sql = "select id, vector from vectors where id in (select value from json_each(?))"
            return nearest.nearest(vector, _all(db, sql, json.dumps(ids)), limit)

    def passages(self, ids: Sequence[int]) -> dict[int, Passage]:
        sql = f"{_PASSAGES} where p.id in (select value from json_each(?))"  # noqa: S608 - our own words
        return {row[0]: _passage(*row) for row in self._database.rows(sql, json.dumps(list(ids)))}

    def passage_at(self, path: str, start: int) -> Passage | None:
        sql = (
            f"{_PASSAGES} join files f on f.digest = d.digest where f.path = ? and p.start <= ? "
            "order by p.start desc limit 1"
        )
        rows = self._database.rows(sql, path, start)
        return _passage(*rows[0]) if rows else None

    def _known(self) -> _Snapshot:
        """What is kept in memory, brought up to date."""
        with self._guard, self._database.connection() as db:
            number = self._database.number()
            changes, removals = _all(db, "select all_, removals from changes")[0]
            before = self._snapshot
            if before is None or (before.number, before.changes) != (number, changes):
                kept = (
                    before.codes
                    if before and (before.number, before.removals) == (number, removals)
                    else None
                )
                codes = _codes(db, kept)
                self._snapshot = _Snapshot(number=number, changes=changes, removals=removals, codes=codes)

            assert self._snapshot is not None
            return self._snapshot

    def _within(self, db: apsw.Connection, known: _Snapshot, wanted: Filter) -> _Within:
        """The passages of the files that fit a filter."""
        import numpy as np

        found = known.within.get(wanted)
        if found is None:
            rows = _all(db, "select path, size, changed, seen, digest, why, metadata from files")
            fitting = [row[0] for row in rows if wanted.fits(row[0], attributes(_file(*row)))]
            rows = _all(
                db,
                "select p.id from passages p join documents d on d.id = p.document where d.digest in "
                "(select digest from files where path in (select value from json_each(?)))",
                json.dumps(fitting),
            )
            ids = [row[0] for row in rows]
            found = _Within(ids=np.array(ids, dtype=np.int64), text=json.dumps(ids))
            with self._guard:
                while len(known.within) >= _FILTERS:
                    known.within.pop(next(iter(known.within)))

                known.within[wanted] = found

        return found

    def _add(
        self, db: apsw.Connection, document: int, text: str, chunk: Chunk, vector: tuple[bytes, bytes]
    ) -> None:
        insert = (
            "insert into passages (document, start, stop, page, heading, detail, text) "
            "values (?, ?, ?, ?, ?, ?, ?) returning id"
        )
        place = (document, chunk.start, chunk.end, chunk.page, chunk.heading, chunk.detail, text)
        number = _all(db, insert, *place)[0][0]
        words = (number, chunk.context, text, wording.MARK)
        db.execute("insert into words (rowid, context, text, mark) values (?, ?, ?, ?)", words)
        db.execute("insert into vectors (id, vector) values (?, ?)", (number, vector[0]))
        db.execute("insert into signs (id, bits) values (?, ?)", (number, vector[1]))

    def _note(self, db: apsw.Connection, file: File) -> None:
        before = _all(db, "select digest from files where path = ?", file.path)
        metadata = json.dumps(dict(file.metadata))
        values = (file.path, file.size, file.changed, file.seen, file.digest, file.why, metadata)
        db.execute("insert or replace into files values (?, ?, ?, ?, ?, ?, ?)", values)
        self._sweep(db, [row[0] for row in before])

    def _sweep(self, db: apsw.Connection, digests: Sequence[str | None]) -> None:
        """Remove the documents of `digests` that no file has any more."""
        lost = "select id from documents where digest = ?1 and not exists (select 1 from files where digest = ?1)"
        for (document,) in [row for digest in digests for row in _all(db, lost, digest)]:
            for table, key in (("words", "rowid"), ("vectors", "id"), ("signs", "id")):
                inside = "select id from passages where document = ?"
                db.execute(f"delete from {table} where {key} in ({inside})", (document,))  # noqa: S608 - our own names

            db.execute("delete from passages where document = ?", (document,))
            db.execute("delete from documents where id = ?", (document,))
            db.execute("update changes set removals = removals + 1")

    @contextmanager
    def _writing(self) -> Generator[apsw.Connection]:
        with self._database.transaction() as db:
            yield db
            db.execute("update changes set all_ = all_ + 1")

    def _fix_dimension(self, db: apsw.Connection, dimension: int) -> None:
        db.execute("insert or ignore into settings values ('dimension', ?)", (str(dimension),))
        self._check_dimension(db, dimension)

    def _check_dimension(self, db: apsw.Connection, dimension: int) -> None:
        known = _all(db, "select value from settings where name = 'dimension'")
        if known and known[0][0] != str(dimension):
            raise self._mismatch(f"vectors of {known[0][0]} numbers", f"gives {dimension}")

    def _mismatch(self, has: str, now: str) -> IndexMismatch:
        return IndexMismatch(
            f"the index `{self.path}` holds {has}, and `{self._model}` now {now}",
            hint="go back to the embedding that it was made with, or make it anew: `agentflow index add --rebuild`",
        )

    def _look(self, *, rebuild: bool) -> str:
        """`new`, `usable`, `outdated`, `unwanted` or `damaged`."""
        if self._database.is_damaged():
            return "damaged"

        try:
            with self._database.connection() as db:
                state = self._state(db)
                return "unwanted" if rebuild and state == "usable" else state
        except IndexMismatch:
            if rebuild:
                return "unwanted"

            raise
        except IndexDamaged:
            return "damaged"

    def _state(self, db: apsw.Connection) -> str:
        if not _all(db, "select count(*) from sqlite_master")[0][0]:
            return "new"

        if db.pragma("application_id") != _APPLICATION:
            hint = "name another file for the index"
            raise ToolError(f"`{self.path}` is a database of something else", hint=hint)

        known = dict(_all(db, "select name, value from settings"))
        if known.get("version") == _VERSION and known.get("model") != self._model:
            raise self._mismatch(f"vectors of `{known.get('model')}`", "is to make them")

        return "usable" if all(known.get(k) == v for k, v in self._settings.items()) else "outdated"

    def _create(self, db: apsw.Connection) -> None:
        db.pragma("journal_mode", "wal")  # searches go on while a file is written
        db.execute("begin immediate")
        # Those behind virtual tables go with them, and SQLite keeps its own.
        tables = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
        for (name,) in _all(db, tables):
            db.execute(f'drop table if exists "{name}"')

        db.execute(_SCHEMA)
        db.executemany("insert into settings values (?, ?)", {**self._settings, "model": self._model}.items())
        db.pragma("application_id", _APPLICATION)
        db.execute("commit")


def _all(db: apsw.Connection, sql: str, *values: Any) -> list[Any]:
    return db.execute(sql, values).fetchall()


def _codes(db: apsw.Connection, kept: nearest.Codes | None) -> nearest.Codes:
    """The codes of all passages; those that are `kept` need not be read again."""
    import numpy as np

    last = int(kept.ids[-1]) if kept is not None and len(kept.ids) else 0
    rows = _all(db, "select id, bits from signs where id > ? order by id", last)
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    fresh = nearest.codes_of(ids, b"".join([row[1] for row in rows]))
    return fresh if kept is None or not len(kept.ids) else nearest.joined(kept, fresh) if rows else kept


def _file(
    path: str, size: int, changed: int, seen: int, digest: str | None, why: str | None, metadata: str
) -> File:
    return File(
        path=path,
        size=size,
        changed=changed,
        seen=seen,
        digest=digest,
        why=why,
        metadata=json.loads(metadata),
    )


def _passage(
    number: int,
    paths: str,
    title: str,
    start: int,
    end: int,
    page: int | None,
    heading: str,
    detail: str,
    text: str,
) -> Passage:
    return Passage(
        id=number,
        paths=tuple(sorted(json.loads(paths))),
        title=title,
        start=start,
        end=end,
        page=page,
        heading=heading,
        detail=detail,
        text=text,
    )
