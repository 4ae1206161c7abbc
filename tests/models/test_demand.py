"""The most that a model call can use: a bound before the call, and a limit that goes to the server."""

from __future__ import annotations

from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message

from agentflow.context import Demand, Operation
from agentflow.exceptions import ModelCannot
from agentflow.models.agent import AgentCall, AgentSpec, run_agent
from agentflow.models.catalog import ModelRef, parse
from agentflow.models.completion import complete
from agentflow.models.demand import OUTPUT_LIMIT, demand_of
from agentflow.models.pool import ModelPool
from agentflow.models.pricing import Price
from agentflow.models.sdk import ModelSettings, ModelTracing, Request, messages, output_schema
from agentflow.models.traced import TracedModel, _limited, new_transcript
from agentflow.tools import tool
from tests.models.openai_server import OpenAIServer, Received, Said, calls, says
from tests.models.recording import recorded

PRICES = {"m": Price(input=1.0, output=2.0)}
MODEL = parse("chat/m@http://h/v1", {})


def request(text: Any = "hi", **more: Any) -> Request:
    return {
        "system_instructions": "Be brief.",
        "input": text,
        "model_settings": ModelSettings(),
        "tools": [],
        "output_schema": None,
        "handoffs": [],
        "tracing": ModelTracing.DISABLED,
        "previous_response_id": None,
        "conversation_id": None,
        "prompt": None,
        **more,
    }


async def tokens(asked: Request, ref: str = "chat/m@http://h/v1") -> int:
    return (await demand(parse(ref, {}), asked, asked["model_settings"])).input_tokens


async def demand(ref: ModelRef, asked: Request, settings: ModelSettings, prices: Any = PRICES) -> Demand:
    transcript = new_transcript()
    transcript.shown(messages(asked))
    return await demand_of(ref, asked, settings, prices, transcript)


async def test_each_byte_that_is_sent_may_be_a_token() -> None:
    """Text counts by its bytes, wherever it stands: in instructions, messages, calls, results and schemas."""
    least = await tokens(request())
    assert least >= len("hi") + len("Be brief.")
    assert await tokens(request("hi" + "ß" * 100)) == least + 200
    assert await tokens(request(system_instructions="Be brief." + "x" * 50)) == least + 50
    spoken = [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "x" * 300},
        {"type": "function_call_output", "call_id": "c", "output": "y" * 400},
        {
            "type": "function_call_output",
            "call_id": "d",
            "output": [{"type": "input_text", "text": "z" * 500}],
        },
    ]
    assert await tokens(request(spoken)) > 1200
    assert await tokens(request(output_schema=output_schema(dict[str, int]))) > least + 30


async def test_thoughts_that_the_server_keeps_count_as_much_as_an_answer() -> None:
    """An item that is only an id stands for what one call may have written."""
    kept = {"type": "reasoning", "id": "rs_1", "summary": []}
    sent = {**kept, "encrypted_content": "x" * 100}
    assert await tokens(request([kept])) > OUTPUT_LIMIT
    assert await tokens(request([sent])) < 1000


@pytest.mark.parametrize(
    "asked",
    [
        request([{"role": "user", "content": [{"type": "input_image", "image_url": "data:..."}]}]),
        request([{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file"}]}]),
        request([{"type": "item_reference", "id": "msg_1"}]),
        request(previous_response_id="resp_1"),
    ],
)
async def test_what_has_no_bound_is_refused(asked: Request) -> None:
    """Images, files, and what only the server holds: the error says what it is and what to do."""
    with pytest.raises(ModelCannot, match="not bounded") as caught:
        await tokens(asked)

    assert "model_calls" in caught.value.hint


async def test_the_output_is_the_caller_s_limit_or_a_common_one() -> None:
    """A limit that the caller set stands, by whatever name it goes out; else there is a common one that may be lowered."""
    for settings, limit, fixed in (
        (ModelSettings(), OUTPUT_LIMIT, False),
        (ModelSettings(max_tokens=50), 50, True),
        (ModelSettings(extra_args={"max_completion_tokens": 60}), 60, True),
        (ModelSettings(extra_body={"max_tokens": 70}), 70, True),
    ):
        found = await demand(MODEL, request(), settings)
        assert (found.output_tokens, found.is_fixed) == (limit, fixed)
        assert found.price(1_000_000, 1_000_000) == 3.0

    unknown = await demand(MODEL, request(), ModelSettings(), {})
    assert unknown.price(1, 1) is None


async def test_the_embedded_model_demands_nothing() -> None:
    """What runs in this process uses no tokens, and reports none, whatever limit there is."""
    document = (
        '{"question": "How long?", "evidence": [{"n": 1, "text": "It takes two years.", "source": "s"}]}'
    )
    with recorded(granted=0) as recording:
        await complete(ModelPool({}).model("embedded"), instructions="", text=document)

    (kept,) = recording.kept
    assert kept.demand is not None
    assert (kept.demand.input_tokens, kept.demand.output_tokens, kept.demand.price(0, 0)) == (0, 0, 0.0)
    usage = kept.operation.usage or {}
    assert (usage["input_tokens"], usage["output_tokens"], usage["usd"]) == (0, 0, 0.0)


async def test_nothing_is_worked_out_where_no_budget_holds() -> None:
    """A call without a budget has no demand, and no limit is put on it."""
    model = ScriptedModel([[assistant_message("x")]])
    with recorded() as recording:
        await complete(TracedModel(model, MODEL), instructions="", text="hi")

    assert recording.kept[0].demand is None
    assert model.calls[0].model_settings.max_tokens is None


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_the_granted_limit_goes_to_the_server(api: str) -> None:
    """What a budget grants reaches the server as its limit, and the record; a caller's own limit is left alone."""
    field = "max_tokens" if api == "chat" else "max_output_tokens"
    with OpenAIServer([says("a"), says("b")]) as server:
        pool = ModelPool({}, max_retries=0, prices=PRICES)
        model = pool.model(f"{api}/m@{server.url}")
        with recorded(granted=33) as recording:
            await complete(model, instructions="", text="hi")
            await complete(model, instructions="", text="hi", settings={"max_tokens": 44})

        await pool.aclose()

    assert [received.body[field] for received in server.requests] == [33, 44]
    assert [kept.operation.attributes["max_tokens"] for kept in recording.kept] == [33, 44]
    assert [kept.demand is not None and kept.demand.is_fixed for kept in recording.kept] == [False, True]
    assert (recording.kept[0].operation.usage or {})["usd"] == pytest.approx((11 + 2 * 7) / 1e6)


def test_openai_itself_is_told_the_limit_by_its_newer_name() -> None:
    """Reasoning models at OpenAI refuse `max_tokens` in Chat Completions."""
    record = Operation(id="1", kind="chat", name="m", granted=20)
    asked = _limited(parse("chat/o4-mini", {}), request(), record)["model_settings"]
    assert (asked.max_tokens, asked.extra_args) == (None, {"max_completion_tokens": 20})
    asked = _limited(parse("responses/o4-mini", {}), request(), record)["model_settings"]
    assert (asked.max_tokens, asked.extra_args) == (20, None)


@tool
async def look(where: str, how_often: int = 1) -> str:
    """Look somewhere."""
    return "→ nothing there, " * how_often


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_the_bound_holds_for_all_that_goes_over_the_wire(api: str) -> None:
    """The server counts each byte of text that it is sent as a token, and is never sent more than was reserved."""

    def script(received: Received) -> Said:
        sent = sum(map(_text, (received.body.get(name) for name in ("instructions", "messages", "input"))))
        sent += sum(map(_text, (received.body.get(name) for name in ("tools", "text", "response_format"))))
        answer = (
            says('{"response": [1]}') if len(received.messages) > 3 else calls("look", where="ü", how_often=9)
        )
        return Said(text=answer.text, calls=answer.calls, input_tokens=sent)

    with OpenAIServer(script) as server:
        pool = ModelPool({}, max_retries=0)
        spec = AgentSpec(name="a", instructions="Look ☃.", tools=(look,), output=list[int])
        with recorded(granted=100) as recording:
            await run_agent(AgentCall(spec=spec, text="go", model=f"{api}/m@{server.url}"), pool)

        await pool.aclose()

    chats = [kept for kept in recording.kept if kept.operation.kind == "chat"]
    assert len(chats) > 1
    for kept in chats:
        assert kept.demand is not None
        assert 0 < (kept.operation.usage or {})["input_tokens"] <= kept.demand.input_tokens


def _text(value: Any) -> int:
    """The bytes of all text in `value`: names, keys and values."""
    if isinstance(value, str):
        return len(value.encode())

    if isinstance(value, dict):
        return sum(_text(key) + _text(item) for key, item in value.items())

    return sum(map(_text, value)) if isinstance(value, list) else 0
