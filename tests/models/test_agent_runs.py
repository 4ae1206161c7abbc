"""Agents on the SDK's Runner: tools, hand-overs, agents as tools, typed output, guardrails, MCP, limits, records."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    RunContextWrapper,
    TResponseInputItem,
    UserError,
    input_guardrail,
    output_guardrail,
)
from agents.mcp import MCPServerStdio
from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow.context import Verdict
from agentflow.evidence import Evidence
from agentflow.exceptions import (
    AgentflowError,
    BudgetExhausted,
    EffectInDoubt,
    GuardrailTripped,
    ModelOutputInvalid,
    ModelRefused,
    ModelTurnsExceeded,
    ModelUnreachable,
    ProjectError,
    RunWaiting,
    ToolArgumentsInvalid,
    ToolError,
)
from agentflow.marking import unmarked
from agentflow.models.agent import AgentCall, AgentResult, AgentSpec, run_agent
from agentflow.models.calls import all_required
from agentflow.models.pool import ModelPool
from agentflow.tools import tool
from tests.models.openai_server import (
    Call,
    OpenAIServer,
    Received,
    Said,
    Script,
    calls,
    fails,
    says,
    together,
)
from tests.models.recording import recorded

APIS = ("chat", "responses")


@dataclass(frozen=True)
class Sum:
    total: int


@tool(effect="none")
async def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


@tool
async def find(query: str) -> list[Evidence]:
    """Find passages."""
    return [Evidence(text=f"{query} {letter}", source="notes.md", place=letter) for letter in "xy"]


@tool
async def broken() -> str:
    """Always fails."""
    raise ZeroDivisionError("no luck")


@tool
async def picky() -> str:
    """Says why it cannot."""
    raise ToolError("the index is empty", hint="add files to it")


@tool(effect="write", needs_approval=True)
async def pay(amount: int) -> str:
    """Pay somebody."""
    return f"paid {amount}"


@asynccontextmanager
async def serving(
    script: Script, api: str = "chat"
) -> AsyncGenerator[tuple[OpenAIServer, ModelPool, str], None]:
    """A server with `script`, a pool, and the reference of the model there."""
    pool = ModelPool({}, max_retries=0)
    with OpenAIServer(script) as server:
        try:
            yield server, pool, f"{api}/m@{server.url}"
        finally:
            await pool.aclose()


async def ran(script: Script, spec: AgentSpec, *, api: str = "chat", **more: Any) -> AgentResult:
    async with serving(script, api) as (_, pool, model):
        return await run_agent(AgentCall(spec=spec, text="go", model=model, **more), pool)


def results(received: Received) -> list[str]:
    """What the tools said, as the model was told."""
    told = [m.get("content", m.get("output")) for m in received.messages if _is_result(m)]
    return [text for text in told if text is not None]


def _is_result(message: dict[str, Any]) -> bool:
    return message.get("role") == "tool" or message.get("type") == "function_call_output"


@pytest.mark.parametrize("api", APIS)
async def test_a_tool_is_called_and_its_result_told(api: str) -> None:
    """A tool's schema reaches the server, its typed result the model, and the usage of all turns adds up."""
    async with serving([calls("add", a=1), "three"], api) as (server, pool, model):
        spec = AgentSpec(name="adder", instructions="Add.", tools=(add,))
        result = await run_agent(AgentCall(spec=spec, text="1 and 2", model=model), pool)

    assert (result.output, result.agent) == ("three", "adder")
    assert (result.usage["requests"], result.usage["input_tokens"]) == (2, 22)
    assert server.requests[0].tools == ["add"]
    assert list(map(unmarked, results(server.requests[1]))) == ["3"]


@pytest.mark.parametrize("api", APIS)
async def test_activations_calls_and_tools_nest(api: str) -> None:
    """What an agent does is recorded under it: its model calls, its parallel tools, and each with its labels."""
    async with serving([together(calls("add", a=1), calls("find", query="q")), "done"], api) as (_, pool, m):
        with recorded() as recording:
            spec = AgentSpec(name="a", tools=(add, find), description="Does all.")
            await run_agent(AgentCall(spec=spec, text="go", model=m), pool)

    assert recording.paths == [
        "agent a",
        "agent a > chat m",
        "agent a > tool add",
        "agent a > tool find",
        "agent a > chat m",
    ]
    added = recording.one("tool", "add")
    assert (added.request, added.operation.result) == ({"a": 1}, 3)
    assert added.operation.attributes == {"call_id": "call_1_0", "effect": "none", "returns": "untrusted"}
    agent = recording.one("agent", "a").operation
    assert agent.result == "done"
    assert agent.attributes["description"] == "Does all."


async def test_words_of_an_agent_are_streamed_in_a_run() -> None:
    """Those who watch a run see the words of each turn as they come."""
    async with serving([calls("add", a=1), "three it is"]) as (server, pool, model):
        with recorded() as recording:
            spec = AgentSpec(name="a", tools=(add,))
            await run_agent(AgentCall(spec=spec, text="go", model=model), pool)

    assert recording.text == "three it is"
    assert all(received.body["stream"] for received in server.requests)


@pytest.mark.parametrize("api", APIS)
async def test_a_typed_output(api: str) -> None:
    """The last answer is read as the agent's output type."""
    result = await ran(
        [calls("add", a=1), {"total": 3}], AgentSpec(name="a", tools=(add,), output=Sum), api=api
    )
    assert result.output == Sum(3)


async def test_a_list_of_evidence_as_output() -> None:
    """Types that are no JSON objects work as output, too."""
    answer = {"response": [{"text": "t", "source": "s"}]}
    result = await ran([answer], AgentSpec(name="a", output=list[Evidence]))
    assert result.output == [Evidence(text="t", source="s")]


async def test_prose_instead_of_the_output_type_is_sent_back_once() -> None:
    """A bad final answer gets one more chance, which costs no turn."""
    spec = AgentSpec(name="a", output=Sum, max_turns=1)
    result = await ran(["It is three.", {"total": 3}], spec)
    assert result.output == Sum(3)
    assert result.usage["requests"] == 2


async def test_prose_for_good_is_an_error() -> None:
    """An agent whose answer never fits fails, and the error shows the answer."""
    with pytest.raises(ModelOutputInvalid, match="It is four"):
        await ran(["It is three.", "It is four."], AgentSpec(name="a", output=Sum))


@pytest.mark.parametrize("api", APIS)
async def test_a_handoff_is_a_new_activation_beside_the_first(api: str) -> None:
    """The agent that takes over answers with its own tools; both know of each other in the record."""
    second = AgentSpec(name="second", description="Knows sums.", tools=(add,), output=Sum)
    first = AgentSpec(name="first", handoffs=(second,), tools=(find,))
    script: Script = [calls("find", query="q"), calls("transfer_to_second"), calls("add", a=1), {"total": 3}]
    async with serving(script, api) as (server, pool, model):
        with recorded() as recording:
            result = await run_agent(AgentCall(spec=first, text="go", model=model), pool)

    assert (result.output, result.agent) == (Sum(3), "second")
    assert recording.paths == [
        "agent first",
        "agent first > chat m",
        "agent first > tool find",
        "agent first > chat m",
        "agent second",
        "agent second > chat m",
        "agent second > tool add",
        "agent second > chat m",
    ]
    assert recording.one("agent", "first").operation.attributes["handoff_to"] == "second"
    assert recording.one("agent", "second").operation.attributes["handoff_from"] == "first"
    assert server.requests[0].tools == ["find", "transfer_to_second"]
    assert server.requests[2].tools == ["add"]


@pytest.mark.parametrize("api", APIS)
async def test_an_agent_as_a_tool_nests_under_its_caller(api: str) -> None:
    """A called agent starts anew with its input, and its typed answer is told to the caller."""
    helper = AgentSpec(name="sum helper", description="Sums.", tools=(add,), output=Sum)
    script: Script = [calls("sum_helper", input="1 and 2"), calls("add", a=1), {"total": 3}, "three"]
    async with serving(script, api) as (server, pool, model):
        with recorded() as recording:
            spec = AgentSpec(name="boss", agents_as_tools=(helper,))
            result = await run_agent(AgentCall(spec=spec, text="go", model=model), pool)

    assert (result.output, result.agent) == ("three", "boss")
    assert result.usage["requests"] == 4
    assert recording.paths == [
        "agent boss",
        "agent boss > chat m",
        "agent boss > agent sum helper",
        "agent boss > agent sum helper > chat m",
        "agent boss > agent sum helper > tool add",
        "agent boss > agent sum helper > chat m",
        "agent boss > chat m",
    ]
    assert recording.one("agent", "sum helper").operation.attributes["called_as_tool"] is True
    assert recording.one("agent", "sum helper").request["text"] == "1 and 2"
    assert results(server.requests[3]) == ['{"total": 3}']


async def test_agents_called_in_parallel_stay_apart() -> None:
    """Two agents called in one turn run at the same time, each with its own record."""

    def script(received: Received) -> Said:
        asked = str(received.messages[-1].get("content"))
        if any(map(_is_result, received.messages)):
            return says("both done") if "one" in received.tools else says("added")

        return (
            calls("add", a=1)
            if "go" not in asked
            else together(calls("one", input="1"), calls("two", input="2"))
        )

    helpers = tuple(AgentSpec(name=name, tools=(add,)) for name in ("one", "two"))
    async with serving(script) as (_, pool, model):
        with recorded() as recording:
            spec = AgentSpec(name="boss", agents_as_tools=helpers)
            await run_agent(AgentCall(spec=spec, text="go", model=model), pool)

    for name in ("one", "two"):
        under = [path for path in recording.paths if path.startswith(f"agent boss > agent {name} > ")]
        assert sorted(path.rpartition(" > ")[2] for path in under) == ["chat m", "chat m", "tool add"]


async def test_evidence_is_numbered_through_the_run() -> None:
    """Numbers run on over calls and agents, start where told, and point into the result's evidence."""
    helper = AgentSpec(name="helper", tools=(find,))
    script: Script = [
        calls("find", query="a"),
        calls("helper", input="more"),
        calls("find", query="b"),
        "found",
        calls("find", query="c"),
        "see [5] and [9]",
    ]
    async with serving(script) as (server, pool, model):
        spec = AgentSpec(name="a", tools=(find,), agents_as_tools=(helper,))
        result = await run_agent(AgentCall(spec=spec, text="go", model=model, first_number=5), pool)

    told = [text for r in (server.requests[1], server.requests[3]) for text in results(r)[-1:]]
    shown = [json.loads(unmarked(text)) for text in told]
    assert [[item["n"] for item in items] for items in shown] == [[5, 6], [7, 8]]
    assert shown[0][0] == {
        "n": 5,
        "text": "a x",
        "source": "notes.md",
        "place": "x",
        "title": "",
        "trust": "untrusted",
    }
    assert [e.text for e in result.evidence] == ["a x", "a y", "b x", "b y", "c x", "c y"]
    assert all(e.tool == "find" and e.at for e in result.evidence)


async def test_failures_of_tools_are_told_to_the_model_and_recorded() -> None:
    """A tool's own words and hint, another exception's type, bad arguments: the model reads why and goes on."""
    script: Script = [
        together(calls("broken"), calls("picky"), calls("add", a="many")),
        Said(calls=(Call(name="add", arguments="{not json"),)),
        "never mind",
    ]
    async with serving(script) as (server, pool, model):
        with recorded() as recording:
            spec = AgentSpec(name="a", tools=(broken, picky, add))
            result = await run_agent(AgentCall(spec=spec, text="go", model=model), pool)

    assert result.output == "never mind"
    by_broken, by_picky, by_add, by_text = results(server.requests[2])
    # What a tool says may come from outside, what is said of a call that was not made does not.
    assert [text.startswith("<untrusted-") for text in results(server.requests[2])] == [
        True,
        True,
        False,
        False,
    ]
    by_broken, by_picky = unmarked(by_broken), unmarked(by_picky)
    assert by_broken == "`broken` failed: ZeroDivisionError: no luck"
    assert by_picky == "the index is empty\nhint: add files to it"
    assert by_add.startswith("the arguments of `add` do not fit: `a`")
    assert by_text.startswith("the arguments of `add` are not JSON")
    assert isinstance(recording.one("tool", "broken").error, ZeroDivisionError)
    assert isinstance(recording.one("tool", "picky").error, ToolError)
    last = [kept for kept in recording.kept if kept.operation.name == "add"][-1]
    assert isinstance(last.error, ToolArgumentsInvalid)
    assert last.request == "{not json"


async def test_an_unknown_tool_is_told_with_those_that_exist() -> None:
    """A model that invents a tool learns which there are."""
    async with serving([calls("magic", x=1), "sorry"]) as (server, pool, model):
        spec = AgentSpec(name="a", tools=(add, find))
        result = await run_agent(AgentCall(spec=spec, text="go", model=model), pool)

    assert result.output == "sorry"
    assert results(server.requests[1]) == ["there is no tool `magic`; there are: `add`, `find`"]


async def test_endless_tool_calls_end_at_max_turns() -> None:
    """A model that never answers is stopped by the agent's limit, and the record closes."""
    async with serving(lambda _: calls("add", a=1)) as (server, pool, model):
        with recorded() as recording:
            call = AgentCall(spec=AgentSpec(name="a", tools=(add,)), text="go", model=model, max_turns=3)
            with pytest.raises(ModelTurnsExceeded, match="agent `a`") as caught:
                await run_agent(call, pool)

            assert recording.one("agent", "a").error is caught.value

    assert len(server.requests) == 3
    assert "max_turns" in caught.value.hint


@pytest.mark.parametrize("call_id", ["", "call_same"])
async def test_servers_that_reuse_call_ids_are_put_up_with(call_id: str) -> None:
    """Empty and repeated call ids, as some local servers give them, do not lose or repeat a call."""
    script: Script = [calls("add", call_id, a=1), calls("add", call_id, a=5), "done"]
    async with serving(script) as (server, pool, model):
        spec = AgentSpec(name="a", tools=(add,))
        await run_agent(AgentCall(spec=spec, text="go", model=model), pool)

    assert list(map(unmarked, results(server.requests[2]))) == ["3", "7"]


async def test_outside_of_a_run_nobody_is_asked() -> None:
    """As in a unit test of the agent, a tool that needs approval is then simply called."""
    async with serving([calls("pay", amount=5), "paid"]) as (server, pool, model):
        await run_agent(AgentCall(spec=AgentSpec(name="a", tools=(pay,)), text="go", model=model), pool)

    assert list(map(unmarked, results(server.requests[1]))) == ["paid 5"]


async def test_approval_is_asked_for_the_exact_arguments() -> None:
    """Each call is decided by itself; a call with bad arguments is never asked about, and each leaves a record."""

    def person(tool: str, arguments: Mapping[str, Any]) -> Verdict:
        approved = arguments["amount"] < 10
        return Verdict(approved=approved, by="Ann", comment="" if approved else "too much")

    script: Script = [
        together(calls("pay", amount=5), calls("pay", amount=50), calls("pay", amount="all")),
        "done",
    ]
    async with serving(script) as (server, pool, model):
        with recorded(person=person) as recording:
            spec = AgentSpec(name="a", tools=(pay,))
            await run_agent(AgentCall(spec=spec, text="go", model=model), pool)

    paid, refused, invalid = results(server.requests[1])
    assert [(tool, arguments) for tool, arguments, _ in recording.asked] == [
        ("pay", {"amount": 5}),
        ("pay", {"amount": 50}),
    ]
    assert recording.asked[0][2] == "Call `pay`? Pay somebody."
    assert unmarked(paid) == "paid 5"
    assert refused == "a person refused this call of `pay`: too much"
    assert "do not fit" in invalid
    made = {kept.request["amount"]: kept for kept in recording.kept if kept.operation.name == "pay"}
    assert {amount: kept.once for amount, kept in made.items()} == {5: True, 50: False, "all": False}
    assert isinstance(made[50].error, ToolError)


@pytest.mark.parametrize("stop", [RunWaiting, EffectInDoubt])
async def test_a_wait_for_a_person_ends_the_run(stop: type[AgentflowError]) -> None:
    """The run may have to stop to wait for a person; the model cannot talk its way around that."""

    def person(_: str, __: Mapping[str, Any]) -> Verdict:
        raise stop("ask Ann")

    async with serving([calls("pay", amount=5), "unreached"]) as (server, pool, model):
        call = AgentCall(spec=AgentSpec(name="a", tools=(pay,)), text="go", model=model)
        with recorded(person=person), pytest.raises(stop, match="ask Ann"):
            await run_agent(call, pool)

    assert len(server.requests) == 1


@pytest.mark.parametrize("refused", ["agent", "chat", "tool"])
async def test_an_exhausted_budget_ends_the_run_wherever_it_shows(refused: str) -> None:
    """A budget that refuses an operation is never told to the model, and everything that began ends."""

    def refuse(kind: str, name: str) -> None:
        if (kind, name) in {("agent", "helper"), ("chat", "m"), ("tool", "add")} and kind == refused:
            raise BudgetExhausted(f"no more {kind}")

    helper = AgentSpec(name="helper", tools=(add,))
    script: Script = [calls("helper", input="x"), calls("add", a=1), "unreached"]
    async with serving(script) as (_, pool, model):
        call = AgentCall(spec=AgentSpec(name="boss", agents_as_tools=(helper,)), text="go", model=model)
        with recorded(refuse), pytest.raises(BudgetExhausted, match=f"no more {refused}"):
            await run_agent(call, pool)


async def test_a_failing_agent_is_told_to_its_caller() -> None:
    """An agent as a tool that finds no answer is a failed call for its caller, who may go on."""
    helper = AgentSpec(name="helper", tools=(add,), max_turns=1)
    async with serving([calls("helper", input="x"), calls("add", a=1), "alone then"]) as (server, pool, m):
        result = await run_agent(
            AgentCall(spec=AgentSpec(name="boss", agents_as_tools=(helper,)), text="go", model=m), pool
        )

    assert result.output == "alone then"
    assert results(server.requests[2])[0].startswith("`helper` failed: ModelTurnsExceeded")


async def test_a_failing_server_ends_the_run_also_below_an_agent() -> None:
    """What would fail again for the caller is not told to it as a failed call."""
    helper = AgentSpec(name="helper")
    with pytest.raises(ModelRefused, match="bad key"):
        await ran(
            [calls("helper", input="x"), fails(401, "bad key")],
            AgentSpec(name="b", agents_as_tools=(helper,)),
        )


async def test_a_dead_server_ends_the_run_and_the_record() -> None:
    """A server that is gone is an error with its address; the agent's record ends with it."""
    with OpenAIServer() as server:
        url = server.url

    pool = ModelPool({}, max_retries=0)
    with recorded() as recording:
        with pytest.raises(ModelUnreachable, match=url) as caught:
            await run_agent(AgentCall(spec=AgentSpec(name="a"), text="go", model=f"chat/m@{url}"), pool)

        assert recording.one("agent", "a").error is caught.value

    await pool.aclose()


async def test_cancelling_an_agent_cancels_its_tool() -> None:
    """When a step is cancelled in the middle of a tool, the tool is cancelled, and all records close."""
    started, cancelled = asyncio.Event(), asyncio.Event()

    @tool
    async def slow() -> str:
        """Take long."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return ""

    async with serving([calls("slow")]) as (_, pool, model):
        with recorded() as recording:
            spec = AgentSpec(name="a", tools=(slow,))
            run = asyncio.create_task(run_agent(AgentCall(spec=spec, text="go", model=model), pool))
            await started.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

            assert cancelled.is_set()
            assert isinstance(recording.one("tool", "slow").error, asyncio.CancelledError)


@input_guardrail(name="no_secrets", run_in_parallel=False)
def no_secrets(
    _: RunContextWrapper[Any], __: Agent[Any], text: str | list[TResponseInputItem]
) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info="a secret", tripwire_triggered="secret" in str(text))


@output_guardrail(name="no_shouting")
def no_shouting(_: RunContextWrapper[Any], __: Agent[Any], output: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=str(output).isupper())


GUARDED = AgentSpec(name="a", input_guardrails=(no_secrets,), output_guardrails=(no_shouting,))


async def test_guardrails_stop_an_agent() -> None:
    """The SDK's guardrails work as they are; the error names the one that tripped."""
    async with serving(["quiet", "LOUD"]) as (server, pool, model):
        assert (await run_agent(AgentCall(spec=GUARDED, text="go", model=model), pool)).output == "quiet"
        with pytest.raises(GuardrailTripped, match="`no_shouting` stopped agent `a`"):
            await run_agent(AgentCall(spec=GUARDED, text="go", model=model), pool)

        with pytest.raises(GuardrailTripped, match=r"`no_secrets` stopped agent `a`: a secret"):
            await run_agent(AgentCall(spec=GUARDED, text="a secret", model=model), pool)

    assert len(server.requests) == 2


async def test_a_tripped_guardrail_below_an_agent_ends_the_run() -> None:
    """A guardrail of an agent that was called as a tool is not worn down by asking again."""
    boss = AgentSpec(name="boss", agents_as_tools=(GUARDED,))
    with pytest.raises(GuardrailTripped, match="no_secrets"):
        await ran([calls("a", input="my secret"), "unreached"], boss)


MCP_SERVER = '''
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

server = MCPServer("shop")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def stock(item: str) -> str:
    """How many of an item are there."""
    return f"7 {item}"


@server.tool()
def order(item: str) -> str:
    """Order an item."""
    if item == "moon":
        raise ToolError("not for sale")
    return f"ordered {item}"


server.run()
'''


def shop(tmp_path: Path, **options: Any) -> MCPServerStdio:
    script = tmp_path / "shop.py"
    script.write_text(MCP_SERVER)
    return MCPServerStdio(
        params={"command": sys.executable, "args": [str(script)]},
        client_session_timeout_seconds=60,
        **options,
    )


async def test_tools_of_an_mcp_server_are_recorded_like_our_own(tmp_path: Path) -> None:
    """A server is started for the run, its tools are called, approved and recorded, and it is stopped after."""

    def person(tool: str, arguments: Mapping[str, Any]) -> Verdict:
        return Verdict(approved=(tool, arguments) == ("order", {"item": "kettle"}), by="Ann")

    server = shop(tmp_path, require_approval={"always": {"tool_names": ["order"]}})
    script: Script = [
        together(calls("stock", item="kettles"), calls("order", item="kettle"), calls("order", item="ship")),
        "done",
    ]
    async with serving(script) as (http, pool, model):
        with recorded(person=person) as recording:
            spec = AgentSpec(name="a", mcp_servers=(server,))
            await run_agent(AgentCall(spec=spec, text="go", model=model), pool)
            connected = server.session is not None

    assert (connected, server.session) == (True, None)
    assert sorted(http.requests[0].tools) == ["order", "stock"]
    told = results(http.requests[1])
    assert "7 kettles" in str(told[0])
    assert "ordered kettle" in str(told[1])
    assert "a person refused" in str(told[2])
    stocked = recording.one("tool", "stock")
    assert stocked.path == "agent a > tool stock"
    assert stocked.request == {"item": "kettles"}
    assert (stocked.operation.attributes["effect"], stocked.operation.attributes["returns"]) == (
        "read",
        "untrusted",
    )
    ordered = [kept for kept in recording.kept if kept.operation.name == "order"]
    assert [kept.operation.attributes["effect"] for kept in ordered] == ["write", "write"]
    assert [kept.error is None for kept in ordered] == [True, False]
    assert (stocked.once, [kept.once for kept in ordered]) == (False, [True, False])


async def test_what_a_server_flags_as_an_error_is_one(tmp_path: Path) -> None:
    """Also of the SDK's own servers: it is recorded as a failure, and told in the server's words, marked."""
    async with serving([together(calls("order", item="moon"), calls("stock", item="x")), "done"]) as (
        http,
        pool,
        model,
    ):
        with recorded() as recording:
            spec = AgentSpec(name="a", mcp_servers=(shop(tmp_path),))
            await run_agent(AgentCall(spec=spec, text="go", model=model), pool)

    failed = recording.one("tool", "order").error
    assert isinstance(failed, ToolError)
    assert "not for sale" in str(failed)
    told = results(http.requests[1])
    assert "`order` failed: " in str(told[0])
    assert all("<untrusted-" in str(result) for result in told)


async def test_an_mcp_server_that_does_not_start_is_named(tmp_path: Path) -> None:
    """A server whose command does not exist fails the agent with its name."""
    server = MCPServerStdio(params={"command": str(tmp_path / "nothing")}, name="the shop")
    with pytest.raises(ToolError, match="the shop"):
        await ran(["unreached"], AgentSpec(name="a", mcp_servers=(server,)))


async def test_a_model_object_may_be_given_instead_of_a_name() -> None:
    """The SDK's test double drives an agent, also one of its own under another agent."""
    helper = AgentSpec(name="helper", model=ScriptedModel([[assistant_message("from the helper")]]))
    boss = ScriptedModel(
        [[function_call("helper", {"input": "x"}, call_id="c1")], [assistant_message("from the boss")]]
    )
    spec = AgentSpec(name="boss", agents_as_tools=(helper,))
    result = await run_agent(AgentCall(spec=spec, text="go", model=boss), ModelPool({}))
    assert result.output == "from the boss"
    boss.assert_complete()


async def test_settings_reach_the_server() -> None:
    """Settings of the call go before those of the agent."""
    async with serving(["x", "y"]) as (server, pool, model):
        spec = AgentSpec(name="a", settings={"temperature": 0.1})
        await run_agent(AgentCall(spec=spec, text="go", model=model), pool)
        await run_agent(AgentCall(spec=spec, text="go", model=model, settings={"temperature": 0.9}), pool)

    assert [received.body["temperature"] for received in server.requests] == [0.1, 0.9]


async def test_an_error_of_the_recorder_is_not_told_to_the_model() -> None:
    """Any error of agentflow that ends a run does so from inside a tool, too."""

    @tool
    async def nested() -> str:
        """Uses up the budget."""
        raise BudgetExhausted("used up inside")

    with pytest.raises(AgentflowError, match="used up inside"):
        await ran([calls("nested"), "unreached"], AgentSpec(name="a", tools=(nested,)))


async def test_agents_and_tools_must_not_share_a_name() -> None:
    """Two agents of one name, or an agent and a tool, are refused before anything is asked."""
    twins = (AgentSpec(name="b", description="one"), AgentSpec(name="b", description="two"))
    with pytest.raises(ProjectError, match="two agents are named `b`"):
        await ran(["unreached"], AgentSpec(name="a", handoffs=twins))

    spec = AgentSpec(name="a", tools=(add,), agents_as_tools=(AgentSpec(name="add"),))
    with pytest.raises(UserError, match="add"):
        await ran(["unreached"], spec)


def test_a_schema_is_strict_only_where_that_changes_nothing() -> None:
    """Arguments with defaults stay optional for the model, so their tool is not made strict."""

    @tool
    async def nested(items: list[Sum]) -> int:
        """Take a list of objects."""
        return len(items)

    assert all_required(find.parameters)
    assert all_required(nested.parameters)
    assert not all_required(add.parameters)
