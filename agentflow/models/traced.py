"""Models whose calls are recorded, and whose words are shown to those who watch the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from agentflow.context import Demand, Operation, Outcome, current, effect
from agentflow.events import Payload
from agentflow.exceptions import ModelOutputInvalid
from agentflow.models.calls import jsonable
from agentflow.models.catalog import EMBEDDED, ModelRef
from agentflow.models.computer import by_digest
from agentflow.models.demand import demand_of, own_limit
from agentflow.models.errors import translated
from agentflow.models.pricing import Price, cost_usd, is_at_once
from agentflow.models.record import described, items_of, response_from
from agentflow.models.sdk import (
    Model,
    ModelResponse,
    ModelRetryAdvice,
    ModelRetryAdviceRequest,
    ModelSettings,
    Request,
    Response,
    ResponseCompletedEvent,
    ResponseIncompleteEvent,
    ResponseOutputItemDoneEvent,
    ResponseTextDeltaEvent,
    ResponseUsage,
    TResponseOutputItem,
    TResponseStreamEvent,
    Usage,
    answer_text,
    bound,
    completed_event,
    counted,
    messages,
    offered,
    shown_schema,
)
from agentflow.secrets import redact
from agentflow.transcript import Transcript

Emit = Callable[[TResponseStreamEvent], None]
# Reasons that servers of the Responses API give for answers that they broke off.
_CUT_SHORT = frozenset({"max_output_tokens", "content_filter"})


class TracedModel(Model):
    """A model whose every call is a recorded effect, and whose words are shown as they come.

    What an earlier attempt of a step was answered is answered again, without asking. `prices` go before the list.
    """

    def __init__(
        self,
        inner: Model,
        ref: ModelRef,
        *,
        prices: Mapping[str, Price] | None = None,
        transcript: Transcript | None = None,
    ) -> None:
        self.inner = inner
        self.ref = ref
        self._prices = prices or {}
        self._transcript = transcript

    def conversing(self) -> TracedModel:
        """The same model for the requests of one conversation: what each repeats is not gone over again."""
        return TracedModel(self.inner, self.ref, prices=self._prices, transcript=new_transcript())

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
        transcript = self._transcript or new_transcript()
        request = _without_secrets(request, transcript)

        async def work(record: Operation) -> ModelResponse:
            return await self._recorded(_limited(self.ref, request, record), emit, record)

        def restore(outcome: Outcome) -> ModelResponse:
            response = response_from(outcome, self.ref)
            if emit is not None:
                emit(completed_event(response, self.ref.name))

            return response

        settings: ModelSettings = request["model_settings"]
        return await effect(
            "chat",
            self.ref.name,
            work,
            restore,
            request=_asked(request, transcript),
            demand=await self._demand(request, settings, transcript),
            **_labels(self.ref, settings),
        )

    async def _demand(
        self, request: Request, settings: ModelSettings, transcript: Transcript
    ) -> Demand | None:
        context = current()
        if context is None or not context.is_bounded():
            return None

        return await demand_of(self.ref, request, settings, self._prices, transcript)

    async def _recorded(self, request: Request, emit: Emit | None, record: Operation) -> ModelResponse:
        try:
            response, known = await self._answer(request, emit)
        except Exception as error:
            told = translated(error, subject=f"model `{self.ref.name}`", url=self.ref.url)
            if told is error:
                raise

            raise told from error

        record.result = items_of(response)
        used = counted(response.usage)
        is_counted = used["input_tokens"] or used["output_tokens"]
        # Under a budget, a server that does not count says nothing: that is not the same as that it took nothing.
        record.usage = None if record.granted and not is_counted else await self._priced(used)
        record.attributes.update(known)
        if known["finish_reason"] in _CUT_SHORT:
            # What it used is recorded all the same: it was paid for.
            raise self._cut_short(known["finish_reason"])

        return response

    def _cut_short(self, reason: str) -> ModelOutputInvalid:
        return ModelOutputInvalid(
            f"the answer of model `{self.ref.name}` was cut short by the server: {reason}",
            hint="a larger `max_tokens`, or a larger budget of tokens, helps",
        )

    async def _priced(self, usage: dict[str, int]) -> dict[str, int | float]:
        if is_at_once(self.ref, self._prices):
            usd = cost_usd(self.ref, usage, self._prices)
        else:
            usd = await asyncio.to_thread(cost_usd, self.ref, usage, self._prices)

        return {**usage} if usd is None else {**usage, "usd": usd}

    async def _answer(self, request: Request, emit: Emit | None) -> tuple[ModelResponse, dict[str, Any]]:
        """Streams when someone listens: a reader of the stream, or those who watch the run."""
        if emit is None and (current() is None or self.ref == EMBEDDED):
            response = await self.inner.get_response(**request)
            _show("" if request["output_schema"] else answer_text(response))
            return response, described(response)

        final = await self._streamed(request, emit)
        known: dict[str, Any] = {"response_model": final.model}
        incomplete = final.incomplete_details.reason if final.incomplete_details else None
        response = ModelResponse(output=final.output, usage=_usage(final.usage), response_id=final.id)
        return response, known | described(response, incomplete)

    async def _streamed(self, request: Request, emit: Emit | None) -> Response:
        """The whole response of a stream, whose events go to `emit` and whose words to the watchers."""
        final: Response | None = None
        done: list[TResponseOutputItem] = []
        async for event in _whole(self.inner.stream_response(**_with_usage(request))):
            if isinstance(event, ResponseTextDeltaEvent):
                _show(event.delta)
            elif isinstance(event, ResponseOutputItemDoneEvent):
                done.append(event.item)
            elif isinstance(event, ResponseCompletedEvent | ResponseIncompleteEvent):
                final = event.response
                # Some servers name the items only while they stream, and end with an empty list.
                final.output = final.output or done

            if emit is not None:
                emit(event)

        # A stream of nothing, or of what is no event, ends like a good one in Chat Completions.
        if final is None or not (final.output or final.incomplete_details):
            raise ModelOutputInvalid(
                f"model `{self.ref.name}` at {self.ref.url} ended its stream without an answer",
                hint="check that the address ends in `/v1`, or read the server's log",
            )

        return final


async def _whole(stream: AsyncIterator[TResponseStreamEvent]) -> AsyncIterator[TResponseStreamEvent]:
    """The events of a stream up to where the server broke it off: the SDK would raise there, and the usage be lost."""
    async for event in stream:
        yield event
        if isinstance(event, ResponseIncompleteEvent):
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

            return


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


def _limited(ref: ModelRef, request: Request, record: Operation) -> Request:
    """The request with the output limit that the budgets granted, unless its caller set one."""
    settings: ModelSettings = request["model_settings"]
    if record.granted is None or ref == EMBEDDED or own_limit(settings) is not None:
        return request

    record.attributes["max_tokens"] = record.granted
    if ref.provider == "chat" and ref.base_url is None:
        # OpenAI's own reasoning models refuse the older name, which is the only one that many other servers know.
        extra = {**(settings.extra_args or {}), "max_completion_tokens": record.granted}
        return {**request, "model_settings": replace(settings, extra_args=extra)}

    return {**request, "model_settings": replace(settings, max_tokens=record.granted)}


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


def new_transcript() -> Transcript:
    """A transcript of messages and calls, which are items of the Responses API; pictures are written by their digests."""
    return Transcript(lambda items: jsonable(messages({"input": items})), by_digest)


def _without_secrets(request: Request, transcript: Transcript) -> Request:
    """No model is told a secret: what is sent is what is recorded."""
    given, instructions = request["input"], request["system_instructions"]
    shown = transcript.shown(messages(request) if isinstance(given, str) else given)
    return {
        **request,
        "system_instructions": instructions and redact(instructions),
        "input": redact(given) if isinstance(given, str) else shown,
    }


def _asked(request: Request, transcript: Transcript) -> Payload:
    """What a model was asked, as it is recorded."""
    before = {"instructions": request["system_instructions"]}
    return transcript.request(
        before, "messages", {"tools": offered(request), "schema": shown_schema(request)}
    )
