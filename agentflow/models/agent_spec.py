"""Agents as values: what one is, what it is asked, and what comes of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents import InputGuardrail, OutputGuardrail
from agents.mcp import MCPServer

from agentflow.context import current
from agentflow.evidence import Evidence
from agentflow.marking import random_mark
from agentflow.mcp import McpServer
from agentflow.models.guarding import Guard
from agentflow.models.sdk import Model, Settings
from agentflow.tools import Tool


@dataclass(frozen=True, kw_only=True)
class AgentSpec:
    """An agent and those it may hand over to or call. Names must be unique; a missing model is inherited.

    `max_turns` bounds an agent that is called as a tool, and those it hands over to.
    """

    name: str
    description: str = ""
    instructions: str = ""
    tools: tuple[Tool[..., Any], ...] = ()
    output: Any = str
    model: Model | str | None = None
    settings: Settings | None = None
    max_turns: int = 10
    handoffs: tuple[AgentSpec, ...] = ()
    agents_as_tools: tuple[AgentSpec, ...] = ()
    input_guardrails: tuple[InputGuardrail[Any] | Guard, ...] = ()
    output_guardrails: tuple[OutputGuardrail[Any] | Guard, ...] = ()
    mcp_servers: tuple[MCPServer | McpServer, ...] = ()


def _mark() -> str:
    context = current()
    return context.mark if context is not None else random_mark()


@dataclass(frozen=True, kw_only=True)
class AgentCall:
    """What an agent is asked. `model` is what its agents inherit; `settings` and `max_turns` go before its own.

    `first_number` is the number that the first piece of evidence gets; what is not trusted is told between `mark`s.
    """

    spec: AgentSpec
    text: str
    model: Model | str = "embedded"
    settings: Settings | None = None
    max_turns: int | None = None
    first_number: int = 1
    mark: str = field(default_factory=_mark)


@dataclass(frozen=True, kw_only=True)
class AgentResult:
    """What an agent run gave. `agent` is the one that answered; evidence `n` is `evidence[n - first_number]`."""

    output: Any
    usage: Mapping[str, int]
    evidence: list[Evidence]
    agent: str
