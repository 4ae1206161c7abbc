"""MCP servers: their tools with the project's labels, and what becomes of a run when a server does not behave."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow import Agent, Planner, Workflow
from agentflow.app.result import Pending
from agentflow.events import ArtifactKept, OperationFinished, OperationStarted
from agentflow.exceptions import (
    EffectInDoubt,
    NetworkUnavailable,
    ProjectError,
    SecretMissing,
    ToolArgumentsInvalid,
    ToolError,
    ToolTimeout,
)
from agentflow.mcp import UNKNOWN, McpServer, McpTool
from agentflow.models.mcp import McpSession
from agentflow.testing import run_to_end
from agentflow.toolkit.mcp import client_of
from agentflow.tools import Labels, Tool
from tests.models.mcp_shop import COMMAND, serving

READ = McpTool(effect="read")
ALL = ["stock", "order", "picture", "paper", "whoami", "change"]


@dataclass(frozen=True, kw_only=True)
class Ask:
    question: str


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving([]) as url:
        yield url


def at(url: str, **options: Any) -> McpServer:
    return McpServer(name="shop", url=url, networks=["127.0.0.1/32"], **options)


@asynccontextmanager
async def tools_of(server: McpServer) -> AsyncGenerator[dict[str, Tool[..., Any]], None]:
    """The tools of a server by name, while it is connected."""
    session = McpSession(server=server, clients=client_of)
    try:
        yield {tool.name: tool for tool in await session.tools()}
    finally:
        await session.aclose()


def plan(*calls: tuple[str, dict[str, Any]], done: bool = False) -> Any:
    """A planning turn as a model says it."""
    told = [
        {
            "id": f"{name}{n}", "tool": name, "arguments": json.dumps(arguments), "after": [], "why": "", "confidence": 0.9,
            "alternatives": [],
        }
        for n, (name, arguments) in enumerate(calls)
    ]  # fmt: skip
    return [assistant_message(json.dumps({"thought": "so", "calls": told, "done": done}))]


async def test_labels_are_the_projects_and_what_nobody_described_is_approved(address: str) -> None:
    """The server's own word that a tool only reads counts where the project trusts it."""
    described = McpTool(effect="write", needs_approval=False, private=True, description="Order.", timeout=5)
    async with tools_of(at(address, tools={"order": described}, allow=["st*"], prefix="s_")) as tools:
        order, stock = tools["s_order"], tools["s_stock"]
        assert order.labels == Labels("write", "untrusted", private=True, outside=True)
        assert (order.description, order.timeout, order.origin) == ("Order.", 5, "mcp:shop#order")
        assert (stock.labels, stock.origin) == (UNKNOWN, "mcp:shop#*")
        assert stock.description == "How many of an item are there."
        assert stock.parameters["properties"]["item"]["description"] == "Which item."

    async with tools_of(at(address, trusts_hints=True, allow=ALL)) as tools:
        assert tools["stock"].labels == Labels("read", "untrusted", private=True, outside=True)
        assert tools["order"].labels == UNKNOWN


async def test_only_the_tools_that_are_wanted_are_offered(address: str) -> None:
    """Describing one closes the list; `allow` opens it for names; one that is missing is told."""
    async with tools_of(at(address, tools={"stock": READ})) as tools:
        assert list(tools) == ["stock"]

    async with tools_of(at(address, tools={"stock": READ}, allow=["pi*"])) as tools:
        assert list(tools) == ["stock", "picture"]

    with pytest.raises(ToolError, match="`wide` of the MCP server `shop` has no schema that can be used"):
        async with tools_of(at(address, tools={"wide": READ})):
            pass

    with pytest.raises(ToolError, match="has no tool `stocks`"):
        async with tools_of(at(address, tools={"stocks": READ})):
            pass


async def test_results_are_data_text_and_files(address: str) -> None:
    """Structured content is data; an error that the server flags is one; arguments are checked before."""
    async with tools_of(at(address, allow=ALL)) as tools:
        assert await tools["order"].invoke({"item": "kettle", "amount": 2}) == {"id": 2, "item": "kettle"}
        assert await tools["stock"].invoke({"item": "kettles"}) in ("7 kettles", {"result": "7 kettles"})
        assert "image/png, 8 bytes, not kept outside of a run" in await tools["picture"].invoke({})
        assert await tools["paper"].invoke({}) == "[paper://1]\nall of it"
        with pytest.raises(ToolError, match=r"`order` failed: .*the moon is not for sale"):
            await tools["order"].invoke({"item": "moon"})

        with pytest.raises(ToolArgumentsInvalid, match="`item`: is missing"):
            await tools["order"].invoke({})


async def test_a_flood_is_bounded_and_chatter_is_no_harm(address: str) -> None:
    """A large answer comes, with how much of it a model may read; one without end does not."""
    async with tools_of(at(address, max_output=500, tools={"flood": READ, "chatter": READ})) as tools:
        assert tools["flood"].max_output == 500
        assert len(str(await tools["flood"].invoke({"size": 1_000_000}))) >= 1_000_000
        with pytest.raises(NetworkUnavailable):
            await tools["flood"].invoke({"size": 30_000_000})

        assert "done" in str(await tools["chatter"].invoke({"lines": 2000}))


async def test_a_server_that_hangs_is_left_alone(address: str) -> None:
    """The call ends within its limit, and the next one is answered."""
    tools = {"hang": McpTool(effect="read", timeout=0.2), "stock": READ}
    async with tools_of(at(address, tools=tools)) as made:
        with pytest.raises(ToolTimeout, match=r"longer than its 0\.2 s"):
            await made["hang"].invoke({"seconds": 5})

        assert "7 x" in str(await made["stock"].invoke({"item": "x"}))


async def test_what_a_server_changes_after_it_was_listed_is_not_followed() -> None:
    """A tool is what was listed at first: its new words are not told, and a call that they ask for is refused."""
    called: list[tuple[str, Any]] = []
    with serving(called) as url:
        session = McpSession(server=at(url, allow=ALL), clients=client_of)
        tools = {tool.name: tool for tool in await session.tools()}
        await tools["change"].invoke({})
        again = {tool.name: tool for tool in await session.tools()}
        assert again["stock"].description == "How many of an item are there."
        with pytest.raises(ToolError):
            await again["stock"].invoke({"item": "x"})

        with pytest.raises(ToolError, match="whoami"):
            await again["whoami"].invoke({"name": "HOME"})

        await session.aclose()

    assert ("other", "x") not in called


async def test_a_server_that_dies_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that was under way is in doubt; a read is told as lost; secrets go into its environment, and no more."""
    monkeypatch.setenv("SHOP_KEY", "s3cr3t-value")
    monkeypatch.setenv("OTHER_KEY", "another")
    said = {"die": McpTool(needs_approval=False), "whoami": READ}
    server = McpServer(name="shop", **COMMAND, tools=said, secrets={"KEY": "SHOP_KEY"})
    async with tools_of(server) as tools:
        with pytest.raises(EffectInDoubt, match="`die` of the MCP server `shop`"):
            await tools["die"].invoke({})

        assert "s3cr3t-value" in str(await tools["whoami"].invoke({"name": "KEY"}))
        assert "unset" in str(await tools["whoami"].invoke({"name": "OTHER_KEY"}))

    monkeypatch.delenv("SHOP_KEY")
    with pytest.raises(SecretMissing, match="SHOP_KEY"):
        async with tools_of(server):
            pass


FAILS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no such program": ({"command": "no-such-program-here"}, NetworkUnavailable, "cannot be connected"),
    "ends at once": (
        {"command": sys.executable, "args": ["-c", "pass"]},
        NetworkUnavailable,
        "cannot be connected",
    ),
    "never answers": (
        {
            "command": sys.executable,
            "args": ["-c", "input(); import time; time.sleep(60)"],
            "connect_timeout": 0.5,
        },
        ToolTimeout,
        "cannot be connected within 0.5 s",
    ),
    "nothing listens": (
        {"url": "http://127.0.0.1:9/mcp", "networks": ["127.0.0.1/32"]},
        NetworkUnavailable,
        "cannot be connected",
    ),
}


@pytest.mark.parametrize("case", FAILS)
async def test_a_server_that_cannot_be_connected_is_named(case: str) -> None:
    """What failed, and what to look at; nothing is left running."""
    options, kind, told = FAILS[case]
    with pytest.raises(kind, match=f"the MCP server `shop` {told}"):
        async with tools_of(McpServer(name="shop", **options)):
            pass


async def test_servers_are_asked_over_sse_as_well() -> None:
    """The older transport, for servers that have no other."""
    with serving([], "sse") as url:
        async with tools_of(at(url, transport="sse", tools={"stock": READ})) as tools:
            assert "7 x" in str(await tools["stock"].invoke({"item": "x"}))


def test_a_server_that_cannot_be_is_refused() -> None:
    """At once, where it is written."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"name": "a b", "url": "http://a.example"}, "cannot name"),
        ({"name": "a"}, "neither a `command` and a `url`"),
        ({"name": "a", "command": "x", "url": "http://a.example"}, "both"),
        ({"name": "a", "url": "file:///etc/passwd"}, "no full http"),
        ({"name": "a", "url": "http://u:p@a.example"}, "no full http"),
        ({"name": "a", "url": "http://[::1/"}, "no full http"),
    ]
    for options, told in cases:
        with pytest.raises(ProjectError, match=told):
            McpServer(**options)


async def test_a_planner_uses_described_tools_and_asks_for_the_others(address: str) -> None:
    """The check goes by the project's labels; a call of a tool that nobody described waits for a person."""
    server = at(address, tools={"stock": READ}, allow=["order", "picture"])
    planner = Planner("plan", takes=Ask, gives=str, mcp_servers=[server])
    workflow = Workflow("w", start=planner, end=planner)
    asked: list[Any] = []

    def approve(pending: Pending) -> bool:
        asked.append(pending.subject)
        return bool(pending.subject != {"item": "moon"})

    model = ScriptedModel(
        [
            plan(("stock", {"item": "kettles"}), ("picture", {})),
            plan(("order", {"item": "kettle"}), ("order", {"item": "moon"}), ("order", {"amount": "x"})),
            [assistant_message("done")],
        ]
    )
    planner.max_rounds = 2
    ended = await run_to_end(workflow, Ask(question="?"), model=model, approve=approve)
    assert ended.output == "done"
    assert asked == [{}, {"item": "kettle"}, {"item": "moon"}]
    assert workflow.spec.step("plan").options["mcp_servers"] == [
        {
            "name": "shop",
            "tools": {"stock": {"effect": "read", "returns": "untrusted", "outside": True}},
            "allow": ["order", "picture"],
        }
    ]
    names = {
        e.operation: e.name for e in ended.events if isinstance(e, OperationStarted) and e.kind == "tool"
    }
    failed = [
        e.error.kind
        for e in ended.events
        if isinstance(e, OperationFinished) and e.operation in names and e.error
    ]
    assert sorted(names.values()) == ["order", "order", "order", "picture", "stock"]
    assert sorted(failed) == ["CallRefused", "ToolArgumentsInvalid"]
    assert [e.name for e in ended.events if isinstance(e, ArtifactKept)] == ["picture-1.png"]


async def test_an_agent_is_told_of_a_failure_and_it_is_recorded_as_one(address: str) -> None:
    """What the server flags as an error is no success; what it says is marked as from outside."""
    server = at(address, tools={"order": McpTool(needs_approval=False), "stock": READ})
    agent = Agent("clerk", takes=Ask, gives=str, mcp_servers=[server])
    model = ScriptedModel(
        [
            [
                function_call("order", {"item": "moon"}, call_id="c1"),
                function_call("stock", {"item": "x"}, call_id="c2"),
            ],
            [assistant_message("sorry")],
        ]
    )
    ended = await run_to_end(Workflow("w", start=agent, end=agent), Ask(question="?"), model=model)
    assert ended.output == "sorry"
    told = json.dumps(model.calls[1].input)
    assert "the moon is not for sale" in told
    assert "<untrusted-" in told
    errors = [e.error.kind for e in ended.events if isinstance(e, OperationFinished) and e.error]
    assert errors == ["ToolError"]


def codes(server: McpServer) -> list[str]:
    agent = Agent("clerk", takes=Ask, gives=str, mcp_servers=[server])
    return [finding.code for finding in Workflow("w", start=agent, end=agent).flows()]


def test_the_check_judges_servers_by_what_the_project_says_of_them() -> None:
    """Not by the worst that could be; where hints are trusted, by the worst of what may come unapproved."""
    url = "https://mcp.example.com/mcp"
    assert codes(McpServer(name="a", url=url)) == []
    assert codes(McpServer(name="a", url=url, tools={"look": McpTool(effect="read", private=True)})) == []
    unapproved = {"look": READ, "send": McpTool(needs_approval=False)}
    assert codes(McpServer(name="a", url=url, tools=unapproved)) == ["AF201"]
    assert codes(McpServer(name="a", url=url, trusts_hints=True)) == ["AF201", "AF204"]


async def test_two_servers_of_one_name_are_told_apart_or_refused(address: str, tmp_path: Path) -> None:
    """A name stands for one server in a run, and a tool for one of its tools."""
    one, other = at(address, tools={"stock": READ}), at(address, tools={"paper": READ})
    planner = Planner("plan", takes=Ask, gives=str, mcp_servers=[one, other])
    ended = await run_to_end(
        Workflow("w", start=planner, end=planner), Ask(question="?"), model=ScriptedModel([])
    )
    assert "two MCP servers are named `shop`" in str(ended.result.error)
    again = McpServer(name="too", url=address, networks=["127.0.0.1/32"], tools={"stock": READ})
    planner = Planner("plan", takes=Ask, gives=str, mcp_servers=[one, again])
    ended = await run_to_end(
        Workflow("w", start=planner, end=planner), Ask(question="?"), model=ScriptedModel([])
    )
    assert "two tools of `plan` are called `stock`" in str(ended.result.error)
    assert asyncio.get_running_loop().is_running()
