"""The engine's rules, pure: `reduce(state, event) -> (state, commands)`. No clock, no randomness, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentflow.engine.answers import (
    approval_asked,
    approval_given,
    operation_doubted,
    operation_finished,
    operation_resolved,
    operation_started,
    timer_fired,
)
from agentflow.engine.graph import Graph, Node, Out
from agentflow.engine.pending import (
    ROOT,
    again,
    derived,
    fail,
    is_stalled,
    last_word,
    sleep,
    stall,
)
from agentflow.engine.persistent_map import PersistentMap
from agentflow.engine.state import (
    Activation,
    Ask,
    Begin,
    Cell,
    Command,
    Complete,
    End,
    Execute,
    Expand,
    Fail,
    Frame,
    Progress,
    Reduced,
    State,
    Status,
    Watch,
    begun,
    new_frame,
    put,
    with_active,
    with_visits,
)
from agentflow.events import (
    ApprovalAsked,
    ApprovalGiven,
    ErrorInfo,
    Event,
    MapExpanded,
    OperationDoubted,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    Payload,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunMigrated,
    RunPaused,
    RunResumed,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerFired,
    TimerSet,
)
from agentflow.validation import REJECTED


def reduce(state: State, event: Event, graph: Graph) -> Reduced:
    """The state after `event`, and what is to be done now; neither argument is changed."""
    if is_late(state, type(event), getattr(event, "step", "")):
        return state, ()

    return advance(state, event, graph)


def advance(state: State, event: Event, graph: Graph) -> Reduced:
    """`reduce` for an event that is known not to be late."""
    rule = _RULES.get(type(event))
    return rule(state, event, graph) if rule is not None else (state, ())


def is_late(state: State, kind: type[Event], step: str) -> bool:
    """Whether such an event means nothing any more: it is about an activation that is not open."""
    return kind in _OF_ACTIVATIONS and step not in state.active


def _run_started(state: State, event: RunStarted, graph: Graph) -> Reduced:
    return _entered(_at(state, "running", None), new_frame(ROOT, graph), event.input)


def _run_resumed(state: State, event: RunResumed, graph: Graph) -> Reduced:
    if (last := last_word(state)) is not None:
        return state._replace(status="running"), (last,)

    commands: list[Command] = []
    active = state.active
    for activation in state.open():
        anew, more = again(state, activation)
        active = active.insert(activation.id, anew)
        commands += more

    resumed = state._replace(status="running", active=active, failing=None)
    if commands or any(a.phase in ("asking", "doubted") for a in active.values()):
        return resumed, tuple(commands)

    return fail(state._replace(status="running"), state.failing or stall(state))


def _run_migrated(state: State, event: RunMigrated, graph: Graph) -> Reduced:
    from agentflow.engine.migration import migrated  # few runs are moved onto another definition

    return migrated(state, state.frames[ROOT].graph, graph), ()


def _run_paused(state: State, event: RunPaused, graph: Graph) -> Reduced:
    """The steps that wait for an answer were let go: they begin anew once it is there."""
    active = state.active
    for activation in active.values():
        if activation.phase == "running":
            active = active.insert(activation.id, activation._replace(phase="asking"))

    return state._replace(status="waiting", active=active), ()


def _run_over(status: Any) -> Callable[[State, Any, Graph], Reduced]:
    def rule(state: State, event: Any, graph: Graph) -> Reduced:
        return state._replace(status=status), ()

    return rule


def _run_finished(state: State, event: RunFinished, graph: Graph) -> Reduced:
    return _at(state, "done", event.output), ()


def _at(state: State, status: Status, output: Payload | None) -> State:
    return State(status, state.frames, state.active, state.maps, state.orders, output, state.failing)


def _run_failed(state: State, event: RunFailed, graph: Graph) -> Reduced:
    status: Status = "rejected" if event.error.kind == "RunRejected" else "failed"
    return state._replace(status=status, failing=Fail(event.step, event.error)), ()


def _step_started(state: State, event: StepStarted, graph: Graph) -> Reduced:
    activation = state.active[event.step]
    node = activation.node
    if node.map is not None and activation.item is None:
        return put(state, begun(activation, "mapping", event.attempt), Expand)

    match node.kind:
        case "workflow":
            return _enter(state, begun(activation, "nested", event.attempt))
        case "approval":
            return put(state, begun(activation, "asking", event.attempt), Ask)
        case "wait":
            asleep = begun(activation, "sleeping", event.attempt)._replace(due=0)
            return put(state, asleep, lambda a: sleep(a, 0.0))
        case _:
            return put(state, begun(activation, "running", event.attempt), Execute)


def _enter(state: State, activation: Activation) -> Reduced:
    child = activation.node.child
    assert child is not None
    state = with_active(state, state.active.insert(activation.id, activation))
    return _entered(state, new_frame(activation.id, child), activation.input)


def _entered(state: State, frame: Frame, value: Payload) -> Reduced:
    """A run of a graph begins, at its first step."""
    return _arrive(state, frame, frame.graph.nodes[frame.graph.start], value)


def _map_expanded(state: State, event: MapExpanded, graph: Graph) -> Reduced:
    activation = state.active[event.step]
    limits = activation.node.map
    assert limits is not None
    if event.count > limits.at_most:
        what = f"`{activation.node.id}` was given {event.count} items and `at_most` is {limits.at_most}"
        return fail(state, Fail(activation.id, ErrorInfo(kind="MapBoundReached", message=what)))

    if event.count == 0:
        return state, (Complete(activation, Payload(parts=())),)

    first = min(limits.parallel, event.count)
    progress = Progress(event.count, first, PersistentMap())
    items = [_item(activation, i, state.orders + i) for i in range(first)]
    active = state.active
    for item in items:
        active = active.insert(item.id, item)

    maps = state.maps.insert(activation.id, progress)
    state = state._replace(active=active, maps=maps, orders=state.orders + first)
    return state, tuple(Begin(item) for item in items)


def _item(activation: Activation, index: int, order: int) -> Activation:
    id_, value = f"{activation.id}[{index}]", activation.input.items()[index]
    return Activation(id_, activation.frame, activation.node, value, order, item=index, parent=activation.id)


def _step_finished(state: State, event: StepFinished, graph: Graph) -> Reduced:
    activation = state.active[event.step]
    output = event.output if event.output is not None else derived(state, activation)
    state = with_active(state, state.active.remove(event.step))
    if activation.phase == "mapping":
        state = state._replace(maps=state.maps.discard(activation.id))
    elif activation.phase == "nested":
        state = _closed(state, activation.id)

    if activation.item is not None:
        state, commands = _item_finished(state, activation, output)
        if activation.node.child is None:
            return state, commands  # its neighbours are at work, or it was the last
    else:
        state, commands = _leave(state, activation, output, event.case)

    return (state, commands) if commands or not is_stalled(state) else fail(state, stall(state))


def _closed(state: State, frame: str) -> State:
    """The state without a frame, and without what was still going on in it: the first to reach its end ends it."""
    inside, is_forking = frame + "/", state.frames[frame].is_forking
    left = [id_ for id_ in state.active if id_.startswith(inside)] if is_forking else []
    active, maps, frames = state.active, state.maps, state.frames.discard(frame)
    for id_ in left:
        active, maps, frames = active.remove(id_), maps.discard(id_), frames.discard(id_)

    return state._replace(active=active, maps=maps, frames=frames)


def _item_finished(state: State, item: Activation, output: Payload) -> Reduced:
    progress = state.maps[item.parent]
    assert item.item is not None
    results = progress.results.insert(item.item, output)
    begun = progress.begun
    commands: tuple[Command, ...] = ()
    active, orders = state.active, state.orders
    if begun < progress.total:
        following = _item(state.active[item.parent], begun, orders)
        active, orders, begun = active.insert(following.id, following), orders + 1, begun + 1
        commands = (Begin(following),)

    if len(results) == progress.total:
        joined = Payload(parts=[results[i] for i in range(progress.total)])
        commands = (Complete(active[item.parent], joined),)
    else:
        joined = None

    maps = state.maps.insert(item.parent, Progress(progress.total, begun, results, joined))
    return State(state.status, state.frames, active, maps, orders, state.output, state.failing), commands


def _leave(state: State, activation: Activation, output: Payload, case: str | None) -> Reduced:
    """Remember a node's output and send it along the edges that take it."""
    node, frame = activation.node, state.frames[activation.frame]
    known = frame.cells.get(node.index)
    # Visits may end in another order than they began in.
    visits = max(known.visits, activation.visit) if known is not None else activation.visit
    cells = frame.cells.insert(node.index, Cell(visits, output))
    frame = with_visits(frame, cells, frame.followed, frame.output)
    outs = node.always
    if node.by_case:
        # A refusal goes its own way only: what follows an approval must not get it.
        always = () if case == REJECTED else node.always
        outs = always + tuple([out for out in node.by_case if out.on == case])

    if not outs:
        return _no_way(state, frame, activation, output)

    commands: tuple[Command, ...] = ()
    for out in outs:
        state, frame, more = _follow(state, frame, activation, out, output)
        commands += more

    return state, commands


def _with_frame(state: State, frame: Frame) -> State:
    frames = state.frames.insert(frame.id, frame)
    return State(state.status, frames, state.active, state.maps, state.orders, state.output, state.failing)


def _no_way(state: State, frame: Frame, activation: Activation, output: Payload) -> Reduced:
    node = activation.node
    if node.index != frame.graph.end:
        cases = ", ".join(f"`{out.on}`" for out in node.by_case) or "none"
        what = f"the output of `{node.id}` fits no edge (the edges take {cases})"
        failing = Fail(activation.id, ErrorInfo(kind="NoMatchingCase", message=what))
        return fail(_with_frame(state, frame), failing)

    state = _with_frame(state, with_visits(frame, frame.cells, frame.followed, output))
    return state, (End(output) if frame.id == ROOT else Complete(state.active[frame.id], output),)


# The state, the frame as it is in there, and what is to be done.
_Followed = tuple[State, Frame, tuple[Command, ...]]


def _follow(state: State, frame: Frame, activation: Activation, out: Out, output: Payload) -> _Followed:
    target = frame.graph.nodes[out.target]
    if out.at_most is not None:
        followed = frame.followed.get(out.index) or 0
        if followed >= out.at_most:
            what = f"`{activation.node.id}` -> `{target.id}` may be followed {out.at_most} times (`at_most`)"
            failing = Fail(activation.id, ErrorInfo(kind="LoopBoundReached", message=what))
            return _with_frame(state, frame)._replace(failing=failing), frame, (failing,)

        counted = frame.followed.insert(out.index, followed + 1)
        frame = with_visits(frame, frame.cells, counted, frame.output)

    if target.kind == "gather":
        return _collect(state, frame, target, out.slot or 0, output)

    state, commands = _arrive(state, frame, target, output)
    return state, frame, commands


def _collect(state: State, frame: Frame, target: Node, slot: int, output: Payload) -> _Followed:
    """A branch came to its gather: go on when each branch has."""
    waiting = frame.arrived.get((target.index, slot)) or ()
    arrived = frame.arrived.insert((target.index, slot), (*waiting, output))
    # From the last on: branches end more or less in their order, so that one that is missing is found soon.
    if not all(arrived.get((target.index, i)) for i in reversed(range(target.slots))):
        frame = frame._replace(arrived=arrived)
        return _with_frame(state, frame), frame, ()

    parts: list[Payload] = []
    for i in range(target.slots):
        queue = arrived[target.index, i]
        parts.append(queue[0])
        arrived = arrived.insert((target.index, i), queue[1:])

    state = _with_frame(state, frame._replace(arrived=arrived))
    joined = Activation(id=target.id, frame=frame.id, node=target, input=Payload(), order=0)
    state, commands = _leave(state, joined, Payload(parts=parts), None)
    return state, state.frames[frame.id], commands


def _arrive(state: State, frame: Frame, node: Node, value: Payload) -> Reduced:
    """A value came to a node: a new visit begins. `frame` is put into the state as well, as it may be new."""
    known = frame.cells.get(node.index)
    visit = known.visits + 1 if known is not None else 1
    name = f"{frame.id}/{node.id}" if frame.id else node.id
    while (id_ := f"{name}#{visit}") in state.active:
        visit += 1  # a branch that came here before has not left yet

    activation = Activation(id_, frame.id, node, value, state.orders, visit)
    state = State(
        state.status,
        state.frames.insert(frame.id, frame),
        state.active.insert(id_, activation),
        state.maps,
        state.orders + 1,
        state.output,
        state.failing,
    )
    return state, (Begin(activation),)


def _step_failed(state: State, event: StepFailed, graph: Graph) -> Reduced:
    activation = state.active[event.step]
    policy = activation.node.retry
    failures = activation.failures + 1
    answered = tuple(question for question in activation.questions if question.verdict is not None)
    failed = activation._replace(failures=failures, phase="failed", questions=answered)
    if event.final or policy is None or failures > policy.times:
        state = with_active(state, state.active.insert(failed.id, failed))
        return fail(state, Fail(activation.id, event.error))

    return put(state, failed._replace(phase="retrying", due=0), lambda a: sleep(a, event.chance))


def _timer_set(state: State, event: TimerSet, graph: Graph) -> Reduced:
    return put(state, state.active[event.step]._replace(due=event.due), Watch)


_RULES: dict[type[Event], Callable[[State, Any, Graph], Reduced]] = {
    RunStarted: _run_started,
    RunResumed: _run_resumed,
    RunMigrated: _run_migrated,
    RunPaused: _run_paused,
    RunInterrupted: _run_over("interrupted"),
    RunCancelled: _run_over("cancelled"),
    RunFinished: _run_finished,
    RunFailed: _run_failed,
    StepStarted: _step_started,
    MapExpanded: _map_expanded,
    StepFinished: _step_finished,
    StepFailed: _step_failed,
    TimerSet: _timer_set,
    TimerFired: timer_fired,
    ApprovalAsked: approval_asked,
    ApprovalGiven: approval_given,
    OperationStarted: operation_started,
    OperationFinished: operation_finished,
    OperationDoubted: operation_doubted,
    OperationResolved: operation_resolved,
}
_OF_ACTIVATIONS = frozenset(
    {
        StepStarted,
        MapExpanded,
        StepFinished,
        StepFailed,
        TimerSet,
        TimerFired,
        ApprovalAsked,
        ApprovalGiven,
        OperationDoubted,
        OperationResolved,
    }
)
