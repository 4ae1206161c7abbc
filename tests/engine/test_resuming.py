"""A run that is taken up from its events, by the rules alone: the same end, and nothing done twice."""

from __future__ import annotations

from typing import Any

import pytest

from agentflow import Approval, Rejected, Wait, Workflow, each, step
from agentflow.engine.reduce import reduce
from agentflow.engine.state import Ask, Begin
from agentflow.events import (
    ApprovalGiven,
    RunResumed,
    StepFinished,
)
from tests.definition import sound
from tests.definition.sound import (
    SOUND,
    Again,
    climb,
    last,
    one,
    opened,
    spread,
    total,
    two,
)
from tests.engine.pure import Pure, story
from tests.engine.test_reduce import always, around_a_stall, flaky, never, ran, waits_for_ever


@pytest.mark.parametrize(
    "name",
    ["loop", "map", "join", "sub-workflow in a map", "approval", "wait", "sub-workflow that leaves its join"],
)
@pytest.mark.parametrize("decide", [always, never], ids=lambda f: f.__name__)
def test_resuming_at_any_event(name: str, decide: Any) -> None:
    """A run that is cut off after any event comes to the same end, and what was finished is not done again."""
    sound_ = SOUND[name]
    workflow = sound_.build()
    whole = ran(workflow, sound_.value, decide=decide)
    for cut in range(1, len(whole.events)):
        kept = whole.events[:cut]
        again = Pure(workflow, decide=decide).resume(kept).run()
        done = {e.step for e in kept if isinstance(e, StepFinished)}

        assert again.output == whole.output, cut
        assert not done & set(again.executed), cut


@pytest.mark.parametrize(
    ("build", "value", "kind"),
    [
        (
            lambda: Workflow(
                "w",
                start=climb,
                end=last,
                edges=[climb.on(Again, at_most=2) >> opened >> climb, climb.on(int) >> last],
            ),
            1,
            "LoopBoundReached",
        ),
        (
            lambda: Workflow("w", start=spread, end=total, edges=[spread >> each(two, at_most=3) >> total]),
            4,
            "MapBoundReached",
        ),
        (waits_for_ever, 1, "RunStalled"),
        (around_a_stall, 1, "RunStalled"),
        (
            lambda: Workflow("w", start=last, end=one, edges=[last >> sound.looping >> one]),
            -9,
            "LoopBoundReached",
        ),
        (lambda: Workflow("w", start=flaky, end=flaky), 1, "ValueError"),
    ],
)
def test_a_failure_is_the_same_after_a_resume(build: Any, value: int, kind: str) -> None:
    """A run that fails for a reason of its own fails for the same one, wherever it was cut off before, also after it failed."""
    whole = ran(build(), value)
    assert whole.state.error is not None
    for cut in range(1, len(whole.events) + 1):
        again = Pure(build()).resume(whole.events[:cut]).run()

        assert again.state.status == "failed", cut
        assert story(again.events)[-1].startswith("run failed"), cut
        assert again.state.error is not None
        assert again.state.error.kind == kind, cut


def test_a_failed_step_is_tried_again_by_a_resume() -> None:
    """Resuming a failed run runs the failed step again, not those that ended well."""
    tries: list[int] = []

    @step
    async def once(number: int) -> int:
        tries.append(number)
        if len(tries) == 1:
            raise ValueError("the first time")

        return number

    workflow = Workflow("w", start=one, end=once, edges=[one >> once])
    failed = ran(workflow, 1)
    again = Pure(workflow).resume(failed.events).run()

    assert (failed.state.status, again.state.status) == ("failed", "done")
    assert again.executed == ["once#1"]
    assert "started once#1 again (2)" in story(again.events)


def test_a_decision_survives() -> None:
    """An approval that was answered just before the process died is not asked for again."""
    whole = ran(SOUND["approval"].build(), 1)
    given = next(n for n, e in enumerate(whole.events) if isinstance(e, ApprovalGiven))
    again = (
        Pure(SOUND["approval"].build(), decide=lambda _: pytest.fail("asked again"))
        .resume(whole.events[: given + 1])
        .run()
    )

    assert again.output == whole.output


def test_an_approval_that_waits_is_still_waited_for() -> None:
    """A resumed run waits for the same answer, and asks for nothing new."""
    sign = Approval("sign", of=int)
    workflow = Workflow(
        "w", start=sign, end=two, edges=[sign >> two, sign.on(Rejected) >> sound.refused >> two]
    )
    run = Pure(workflow).start(1)
    run.commit()

    state, commands = reduce(run.state, RunResumed(seq=4, at=0, model="", version=""), run.program.graph)

    assert commands == ()
    assert [a.phase for a in state.open()] == ["asking"]


def test_a_wait_keeps_its_time_over_a_resume() -> None:
    """The time at which a wait is due is the one that was recorded."""
    nap = Wait("nap", of=int, seconds=60)
    run = ran(Workflow("w", start=nap, end=nap), 1)
    due = run.events[2]
    again = Pure(run.workflow).resume(run.events[:3])
    again.commit()

    assert again.state.active["nap#1"].due == getattr(due, "due", None)


def test_what_is_ready_is_begun_again() -> None:
    """A step whose start was recorded and whose end was not is begun again, as its next attempt."""
    whole = ran(Workflow("w", start=one, end=two, edges=[one >> two]), 1)
    state = Pure(whole.workflow).resume(whole.events[:2]).state
    _, (begin,) = reduce(state, RunResumed(seq=3, at=0, model="", version=""), whole.program.graph)

    assert isinstance(begin, Begin)
    assert begin.activation.attempt == 1


def test_an_approval_asks_for_what_it_was_given() -> None:
    """The question is about exactly the value that came to the approval."""
    sign = Approval("sign", of=int)
    run = Pure(Workflow("w", start=one, end=sign, edges=[one >> sign])).start(1)
    run.step()
    run.commit()

    (ask,) = [c for c in run.open if isinstance(c, Ask)]
    assert ask.activation.input.data == 2
