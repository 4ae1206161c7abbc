"""Asking a person on the terminal."""

from __future__ import annotations

import asyncio
import sys

from agentflow import app
from agentflow.cli.output import out
from agentflow.cli.pending import print_question
from agentflow.cli.view import RunView


def asker(view: RunView) -> app.Approver:
    """Puts what is to be approved to the person at the terminal, while the view leaves it alone."""

    async def ask(pending: app.Pending) -> app.Decision | None:
        with view.paused():
            return await _ask_person(pending)

    return ask


async def _ask_person(pending: app.Pending) -> app.Decision | None:
    out.print()
    print_question(pending)
    answer = await _typed("approve? [y]es, [n]o, anything else to decide later: ")
    if answer.strip().lower()[:1] not in ("y", "n"):
        return None

    return app.Decision(approved=answer.strip().lower().startswith("y"))


async def _typed(question: str) -> str:
    """A line from the terminal; a cancelled question leaves nothing behind that would take the next line."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()
    sys.stdout.write(question)
    sys.stdout.flush()

    def read() -> None:
        if not line.done():
            line.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin, read)
    try:
        return await line
    finally:
        loop.remove_reader(sys.stdin)
