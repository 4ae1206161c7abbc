"""Calls that were made stay made: served to a new attempt, asked about where nobody knows, approved where they must be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from agentflow import (
    Context,
    Decision,
    MemoryJournal,
    Retry,
    Settings,
    ToolError,
    Workflow,
    each,
    operation,
    resume,
    run,
    step,
    tool,
)
from agentflow.context import current
from agentflow.encoding import decode, encode
from agentflow.events import (
    ApprovalAsked,
    Event,
    OperationDoubted,
    OperationFinished,
    OperationStarted,
    StepFailed,
    StepStarted,
)
from agentflow.testing import run_to_end
from agentflow.tools import call
from tests.definition.sound import spread, total, two

log: list[str] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    log.clear()


@tool(effect="read")
async def look(what: str) -> str:
    """Look something up."""
    log.append(f"look {what}")
    return f"seen {what}"


@tool(effect="write")
async def send(text: str) -> int:
    """Send something, for good."""
    log.append(f"send {text}")
    return len(text)


@tool(effect="write", idempotent=True)
async def put(text: str) -> str:
    """Put something, any number of times."""
    context = current()
    assert context is not None
    log.append(f"put {text} {context.idempotency_key.rpartition(':')[2]}")
    return text


@tool(effect="write", needs_approval=True)
async def pay(amount: int) -> str:
    """Pay."""
    log.append(f"pay {amount}")
    return f"paid {amount}"


@step
async def work(number: int) -> int:
    seen = await call(look, {"what": "a"})
    length = await call(send, {"text": seen})
    await call(put, {"text": "b"})
    return number + int(length)


working = Workflow("working", start=work, end=work)


async def cut(events: Sequence[Event], count: int) -> MemoryJournal:
    """A journal with the first `count` events, as another process would read them."""
    journal = MemoryJournal()
    await journal.append("r", [decode(encode(event)) for event in events[:count]])
    return journal


async def recorded(workflow: Workflow[Any, Any], value: Any) -> list[Event]:
    journal = MemoryJournal()
    await run(workflow, value, run_id="r", settings=Settings(journal=journal)).result()
    log.clear()
    return await journal.read("r")


def after(events: Sequence[Event], kind: type[Event], name: str) -> int:
    """How many events there are up to the first of this kind about the operation `name`."""
    ids = [e.operation for e in events if isinstance(e, OperationStarted) and e.name == name]
    return next(e.seq for e in events if isinstance(e, kind) and getattr(e, "operation", "") in ids)


async def test_calls_that_were_made_are_not_made_again() -> None:
    """A step that is begun anew gets the results of its finished calls from the record, and makes the rest."""
    events = await recorded(working, 1)
    journal = await cut(events, after(events, OperationFinished, "send"))
    result = await (await resume(working, "r", settings=Settings(journal=journal))).result()

    assert (result.status, result.output) == ("done", 7)
    assert [line.split()[0] for line in log] == ["put"]
    assert result.usage["tool_calls"] == 3


async def test_a_read_that_was_cut_off_is_made_again() -> None:
    """A call that only reads, and had no outcome, is made again."""
    events = await recorded(working, 1)
    journal = await cut(events, after(events, OperationStarted, "look"))
    assert await (await resume(working, "r", settings=Settings(journal=journal))) == 7
    assert [line.split()[0] for line in log] == ["look", "send", "put"]


async def test_an_idempotent_write_is_made_again_with_its_key() -> None:
    """A call that may be repeated is, and the service gets the key that it got before."""
    journal = MemoryJournal()
    await run(working, 1, run_id="r", settings=Settings(journal=journal)).result()
    key = log[-1]
    log.clear()
    events = await journal.read("r")
    again = await cut(events, after(events, OperationStarted, "put"))
    assert await (await resume(working, "r", settings=Settings(journal=again))) == 7
    assert log == [key]


@pytest.mark.parametrize(
    ("verdict", "result", "expected"),
    [
        ("done", 70, ("done", 71, [])),
        ("retry", None, ("done", 7, ["send seen a"])),
        ("fail", None, ("failed", None, [])),
    ],
)
async def test_a_write_that_was_cut_off_is_asked_about(verdict: Any, result: Any, expected: Any) -> None:
    """Nobody knows whether a write in flight was done: the run says so, waits, and does what it is told."""
    events = await recorded(working, 1)
    journal = await cut(events, after(events, OperationStarted, "send"))
    waiting = await (await resume(working, "r", settings=Settings(journal=journal))).result()

    assert waiting.status == "waiting"
    assert [(p.kind, p.tool, p.subject) for p in waiting.pending] == [("effect", "send", {"text": "seen a"})]
    assert log == []

    again = await resume(working, "r", settings=Settings(journal=journal))
    again.resolve(None, verdict, result=result, by="ann", comment="looked")
    ended = await again.result()

    assert (ended.status, ended.output, [line for line in log if "put" not in line]) == expected
    if verdict == "fail":
        assert ended.error is not None
        assert ended.error.message == "ann says that it was not done: looked"


async def test_a_write_is_asked_about_once_only() -> None:
    """A run that is resumed twice while an effect is in doubt asks the same, and records the question once."""
    events = await recorded(working, 1)
    journal = await cut(events, after(events, OperationStarted, "send"))
    for _ in range(2):
        assert (
            await (await resume(working, "r", settings=Settings(journal=journal))).result()
        ).status == "waiting"

    assert sum(isinstance(e, OperationDoubted) for e in await journal.read("r")) == 1


async def test_a_retry_does_not_repeat_a_write_that_was_made() -> None:
    """When a step fails after a write, the next attempt reads anew and is given what the write gave."""
    attempts: list[int] = []

    @step(retries=Retry(times=1, delay=0))
    async def flaky(number: int, ctx: Context) -> int:
        await call(look, {"what": "a"})
        length = await call(send, {"text": "x"})
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError("no")

        return number + int(length)

    ended = await run_to_end(Workflow("w", start=flaky, end=flaky), 1)

    assert (ended.output, attempts) == (2, [1, 2])
    assert log == ["look a", "send x", "look a"]


async def test_a_write_that_takes_too_long_is_in_doubt() -> None:
    """A time limit cuts a write off: it may have been done, so it is asked about, not tried again."""

    @tool(effect="write", timeout=0.02)
    async def slow() -> str:
        """Take a while."""
        log.append("slow")
        await asyncio.sleep(5)
        return ""

    @step(retries=Retry(times=3, delay=0))
    async def calling(number: int) -> int:
        await call(slow, {})
        return number

    workflow = Workflow("w", start=calling, end=calling)
    journal = MemoryJournal()
    result = await run(workflow, 1, run_id="r", settings=Settings(journal=journal)).result()

    assert (result.status, log) == ("waiting", ["slow"])
    again = await resume(workflow, "r", settings=Settings(journal=journal))
    again.resolve("slow", "done", result="it was there")
    assert await again == 1
    assert log == ["slow"]


async def test_a_write_in_a_step_that_times_out_is_in_doubt() -> None:
    """A step's own time limit that cuts a write off does not lead to a second one."""

    @tool(effect="write")
    async def slow() -> str:
        """Take a while."""
        log.append("slow")
        await asyncio.sleep(5)
        return ""

    @step(timeout=0.2, retries=Retry(times=3, delay=0))
    async def calling(number: int) -> int:
        await call(slow, {})
        return number

    workflow = Workflow("w", start=calling, end=calling)
    result = await run(workflow, 1, settings=Settings(journal=MemoryJournal())).result()

    assert (result.status, log) == ("waiting", ["slow"])


@step
async def paying(number: int) -> str:
    return str(await call(pay, {"amount": number}))


async def test_a_call_waits_for_its_approval_over_processes() -> None:
    """A tool that needs approval is not called until a person says yes, from wherever, and then once."""
    workflow = Workflow("w", start=paying, end=paying)
    journal = MemoryJournal()
    waiting = await run(workflow, 5, run_id="r", settings=Settings(journal=journal)).result()

    assert waiting.status == "waiting"
    assert [(p.name, p.tool, p.subject) for p in waiting.pending] == [("paying#1:pay", "pay", {"amount": 5})]
    assert log == []

    again = await resume(workflow, "r", settings=Settings(journal=journal))
    again.decide("pay", Decision(approved=True, by="ann"))
    assert await again == "paid 5"
    assert log == ["pay 5"]
    assert sum(isinstance(e, ApprovalAsked) for e in await journal.read("r")) == 1


async def test_a_call_that_is_refused_is_an_error_of_the_tool() -> None:
    """A refusal is told to who wanted the call."""
    ended = await run_to_end(Workflow("w", start=paying, end=paying), 5, approve=False)

    assert ended.result.error is not None
    assert "a person refused" in ended.result.error.message
    assert log == []


async def test_several_calls_are_asked_about_together() -> None:
    """Calls that run side by side ask side by side; each is answered by itself, and made once."""

    @step
    async def both(number: int) -> list[str]:
        return list(await asyncio.gather(call(pay, {"amount": 1}), call(pay, {"amount": 2})))

    workflow = Workflow("w", start=both, end=both)
    journal = MemoryJournal()
    waiting = await run(workflow, 5, run_id="r", settings=Settings(journal=journal)).result()
    assert [p.subject for p in waiting.pending] == [{"amount": 1}, {"amount": 2}]

    again = await resume(workflow, "r", settings=Settings(journal=journal))
    again.decide(waiting.pending[1].name, Decision(approved=True))
    result = await again.result()
    assert (result.status, len(result.pending), log) == ("waiting", 1, [])

    last = await resume(workflow, "r", settings=Settings(journal=journal))
    last.decide(None, Decision(approved=True))
    assert await last == ["paid 1", "paid 2"]
    assert sorted(log) == ["pay 1", "pay 2"]


async def test_other_arguments_are_asked_about_anew() -> None:
    """An approval is for exactly these arguments: a step that comes with others is asked again."""
    amounts = iter([5, 6, 6])

    @step
    async def wavering(number: int) -> str:
        return str(await call(pay, {"amount": next(amounts)}))

    workflow = Workflow("w", start=wavering, end=wavering)
    journal = MemoryJournal()
    await run(workflow, 1, run_id="r", settings=Settings(journal=journal)).result()
    again = await resume(workflow, "r", settings=Settings(journal=journal))
    again.decide(None, Decision(approved=True))
    waiting = await again.result()

    assert [p.subject for p in waiting.pending] == [{"amount": 6}]
    assert log == []


async def test_other_branches_go_on_while_one_asks() -> None:
    """A step that waits for a person keeps nobody else from working; the run is let go when all others are done."""

    @step
    async def item(number: int) -> int:
        if number == 0:
            await call(pay, {"amount": 1})

        await asyncio.sleep(0.01)
        log.append(f"item {number}")
        return number

    workflow = Workflow("w", start=spread, end=total, edges=[spread >> each(item, parallel=2) >> total])
    journal = MemoryJournal()
    waiting = await run(workflow, 4, run_id="r", settings=Settings(journal=journal)).result()

    assert waiting.status == "waiting"
    assert log == ["item 1", "item 2", "item 3"]
    again = await resume(workflow, "r", settings=Settings(journal=journal))
    again.decide(None, Decision(approved=True))
    assert (await again.result()).status == "done"
    assert log == ["item 1", "item 2", "item 3", "pay 1", "item 0"]


async def test_a_person_who_thinks_does_not_use_up_a_step_s_time() -> None:
    """The time limit of a step is not over because somebody took longer to answer."""

    @step(timeout=0.5)
    async def limited(number: int) -> str:
        return str(await call(pay, {"amount": number}))

    async def slow(pending: Any) -> Decision:
        await asyncio.sleep(0.6)
        return Decision(approved=True)

    workflow = Workflow("w", start=limited, end=limited)
    assert await run(workflow, 5, settings=Settings(approver=slow)) == "paid 5"


async def test_what_is_asked_differently_is_called_anew_and_said() -> None:
    """A model that is asked something else than what is recorded is asked, and the record says from where on."""
    asked = iter(["a", "b", "c", "d"])

    @step
    async def chatting(number: int) -> list[str]:
        from agentflow.context import effect

        async def answer(record: Any) -> str:
            record.result = f"to {record.name}"
            return f"to {record.name}"

        said: list[str] = []
        for _ in range(2):
            text = next(asked)
            said.append(await effect("chat", "m", answer, lambda o: "again", request={"text": text}))

        return said

    workflow = Workflow("w", start=chatting, end=chatting)
    events = await recorded(workflow, 1)
    journal = await cut(events, next(e.seq for e in events if isinstance(e, OperationFinished)))
    await (await resume(workflow, "r", settings=Settings(journal=journal))).result()
    begun = [e for e in await journal.read("r") if isinstance(e, OperationStarted)]

    assert [e.attributes for e in begun[-2:]] == [{"diverged": True}, None]


class OutOfOrder(ToolError):
    """An error of a user's own."""


@pytest.mark.parametrize("kind", [ToolError, OutOfOrder])
async def test_failures_are_served_as_they_were(kind: type[ToolError]) -> None:
    """A call that failed and was got over fails the same way when its step is begun anew."""

    @tool(effect="read")
    async def broken() -> str:
        """Fail."""
        log.append("broken")
        raise kind("it is broken", hint="mend it")

    @step
    async def tolerant(number: int) -> str:
        try:
            await call(broken, {})
        except ToolError as error:
            told = f"{error} ({error.hint})"
        else:
            told = ""

        await call(look, {"what": told})
        return told

    workflow = Workflow("w", start=tolerant, end=tolerant)
    events = await recorded(workflow, 1)
    journal = await cut(events, after(events, OperationStarted, "look"))
    assert await (await resume(workflow, "r", settings=Settings(journal=journal))) == "it is broken (mend it)"
    assert log == ["look it is broken (mend it)"]


async def test_attempts_are_counted_over_processes() -> None:
    """Each begin of a step counts as an attempt, whether the one before failed or its process ended."""
    events = await recorded(working, 1)
    journal = await cut(events, 3)
    await (await resume(working, "r", settings=Settings(journal=journal))).result()

    assert [e.attempt for e in await journal.read("r") if isinstance(e, StepStarted)] == [1, 2]
    assert not any(isinstance(e, StepFailed) for e in await journal.read("r"))


async def test_a_scope_is_recorded_once() -> None:
    """What is only around calls, such as a plan that was made, is not recorded again when it is served."""

    @step
    async def planned(number: int) -> str:
        async with operation("plan", "p", request={"n": number}) as plan:
            plan.result = str(await call(look, {"what": "a"}))

        return str(await call(look, {"what": "b"}))

    workflow = Workflow("w", start=planned, end=planned)
    events = await recorded(workflow, 1)
    journal = await cut(events, after(events, OperationFinished, "p"))
    assert await (await resume(workflow, "r", settings=Settings(journal=journal))) == "seen b"
    begun = [e.name for e in await journal.read("r") if isinstance(e, OperationStarted)]

    assert begun == ["p", "look", "look"]
    assert log == ["look b"]


async def test_an_agent_that_thinks_is_not_cut_off_while_another_asks() -> None:
    """A run is let go only when nothing is under way: what an agent is about to do after a while is done before."""

    @step
    async def both(number: int) -> int:
        async def thinking() -> None:
            async with operation("agent", "b"):
                await asyncio.sleep(0.2)
                await call(send, {"text": "x"})

        await asyncio.gather(call(pay, {"amount": 1}), thinking())
        return number

    workflow = Workflow("w", start=both, end=both)
    journal = MemoryJournal()
    waiting = await run(workflow, 1, run_id="r", settings=Settings(journal=journal)).result()
    assert ([p.kind for p in waiting.pending], log) == (["approval"], ["send x"])

    again = await resume(workflow, "r", settings=Settings(journal=journal))
    again.decide(None, Decision(approved=True))
    assert await again == 1
    assert log == ["send x", "pay 1"]


class Slow(MemoryJournal):
    """A journal whose appends take their time, as one on another machine does."""

    is_immediate = False

    async def append(self, run: str, events: Sequence[Event], *, durable: bool = False) -> None:
        await asyncio.sleep(0.01)
        await super().append(run, events, durable=durable)


@pytest.mark.parametrize("seconds", [0.005, 0.015, 0.025, 0.035])
async def test_a_step_that_is_stopped_while_the_journal_writes(seconds: float) -> None:
    """A time limit that strikes in the middle of an append loses no event, and the journal stays whole."""

    @step(timeout=seconds, retries=Retry(times=2, delay=0))
    async def calling(number: int, ctx: Context) -> int:
        for turn in range(6 if ctx.attempt < 3 else 0):
            await call(look, {"what": str(turn)})

        return number

    workflow = Workflow("w", start=calling, end=two, edges=[calling >> two])
    journal = Slow()
    result = await run(workflow, 1, run_id="r", settings=Settings(journal=journal)).result()
    events = await journal.read("r")

    assert (result.status, result.output) == ("done", 3)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    begun = {(e.step, e.operation) for e in events if isinstance(e, OperationStarted)}
    assert begun == {(e.step, e.operation) for e in events if isinstance(e, OperationFinished)}


class Held(MemoryJournal):
    """A journal that takes long to write the first intent of a call."""

    is_immediate = False
    holds = 1

    async def append(self, run: str, events: Sequence[Event], *, durable: bool = False) -> None:
        if self.holds and any(isinstance(event, OperationStarted) for event in events):
            self.holds -= 1
            await asyncio.sleep(0.6)

        await super().append(run, events, durable=durable)


async def test_a_call_that_was_stopped_before_it_was_made_is_not_doubted() -> None:
    """A write whose intent was still being recorded when its step was stopped was not made, and is simply made later."""

    @step(timeout=0.5, retries=Retry(times=1, delay=0))
    async def calling(number: int) -> int:
        return number + int(await call(send, {"text": "x"}))

    workflow = Workflow("w", start=calling, end=calling)
    journal = Held()
    result = await run(workflow, 1, run_id="r", settings=Settings(journal=journal)).result()
    ended = [e for e in await journal.read("r") if isinstance(e, OperationFinished)]

    assert (result.status, result.output, log) == ("done", 2, ["send x"])
    assert [e.error.kind if e.error else "" for e in ended] == ["NotMade", ""]
