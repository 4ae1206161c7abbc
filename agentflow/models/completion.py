"""One structured call of a model, with one chance to mend an answer that does not fit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, cast

from agentflow.exceptions import ModelOutputInvalid
from agentflow.models.catalog import EMBEDDED
from agentflow.models.errors import refused_by_model, translated
from agentflow.models.sdk import (
    ItemHelpers,
    Model,
    ModelResponse,
    ModelTracing,
    OutputSchema,
    Request,
    Settings,
    TResponseInputItem,
    answer_text,
    counted,
    model_settings,
    output_schema,
    refusal,
    tool_calls,
)
from agentflow.models.traced import TracedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What one structured call gave: the value, the text it was read from, and what it used."""

    value: Any
    text: str
    usage: Mapping[str, int]


async def complete(
    model: Model,
    *,
    instructions: str,
    text: str,
    schema: Any = None,
    settings: Settings | None = None,
) -> Completion:
    """Ask `model` once; with a `schema` (a type) the answer is read as that type.

    An answer that does not fit is sent back once with what was wrong, then `ModelOutputInvalid` is raised.
    """
    wanted = output_schema(schema)
    chosen = model_settings(settings)
    request: Request = {
        "system_instructions": instructions,
        "input": text,
        "model_settings": chosen,
        "tools": [],
        "output_schema": wanted,
        "handoffs": [],
        "tracing": ModelTracing.DISABLED,
        "previous_response_id": None,
        "conversation_id": None,
        "prompt": None,
    }
    response = await _within(chosen.timeout, answered(model, request), model)
    said = answer_text(response)
    declined = refusal(response)
    if declined:
        raise refused_by_model(_subject(model), declined)

    value = said if wanted is None else wanted.validate_json(said)
    return Completion(value=value, text=said, usage=counted(response.usage))


def _subject(model: Model) -> str:
    return f"model `{model.ref.name if isinstance(model, TracedModel) else type(model).__name__}`"


async def _within(
    seconds: float | None, call: Coroutine[Any, Any, ModelResponse], model: Model
) -> ModelResponse:
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError as error:
        raise translated(error, subject=_subject(model)) from error


async def answered(model: Model, request: Request) -> ModelResponse:
    """The response of `model`; one that does not fit the schema is sent back once, with what was wrong."""
    response = await model.get_response(**request)
    fault = _fault(response, request["output_schema"])
    # The embedded model would only say the same again.
    if fault is None or (isinstance(model, TracedModel) and model.ref == EMBEDDED):
        return response

    second = await model.get_response(**_sent_back(request, response, fault))
    second.usage.add(response.usage)
    return second


def _fault(response: ModelResponse, schema: Any) -> ModelOutputInvalid | None:
    if not isinstance(schema, OutputSchema) or tool_calls(response) or refusal(response):
        return None

    try:
        schema.validate_json(answer_text(response))
    except ModelOutputInvalid as error:
        return error

    return None


def _sent_back(request: Request, response: ModelResponse, fault: ModelOutputInvalid) -> Request:
    """The request again, with the answer, its faults, and the schema for servers that never showed it."""
    schema = json.dumps(request["output_schema"].json_schema(), ensure_ascii=False)
    text = f"{fault}\nAnswer again with one JSON object alone, that fits this JSON Schema:\n{schema}"
    correction = cast("TResponseInputItem", {"role": "user", "content": text})
    items = ItemHelpers.input_to_new_input_list(request["input"])
    return {**request, "input": [*items, *response.to_input_items(), correction]}
