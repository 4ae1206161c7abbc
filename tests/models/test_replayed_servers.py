"""Runs with MCP servers are executed again without them: what models were offered, and what calls gave, is in the record."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.mcp import MCPServerStdio
from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow import Agent, Workflow
from agentflow.app import replay_events
from agentflow.encoding import decode, encode
from agentflow.events import Event, OperationStarted, Payload
from agentflow.mcp import McpServer, McpTool
from agentflow.testing import Ended, run_to_end
from tests.models.mcp_shop import COMMAND
from tests.models.test_agent_runs import MCP_SERVER


def asking(server: Any) -> Workflow[str, str]:
    clerk = Agent("clerk", takes=str, gives=str, prompt="Help.", mcp_servers=[server])
    return Workflow("asking", start=clerk, end=clerk)


def script() -> ScriptedModel:
    looks = [
        function_call("stock", '{"item": "kettles"}', call_id="1"),
        function_call("order", '{"item": "moon"}', call_id="2"),
    ]
    return ScriptedModel([looks, [assistant_message("done")]])


def written(ended: Ended[str]) -> list[Event]:
    assert ended.result.status == "done", ended.result.error
    return [decode(encode(event)) for event in ended.events]


def test_a_server_of_the_sdk_is_not_started_again(tmp_path: Path) -> None:
    """Its tools come from what models were shown; the object is left as it was."""
    (tmp_path / "shop.py").write_text(MCP_SERVER)
    server = MCPServerStdio(
        params={"command": sys.executable, "args": [str(tmp_path / "shop.py")]},
        client_session_timeout_seconds=60,
    )
    events = written(asyncio.run(run_to_end(asking(server), "go", model=script())))
    (tmp_path / "shop.py").unlink()

    came = asyncio.run(replay_events(asking(server), events))

    assert came.divergence is None, str(came.divergence)
    assert came.calls == 4
    assert "list_tools" not in vars(server)


def test_a_described_server_is_not_started_again() -> None:
    """And a tool that models were offered and are not any more is named."""
    described = McpServer(
        name="shop",
        **COMMAND,
        tools={"stock": McpTool(effect="read"), "order": McpTool(effect="write", needs_approval=False)},
    )
    events = written(asyncio.run(run_to_end(asking(described), "go", model=script())))
    gone = replace(described, command="/nowhere/at/all", args=())

    assert asyncio.run(replay_events(asking(gone), events)).divergence is None
    first = next(n for n, e in enumerate(events) if isinstance(e, OperationStarted) and e.kind == "chat")
    asked = events[first]
    assert isinstance(asked, OperationStarted)
    assert asked.request is not None
    events[first] = replace(
        asked, request=Payload({**asked.request.data, "tools": ["stock", "order", "lost"]})
    )
    found = asyncio.run(replay_events(asking(gone), events)).divergence
    assert found is not None
    assert (found.what, found.seq, found.recorded) == ("request", first + 1, 'tools[2] = "lost"')
