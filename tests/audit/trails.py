"""Runs of each kind of life that a run may have, as events; and what a journal and a collector hold of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from agentflow import Context, MemoryJournal, Settings, Workflow, resume, run, step
from agentflow.app import cancel
from agentflow.events import Event
from agentflow.journal import Trail
from agentflow.tracing.document import otlp_json
from agentflow.tracing.spans import spans_of
from tests.tracing import ordering, workflows
from tests.tracing.test_durable import after, before


@step
async def large(text: str) -> list[str]:
    return [f"{text} {number}" for number in range(3000)]


@step
async def small(texts: list[str]) -> int:
    return len(texts)


_fails = [True]


@step
async def shaky(number: int, ctx: Context) -> int:
    if _fails[0]:
        raise ValueError(f"“{number}” cannot be worked on")

    return number


big = Workflow("big", start=large, end=small, edges=[large >> small])
failing = Workflow(
    "failing", start=workflows.given, end=workflows.ends, edges=[workflows.given >> shaky >> workflows.ends]
)


async def _plain(workflow: Workflow[Any, Any], value: Any) -> list[Event]:
    journal = MemoryJournal()
    await run(workflow, value, run_id="r", settings=Settings(journal=journal)).result()
    return await journal.read("r")


async def _ordered() -> list[Event]:
    journal = MemoryJournal()
    await run(ordering.ordering, "go", run_id="r", settings=ordering.settings(journal)).result()
    await ordering.finished(journal)
    return await journal.read("r")


async def _cut() -> list[Event]:
    """Cut off with its process in the middle, then finished by others."""
    journal = await ordering.cut(await _ordered(), 23)
    await ordering.finished(journal)
    return await journal.read("r")


async def _moved() -> list[Event]:
    journal = MemoryJournal()
    await run(before, "x", run_id="r", settings=Settings(journal=journal)).result()
    await ordering.answered(await resume(after, "r", settings=Settings(journal=journal), migrate=True))
    return await journal.read("r")


async def _failed(end: str) -> list[Event]:
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    _fails[0] = True
    await run(failing, 3, run_id="r", settings=settings).result()
    await (await resume(failing, "r", settings=settings)).result()
    if end == "cancelled":
        await cancel(journal, "r", reason="no more", by="ann")
    elif end == "done":
        _fails[0] = False
        await (await resume(failing, "r", settings=settings)).result()

    return await journal.read("r")


async def _interrupted() -> list[Event]:
    journal = MemoryJournal()
    settings = ordering.settings(journal)
    going = run(ordering.ordering, "go", run_id="r", settings=settings)
    going.runner.observers.append(
        lambda event: going.interrupt("SIGTERM") if getattr(event, "seq", 0) == 20 else None
    )
    await going.result()
    await ordering.finished(journal)
    return await journal.read("r")


@cache
def trails() -> dict[str, list[Event]]:
    """The events of each run, by what became of it."""

    async def made() -> dict[str, list[Event]]:
        return {
            "asked and answered": await _ordered(),
            "cut off": await _cut(),
            "moved": await _moved(),
            "failed": await _failed(""),
            "failed and cancelled": await _failed("cancelled"),
            "failed and done": await _failed("done"),
            "interrupted": await _interrupted(),
            "a map in a workflow": await _plain(workflows.counting, "a flaky word"),
            "mapped workflows": await _plain(workflows.nested, "a flaky word"),
            "a loop": await _plain(workflows.branching, 3),
            "large": await _plain(big, "line"),
        }

    return asyncio.run(made())


def trail_of(events: Sequence[Event]) -> Trail:
    """What a journal holds of a run."""

    async def kept() -> Trail | None:
        journal = MemoryJournal()
        await journal.append("r", events)
        return await journal.trail("r")

    found = asyncio.run(kept())
    assert found is not None
    return found


def document_of(events: Sequence[Event], *, content: bool = True) -> Any:
    """What a collector was told of a run, as JSON data of its own."""
    return json.loads(json.dumps(otlp_json(spans_of(events, with_records=True), content=content)))


def spans_in_document(document: Any) -> list[dict[str, Any]]:
    """The spans of a document, which may be changed in place."""
    found: list[dict[str, Any]] = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    return found
