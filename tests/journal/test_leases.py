"""Leases, by which one process alone drives a run, and requests to it: the same over memory and SQLite."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from agentflow import SqliteJournal
from agentflow.exceptions import JournalDamaged, JournalUnwritable
from agentflow.journal import Journal, Lease
from agentflow.journal.owner import new_owner
from tests.journal.examples import chain, started
from tests.journal.processes import begun, together

LATER = time.time_ns() + 3_600_000_000_000
NAMED = "from agentflow.journal.owner import new_owner; print(new_owner())"


async def test_a_run_is_claimed_once(journal: Journal) -> None:
    """The first gets it, also before the run began; the second is told who has it; the first may renew."""
    assert await journal.claim("r", "a", LATER) is None
    assert await journal.claim("r", "b", LATER) == Lease(run="r", owner="a", until=LATER)
    assert await journal.claim("r", "a", LATER + 5) is None
    assert await journal.holder("r") == Lease(run="r", owner="a", until=LATER + 5)
    assert await journal.claim("s", "b", LATER) is None


async def test_a_lease_that_was_given_back(journal: Journal) -> None:
    """It is free again; giving back what is another's does nothing."""
    await journal.claim("r", "a", LATER)
    await journal.release("r", "b")
    await journal.release("nothing", "a")
    assert await journal.holder("r") is not None

    await journal.release("r", "a")

    assert await journal.holder("r") is None
    assert await journal.claim("r", "b", LATER) is None


async def test_a_lease_whose_time_is_over(journal: Journal) -> None:
    """Without a sign of life it is taken over, and then it is no longer the first one's."""
    await journal.claim("r", "a", time.time_ns() - 1)
    assert await journal.holder("r") is None
    assert await journal.claim("r", "b", LATER) is None
    assert (await journal.claim("r", "a", LATER) or Lease(run="", owner="", until=0)).owner == "b"


async def test_the_lease_of_a_dead_process(journal: Journal) -> None:
    """Who surely runs no more is not waited for."""
    other = begun(NAMED)
    dead = other.communicate()[0].strip()
    await journal.claim("r", dead, LATER)

    assert await journal.holder("r") is None
    assert await journal.claim("r", new_owner(), LATER) is None


CLAIM = """
import asyncio, sys
from agentflow import SqliteJournal
async def main():
    journal = SqliteJournal(sys.argv[2])
    print("ready", flush=True)
    input()
    for n in range(100):
        if await journal.claim(f"r{n}", sys.argv[1], 10**19 // 2) is None:
            print(n)
asyncio.run(main())
"""


def test_of_many_processes_one_gets_a_run(tmp_path: Path) -> None:
    """Whoever asks at the same moment, each run has one driver."""
    SqliteJournal(tmp_path / "j.db")._db.close()
    lines = together(CLAIM, tmp_path / "j.db")
    won = Counter(line for printed in lines for line in printed)

    assert won == {str(n): 1 for n in range(100)}


async def test_lists_tell_the_runs_of_the_living(journal: Journal) -> None:
    """Of many runs those are running whose process lives, and whose lease is not over; whoever else the process drives."""
    dead = begun(NAMED).communicate()[0].strip()
    for number, (owner, until) in enumerate(
        [(dead, LATER), (new_owner(), LATER), (dead, LATER), (new_owner(), 1), (new_owner(), LATER)]
    ):
        await journal.append(f"r{number}", [started(f"r{number}", at=number)])
        await journal.claim(f"r{number}", owner, until)

    assert [row.run for row in await journal.runs(status=["running"])] == ["r4", "r1"]
    assert [row.run for row in await journal.runs(status=["open"])] == ["r3", "r2", "r0"]


async def test_many_leases_are_renewed_at_once(journal: Journal) -> None:
    """Ours stand longer, those that nobody has are taken, and those that another one has are told."""
    await journal.claim("r", "a", LATER)
    await journal.claim("s", "b", LATER)
    await journal.claim("t", "b", time.time_ns() - 1)
    taken = await journal.renew([("r", "a"), ("s", "a"), ("t", "a"), ("u", "a")], LATER + 5)

    assert taken == [Lease(run="s", owner="b", until=LATER)]
    assert [await journal.holder(run) for run in "rtu"] == [
        Lease(run=run, owner="a", until=LATER + 5) for run in "rtu"
    ]
    assert await journal.renew([], LATER) == []


async def test_the_runs_that_have_requests(journal: Journal) -> None:
    """A run is named while it has a request."""
    assert set(await journal.requested()) == set()
    sent = await journal.send("r", 1)
    await journal.send("r", 2)
    await journal.send("s", 3)
    assert set(await journal.requested()) == {"r", "s"}
    await journal.take("s", sent + 2)
    await journal.take("r", sent)
    assert set(await journal.requested()) == {"r"}
    await journal.take("r", sent + 1)
    await journal.take("nobody", 1)
    assert set(await journal.requested()) == set()


async def test_requests_are_read_in_order_and_taken_once(journal: Journal) -> None:
    """They wait, oldest first, until each is taken; a number is not given twice."""
    first = await journal.send("r", {"cancel": "too slow"})
    second = await journal.send("r", [1, None, "ü"])
    await journal.send("s", 3)
    kept = await journal.requests("r")

    assert [(one.id, one.run, one.body) for one in kept] == [
        (first, "r", {"cancel": "too slow"}),
        (second, "r", [1, None, "ü"]),
    ]
    assert kept[0].at <= kept[1].at <= time.time_ns()
    assert (await journal.take("r", second), await journal.take("r", second)) == (True, False)
    assert not await journal.take("s", first)
    assert [one.id for one in await journal.requests("r")] == [first]
    assert await journal.send("r", 0) not in (first, second)
    assert await journal.requests("nobody") == []


async def test_what_was_sent_is_kept_as_it_was(journal: Journal) -> None:
    """A body is data: what its sender or a reader does to it afterwards changes nothing."""
    body = {"a": [1]}
    await journal.send("r", body)
    body["a"].append(2)
    (await journal.requests("r")).clear()
    with pytest.raises(TypeError):
        await journal.send("r", object())

    assert [one.body for one in await journal.requests("r")] == [{"a": [1]}]


async def test_requests_of_another_process_are_seen(tmp_path: Path) -> None:
    """What others leave or take away is seen at the next look, and while nothing changes no table is read."""
    ours, other = SqliteJournal(tmp_path / "j.db"), SqliteJournal(tmp_path / "j.db")
    assert await ours.requests("r") == []
    sent = await other.send("r", 1)
    assert [one.id for one in await ours.requests("r")] == [sent]

    assert set(await ours.requested()) == {"r"}
    asked: list[str] = []
    ours._db.set_trace_callback(asked.append)
    for _ in range(5):
        await ours.requests("r")
        await ours.requested()

    assert set(asked) == {"pragma data_version"}
    ours._db.set_trace_callback(None)
    assert await other.take("r", sent)
    assert await ours.requests("r") == []
    assert set(await ours.requested()) == set()
    await ours.close()
    await other.close()


async def test_a_journal_to_read_takes_nothing(tmp_path: Path) -> None:
    """Neither leases nor requests can be written to what was opened to be read."""
    journal = SqliteJournal(tmp_path / "j.db")
    await journal.append("r", chain("r", 1))
    await journal.claim("r", "a", LATER)
    await journal.send("r", 1)
    reader = SqliteJournal(tmp_path / "j.db", read_only=True)

    assert (await reader.holder("r") or Lease(run="", owner="", until=0)).owner == "a"
    assert len(await reader.requests("r")) == 1
    with pytest.raises(JournalUnwritable, match="readonly") as refused:
        await reader.claim("r", "b", LATER)

    assert refused.value.hint == "it was opened to be read only"
    with pytest.raises(JournalUnwritable):
        await reader.send("r", 1)

    await journal.close()
    await reader.close()


@pytest.mark.parametrize("statement", ["set until = 'x'", "set owner = x'00'"])
async def test_a_damaged_lease_is_said(tmp_path: Path, statement: str) -> None:
    """What is not what was written is no lease, but damage."""
    journal = SqliteJournal(tmp_path / "j.db")
    await journal.append("r", chain("r", 2))
    await journal.claim("r", "a", LATER)
    journal._db.execute(f"update leases {statement}")
    for asked in (journal.holder("r"), journal.claim("r", "b", LATER), journal.runs()):
        with pytest.raises(JournalDamaged, match="a lease is not what was written"):
            await asked

    await journal.close()


async def test_a_damaged_request_is_said(tmp_path: Path) -> None:
    """A request that cannot be read is damage."""
    journal = SqliteJournal(tmp_path / "j.db")
    await journal.send("r", 1)
    journal._db.execute("update requests set body = '{'")
    with pytest.raises(JournalDamaged, match="a request is not what was written"):
        await journal.requests("r")

    await journal.close()
