"""What may go wrong, and what a chosen model cannot give: said by the check, and no reason to refuse a definition."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from agentflow import Agent, Answer, Context, DefinitionError, Evidence, Planner, Workflow, each, step, tool
from agentflow.exceptions import ModelCannot
from agentflow.models.embedded.brain import Exchange, respond
from agentflow.models.output import Output
from agentflow.validation import cannot_produce, validate
from agentflow.workflow import keeping_problems
from tests.definition import stock
from tests.definition.sound import SOUND, inner, last, measure, one, two


@dataclass(frozen=True, kw_only=True)
class Order:
    """An input with a field too many."""

    number: int
    colour: str = ""

    @property
    def twice(self) -> int:
        return self.number * 2


class Mood(Enum):
    """A label."""

    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Labels alone."""

    mood: Mood
    urgent: bool
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Nested:
    """Labels in labels."""

    verdict: Verdict
    sure: bool | None = None


class Code(BaseModel):
    """A program."""

    code: str


class Cited(BaseModel):
    """An answer of another name."""

    answer: str
    citations: list[int]


@tool(effect="write")
async def send(text: str) -> str:
    """Send it."""
    return text


@tool(effect="write", idempotent=True)
async def put(text: str) -> str:
    """Put it there."""
    return text


@step
async def count_order(order: Order) -> int:
    return order.number


@step
async def twice_order(order: Order) -> int:
    return order.twice


@step
async def pass_order(order: Order) -> int:
    return len(str(order))


@step
async def colour_of(number: int, ctx: Context) -> str:
    return str(ctx.input.colour)


@step(retries=2)
async def send_again(text: str) -> str:
    return await send(text)


@step(retries=2)
async def put_again(text: str) -> str:
    return await put(text)


def warned(workflow: Workflow[Any, Any]) -> list[str]:
    return [problem.code for problem in workflow.warnings() if problem.code.startswith("AF1")]


def alone(only: Any) -> Workflow[Any, Any]:
    return Workflow("w", start=only, end=only)


def test_sound_graphs_have_no_warnings() -> None:
    """Nothing is said of any graph of the sound corpus."""
    assert [(name, warned(s.build())) for name, s in SOUND.items() if warned(s.build())] == []


def test_a_field_that_nothing_reads() -> None:
    """A field of the input that the first step leaves out is warned of, with its name."""
    (found,) = alone(count_order).warnings()

    assert (found.code, found.severity) == ("AF150", "warning")
    assert "`colour`" in found.what
    assert found.where.startswith("workflow `w` (")


@pytest.mark.parametrize(
    "workflow",
    [
        alone(twice_order),
        alone(pass_order),
        alone(Agent("ask", takes=Order, gives=str)),
        Workflow("w", start=count_order, end=colour_of, edges=[count_order >> colour_of]),
    ],
)
def test_a_field_that_something_may_read(workflow: Workflow[Any, Any]) -> None:
    """Where a property, the whole value, a model or `ctx.input` may read it, nothing is said."""
    assert warned(workflow) == []


def test_a_write_that_may_be_made_again() -> None:
    """A step with retries and a write that is not idempotent is warned of, also in a map, an agent and below one."""
    below = Agent("below", takes=str, gives=str, tools=[send])
    agent = Agent("ask", takes=str, gives=str, handoffs=[below], retries=1)
    planner = Planner("find", takes=str, gives=str, tools=[send, put], retries=1)

    assert "AF151" in warned(alone(send_again))
    assert "AF151" in warned(alone(each(send_again)))
    assert "AF151" in warned(alone(agent))
    assert warned(alone(planner)) == ["AF151"]
    assert "AF151" in warned(alone(Workflow("inside", start=send_again, end=send_again)))
    assert warned(alone(put_again)) == []


def test_a_workflow_in_one_of_its_name() -> None:
    """A workflow that contains another of its own name is warned of."""
    deep = Workflow("around", start=inner, end=inner)

    assert warned(Workflow("inner", start=deep, end=deep)) == ["AF153"]
    assert warned(Workflow("other", start=deep, end=deep)) == []


def test_a_workflow_in_itself() -> None:
    """AF119: a spec that is a step of itself, as no definition but a hand-made one can be, is refused."""
    around = Workflow("around", start=inner, end=inner)
    spec = around.spec
    object.__setattr__(spec.steps[0], "workflow", spec)

    assert [p.code for p in validate(spec, around.types)] == ["AF119"]


def test_problems_inside_and_around_are_said_together() -> None:
    """While problems are kept, a broken workflow can be put into another, which has the problems of both."""
    wrong: Any = measure
    with keeping_problems():
        broken = Workflow("broken", start=one, end=last, edges=[one >> wrong >> last])
        outer = Workflow("outer", start=broken, end=two, edges=[broken >> wrong >> two])

    assert [p.code for p in outer.problems] == ["AF107", "AF107"]
    with pytest.raises(DefinitionError, match="2 problems"):
        Workflow("last", start=outer, end=outer)


TYPES: list[Any] = [
    Verdict,
    Nested,
    Code,
    Cited,
    Mood,
    bool,
    Literal["a", "b"],
    int,
    float,
    list[str],
    stock.Question,
    stock.Note,
    stock.Notes,
    stock.Draft,
    Order,
]


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_what_the_embedded_model_cannot_write_is_known_before(type_: Any) -> None:
    """The check says so of a type exactly where the embedded model, asked for it, says that it cannot."""
    spec = alone(Agent("ask", takes=str, gives=type_)).spec
    evidence = [
        {"n": 1, "text": "The sky is blue.", "source": "s", "place": "", "title": "", "trust": "trusted"}
    ]
    text = json.dumps({"question": "What is blue?", "evidence": evidence, "table": {"columns": []}})
    schema = Output(type_).schema
    try:
        respond(Exchange(text=text, schema=schema))
        able = True
    except ModelCannot as cannot:
        able = "for the question" in str(cannot) or "a program" in str(cannot)

    assert [p.code for p in cannot_produce(spec, "embedded")] == ([] if able else ["AF118"])


def test_what_a_model_can_write() -> None:
    """Text, evidence and answers are fine; a language model can write anything, and a step's own model counts."""
    fine: list[Any] = [str, Answer, list[Evidence]]
    own = Agent("ask", takes=str, gives=Order, model="gpt-5")
    deep = Workflow("deep", start=(bad := Agent("bad", takes=str, gives=Order)), end=bad)
    (found,) = cannot_produce(alone(deep).spec, "embedded")

    assert all(
        cannot_produce(alone(Planner("p", takes=str, gives=t, tools=[])).spec, "embedded") == [] for t in fine
    )
    assert cannot_produce(alone(own).spec, "embedded") == []
    assert cannot_produce(alone(deep).spec, "responses/gpt-5") == []
    assert found.where == "step `deep/bad`"
    assert "`Order`" in found.what


def test_tools_of_a_planner_are_checked_like_those_of_an_agent() -> None:
    """A plain function among a planner's tools, and two tools of one name, are problems that are told, not lost."""

    async def plain(text: str) -> str:
        return text

    @tool(name="look")
    async def first(text: str) -> str:
        """Look."""
        return text

    @tool(name="look")
    async def second(text: str) -> str:
        """Look again."""
        return text

    wrong: Any = [plain, first, second]
    plan = Planner("plan", takes=str, gives=list[Evidence], tools=wrong)
    with pytest.raises(DefinitionError) as caught:
        Workflow("w", start=plan, end=plan)

    assert sorted(problem.code for problem in caught.value.problems) == ["AF112", "AF117"]
