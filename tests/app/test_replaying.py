"""A recorded run is executed again with nothing from outside, and the first thing that is different is named."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentflow import Context, MemoryJournal, Secret, Settings, Workflow, step, tool
from agentflow.app import replay, replay_events, resume, run
from agentflow.encoding import decode, encode
from agentflow.engine import attempt
from agentflow.events import ErrorInfo, Event, OperationFinished, OperationStarted, Payload
from agentflow.exceptions import ReplayDiverged, UnknownName
from agentflow.testing import Ended, assert_replays, run_to_end
from agentflow.tools import call
from agentflow.workflow import Workflow as AnyWorkflow
from tests.app.ledger_flow import Order, Ways, ledger, thinker
from tests.engine.random_workflows import workflows

FEW = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that goes another way is not waited for as long as on a busy machine."""
    monkeypatch.setattr(attempt, "ALONE", 0.05)
    monkeypatch.setattr(attempt, "TOGETHER", 0.1)


def written(events: Sequence[Event]) -> list[Event]:
    """Events as another process reads them."""
    return [decode(encode(event)) for event in events]


@pytest.fixture(scope="module")
def recorded() -> list[Event]:
    """A run of the ledger: a loop, a map in a sub-workflow with a retry, an agent, an approval, a wait, a write, a file."""
    ended: Ended[str] = asyncio.run(run_to_end(ledger(), Order(item="nail", count=4), model=thinker()))
    assert ended.result.status == "done", ended.result.error
    return written(ended.events)


async def test_a_run_of_all_kinds_goes_the_same_way(recorded: list[Event]) -> None:
    """No tool is called, no model asked, no person; what comes out is what came out."""
    ways = Ways()

    came = await replay_events(ledger(ways), recorded)

    assert came.divergence is None, came.divergence
    assert came.same
    assert [encode(e) for e in came.events] == [encode(e) for e in recorded]
    assert (came.status, came.output) == ("done", "buy: 21; paid 7")
    assert ways.made == []
    assert (came.calls, came.taken) == (8, 0)


async def test_a_run_is_found_in_its_journal() -> None:
    """By its id; one that is not there is refused with the nearest ones."""
    journal = MemoryJournal()
    await run(ledger(), Order(item="nail"), run_id="r", settings=_with_model(journal)).result()

    assert (await replay(ledger(), journal, "r")).same
    with pytest.raises(UnknownName, match="no run `s`"):
        await replay(ledger(), journal, "s")


def _with_model(journal: MemoryJournal) -> Settings:
    return Settings(journal=journal, model="scripted/test", models={"test": thinker()})


async def test_each_beginning_of_a_run_goes_the_same_way(recorded: list[Event]) -> None:
    """A run that was cut off anywhere, as by a crash, is the same as far as it went."""
    workflow = ledger()
    for length in range(1, len(recorded)):
        came = await replay_events(workflow, recorded[:length])
        assert came.same, (length, str(came.divergence))


@pytest.mark.parametrize(
    ("change", "what", "step", "said"),
    [
        ({"prompt": "Say no."}, "definition", "", "prompt"),
        ({"tools": ("price",)}, "definition", "", "tools"),
        ({"question": "Really?"}, "definition", "", "Really?"),
        ({"limit": 2}, "output", "lower#2", ""),
        ({"argument": "thing"}, "request", "ledger/weigh", ""),
        ({"plus": 1}, "output", "weigh", ""),
        ({"file": b"another bill"}, "file", "settle#1", "bill.txt"),
        ({"fails": False}, "end", "weigh", "the scales are stuck"),
    ],
)
async def test_a_changed_definition_or_code_is_named(
    recorded: list[Event], change: dict[str, Any], what: str, step: str, said: str
) -> None:
    """What is different comes out where it first makes a difference."""
    came = await replay_events(ledger(Ways(**change)), recorded)

    found = came.divergence
    assert found is not None
    assert not came.same
    assert found.what == what
    assert step.rpartition("/")[2] in found.step
    assert said in str(found)
    with pytest.raises(ReplayDiverged, match="went another way"):
        came.unwrap()


# What is the record's own: times, chance, what calls used, who answered, and words about what came from outside.
TAKEN = {
    "at", "chance", "due", "usage", "reserved", "attributes", "traceback", "by", "comment", "model", "version",
    "spec", "bound", "nonce", "chain", "workflow", "run", "final", "media_type", "size", "path", "forked",
}  # fmt: skip


def mutations(events: Sequence[Event]) -> Iterator[tuple[int, str, list[Event]]]:
    """Each field of each event, changed."""
    for index, event in enumerate(events):
        for name in (f.name for f in fields(event)):
            other = _other(getattr(event, name))
            if name not in TAKEN and other is not None:
                changed = replace(event, **{name: other})
                yield index + 1, f"{event.type}.{name}", [*events[:index], changed, *events[index + 1 :]]


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "x" if value else None
        case Payload():
            return Payload(raw=b'{"count":3,"item":"bolt"}')
        case ErrorInfo():
            return replace(value, message="another")
        case _:
            return None


async def test_what_was_changed_in_a_record_is_named(recorded: list[Event]) -> None:
    """Any change of what is recorded, but of what comes from outside, is found there or where it first makes a difference."""
    workflow = ledger()
    missed: list[str] = []
    count = 0
    for seq, name, events in mutations(recorded):
        came = await replay_events(workflow, events)
        count += 1
        if came.divergence is None or came.divergence.seq < seq:
            missed.append(f"{seq} {name}: {came.divergence}")

    assert missed == []
    assert count > 100


@FEW
@given(workflows(), st.integers(0, 96), st.data())
def test_random_workflows_replay_and_what_is_missing_is_found(
    workflow: AnyWorkflow[int, int], value: int, data: st.DataObject
) -> None:
    """Whatever is written in a random run replays; without one of its events it does not."""

    async def check() -> None:
        ended = await run_to_end(workflow, value)
        events = written(ended.events)
        came = await replay_events(workflow, events)
        assert came.same, str(came.divergence)
        assert came.output == ended.output

        gone = data.draw(st.integers(1, len(events) - 2))
        left = [event for index, event in enumerate(events) if index != gone]
        renumbered = [replace(event, seq=seq) for seq, event in enumerate(left, 1)]
        assert not (await replay_events(workflow, renumbered)).same

    asyncio.run(check())


async def test_the_network_is_refused() -> None:
    """A step that reaches out by itself is told so, and that is a divergence; others of the process are not touched."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

        @step
        def reach(number: int) -> int:
            with socket.create_connection(address, timeout=5):
                return number

        workflow = Workflow("w", start=reach, end=reach)
        ended = await run_to_end(workflow, 1)
        assert ended.output == 1
        came = await replay_events(workflow, written(ended.events))
        with socket.create_connection(address, timeout=5):
            pass

    assert came.divergence is not None
    assert "NetworkRefused" in came.divergence.came


async def test_a_step_that_is_no_function_of_its_input_is_named_with_a_hint() -> None:
    """What changes from one time to the next shows as another output."""
    numbers = iter(range(10))

    @step
    async def roll(number: int) -> int:
        return next(numbers)

    workflow = Workflow("w", start=roll, end=roll)
    ended = await run_to_end(workflow, 1)

    found = (await replay_events(workflow, ended.events)).divergence

    assert found is not None
    assert (found.what, found.seq, found.step) == ("output", 3, "roll#1")
    assert (found.recorded, found.came) == ("0", "1")
    assert "a step must give the same" in found.hint


async def test_a_secret_that_is_not_here_has_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that used a key replays without it."""
    monkeypatch.setenv("REPLAY_KEY", "a-key-of-some-length")

    @step
    async def use(number: int) -> str:
        return f"sent {Secret('REPLAY_KEY').reveal()}"

    workflow = Workflow("w", start=use, end=use)
    events = written((await run_to_end(workflow, 1)).events)
    monkeypatch.delenv("REPLAY_KEY")

    came = await replay_events(workflow, events)

    assert came.same, str(came.divergence)
    assert came.output == "sent [secret REPLAY_KEY]"


async def test_failed_resumed_and_moved_runs_replay() -> None:
    """A run that failed, was resumed, and went on with another definition: what was before that is taken as recorded."""
    broken = [True]

    journal = MemoryJournal()
    workflow, moved = _stuck("one", broken), _stuck("two", broken)
    assert (
        await run(workflow, 1, run_id="r", settings=Settings(journal=journal)).result()
    ).status == "failed"
    assert (await replay(workflow, journal, "r")).same
    broken.clear()
    assert await (await resume(moved, "r", settings=Settings(journal=journal), migrate=True)) == 4

    came = await replay(moved, journal, "r")

    assert came.divergence is None, str(came.divergence)
    assert (came.taken, came.steps) == (3, 1)
    assert (await replay(workflow, journal, "r")).divergence is not None


def _stuck(words: str, broken: list[bool]) -> AnyWorkflow[int, int]:
    @step
    async def first(number: int) -> int:
        return number + 1

    @step
    async def second(number: int) -> int:
        return number * 2

    @step
    async def third(number: int) -> int:
        if broken:
            raise ValueError("not yet")

        return number

    return Workflow("w", start=first, end=third, edges=[first >> second >> third], description=words)


async def test_asserting_names_the_divergence(recorded: list[Event]) -> None:
    """`assert_replays` passes for the same way, and tells the first difference for another."""
    events = list(recorded)

    came = await asyncio.to_thread(assert_replays, events, ledger(), output="buy: 21; paid 7")
    assert came.same
    lines = [encode(event).decode() for event in events]
    await asyncio.to_thread(assert_replays, lines, ledger())
    with pytest.raises(AssertionError, match=r"lower#2.*output differs"):
        await asyncio.to_thread(assert_replays, events, ledger(Ways(limit=2)))

    with pytest.raises(AssertionError, match="the run went"):
        await asyncio.to_thread(assert_replays, events, ledger(), path=["lower"])

    with pytest.raises(AssertionError, match="not nothing"):
        await asyncio.to_thread(assert_replays, events, ledger(), output="nothing")


def test_what_a_divergence_is_about_can_be_read(recorded: list[Event]) -> None:
    """It names event, step, call, what was recorded and what came now."""
    asked = next(e for e in recorded if isinstance(e, OperationStarted) and e.name == "pay")
    changed = [
        replace(e, request=Payload({"item": "nail", "amount": 8})) if e is asked else e for e in recorded
    ]

    found = asyncio.run(replay_events(ledger(), changed)).divergence

    assert found is not None
    assert str(found).startswith(
        f"event {asked.seq} (operation.started), step `settle#1`, tool `pay`: request differs\n"
        "  recorded: amount = 8\n  now: amount = 7"
    )


def test_outcomes_that_are_changed_show_what_comes_of_them(recorded: list[Event]) -> None:
    """Another result of a call is served as it stands there, and what follows from it is named."""
    index = next(
        n for n, e in enumerate(recorded) if isinstance(e, OperationFinished) and e.result is not None
    )
    changed = list(recorded)
    ended = recorded[index]
    assert isinstance(ended, OperationFinished)
    changed[index] = replace(ended, result=Payload(raw=b"[]"))

    found = asyncio.run(replay_events(ledger(), changed)).divergence

    assert found is not None
    assert found.seq > index + 1


def test_a_call_that_was_put_in_is_named(recorded: list[Event]) -> None:
    """Where its step was not at work, or did not ask for it."""
    asked = next(n for n, e in enumerate(recorded) if isinstance(e, OperationStarted))
    for place in (3, asked + 1, len(recorded) - 1):
        changed = [*recorded[:place], replace(recorded[asked], at=1), *recorded[place:]]
        renumbered = [replace(event, seq=seq) for seq, event in enumerate(changed, 1)]

        found = asyncio.run(replay_events(ledger(), renumbered)).divergence

        assert found is not None
        assert found.seq == place + 1


async def test_a_write_beside_another_call_is_over_before_its_step_is() -> None:
    """A step that ends with a write, while calls ran side by side, ends in the replay as well, and is not in doubt."""

    @tool(effect="write")
    async def send(text: str) -> str:
        """Send."""
        await asyncio.sleep(0.01)
        return f"sent {text}"

    @tool(effect="read")
    async def look(text: str) -> str:
        """Look."""
        return f"seen {text}"

    @step
    async def both(text: str) -> str:
        sent, seen = await asyncio.gather(call(send, {"text": text}), call(look, {"text": text}))
        return f"{sent}, {seen}"

    workflow = Workflow("w", start=both, end=both)
    events = written((await run_to_end(workflow, "a")).events)

    came = await replay_events(workflow, events)

    assert came.divergence is None, str(came.divergence)
    assert came.output == "sent a, seen a"


async def test_a_step_that_looks_back_sees_what_had_happened() -> None:
    """The events of its run up to there, as they stood in the journal."""

    @step
    async def first(number: int) -> int:
        return number

    @step
    async def count(number: int, ctx: Context) -> int:
        return len(await ctx.events())

    workflow = Workflow("w", start=first, end=count, edges=[first >> count])
    ended = await run_to_end(workflow, 1)
    assert ended.output == 4

    came = await replay_events(workflow, written(ended.events))

    assert came.divergence is None, str(came.divergence)
