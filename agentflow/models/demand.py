"""The most that a model call can use, worked out before it is made.

The input is bounded, not estimated. Language models read bytes through byte-level pair encoding or an encoding with a
fallback to bytes: the smallest tokens are single bytes, and each merge joins two tokens into a longer one, so text of n
bytes is at most n tokens (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2; Kudo
and Richardson 2018, "SentencePiece"). What a server adds around the text, such as the marks of a message's beginning and
end and the words by which tools are introduced, is covered by allowances. Schemas are measured indented by four, the
longest form in which known chat templates show them.

Images, sound and files have no such bound: tokens for them depend on what they show, and on the server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from agentflow.context import Demand
from agentflow.exceptions import ModelCannot
from agentflow.models.catalog import ModelRef
from agentflow.models.pricing import Price, is_at_once, price_of
from agentflow.models.sdk import ModelSettings, Request, shown_schema
from agentflow.transcript import Transcript

# Where nobody sets a limit: room for a long answer or a plan, and small beside any budget worth having.
OUTPUT_LIMIT = 4096
# The system text that templates put before ours, and the words that introduce tools: the longest known is about 250.
_PER_REQUEST = 512
# The marks of a message's beginning and end, its role and channel: about 10 in the longest known form.
_PER_ITEM = 32
# The words around one tool.
_PER_TOOL = 64
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_TEXT_PARTS = frozenset({"input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text"})
_ITEMS = frozenset({"message", "function_call", "function_call_output", "reasoning"})
_SERVER_SIDE = ("previous_response_id", "conversation_id", "prompt")
NOTHING = Demand(input_tokens=0, output_tokens=0, is_fixed=True, price=lambda _, __: 0.0)


async def demand_of(
    ref: ModelRef,
    request: Request,
    settings: ModelSettings,
    prices: Mapping[str, Price],
    transcript: Transcript,
) -> Demand:
    """The most tokens that `request` can use, whose items are in `transcript`; raises `ModelCannot` where there is no bound.

    The embedded model uses none: it runs in this process.
    """
    if ref.provider == "embedded":
        return NOTHING

    own = own_limit(settings)
    output = OUTPUT_LIMIT if own is None else own
    price = price_of(ref, prices)
    if not is_at_once(ref, prices):
        await asyncio.to_thread(price, 1, 1)

    tokens = _input_tokens(ref, request, output, transcript)
    return Demand(input_tokens=tokens, output_tokens=output, is_fixed=own is not None, price=price)


def own_limit(settings: ModelSettings) -> int | None:
    """The output limit that the caller set, under whatever name it goes to the server."""
    if settings.max_tokens is not None:
        return settings.max_tokens

    extra: list[Any] = [settings.extra_args, settings.extra_body]
    tables = [cast("Mapping[str, Any]", table) for table in extra if isinstance(table, Mapping)]
    limits = [table[name] for table in tables for name in _LIMITS if table.get(name) is not None]
    return int(limits[0]) if limits else None


def _input_tokens(ref: ModelRef, request: Request, output_limit: int, transcript: Transcript) -> int:
    kept = [name for name in _SERVER_SIDE if request.get(name) is not None]
    if kept:
        raise _unbounded(ref, f"`{kept[0]}`, a text that the server keeps")

    said = transcript.measured(lambda item: _item(ref, item, output_limit), by=(ref, output_limit))
    parts = [_size(request["system_instructions"] or ""), said]
    parts += [_PER_TOOL + _shown(tool) for tool in _tools(ref, request)]
    schema = shown_schema(request)
    return _PER_REQUEST + sum(parts) + (0 if schema is None else _shown(schema))


def _item(ref: ModelRef, item: Mapping[str, Any], output_limit: int) -> int:
    kind = str(item.get("type") or "message")
    if kind not in _ITEMS:
        raise _unbounded(ref, f"an item of the kind `{kind}`")

    for part in _parts(item):
        if part.get("type", "text") not in _TEXT_PARTS:
            raise _unbounded(ref, f"an `{part['type']}`")

    # Thoughts that the server keeps are named by their id only; one call wrote them, within its limit.
    thoughts = output_limit if kind == "reasoning" and not item.get("encrypted_content") else 0
    return _PER_ITEM + thoughts + _size(json.dumps(item, ensure_ascii=False, default=str))


def _parts(item: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    for name in ("content", "output", "summary"):
        parts = item.get(name)
        if isinstance(parts, Sequence) and not isinstance(parts, str | bytes):
            yield from (part for part in parts if isinstance(part, Mapping))


def _tools(ref: ModelRef, request: Request) -> Iterable[dict[str, Any]]:
    for tool in request["tools"]:
        schema = getattr(tool, "params_json_schema", None)
        if schema is None:
            raise _unbounded(ref, f"`{tool.name}`, a tool of the server's own")

        yield {"name": tool.name, "description": tool.description, "parameters": schema}

    for handoff in request["handoffs"]:
        yield {
            "name": handoff.tool_name,
            "description": handoff.tool_description,
            "parameters": handoff.input_json_schema,
        }


def _shown(data: Mapping[str, Any]) -> int:
    return _size(json.dumps(data, ensure_ascii=False, indent=4, default=str))


def _size(text: str) -> int:
    return len(text.encode(errors="backslashreplace"))


def _unbounded(ref: ModelRef, what: str) -> ModelCannot:
    return ModelCannot(
        f"what a call of model `{ref.name}` can use is not bounded: its input holds {what}",
        hint="leave that out, or bound `model_calls` in the budget instead of tokens and money",
    )
