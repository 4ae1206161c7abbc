"""Drawings of sixty steps: what is marked, how it is laid out, and what the legend says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from agentflow import Agent, Planner, Workflow, each, step, tool
from agentflow.cli.picturing import draw_workflow, marks_of
from agentflow.drawing import mermaid, picture
from agentflow.drawing.layout import dot_text
from agentflow.spec import WorkflowSpec
from tests.drawn import ASKING, UNTRUSTED, claims

SVG = "{http://www.w3.org/2000/svg}"
Spot = tuple[float, float]


@cache
def drawn() -> ET.Element:
    """The picture of the sixty steps."""
    return ET.fromstring(picture(claims(), "svg", untrusted=UNTRUSTED, asking=ASKING))


@cache
def spots() -> dict[str, Spot]:
    """Where each text stands in the picture; the first of equal ones."""
    found: dict[str, Spot] = {}
    for element in drawn().iter(f"{SVG}text"):
        words = "".join(element.itertext()).strip()
        found.setdefault(words, (float(element.get("x", 0)), float(element.get("y", 0))))

    return found


def step_ids(spec: WorkflowSpec) -> Iterator[str]:
    """All steps of a workflow and of those inside of it."""
    for one in spec.steps:
        yield one.id
        if one.workflow is not None:
            yield from step_ids(one.workflow)


def test_all_sixty_steps_are_in_the_picture() -> None:
    """Each of sixty steps, of all kinds and in three sub-workflows, is named in the SVG and in the Mermaid text."""
    names, text = list(step_ids(claims())), mermaid(claims())

    assert len(names) == 60
    assert set(names) <= set(spots())
    assert all(name in text for name in names)


def test_the_way_forward_goes_down() -> None:
    """Each step of the way stands below the one before it, also in and after loops."""
    way = (
        "receive classify register investigate weigh check_sources judge_risk assess estimate compare add_up"
    )
    way += " propose review handler_decides settle draft_letter check_wording confirm update_ledger finish"
    heights = [spots()[name][1] for name in way.split()]

    assert heights == sorted(heights)


def test_sixty_steps_fit_the_width_of_a_page() -> None:
    """The picture is no wider than a screen, so that text keeps its size and only its height is scrolled."""
    width = float(drawn().get("width", "").removesuffix("pt"))

    assert width < 1000


def test_no_two_texts_stand_on_one_another() -> None:
    """Labels of boxes and of edges keep clear of each other."""
    places = [
        (float(one.get("x", 0)), float(one.get("y", 0)), "".join(one.itertext()).strip())
        for one in drawn().iter(f"{SVG}text")
    ]

    close = [
        (words, other)
        for at, (x, y, words) in enumerate(places)
        for a, b, other in places[at + 1 :]
        if abs(y - b) < 6 and abs(x - a) < 12
    ]
    assert close == []


def test_labels_of_loops_stay_inside_of_their_workflow() -> None:
    """The case of an arrow back stands within the border of the sub-workflow that it is of."""
    clusters = {group.findtext(f"{SVG}title"): group.find(f"{SVG}path") for group in drawn().iter(f"{SVG}g")}
    for name, cases in {
        "settle": ("Unclear", "Missing"),
        "investigate": ("Doubtful",),
        "assess": ("Unlikely",),
    }.items():
        border = clusters[f"cluster_{name}"]
        assert border is not None
        across = [float(pair.split(",")[0]) for pair in re.findall(r"[-.\d]+,[-.\d]+", border.get("d", ""))]
        # A letter is some six points wide, and texts are set from their middle.
        assert all(min(across) + 25 < spots()[case][0] < max(across) - 25 for case in cases)


def test_untrusted_sources_and_approvals_are_marked() -> None:
    """Steps that are named as such say so in the picture and in Mermaid, by their path through sub-workflows."""
    text = mermaid(claims(), untrusted=UNTRUSTED, asking=ASKING)
    boxes = [line for line in text.split("\n") if "untrusted source" in line]
    words = ["".join(one.itertext()).strip() for one in drawn().iter(f"{SVG}text")]

    assert len(boxes) == len(UNTRUSTED)
    assert "class read_mail,investigate_search_web,investigate_look_up_registers" in text
    assert text.count("asks a person before a call") == len(ASKING)
    # The legend says it once more.
    assert words.count("untrusted source") == len(UNTRUSTED) + 1
    assert words.count("asks a person before a call") == len(ASKING)


def test_without_marks_nothing_is_marked() -> None:
    """A drawing of the spec alone says nothing of tools' labels, which are not in it."""
    assert "untrusted" not in mermaid(claims())
    assert "untrusted" not in dot_text(claims())


def test_the_legend_names_what_is_there() -> None:
    """A large drawing explains its shapes, borders and lines; what does not occur is left out."""
    meanings = {"a model plans tool calls", "a person decides", "runs for each item", "at most so often"}

    assert meanings <= set(spots())
    assert "_legend" in dot_text(claims())
    inner = claims().step("settle").workflow
    assert inner is not None
    assert "a model plans" not in dot_text(inner)


def test_mermaid_of_sixty_steps_opens_and_closes_three_boxes() -> None:
    """Sub-workflows are subgraphs, and every arrow joins ids that were declared."""
    lines = [line.strip() for line in mermaid(claims()).split("\n")]
    declared = {match[1] for line in lines if (match := re.match(r"(?:subgraph )?(\w+)[\[({>]", line))}
    arrows = [match for line in lines if (match := re.match(r"(\w+) -\.?->(?:\|.*\|)? (\w+)$", line))]

    assert sum(line.startswith("subgraph ") for line in lines) == lines.count("end") == 3
    assert len(arrows) > 70
    assert {end for match in arrows for end in match.groups()} <= declared


@dataclass(frozen=True, kw_only=True)
class Letter:
    text: str


@tool
async def fetch(address: str) -> str:
    """Read what somebody wrote."""
    return address


@tool(returns="trusted", effect="write", needs_approval=True)
async def send(text: str) -> str:
    """Send a letter."""
    return text


@step
async def gather_up(letters: list[Letter]) -> Letter:
    return letters[0]


def answering() -> Workflow[Letter, Letter]:
    """A workflow with a sub-workflow for each item, and tools of both labels."""
    research = Planner("research", takes=Letter, gives=list[Letter], tools=[fetch])
    reply = Agent("reply", takes=Letter, gives=Letter, prompt="Answer.", tools=[send])
    handle = Workflow("handle", start=reply, end=reply)
    return Workflow("answering", start=research, end=gather_up, edges=[research >> each(handle) >> gather_up])


def test_marks_come_from_the_labels_of_tools() -> None:
    """A step is marked by the tools that it holds: untrusted results, and calls that a person must approve."""
    marks = marks_of(answering())

    assert marks.untrusted == {"research"}
    assert marks.asking == {"handle/reply"}


def test_the_command_draws_the_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`draw` marks steps in each kind of file, and Mermaid in Markdown stands in a fence."""

    def found(name: str | None, file: str | None) -> tuple[None, Workflow[Letter, Letter]]:
        return None, answering()

    monkeypatch.setattr("agentflow.cli.picturing.find_workflow", found)
    for kind in ("mmd", "md", "svg"):
        assert draw_workflow(None, "w.py", tmp_path / f"w.{kind}", as_json=False) == 0
        assert "untrusted source" in (tmp_path / f"w.{kind}").read_text()

    assert (tmp_path / "w.md").read_text().startswith("```mermaid\n---\n")
    assert (tmp_path / "w.md").read_text().endswith("\n```\n")
    assert "wrote" in capsys.readouterr().out
