"""What may stand in the `options` of a step, by its kind: the arguments of the class that makes it, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from agentflow.spec import StepKind


class NoOptions(TypedDict):
    """Steps that have none."""


class PlannerOptions(TypedDict, total=False):
    """What a planner may do; tools are named `module:name`, and MCP servers can only be given in Python."""

    prompt: str
    tools: list[str]
    mcp_servers: list[Any]
    max_calls: int
    max_rounds: int
    model: str


class AgentOptions(TypedDict, total=False):
    """How an agent works; guardrails and MCP servers are names of what only Python can give."""

    prompt: str
    tools: list[str]
    max_turns: int
    handoffs: list[NestedAgent]
    agents_as_tools: list[NestedAgent]
    guardrails: list[str]
    mcp_servers: list[Any]
    settings: Mapping[str, Any]
    description: str
    model: str


class _Named(TypedDict):
    name: str


class NestedAgent(_Named, AgentOptions, total=False):
    """An agent below another: that takes over from it, or that it asks."""

    takes: str
    gives: str


class ApprovalOptions(TypedDict, total=False):
    """What a person is asked, and for how many seconds."""

    prompt: str
    deadline: float


class WaitOptions(TypedDict, total=False):
    """How many seconds are let pass."""

    seconds: float


OPTIONS: Mapping[StepKind, type[Any]] = {
    "function": NoOptions,
    "planner": PlannerOptions,
    "agent": AgentOptions,
    "approval": ApprovalOptions,
    "wait": WaitOptions,
    "workflow": NoOptions,
    "gather": NoOptions,
}
