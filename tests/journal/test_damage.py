"""Files that are not what was written: a state that was once committed, or an error that says what is wrong."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agentflow import SqliteJournal
from agentflow.events import Event
from agentflow.exceptions import JournalDamaged, JournalError
from agentflow.journal import DAMAGED
from tests.journal.examples import chain

PAGE = 4096
EVENTS: dict[str, list[Event]] = {
    "short": chain("short", 12, size=30),
    "long": chain("long", 40, size=300),
    "large": chain("large", 6, size=9000),
}


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def put(path: Path, content: bytes) -> Path:
    """Write a file, and take away what SQLite put beside one that was there."""
    path.write_bytes(content)
    for beside in ("-wal", "-shm"):
        Path(f"{path}{beside}").unlink(missing_ok=True)

    return path


async def written(path: Path) -> bytes:
    """The bytes of a journal of these runs, all in one file."""
    journal = SqliteJournal(path)
    for run, events in EVENTS.items():
        await journal.append(run, events)

    await journal.close()
    return content_of(path)


async def look(path: Path, *, read_only: bool) -> set[str]:
    """Read everything; what is read must be what was written, and errors must be ours. Gives what was said."""
    said: set[str] = set()
    try:
        journal = SqliteJournal(path, read_only=read_only)
    except JournalError as error:
        return {str(error)}

    for run, events in EVENTS.items():
        try:
            assert await journal.read(run) == events
        except JournalError as error:
            said.add(str(error))

    try:
        rows = await journal.runs()
        if any(row.status == DAMAGED for row in rows):
            said.add("a run is listed as damaged")
        else:
            assert {row.run: (row.events, row.status) for row in rows} == {
                run: (len(events), "open") for run, events in EVENTS.items()
            }
    except JournalError as error:
        said.add(str(error))

    try:
        # What an index leads to is what was written, or said to be damaged.
        rows = [*await journal.runs(workflow="w", after=1), *await journal.runs(status=["open", "done"])]
        assert all(row.status == DAMAGED or row.events == len(EVENTS[row.run]) for row in rows)
    except JournalError as error:
        said.add(str(error))

    await journal.close()
    return said


async def looked(path: Path, content: bytes) -> set[str]:
    """What is said of a file with this content, whether it was opened to write or to read."""
    said: set[str] = set()
    for read_only in (False, True):
        said |= await look(put(path, content), read_only=read_only)

    return said


async def test_flipped_bytes(tmp_path: Path) -> None:
    """Any byte may be another: what is read is what was written, or the damage is said. Never less, never else."""
    content = await written(tmp_path / "j.db")
    chance = random.Random(7)
    said = 0
    for at in [*range(0, 100, 3), *(chance.randrange(len(content)) for _ in range(120))]:
        changed = bytearray(content)
        changed[at] ^= chance.randrange(1, 256)
        said += bool(await looked(tmp_path / "copy.db", bytes(changed)))

    assert said > 10


@pytest.mark.parametrize("what", ["zeroed", "torn", "cut"])
async def test_pages_that_are_lost(tmp_path: Path, what: str) -> None:
    """Each page, zeroed, half written or cut off with all after it: it is said, or was of no use."""
    content = await written(tmp_path / "j.db")
    chance = random.Random(3)
    for at in range(0, len(content), PAGE):
        lost = {
            "zeroed": content[:at] + bytes(PAGE) + content[at + PAGE :],
            "torn": content[: at + PAGE // 2] + chance.randbytes(PAGE // 2) + content[at + PAGE :],
            "cut": content[: at + chance.randrange(1, PAGE)],
        }[what]
        said = await looked(tmp_path / "copy.db", lost)
        assert said or what != "cut" or at + PAGE >= len(content)
        assert all("copy.db" in text for text in said)


async def test_a_page_that_was_not_written(tmp_path: Path) -> None:
    """A page that is still as it was at an earlier time, whole and well formed, is noticed."""
    journal = SqliteJournal(tmp_path / "j.db")
    for run, events in EVENTS.items():
        await journal.append(run, events[:-1])

    journal._db.execute("pragma wal_checkpoint(truncate)")
    early = (tmp_path / "j.db").read_bytes()
    for run, events in EVENTS.items():
        await journal.append(run, events[-1:])

    await journal.close()
    content = (tmp_path / "j.db").read_bytes()
    changed = [at for at in range(PAGE, len(early), PAGE) if early[at : at + PAGE] != content[at : at + PAGE]]
    for at in changed:
        assert await looked(tmp_path / "copy.db", content[:at] + early[at : at + PAGE] + content[at + PAGE :])

    assert len(changed) >= 3


async def test_the_end_of_a_run_that_is_lost_is_named(tmp_path: Path) -> None:
    """Fewer events than were written are an error that says how many, though their chain fits."""
    journal = SqliteJournal(tmp_path / "j.db")
    await journal.append("r", chain("r", 9))
    journal._db.execute("delete from events where seq > 7")
    with pytest.raises(JournalDamaged, match=r"run `r` in .*j\.db has 9 events, but 7 are there") as lost:
        await journal.read("r")

    assert "the end of this run is lost" in lost.value.hint
    with pytest.raises(JournalDamaged, match="the last that is there is event 7"):
        await journal.head("r")

    await journal.close()


async def test_a_payload_that_was_altered_is_named(tmp_path: Path) -> None:
    """A large value that is not what its digest says is damage of the event that it belongs to."""
    journal = SqliteJournal(tmp_path / "j.db")
    await journal.append("r", chain("r", 3, size=9000))
    journal._db.execute("update payloads set data = replace(data, 'xxx', 'xyx')")
    with pytest.raises(
        JournalDamaged, match=r"event 2 of run `r`.*the payload sha256:\w+ is not what was written"
    ):
        await journal.read("r")

    await journal.close()


async def test_a_run_that_an_index_does_not_find(tmp_path: Path) -> None:
    """A row that is there under its name, but not in the index, is damage, not a run that never was."""
    journal = SqliteJournal(tmp_path / "j.db")
    await journal.append("r", chain("r", 3))
    journal._db.execute("update runs set run = 's'")
    with pytest.raises(JournalDamaged, match="the row of run `s` is not what was written"):
        await journal.read("r")

    with pytest.raises(JournalDamaged):
        await journal.read("nobody")

    await journal.close()


async def test_a_run_that_only_its_row_tells_of_is_proven_all_the_same(tmp_path: Path) -> None:
    """Where the index of runs is another's, to read a run is refused, but what is kept of it is given, and so is what was pruned."""
    journal = SqliteJournal(tmp_path / "j.db")
    for run in ("r", "gone"):
        await journal.append(run, chain(run, 3))

    await journal.prune(["gone"])
    journal._db.execute("pragma writable_schema=on")
    journal._db.execute(
        """update sqlite_master set rootpage = (select rootpage from sqlite_master where name = 'sqlite_autoindex_pruned_1')
        where name = 'sqlite_autoindex_runs_1'"""
    )
    await journal.close()
    journal = SqliteJournal(tmp_path / "j.db")
    with pytest.raises(JournalDamaged):
        await journal.read("r")

    kept, gone = await journal.trail("r"), await journal.trail("gone")
    assert kept is not None
    assert gone is not None
    assert (len(kept.rows), kept.notes, gone.is_pruned) == (3, (), True)
    assert await journal.trail("nobody") is None
    await journal.close()


async def grown(path: Path) -> tuple[bytes, bytes]:
    """A journal in the middle of its life: the main file, and the log of what came after."""
    journal = SqliteJournal(path)
    for n in range(12):
        for run, events in EVENTS.items():
            if n < len(events):
                await journal.append(run, events[n : n + 1])

        if n == 3:
            journal._db.execute("pragma wal_checkpoint(truncate)")

    files = content_of(path), content_of(Path(f"{path}-wal"))
    await journal.close()
    return files


@pytest.mark.parametrize("what", ["cut", "flipped", "garbage", "longer"])
async def test_a_damaged_log(tmp_path: Path, what: str) -> None:
    """Whatever happens to the log, what is left is a state that once was: whole batches, in the order they came."""
    main, log = await grown(tmp_path / "j.db")
    chance = random.Random(5)
    for n in range(15):
        at = chance.randrange(len(log))
        lost = {
            "cut": log[:at],
            "flipped": log[:at] + bytes([log[at] ^ 255]) + log[at + 1 :],
            "garbage": chance.randbytes(at + 1),
            "longer": log + chance.randbytes(at + 1),
        }[what]
        path = put(tmp_path / f"{n}.db", main)
        put(tmp_path / f"{n}.db-wal", lost)
        await check_prefix(path)


async def check_prefix(path: Path) -> None:
    journal = SqliteJournal(path)
    counts = [len(await journal.read(run)) for run in EVENTS]
    for run, count in zip(EVENTS, counts, strict=True):
        assert await journal.read(run) == EVENTS[run][:count]

    short, long, large = counts
    assert 4 <= long <= short <= long + 1
    assert large in (6, long, long - 1, min(6, long))
    # Work goes on where it was cut.
    await journal.append("short", [*EVENTS["short"], *chain("short", 13, size=30)[12:]][short:])
    assert len(await journal.read("short")) == 13
    await journal.close()


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_file_that_was_emptied_beside_its_log(tmp_path: Path, read_only: bool) -> None:
    """A file of no bytes is a new journal, but not where a log says that there was more; the log is left alone."""
    _, log = await grown(tmp_path / "j.db")
    path = put(tmp_path / "copy.db", b"")
    put(tmp_path / "copy.db-wal", log)
    with pytest.raises(JournalDamaged, match="it is empty, but its log is not"):
        SqliteJournal(path, read_only=read_only)

    assert content_of(tmp_path / "copy.db-wal") == log


async def test_sqlite_says_more(tmp_path: Path) -> None:
    """Where SQLite finds a page broken, its own check says which."""
    content = await written(tmp_path / "j.db")
    said: set[str] = set()
    for at in range(PAGE, len(content), PAGE):
        said |= await looked(tmp_path / "copy.db", content[:at] + b"\xff" * PAGE + content[at + PAGE :])

    assert any("is damaged: database disk image is malformed (" in text for text in said)
