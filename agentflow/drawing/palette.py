"""How each kind of step looks. Dark text on light fills, so that it reads on any page; approvals stand out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentflow.spec import StepKind

INK, FAINT, LOOP, TAG = "#1f2328", "#4d5661", "#8a3ffc", "#ffffff"
# What strangers wrote comes in here; a person is asked here.
RISK, RISK_FILL, ASKED = "#b3261e", "#fdeceb", "#a04d00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Colours, a line width in points, and a shape: a Graphviz name and its style, and Mermaid's brackets."""

    fill: str
    line: str
    shape: str
    brackets: tuple[str, str]
    width: float = 1.2
    style: str = "filled"
    margin: str = "0.14,0.06"


LOOKS: Mapping[StepKind, Look] = {
    "function": Look(fill="#f3f5f8", line="#6a7480", shape="box", brackets=("[", "]")),
    "planner": Look(
        fill="#e9e3fd", line="#5b3fc4", shape="hexagon", brackets=("{{", "}}"), margin="-0.12,-0.1"
    ),
    "agent": Look(fill="#dcedff", line="#0b5cad", shape="box", style="filled,rounded", brackets=("([", "])")),
    "approval": Look(
        fill="#ffd98a",
        line="#a04d00",
        shape="invtrapezium",
        brackets=("[\\", "/]"),
        width=2.6,
        margin="0,-0.08",
    ),
    "wait": Look(fill="#e6f4ea", line="#2f6b3c", shape="ellipse", brackets=(">", "]"), margin="-0.05,-0.05"),
    "gather": Look(
        fill="#4d5661",
        line="#4d5661",
        shape="box",
        style="filled,rounded",
        brackets=("((", "))"),
        margin="0.08,0",
    ),
    "workflow": Look(
        fill="#fbfcfd", line="#7d8790", shape="box", style="filled,rounded", brackets=("[[", "]]")
    ),
}
