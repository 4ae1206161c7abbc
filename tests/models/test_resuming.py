"""Agents and planners on a step's later attempt: what was recorded is given again, and only the rest is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow.context import Verdict, current
from agentflow.evidence import Answer, Evidence
from agentflow.exceptions import ToolError
from agentflow.marking import unmarked
from agentflow.models.agent import AgentCall, AgentSpec, run_agent
from agentflow.models.pool import ModelPool
from agentflow.steps.planner import Planner
from agentflow.tools import tool
from tests.models.openai_server import OpenAIServer, Received, Said, Script, calls, fails, says, together
from tests.models.recording import Recording, recorded
from tests.models.test_agent_runs import shop

APIS = ("chat", "responses")


@dataclass(frozen=True)
class Sum:
    total: float


@dataclass
class World:
    """What the tools below did, and which of them are slow."""

    made: list[str] = field(default_factory=list[str])
    slow: str = ""

    async def does(self, what: str) -> None:
        await asyncio.sleep(0.01 if what == self.slow else 0)
        self.made.append(what)


WORLD = World()


@tool(effect="none")
async def add(a: int, b: int = 2) -> Sum:
    """Add two numbers."""
    await WORLD.does(f"add {a}")
    return Sum(a + b)


@tool
async def find(query: str) -> list[Evidence]:
    """Find passages."""
    await WORLD.does(f"find {query}")
    return [Evidence(text=f"{query} {letter}", source="notes.md", place=letter) for letter in "xy"]


@tool
async def broken(why: str) -> str:
    """Always fails."""
    await WORLD.does(f"broken {why}")
    if why == "told":
        raise ToolError("the index is empty", hint="add files to it")

    raise ZeroDivisionError(why)


@tool(effect="write", needs_approval=True)
async def pay(amount: int) -> str:
    """Pay somebody."""
    await WORLD.does(f"pay {amount}")
    return f"paid {amount}"


def person(_: str, arguments: Mapping[str, Any]) -> Verdict:
    return Verdict(approved=arguments["amount"] < 10, by="Ann", comment="no more than that")


Work = Callable[[ModelPool, str], Awaitable[Any]]


@dataclass(frozen=True)
class Attempt:
    """One attempt of a step: what it gave, what it recorded, what the server was sent, and what the tools did."""

    output: Any
    recording: Recording
    requests: list[Received]
    answers: list[Said]
    made: list[str]


@dataclass(frozen=True)
class Bench:
    """A server and a pool, kept through several attempts of some work."""

    work: Work
    server: OpenAIServer
    pool: ModelPool
    model: str

    async def attempt(self, script: Script, slow: str = "", known: Any = None) -> Attempt:
        WORLD.made, WORLD.slow = [], slow
        self.server.begin(script)
        shared = {"models": self.pool}
        with recorded(known=known, person=person, shared=shared, model=self.model) as recording:
            output = await self.work(self.pool, self.model)

        return Attempt(output, recording, self.server.requests, self.server.answers, WORLD.made)


@asynccontextmanager
async def bench(work: Work, api: str) -> AsyncGenerator[Bench, None]:
    pool = ModelPool({}, max_retries=0)
    with OpenAIServer(by_request=True) as server:
        try:
            yield Bench(work, server, pool, f"{api}/m@{server.url}")
        finally:
            await pool.aclose()


def heard(first: Attempt) -> Script:
    """A server that knows just the requests of the first attempt, and answers them the same again."""
    known = {r.raw: said for r, said in zip(first.requests, first.answers, strict=True)}
    return lambda received: known.get(received.raw, fails(400, "this was never asked before"))


async def assert_resumes(
    work: Work, script: Script, api: str, *, first_slow: str, then_slow: str, cuts: slice = slice(None)
) -> None:
    """Cut the work off after each of its calls, and let it go on."""
    async with bench(work, api) as it:
        first = await it.attempt(script, first_slow)
        effects = first.recording.effects
        assert len(effects) > 5
        for count in range(len(effects) + 1)[cuts]:
            again = await it.attempt(heard(first), then_slow, first.recording.outcomes(count))
            assert again.output == first.output
            assert again.recording.served == count
            left = [kept.operation.kind for kept in effects[count:]]
            assert (len(again.requests), len(again.made)) == (left.count("chat"), len(_made(effects[count:])))


def _made(effects: Any) -> list[Any]:
    """The tool calls among them that reached the tool's function."""
    told = ("refused", "do not fit", "not JSON")
    return [k for k in effects if k.operation.kind == "tool" and not any(t in str(k.error) for t in told)]


def agent(spec: AgentSpec) -> Work:
    async def work(pool: ModelPool, model: str) -> Any:
        result = await run_agent(AgentCall(spec=spec, text="go", model=model), pool)
        # The time at which a passage was found is another one when it has to be found again.
        evidence = [(e.text, e.source, e.tool) for e in result.evidence]
        return result.output, result.agent, result.usage, evidence

    return work


HELPER = AgentSpec(name="helper", description="Adds.", tools=(add,), output=Sum)
SECOND = AgentSpec(name="second", description="Knows more.", tools=(find,), output=Sum)
BOSS = AgentSpec(
    name="boss", tools=(find, broken, pay, add), agents_as_tools=(HELPER,), handoffs=(SECOND,), output=Sum
)
LONG: Script = [
    together(calls("find", query="a"), calls("find", query="b"), calls("broken", why="oops")),
    together(calls("pay", amount=5), calls("pay", amount=50), calls("pay", amount="all"), calls("add", a=1)),
    together(calls("broken", why="told"), calls("helper", input="1 and 2")),
    calls("add", a=1),
    "It is three.",
    {"total": 3},
    calls("transfer_to_second"),
    together(calls("find", query="c"), calls("find", query="a")),
    {"total": 4},
]


@pytest.mark.parametrize("api", APIS)
async def test_an_agent_goes_on_from_wherever_it_was_cut_off(api: str) -> None:
    """After each call: the rest of the requests are byte for byte those of the first attempt, and nothing is done twice."""
    # Every other call over one API, the rest over the other one: there are many.
    cuts = slice(APIS.index(api), None, 2)
    await assert_resumes(agent(BOSS), LONG, api, first_slow="find a", then_slow="find b", cuts=cuts)


def _for_two_agents(received: Received) -> Said:
    """Two agents at once, told apart by what they were asked."""
    asked = str(received.messages[-1].get("content") or received.messages[-1].get("output"))
    if "one" in received.tools:
        return says("[1] says so") if len(received.messages) > 3 else together(*_asks())

    name = next(name for name in ("cat", "dog") if name in str(received.messages))
    return calls("find", query=name) if asked == name else says(f"{name}s are known [1], see [2]")


def _asks() -> list[Said]:
    return [calls("one", input="cat"), calls("find", query="owl"), calls("two", input="dog")]


@pytest.mark.parametrize("api", APIS)
async def test_agents_that_are_called_together_go_on_as_well(api: str) -> None:
    """Which of two agents is quicker changes nothing of what the models are shown."""
    below = tuple(AgentSpec(name=name, tools=(find,)) for name in ("one", "two"))
    boss = AgentSpec(name="boss", tools=(find,), agents_as_tools=below)
    await assert_resumes(agent(boss), _for_two_agents, api, first_slow="find cat", then_slow="find dog")


async def test_marks_of_an_agent_that_was_called_fit_the_numbers_of_its_caller() -> None:
    """Agents that work at the same time use the same numbers; their answers are told with those of the whole run."""
    below = tuple(AgentSpec(name=name, tools=(find,)) for name in ("one", "two"))
    spec = AgentSpec(name="boss", tools=(find,), agents_as_tools=below)
    async with bench(agent(spec), "chat") as it:
        done = await it.attempt(_for_two_agents)

    told = [m["content"] for m in done.requests[-1].messages if m.get("role") == "tool"]
    assert told[0] == "cats are known [1], see [2]"
    assert [passage["n"] for passage in json.loads(unmarked(told[1]))] == [3, 4]
    assert told[2] == "dogs are known [5], see [6]"
    assert [text for text, _, _ in done.output[3]] == ["cat x", "cat y", "owl x", "owl y", "dog x", "dog y"]


def planned(*wanted: tuple[str, str, Any], done: bool = False) -> dict[str, Any]:
    made = [
        {
            "id": i,
            "tool": t,
            "arguments": json.dumps(a),
            "after": [],
            "why": "",
            "confidence": 1,
            "alternatives": [],
        }
        for i, t, a in wanted
    ]
    return {"thought": "so", "calls": made, "done": done}


@pytest.mark.parametrize("api", APIS)
async def test_a_planner_goes_on_from_wherever_it_was_cut_off(api: str) -> None:
    """Plans, answers and tool results are given again; calls that need a person are asked about at the same time."""
    planner = Planner("plan", takes=str, gives=Answer, tools=[find, broken, pay, add])
    script: Script = [
        planned(
            ("c1", "find", {"query": "a"}), ("c2", "find", {"query": "b"}), ("c3", "broken", {"why": "oops"})
        ),
        planned(("c4", "pay", {"amount": 5}), ("c5", "pay", {"amount": 50}), ("c6", "add", {"a": 1})),
        planned(done=True),
        "It is so [2], and [3].",
    ]

    async def work(_: ModelPool, __: str) -> Any:
        context = current()
        assert context is not None
        answer = await planner.execute("what?", context)
        return answer.text, [(e.text, e.source, e.tool) for e in answer.citations]

    await assert_resumes(work, script, api, first_slow="find a", then_slow="find b")


async def test_a_double_of_a_model_is_not_asked_again() -> None:
    """The SDK's own double, named or given as an object, is recorded and served like a server."""
    spec = AgentSpec(name="a", tools=(find,))
    steps: list[Any] = [[function_call("find", {"query": "q"}, call_id="c1")], [assistant_message("see [1]")]]
    with recorded() as first:
        model = ScriptedModel(steps)
        result = await run_agent(AgentCall(spec=spec, text="go", model=model), ModelPool({}))

    with recorded(known=first.outcomes()) as again:
        silent = ScriptedModel([])
        restored = await run_agent(AgentCall(spec=spec, text="go", model=silent), ModelPool({}))

    assert restored == result
    assert result.evidence[0].at
    assert (again.served, again.effects, list(silent.calls)) == (3, [], [])


async def test_tools_of_an_mcp_server_are_not_called_again(tmp_path: Path) -> None:
    """What a server's tools gave is told again, word for word, without a call of them."""
    script: Script = [together(calls("stock", item="kettles"), calls("order", item="kettle")), says("done")]

    async def work(pool: ModelPool, model: str) -> Any:
        spec = AgentSpec(name="a", mcp_servers=(shop(tmp_path),))
        return (await run_agent(AgentCall(spec=spec, text="go", model=model), pool)).output

    async with bench(work, "chat") as it:
        first = await it.attempt(script)
        again = await it.attempt(heard(first), known=first.recording.outcomes(3))

    assert [kept.operation.kind for kept in first.recording.effects] == ["chat", "tool", "tool", "chat"]
    assert (again.output, again.recording.served) == ("done", 3)
    assert [request.raw for request in again.requests] == [first.requests[-1].raw]
