"""The engine's rules, by the reducer alone: what follows from what, in which order, and within which bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentflow import Approval, Retry, Wait, Workflow, each, gather, step
from agentflow.engine.reduce import reduce
from agentflow.engine.state import Complete, Execute, Fail, Sleep
from agentflow.events import (
    ApprovalGiven,
    ErrorInfo,
    StepFailed,
    StepFinished,
    TimerFired,
    retry_wait,
)
from agentflow.workflow import keeping_problems
from tests.definition import sound
from tests.definition.sound import (
    SOUND,
    Again,
    Edges,
    Sound,
    add,
    climb,
    grade,
    inner,
    last,
    one,
    opened,
    small,
    spread,
    three,
    total,
    two,
)
from tests.engine.pure import Pure, newest, oldest, story


def ran(workflow: Workflow[Any, Any], value: Any, **choices: Any) -> Pure:
    return Pure(workflow, **choices).start(value).run()


@pytest.mark.parametrize("name", [n for n in SOUND if not n.startswith("reads")])
@pytest.mark.parametrize("choose", [oldest, newest])
def test_every_shape_runs_to_its_output(name: str, choose: Any) -> None:
    """Each sound graph gives its output, whether the oldest or the newest step is done first."""
    sound_: Sound = SOUND[name]
    expected = list(sound_.output) if isinstance(sound_.output, tuple) else sound_.output

    assert ran(sound_.build(), sound_.value, choose=choose).output == expected


def test_a_sequence() -> None:
    """Each step starts when the one before has ended, with what that gave."""
    run = ran(Workflow("w", start=one, end=two, edges=[one >> two]), 1)

    assert story(run.events) == [
        "run started",
        "started one#1",
        "finished one#1 2",
        "started two#1",
        "finished two#1 4",
        "run finished 4",
    ]


def test_a_branch() -> None:
    """Only the edges of the case are followed."""
    run = ran(SOUND["cases meet, even"].build(), 4)

    assert story(run.events) == [
        "run started",
        "started grade#1",
        'finished grade#1 "even 4" as str',
        "started measure#1",
        "finished measure#1 6",
        "started last#1",
        "finished last#1 6",
        "run finished 6",
    ]


def test_edges_that_are_always_followed_go_with_each_case() -> None:
    """A plain edge beside one by case carries every output, so both ways run."""
    sink = Workflow(
        "w",
        start=one,
        end=add,
        edges=[one >> two, one.on(int) >> three, gather(two, three) >> add],
    )

    assert ran(sink, 1).output == 45


def test_a_map_keeps_its_limit() -> None:
    """No more items than `parallel` are open at any time, and all are begun in order."""
    workflow = Workflow("w", start=spread, end=total, edges=[spread >> each(two, parallel=3) >> total])
    run = Pure(workflow, choose=newest).start(8)
    most = 0
    while run.step():
        most = max(most, sum(a.item is not None for a in run.state.active.values()))

    begun = [line for line in story(run.events) if line.startswith("started two#1[")]
    assert most == 3
    assert begun == [f"started two#1[{n}]" for n in range(8)]


def test_results_of_a_map_are_in_the_order_of_its_items() -> None:
    """Whichever item ends first, the list is in the order of the input."""
    twos = each(two)
    workflow = Workflow("w", start=spread, end=twos, edges=[spread >> twos])

    assert ran(workflow, 5, choose=newest).output == [2, 3, 4, 5, 6]


def test_a_map_of_nothing_ends_at_once() -> None:
    """An empty list gives an empty list, and no item is begun."""
    run = ran(SOUND["map of none"].build(), 0)

    assert "expanded two#1 to 0" in story(run.events)
    assert not any("[" in line for line in story(run.events) if line.startswith("started"))


def test_a_map_with_too_many_items_fails_before_the_first() -> None:
    """More items than `at_most` fail the run; not one of them is begun."""
    workflow = Workflow("w", start=spread, end=total, edges=[spread >> each(two, at_most=3) >> total])
    run = ran(workflow, 4)

    assert story(run.events)[-2:] == ["expanded two#1 to 4", "run failed two#1: MapBoundReached"]
    assert run.state.error == ErrorInfo(
        kind="MapBoundReached", message="`two` was given 4 items and `at_most` is 3"
    )


def test_a_map_with_as_many_items_as_allowed_runs() -> None:
    """`at_most` is the number of items that may run."""
    workflow = Workflow("w", start=spread, end=total, edges=[spread >> each(two, at_most=4) >> total])

    assert ran(workflow, 4).output == 14


def test_a_loop_may_go_round_as_often_as_its_bound() -> None:
    """An edge with `at_most=2` is followed twice; the third time fails the run by name."""
    workflow = Workflow(
        "w",
        start=climb,
        end=last,
        edges=[climb.on(Again, at_most=2) >> opened >> climb, climb.on(int) >> last],
    )

    assert ran(workflow, 4).output == 6
    failed = ran(workflow, 3)
    assert failed.state.status == "failed"
    assert failed.state.error == ErrorInfo(
        kind="LoopBoundReached", message="`climb` -> `opened` may be followed 2 times (`at_most`)"
    )
    assert [line for line in story(failed.events) if line.startswith("started climb")] == [
        "started climb#1",
        "started climb#2",
        "started climb#3",
    ]


def test_bounds_of_nested_loops_are_for_the_whole_run() -> None:
    """The inner loop's bound counts over all rounds of the outer one, so the worst case is what is written."""
    edges: Edges = [
        one >> small,
        small.on(Again, at_most=3) >> opened >> small,
        small.on(int) >> two >> sound.outer_judge,
        sound.outer_judge.on(Again, at_most=30) >> sound.reopened >> one,
        sound.outer_judge.on(int) >> last,
    ]

    assert ran(Workflow("w", start=one, end=last, edges=edges), 1).output == 63
    assert ran(Workflow("w", start=one, end=last, edges=edges), -30).state.error is not None


def test_a_loop_around_a_join_joins_values_of_one_round() -> None:
    """Each round's branches are joined with each other, whichever ends first."""
    workflow = SOUND["loop around a join"].build()
    for choose in (oldest, newest):
        run = ran(workflow, 1, choose=choose)
        joined = [e for e in run.events if isinstance(e, StepFinished) and e.step.startswith("judge")]

        assert len(joined) == 3
        assert run.output == 21


def test_a_join_waits_for_each_branch() -> None:
    """What follows a gather starts once, when the last branch has come."""
    run = ran(SOUND["join"].build(), 1)

    assert story(run.events)[-5:] == [
        "finished two#1 4",
        "finished three#1 5",
        "started add#1",
        "finished add#1 45",
        "run finished 45",
    ]


def test_a_sub_workflow_is_a_frame_of_its_own() -> None:
    """Steps inside carry the name of the activation around them, and visits are counted per frame."""
    run = ran(Workflow("w", start=spread, end=total, edges=[spread >> each(inner) >> total]), 2)
    lines = story(run.events)

    assert "started inner#1[0]/one#1" in lines
    assert "started inner#1[1]/one#1" in lines
    assert "finished inner#1[0]" in lines
    assert [len(run.state.frames), len(run.state.maps), len(run.state.active)] == [1, 0, 0]


def test_bounds_inside_a_sub_workflow_are_for_each_visit() -> None:
    """A loop in a mapped workflow may go round `at_most` times for each item."""
    workflow = Workflow("w", start=spread, end=total, edges=[spread >> each(sound.looping) >> total])

    assert ran(workflow, 3).output == 18


@step(retries=Retry(times=2, delay=1, factor=3, max_delay=100, jitter=0))
async def flaky(number: int) -> int:
    raise ValueError("not yet")


def test_retries_and_then_the_failure() -> None:
    """A step that keeps failing is tried again as often as it says, then its error fails the run."""
    run = ran(Workflow("w", start=flaky, end=flaky), 1)

    assert story(run.events) == [
        "run started",
        "started flaky#1",
        "step.failed flaky#1",
        "timer.set flaky#1",
        "timer.fired flaky#1",
        "started flaky#1 again (2)",
        "step.failed flaky#1",
        "timer.set flaky#1",
        "timer.fired flaky#1",
        "started flaky#1 again (3)",
        "step.failed flaky#1",
        "run failed flaky#1: ValueError",
    ]


def test_the_wait_before_a_retry_grows() -> None:
    """Waits are `delay * factor**n`, up to `max_delay`, and the random share only shortens them."""
    policy = Retry(times=9, delay=1, factor=3.0, max_delay=10, jitter=0.5)

    assert [retry_wait(policy, n, 0.0) / 1e9 for n in (1, 2, 3, 4)] == [1, 3, 9, 10]
    assert [retry_wait(policy, n, 1.0) / 1e9 for n in (1, 2, 3, 4)] == [0.5, 1.5, 4.5, 5]
    assert retry_wait(policy, 2, 0.5) / 1e9 == 2.25
    assert retry_wait(policy, 100_000, 0.0) / 1e9 == 10


def test_the_wait_is_made_of_the_recorded_chance() -> None:
    """The reducer asks for exactly the wait that follows from the event."""
    run = Pure(Workflow("w", start=flaky, end=flaky)).start(1)
    run.step()
    jittery = Retry(times=2, delay=1, jitter=0.5)
    activation = run.state.active["flaky#1"]
    changed = activation._replace(node=replace(activation.node, retry=jittery))
    state = run.state._replace(active=run.state.active.insert("flaky#1", changed))
    failed = StepFailed(seq=3, at=0, step="flaky#1", error=ErrorInfo(kind="E", message=""), chance=0.5)
    _, (sleep,) = reduce(state, failed, run.program.graph)

    assert isinstance(sleep, Sleep)
    assert sleep.wait == 750_000_000


def test_a_final_failure_is_not_tried_again() -> None:
    """An error that another attempt cannot mend ends the run at once."""
    run = Pure(Workflow("w", start=flaky, end=flaky)).start(1)
    run.step()
    failed = StepFailed(seq=3, at=0, step="flaky#1", error=ErrorInfo(kind="E", message="x"), final=True)
    _, commands = reduce(run.state, failed, run.program.graph)

    assert commands == (Fail("flaky#1", failed.error),)


def test_only_the_failing_item_is_tried_again() -> None:
    """A retry inside a map leaves the other items alone."""

    @step(retries=1)
    async def picky(number: int) -> int:
        if number == 1 and "again" not in seen:
            seen.append("again")
            raise ValueError("once")

        return number

    seen: list[str] = []
    run = ran(Workflow("w", start=spread, end=total, edges=[spread >> each(picky) >> total]), 3)

    assert run.output == 3
    assert [line for line in story(run.events) if "again" in line] == ["started picky#1[1] again (2)"]


def always(activation: str) -> bool:
    """Give every approval."""
    return True


def never(activation: str) -> bool:
    """Refuse everything."""
    return False


def not_the_second(activation: str) -> bool:
    """Refuse one item."""
    return activation != "approve#1[1]"


def test_a_wait_sleeps_and_passes_its_value_on() -> None:
    """A wait sets its timer once, and ends with what it was given."""
    nap = Wait("nap", of=int, seconds=2)
    run = ran(Workflow("w", start=one, end=two, edges=[one >> nap >> two]), 1)

    assert story(run.events)[3:8] == [
        "started nap#1",
        "timer.set nap#1",
        "timer.fired nap#1",
        "finished nap#1",
        "started two#1",
    ]
    assert run.output == 4


def test_an_approval_that_is_given() -> None:
    """What was approved goes on as it was."""
    run = ran(SOUND["approval by case"].build(), 1)

    assert "started refused#1" not in story(run.events)
    assert run.output == 4


@pytest.mark.parametrize("name", ["approval", "approval by case"])
def test_an_approval_that_is_refused_goes_its_own_way_only(name: str) -> None:
    """A refusal follows `.on(Rejected)` alone: a plain edge behind the approval does not carry it."""
    run = ran(SOUND[name].build(), 1, decide=never)

    assert run.output == -1
    assert not any(line.startswith("started two") for line in story(run.events))


def test_an_approval_that_is_refused_with_no_way_ends_the_run() -> None:
    """Without an edge for it, a refusal ends the run as rejected."""
    sign = Approval("sign", of=int)
    run = ran(Workflow("w", start=sign, end=two, edges=[sign >> two]), 1, decide=never)

    assert run.state.status == "rejected"
    assert story(run.events)[-1] == "run failed sign#1: RunRejected"


def test_a_refused_item_ends_the_run() -> None:
    """Each item of a mapped approval is asked for, and one refusal ends the run."""
    run = ran(SOUND["approval of items"].build(), 3, decide=not_the_second)

    assert run.state.status == "rejected"


def test_the_first_answer_counts() -> None:
    """A second answer to one approval changes nothing and asks for nothing."""
    sign = Approval("sign", of=int)
    run = Pure(Workflow("w", start=sign, end=two, edges=[sign >> two])).start(1)
    run.commit()

    yes = ApprovalGiven(seq=4, at=0, step="sign#1", digest="d", approved=True, by="a")
    no = ApprovalGiven(seq=5, at=0, step="sign#1", digest="d", approved=False, by="b")
    state, (done,) = reduce(run.state, yes, run.program.graph)

    assert isinstance(done, Complete)
    assert reduce(state, no, run.program.graph) == (state, ())


def test_an_answer_about_something_else_does_not_count() -> None:
    """An approval is bound to the digest of what was shown: an answer with another one changes nothing."""
    sign = Approval("sign", of=int)
    run = Pure(Workflow("w", start=sign, end=two, edges=[sign >> two])).start(1)
    run.commit()
    other = ApprovalGiven(seq=4, at=0, step="sign#1", digest="of something else", approved=True, by="a")

    assert reduce(run.state, other, run.program.graph) == (run.state, ())


@pytest.mark.parametrize(
    "event",
    [
        StepFinished(seq=9, at=0, step="gone#1"),
        StepFailed(seq=9, at=0, step="gone#1", error=ErrorInfo(kind="E", message="")),
        TimerFired(seq=9, at=0, step="gone#1"),
        ApprovalGiven(seq=9, at=0, step="gone#1", digest="d", approved=True, by="a"),
    ],
    ids=lambda e: e.type,
)
def test_what_comes_too_late_is_nothing(event: Any) -> None:
    """An event about an activation that is not open changes nothing."""
    run = Pure(Workflow("w", start=one, end=one)).start(1)
    run.step()

    assert reduce(run.state, event, run.program.graph) == (run.state, ())


def test_a_case_that_no_edge_takes() -> None:
    """An output that fits no edge, which a type can hide, fails the run and says what the edges take."""

    @step
    async def sly(number: int) -> Again:
        return sound.Big(number=number) if number > 3 else Again(number=number)

    workflow = Workflow("w", start=sly, end=opened, edges=[sly.on(Again) >> opened])
    run = Pure(workflow).start(1)
    run.step()
    finished = StepFinished(seq=3, at=0, step="sly#1", case=None, output=None)
    _, (fail,) = reduce(run.state, finished, run.program.graph)

    assert isinstance(fail, Fail)
    assert (fail.step, fail.error.kind) == ("sly#1", "NoMatchingCase")
    assert "the edges take `tests.definition.sound:Again`" in fail.error.message


def waits_for_ever() -> Workflow[int, int]:
    """A join of two cases of one step: they never come together."""
    edges: Edges = [
        grade.on(int) >> two,
        grade.on(str) >> sound.measure,
        gather(two, sound.measure) >> sound.plus,
    ]
    # The check refuses it; what the engine does with such a graph must be sound all the same.
    with keeping_problems():
        return Workflow("waits", start=grade, end=sound.plus, edges=edges)


def around_a_stall() -> Workflow[int, int]:
    """A workflow with a step that can not go on."""
    with keeping_problems():
        return Workflow("w", start=last, end=one, edges=[last >> waits_for_ever() >> one])


def test_a_run_that_can_not_go_on_says_so() -> None:
    """Where a join waits for a branch that does not come, the run fails and names the join."""
    run = ran(waits_for_ever(), 1)

    assert story(run.events)[-1] == "run failed gather(two, measure): RunStalled"
    assert run.state.error is not None
    assert "`gather(two, measure)` waits for a branch that does not come" in run.state.error.message


@pytest.mark.parametrize("choose", [oldest, newest])
def test_a_sub_workflow_that_can_not_go_on_says_so(choose: Any) -> None:
    """A stall inside of a sub-workflow is found as well, also while other items of a map still run."""
    with keeping_problems():
        inner = each(waits_for_ever())
        mapped = Workflow("mapped", start=spread, end=total, edges=[spread >> inner >> total])

    assert ran(around_a_stall(), 1).state.error == ran(mapped, 3, choose=choose).state.error
    assert ran(around_a_stall(), 1).state.status == "failed"


def test_the_first_to_reach_the_end_ends_a_sub_workflow() -> None:
    """What is still open in a sub-workflow that reached its end is gone, and comes too late if it ends."""
    workflow = Workflow("w", start=last, end=one, edges=[last >> sound.leaving >> one])
    run = Pure(workflow).start(1)
    going = True
    while going:
        run.commit()
        # `two` is always put last, so that `grade` leaves before it ends.
        run.open.sort(key=lambda c: isinstance(c, Execute) and c.activation.id.endswith("two#1"))
        going = run.step()

    assert run.output == 7
    assert "leaving#1/two#1" not in run.executed
    assert not len(run.state.active)
