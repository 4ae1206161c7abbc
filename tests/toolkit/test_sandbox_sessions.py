"""Programs of one session, and of one run: what is kept from one to the next, what is not, and what is said of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentflow import (
    Approval,
    Context,
    Decision,
    MemoryJournal,
    Settings,
    Workflow,
    resume,
    run,
    step,
)
from agentflow.events import ArtifactKept
from agentflow.exceptions import CodeFailed, ToolError
from agentflow.toolkit.sandbox import CodeResult, EngineName, Sandbox, probe
from tools.code import run_on_table, run_python

_ABSENT = pytest.mark.skipif(not probe().works, reason=f"no bubblewrap here: {probe().reason}")


@pytest.fixture(params=["monty", pytest.param("bwrap", marks=_ABSENT)])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    engine: EngineName = request.param
    return Sandbox(engine=engine, seconds=1, megabytes=192, disk=1, output=2_000, files=3)


def _text(path: str) -> str:
    return Path(path).read_text()


async def test_variables_functions_and_files_are_kept(sandbox: Sandbox) -> None:
    """A program sees what earlier ones of its session defined and wrote; the result counts them."""
    async with sandbox.session() as session:
        await session.run("x = 20\ndef twice(n):\n    return 2 * n\nopen('kept.txt', 'w').write('here')")
        result = await session.run("[twice(x) + 2, open('kept.txt').read()]")

    assert (result.value, result.programs) == ([42, "here"], 2)


async def test_a_failed_program_leaves_what_it_made(sandbox: Sandbox) -> None:
    """An exception ends the program and not the session."""
    async with sandbox.session() as session:
        with pytest.raises(CodeFailed, match="ZeroDivisionError"):
            await session.run("x = 1\n1 / 0")

        assert (await session.run("x")).value == 1


async def test_a_limit_ends_the_session_and_that_is_said(sandbox: Sandbox) -> None:
    """After a program that hit a limit the next begins anew; the error says so, and so does the next one's hint."""
    async with sandbox.session() as session:
        await session.run("x = 1")
        with pytest.raises(CodeFailed, match=r"time limit(.|\n)*earlier programs left are gone"):
            await session.run("while True:\n    pass")

        with pytest.raises(CodeFailed, match="NameError") as caught:
            await session.run("x")

        result = await session.run("1")

    assert "define it" in caught.value.hint
    assert result.programs == 2


async def test_the_first_program_loses_nothing(sandbox: Sandbox) -> None:
    """Where nothing was there before, nothing is said to be lost."""
    with pytest.raises(CodeFailed) as caught:
        await sandbox.run("while True:\n    pass")

    assert "gone" not in str(caught.value)


async def test_programs_outside_of_a_session_are_apart(sandbox: Sandbox) -> None:
    """Outside of a run each program begins anew."""
    await sandbox.run("x = 1\nopen('a.txt', 'w').write('x')")
    for code in ("x", "open('a.txt').read()"):
        with pytest.raises(CodeFailed):
            await sandbox.run(code)


async def test_programs_of_a_session_wait_for_each_other(sandbox: Sandbox) -> None:
    """Calls made at once run one after another, on the same variables."""
    async with sandbox.session() as session:
        await session.run("n = 0")
        await asyncio.gather(*(session.run("n += 1") for _ in range(5)))

        assert (await session.run("n")).value == 5


async def test_files_in_and_out(sandbox: Sandbox) -> None:
    """Files handed over can be read and changed; what was made or changed comes back once, with digest and type."""
    given: dict[str, str | bytes] = {"in/a.csv": "a,b\n1,2\n", "b.bin": b"\x00\xff"}
    code = (
        "with open('in/a.csv') as file:\n    text = file.read()\n"
        "with open('b.bin', 'rb') as file:\n    data = file.read()\n"
        "with open('out.csv', 'w') as file:\n    n = file.write(text * 2)\n"
        "with open('.hidden', 'w') as file:\n    n = file.write(text)\n"
        "[len(text), list(data)]"
    )
    async with sandbox.session() as session:
        result = await session.run(code, files=given)
        again = await session.run("open('in/a.csv').read()")

    (out,) = result.files
    assert (result.value, again.files) == ([8, [0, 255]], ())
    assert (out.name, out.media_type, out.size) == ("out.csv", "text/csv", 16)
    assert _text(out.path) == "a,b\n1,2\n" * 2
    assert out.digest.startswith("sha256:")


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a/../../b", "", "."])
async def test_a_file_for_elsewhere_is_refused(sandbox: Sandbox, name: str) -> None:
    """A file can only be handed over into the work folder."""
    with pytest.raises(CodeFailed, match="is no name"):
        await sandbox.run("1", files={name: "x"})


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("1", {"a": "x", "a/b": "y"}),
        ("1", {"a" * 5_000: "x"}),
        ("1\0", {}),
        ("'\ud800", {}),
        ("(" * 10_000, {}),
    ],
)
async def test_odd_requests_are_failures(sandbox: Sandbox, code: str, files: dict[str, str | bytes]) -> None:
    """What cannot be a file or a program is an error that a model can be told; what can be is run."""
    if sandbox.engine.name == "monty" and len(str(files)) > 5_000:
        assert (await sandbox.run(code, files=files)).value == 1  # there are no disk's limits on names
    else:
        with pytest.raises(CodeFailed):
            await sandbox.run(code, files=files)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("for n in range(9):\n    open(f'{n}', 'w').write('x')", "over 3 files"),
        ("for n in range(9):\n    open('a', 'ab').write(bytes(400_000))", "No space left|File too large"),
    ],
)
async def test_files_are_limited(sandbox: Sandbox, code: str, what: str) -> None:
    """Too many files, and too large ones, are a failure that says so; the session goes on."""
    async with sandbox.session() as session:
        with pytest.raises(CodeFailed, match=what):
            await session.run(code)

        assert (await session.run("1")).value == 1


async def test_a_cancelled_program_is_ended(sandbox: Sandbox) -> None:
    """Who stops waiting stops the program; the session goes on with a new interpreter."""
    async with sandbox.session() as session:
        await session.run("x = 1")
        task = asyncio.create_task(session.run("while True:\n    pass"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert (await session.run("1")).programs == 1


@step
async def first(text: str, ctx: Context) -> str:
    """Leave a variable and a file."""
    await run_python(f"kept = {text!r}\nwith open('a.txt', 'w') as file:\n    n = file.write(kept)")
    return text


@step
async def second(text: str) -> Any:
    """See what the first step left."""
    return (await run_python("kept + open('a.txt').read()")).value


async def test_steps_of_a_run_share_a_session_and_runs_do_not() -> None:
    """What a program leaves is there in later steps of its run, and in no other run; its files are kept beside the run."""
    journal = MemoryJournal()
    workflow = Workflow("kept", start=first, end=second, edges=[first >> second])
    results = await asyncio.gather(
        *(run(workflow, text, settings=Settings(journal=journal)).result() for text in ("one", "two"))
    )

    assert [result.output for result in results] == ["oneone", "twotwo"]
    events = await journal.read(results[0].run_id)
    (kept,) = [event for event in events if isinstance(event, ArtifactKept)]
    assert (kept.media_type, _text(kept.path)) == ("text/plain", "one")


async def test_a_run_that_is_taken_up_again_says_that_its_variables_are_gone() -> None:
    """After a pause in which the process let go, a program that needs what was there fails, and its author is told why."""

    @step
    async def last(text: str) -> str:
        with pytest.raises(CodeFailed, match="NameError") as caught:
            await run_python("kept")

        return f"{caught.value.hint} {text}"

    journal = MemoryJournal()
    sign = Approval("sign", of=str)
    workflow = Workflow("paused", start=first, end=last, edges=[first >> sign >> last])
    waiting = await run(workflow, "one", settings=Settings(journal=journal)).result()
    again = await resume(workflow, waiting.run_id, settings=Settings(journal=journal))
    again.decide("sign", Decision(approved=True, by="ann"))
    result = await again.result()

    assert result.output is not None
    assert "the run goes on in another process" in result.output


async def test_tables_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs on tables see nothing of each other, nor do those of the tool that is not private."""
    monkeypatch.setenv("AGENTFLOW_DATA", str(tmp_path))
    (tmp_path / "a.csv").write_text("a\n1\n")

    @step
    async def look(text: str) -> list[str]:
        await run_on_table("secret = data", "a.csv")
        said: list[str] = []
        for tried in (run_on_table("secret", "a.csv"), run_python("secret")):
            with pytest.raises(ToolError) as caught:
                await tried

            said.append(str(caught.value))

        return said

    workflow = Workflow("tables", start=look, end=look, edges=[])
    result = await run(workflow, "", settings=Settings(journal=MemoryJournal())).result()

    assert result.output is not None
    assert all("NameError" in said for said in result.output)


def test_engines_are_named() -> None:
    """An engine that does not exist is refused with those that do."""
    with pytest.raises(ToolError) as caught:
        _ = Sandbox(engine="docker").engine  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert "bwrap" in caught.value.hint


def test_the_description_says_what_is_there(sandbox: Sandbox) -> None:
    """The description names the limits, and whether anything is kept."""
    assert "1 seconds, 192 MB" in sandbox.description
    fresh = Sandbox(engine="monty", keeps=False).description
    assert ("are kept" in sandbox.description, "begins anew" in sandbox.description) == (True, False)
    assert ("are kept" in fresh, "begins anew" in fresh) == (False, True)
    assert run_python.description.startswith("Run a Python program")
    assert sandbox.reason == f"`{sandbox.engine.name}` was asked for"
    assert Sandbox().reason == probe().reason


async def test_results_are_data() -> None:
    """A result can be written as JSON and read back: it is what a run keeps."""
    from pydantic import TypeAdapter

    kept = TypeAdapter(CodeResult)
    result = await Sandbox(engine="monty").run("open('a.txt', 'w').write('x')\n[1]")

    assert kept.validate_json(kept.dump_json(result)) == result
