"""Models whose calls are recorded, and whose words are shown to those who watch the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from agentflow.context import current, operation
from agentflow.exceptions import ModelOutputInvalid
from agentflow.models.calls import jsonable
from agentflow.models.catalog import EMBEDDED, ModelRef
from agentflow.models.errors import translated
from agentflow.models.pricing import cost_usd
from agentflow.models.sdk import (
    NO_ID,
    EmbeddedResponse,
    Model,
    ModelResponse,
    ModelRetryAdvice,
    ModelRetryAdviceRequest,
    ModelSettings,
    Request,
    Response,
    ResponseCompletedEvent,
    ResponseOutputItemDoneEvent,
    ResponseTextDeltaEvent,
    ResponseUsage,
    TResponseOutputItem,
    TResponseStreamEvent,
    Usage,
    answer_text,
    bound,
    counted,
    messages,
    offered,
    refusal,
    shown_schema,
    tool_calls,
)

Emit = Callable[[TResponseStreamEvent], None]


class TracedModel(Model):
    """A model whose every call is recorded as a `chat` operation, and whose words are shown as they come."""

    def __init__(self, inner: Model, ref: ModelRef) -> None:
        self.inner = inner
        self.ref = ref

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return await self._call(bound(args, kwargs), None)

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        events: asyncio.Queue[TResponseStreamEvent | None] = asyncio.Queue()
        # The operation lives in a task of its own: held across a `yield`, it would leak into whoever consumes.
        call = asyncio.create_task(self._call(bound(args, kwargs), events.put_nowait))
        call.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event

            await call
        finally:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    async def close(self) -> None:
        await self.inner.close()

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        return self.inner.get_retry_advice(request)

    async def _call(self, request: Request, emit: Emit | None) -> ModelResponse:
        async with operation(
            "chat", self.ref.name, request=_asked(request), **_labels(self.ref, request["model_settings"])
        ) as record:
            try:
                response, described = await self._answer(request, emit)
            except Exception as error:
                known = translated(error, subject=f"model `{self.ref.name}`", url=self.ref.url)
                if known is error:
                    raise

                raise known from error

            record.result = [item.model_dump(mode="json", exclude_none=True) for item in response.output]
            record.usage = await _priced(self.ref, counted(response.usage))
            record.attributes.update(described)

        return response

    async def _answer(self, request: Request, emit: Emit | None) -> tuple[ModelResponse, dict[str, Any]]:
        """Streams when someone listens: a reader of the stream, or those who watch the run."""
        if emit is None and (current() is None or self.ref == EMBEDDED):
            response = await self.inner.get_response(**request)
            _show("" if request["output_schema"] else answer_text(response))
            return response, _described(response)

        final = await self._streamed(request, emit)
        described: dict[str, Any] = {"response_model": final.model}
        incomplete = final.incomplete_details.reason if final.incomplete_details else None
        response = ModelResponse(output=final.output, usage=_usage(final.usage), response_id=final.id)
        return response, described | _described(response, incomplete)

    async def _streamed(self, request: Request, emit: Emit | None) -> Response:
        """The whole response of a stream, whose events go to `emit` and whose words to the watchers."""
        final: Response | None = None
        done: list[TResponseOutputItem] = []
        async for event in self.inner.stream_response(**_with_usage(request)):
            if isinstance(event, ResponseTextDeltaEvent):
                _show(event.delta)
            elif isinstance(event, ResponseOutputItemDoneEvent):
                done.append(event.item)
            elif isinstance(event, ResponseCompletedEvent):
                final = event.response
                # Some servers name the items only while they stream, and end with an empty list.
                final.output = final.output or done

            if emit is not None:
                emit(event)

        # A stream of nothing, or of what is no event, ends like a good one in Chat Completions.
        if final is None or not final.output:
            raise ModelOutputInvalid(
                f"model `{self.ref.name}` at {self.ref.url} ended its stream without an answer",
                hint="check that the address ends in `/v1`, or read the server's log",
            )

        return final


def _labels(ref: ModelRef, settings: ModelSettings) -> dict[str, Any]:
    server = urlsplit(ref.url or "")
    labels = {
        "provider": ref.vendor,
        "request_model": ref.name,
        "server_address": server.hostname,
        "server_port": server.port,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
    }
    return {name: value for name, value in labels.items() if value is not None}


async def _priced(ref: ModelRef, usage: dict[str, int]) -> dict[str, int | float]:
    # In a thread: the first look at the price list takes a third of a second.
    usd = await asyncio.to_thread(cost_usd, str(ref), usage)
    return {**usage} if usd is None else {**usage, "usd": usd}


def _show(text: str) -> None:
    context = current()
    if context is not None and text:
        context.stream(text)


def _with_usage(request: Request) -> Request:
    """Servers of Chat Completions count the tokens of a stream only when asked to."""
    settings: ModelSettings = request["model_settings"]
    if settings.include_usage is not None:
        return request

    return {**request, "model_settings": replace(settings, include_usage=True)}


def _usage(usage: ResponseUsage | None) -> Usage:
    if usage is None:
        return Usage(requests=1)

    return Usage(
        requests=1,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        input_tokens_details=usage.input_tokens_details,
        output_tokens_details=usage.output_tokens_details,
    )


def _described(response: ModelResponse, incomplete: str | None = None) -> dict[str, Any]:
    reason = "tool_calls" if tool_calls(response) else "refusal" if refusal(response) else "stop"
    described: dict[str, Any] = {"finish_reason": incomplete or reason}
    identity = response.response_id if response.response_id != NO_ID else _provider_id(response)
    if identity:
        described["response_id"] = identity

    if isinstance(response, EmbeddedResponse):
        described |= {"confidence": response.confidence, "note": response.note}

    return described


def _provider_id(response: ModelResponse) -> str | None:
    """The id of an answer of Chat Completions, which the SDK keeps beside each item of it."""
    kept = [getattr(item, "provider_data", None) or {} for item in response.output]
    return next((data["response_id"] for data in kept if data.get("response_id")), None)


def _asked(request: Request) -> dict[str, Any]:
    """What a model was asked, as it is recorded: messages and calls are items of the Responses API."""
    return {
        "instructions": request["system_instructions"],
        "messages": jsonable(messages(request)),
        "tools": offered(request),
        "schema": shown_schema(request),
    }
