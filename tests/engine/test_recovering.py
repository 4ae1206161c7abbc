"""Runs that are taken up from a journal in the event loop: cut anywhere, with the values and failures that they had."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentflow import (
    MemoryJournal,
    Settings,
    SqliteJournal,
    Workflow,
    each,
    gather,
    resume,
    run,
    step,
)
from agentflow.app import compile_workflow
from agentflow.encoding import decode, encode
from agentflow.engine.runner import Runner
from agentflow.events import Event, StepFinished
from agentflow.testing import run_to_end
from tests.definition.sound import (
    SOUND,
    Again,
    Big,
    Edges,
    Sound,
    last,
    opened,
    spread,
    total,
    two,
)
from tests.engine.driving import approve_all, take_up
from tests.engine.watching import until


async def cut_and_resume(sound: Sound, cut: int, events: list[Event], journal: Any, name: str) -> Any:
    """Put the first `cut` events into a journal, as text and back, and resume the run from there."""
    workflow = sound.build()
    await journal.append(name, [decode(encode(e)) for e in events[:cut]])
    program = compile_workflow(workflow)
    runner = Runner(program, journal, name)
    take_up(runner, await journal.read(name))
    state = await asyncio.wait_for(runner.drive(), 10)
    while runner.waiting():
        approve_all(runner)
        state = await runner.drive()

    return state.output.value(program.gives) if state.output is not None else state


@pytest.mark.parametrize(
    "name", [n for n in SOUND if n not in ("nested loops", "sub-workflow in a map in a loop")]
)
async def test_a_journal_that_is_cut_anywhere_recovers(name: str) -> None:
    """For each shape, a run that died after any of its events is resumed to the same output."""
    sound = SOUND[name]
    events = list((await run_to_end(sound.build(), sound.value)).events)
    for cut in range(1, len(events)):
        assert await cut_and_resume(sound, cut, events, MemoryJournal(), "r") == sound.output, cut


@pytest.mark.parametrize("name", ["sub-workflow in a map", "approval", "join of joins"])
async def test_a_file_that_is_cut_anywhere_recovers(name: str, tmp_path: Path) -> None:
    """The same from SQLite, read by a connection that has seen nothing."""
    sound = SOUND[name]
    events = list((await run_to_end(sound.build(), sound.value)).events)
    for cut in range(1, len(events)):
        journal = SqliteJournal(tmp_path / "j.db")

        assert await cut_and_resume(sound, cut, events, journal, f"r{cut}") == sound.output, cut
        await journal.close()


@pytest.mark.parametrize("name", ["nested loops", "sub-workflow in a map in a loop"])
async def test_a_long_journal_that_is_cut_recovers(name: str) -> None:
    """Cuts all along a run of hundreds of events are recovered as well."""
    sound = SOUND[name]
    events = list((await run_to_end(sound.build(), sound.value)).events)
    for cut in range(1, len(events), len(events) // 12):
        assert await cut_and_resume(sound, cut, events, MemoryJournal(), "r") == sound.output, cut


async def test_a_resumed_step_gets_what_it_got_before() -> None:
    """A value that was read back is of the type that its step gave, not of the wider one that the next step takes."""
    seen: list[type] = []
    hold = asyncio.Event()

    @step
    async def makes(number: int) -> Big | int:
        return Big(number=number) if number else 0

    @step
    async def uses(again: Again) -> int:
        seen.append(type(again))
        if not hold.is_set():
            await asyncio.sleep(3600)

        return again.number

    edges: Edges = [makes.on(Big) >> uses >> last, makes.on(int) >> last]
    workflow = Workflow("w", start=makes, end=last, edges=edges)
    journal = MemoryJournal()
    started = run(workflow, 1, settings=Settings(journal=journal))
    task = started.start()
    await until(lambda: bool(seen))
    started.interrupt()
    await task
    hold.set()
    kept = [decode(encode(e)) for e in await journal.read(started.id)]
    fresh = MemoryJournal()
    await fresh.append(started.id, kept)
    again = await resume(workflow, started.id, settings=Settings(journal=fresh))

    assert await again == 1
    assert seen == [Big, Big]


async def test_two_readers_of_one_value_each_get_their_type() -> None:
    """A value that was read back as plain data is read as what each step takes."""

    @step
    async def loose(number: int) -> Any:
        return {"number": number}

    @step
    async def as_again(value: Again) -> int:
        return value.number

    @step
    async def as_big(value: Big) -> int:
        return value.number * (10 if type(value) is Big else -1)

    join = gather(as_again, as_big)
    workflow = Workflow("w", start=loose, end=join, edges=[loose >> join])
    journal = MemoryJournal()
    whole = await run(workflow, 3, settings=Settings(journal=journal)).result()
    events = await journal.read(whole.run_id)
    ended = next(n for n, e in enumerate(events, 1) if isinstance(e, StepFinished))
    fresh = MemoryJournal()
    await fresh.append("r", [decode(encode(e)) for e in events[:ended]])
    again = await resume(workflow, "r", settings=Settings(journal=fresh))

    assert await again == (3, 30)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Workflow("w", start=last, end=two, edges=[last >> looping_inside() >> two]),
        lambda: Workflow("w", start=spread, end=total, edges=[spread >> each(looping_inside()) >> total]),
    ],
)
async def test_a_failure_inside_of_a_sub_workflow_is_the_same_after_a_resume(
    build: Callable[[], Workflow[int, int]],
) -> None:
    """Resuming a run that hit a bound inside of a sub-workflow fails for that reason again, and does not hang."""
    journal = MemoryJournal()
    failed = await run(build(), 1, settings=Settings(journal=journal)).result()
    again = await resume(build(), failed.run_id, settings=Settings(journal=journal))
    result = await asyncio.wait_for(again.result(), 5)

    assert (failed.status, result.status) == ("failed", "failed")
    assert result.error == failed.error
    assert (await journal.read(failed.run_id))[-1].type == "run.failed"


def looping_inside() -> Workflow[int, int]:
    """A sub-workflow whose loop is not bounded enough."""

    @step
    async def never(number: int) -> int | Again:
        return Again(number=number)

    return Workflow(
        "loops",
        start=never,
        end=last,
        edges=[never.on(Again, at_most=2) >> opened >> never, never.on(int) >> last],
    )
