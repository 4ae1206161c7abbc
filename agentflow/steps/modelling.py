"""The way from a step to its run's models."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from agentflow.context import Context

if TYPE_CHECKING:
    from agentflow.models.pool import ModelPool


def model_pool(ctx: Context) -> ModelPool:
    """The models of the run, made once for it."""
    # The SDK costs about a second to import: it is loaded by the first step that asks a model.
    from agentflow.models.pool import ModelPool
    from agentflow.toolkit.mcp import client_of

    prices = ctx.shared("prices", dict[str, Any])

    def make() -> ModelPool:
        pool = ModelPool(os.environ, prices=prices, clients=client_of)
        ctx.on_close(pool.aclose)
        return pool

    return ctx.shared("models", make)
