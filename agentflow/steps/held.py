"""The tools that a step can call, as far as its definition tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

from agentflow.path import MapStep, Step
from agentflow.steps.function import FunctionStep
from agentflow.steps.kinds import is_agent, is_planner
from agentflow.steps.naming import named_tools
from agentflow.tools import Tool

if TYPE_CHECKING:
    from agentflow.mcp import McpServer


def held_tools(step: Step[Any, Any]) -> Iterator[Tool[..., Any]]:
    """The tools of a planner, of an agent and those below it, or of a function's code, with those that they call themselves."""
    body: Any = step.body if isinstance(step, MapStep) else step
    if isinstance(body, FunctionStep):
        yield from body.named_tools()
    elif is_planner(body):
        yield from _all(body.tools.values())
        yield from _served(body.mcp_servers)
    elif is_agent(body):
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
        if _is_known(server):
            yield from server.known()


def _is_known(server: object) -> TypeGuard[McpServer]:
    from agentflow.mcp import McpServer  # loaded already where there is one

    return isinstance(server, McpServer)


def has_servers(step: Step[Any, Any]) -> bool:
    """Whether tools of MCP servers may come of which the project says nothing."""
    body: Any = step.body if isinstance(step, MapStep) else step
    if not is_agent(body):
        return False

    is_unknown = any(not _is_known(server) for server in body.mcp_servers)
    return is_unknown or any(map(has_servers, (*body.handoffs, *body.agents_as_tools)))
