"""The one door to the openai-agents SDK: what other modules use of it they import from here.

Importing this module costs about two seconds of CPU, so it is imported where a model is used.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from agents import (
    AgentOutputSchemaBase,
    FunctionTool,
    ItemHelpers,
    Model,
    ModelResponse,
    ModelSettings,
    ModelTracing,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    TResponseInputItem,
    Usage,
    UserError,
    set_trace_processors,
)
from agents.items import TResponseOutputItem, TResponseStreamEvent
from agents.retry import ModelRetryAdvice, ModelRetryAdviceRequest
from agents.strict_schema import ensure_strict_json_schema
from agents.usage import deserialize_usage
from openai import AsyncOpenAI
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseIncompleteEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
    ResponseUsage,
)

from agentflow.marking import unmarked
from agentflow.models.catalog import EMBEDDED, OPENAI_URL, ModelRef
from agentflow.models.errors import missing_key
from agentflow.models.output import Output
from agentflow.secrets import hide

if TYPE_CHECKING:
    from agentflow.models.embedded.brain import Exchange, Reply, ToolResult
    from agentflow.models.embedded.router import Offer

__all__ = [
    "NO_ID",
    "EmbeddedResponse",
    "EmbeddedSdkModel",
    "ItemHelpers",
    "Model",
    "ModelResponse",
    "ModelRetryAdvice",
    "ModelRetryAdviceRequest",
    "ModelSettings",
    "ModelTracing",
    "OutputSchema",
    "Request",
    "Response",
    "ResponseCompletedEvent",
    "ResponseIncompleteEvent",
    "ResponseOutputItemDoneEvent",
    "ResponseTextDeltaEvent",
    "ResponseUsage",
    "Settings",
    "TResponseInputItem",
    "TResponseOutputItem",
    "TResponseStreamEvent",
    "Usage",
    "answer_text",
    "bound",
    "calls_something",
    "completed_event",
    "counted",
    "messages",
    "model_settings",
    "offered",
    "output_schema",
    "refusal",
    "sdk_model",
    "shown_schema",
    "tool_calls",
    "usage_of",
]

# The SDK uploads every prompt and answer to OpenAI when a key is set. This takes its uploader out, for good.
set_trace_processors([])
# Errors are raised and recorded; without a handler of its own the SDK's logger would print them as well.
logging.getLogger("openai.agents").addHandler(logging.NullHandler())

Request = dict[str, Any]
Settings = ModelSettings | Mapping[str, Any]

# `Model.get_response` is called with keywords by the SDK, and `stream_response` with positions.
_POSITIONS = (
    "system_instructions",
    "input",
    "model_settings",
    "offered",
    "tools",
    "output_schema",
    "handoffs",
    "tracing",
)
# What the SDK puts where a response of Chat Completions has no id.
NO_ID = "__fake_id__"


class OutputSchema(AgentOutputSchemaBase):
    """An output type as the SDK takes it: in the strict form of its schema where it has one."""

    def __init__(self, output: Output) -> None:
        self._output = output
        try:
            self._schema, self._strict = ensure_strict_json_schema(deepcopy(output.schema)), True
        except UserError:
            self._schema, self._strict = output.schema, False

    def is_plain_text(self) -> bool:
        return False

    def name(self) -> str:
        return self._output.name

    def json_schema(self) -> dict[str, Any]:
        return self._schema

    def is_strict_json_schema(self) -> bool:
        return self._strict

    def validate_json(self, json_str: str) -> Any:
        return self._output.read(json_str)


def output_schema(output: Any) -> OutputSchema | None:
    """The schema of answers of the type `output`; plain text has none."""
    return None if output is None or output is str else OutputSchema(Output(output))


def model_settings(settings: Settings | None) -> ModelSettings:
    """Settings given as a mapping or as the SDK's own object."""
    return settings if isinstance(settings, ModelSettings) else ModelSettings(**(settings or {}))


def bound(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Request:
    """The arguments of a model call by name, however they were passed."""
    return {**dict(zip(_POSITIONS, args, strict=False)), **kwargs}


def counted(usage: Usage) -> dict[str, int]:
    """Token counts under the names that agentflow records them by."""
    return {
        "requests": usage.requests,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.input_tokens_details.cached_tokens or 0,
        "reasoning_tokens": usage.output_tokens_details.reasoning_tokens or 0,
    }


def usage_of(counts: Mapping[str, int]) -> Usage:
    """The usage that `counted` counted."""
    tokens_in, tokens_out = counts.get("input_tokens", 0), counts.get("output_tokens", 0)
    return deserialize_usage(
        {
            "requests": counts.get("requests", 0),
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
            "input_tokens_details": {"cached_tokens": counts.get("cached_tokens", 0)},
            "output_tokens_details": {"reasoning_tokens": counts.get("reasoning_tokens", 0)},
        }
    )


def answer_text(response: ModelResponse) -> str:
    """The text of the last message of `response`."""
    said = _said(response)
    return (ItemHelpers.extract_text(said[-1]) or "") if said else ""


def tool_calls(response: ModelResponse) -> list[ResponseFunctionToolCall]:
    return [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]


def calls_something(response: ModelResponse) -> bool:
    """Whether a response calls a tool, hands over, or acts on a screen."""
    return bool(tool_calls(response)) or any(item.type == "computer_call" for item in response.output)


def refusal(response: ModelResponse) -> str | None:
    """What the model said instead of an answer, if it declined to give one."""
    said = _said(response)
    return ItemHelpers.extract_refusal(said[-1]) if said else None


def _said(response: ModelResponse) -> list[ResponseOutputMessage]:
    return [item for item in response.output if isinstance(item, ResponseOutputMessage)]


def messages(request: Request) -> list[dict[str, Any]]:
    """The conversation so far, as items of the Responses API."""
    return cast("list[dict[str, Any]]", ItemHelpers.input_to_new_input_list(request["input"]))


def offered(request: Request) -> list[str]:
    """The names of the tools and handoffs that the model may choose."""
    return [tool.name for tool in request["tools"]] + [h.tool_name for h in request["handoffs"]]


def shown_schema(request: Request) -> dict[str, Any] | None:
    """The JSON Schema of the answer that is asked for; plain text has none."""
    schema: AgentOutputSchemaBase | None = request["output_schema"]
    return None if schema is None or schema.is_plain_text() else schema.json_schema()


@dataclass
class EmbeddedResponse(ModelResponse):
    """A response together with what the embedded model says of its certainty."""

    confidence: float | None = None
    note: str = ""


class EmbeddedSdkModel(Model):
    """The embedded model behind the SDK's interface: no tokens, no server, the same answer each time."""

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        # Imported here: a run with a served model never needs it.
        from agentflow.models.embedded.brain import respond

        request = bound(args, kwargs)
        reply = await asyncio.to_thread(respond, _exchange(request))
        return EmbeddedResponse(
            output=_replied(reply, sum(map(_is_call, messages(request)))),
            usage=Usage(requests=1),
            response_id=None,
            confidence=reply.confidence,
            note=reply.note,
        )

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        yield completed_event(await self.get_response(*args, **kwargs), EMBEDDED.name)


def completed_event(response: ModelResponse, model: str) -> ResponseCompletedEvent:
    """The one event that the SDK needs to see of a stream: its end, with the whole response."""
    usage = ResponseUsage(
        input_tokens=response.usage.input_tokens,
        output_tokens=response.usage.output_tokens,
        total_tokens=response.usage.total_tokens,
        input_tokens_details=response.usage.input_tokens_details,
        output_tokens_details=response.usage.output_tokens_details,
    )
    return ResponseCompletedEvent(
        type="response.completed",
        sequence_number=0,
        response=Response(
            id=response.response_id or NO_ID,
            created_at=0,
            model=model,
            object="response",
            output=response.output,
            parallel_tool_calls=False,
            tool_choice="auto",
            tools=[],
            usage=usage,
        ),
    )


def _is_call(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "function_call"


def _exchange(request: Request) -> Exchange:
    """A model request as the embedded model reads it; its text is what the user asked at first."""
    from agentflow.models.embedded.brain import Exchange

    asked = [item for item in messages(request) if item.get("role") == "user"]
    return Exchange(
        system=request["system_instructions"] or "",
        text=_text(asked[0]["content"]) if asked else "",
        schema=shown_schema(request),
        offers=_offers(request),
        results=_results(messages(request)),
    )


def _offers(request: Request) -> tuple[Offer, ...]:
    from agentflow.models.embedded.router import Offer

    functions = [tool for tool in request["tools"] if isinstance(tool, FunctionTool)]
    tools = [(tool.name, tool.description, tool.params_json_schema) for tool in functions]
    handoffs = [(h.tool_name, h.tool_description, h.input_json_schema) for h in request["handoffs"]]
    return tuple(Offer(name=n, description=d, parameters=p) for n, d, p in tools + handoffs)


def _results(items: list[dict[str, Any]]) -> tuple[ToolResult, ...]:
    """What the tools returned so far; the notice that a handoff took place is no result."""
    from agentflow.models.embedded.brain import ToolResult

    outputs = {
        item["call_id"]: _text(item["output"]) for item in items if item.get("type") == "function_call_output"
    }
    return tuple(
        ToolResult(name=item["name"], arguments=item["arguments"], output=outputs[item["call_id"]])
        for item in items
        if _is_call(item) and item["call_id"] in outputs and not item["name"].startswith("transfer_to_")
    )


def _text(content: Any) -> str:
    """The text of a message's or a result's content, which is a string or a list of parts.

    The embedded model follows no instructions, wherever they stand: it reads text from outside without its marks.
    """
    if isinstance(content, str):
        return unmarked(content)

    parts: list[Any] = content if isinstance(content, list) else [content]
    return unmarked("\n".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping)))


def _replied(reply: Reply, calls_before: int) -> list[TResponseOutputItem]:
    """Calls are numbered through the conversation: their ids must be unique, and the same on a second run."""
    if not reply.calls:
        return [message(reply.text)]

    return [
        ResponseFunctionToolCall(
            type="function_call",
            call_id=f"embedded_{calls_before + number}",
            name=call.name,
            arguments=json.dumps(call.arguments, ensure_ascii=False),
        )
        for number, call in enumerate(reply.calls, start=1)
    ]


def message(text: str) -> ResponseOutputMessage:
    """A message of the assistant that says `text`."""
    part = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(
        id=NO_ID, type="message", role="assistant", status="completed", content=[part]
    )


def sdk_model(
    ref: ModelRef, environ: Mapping[str, str], *, timeout: float = 60.0, max_retries: int = 2
) -> Model:
    """The SDK's model for `ref`; `timeout` is in seconds and bounds each wait for the server."""
    if ref.provider == "embedded":
        return EmbeddedSdkModel()

    key = environ.get(ref.key_env, "") if ref.key_env else ""
    if not key and ref.base_url is None:
        raise missing_key(ref.name, ref.key_env or "OPENAI_API_KEY")

    hide(ref.key_env or "OPENAI_API_KEY", key)
    # A server of one's own often asks for no key, but the client insists on sending one.
    client = AsyncOpenAI(
        api_key=key or "none", base_url=ref.base_url or OPENAI_URL, timeout=timeout, max_retries=max_retries
    )
    if ref.provider == "chat":
        return _ClosingChat(ref.name, client)

    return _ClosingResponses(ref.name, client)


class _ClosingChat(OpenAIChatCompletionsModel):
    """The SDK leaves its clients to their owners to close; here the model is the owner."""

    async def close(self) -> None:
        await self._client.close()


class _ClosingResponses(OpenAIResponsesModel):
    async def close(self) -> None:
        await self._client.close()
