"""Tools of MCP servers that are objects of the SDK: what a project says nothing of, as a tool of ours."""

from __future__ import annotations

import json
from copy import copy
from typing import Any

from agents import FunctionTool
from agents.mcp import MCPServer
from agents.tool_context import ToolContext

from agentflow.models.mcp import refuse_failed
from agentflow.tools import Tool


def strict(server: MCPServer) -> MCPServer:
    """The same server, whose results that it flags as errors are errors."""
    strict = copy(server)

    async def call_tool(
        tool_name: str, arguments: dict[str, Any] | None, meta: dict[str, Any] | None = None
    ) -> Any:
        result = await server.call_tool(tool_name, arguments, meta)
        refuse_failed(tool_name, result)
        return result

    strict.call_tool = call_tool  # type: ignore[method-assign]
    return strict


async def needs_approval(function: FunctionTool, context: ToolContext[Any], raw: str) -> bool:
    """Whether a person is to be asked about a call, as the server's owner says; also where what was asked cannot be read."""
    if isinstance(function.needs_approval, bool):
        return function.needs_approval

    try:
        return await function.needs_approval(context, json.loads(raw or "{}"), context.tool_call_id)
    except ValueError:
        return True


def labelled(function: FunctionTool, work: Any, needs_approval: bool) -> Tool[..., Any]:
    """A server may say that a tool of its only reads; one that says nothing is taken to write."""
    hints = function.mcp_annotations
    return Tool(
        name=function.name,
        description=function.description,
        function=work,
        effect="read" if hints is not None and hints.read_only_hint else "write",
        outside=True,
        needs_approval=needs_approval,
        origin="mcp",
    )
