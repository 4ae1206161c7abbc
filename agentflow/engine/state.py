"""What the engine knows of a run: a persistent value, folded from the run's events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from agentflow.engine.graph import Graph, Node
from agentflow.engine.persistent_map import PersistentMap
from agentflow.events import ErrorInfo, Payload

Status = Literal["new", "running", "waiting", "interrupted", "done", "failed", "rejected", "cancelled"]
Phase = Literal[
    "ready", "running", "mapping", "nested", "retrying", "sleeping", "asking", "doubted", "failed"
]
OVER: frozenset[Status] = frozenset({"done", "failed", "rejected", "cancelled"})
# What cuts a call off without saying whether it was made.
CUT_OFF = frozenset({"CancelledError", "ToolTimeout", "EffectInDoubt"})


class Question(NamedTuple):
    """What a person is asked: the digest of what is to be approved, and when it was asked.

    `tool` and `subject` are of the call that is asked about; an approval step asks about its input. `verdict` is whether
    it was approved, by whom, and with what comment.
    """

    digest: str
    at: int
    prompt: str
    tool: str = ""
    subject: Payload | None = None
    verdict: tuple[bool, str, str] | None = None


class Doubt(NamedTuple):
    """A call that must not be made twice and whose outcome is not known; `asked` once a person was asked about it."""

    operation: str
    name: str
    request: Payload | None
    asked: bool = False


class Activation(NamedTuple):
    """One visit of a node, or one item of a map, that is not finished.

    `order` numbers activations as they came to be, `visit` those of one node. `parent` is the map that an item belongs to.
    """

    id: str
    frame: str
    node: Node
    input: Payload
    order: int
    visit: int = 1
    phase: Phase = "ready"
    attempt: int = 0
    failures: int = 0
    item: int | None = None
    parent: str = ""
    due: int = 0
    questions: tuple[Question, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    @property
    def unanswered(self) -> tuple[Question, ...]:
        return tuple(question for question in self.questions if question.verdict is None)


class Progress(NamedTuple):
    """How far a map is: how many items there are, how many were begun, the results by item, and `joined` once all are there."""

    total: int
    begun: int
    results: PersistentMap[int, Payload]
    joined: Payload | None = None


class Cell(NamedTuple):
    """What a frame remembers of one node: the number of the last visit that ended, and its latest output."""

    visits: int
    output: Payload | None


# Maps never change, so that all that begin empty can be one.
_NOTHING: PersistentMap[Any, Any] = PersistentMap()


class Frame(NamedTuple):
    """One run of one graph: the workflow's own, or a sub-workflow's under the activation `id`."""

    id: str
    graph: Graph
    cells: PersistentMap[int, Cell]
    followed: PersistentMap[int, int]
    arrived: PersistentMap[tuple[int, int], tuple[Payload, ...]]
    output: Payload | None = None
    # Visits of steps that the run's definition has no more, by id: a step that comes back goes on counting.
    gone: PersistentMap[str, int] = _NOTHING
    # Whether there may be several values at once in it.
    is_forking: bool = True


class State(NamedTuple):
    """The state of a run after some of its events; `failing` is why it cannot go on."""

    status: Status
    frames: PersistentMap[str, Frame]
    active: PersistentMap[str, Activation]
    maps: PersistentMap[str, Progress]
    orders: int = 0
    output: Payload | None = None
    failing: Fail | None = None

    @property
    def error(self) -> ErrorInfo | None:
        """What ended the run, if something did."""
        return (
            self.failing.error if self.failing is not None and self.status in ("failed", "rejected") else None
        )

    def open(self) -> list[Activation]:
        """The activations that are not finished, oldest first."""
        return sorted(self.active.values(), key=lambda a: a.order)


def empty() -> State:
    """The state before the first event."""
    return State("new", _NOTHING, _NOTHING, _NOTHING)


def new_frame(id_: str, graph: Graph) -> Frame:
    """A frame that nothing has happened in."""
    return Frame(id_, graph, _NOTHING, _NOTHING, _NOTHING, is_forking=graph.is_forking)


def with_visits(
    frame: Frame, cells: PersistentMap[int, Cell], followed: PersistentMap[int, int], output: Payload | None
) -> Frame:
    """The frame with other cells, counts of what was followed, and what came to its end."""
    return Frame(frame.id, frame.graph, cells, followed, frame.arrived, output, frame.gone, frame.is_forking)


def with_active(state: State, active: PersistentMap[str, Activation]) -> State:
    """The state with other open activations."""
    # Spelled out, as `_replace` costs three times as much and this runs for every event.
    return State(state.status, state.frames, active, state.maps, state.orders, state.output, state.failing)


def begun(activation: Activation, phase: Phase, attempt: int) -> Activation:
    """An activation in an attempt that has just begun."""
    return Activation(
        activation.id,
        activation.frame,
        activation.node,
        activation.input,
        activation.order,
        activation.visit,
        phase,
        attempt,
        activation.failures,
        activation.item,
        activation.parent,
        activation.due,
        activation.questions,
        activation.doubts,
    )


class Begin(NamedTuple):
    """Record that an activation starts; it is executed once that is committed."""

    activation: Activation


class Execute(NamedTuple):
    """Do the work of an activation; the runner says how it ended."""

    activation: Activation


class Expand(NamedTuple):
    """Count the items of a map's input."""

    activation: Activation


class Sleep(NamedTuple):
    """Fix the time at which a wait, a retry or a deadline is due: `wait` nanoseconds after `since`, or after now."""

    activation: Activation
    wait: int
    since: int = 0


class Watch(NamedTuple):
    """Say when the time of a waiting activation has come."""

    activation: Activation


class Ask(NamedTuple):
    """Ask a person for an approval."""

    activation: Activation


class Tell(NamedTuple):
    """Give a person's answer to the step that waits for it."""

    activation: Activation
    question: Question


class Doubted(NamedTuple):
    """Ask a person whether a call was made."""

    activation: Activation
    doubt: Doubt


class Complete(NamedTuple):
    """Record that an activation ended with an output that follows from earlier events."""

    activation: Activation
    output: Payload


class Refuse(NamedTuple):
    """Record that a person refused: the activation goes on as `Rejected`, or the run ends."""

    activation: Activation
    by: str
    comment: str


class End(NamedTuple):
    """The workflow reached its end."""

    output: Payload


class Fail(NamedTuple):
    """The run cannot go on."""

    step: str
    error: ErrorInfo


Command = Begin | Execute | Expand | Sleep | Watch | Ask | Tell | Doubted | Complete | Refuse | End | Fail
# A state, and what is to be done in it.
Reduced = tuple[State, tuple[Command, ...]]


def put(state: State, activation: Activation, command: Callable[[Activation], Command]) -> Reduced:
    """The state with an activation in it, and the command to go on with it."""
    active = state.active.insert(activation.id, activation)
    return with_active(state, active), (command(activation),)


def where_of(activation: str) -> str:
    """The place of an activation in the definition: `handle#1[0]/draft#2` is `handle/draft`."""
    return "/".join(part.partition("#")[0] for part in activation.split("/"))
