"""Moving an open run onto another definition: what stands in the way, and the state as the other one sees it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agentflow.engine.graph import Graph, Node
from agentflow.engine.pending import ROOT
from agentflow.engine.persistent_map import PersistentMap
from agentflow.engine.state import Activation, Cell, Frame, State
from agentflow.exceptions import ProjectError
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.typeref import short_name


class _Move(NamedTuple):
    """Where the nodes and edges of one graph are in another, by their index; `children` are those of sub-workflows."""

    graph: Graph
    nodes: Mapping[int, Node]
    edges: Mapping[int, int]
    children: Mapping[int, _Move]


def migrated(state: State, old: Graph, new: Graph) -> State:
    """The state of a run on `old` as one on `new`, by the ids of steps; for a run that `obstacles` finds none for.

    What is remembered of steps and edges that are gone is dropped.
    """
    moves = _moves(state, _move(old, new))
    active = {a.id: a._replace(node=_node(moves[a.frame], a)) for a in state.active.values()}
    values = Counter(a.frame for a in state.active.values() if a.item is None)
    frames = {
        id_: _frame(frame, moves[id_], has_several=values[id_] > 1) for id_, frame in state.frames.items()
    }
    return state._replace(frames=PersistentMap(frames), active=PersistentMap(active))


def _move(old: Graph, new: Graph) -> _Move:
    by_id = {node.id: node for node in new.nodes}
    nodes = {node.index: by_id[node.id] for node in old.nodes if node.id in by_id}
    edges, there = _edges(old), _edges(new)
    children: dict[int, _Move] = {}
    for index, node in nodes.items():
        child = old.nodes[index].child
        if child is not None and node.child is not None:
            children[index] = _move(child, node.child)

    return _Move(new, nodes, {i: there[edge] for edge, i in edges.items() if edge in there}, children)


_Edge = tuple[str, str, str | None, int | None, int]


def _edges(graph: Graph) -> dict[_Edge, int]:
    """The edges by source, target, case and slot; of those that are alike in all, by their order."""
    found: dict[_Edge, int] = {}
    for node in graph.nodes:
        for out in sorted((*node.always, *node.by_case), key=lambda out: out.index):
            target, nth = graph.nodes[out.target].id, 0
            while (node.id, target, out.on, out.slot, nth) in found:
                nth += 1

            found[(node.id, target, out.on, out.slot, nth)] = out.index

    return found


def _moves(state: State, root: _Move) -> dict[str, _Move]:
    """The move of each frame. What was entered first is around what was entered later."""
    moves = {ROOT: root}
    for activation in state.open():
        if activation.id in state.frames:
            outer = moves[activation.frame]
            _node(outer, activation)
            moves[activation.id] = outer.children[activation.node.index]

    return moves


def _node(move: _Move, activation: Activation) -> Node:
    node = move.nodes.get(activation.node.index)
    if node is None or node.kind != activation.node.kind:
        raise ProjectError(
            f"`{activation.id}` is open, and the definition that the run is moved onto has no such step",
            hint="keep the step until the run is past it",
        )

    return node


def _frame(frame: Frame, move: _Move, *, has_several: bool) -> Frame:
    visits = {
        **dict(frame.gone.items()),
        **{frame.graph.nodes[i].id: c.visits for i, c in frame.cells.items()},
    }
    back = {node.index: Cell(visits[node.id], None) for node in move.graph.nodes if node.id in frame.gone}
    cells = back | {move.nodes[i].index: cell for i, cell in frame.cells.items() if i in move.nodes}
    names = {node.id for node in move.graph.nodes}
    followed = {move.edges[i]: count for i, count in frame.followed.items() if i in move.edges}
    arrived = {
        (move.nodes[i].index, slot): queue
        for (i, slot), queue in frame.arrived.items()
        if i in move.nodes and slot < move.nodes[i].slots
    }
    return frame._replace(
        graph=move.graph,
        cells=PersistentMap(cells),
        followed=PersistentMap(followed),
        arrived=PersistentMap(arrived),
        gone=PersistentMap({name: count for name, count in visits.items() if name not in names}),
        # Where several values are under way they stay so, though nothing forks any more.
        is_forking=move.graph.is_forking or has_several,
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """A workflow of one of the definitions: its steps and edges by step id, `slots` the size of its gathers."""

    end: str
    steps: Mapping[str, StepSpec]
    incoming: Mapping[str, Sequence[EdgeSpec]]
    outgoing: Mapping[str, Sequence[EdgeSpec]]
    slots: Mapping[str, int]


def _side(spec: WorkflowSpec) -> _Side:
    incoming: dict[str, list[EdgeSpec]] = {}
    outgoing: dict[str, list[EdgeSpec]] = {}
    slots: dict[str, int] = {}
    for edge in spec.edges:
        incoming.setdefault(edge.target, []).append(edge)
        outgoing.setdefault(edge.source, []).append(edge)
        if edge.slot is not None:
            slots[edge.target] = max(slots.get(edge.target, 0), edge.slot + 1)

    return _Side(spec.end, {step.id: step for step in spec.steps}, incoming, outgoing, slots)


@dataclass(frozen=True, slots=True)
class _Place:
    """A frame in both definitions; `path` leads to its steps."""

    path: str
    old: _Side
    new: _Side

    def named(self, step: str) -> str:
        return f"{self.path}{step}"


# What stands in the way, as who or what is concerned, and what is said of it.
_Said = tuple[str, str]


def obstacles(state: State, old: WorkflowSpec, new: WorkflowSpec) -> list[str]:
    """Why an open run on `old` cannot go on with `new`, each with what mends it; empty where it can."""
    places = _places(state, old, new)
    said = [*_ended(state, old, new), *_open_steps(state, places)]
    for id_, place in places.items():
        frame = state.frames[id_]
        said += [*_held(frame, place), *_read(state, frame, place)]

    # What is said above can be why the end is out of reach; then it is not said as well.
    said = said or [what for id_, place in places.items() for what in _cut_off(state, id_, place, new.name)]
    concerned: dict[str, list[str]] = {}
    for who, what in said:
        concerned.setdefault(what, []).append(who)

    return [f"`{who[0]}`{_more(len(set(who)) - 1)} {what}" for what, who in concerned.items()]


def _more(count: int) -> str:
    return f" (and {count} more like it)" if count else ""


def _places(state: State, old: WorkflowSpec, new: WorkflowSpec) -> dict[str, _Place]:
    """The place of each frame that is in both definitions, outer ones first."""
    if ROOT not in state.frames:
        return {}

    places = {ROOT: _Place("", _side(old), _side(new))}
    by_path: dict[str, _Place] = {}
    for activation in state.open():
        outer = places.get(activation.frame)
        if outer is None or activation.id not in state.frames:
            continue

        path = f"{outer.named(activation.node.id)}/"
        before, after = (side.steps.get(activation.node.id) for side in (outer.old, outer.new))
        if before and after and before.workflow and after.workflow:
            if path not in by_path:
                by_path[path] = _Place(path, _side(before.workflow), _side(after.workflow))

            places[activation.id] = by_path[path]

    return places


def _ended(state: State, old: WorkflowSpec, new: WorkflowSpec) -> Iterator[_Said]:
    root = state.frames.get(ROOT)
    if root is not None and root.output is not None and old.gives != new.gives:
        changed = f"gives {_types(new.gives, old.gives)}"
        yield new.name, f"has its output already, and {changed}; resume it without moving it"


def _open_steps(state: State, places: Mapping[str, _Place]) -> Iterator[_Said]:
    for activation in state.open():
        place = places.get(activation.frame)
        # An item is open as long as its map is.
        if place is not None and activation.item is None:
            name = activation.node.id
            before, after = place.old.steps[name], place.new.steps.get(name)
            for what in _misfits(place.named(name), before, after):
                yield activation.id, f"is open, and {what}"


def _misfits(name: str, old: StepSpec, new: StepSpec | None) -> Iterator[str]:
    """Why what is open in the old step cannot go on in the new one."""
    if new is None:
        yield f"there is no step `{name}` any more; keep it until the run is past it"
        return

    mend = "keep it as it was until the run is past it, and give the changed step another id"
    if new.kind != old.kind:
        yield f"step `{name}` is of kind `{new.kind}` now, not `{old.kind}`; {mend}"

    if (new.map is None) != (old.map is None):
        now = "no longer runs for each item" if new.map is None else "runs for each item now"
        yield f"step `{name}` {now}; {mend}"

    for field, before, after in (("takes", old.takes, new.takes), ("gives", old.gives, new.gives)):
        if before != after:
            yield f"step `{name}` {field} {_types(after, before)}; {mend}"


def _types(now: str, before: str) -> str:
    if short_name(now) == short_name(before):
        return f"`{now}` now, not `{before}`"

    return f"`{short_name(now)}` now, not `{short_name(before)}`"


def _held(frame: Frame, place: _Place) -> Iterator[_Said]:
    """The gathers that hold something for which there is no place any more."""
    held = _holding(frame)
    for name in dict.fromkeys(name for name, _ in held):
        step = place.new.steps.get(name)
        if step is None or step.kind != "gather":
            what = f"there is no gather `{place.named(name)}` any more; keep it until the run is past it"
        elif _feeds(place.old, name) != _feeds(place.new, name):
            what = "other branches lead to it now; keep its branches as they were until the run is past it"
        else:
            yield from _held_types([slot for gather, slot in held if gather == name], name, frame, place)
            continue

        yield _in(frame, name), f"holds what arrived of a branch, and {what}"


def _holding(frame: Frame) -> list[tuple[str, int]]:
    return sorted((frame.graph.nodes[i].id, slot) for (i, slot), queue in frame.arrived.items() if queue)


def _feeds(side: _Side, gather: str) -> set[tuple[int, str, str | None]]:
    return {(edge.slot or 0, edge.source, edge.on) for edge in side.incoming.get(gather, ())}


def _held_types(slots: Sequence[int], gather: str, frame: Frame, place: _Place) -> Iterator[_Said]:
    for edge in place.new.incoming[gather]:
        before, after = place.old.steps[edge.source], place.new.steps[edge.source]
        if edge.on is None and (edge.slot or 0) in slots and _output(before) != _output(after):
            changed = f"`{edge.source}` gives {_types(_output(after), _output(before))}"
            mend = "keep the type until the run is past the gather"
            yield _in(frame, gather), f"holds what arrived of a branch, and {changed}; {mend}"


def _output(step: StepSpec) -> str:
    """The type of the whole output: of a map, the list."""
    return step.gives if step.map is None else f"list[{step.gives}]"


def _in(frame: Frame, step: str) -> str:
    return f"{frame.id}/{step}" if frame.id else step


def _read(state: State, frame: Frame, place: _Place) -> Iterator[_Said]:
    """The steps that may come and that read an output which is not there, or is of another type."""
    at, held = _at(state, frame), set(_holding(frame))
    coming = _reached(place.new, at, held, without="")
    for reader in (step for step in place.new.steps.values() if step.reads and step.id in coming):
        for name in reader.reads:
            what = _unreadable(name, frame, place)
            # Where it comes again on each way to the reader, what it gives then is what is read.
            if what and reader.id in _reached(place.new, at, held, without=name):
                yield _in(frame, reader.id), f"is open or may come, and reads `{name}`: {what}"


def _at(state: State, frame: Frame) -> set[str]:
    return {a.node.id for a in state.active.values() if a.frame == frame.id}


def _unreadable(name: str, frame: Frame, place: _Place) -> str:
    """Why the output of a step cannot be read as things stand; empty where it can."""
    before, after = place.old.steps.get(name), place.new.steps.get(name)
    if after is None:
        return f"there is no step `{place.named(name)}` any more; keep it, or read another"

    index = next((node.index for node in frame.graph.nodes if node.id == name), -1)
    cell = frame.cells.get(index)
    if before is None or cell is None or cell.output is None:
        return "it has no output, and the run may not come to it any more; put it on each path that is still to come"

    if _output(before) != _output(after):
        return (
            f"it gives {_types(_output(after), _output(before))}; keep the type, or add a step of another id"
        )

    return ""


def _cut_off(state: State, id_: str, place: _Place, name: str) -> Iterator[_Said]:
    """A frame that can come to its end in the old definition, and from where it is cannot in the new one."""
    frame = state.frames[id_]
    at, held = _at(state, frame), set(_holding(frame))
    ways = (side.end in _reached(side, at, held, without="") for side in (place.old, place.new))
    if frame.output is None and tuple(ways) == (True, False):
        end = place.named(place.new.end)
        what = (
            f"cannot come to its end `{end}` any more: a gather on the way waits for a branch that it is past"
        )
        yield id_ or name, f"{what}; begin new branches after what is open"


def _reached(side: _Side, at: set[str], held: set[tuple[str, int]], *, without: str) -> set[str]:
    """The steps that a run can still be at: from those in `at`, with what gathers hold, never through `without`."""
    reached, filled = at - {without}, set(held)
    todo = list(reached)
    while todo:
        for edge in side.outgoing.get(todo.pop(), ()):
            filled.add((edge.target, edge.slot or 0))
            is_met = all((edge.target, slot) in filled for slot in range(side.slots.get(edge.target, 0)))
            if is_met and edge.target not in reached and edge.target != without:
                reached.add(edge.target)
                todo.append(edge.target)

    return reached
