"""Record the journals of a release: `python -m tests.journal.releases.record FOLDER`, with that release on the path."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from agentflow import Settings, SqliteJournal, run
from tests.journal.releases import recorded

FILES = {
    "writing": "done.db",
    "signing": "waiting.db",
    "counting": "interrupted.db",
    "failing": "failed.db",
    "asking": "cut.db",
}


async def record(name: str, path: Path) -> None:
    """Run one workflow into a new journal, and stop it where it is to stop."""
    recorded.HOLDING = name in ("counting", "asking")
    models: dict[str, Any] = {}
    if name == "asking":
        models = {"model": "scripted/test", "models": {"test": recorded.answers()}}

    journal = SqliteJournal(path)
    going = run(
        recorded.WORKFLOWS[name],
        recorded.INPUTS[name],
        run_id=f"{name}-1",
        settings=Settings(journal=journal, **models),
    )
    async for event in going.events():
        if getattr(event, "step", "") == "slow#1":
            going.interrupt("asked to stop")

        if getattr(event, "name", "") == "delivery":
            os.kill(os.getpid(), signal.SIGKILL)

    await journal.close()


def settle(path: Path) -> None:
    """Bring everything into the one file."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma wal_checkpoint(truncate)")
    db.execute("vacuum")
    db.execute("pragma wal_checkpoint(truncate)")
    db.close()


def main(folder: Path) -> None:
    """Each in a process of its own, as one of them kills itself."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in FILES.items():
        subprocess.run([sys.executable, "-m", __spec__.name, str(folder / file), name], check=False)
        settle(folder / file)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if len(sys.argv) > 2:
        asyncio.run(record(sys.argv[2], target))
    else:
        main(target)
