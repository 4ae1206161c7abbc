"""Whether a step is an agent or a planner, asked without loading what makes them: most workflows have none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from agentflow.steps.agent import Agent
    from agentflow.steps.planner import Planner


def is_agent(step: object) -> TypeGuard[Agent[Any, Any]]:
    """Whether `step` is an `Agent`."""
    return _is_a(step, "agentflow.steps.agent", "Agent")


def is_planner(step: object) -> TypeGuard[Planner[Any, Any]]:
    """Whether `step` is a `Planner`."""
    return _is_a(step, "agentflow.steps.planner", "Planner")


def _is_a(step: object, module: str, name: str) -> bool:
    # Where a class is not there, or not yet, nothing is an instance of it.
    kind: Any = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(step, kind)
