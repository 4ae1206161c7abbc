"""Indexing that is killed: for each file the index is as before or complete, wherever the process was cut off."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from agentflow.toolkit.files import FileSearch
from agentflow.toolkit.files.chunking import chunks
from agentflow.toolkit.files.document import markdown
from tests.toolkit.encoders import WordEncoder

REPOSITORY = Path(__file__).parents[2]
# Kills the process that indexes at the n-th statement, each time in a fork, so that nothing is imported twice.
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from agentflow.toolkit.files import FileSearch, store
from agentflow.toolkit.files.database import Database
from tests.toolkit.encoders import WordEncoder
import apsw, numpy

def kill_at(point):
    count = 0
    def trace(*_):
        nonlocal count
        count += 1
        if count == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return True
    opened = Database._open
    def open_(self):
        db = opened(self)
        db.exec_trace = trace
        return db
    Database._open = open_
    return lambda: count

folder = Path(sys.argv[1])
for line in sys.stdin:
    index, point = line.split()
    if (child := os.fork()) == 0:
        count = kill_at(int(point))
        asyncio.run(FileSearch(folder, index=Path(index), embedding=WordEncoder()).index())
        print(count(), flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
POINTS = 14


def said(name: str, version: int) -> str:
    parts = (
        f"## Part {n}\n\nIn {name} of version {version} part {n} is about item {n * version}.\n"
        for n in range(4)
    )
    return f"# {name}\n\n" + "\n".join(parts)


def write(folder: Path, version: int, names: range) -> dict[str, str]:
    """Write one file for each of `names`; the text of each."""
    texts = {f"{number}.md": said(f"file {number}", version) for number in names}
    for name, text in texts.items():
        (folder / name).write_text(text)

    return texts


async def indexed(folder: Path, index: Path) -> None:
    files = FileSearch(folder, index=index, embedding=WordEncoder())
    await files.index()
    files.close()


def killed(folder: Path, jobs: list[tuple[Path, int]]) -> list[str]:
    """What became of indexing `folder` into each index, killed at the statement that is given with it."""
    lines = "".join(f"{index} {point}\n" for index, point in jobs)
    program = [sys.executable, "-c", PROGRAM, str(folder)]
    done = subprocess.run(program, input=lines, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    return done.stdout.split()


def check(index: Path, before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Fail unless each file is as before or complete, with all its passages; the paths that are as they should be."""
    db = apsw.Connection(str(index))
    assert db.pragma("integrity_check") == "ok"
    rows = db.execute("select f.path, d.text from files f join documents d using (digest)")
    known = {str(path): str(text) for path, text in rows}
    for path, text in known.items():
        assert text in (before.get(path), after.get(path))
        stored = db.execute(
            "select p.start, p.stop, p.text from passages p join documents d on d.id = p.document where d.text = ?",
            (text,),
        ).fetchall()
        assert stored == [(c.start, c.end, text[c.start : c.end]) for c in chunks(markdown(text))]

    counts = [
        db.execute(f"select count(*) from {table}").fetchall()[0][0]
        for table in ("passages", "vectors", "signs", "words_docsize")
    ]
    assert len(set(counts)) == 1
    assert not db.execute(
        "select 1 from passages where document not in (select id from documents)"
    ).fetchall()
    assert not db.execute("select 1 from documents where digest not in (select digest from files)").fetchall()
    db.close()
    gone = before.keys() - after.keys()
    assert set(before) - gone <= known.keys()
    return {path for path in after if known.get(path) == after[path]} | (gone - known.keys())


@pytest.mark.timeout(90)
async def test_an_indexing_that_is_killed_anywhere_leaves_whole_files(tmp_path: Path) -> None:
    """Files are changed, added and removed; killed at points all over, each is old or new, and the rest is done later."""
    folder = tmp_path / "docs"
    folder.mkdir()
    before = write(folder, 1, range(8))
    await indexed(folder, tmp_path / "whole.db")
    after = before | write(folder, 2, range(4, 12))
    for name in ("0.md", "1.md"):
        (folder / name).unlink()
        del after[name]

    rng = random.Random(5)
    (statements, last) = killed(folder, [(copied(tmp_path, "count"), 10**9)])
    assert last == "0"
    points = sorted(rng.sample(range(1, int(statements)), POINTS))
    jobs = [(copied(tmp_path, str(point)), point) for point in points]
    assert killed(folder, jobs) == [str(-signal.SIGKILL)] * POINTS
    done = [check(index, before, after) for index, _ in jobs]
    assert len(done[0]) < len(done[-1])
    for index, _ in jobs:
        await indexed(folder, index)
        assert check(index, before, after) == after.keys() | {"0.md", "1.md"}


def copied(place: Path, name: str) -> Path:
    """A copy of the index that was made first."""
    (place / name).mkdir()
    return Path(shutil.copy(place / "whole.db", place / name / "x.db"))


async def test_an_indexing_that_is_stopped_lets_go_of_its_lock(tmp_path: Path) -> None:
    """After a process was killed in the middle of indexing, the next one need not wait."""
    (tmp_path / "docs").mkdir()
    write(tmp_path / "docs", 1, range(3))
    assert killed(tmp_path / "docs", [(tmp_path / "x.db", 30)]) == [str(-signal.SIGKILL)]
    await asyncio.wait_for(indexed(tmp_path / "docs", tmp_path / "x.db"), 20)
