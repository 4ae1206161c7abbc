"""Models over real HTTP: both APIs, streamed and not, structured answers, and each way in which a server fails."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow.context import current
from agentflow.exceptions import (
    AgentflowError,
    ModelCannot,
    ModelOutputInvalid,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
    UnknownName,
)
from agentflow.models.catalog import parse
from agentflow.models.completion import complete
from agentflow.models.pool import ModelPool
from agentflow.models.sdk import ModelSettings, ModelTracing, Request, ResponseCompletedEvent, output_schema
from agentflow.models.traced import TracedModel
from tests.models.openai_server import OpenAIServer, Received, Said, Script, calls, fails, says
from tests.models.recording import recorded

APIS = ("chat", "responses")


@dataclass(frozen=True)
class City:
    name: str
    people: int


@asynccontextmanager
async def serving(
    script: Script, api: str = "chat", *, patience: float = 60, max_retries: int = 0
) -> AsyncGenerator[tuple[OpenAIServer, TracedModel], None]:
    """A server with `script`, and the model that speaks `api` with it."""
    pool = ModelPool({}, timeout=patience, max_retries=max_retries)
    with OpenAIServer(script) as server:
        try:
            yield server, pool.model(f"{api}/m-1@{server.url}")
        finally:
            await pool.aclose()


def request(text: str = "hi", schema: Any = None) -> Request:
    return {
        "system_instructions": "Be brief.",
        "input": text,
        "model_settings": ModelSettings(temperature=0.5),
        "tools": [],
        "output_schema": output_schema(schema),
        "handoffs": [],
        "tracing": ModelTracing.DISABLED,
        "previous_response_id": None,
        "conversation_id": None,
        "prompt": None,
    }


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("inside", [False, True])
async def test_a_text_over_both_apis_streamed_inside_a_run(api: str, inside: bool) -> None:
    """The same answer and usage come over either API, streamed exactly when a run is watched."""
    async with serving(["Hello dear world"], api) as (server, model):
        if inside:
            with recorded() as recording:
                got = await complete(model, instructions="Be brief.", text="hi")

            assert recording.text == "Hello dear world"
        else:
            got = await complete(model, instructions="Be brief.", text="hi")

    assert (got.value, got.text) == ("Hello dear world", "Hello dear world")
    assert got.usage == {
        "requests": 1,
        "input_tokens": 11,
        "output_tokens": 7,
        "cached_tokens": 3,
        "reasoning_tokens": 2,
    }
    assert bool(server.requests[0].body.get("stream")) is inside


@pytest.mark.parametrize("api", APIS)
async def test_a_call_is_recorded_whole(api: str) -> None:
    """A `chat` operation holds what was asked, what came, what it used, and who answered."""
    async with serving(["Hello"], api) as (server, model):
        with recorded() as recording:
            await complete(model, instructions="Be brief.", text="hi", settings={"temperature": 0.5})

    kept = recording.one("chat", "m-1")
    assert kept.request == {
        "instructions": "Be brief.",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [],
        "schema": None,
    }
    assert kept.operation.result[0]["content"][0]["text"] == "Hello"
    assert kept.operation.usage is not None
    assert (kept.operation.usage["input_tokens"], kept.operation.usage["output_tokens"]) == (11, 7)
    attributes = kept.operation.attributes
    assert attributes["provider"] == "openai_compatible"
    assert attributes["request_model"] == "m-1"
    assert attributes["finish_reason"] == "stop"
    assert attributes["temperature"] == 0.5
    assert attributes["response_id"] == ("resp_1" if api == "responses" else "chatcmpl-1")
    assert attributes["response_model"] == ("m-1-2026" if api == "responses" else "m-1")
    assert f":{attributes['server_port']}/" in server.url


@pytest.mark.parametrize("api", APIS)
async def test_a_structured_answer_becomes_its_type(api: str) -> None:
    """The server is given the strict JSON Schema, and the answer is read as the type."""
    async with serving([{"name": "Oslo", "people": 700_000}], api) as (server, model):
        got = await complete(model, instructions="", text="a city", schema=City)

    assert got.value == City("Oslo", 700_000)
    body = server.requests[0].body
    sent = body["response_format"]["json_schema"] if api == "chat" else body["text"]["format"]
    assert sent["strict"] is True
    assert sent["schema"]["required"] == ["name", "people"]
    assert sent["schema"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("answer", "schema", "value"),
    [
        ('{"response": [1, 2]}', list[int], [1, 2]),
        ("[1, 2]", list[int], [1, 2]),
        ('{"response": "b"}', Literal["a", "b"], "b"),
        ("b", Literal["a", "b"], "b"),
        ('{"response": {"name": "Oslo", "people": 1}}', City | None, City("Oslo", 1)),
        ('Here it is: {"name": "Oslo", "people": 1} I hope it helps.', City, City("Oslo", 1)),
        ('{not json} ```json\n{"name": "Oslo", "people": 1}\n```', City, City("Oslo", 1)),
        ('{"a": 1}', dict[str, int], {"a": 1}),
    ],
)
async def test_answers_as_servers_write_them(answer: str, schema: Any, value: Any) -> None:
    """Types that are no objects are wrapped, and JSON is found among prose."""
    async with serving([answer]) as (server, model):
        got = await complete(model, instructions="", text="go", schema=schema)

    assert got.value == value
    assert len(server.requests) == 1


@pytest.mark.parametrize("api", APIS)
async def test_an_answer_that_does_not_fit_is_sent_back_once(api: str) -> None:
    """The model is told what was wrong, sees the schema, and gets one more chance; both calls are counted."""
    async with serving(["Oslo has many people.", {"name": "Oslo", "people": 5}], api) as (server, model):
        got = await complete(model, instructions="", text="a city", schema=City)

    assert got.value == City("Oslo", 5)
    assert got.usage["requests"] == 2
    told = str(server.requests[1].messages)
    assert "Oslo has many people." in told
    assert "does not fit `City`" in told
    assert "additionalProperties" in told


async def test_an_answer_that_never_fits_is_an_error() -> None:
    """After the second bad answer the call fails, and shows how that answer begins."""
    async with serving([{"name": "Oslo"}, "still " + "no" * 300]) as (server, model):
        with pytest.raises(ModelOutputInvalid) as caught:
            await complete(model, instructions="", text="a city", schema=City)

    assert "'still nono" in str(caught.value)
    assert "no" * 120 not in str(caught.value)
    assert len(server.requests) == 2


@pytest.mark.parametrize("inside", [False, True])
async def test_a_refusal_is_an_error_with_the_model_s_words(inside: bool) -> None:
    """A model that declines is not taken for one that answered badly."""
    async with serving([Said(refusal="I would rather not.")]) as (server, model):
        with pytest.raises(ModelRefused, match="I would rather not"):
            await _maybe_inside(inside, complete(model, instructions="", text="x", schema=City))

    assert len(server.requests) == 1


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("answer", "error", "says_", "hint"),
    [
        (fails(401, "bad key"), ModelRefused, "HTTP 401: bad key", "OPENAI_API_KEY"),
        (fails(403, "not yours"), ModelRefused, "HTTP 403", "may not use"),
        (fails(404, "no such model"), ModelRefused, "no such model", "/v1"),
        (fails(429, "slow down"), ModelRefused, "slow down", "quota"),
        (fails(400, "unknown field"), ModelRefused, "unknown field", "settings"),
        (fails(500, "out of memory"), ModelUnreachable, "out of memory", "log"),
        (says("a long enough answer", cut=True), ModelUnreachable, "cannot be reached", "running"),
        (says("late", delay=30), ModelTimeout, "in time", "time limit"),
    ],
)
async def test_each_failure_of_a_server_says_what_where_and_how(
    answer: Said, error: type[AgentflowError], says_: str, hint: str, inside: bool
) -> None:
    """A server's failure is an error of agentflow with the server's words, its address and a hint."""
    async with serving([answer], patience=0.3) as (server, model):
        with pytest.raises(error, match=says_) as caught:
            await _maybe_inside(inside, complete(model, instructions="", text="x"))

    assert server.url in str(caught.value)
    assert hint in caught.value.hint


async def test_a_server_that_is_not_there() -> None:
    """A dead server is named, and the hint asks whether it runs."""
    with OpenAIServer() as server:
        url = server.url

    pool = ModelPool({}, max_retries=0)
    with pytest.raises(ModelUnreachable, match=url) as caught:
        await complete(pool.model(f"chat/m@{url}"), instructions="", text="x")

    await pool.aclose()
    assert f"is the server at {url} running?" in caught.value.hint


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("inside", [False, True])
async def test_what_is_no_api_is_never_an_empty_answer(api: str, inside: bool) -> None:
    """A web page where the API was expected is an error that points at the address."""
    async with serving([Said(page="<html>Welcome</html>")], api) as (server, model):
        with pytest.raises(ModelOutputInvalid, match=server.url) as caught:
            await _maybe_inside(inside, complete(model, instructions="", text="x"))

    assert "/v1" in caught.value.hint


@pytest.mark.parametrize("api", APIS)
async def test_an_error_inside_a_stream_has_the_server_s_words(api: str) -> None:
    """A server that gives up in the middle of an answer is heard, and what came so far is no answer."""
    async with serving([says("a long enough answer", stops="overloaded")], api) as (_, model):
        with recorded(), pytest.raises(ModelRefused, match="overloaded"):
            await complete(model, instructions="", text="x")


async def test_a_passing_failure_is_tried_again() -> None:
    """The client repeats a request that failed on the server's side."""
    async with serving([fails(500), "fine"], max_retries=1) as (server, model):
        assert (await complete(model, instructions="", text="x")).text == "fine"

    assert len(server.requests) == 2


async def test_a_failed_call_is_recorded_as_failed() -> None:
    """The operation of a failed call ends with the error that the step sees."""
    async with serving([fails(401, "bad key")]) as (_, model):
        with recorded() as recording:
            with pytest.raises(ModelRefused) as caught:
                await complete(model, instructions="", text="x")

            assert recording.one("chat", "m-1").error is caught.value


async def test_the_setting_timeout_bounds_one_call() -> None:
    """A call's own `timeout` ends it, even where the server would still answer."""
    async with serving([says("late", delay=30)]) as (_, model):
        with pytest.raises(ModelTimeout):
            await complete(model, instructions="", text="x", settings={"timeout": 0.1})


@pytest.mark.parametrize("api", APIS)
async def test_a_stream_is_passed_on_and_recorded(api: str) -> None:
    """Whoever reads a stream sees all its events, and the record holds the whole answer."""
    async with serving(["Hello dear world"], api) as (_, model):
        with recorded() as recording:
            events = [event async for event in model.stream_response(**request())]

    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == "Hello dear world"
    assert isinstance(events[-1], ResponseCompletedEvent)
    assert recording.one("chat", "m-1").operation.result[0]["content"][0]["text"] == "Hello dear world"


async def test_an_abandoned_stream_leaves_no_context_behind() -> None:
    """A stream that is left after its first event ends its operation, in the context where it began."""
    async with serving(["Hello dear world"]) as (_, model):
        with recorded() as recording:
            before = contextvars.copy_context()
            stream = model.stream_response(**request())
            async for _event in stream:
                break

            assert dict(contextvars.copy_context()) == dict(before)
            await stream.aclose()  # type: ignore[attr-defined]

    assert recording.one("chat", "m-1").finished


async def test_parallel_calls_share_a_model() -> None:
    """One model serves calls at the same time, each recorded by itself."""

    def echo(received: Received) -> str:
        return f"echo {received.messages[-1]['content']}"

    async with serving(echo) as (_, model):
        with recorded() as recording:
            answers = await asyncio.gather(*(complete(model, instructions="", text=str(n)) for n in range(8)))

    assert [a.text for a in answers] == [f"echo {n}" for n in range(8)]
    assert recording.paths == ["chat m-1"] * 8


async def test_a_cancelled_call_ends_its_operation() -> None:
    """Cancelling a step in the middle of a call closes what it recorded."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def late(_: Received) -> Said:
        loop.call_soon_threadsafe(asked.set)
        return says("late", delay=30)

    async with serving(late) as (server, model):
        with recorded() as recording:
            call = asyncio.create_task(complete(model, instructions="", text="x"))
            await asked.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

            assert isinstance(recording.one("chat", "m-1").error, asyncio.CancelledError)
            server.closing.set()


async def test_the_budget_is_asked_before_the_server() -> None:
    """When an operation may not begin, no request is made."""

    def refuse(kind: str, name: str) -> None:
        raise AgentflowError(f"no {kind} of {name}")

    async with serving(["x"]) as (server, model):
        with recorded(refuse), pytest.raises(AgentflowError, match="no chat of m-1"):
            await complete(model, instructions="", text="x")

    assert server.requests == []


async def test_the_key_is_sent_where_it_belongs() -> None:
    """OPENAI_BASE_URL gets the key of OPENAI_API_KEY; any other address gets none."""
    with OpenAIServer(["a", "b"]) as server:
        environ = {"OPENAI_API_KEY": "secret", "OPENAI_BASE_URL": server.url}
        for variables in (environ, {"OPENAI_API_KEY": "secret"}):
            pool = ModelPool(variables)
            await complete(pool.model(f"chat/m@{server.url}"), instructions="", text="x")
            await pool.aclose()

    sent = [received.headers["authorization"] for received in server.requests]
    assert sent == ["Bearer secret", "Bearer none"]


async def test_openai_without_a_key_says_so_at_once() -> None:
    """A model of OpenAI is refused before any request when its key is not set."""
    with pytest.raises(ModelRefused, match="OPENAI_API_KEY is not set") as caught:
        ModelPool({}).model("gpt-5-mini")

    assert "OPENAI_BASE_URL" in caught.value.hint


async def test_scripted_models_are_found_by_name() -> None:
    """`scripted/NAME` is a model that was handed to the pool; another name is an error that lists them."""
    pool = ModelPool({}, extra={"one": ScriptedModel([[assistant_message("I am one")]])})
    assert (await complete(pool.model("scripted/one"), instructions="", text="x")).text == "I am one"
    with pytest.raises(UnknownName, match="two"):
        pool.model("scripted/two")


async def test_a_scripted_model_streams_inside_a_run() -> None:
    """The SDK's own test double is recorded and shown like a server."""
    pool = ModelPool({}, extra={"one": ScriptedModel([[assistant_message("I am one")]])})
    with recorded() as recording:
        await complete(pool.model("scripted/one"), instructions="", text="x")

    assert recording.text == "I am one"
    assert recording.one("chat", "one").operation.attributes["provider"] == "agentflow"


def test_a_pool_makes_each_model_once() -> None:
    """Steps that name the same model share its connections."""
    pool = ModelPool({"OPENAI_API_KEY": "k"})
    assert pool.model("gpt-5-mini") is pool.model("responses/gpt-5-mini")


async def test_a_tool_call_is_recorded_as_such() -> None:
    """The finish reason tells a call from an answer."""
    async with serving([calls("add", a=1)]) as (_, model):
        with recorded() as recording:
            await model.get_response(**request())

    operation = recording.one("chat", "m-1").operation
    assert operation.attributes["finish_reason"] == "tool_calls"
    assert operation.result[0]["name"] == "add"
    assert operation.result[0]["arguments"] == '{"a": 1}'


async def test_the_price_of_a_call_is_in_its_usage() -> None:
    """What a listed model costs is recorded with its tokens; for an unlisted one there is no such figure."""
    model = TracedModel(
        ScriptedModel([[function_call("f", "{}", call_id="c")]]), parse("responses/gpt-4o", {})
    )
    async with serving(["x"]) as (_, unlisted):
        with recorded() as recording:
            await model.get_response(**request())
            await unlisted.get_response(**request())

    listed, other = (kept.operation.usage or {} for kept in recording.kept)
    assert listed["usd"] == 0.0
    assert "usd" not in other


async def _maybe_inside(inside: bool, call: Any) -> Any:
    if not inside:
        assert current() is None
        return await call

    with recorded():
        return await call


async def test_the_embedded_model_answers_from_evidence() -> None:
    """Without any server, a question with evidence at hand is answered by a quotation with its number."""
    document = (
        '{"question": "How long is the warranty of the kettle?", "evidence": ['
        '{"n": 1, "text": "Shipping takes three days.", "source": "shipping.md"},'
        '{"n": 2, "text": "The warranty of the kettle is two years.", "source": "warranty.md"}]}'
    )
    with recorded() as recording:
        got = await complete(ModelPool({}).model("embedded"), instructions="", text=document)

    assert "two years" in got.value
    assert "[2]" in got.value
    operation = recording.one("chat", "embedded").operation
    assert operation.attributes["confidence"] > 0
    assert operation.usage == {**got.usage, "usd": 0.0}


async def test_the_embedded_model_says_what_it_cannot_do() -> None:
    """A free-form output type ends in an error that says what to connect; it is asked only once."""
    with recorded() as recording, pytest.raises(ModelCannot) as caught:
        await complete(ModelPool({}).model("embedded"), instructions="", text="a city", schema=City)

    assert "OPENAI_API_KEY" in caught.value.hint
    assert recording.paths == ["chat embedded"]
