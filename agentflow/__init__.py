"""agentflow: orchestration for autonomous agents that is checked, bounded and provable."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentflow.app import Decision as Decision
    from agentflow.app import Pending as Pending
    from agentflow.app import Result as Result
    from agentflow.app import Run as Run
    from agentflow.app import Settings as Settings
    from agentflow.app import resume as resume
    from agentflow.app import run as run
    from agentflow.claims.finding import Checked as Checked
    from agentflow.context import Context as Context
    from agentflow.context import operation as operation
    from agentflow.evidence import Answer as Answer
    from agentflow.evidence import Evidence as Evidence
    from agentflow.exceptions import AgentflowError as AgentflowError
    from agentflow.exceptions import DefinitionError as DefinitionError
    from agentflow.exceptions import RunError as RunError
    from agentflow.exceptions import ToolError as ToolError
    from agentflow.journal.memory import MemoryJournal as MemoryJournal
    from agentflow.journal.sqlite import SqliteJournal as SqliteJournal
    from agentflow.limits import Rate as Rate
    from agentflow.mcp import McpServer as McpServer
    from agentflow.mcp import McpTool as McpTool
    from agentflow.path import each as each
    from agentflow.path import gather as gather
    from agentflow.secrets import Secret as Secret
    from agentflow.spec import Budget as Budget
    from agentflow.spec import Flow as Flow
    from agentflow.spec import Retry as Retry
    from agentflow.spec import WorkflowSpec as WorkflowSpec
    from agentflow.steps.agent import Agent as Agent
    from agentflow.steps.approval import Approval as Approval
    from agentflow.steps.approval import Rejected as Rejected
    from agentflow.steps.claims import annotate_claims as annotate_claims
    from agentflow.steps.claims import check_claims as check_claims
    from agentflow.steps.claims import require_claims as require_claims
    from agentflow.steps.function import step as step
    from agentflow.steps.planner import Planner as Planner
    from agentflow.steps.wait import Wait as Wait
    from agentflow.tools import Tool as Tool
    from agentflow.tools import tool as tool
    from agentflow.version import VERSION as __version__
    from agentflow.workflow import Workflow as Workflow

_HOMES = {
    "Decision": "app",
    "Pending": "app",
    "Result": "app",
    "Run": "app",
    "Settings": "app",
    "resume": "app",
    "run": "app",
    "Checked": "claims.finding",
    "Context": "context",
    "operation": "context",
    "Answer": "evidence",
    "Evidence": "evidence",
    "AgentflowError": "exceptions",
    "DefinitionError": "exceptions",
    "RunError": "exceptions",
    "ToolError": "exceptions",
    "MemoryJournal": "journal.memory",
    "SqliteJournal": "journal.sqlite",
    "Rate": "limits",
    "McpServer": "mcp",
    "McpTool": "mcp",
    "each": "path",
    "gather": "path",
    "Secret": "secrets",
    "Budget": "spec",
    "Flow": "spec",
    "Retry": "spec",
    "WorkflowSpec": "spec",
    "Agent": "steps.agent",
    "Approval": "steps.approval",
    "Rejected": "steps.approval",
    "annotate_claims": "steps.claims",
    "check_claims": "steps.claims",
    "require_claims": "steps.claims",
    "step": "steps.function",
    "Planner": "steps.planner",
    "Wait": "steps.wait",
    "Tool": "tools",
    "tool": "tools",
    "__version__": "version:VERSION",
    "Workflow": "workflow",
}
__all__ = sorted(name for name in _HOMES if not name.startswith("_"))  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    # Each name is loaded when it is first used, so that importing agentflow costs next to nothing.
    if name not in _HOMES:
        raise AttributeError(f"module 'agentflow' has no attribute {name!r}")

    home, _, real = _HOMES[name].partition(":")
    value = getattr(import_module(f"agentflow.{home}"), real or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
