"""The picture of a workflow with the way that a run took through it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agentflow.drawing import picture
from agentflow.drawing.palette import RISK
from agentflow.drawing.sketch import Sketch, sketch
from agentflow.events import Event, RunFailed, StepFailed, StepFinished, StepStarted
from agentflow.reporting.account import node_of
from agentflow.spec import WorkflowSpec

_SVG = "http://www.w3.org/2000/svg"
_PALE = "0.28"
_LABEL = "_back"  # begins the names of labels on arrows that lead back
_WAY = "#1a7f37"
_WIDE = "2.6"  # points


@dataclass
class Way:
    """How often each step was visited, by its path such as `handle/draft`; which failed for good; which cases it gave."""

    visits: Counter[str] = field(default_factory=Counter[str])
    failed: set[str] = field(default_factory=set[str])
    cases: dict[str, set[str | None]] = field(default_factory=dict[str, set[str | None]])

    @classmethod
    def of(cls, events: Sequence[Event]) -> Way:
        """The way of a run, from its events."""
        way = cls()
        for event in events:
            match event:
                case StepStarted(attempt=1) if not event.step.endswith("]"):
                    way.visits[node_of(event.step)] += 1
                case StepFinished():
                    way.cases.setdefault(node_of(event.step), set()).add(event.case)
                case StepFailed(final=True):
                    way.failed.add(node_of(event.step))
                case RunFailed(step=step) if step:
                    way.failed.add(node_of(step))
                case _:
                    pass

        return way


def marked_picture(spec: WorkflowSpec, way: Way) -> str:
    """The drawing as SVG for a page: what was not visited is pale, edges that were taken are green, failed steps red.

    Raises `ProjectError` where Graphviz is not installed.
    """
    svg = ET.fromstring(picture(spec, "svg"))  # noqa: S314 - Graphviz wrote it just now
    drawn = sketch(spec)
    boxes = dict(_boxes(drawn, ""))
    groups = [(group, group.find(f"{{{_SVG}}}title")) for group in svg.iter(f"{{{_SVG}}}g")]
    names = [_ends(title) for _, title in groups]
    taken = _with_labels(set(_taken(drawn, way, "")), names)
    for (group, title), ends in zip(groups, names, strict=True):
        name = (title.text or "") if title is not None else ""
        path = boxes.get(name.removeprefix("cluster_").removeprefix("_each_"))
        if path is not None:
            _mark_step(group, title, path, way)
        elif group.get("class") == "edge":
            _mark_edge(group, ends in taken)
        elif name.startswith(_LABEL) and name not in {end for pair in taken for end in pair}:
            group.set("opacity", _PALE)

    svg.set("role", "img")
    svg.set("aria-label", f"The graph of {spec.name}, with the way that this run took")
    ET.register_namespace("", _SVG)
    return ET.tostring(svg, encoding="unicode")


def _boxes(drawn: Sketch, prefix: str) -> Iterator[tuple[str, str]]:
    for step, box in drawn.boxes.items():
        yield box.id, prefix + step
        if box.inner is not None:
            yield from _boxes(box.inner, f"{prefix}{step}/")


def _taken(drawn: Sketch, way: Way, prefix: str) -> Iterator[tuple[str, str]]:
    """The edges that were followed, by the ids at their ends; gathers leave no events, so they are seen by what is around."""
    seen = _visited(drawn, way, prefix)
    if drawn.spec.start in seen:
        yield drawn.start.id, drawn.boxes[drawn.spec.start].entry

    for edge in drawn.spec.edges:
        cases = way.cases.get(prefix + edge.source, set())
        if edge.source in seen and edge.target in seen and (edge.on is None or edge.on in cases):
            yield drawn.boxes[edge.source].exit, drawn.boxes[edge.target].entry

    if way.cases.get(prefix + drawn.spec.end):
        yield drawn.boxes[drawn.spec.end].exit, drawn.end.id

    for step, box in drawn.boxes.items():
        if box.inner is not None:
            yield from _taken(box.inner, way, f"{prefix}{step}/")


def _visited(drawn: Sketch, way: Way, prefix: str) -> set[str]:
    seen = {step for step in drawn.boxes if way.visits[prefix + step]}
    gathers = {step for step, box in drawn.boxes.items() if box.step.kind == "gather"}
    for edge in drawn.spec.edges:
        if edge.source in gathers and edge.target in seen:
            seen.add(edge.source)
            way.visits[prefix + edge.source] = way.visits[prefix + edge.source] or 1

    return seen


def _ends(title: ET.Element | None) -> tuple[str, str]:
    """What an arrow leads from and to, without the sides at which it does; empty for what is no arrow."""
    tail, arrow, head = ((title.text or "") if title is not None else "").partition("->")
    return (tail.partition(":")[0], head.partition(":")[0]) if arrow else ("", "")


def _with_labels(taken: set[tuple[str, str]], names: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Arrows that lead back are laid out from head to tail, in two parts where a label is on their way."""
    found = set(taken)
    to_labels = {label: start for start, label in names if label.startswith(_LABEL)}
    for start, end in names:
        head = to_labels.get(start, start)
        if (end, head) in taken:
            found |= {(start, end), (head, start)} if start in to_labels else {(start, end)}

    return found


def _mark_step(group: ET.Element, title: ET.Element | None, path: str, way: Way) -> None:
    visits = way.visits[path]
    if title is not None:
        title.text = f"{path}: " + (
            f"visited {visits} times" if visits > 1 else "visited" if visits else "not visited"
        )

    if not visits:
        group.set("opacity", _PALE)
    elif path in way.failed:
        _stroke(group, RISK)


def _mark_edge(group: ET.Element, is_taken: bool) -> None:
    if not is_taken:
        group.set("opacity", _PALE)
        return

    _stroke(group, _WAY)


def _stroke(group: ET.Element, colour: str) -> None:
    for shape in group.iter():
        if shape.get("stroke") not in (None, "none"):
            shape.set("stroke", colour)
            shape.set("stroke-width", _WIDE)
        if shape.tag == f"{{{_SVG}}}polygon" and group.get("class") == "edge":
            shape.set("fill", colour)


def steps_in_words(spec: WorkflowSpec, way: Way) -> Mapping[str, int]:
    """How often each step was visited, where there is no picture."""
    named: list[str] = [step.id for step in spec.steps]
    return {name: way.visits[name] for name in named}
