"""Drawings: what they say, how they are laid out, and that no name can break them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

from agentflow import (
    Agent,
    Approval,
    Budget,
    Evidence,
    Planner,
    Rejected,
    Wait,
    Workflow,
    each,
    gather,
    step,
    tool,
)
from agentflow.drawing import mermaid, picture, rendering
from agentflow.drawing.captions import budget, duration, name_lines
from agentflow.drawing.layout import dot_text
from agentflow.drawing.sketch import direction, sketch
from agentflow.exceptions import ProjectError, UnknownName
from agentflow.spec import EdgeSpec, MapSpec, StepSpec, WorkflowSpec

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    'a"b',
    "<script>alert(1)</script>",
    "x\ny\r\nz",
    "ends in \\",
    "\\n\\N\\G",
    "&nbsp; &amp;lt; ]]>",
    "naïve 手順 🚀 шаг",
    "`code` *bold* __init__ {{x}} %%{init}%% $$x$$ fa:fa-car",
    '"]; click a "javascript:alert(1)"',
    "end",
    "graph",
    "node",
    "_start",
    "--> |pipe| ---",
    "1. list",
    "a" * 300,
    "many words " * 40,
    "\x00\x1b[31m\ud800\ufffe\u202e",
    "",
)


@dataclass(frozen=True, kw_only=True)
class Question:
    question: str


@dataclass(frozen=True, kw_only=True)
class Note:
    text: str


@dataclass(frozen=True, kw_only=True)
class Notes:
    notes: list[Note]


@dataclass(frozen=True, kw_only=True)
class Draft:
    text: str


@dataclass(frozen=True, kw_only=True)
class Revision(Notes):
    why: str


@tool
async def web_search(query: str) -> list[Evidence]:
    """Search."""
    return [Evidence(text=query, source="")]


@step
async def divide(question: Question) -> list[Question]:
    return [question]


@step(timeout=30, retries=2)
async def read(evidence: Evidence) -> Note:
    return Note(text=evidence.text)


@step
async def collect(notes: list[Note]) -> Notes:
    return Notes(notes=notes)


@step
async def check(draft: Draft) -> Draft | Revision:
    return draft


@step
async def shorten(draft: Draft) -> Draft:
    return draft


@step
async def translate(draft: Draft) -> Draft:
    return draft


@step
async def choose(drafts: tuple[Draft, Draft]) -> Draft:
    return drafts[0]


@step
async def drop(refusal: Rejected) -> Draft:
    return Draft(text=refusal.comment)


def brief() -> Workflow[Question, Draft]:
    """A small workflow with a planner, a map, an agent, a loop and an approval."""
    plan = Planner("plan", takes=Question, gives=list[Evidence], tools=[web_search], max_calls=12)
    write = Agent("write", takes=Notes, gives=Draft, prompt="Write.", max_turns=6)
    approve = Approval("approve", of=Draft)
    return Workflow(
        "brief",
        start=plan,
        end=approve,
        edges=[
            plan >> each(read, parallel=8, at_most=20) >> collect >> write >> check,
            check.on(Revision, at_most=3) >> write,
            check.on(Draft) >> approve,
        ],
        budget=Budget(model_calls=60, usd=0.5, minutes=15),
        description="A cited brief.",
    )


def edition() -> Workflow[Question, Draft]:
    """A larger one: a mapped sub-workflow, a gather, a wait and a handled refusal."""
    pick = Agent("pick", takes=list[Draft], gives=Draft, prompt="Pick one.", tools=[web_search], max_turns=4)
    pause = Wait("pause", of=Draft, seconds=5400)
    release = Approval("release", of=Draft)
    publish = Agent("publish", takes=Draft, gives=Draft, prompt="Publish.")
    return Workflow(
        "edition",
        start=divide,
        end=publish,
        edges=[
            divide
            >> each(brief(), parallel=3, at_most=7)
            >> pick
            >> gather(shorten, translate)
            >> choose
            >> pause
            >> release,
            release.on(Draft) >> publish,
            release.on(Rejected) >> drop >> publish,
        ],
    )


def chain(names: Sequence[str], *, at_most: int | None = None) -> WorkflowSpec:
    """Function steps one after another."""
    steps = tuple(StepSpec(id=name, kind="function", call=f"steps:{name}") for name in names)
    edges = tuple(EdgeSpec(source=a, target=b, on=f"types:{b}", at_most=at_most) for a, b in pairwise(names))
    return WorkflowSpec(name="chain", start=names[0], end=names[-1], steps=steps, edges=edges)


def fan(width: int) -> WorkflowSpec:
    """One step whose output goes to many, and a gather."""
    names = [f"check_{n}" for n in range(width)]
    steps = [StepSpec(id=name, kind="function") for name in ("split", *names)]
    edges = [EdgeSpec(source="split", target=name) for name in names]
    edges += [EdgeSpec(source=name, target="join", slot=slot) for slot, name in enumerate(names)]
    steps.append(StepSpec(id="join", kind="gather"))
    return WorkflowSpec(name="fan", start="split", end="join", steps=tuple(steps), edges=tuple(edges))


def texts(svg: bytes) -> list[str]:
    """The lines of text in a picture."""
    return ["".join(element.itertext()).strip() for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_mermaid_of_a_small_workflow() -> None:
    """The Mermaid text is exactly this: shapes by kind, limits in the boxes, cases and bounds on the edges."""
    assert (
        mermaid(brief().spec)
        == """\
---
title: "brief · A cited brief. · budget 60 model calls, $0.50, 15 min"
---
flowchart TB
    _start(["start"])
    plan{{"plan<br/>planner · at most 12 calls in 4 rounds<br/>tools: web_search"}}
    read[["read<br/>within 30 s · 2 retries<br/>each, at most 20, 8 at once"]]
    collect["collect"]
    write(["write<br/>agent · at most 6 turns"])
    check["check"]
    approve[\\"approve<br/>approval · a person decides"/]
    _end(["end"])
    _start -->|"Question"| plan
    plan --> read
    read --> collect
    collect --> write
    write --> check
    check -.->|"Revision<br/>at most 3"| write
    check -->|"Draft"| approve
    approve -->|"Draft"| _end
    classDef function fill:#f3f5f8,stroke:#6a7480,stroke-width:1.2px,color:#1f2328
    class read,collect,check function
    classDef planner fill:#e9e3fd,stroke:#5b3fc4,stroke-width:1.2px,color:#1f2328
    class plan planner
    classDef agent fill:#dcedff,stroke:#0b5cad,stroke-width:1.2px,color:#1f2328
    class write agent
    classDef approval fill:#ffd98a,stroke:#a04d00,stroke-width:2.6px,color:#1f2328
    class approve approval
    classDef each stroke-width:3px
    class read each
    classDef mark fill:#1f2328,stroke:#7d8790,color:#ffffff
    class _start,_end mark"""
    )


def test_mermaid_puts_a_sub_workflow_into_a_box() -> None:
    """A sub-workflow is a subgraph with its own start and end, and arrows lead to it, not into it."""
    text = mermaid(edition().spec)

    inside = text[text.index("subgraph brief") : text.index("\n    end\n")]
    assert (
        'subgraph brief["brief · workflow · budget 60 model calls, $0.50, 15 min · each, at most 7, 3 at once"]'
        in text
    )
    assert all(f"brief_{name}" in inside for name in ("plan", "read", "collect", "write", "check", "approve"))
    assert "    brief --> pick\n" in text
    assert '    _brief_start -->|"Question"| brief_plan\n' in text
    assert "    gather_shorten_translate --> choose\n" in text


def test_svg_shows_every_step_and_bound() -> None:
    """The SVG is XML and names each step, kind, limit, tool, case and bound, also inside of a sub-workflow."""
    seen = texts(picture(edition().spec, "svg"))

    names = {
        "brief",
        "plan",
        "read",
        "collect",
        "write",
        "check",
        "approve",
        "pick",
        "shorten",
        "translate",
        "gather",
    }
    assert names | {"divide", "choose", "pause", "release", "publish", "drop", "start", "end"} <= set(seen)
    assert {"each, at most 20, 8 at once", "each, at most 7, 3 at once", "within 30 s · 2 retries"} <= set(
        seen
    )
    assert {"planner · at most 12 calls in 4 rounds", "agent · at most 4 turns", "wait · 90 min"} <= set(seen)
    assert {"tools: web_search", "approval · a person decides"} <= set(seen)
    assert {"Revision", "at most 3", "Rejected", "Draft", "Question"} <= set(seen)


def test_svg_has_a_white_ground() -> None:
    """A picture reads the same in a dark viewer, as it brings its own background."""
    polygons = ET.fromstring(picture(brief().spec, "svg")).iter(f"{SVG}polygon")

    assert next(polygons).get("fill") == "white"


def test_png_is_a_png() -> None:
    """A PNG begins as PNG files do, and is drawn at twice the size of the SVG for sharp text."""
    data = picture(brief().spec, "png")

    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(data[16:20], "big") > 400


@pytest.mark.parametrize("end", [HOSTILE[0], HOSTILE[-1]])
def test_hostile_names_are_drawn_as_they_are(end: str) -> None:
    """No name breaks out of its label: the SVG stays XML, holds no script, and shows the names."""
    names = [*(name for name in HOSTILE if name != end), end]
    spec = replace(chain(names, at_most=2), name=names[1], description=" ".join(HOSTILE[:9]))
    inner = StepSpec(id=names[4], kind="workflow", workflow=chain(HOSTILE), map=MapSpec())
    agent = StepSpec(
        id=names[5], kind="agent", options={"tools": HOSTILE, "handoffs": [{"name": n} for n in HOSTILE]}
    )
    steps = tuple({inner.id: inner, agent.id: agent}.get(s.id, s) for s in spec.steps)
    svg = picture(replace(spec, steps=steps), "svg")

    assert {element.tag.removeprefix(SVG) for element in ET.fromstring(svg).iter()} <= {
        *("svg", "g", "title", "polygon", "polyline", "path", "ellipse", "text")
    }
    shown = set(texts(svg))
    assert {"<script>alert(1)</script>", "x y z", "ends in \\", "\\n\\N\\G", "&nbsp; &amp;lt; ]]>"} <= shown
    assert {"naïve 手順 🚀 шаг", "end", "graph", "node", "_start", "[31m", "(no name)"} <= shown


def test_hostile_names_cannot_leave_a_mermaid_label() -> None:
    """In Mermaid text each line is a statement of ours, with quotes only around labels, and ids are plain words."""
    spec = replace(chain(HOSTILE), name=HOSTILE[0], description=HOSTILE[2])
    body = mermaid(spec).split("\n")[4:]

    label = r'"[^"<>`]*(<br/>[^"<>`]*)*"'
    statement = rf"\w+(\[{label}\]|\(\[{label}\]\))|\w+ -->(\|{label}\|)? \w+|class(Def)? [\w,]+ [\w:#,.-]+"
    assert [line for line in body if not re.fullmatch(rf"    ({statement})", line)] == []
    ids = [line.split("[")[0].strip() for line in body[1 : len(HOSTILE) + 1]]
    assert len(set(ids)) == len(HOSTILE)
    assert not {"end", "graph", "_start", "_end"} & set(ids)


def test_ids_do_not_collide_across_sub_workflows() -> None:
    """Steps whose ids would be the same word, inside and outside of a sub-workflow, stay apart."""
    inner = replace(chain(["b", "c"]), name="a")
    outer = chain(["a", "a_b", "a b", "a-b"])
    steps = (StepSpec(id="a", kind="workflow", workflow=inner), *outer.steps[1:])
    drawn = sketch(replace(outer, steps=steps))

    ids = [box.id for part in drawn.all() for box in part.boxes.values()]
    assert len(set(ids)) == len(ids) == 6


def test_long_workflows_go_down_and_broad_ones_across() -> None:
    """The direction is the one that leaves the boxes larger on a page; loops do not count as length."""
    assert direction(sketch(chain(["one", "two"]))) == "LR"
    assert direction(sketch(chain([f"s{n}" for n in range(12)]))) == "TB"
    assert direction(sketch(fan(12))) == "LR"
    loops = tuple(
        EdgeSpec(source=f"check_{n}", target="split", on="types:Again", at_most=2) for n in range(12)
    )
    assert direction(sketch(replace(fan(12), edges=(*fan(12).edges, *loops)))) == "LR"


def test_sixty_steps_are_drawn() -> None:
    """A workflow of 60 steps is laid out, with each of its steps in the picture."""
    names = [f"part_{n}" for n in range(60)]

    assert set(names) <= set(texts(picture(chain(names), "svg")))


def test_loops_leave_at_the_side() -> None:
    """An arrow back is led round the way forward, and given from its head to its tail so that ranks are the way's."""
    spec = chain(["a", "b", "c"])
    back = (
        EdgeSpec(source="c", target="a", on="types:Again", at_most=2),
        EdgeSpec(source="b", target="b", at_most=1),
    )
    lines = dot_text(replace(spec, edges=(*spec.edges, *back))).split("\n")

    led = {line.split(" [")[0]: line for line in lines if "tailport=" in line}
    assert set(led) == {'"a" -> "_back0"', '"b" -> "b"'}
    assert 'dir="back"' in led['"a" -> "_back0"']
    assert any(line.startswith('"_back0" -> "c" ') for line in lines)
    assert "dir=" not in led['"b" -> "b"']


def test_unknown_steps_are_named() -> None:
    """A spec whose edges name a step that it does not have is refused in words."""
    spec = replace(chain(["load", "send"]), edges=(EdgeSpec(source="load", target="sent"),))

    with pytest.raises(UnknownName, match="there is no step of `chain` `sent`") as caught:
        mermaid(spec)

    assert "`send`" in caught.value.hint


def test_missing_graphviz_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without `dot`, a picture is refused with the command that installs it, and Mermaid still works."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ProjectError, match=r"`dot`.* is not installed") as caught:
        picture(brief().spec, "svg")

    assert "apt-get install graphviz" in caught.value.hint
    assert "brew install graphviz" in caught.value.hint
    assert mermaid(brief().spec)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'syntax error in line 7' >&2; exit 1",
            "`dot` could not draw `brief`; it said: syntax error in line 7",
        ),
        ("exit 0", "`dot` could not draw `brief`; it said: nothing"),
        ("exec sleep 30", "`dot` needed more than 0.1 s to lay out `brief`"),
    ],
)
def test_failing_graphviz_is_told(
    script: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A `dot` that fails, gives nothing or does not end becomes an error in words."""
    program = tmp_path / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    if "sleep" in script:
        monkeypatch.setattr(rendering, "SECONDS", 0.1)

    with pytest.raises(ProjectError) as caught:
        picture(brief().spec, "svg")

    assert str(caught.value) == message


def test_durations_and_budgets_in_words() -> None:
    """Times stand in the largest unit that divides them, numbers with their nouns."""
    assert [duration(s) for s in (0.5, 30, 90, 120, 7200, 86_400)] == [
        "0.5 s",
        "30 s",
        "90 s",
        "2 min",
        "2 h",
        "1 d",
    ]
    assert (
        budget(Budget(model_calls=1, tool_calls=2, tokens=4_000_000))
        == "budget 1 model call, 2 tool calls, 4,000,000 tokens"
    )
    assert budget(Budget()) == ""


def test_long_names_break_where_words_end() -> None:
    """A long name is broken at its underscores, and cut after three lines."""
    assert name_lines("summarise_all_regional_sales_reports") == ["summarise_all_regional_sales_", "reports"]
    assert name_lines("x" * 300) == ["x" * 30, "x" * 30, "x" * 29 + "…"]
