"""A disk that is full, that fails, or that may no longer be written: said at once, nothing half, and it goes on after."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentflow import SqliteJournal
from agentflow.exceptions import JournalUnwritable
from tests.journal.examples import chain
from tests.journal.processes import begun


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with 300 kB, where we may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(place)]
    try:
        made = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        made = False

    if not made:
        pytest.skip("only root may mount a disk")

    yield place
    subprocess.run(["umount", str(place)], check=True)


def ballast(place: Path) -> Path:
    """A file that takes room."""
    (place / "ballast").write_bytes(b"x" * 40_000)
    return place / "ballast"


def drop(file: Path) -> None:
    file.unlink()


async def filled(journal: SqliteJournal) -> tuple[int, JournalUnwritable]:
    """Append until there is no room; gives how many events went in, and what was said."""
    events = chain("r", 400, size=300)
    for n in range(400):
        try:
            await journal.append("r", events[n : n + 1], durable=n % 3 == 0)
        except JournalUnwritable as error:
            return n, error

    raise AssertionError("there was room for all")


async def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    """All that was accepted is there, what was not is whole not there, and with room again the same object goes on."""
    heavy = ballast(small_disk)
    journal = SqliteJournal(small_disk / "j.db")
    count, error = await filled(journal)
    assert "full" in str(error)
    assert error.hint.startswith("free some space, then resume the run")
    assert await journal.read("r") == chain("r", count, size=300)
    with pytest.raises(JournalUnwritable, match="full"):
        await journal.append("q", chain("q", 3, size=20_000))

    drop(heavy)
    await journal.append("r", chain("r", count + 1, size=300)[count:])
    await journal.close()
    again = SqliteJournal(small_disk / "j.db")
    assert await again.read("r") == chain("r", count + 1, size=300)
    assert [row.run for row in await again.runs()] == ["r"]
    assert again._db.execute("pragma integrity_check").fetchone()[0] == "ok"
    await again.close()


def test_a_new_journal_on_a_full_disk(small_disk: Path) -> None:
    """A journal that cannot be made says so, and can be made when there is room."""
    (small_disk / "ballast").write_bytes(b"x" * 260_000)
    with pytest.raises(JournalUnwritable, match=r"full|disk I/O error") as refused:
        SqliteJournal(small_disk / "j.db")

    assert "room" in refused.value.hint or "space" in refused.value.hint
    drop(small_disk / "ballast")
    SqliteJournal(small_disk / "j.db")._db.close()


LIMITED = """
import asyncio, resource, signal, sys
from agentflow import SqliteJournal
from agentflow.exceptions import JournalUnwritable
from tests.journal.examples import chain
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    journal = SqliteJournal(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    events = chain("r", 300, size=300)
    n = 0
    try:
        while True:
            await journal.append("r", events[n : n + 1])
            n += 1
    except JournalUnwritable as error:
        print(error, error.hint, sep=";")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    kept = len(await journal.read("r"))
    await journal.append("r", events[n : n + 1])
    print(n, kept, len(await journal.read("r")))
    await journal.close()
asyncio.run(main())
"""


def test_a_disk_that_fails_in_the_middle(tmp_path: Path) -> None:
    """An error of the disk, other than that it is full, is said with what SQLite calls it; afterwards work goes on."""
    error, counts = begun(LIMITED, tmp_path / "j.db").communicate()[0].splitlines()
    n, kept, after = map(int, counts.split())

    assert (
        "cannot be written: disk I/O error (SQLITE_IOERR_WRITE);see whether the disk has room and works"
        in error
    )
    assert (kept, after) == (n, n + 1)
    assert n > 10


READ_ONLY = """
import os, sys
from agentflow import SqliteJournal
from agentflow.exceptions import JournalUnwritable
if os.getuid() == 0:
    os.setuid(65534)
try:
    SqliteJournal(sys.argv[1])
except JournalUnwritable as error:
    print(error.hint)
"""


def allow(folder: Path, mode: int) -> None:
    folder.chmod(mode)


@pytest.mark.parametrize("there", [True, False])
async def test_a_folder_that_may_not_be_written(there: bool) -> None:
    """Opening to write says at once that it may not, whether the file is there or would have to be made."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if there:
            SqliteJournal(folder / "j.db")._db.close()

        allow(folder, 0o555)
        said = begun(READ_ONLY, folder / "j.db").communicate()[0]
        allow(folder, 0o755)

    assert said.startswith(f"make {folder} and the file writable, then resume the run")


def synced(journal: SqliteJournal) -> list[str]:
    """The statements about syncing from here on."""
    asked: list[str] = []
    journal._db.set_trace_callback(lambda text: asked.append(text) if "synchronous" in text else None)
    return asked


async def test_a_durable_append_is_synced(tmp_path: Path) -> None:
    """It is on disk when it returns, and only it: the setting of the journal is as before, also after an error."""
    journal = SqliteJournal(tmp_path / "j.db")
    asked = synced(journal)
    await journal.append("r", chain("r", 2))
    assert asked == []
    await journal.append("r", chain("r", 3)[2:], durable=True)
    assert asked == ["pragma synchronous=full", "pragma synchronous=normal"]
    journal._db.execute("pragma query_only=1")
    with pytest.raises(JournalUnwritable):
        await journal.append("r", chain("r", 4)[3:], durable=True)

    assert journal._db.execute("pragma synchronous").fetchone()[0] == 1
    await journal.close()


async def test_a_journal_that_always_syncs_needs_no_more(tmp_path: Path) -> None:
    """Where every append is durable, asking for it changes nothing."""
    journal = SqliteJournal(tmp_path / "j.db", synchronous="FULL")
    asked = synced(journal)
    await journal.append("r", chain("r", 2), durable=True)

    assert asked == []
    assert await journal.read("r") == chain("r", 2)
    assert journal._db.execute("pragma synchronous").fetchone()[0] == 2
    await journal.close()
