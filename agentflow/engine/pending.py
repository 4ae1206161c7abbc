"""What is still to come of a run: what its open activations are about to do, and how it ends if they do nothing."""

from __future__ import annotations

from agentflow.engine.state import (
    Activation,
    Ask,
    Begin,
    Command,
    Complete,
    Doubted,
    End,
    Expand,
    Fail,
    Reduced,
    Refuse,
    Sleep,
    State,
    Watch,
)
from agentflow.events import ErrorInfo, Payload, retry_wait

ROOT = ""


def last_word(state: State) -> Command | None:
    """How a run ends that was about to end, or that ended for a reason that another attempt cannot mend."""
    root = state.frames.get(ROOT)
    if root is not None and root.output is not None:
        return End(root.output)

    failing = state.failing
    return failing if failing is not None and failing.step and failing.step not in state.active else None


def fail(state: State, failing: Fail) -> Reduced:
    """End the run; why is kept in the state as well, as the process may end before that is recorded."""
    return state._replace(failing=failing), (failing,)


Renewed = tuple[Activation, tuple[Command, ...]]


def again(state: State, activation: Activation) -> Renewed:
    """What to do with an activation that was open when the process ended, wherever it was cut off."""
    match activation.phase:
        case "nested":
            output = state.frames[activation.id].output
            return activation, (Complete(activation, output),) if output is not None else ()
        case "mapping":
            return activation, _mapping(state, activation)
        case "sleeping" | "retrying":
            return activation, (Watch(activation) if activation.due else sleep(activation, 0.0),)
        case "asking" if activation.node.kind == "approval":
            return activation, _asking(activation)
        case _:
            return renewed(activation)


def _mapping(state: State, activation: Activation) -> tuple[Command, ...]:
    progress = state.maps.get(activation.id)
    if progress is None:
        return (Expand(activation),)

    return (Complete(activation, progress.joined),) if progress.joined is not None else ()


def _asking(activation: Activation) -> tuple[Command, ...]:
    if not activation.questions:
        return (Ask(activation),)

    if not activation.unanswered:
        return (decided(activation),)

    if activation.due:
        return (Watch(activation),)

    return deadline(activation)


def deadline(activation: Activation) -> tuple[Command, ...]:
    """Fix the point in time until which an approval may be given, where there is one."""
    seconds = activation.node.options.get("deadline")
    return (Sleep(activation, int(seconds * 1e9), activation.questions[0].at),) if seconds is not None else ()


def renewed(activation: Activation) -> Renewed:
    """Begin a step anew, once it is known of each call what became of it, and a person has answered what was asked."""
    if activation.doubts:
        doubted = activation._replace(phase="doubted")
        return doubted, tuple(Doubted(doubted, doubt) for doubt in activation.doubts if not doubt.asked)

    if activation.unanswered:
        return activation._replace(phase="asking"), ()

    ready = activation._replace(phase="ready")
    return ready, (Begin(ready),)


def sleep(activation: Activation, chance: float) -> Command:
    """Let the time of a wait or of a retry pass; `chance` is the random share of the latter."""
    node = activation.node
    if activation.phase == "retrying" and node.retry is not None:
        return Sleep(activation, retry_wait(node.retry, activation.failures, chance))

    return Sleep(activation, int(float(node.options.get("seconds", 0)) * 1e9))


def decided(activation: Activation) -> Command:
    """What follows from the answer to an approval."""
    verdict = activation.questions[-1].verdict
    assert verdict is not None
    approved, by, comment = verdict
    return Complete(activation, activation.input) if approved else Refuse(activation, by, comment)


def derived(state: State, activation: Activation) -> Payload:
    """The output of an activation whose event holds none: it follows from earlier events."""
    if activation.phase == "nested":
        output = state.frames[activation.id].output
        assert output is not None
        return output

    if activation.phase != "mapping":
        return activation.input

    progress = state.maps.get(activation.id)
    joined = progress.joined if progress is not None else None
    return joined if joined is not None else Payload(parts=())  # of a map over nothing


def is_stalled(state: State) -> bool:
    """Whether nothing is left that could go on, and the end was not reached."""
    if state.failing is not None or state.frames[ROOT].output is not None:
        return False

    # What is inside of another came after it, so that one at work is found soon, however many there are.
    return not any(_is_working(state, activation) for activation in state.active.backwards())


def _is_working(state: State, activation: Activation) -> bool:
    """Whether something will come of an activation by itself; what is around others only waits for them."""
    if activation.phase == "nested":
        return state.frames[activation.id].output is not None

    if activation.phase == "mapping":
        progress = state.maps.get(activation.id)
        return progress is None or progress.joined is not None

    return True


def stall(state: State) -> Fail:
    """The failure of a run that is stalled, with the joins that wait in vain."""
    waiting = sorted(
        {
            frame.graph.nodes[index].id
            for frame in state.frames.values()
            for (index, _), queue in frame.arrived.items()
            if queue
        }
    )
    what = (
        f"nothing is left to do; {', '.join(f'`{w}`' for w in waiting)} waits for a branch that does not come"
    )
    return Fail(waiting[0] if waiting else "", ErrorInfo(kind="RunStalled", message=what))
