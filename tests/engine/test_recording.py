"""What steps leave behind: operations, files, shared objects, and what they close."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentflow import (
    Context,
    Decision,
    MemoryJournal,
    RunError,
    Settings,
    Workflow,
    each,
    operation,
    resume,
    run,
    step,
)
from agentflow.events import ArtifactKept, OperationFinished, OperationStarted
from agentflow.testing import run_to_end
from tests.definition.sound import (
    approve,
    spread,
    total,
)


async def test_operations_are_recorded_before_and_after() -> None:
    """An operation is an intent and an outcome, nested as they were opened, with what was asked and what came."""

    @step
    async def work(number: int) -> int:
        async with operation("agent", "outer", request={"n": number}, depth=1) as outer:
            async with operation("tool", "inner") as inner_:
                inner_.result = [1, 2]
                inner_.attributes["seen"] = True

            outer.usage = {"input_tokens": 3}

        return number

    ended = await run_to_end(Workflow("w", start=work, end=work), 1)
    started = [e for e in ended.events if isinstance(e, OperationStarted)]
    finished = [e for e in ended.events if isinstance(e, OperationFinished)]

    assert [(e.operation, e.name, e.parent) for e in started] == [
        ("1.1", "outer", ""),
        ("1.2", "inner", "1.1"),
    ]
    assert started[0].request is not None
    assert started[0].request.data == {"n": 1}
    assert started[0].attributes == {"depth": 1}
    assert [e.operation for e in finished] == ["1.2", "1.1"]
    assert finished[0].result is not None
    assert (finished[0].result.data, finished[0].attributes, finished[1].usage) == (
        [1, 2],
        {"seen": True},
        {"input_tokens": 3},
    )


async def test_parallel_operations_keep_their_parents() -> None:
    """Operations that run side by side under one are its children, not each other's."""

    @step
    async def work(number: int) -> int:
        async def call(name: str) -> None:
            async with operation("tool", name):
                await asyncio.sleep(0)

        async with operation("agent", "outer"):
            await asyncio.gather(call("a"), call("b"))

        async with operation("tool", "after"):
            return number

    ended = await run_to_end(Workflow("w", start=work, end=work), 1)
    parents = {e.name: e.parent for e in ended.events if isinstance(e, OperationStarted)}

    assert parents == {"outer": "", "a": "1.1", "b": "1.1", "after": ""}


async def test_an_operation_that_fails_is_recorded_with_its_error() -> None:
    """What an operation raised stands in its outcome, and goes on to the step."""

    @step
    async def work(number: int) -> int:
        async with operation("tool", "t"):
            raise KeyError("lost")

    ended = await run_to_end(Workflow("w", start=work, end=work), 1)
    (finished,) = [e for e in ended.events if isinstance(e, OperationFinished)]

    assert finished.error is not None
    assert finished.error.kind == "KeyError"
    assert isinstance(ended.result.cause, KeyError)


@pytest.mark.parametrize("part", ["request", "result"])
async def test_an_operation_that_cannot_be_written_fails(part: str) -> None:
    """What was asked or what came must fit into the journal; if not, the step learns it, and the run goes on if it can."""
    caught: list[str] = []

    @step
    async def work(number: int) -> int:
        try:
            async with operation("tool", "t", request=object() if part == "request" else None) as record:
                record.result = object()
        except RunError as error:
            caught.append(str(error))

        return number

    ended = await run_to_end(Workflow("w", start=work, end=work), 1)
    outcomes = [e for e in ended.events if isinstance(e, OperationFinished)]

    assert ended.output == 1
    assert "cannot be written as JSON" in caught[0]
    assert [e.error is not None for e in outcomes] == ([] if part == "request" else [True])


def read(path: str) -> bytes:
    """What stands in a file."""
    return Path(path).read_bytes()


async def test_files_are_kept_beside_the_run(tmp_path: Path) -> None:
    """A file is written under the run's folder and recorded with its digest."""

    @step
    async def keep(number: int, ctx: Context) -> str:
        return ctx.artifact("a/b.txt", b"abc", "text/plain")

    ended = await run_to_end(Workflow("w", start=keep, end=keep), 1, settings={"root": tmp_path})
    (kept,) = [e for e in ended.events if isinstance(e, ArtifactKept)]

    assert Path(ended.output) == tmp_path / "traces" / "artifacts" / ended.result.run_id / "a_b.txt"
    assert read(kept.path) == b"abc"
    assert (kept.size, kept.digest[:14], kept.media_type) == (3, "sha256:ba7816b", "text/plain")


async def test_files_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    """Items that keep a file of one name keep each their own; another attempt of one item replaces its file."""

    @step
    async def keep(number: int, ctx: Context) -> str:
        ctx.artifact("plot.png", b"draft")
        return ctx.artifact("plot.png", str(number).encode())

    kept = each(keep)
    ended = await run_to_end(
        Workflow("w", start=spread, end=kept, edges=[spread >> kept]), 4, settings={"root": tmp_path}
    )

    assert [read(p) for p in ended.output] == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("name", ["", ".", "..", "../.."])
async def test_a_file_needs_a_name(name: str, tmp_path: Path) -> None:
    """A name that is no file's is refused, and nothing is written outside of the run's folder."""

    @step
    async def keep(number: int, ctx: Context) -> str:
        return ctx.artifact(name, b"")

    ended = await run_to_end(Workflow("w", start=keep, end=keep), 1, settings={"root": tmp_path})

    if name == "../..":
        assert Path(ended.output).parent.parent == tmp_path / "traces" / "artifacts"
    else:
        assert ended.result.error is not None
        assert "no name for a file" in ended.result.error.message


async def test_what_is_shared_is_made_once_and_closed() -> None:
    """Steps share an object that the first of them made, also from threads; it is closed in reverse order at the end."""
    made, closed = [], list[str]()

    def make() -> object:
        made.append(object())
        return made[-1]

    async def close(name: str) -> None:
        closed.append(name)

    @step
    def plain(number: int, ctx: Context) -> int:
        ctx.shared("thing", make)
        ctx.on_close(lambda: close(f"{number}"))
        return number

    await run_to_end(
        Workflow("w", start=spread, end=total, edges=[spread >> each(plain, parallel=4) >> total]), 4
    )

    assert len(made) == 1
    assert sorted(closed) == ["0", "1", "2", "3"]


async def test_what_was_closed_is_made_anew() -> None:
    """A run that waited for a person closed what it had; after the answer a step gets a new one, not the closed one."""
    log: list[str] = []

    class Thing:
        def __init__(self, ctx: Context) -> None:
            self.open = True
            ctx.on_close(self.close)
            log.append("made")

        async def close(self) -> None:
            self.open = False
            log.append("closed")

    @step
    async def before(number: int, ctx: Context) -> int:
        return number if ctx.shared("thing", lambda: Thing(ctx)).open else -1

    @step
    async def after(number: int, ctx: Context) -> int:
        return number if ctx.shared("thing", lambda: Thing(ctx)).open else -1

    workflow = Workflow("w", start=before, end=after, edges=[before >> approve >> after])
    settings = Settings(journal=MemoryJournal())
    waiting = await run(workflow, 1, settings=settings).result()
    again = await resume(workflow, waiting.run_id, settings=settings)
    again.decide(None, Decision(approved=True))

    assert await again == 1
    assert log == ["made", "closed", "made", "closed"]


async def test_what_is_open_stays_open_while_somebody_is_asked() -> None:
    """Where a person answers at once, a step after the approval finds what the one before it has opened."""
    log: list[str] = []

    async def close() -> None:
        log.append("closed")

    def opened(ctx: Context) -> str:
        ctx.on_close(close)
        log.append("made")
        return "thing"

    @step
    async def before(number: int, ctx: Context) -> int:
        return number + len(ctx.shared("thing", lambda: opened(ctx)))

    @step
    async def after(number: int, ctx: Context) -> int:
        return number + len(ctx.shared("thing", lambda: opened(ctx)))

    workflow = Workflow("w", start=before, end=after, edges=[before >> approve >> after])

    assert (await run_to_end(workflow, 1)).output == 11
    assert log == ["made", "closed"]


async def test_closing_that_fails_does_not_hide_the_result() -> None:
    """An error while closing leaves the output as it is, and the others are closed."""
    closed: list[str] = []

    async def close() -> None:
        closed.append("yes")

    async def breaks() -> None:
        raise OSError("gone already")

    @step
    async def opens(number: int, ctx: Context) -> int:
        ctx.on_close(close)
        ctx.on_close(breaks)
        return number

    assert (await run_to_end(Workflow("w", start=opens, end=opens), 1)).output == 1
    assert closed == ["yes"]
