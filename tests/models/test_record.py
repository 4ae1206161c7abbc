"""Responses of models as they are recorded: made again from the record, they are as they were."""

from __future__ import annotations

from typing import Any

import pytest
from agents.testing import ScriptedModel
from openai.types.responses import Response

from agentflow.exceptions import ModelOutputInvalid, ModelRefused
from agentflow.models.catalog import ModelRef
from agentflow.models.completion import complete
from agentflow.models.pool import ModelPool
from agentflow.models.record import response_from
from agentflow.models.sdk import (
    EmbeddedResponse,
    ModelSettings,
    ModelTracing,
    Request,
    ResponseCompletedEvent,
    Usage,
    counted,
)
from agentflow.models.traced import TracedModel
from tests.models.openai_server import OpenAIServer, Said, fails, says
from tests.models.recording import recorded

REF = ModelRef(provider="openai", name="m", base_url="http://h/v1")
ASKED: Request = {
    "system_instructions": None,
    "input": "hi",
    "model_settings": ModelSettings(),
    "tools": [],
    "output_schema": None,
    "handoffs": [],
    "tracing": ModelTracing.DISABLED,
    "previous_response_id": None,
    "conversation_id": None,
    "prompt": None,
}
ITEMS: list[dict[str, Any]] = [
    {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": None, "status": None},
    {
        "id": "rs_2",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "I think"}],
        "encrypted_content": "gAAA",
    },
    {
        "id": "fc_1",
        "type": "function_call",
        "call_id": "c1",
        "name": "f",
        "arguments": "{}",
        "namespace": None,
    },
    {
        "id": "fc_2",
        "type": "function_call",
        "call_id": "c2",
        "name": "f",
        "arguments": '{"a": 1}',
        "provider_data": {"model": "m", "response_id": "chatcmpl-1"},
    },
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "phase": None,
        "content": [
            {"type": "output_text", "text": "see", "annotations": [], "logprobs": None, "unheard_of": [1]},
            {"type": "refusal", "refusal": "no"},
        ],
    },
    {"type": "something_new", "id": "x_1", "data": {"a": None}},
]


async def test_items_are_sent_back_to_the_server_as_they_came() -> None:
    """Thoughts, calls, refusals, what servers add, and even their nulls: the next request is the same."""
    output = Response.construct(output=ITEMS).output
    usage = Usage(requests=1, input_tokens=5, output_tokens=7, total_tokens=12)
    model = ScriptedModel([{"output": output, "response_id": "resp_1", "usage": usage}])
    with recorded() as recording:
        first = await TracedModel(model, REF).get_response(**ASKED)

    restored = response_from(recording.one("chat", "m").outcome, REF)
    assert restored.output == first.output
    assert [type(item) for item in restored.output] == [type(item) for item in first.output]
    assert restored.to_input_items() == first.to_input_items()
    assert restored.to_input_items()[0] == ITEMS[0]
    assert counted(restored.usage) == counted(first.usage)
    assert restored.usage.total_tokens == 12


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_response_over_http_comes_back_whole(api: str) -> None:
    """What the SDK would see of a served response is what it saw of the first, its id and its usage included."""
    with OpenAIServer([says("Hello dear world")]) as server:
        pool = ModelPool({}, max_retries=0)
        model = pool.model(f"{api}/m@{server.url}")
        with recorded() as first:
            response = await model.get_response(**ASKED)

        with recorded(known=first.outcomes()) as again:
            restored = await model.get_response(**ASKED)

        await pool.aclose()

    assert len(server.requests) == 1
    assert (restored.output, restored.response_id) == (response.output, response.response_id)
    assert counted(restored.usage) == counted(response.usage)
    assert (again.kept, again.text) == ([], "")


async def test_a_stream_of_a_restored_response_is_its_end() -> None:
    """Whoever reads a stream gets the whole response at once."""
    with OpenAIServer([says("Hello dear world")]) as server:
        pool = ModelPool({}, max_retries=0)
        model = pool.model(f"chat/m@{server.url}")
        with recorded() as first:
            events = [event async for event in model.stream_response(**ASKED)]

        with recorded(known=first.outcomes()):
            (end,) = [event async for event in model.stream_response(**ASKED)]

        await pool.aclose()

    before = events[-1]
    assert isinstance(before, ResponseCompletedEvent)
    assert isinstance(end, ResponseCompletedEvent)
    assert end.response.output == before.response.output


async def test_the_embedded_model_is_as_sure_as_it_was() -> None:
    """A restored answer of the embedded model has its confidence and its note."""
    model = ModelPool({}).model("embedded")
    document = (
        '{"question": "How long?", "evidence": [{"n": 1, "text": "It takes two years.", "source": "s"}]}'
    )
    asked = {**ASKED, "input": document}
    with recorded() as first:
        response = await model.get_response(**asked)

    with recorded(known=first.outcomes()) as again:
        restored = await model.get_response(**asked)

    assert isinstance(restored, EmbeddedResponse)
    assert isinstance(response, EmbeddedResponse)
    assert (restored.output, restored.confidence, restored.note) == (
        response.output,
        response.confidence,
        response.note,
    )
    assert again.served == 1


async def test_a_recorded_failure_fails_the_same_way() -> None:
    """An error of a model comes back as the same kind, with the same words and hint."""
    with OpenAIServer([fails(401, "bad key")]) as server:
        pool = ModelPool({}, max_retries=0)
        model = pool.model(f"chat/m@{server.url}")
        with recorded() as first, pytest.raises(ModelRefused) as caught:
            await complete(model, instructions="", text="x")

        with recorded(known=first.outcomes()), pytest.raises(ModelRefused) as again:
            await complete(model, instructions="", text="x")

        await pool.aclose()

    assert (str(again.value), again.value.hint) == (str(caught.value), caught.value.hint)


async def test_an_answer_that_its_limit_cut_short_is_no_answer() -> None:
    """Half an answer is an error that says so; inside of a run, what it used is recorded, since it was paid for."""
    half = Said(text="Hello dear", limited=True)
    with OpenAIServer([half, half]) as server:
        pool = ModelPool({}, max_retries=0)
        model = pool.model(f"responses/m@{server.url}")
        with recorded() as recording, pytest.raises(ModelOutputInvalid, match="max_output_tokens"):
            await model.get_response(**ASKED)

        with pytest.raises(ModelOutputInvalid, match="max_output_tokens") as caught:
            await model.get_response(**ASKED)

        await pool.aclose()

    assert "max_tokens" in caught.value.hint
    usage = recording.one("chat", "m").operation.usage or {}
    assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)
