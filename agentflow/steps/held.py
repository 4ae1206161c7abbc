"""The tools that a step can call, as far as its definition tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from agentflow.mcp import McpServer
from agentflow.path import MapStep, Step
from agentflow.steps.agent import Agent
from agentflow.steps.function import FunctionStep
from agentflow.steps.naming import named_tools
from agentflow.steps.planner import Planner
from agentflow.tools import Tool


def held_tools(step: Step[Any, Any]) -> Iterator[Tool[..., Any]]:
    """The tools of a planner, of an agent and those below it, or of a function's code, with those that they call themselves."""
    body: Any = step.body if isinstance(step, MapStep) else step
    if isinstance(body, FunctionStep):
        yield from body.named_tools()
    elif isinstance(body, Planner):
        yield from _all(body.tools.values())
        yield from _served(body.mcp_servers)
    elif isinstance(body, Agent):
        yield from _all(body.tools)
        yield from _served(body.mcp_servers)
        for below in (*body.handoffs, *body.agents_as_tools):
            yield from held_tools(below)


def _all(tools: Any) -> Iterator[Tool[..., Any]]:
    for tool in (given for given in tools if isinstance(given, Tool)):
        yield tool
        yield from named_tools(tool.function)


def _served(servers: Iterable[Any]) -> Iterator[Tool[..., Any]]:
    for server in servers:
        if isinstance(server, McpServer):
            yield from server.known()


def has_servers(step: Step[Any, Any]) -> bool:
    """Whether tools of MCP servers may come of which the project says nothing."""
    body: Any = step.body if isinstance(step, MapStep) else step
    if not isinstance(body, Agent):
        return False

    is_unknown = any(not isinstance(server, McpServer) for server in body.mcp_servers)
    return is_unknown or any(map(has_servers, (*body.handoffs, *body.agents_as_tools)))
