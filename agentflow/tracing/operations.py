"""Operations inside steps as spans: their names and attributes in the words of the GenAI conventions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from agentflow.events import Json, OperationFinished, OperationStarted
from agentflow.tracing import semconv
from agentflow.tracing.messages import answered, instructions, messages, said, written
from agentflow.tracing.span import Kind, OpenSpan
from agentflow.tracing.values import Attribute, attribute, data_of, fitted
from agentflow.transcript import Transcribed

Attributes = dict[str, Attribute]

# The operation's name in the conventions, and the attribute that holds what it is done with or by.
_NAMES: dict[str, tuple[str, str]] = {
    "plan": (semconv.PLAN, semconv.AGENT_NAME),
    "chat": (semconv.CHAT, semconv.REQUEST_MODEL),
    "agent": (semconv.INVOKE_AGENT, semconv.AGENT_NAME),
    "tool": (semconv.EXECUTE_TOOL, semconv.TOOL_NAME),
    "retrieval": (semconv.RETRIEVAL, semconv.DATA_SOURCE_ID),
    "embeddings": (semconv.EMBEDDINGS, semconv.REQUEST_MODEL),
}
_REMOTE = ("chat", "retrieval", "embeddings")
# The provider of what runs in this process.
_OURSELVES = "agentflow"
_KEYS = {
    "call_id": semconv.TOOL_CALL_ID,
    "description": semconv.AGENT_DESCRIPTION,
    "dimension": semconv.EMBEDDINGS_DIMENSION,
    "effect": semconv.TOOL_LABEL + "effect",
    "idempotent": semconv.TOOL_LABEL + "idempotent",
    "max_tokens": semconv.REQUEST_MAX_TOKENS,
    "provider": semconv.PROVIDER_NAME,
    "request_model": semconv.REQUEST_MODEL,
    "response_id": semconv.RESPONSE_ID,
    "response_model": semconv.RESPONSE_MODEL,
    "returns": semconv.TOOL_LABEL + "returns",
    "server_address": semconv.SERVER_ADDRESS,
    "server_port": semconv.SERVER_PORT,
    "temperature": semconv.REQUEST_TEMPERATURE,
    "top_k": semconv.RETRIEVAL_TOP_K,
    "top_p": semconv.REQUEST_TOP_P,
}
_USAGE = {
    "cached_tokens": semconv.CACHE_READ_TOKENS,
    "input_tokens": semconv.INPUT_TOKENS,
    "output_tokens": semconv.OUTPUT_TOKENS,
    "reasoning_tokens": semconv.REASONING_TOKENS,
}


def title(event: OperationStarted) -> str:
    """The name of an operation's span; a kind that the conventions do not know keeps its own word."""
    name, _ = _NAMES.get(event.kind, (event.kind, ""))
    return f"{name} {event.name}".strip()


def attempt(operation: str) -> str:
    """The attempt at its step that an operation belongs to: `2` for `2.1`."""
    return operation.partition(".")[0]


def side(event: OperationStarted) -> Kind:
    """`client` for what is done elsewhere, as far as the operation tells."""
    given = event.attributes or {}
    return "client" if event.kind in _REMOTE and given.get("provider") != _OURSELVES else "internal"


def begun(event: OperationStarted, run: str) -> Attributes:
    """The attributes that an operation begins with."""
    name, named_by = _NAMES.get(event.kind, (event.kind, semconv.OWN + "name"))
    attributes: Attributes = {
        semconv.OPERATION_NAME: name,
        named_by: event.name,
        semconv.CONVERSATION_ID: run,
        semconv.OPERATION_ID: event.operation,
    }
    if event.kind == "tool":
        attributes[semconv.TOOL_TYPE] = "function"

    return attributes | _mapped(event.attributes) | _asked(event) | _guarded(event)


def _guarded(event: OperationStarted) -> Attributes:
    """What the engine holds to: that a call is made once, for which time it is asked for, and what it may use."""
    guarded: Attributes = {
        f"{semconv.OPERATION_RESERVED}{key}": attribute(value)
        for key, value in _entries(event.reserved)
        if value is not None
    }
    if event.once:
        guarded[semconv.EFFECT_ONCE] = True

    if event.nth > 1:
        guarded[semconv.OPERATION_NTH] = event.nth

    return guarded


def ended(span: OpenSpan, event: OperationFinished) -> None:
    """Add to an operation's span what came of it."""
    name = span.attributes[semconv.OPERATION_NAME]
    span.attributes |= _mapped(event.attributes) | _used(event.usage)
    if event.result is None:
        return

    result = data_of(event.result)
    if name == semconv.PLAN and isinstance(result, Mapping):
        _planned(span, cast("Mapping[str, Any]", result), event.at)
    else:
        span.attributes |= _answer(
            str(name), result, str((event.attributes or {}).get("finish_reason", "stop"))
        )


def _mapped(given: Json) -> Attributes:
    attributes: Attributes = {}
    for key, value in _entries(given):
        if key == "finish_reason":
            attributes[semconv.FINISH_REASONS] = (str(value),)
        elif value is not None:
            attributes[_KEYS.get(key, semconv.OWN + key)] = attribute(value)

    return attributes


def _used(usage: Json) -> Attributes:
    return {
        _USAGE.get(key, semconv.USAGE + key): attribute(value)
        for key, value in _entries(usage)
        if value is not None
    }


def _entries(data: Json) -> Iterable[tuple[str, Any]]:
    return cast("Mapping[str, Any]", data or {}).items()


def _asked(event: OperationStarted) -> Attributes:
    if event.request is None:
        return {}

    if event.kind == "chat" and isinstance(event.request, Transcribed):
        rest, *items = event.request.texts
        return _chat(json.loads(rest), items)

    request = data_of(event.request)
    if event.kind == "tool":
        return {semconv.TOOL_ARGUMENTS: fitted(request)}

    reader = {"chat": _chat, "agent": _agent, "retrieval": _query}.get(event.kind)
    if reader is None or not isinstance(request, Mapping):
        return {semconv.OPERATION_REQUEST: fitted(request)}

    return reader(cast("Mapping[str, Any]", request))


def _chat(request: Mapping[str, Any], items: Sequence[str] | None = None) -> Attributes:
    """What a model was asked; `items` may be the messages, each as JSON."""
    attributes = _told(request)
    asked = fitted(messages(request.get("messages") or ())) if items is None else written(items)
    attributes[semconv.INPUT_MESSAGES] = asked
    attributes[semconv.OUTPUT_TYPE] = "json" if request.get("schema") else "text"
    if request.get("tools"):
        tools = [{"type": "function", "name": name} for name in request["tools"]]
        attributes[semconv.TOOL_DEFINITIONS] = fitted(tools)

    if request.get("schema"):
        attributes[semconv.OUTPUT_SCHEMA] = fitted(request["schema"])

    return attributes


def _told(request: Mapping[str, Any]) -> Attributes:
    text = request.get("instructions")
    return {semconv.SYSTEM_INSTRUCTIONS: fitted(instructions(str(text)))} if text else {}


def _agent(request: Mapping[str, Any]) -> Attributes:
    return {**_told(request), semconv.INPUT_MESSAGES: fitted(said("user", request.get("text", "")))}


def _query(request: Mapping[str, Any]) -> Attributes:
    keys = {"query": semconv.RETRIEVAL_QUERY, "url": semconv.URL_FULL}
    return {
        keys.get(key, f"{semconv.OPERATION_REQUEST}.{key}"): attribute(value)
        for key, value in request.items()
        if value is not None
    }


def _answer(name: str, result: Json, finish_reason: str) -> Attributes:
    if name == semconv.EXECUTE_TOOL:
        # The conventions expect an object here.
        return {semconv.TOOL_RESULT: fitted(result if isinstance(result, Mapping) else {"result": result})}

    if name == semconv.CHAT and isinstance(result, list):
        return {semconv.OUTPUT_MESSAGES: fitted(answered(result, finish_reason))}

    if name == semconv.INVOKE_AGENT:
        message = said("assistant", result)[0] | {"finish_reason": "stop"}
        return {semconv.OUTPUT_MESSAGES: fitted([message])}

    if name == semconv.RETRIEVAL and isinstance(result, list):
        return {semconv.RETRIEVAL_DOCUMENTS: fitted([_document(item) for item in result])}

    return {semconv.OPERATION_RESULT: fitted(result)}


def _document(item: Json) -> Json:
    """A passage as a document of the conventions: `id` and `score`, and what else it says of itself."""
    if not isinstance(item, Mapping):
        return {"content": item}

    known = {key: value for key, value in cast("Mapping[str, Any]", item).items() if value not in (None, "")}
    id_ = "#".join(str(known.pop(key)) for key in ("source", "place") if key in known)
    return {"id": id_, "score": known.pop("score", None), **known} if id_ else known


def _planned(span: OpenSpan, plan: Mapping[str, Any], at: int) -> None:
    """What was chosen: in short as attributes, and each call as an event with its grounds."""
    calls: list[Mapping[str, Any]] = list(plan.get("calls") or ())
    span.attributes[semconv.PLAN_THOUGHT] = str(plan.get("thought", ""))
    span.attributes[semconv.PLAN_DONE] = bool(plan.get("done"))
    span.attributes[semconv.PLAN_CALLS] = len(calls)
    if calls:
        span.attributes[semconv.PLAN_TOOLS] = tuple(str(call.get("tool", "")) for call in calls)
        span.attributes[semconv.PLAN_CONFIDENCE] = min(float(call.get("confidence", 1.0)) for call in calls)

    for call in calls:
        span.happened(semconv.PLAN_CHOICE, at, _choice(call))


def _choice(call: Mapping[str, Any]) -> Attributes:
    choice: Attributes = {
        semconv.TOOL_CALL_ID: str(call.get("id", "")),
        semconv.TOOL_NAME: str(call.get("tool", "")),
        semconv.TOOL_ARGUMENTS: attribute(call.get("arguments", "")),
        semconv.CHOICE_CONFIDENCE: float(call.get("confidence", 1.0)),
        semconv.CHOICE_WHY: str(call.get("why", "")),
    }
    if call.get("after"):
        choice[semconv.CHOICE_AFTER] = tuple(map(str, call["after"]))

    if call.get("alternatives"):
        choice[semconv.CHOICE_ALTERNATIVES] = fitted(call["alternatives"])

    return choice
