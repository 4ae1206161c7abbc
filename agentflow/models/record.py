"""A model's response as it is recorded, and the same response made again from its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentflow.context import Outcome
from agentflow.models.catalog import EMBEDDED, ModelRef
from agentflow.models.sdk import (
    NO_ID,
    EmbeddedResponse,
    ModelResponse,
    Response,
    TResponseOutputItem,
    Usage,
    calls_something,
    refusal,
    usage_of,
)


def items_of(response: ModelResponse) -> list[dict[str, Any]]:
    """The items of a response as JSON data: just what the server set, so that they are sent back the same again."""
    return [item.model_dump(mode="json", exclude_unset=True, warnings=False) for item in response.output]


def described(response: ModelResponse, incomplete: str | None = None) -> dict[str, Any]:
    """What is recorded of a response beside its items and its usage."""
    reason = "tool_calls" if calls_something(response) else "refusal" if refusal(response) else "stop"
    known: dict[str, Any] = {"finish_reason": incomplete or reason}
    identity = response.response_id if response.response_id != NO_ID else _provider_id(response.output)
    if identity:
        known["response_id"] = identity

    if isinstance(response, EmbeddedResponse):
        known |= {"confidence": response.confidence, "note": response.note}

    return known


def response_from(outcome: Outcome, ref: ModelRef) -> ModelResponse:
    """The response that was recorded; nothing that reads it can tell it from the first one."""
    output = _items(outcome.result.data if outcome.result is not None else [])
    usage = _usage(outcome.usage or {})
    known = outcome.attributes
    if ref == EMBEDDED:
        return EmbeddedResponse(
            output=output,
            usage=usage,
            response_id=None,
            confidence=known.get("confidence"),
            note=known.get("note") or "",
        )

    # An id that stands beside the items is not one that a server could be asked for.
    identity = known.get("response_id")
    return ModelResponse(
        output=output, usage=usage, response_id=NO_ID if identity == _provider_id(output) else identity
    )


def _items(data: list[dict[str, Any]]) -> list[TResponseOutputItem]:
    # As the client reads a server's answer: what it does not know stays as it is, and nothing is added.
    return Response.construct(output=data).output


def _usage(kept: Mapping[str, Any]) -> Usage:
    return usage_of({name: int(count or 0) for name, count in kept.items() if name != "usd"})


def _provider_id(items: list[TResponseOutputItem]) -> str | None:
    """The id of an answer of Chat Completions, which the SDK keeps beside each item of it."""
    kept: list[Mapping[str, Any]] = [getattr(item, "provider_data", None) or {} for item in items]
    return next((data["response_id"] for data in kept if data.get("response_id")), None)
