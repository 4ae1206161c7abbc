"""What holds for any workflow whose steps make calls, wherever its process dies: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentflow import Context, Decision, MemoryJournal, Settings, Workflow, resume, run, tool
from agentflow.app import compile_workflow
from agentflow.context import current
from agentflow.encoding import decode, encode
from agentflow.engine.reduce import reduce
from agentflow.engine.state import State, empty
from agentflow.events import (
    Event,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    StepFinished,
    StepStarted,
)
from agentflow.tools import call
from tests.engine.random_workflows import workflows
from tests.engine.test_properties import text_of

FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
# What was done to the world so far: by effect and argument, which names the step.
world: Counter[tuple[str, str]] = Counter()


def _done(effect: str, what: str) -> int:
    world[effect, what] += 1
    return len(what) % 7


@tool(effect="read")
async def look(what: str) -> int:
    """Look."""
    return _done("look", what)


@tool(effect="write")
async def send(what: str) -> int:
    """Send."""
    await asyncio.sleep(0)
    return _done("send", what)


@tool(effect="write", needs_approval=True)
async def pay(what: str) -> int:
    """Pay."""
    return _done("pay", what)


@tool(effect="write", idempotent=True)
async def put(what: str) -> int:
    """Put; what has the same key is put once."""
    context = current()
    assert context is not None
    world["put", context.idempotency_key] = 1
    return len(what) % 5


async def several(number: int, ctx: Context) -> int:
    """Calls in a row and side by side, whose results go into the number."""
    seen = await call(look, {"what": ctx.step})
    sent, put_ = await asyncio.gather(
        call(send, {"what": f"{ctx.step} {seen}"}), call(put, {"what": f"{ctx.step}!"})
    )
    paid = await call(pay, {"what": f"{ctx.step} {sent}"}) if number % 2 else 0
    return (number * 3 + int(seen) + int(sent) + int(put_) + int(paid)) % 97


async def yes(pending: Any) -> Decision:
    return Decision(approved=True, by="test")


def died(events: Sequence[Event], happened: Any) -> None:
    """Make the world what it was when the process died after these events; a write in flight may have `happened`."""
    world.clear()
    ended = {(e.step, e.operation): True for e in events if isinstance(e, OperationFinished)}
    # A person looked before answering.
    ended |= {(e.step, e.operation): e.verdict == "done" for e in events if isinstance(e, OperationResolved)}
    for event in events:
        if not isinstance(event, OperationStarted) or not event.once:
            continue

        assert event.request is not None
        known = ended.get((event.step, event.operation))
        if happened() if known is None else known:
            world[event.name, event.request.data["what"]] += 1


async def to_the_end(workflow: Workflow[int, int], journal: MemoryJournal) -> Any:
    """Resume until the run is over; a person looks at the world to say what became of what is in doubt."""
    for _ in range(50):
        again = await resume(workflow, "r", settings=Settings(journal=journal, approver=yes))
        for pending in again.runner.waiting():
            if pending.kind == "effect":
                assert pending.subject is not None
                what = pending.subject.data["what"]
                done = bool(world[pending.tool, what])
                again.resolve(pending.name, "done" if done else "retry", result=len(what) % 7)

        result = await again.result()
        if result.status != "waiting":
            return result

    raise AssertionError("it never ended")


def writes() -> dict[tuple[str, str], int]:
    return {effect: count for effect, count in world.items() if effect[0] in ("send", "pay", "put")}


@FEW
@given(workflows(2, several), st.integers(0, 96), st.data())
def test_a_process_may_die_at_any_event(
    workflow: Workflow[int, int], value: int, data: st.DataObject
) -> None:
    """Cut after any event, twice: the output is the same, each write was made exactly once, and what is over is not begun again."""

    async def both() -> None:
        world.clear()
        journal = MemoryJournal()
        settings_ = Settings(journal=journal, approver=yes)
        whole = await run(workflow, value, run_id="r", settings=settings_).result()
        assert whole.status == "done", whole.error
        expected = writes()
        events: Sequence[Event] = await journal.read("r")
        for _ in range(2):
            kept = events[: data.draw(st.integers(1, max(1, len(events) - 1)))]
            died(kept, lambda: data.draw(st.booleans()))
            for effect, count in expected.items():
                if effect[0] == "put":
                    world[effect] = count  # it may be put as often as one likes

            again = MemoryJournal()
            await again.append("r", [decode(encode(e)) for e in kept])
            result = await to_the_end(workflow, again)
            events = await again.read("r")
            over = {e.step for e in kept if isinstance(e, StepFinished)}

            assert (result.status, result.output) == ("done", whole.output)
            assert writes() == expected
            assert not over & {e.step for e in events[len(kept) :] if isinstance(e, StepStarted)}

    asyncio.run(both())


@FEW
@given(workflows(2, several), st.integers(0, 96), st.data())
def test_folding_such_a_run_in_parts(workflow: Workflow[int, int], value: int, data: st.DataObject) -> None:
    """The state after all events is the same whether they are folded at once, in parts, or read from text."""

    async def recorded() -> list[Event]:
        journal = MemoryJournal()
        await run(workflow, value, run_id="r", settings=Settings(journal=journal)).result()
        return await journal.read("r")

    events = asyncio.run(recorded())
    graph = compile_workflow(workflow).graph

    def folded(some: Sequence[Event], state: State) -> State:
        for event in some:
            before = text_of(state)
            after, _ = reduce(state, event, graph)
            assert text_of(state) == before
            state = after

        return state

    cut = data.draw(st.integers(0, len(events)))
    read = [decode(encode(e)) for e in events]
    assert text_of(folded(read[cut:], folded(read[:cut], empty()))) == text_of(folded(events, empty()))
