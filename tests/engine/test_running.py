"""Runs in the event loop: outputs, order, limits of parallel work, types, streaming, threads."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import pytest

from agentflow import (
    Context,
    Decision,
    MemoryJournal,
    Settings,
    SqliteJournal,
    Workflow,
    each,
    gather,
    run,
    step,
)
from agentflow.app import coerce_input
from agentflow.context import current
from agentflow.engine.notices import Delta
from agentflow.events import Event, StepStarted, adapter
from agentflow.exceptions import InputInvalid, JournalError, StepFailed
from agentflow.testing import run_to_end
from tests.definition.sound import (
    SOUND,
    Again,
    Edges,
    Row,
    Sound,
    inner,
    last,
    one,
    plus,
    spread,
    total,
    two,
)

colour: ContextVar[str] = ContextVar("colour", default="none")


@pytest.mark.parametrize("sound", SOUND.values(), ids=SOUND)
async def test_every_shape_runs_to_its_output(sound: Sound) -> None:
    """Each sound graph gives its output."""
    assert (await run_to_end(sound.build(), sound.value)).output == sound.output


@pytest.mark.parametrize(
    "sound", [SOUND[n] for n in ("map", "crossed joins", "nested loops", "sub-workflow in a map", "none")]
)
async def test_every_journal_keeps_the_same(sound: Sound, tmp_path: Path) -> None:
    """A run is the same events, but for their times and the order of what runs side by side, in both journals."""
    workflow = sound.build()
    kept = SqliteJournal(tmp_path / "journal.db")
    in_memory, in_file = (
        await run_to_end(workflow, sound.value),
        await run_to_end(workflow, sound.value, journal=kept),
    )
    await kept.close()

    assert in_file.output == in_memory.output
    assert sorted((e.type, getattr(e, "step", "")) for e in in_file.events) == sorted(
        (e.type, getattr(e, "step", "")) for e in in_memory.events
    )


async def test_events_are_numbered_from_one() -> None:
    """`seq` counts the events of a run without a gap."""
    ended = await run_to_end(SOUND["loop around a join"].build(), 1)

    assert [e.seq for e in ended.events] == list(range(1, len(ended.events) + 1))


async def test_branches_run_at_the_same_time() -> None:
    """The branches of a gather wait for each other here, which they could not in turn."""
    meeting = asyncio.Barrier(2)

    @step
    async def left(number: int) -> int:
        await meeting.wait()
        return number

    @step
    async def right(number: int) -> int:
        await meeting.wait()
        return number

    ended = await run_to_end(
        Workflow("w", start=one, end=gather(left, right), edges=[one >> gather(left, right)]), 1
    )

    assert ended.output == (2, 2)


async def test_no_more_items_than_allowed_run_at_once() -> None:
    """`parallel` holds for work in the event loop, and is used in full."""
    running, most = 0, 0

    @step
    async def busy(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return number

    workflow = Workflow("w", start=spread, end=total, edges=[spread >> each(busy, parallel=4) >> total])

    assert (await run_to_end(workflow, 30)).output == sum(range(30))
    assert most == 4


async def test_results_are_in_the_order_of_the_items() -> None:
    """Items that end in reverse give a list in the order of the input."""

    @step
    async def late(number: int) -> int:
        for _ in range(10 - number):
            await asyncio.sleep(0)

        return number

    mapped = each(late, parallel=10)

    assert (
        await run_to_end(Workflow("w", start=spread, end=mapped, edges=[spread >> mapped]), 10)
    ).output == list(range(10))


async def test_a_run_may_be_awaited() -> None:
    """Awaiting a run gives its output; plain data that fits is taken as input."""
    assert await run(Workflow("w", start=one, end=one), "1") == 2


async def test_an_input_that_does_not_fit_is_refused() -> None:
    """Each field that does not fit is named, with what came, before anything runs."""
    with pytest.raises(InputInvalid, match=r"`number`.*got 'much'") as refused:
        run(Workflow("w", start=row_in, end=row_in), {"number": "much"})

    assert "Row" in refused.value.hint


@step
async def row_in(row: Row) -> Row:
    return row


@pytest.mark.parametrize("value", ["half \ud800", "", 10**400, -1, 0.5, math.nan, True, b"\xff", None])
def test_a_plain_input_is_taken_as_pydantic_takes_it(value: Any) -> None:
    """A value that is exactly of the plain type that a workflow takes is what pydantic would make of it: itself."""

    @step
    async def take(value: Any) -> int:
        return 1

    workflow = Workflow("w", start=take, end=take)
    workflow.takes = type(value)

    assert coerce_input(workflow, value) is adapter(type(value)).validate_python(value)


@pytest.mark.parametrize(
    ("value", "takes", "taken"), [(True, int, 1), (1, float, 1.0), (b"a", str, "a"), (1, bool, True)]
)
def test_a_plain_input_of_another_type_is_made_into_what_is_taken(value: Any, takes: Any, taken: Any) -> None:
    """Where the type is another one, though near, pydantic decides as it always did."""

    @step
    async def take(value: Any) -> int:
        return 1

    workflow = Workflow("w", start=take, end=take)
    workflow.takes = takes
    given = coerce_input(workflow, value)

    assert (given, type(given)) == (taken, takes)


async def test_an_input_that_cannot_be_written_is_refused() -> None:
    """A value that JSON cannot hold is refused as an input, before anything runs."""

    @step
    async def take(value: Any) -> int:
        return 1

    with pytest.raises(InputInvalid, match="cannot be written as JSON"):
        run(Workflow("w", start=take, end=take), object())


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_an_output_that_cannot_be_written_fails_its_step(journal: str, tmp_path: Path) -> None:
    """An output that JSON cannot hold fails the step that gave it, in either journal, and the run is recorded to its end."""

    @step(retries=3)
    async def odd(number: int) -> Any:
        return object()

    kept = MemoryJournal() if journal == "memory" else SqliteJournal(tmp_path / "journal.db")
    ended = await run_to_end(Workflow("w", start=odd, end=odd), 1, journal=kept)

    assert (ended.result.status, ended.result.step) == ("failed", "odd#1")
    assert ended.result.error is not None
    assert ended.result.error.kind == "OutputInvalid"
    assert "its output cannot be written as JSON" in ended.result.error.message
    assert "dataclasses" in ended.result.error.hint
    assert [e.type for e in ended.events][-2:] == ["step.failed", "run.failed"]
    await kept.close()


@step
async def says_int(number: int) -> int:
    return str(number)  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


@step
async def says_row(number: int) -> Row:
    return [number]  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


@step
async def says_case(number: int) -> Again | None:
    return number  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


@step
async def says_literal(number: int) -> Literal["a"]:
    return number  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("wrong", [says_int, says_row, says_case, says_literal], ids=lambda s: s.name)
async def test_an_output_that_is_not_what_the_type_says_fails_its_step(wrong: Any) -> None:
    """A step that gives another class than its type says fails, and is not tried again."""
    ended = await run_to_end(Workflow("w", start=wrong, end=wrong), 1)

    assert ended.result.error is not None
    assert ended.result.error.kind == "OutputInvalid"
    assert "and its type says" in ended.result.error.message


async def test_a_whole_number_is_a_float() -> None:
    """A step that says float may give an int, as Python allows."""

    @step
    async def half(number: int) -> float:
        return number

    assert (await run_to_end(Workflow("w", start=half, end=half), 1)).output == 1


async def test_a_map_over_what_is_no_list_fails() -> None:
    """Where a type hides what comes, a map over text or a mapping fails and says so."""

    @step
    async def hidden(number: int) -> Any:
        return {"a": 1} if number else "text"

    for number in (0, 1):
        ended = await run_to_end(
            Workflow("w", start=hidden, end=total, edges=[hidden >> each(two) >> total]), number
        )

        assert ended.result.error is not None
        assert "maps over a list and was given" in ended.result.error.message


async def test_streamed_text_comes_between_the_events() -> None:
    """`events()` gives events as they are committed, and streamed text where it was said."""

    @step
    async def talk(number: int, ctx: Context) -> int:
        ctx.stream("a")
        await asyncio.sleep(0)
        ctx.stream("b")
        return number

    told = [e async for e in run(Workflow("w", start=talk, end=talk), 1).events()]

    assert [e.text if isinstance(e, Delta) else e.type for e in told] == [
        "run.started",
        "step.started",
        "a",
        "b",
        "step.finished",
        "run.finished",
    ]
    assert {e.step for e in told if isinstance(e, Delta)} == {"talk#1"}


async def test_an_event_is_told_when_it_is_kept() -> None:
    """Whoever is told of an event finds it in the journal."""
    journal = MemoryJournal()
    missing: list[Event] = []
    started = run(SOUND["join"].build(), 1, settings=Settings(journal=journal))
    async for event in started.events():
        if isinstance(event, StepStarted) and event not in await journal.read(started.id):
            missing.append(event)

    assert not missing


async def test_an_observer_that_fails_does_not_end_the_run() -> None:
    """A watcher's error is reported to the event loop, and the run goes on without it."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    seen: list[str] = []

    def breaks(news: Any) -> None:
        raise BrokenPipeError("nobody reads")

    def counts(news: Any) -> None:
        seen.append(news.type)

    ended = await run_to_end(SOUND["line"].build(), 1, settings={"observers": [breaks, counts]})

    assert ended.output == 7
    assert len(seen) == len(ended.events)
    assert ["observer" in r["message"] for r in reported] == [True]


async def test_plain_steps_run_in_threads_with_the_context_kept() -> None:
    """A plain function runs in another thread and sees the run's context and the caller's context variables."""
    seen: list[object] = []

    @step
    def plain(number: int, ctx: Context) -> int:
        seen.extend(
            [threading.current_thread() is threading.main_thread(), colour.get(), current() is ctx, ctx.step]
        )
        return number

    colour.set("blue")
    await run_to_end(Workflow("w", start=one, end=plain, edges=[one >> plain]), 1)

    assert seen == [False, "blue", True, "plain#1"]


async def test_what_a_plain_step_says_reaches_the_loop() -> None:
    """Files kept and text streamed from a thread arrive while the thread still works, also in debug mode."""
    listening, told = threading.Event(), threading.Event()

    @step
    def talk(number: int, ctx: Context) -> str:
        assert listening.wait(5)
        ctx.stream("hello")
        assert told.wait(5), "the text did not arrive"
        return ctx.artifact("a.txt", b"a", "text/plain")

    asyncio.get_running_loop().set_debug(True)
    started = run(Workflow("w", start=talk, end=talk), 1)
    kinds: list[str] = []
    async for event in started.events():
        kinds.append(type(event).__name__)
        if isinstance(event, StepStarted):
            # Only when this loop waits for the next event, and nothing else happens in it.
            asyncio.get_running_loop().call_later(0.02, listening.set)
        elif isinstance(event, Delta):
            told.set()

    assert kinds == ["RunStarted", "StepStarted", "Delta", "ArtifactKept", "StepFinished", "RunFinished"]


async def test_a_wrapped_async_function_is_awaited() -> None:
    """A plain wrapper around an async function is a step like the function."""

    def wrapper(number: int) -> Any:
        return one.function(number)

    wrapper.__annotations__["return"] = int
    wrapped = step(wrapper)

    assert (await run_to_end(Workflow("w", start=wrapped, end=wrapped), 1)).output == 2


async def test_steps_read_earlier_outputs() -> None:
    """`ctx.output` gives the latest output of a step, of a map as a list, and of the same visit in a sub-workflow."""
    assert (await run_to_end(SOUND["reads over a join"].build(), 1)).output == 14203
    assert (await run_to_end(SOUND["reads a map"].build(), 3)).output == 12

    @step
    async def remember(number: int, ctx: Context) -> int:
        return ctx.output(one) * 100 + number

    visit = Workflow("visit", start=one, end=remember, edges=[one >> two >> remember])
    ended = await run_to_end(
        Workflow("w", start=spread, end=(visits := each(visit)), edges=[spread >> visits]), 3
    )

    assert ended.output == [103, 204, 305]


async def test_reading_what_is_not_there_is_an_error_that_says_so() -> None:
    """A step that is no part of the workflow, or has not run yet, cannot be read."""

    @step
    async def ask(number: int, ctx: Context) -> int:
        steps = {"one": one, "last": last}
        return ctx.output(steps["one" if number else "last"])

    workflow = Workflow("w", start=ask, end=last, edges=[ask >> last])
    with pytest.raises(StepFailed, match="there is no step `one`"):
        await run(workflow, 1)

    with pytest.raises(StepFailed, match="`last` has no output yet"):
        await run(workflow, 0)


async def test_what_a_step_knows_of_its_run() -> None:
    """Run, step, attempt, input, model and an idempotency key that stays the same over attempts."""
    seen: list[tuple[Any, ...]] = []

    @step(retries=1)
    async def look(number: int, ctx: Context) -> int:
        seen.append((ctx.run_id, ctx.step, ctx.attempt, ctx.input, ctx.model, ctx.idempotency_key))
        if ctx.attempt == 1:
            raise ValueError("again")

        return number

    quick = Workflow("w", start=one, end=look, edges=[one >> look])
    look.retry = None if look.retry is None else type(look.retry)(times=1, delay=0)
    quick = Workflow("w", start=one, end=look, edges=[one >> look])
    ended = await run_to_end(quick, 1)
    id_ = ended.result.run_id

    assert seen == [
        (id_, "look#1", 1, 1, "embedded", f"{id_}:look#1"),
        (id_, "look#1", 2, 1, "embedded", f"{id_}:look#1"),
    ]


async def test_a_scope_is_entered_around_each_step() -> None:
    """What a scope sets is there while the step runs, with its activation and attempt."""

    @contextmanager
    def scope(activation: str, attempt: int) -> Generator[None, None, None]:
        token = colour.set(f"{activation}/{attempt}")
        yield
        colour.reset(token)

    @step
    async def look(number: int) -> str:
        return colour.get()

    ended = await run_to_end(Workflow("w", start=look, end=look), 1, settings={"scope": scope})

    assert ended.output == "look#1/1"


async def test_a_run_id_can_be_used_once() -> None:
    """A second run under the same name in one journal is refused before it does anything."""
    journal = MemoryJournal()
    await run(SOUND["line"].build(), 1, run_id="same", settings=Settings(journal=journal))
    with pytest.raises(JournalError, match="`same`"):
        await run(SOUND["line"].build(), 1, run_id="same", settings=Settings(journal=journal))


async def test_steps_of_a_sub_workflow_see_the_whole_runs_input() -> None:
    """`ctx.input` is what the run was given, wherever the step stands."""

    @step
    async def look(number: int, ctx: Context) -> int:
        given: int = ctx.input
        return number * 10 + given

    visit = Workflow("visit", start=look, end=look)

    assert (await run_to_end(Workflow("w", start=one, end=visit, edges=[one >> visit]), 1)).output == 21


async def test_a_sub_workflow_that_leaves_its_join_stops_what_is_left() -> None:
    """The first to reach the end of a sub-workflow ends it: its other branch is cancelled, and the run goes on."""
    stopped: list[int] = []

    @step
    async def slow(number: int) -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.append(number)
            raise

        return number

    @step
    async def quick(number: int) -> int | str:
        return "done" if number else 0

    @step
    async def size(text: str) -> int:
        return len(text)

    @step
    async def ones(number: int) -> list[int]:
        return [1] * number

    edges: Edges = [last >> gather(quick.on(int), slow) >> plus >> two, quick.on(str) >> size >> two]
    visit = Workflow("visit", start=last, end=two, edges=edges)
    ended = await run_to_end(Workflow("w", start=ones, end=total, edges=[ones >> each(visit) >> total]), 3)

    assert ended.output == 18
    assert stopped == [1, 1, 1]


async def test_decisions_may_come_from_an_approver() -> None:
    """An approver that answers later leaves the run waiting, and says who decided."""

    async def nobody(pending: Any) -> Decision | None:
        return None

    result = await run(SOUND["approval"].build(), 1, settings=Settings(approver=nobody)).result()

    assert (result.status, [p.step for p in result.pending], result.pending[0].subject) == (
        "waiting",
        ["approve#1"],
        2,
    )


async def test_a_lone_step_and_a_parallel_one_are_treated_alike() -> None:
    """A step that shares the loop with nothing runs in the driver, and gives and records the same."""
    alone = await run_to_end(Workflow("w", start=last, end=two, edges=[last >> inner >> two]), 1)

    assert alone.output == 11
    assert all(a.seq < b.seq for a, b in zip(alone.events, alone.events[1:], strict=False))
