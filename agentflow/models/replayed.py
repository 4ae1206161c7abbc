"""Models of a run that is executed again: what they said is served from its record, and none is ever asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from agentflow.exceptions import ModelCannot
from agentflow.models.catalog import ModelRef
from agentflow.models.pool import ModelPool
from agentflow.models.sdk import Model, ModelResponse, TResponseStreamEvent


class RecordedPool(ModelPool):
    """The models by name, with no key and no server behind them."""

    def _made(self, ref: ModelRef) -> Model:
        return _Unasked(ref)


class _Unasked(Model):
    def __init__(self, ref: ModelRef) -> None:
        self._ref = ref

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        raise self._refusal()

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise self._refusal()

    def _refusal(self) -> ModelCannot:
        return ModelCannot(f"`{self._ref}` is not asked while a run is executed again")
