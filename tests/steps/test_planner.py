"""Planner steps with a scripted model behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message

from agentflow import (
    Answer,
    Budget,
    Evidence,
    MemoryJournal,
    Planner,
    Result,
    Settings,
    Tool,
    ToolError,
    Workflow,
    context,
    run,
    tool,
)
from agentflow.context import current
from agentflow.events import OperationFinished, OperationStarted
from agentflow.exceptions import (
    AgentflowError,
    BudgetExhausted,
    EffectInDoubt,
    JournalUnwritable,
    RunCancelled,
    RunRejected,
    RunWaiting,
)
from agentflow.marking import unmarked
from agentflow.models.pool import ModelPool
from tests.models.recording import Recording, recorded


@dataclass(frozen=True, kw_only=True)
class Ask:
    question: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    yes: bool
    why: str


class Calls:
    """Tools that write down how they were called."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.running = self.most = 0

        @tool(effect="read", returns="untrusted")
        async def find(query: str, limit: int = 3) -> list[Evidence]:
            """Find passages."""
            self.seen.append(("find", query))
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.02)
            self.running -= 1
            return [Evidence(text=f"about {query}, see http://site.test/{query}.", source=f"{query}.md")]

        @tool(effect="read")
        async def open_page(url: str) -> str:
            """Open a page."""
            self.seen.append(("open_page", url))
            if "broken" in url:
                raise ToolError("the page is broken", hint="try another")
            return f"page {url}"

        @tool(effect="write", needs_approval=True)
        async def pay(amount: int) -> str:
            """Pay."""
            self.seen.append(("pay", amount))
            return "paid"

        self.tools: list[Tool[..., Any]] = [find, open_page, pay]


def turn(*calls: dict[str, Any], done: bool = False) -> Any:
    """A planning turn as a model says it."""
    full = [
        {
            "after": [],
            "why": "",
            "confidence": 0.9,
            "alternatives": [],
            **c,
            "arguments": json.dumps(c["arguments"]),
        }
        for c in calls
    ]
    return assistant_message(json.dumps({"thought": "so be it", "calls": full, "done": done}))


async def planned(
    steps: Sequence[Any], calls: Calls, *, gives: Any = list[Evidence], **limits: Any
) -> tuple[Result[Any], ScriptedModel, MemoryJournal]:
    """Run a planner on a scripted model."""
    budget = limits.pop("budget", None)
    model = ScriptedModel([[item] for item in steps])
    journal = MemoryJournal()
    plan = Planner("plan", takes=Ask, gives=gives, tools=calls.tools, **limits)
    workflow = Workflow("w", start=plan, end=plan, budget=budget)
    settings = Settings(journal=journal, model="scripted/m", models={"m": model})
    result = await run(workflow, Ask(question="what?"), settings=settings).result()
    return result, model, journal


def told(model: ScriptedModel, number: int) -> dict[str, Any]:
    """The document that the model was given in its call `number`."""
    text = model.calls[number].input
    content = text if isinstance(text, str) else text[0]["content"]
    found: dict[str, Any] = json.loads(content)
    return found


async def test_independent_calls_run_in_parallel_and_evidence_is_stamped() -> None:
    """Calls without `after` overlap; their evidence comes in order, with tool, time and trust."""
    calls = Calls()
    plan = [
        turn(*({"id": f"c{i}", "tool": "find", "arguments": {"query": f"q{i}"}} for i in range(3))),
        turn(done=True),
    ]

    result, _, _ = await planned(plan, calls)

    evidence = result.unwrap()
    assert [e.source for e in evidence] == ["q0.md", "q1.md", "q2.md"]
    assert calls.most == 3
    assert {(e.tool, e.trust) for e in evidence} == {("find", "untrusted")}
    assert all(e.at for e in evidence)


async def test_a_call_waits_for_those_it_needs_and_uses_their_result() -> None:
    """`after` orders calls, and `${c1.url}` is the first address in the result of c1."""
    calls = Calls()
    plan = [
        turn(
            {"id": "c2", "tool": "open_page", "arguments": {"url": "${c1.url}"}, "after": ["c1"]},
            {"id": "c1", "tool": "find", "arguments": {"query": "tea"}},
        ),
        turn(done=True),
    ]

    result, _, _ = await planned(plan, calls)

    assert calls.seen == [("find", "tea"), ("open_page", "http://site.test/tea")]
    assert [e.source for e in result.unwrap()] == ["tea.md", "tool:open_page"]


async def test_what_goes_wrong_is_told_to_the_model_which_plans_again() -> None:
    """An unknown tool, bad arguments and a tool's error: each is an observation."""
    calls = Calls()
    plan = [
        turn(
            {"id": "c1", "tool": "fnd", "arguments": {"query": "a"}},
            {"id": "c2", "tool": "find", "arguments": {"qery": "a"}},
            {"id": "c3", "tool": "open_page", "arguments": {"url": "http://broken"}},
        ),
        turn({"id": "c5", "tool": "find", "arguments": {"query": "b"}}),
        turn(done=True),
    ]

    result, model, _ = await planned(plan, calls)

    seen = {o["id"]: o for o in told(model, 1)["observations"]}
    assert "there is no tool `fnd`; there are: find, open_page, pay" in seen["c1"]["error"]
    assert "`query`" in seen["c2"]["error"]
    assert "`find` takes `query`, `limit`" in seen["c2"]["error"]
    assert unmarked(seen["c3"]["error"]) == "the page is broken try another" != seen["c3"]["error"]
    assert calls.seen == [("open_page", "http://broken"), ("find", "b")]
    assert len(result.unwrap()) == 1


async def planned_alone(
    plan: Sequence[Any], tools: Sequence[Tool[..., Any]], person: Any = None, refuse: Any = None
) -> tuple[Any, Recording, ScriptedModel]:
    """Run a planner by itself, with a person who answers at once."""
    model = ScriptedModel([[item] for item in plan])
    planner = Planner("plan", takes=str, gives=list[Evidence], tools=tools)
    shared = {"models": ModelPool({}, extra={"m": model})}
    with recorded(refuse, person=person, shared=shared, model="scripted/m") as recording:
        inside = current()
        assert inside is not None
        return await planner.execute("what?", inside), recording, model


def pay_turn(*amounts: Any) -> Any:
    return turn(*({"id": f"c{a}", "tool": "pay", "arguments": {"amount": a}} for a in amounts))


async def test_calls_that_need_a_person_ask_at_the_same_time() -> None:
    """Each call of one plan is asked about before any is answered; a refusal is told with the person's reason."""
    calls = Calls()
    all_asked = asyncio.Event()
    asked: list[int] = []

    async def person(tool: str, arguments: Mapping[str, Any]) -> context.Verdict:
        asked.append(arguments["amount"])
        if len(asked) == 2:
            all_asked.set()

        await all_asked.wait()
        return context.Verdict(approved=arguments["amount"] < 10, by="Ann", comment="too much")

    plan = [pay_turn(5, 50, "all"), turn(done=True)]
    found, recording, model = await planned_alone(plan, calls.tools, person)

    seen = {o["id"]: o for o in told(model, 1)["observations"]}
    assert calls.seen == [("pay", 5)]
    assert (unmarked(seen["c5"]["text"]), seen["c50"]["error"]) == (
        "paid",
        "a person refused this call of `pay`: too much",
    )
    assert "do not fit" in seen["call"]["error"]
    assert [e.source for e in found] == ["tool:pay"]
    made = {k.request["amount"]: k.once for k in recording.kept if k.operation.name == "pay"}
    assert made == {5: True, 50: False, "all": False}


@pytest.mark.parametrize(
    "stop", [BudgetExhausted, EffectInDoubt, RunCancelled, RunRejected, RunWaiting, JournalUnwritable]
)
async def test_what_ends_the_step_is_not_told_and_leaves_no_call_running(stop: type[AgentflowError]) -> None:
    """When one call ends the step, those beside it are cancelled and over before the step is."""
    over: list[str] = []
    begun = asyncio.Event()

    @tool
    async def slow() -> str:
        """Take long."""
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            over.append("slow")

        return ""

    @tool
    async def ending() -> str:
        """End the step."""
        await begun.wait()
        raise stop("enough")

    names = ("slow", "ending")
    wanted: list[dict[str, Any]] = [{"id": name, "tool": name, "arguments": {}} for name in names]
    with pytest.raises(stop, match="enough"):
        await planned_alone([turn(*wanted)], [slow, ending])

    assert over == ["slow"]


async def test_max_calls_holds_within_one_plan() -> None:
    """A plan of more calls than are left has the rest refused, and nothing more is planned."""
    calls = Calls()
    plan = [turn(*({"id": f"c{i}", "tool": "find", "arguments": {"query": f"q{i}"}} for i in range(5)))]

    result, model, _ = await planned(plan, calls, max_calls=3)

    assert len(calls.seen) == 3
    assert len(result.unwrap()) == 3
    assert len(model.calls) == 1


async def test_max_rounds_stops_a_model_that_never_does() -> None:
    """A model that always wants one more call gets `max_rounds` turns."""
    calls = Calls()
    plan = [turn({"id": f"c{i}", "tool": "find", "arguments": {"query": f"q{i}"}}) for i in range(10)]

    result, model, _ = await planned(plan, calls, max_rounds=2)

    assert len(model.calls) == 2
    assert len(result.unwrap()) == 2


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ([{"id": "c1", "after": ["c9"]}], "waits for c9"),
        ([{"id": "c1", "after": ["c2"]}, {"id": "c2", "after": ["c1"]}], "wait for each other"),
        ([{"id": "c1"}, {"id": "c1"}], "an id twice"),
    ],
)
async def test_a_plan_that_cannot_be_carried_out_fails_the_step(
    plan: list[dict[str, Any]], said: str
) -> None:
    """Unknown, circular and doubled ids are refused in words, before any call is made."""
    calls = Calls()
    wanted = [{"tool": "find", "arguments": {"query": "a"}, **c} for c in plan]

    result, _, _ = await planned([turn(*wanted)], calls)

    assert result.status == "failed"
    assert result.error is not None
    assert result.error.kind == "PlanInvalid"
    assert said in result.error.message
    assert calls.seen == []


async def test_prose_instead_of_a_plan_is_sent_back_once() -> None:
    """A model that answers with prose is told what was wrong; if it does so again the step fails in words."""
    calls = Calls()
    result, _, _ = await planned([assistant_message("Sure! I would search."), turn(done=True)], calls)
    assert result.status == "done"

    result, _, _ = await planned([assistant_message("Sure!"), assistant_message("Sure thing!")], calls)
    assert result.error is not None
    assert result.error.kind == "ModelOutputInvalid"
    assert "Sure thing!" in result.error.message


async def test_an_answer_cites_the_evidence() -> None:
    """A planner that gives an `Answer` lets the model write and resolves its marks; a wrong mark is taken out."""
    calls = Calls()
    plan = [
        turn(*({"id": f"c{i}", "tool": "find", "arguments": {"query": f"q{i}"}} for i in range(2))),
        turn(done=True),
        assistant_message("The second says so [2]. Nobody says this [7]."),
    ]

    result, _, _ = await planned(plan, calls, gives=Answer)

    answer: Answer = result.unwrap()
    assert answer.text == "The second says so [1]. Nobody says this."
    assert [c.source for c in answer.citations] == ["q1.md"]


async def test_a_result_of_any_type_comes_from_the_model() -> None:
    """A planner that gives a type of the user's has the model fill it in from the observations."""
    plan = [turn(done=True), assistant_message('{"yes": true, "why": "because"}')]

    result, _, _ = await planned(plan, Calls(), gives=Verdict)

    assert result.unwrap() == Verdict(yes=True, why="because")


async def test_each_turn_and_call_is_recorded_with_what_was_chosen() -> None:
    """The model call is a child of its plan; tool calls stand beside it, with arguments and labels."""
    plan = [turn({"id": "c1", "tool": "find", "arguments": {"query": "a"}}), turn(done=True)]

    result, _, journal = await planned(plan, Calls())

    events = await journal.read(result.run_id)
    begun = [e for e in events if isinstance(e, OperationStarted)]
    assert [(e.kind, e.name) for e in begun] == [
        ("plan", "plan"),
        ("chat", "m"),
        ("tool", "find"),
        ("plan", "plan"),
        ("chat", "m"),
    ]
    assert begun[1].parent == begun[0].operation
    assert begun[2].parent == ""
    assert begun[2].request is not None
    assert begun[2].request.data == {"query": "a"}
    assert begun[2].attributes["call_id"] == "c1"
    ended = {e.operation: e for e in events if isinstance(e, OperationFinished)}
    chosen = ended[begun[0].operation].result
    assert chosen is not None
    assert chosen.data["calls"][0]["confidence"] == 0.9


async def test_a_budget_ends_the_step_and_is_not_told_to_the_model() -> None:
    """When the budget of tool calls is used up the run fails with `BudgetExhausted`, after exactly so many calls."""
    calls = Calls()
    plan = [turn(*({"id": f"c{i}", "tool": "find", "arguments": {"query": f"q{i}"}} for i in range(4)))]

    result, _, _ = await planned(plan, calls, budget=Budget(tool_calls=2))

    assert result.error is not None
    assert result.error.kind == "BudgetExhausted"
    assert len(calls.seen) == 2


async def test_nothing_that_could_be_asked_is_not_nothing_found() -> None:
    """When no call succeeded the step fails and says why, instead of giving an empty result."""
    calls = Calls()
    plan = [turn({"id": "c1", "tool": "open_page", "arguments": {"url": "http://broken"}}), turn(done=True)]

    result, _, _ = await planned(plan, calls)

    assert result.status == "failed"
    assert result.error is not None
    assert "none of the planner's calls succeeded: open_page: the page is broken" in result.error.message
