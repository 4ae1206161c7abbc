"""Operations inside steps become the spans that the GenAI conventions know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from agentflow import Context, Evidence, Planner, Workflow, operation, step, tool
from agentflow.events import OperationFinished, OperationStarted, Payload
from agentflow.tools import call
from agentflow.tracing import operations
from agentflow.tracing.span import OpenSpan, SpanData
from agentflow.tracing.values import LIMIT, describe
from agentflow.tracing.work import Work
from tests.tracing.conftest import Traced, Tracing


@tool(effect="none", returns="trusted")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
async def fails(query: str) -> str:
    """Fail."""
    raise LookupError(f"nothing on {query}")


@step
async def start(text: str) -> str:
    return text


async def traced_step(tracing: Tracing, body: Any) -> Traced:
    """A run whose second step does what `body(ctx)` does."""

    @step
    async def work(text: str, ctx: Context) -> str:
        await body(ctx)
        return text

    return await tracing(Workflow("work_", start=start, end=work, edges=[start >> work]), "x")


def span_of(
    kind: str, name: str, *, request: Any = None, result: Any = None, usage: Any = None, **given: Any
) -> SpanData:
    """The span of one operation; `given` are its attributes, those in capitals come with its end."""
    begun = OperationStarted(
        at=1,
        step="s#1",
        operation="1.1",
        kind=kind,
        name=name,
        request=Payload(request) if request is not None else None,
        attributes={k: v for k, v in given.items() if k.islower()},
    )
    ended = OperationFinished(
        at=2,
        step="s#1",
        operation="1.1",
        result=Payload(result) if result is not None else None,
        usage=usage,
        attributes={k.lower(): v for k, v in given.items() if k.isupper()},
    )
    span = OpenSpan(
        name=operations.title(begun),
        kind=operations.side(begun),
        trace_id=1,
        span_id=2,
        parent_id=None,
        start=1,
        attributes=operations.begun(begun, "run-1"),
    )
    operations.ended(span, ended)
    return span.closed(2)


def read(span: SpanData, name: str) -> Any:
    return json.loads(str(span.attributes[name]))


async def test_a_tool_call_is_execute_tool_with_arguments_and_result(tracing: Tracing) -> None:
    """Name, call id, arguments and result stand where the conventions want them, our labels under our own name."""

    async def body(_: Context) -> None:
        await call(add, {"a": 1, "b": 2}, call_id="c7")

    span = (await traced_step(tracing, body)).one("execute_tool add")

    assert span.attributes["gen_ai.operation.name"] == "execute_tool"
    assert span.attributes["gen_ai.tool.name"] == "add"
    assert span.attributes["gen_ai.tool.call.id"] == "c7"
    assert span.attributes["gen_ai.tool.type"] == "function"
    assert read(span, "gen_ai.tool.call.arguments") == {"a": 1, "b": 2}
    assert read(span, "gen_ai.tool.call.result") == {"result": 3}
    assert (span.attributes["agentflow.tool.effect"], span.attributes["agentflow.tool.returns"]) == (
        "none",
        "trusted",
    )
    assert span.kind == "internal"


async def test_a_tool_that_fails_is_an_error_of_its_own_span(tracing: Tracing) -> None:
    """The tool's span has the error; the step that caught it has none."""

    async def body(_: Context) -> None:
        try:
            await call(fails, {"query": "cats"})
        except LookupError:
            return

    traced = await traced_step(tracing, body)

    span = traced.one("execute_tool fails")
    assert (span.status, span.error, span.attributes["error.type"]) == (
        "error",
        "nothing on cats",
        "LookupError",
    )
    assert traced.one("step work").status == "unset"


async def test_operations_nest_as_they_were_recorded(tracing: Tracing) -> None:
    """A retrieval inside a tool inside an agent stands under both, and counts for the run."""

    async def body(_: Context) -> None:
        async with operation("agent", "writer"), operation("tool", "look"), operation("retrieval", "web"):
            pass

    traced = await traced_step(tracing, body)

    assert traced.tree()[2:] == [
        "  step work",
        "    invoke_agent writer",
        "      execute_tool look",
        "        retrieval web",
    ]
    assert traced.one("invoke_workflow work_").attributes["agentflow.run.total.tool_calls"] == 1


def test_a_model_call_is_chat_with_its_messages() -> None:
    """Items of the Responses API become messages of role and parts; settings, tokens and reasons keep their names."""
    request = {
        "instructions": "Be brief.",
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "I need a tool."}]},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Rome"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "And?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
                ],
            },
        ],
        "tools": ["weather"],
        "schema": None,
    }
    result = [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Sunny."}]}
    ]
    span = span_of(
        "chat",
        "gpt-x",
        request=request,
        result=result,
        usage={
            "requests": 1,
            "input_tokens": 12,
            "output_tokens": 3,
            "cached_tokens": 4,
            "reasoning_tokens": 2,
            "usd": 0.01,
        },
        provider="openai",
        request_model="gpt-x",
        temperature=0.2,
        server_address="localhost",
        server_port=8080,
        RESPONSE_MODEL="gpt-x-1",
        RESPONSE_ID="r1",
        FINISH_REASON="stop",
    )

    assert (span.name, span.kind) == ("chat gpt-x", "client")
    assert read(span, "gen_ai.system_instructions") == [{"type": "text", "content": "Be brief."}]
    asked = read(span, "gen_ai.input.messages")
    assert [message["role"] for message in asked] == ["user", "assistant", "tool", "user"]
    assert asked[1]["parts"] == [
        {"type": "reasoning", "content": "I need a tool."},
        {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Rome"}},
    ]
    assert asked[2]["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "sunny"}]
    assert asked[3]["parts"][1] == {
        "type": "blob",
        "modality": "image",
        "mime_type": "image/png",
        "content": "AA==",
    }
    answer = {"role": "assistant", "parts": [{"type": "text", "content": "Sunny."}], "finish_reason": "stop"}
    assert read(span, "gen_ai.output.messages") == [answer]
    assert read(span, "gen_ai.tool.definitions") == [{"type": "function", "name": "weather"}]
    expected: Mapping[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": "run-1",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.response.model": "gpt-x-1",
        "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.output.type": "text",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "agentflow.usage.usd": 0.01,
        "server.address": "localhost",
        "server.port": 8080,
    }
    assert expected.items() <= span.attributes.items()


def test_the_embedded_model_is_no_remote_call() -> None:
    """A model in this process is an internal span; what it says of itself stands under our own name."""
    span = span_of("chat", "embedded", provider="agentflow", CONFIDENCE=0.8, NOTE="quoted")

    assert span.kind == "internal"
    assert (span.attributes["agentflow.confidence"], span.attributes["agentflow.note"]) == (0.8, "quoted")


def test_a_plan_tells_its_choices_with_their_grounds() -> None:
    """Each call that a plan asks for is an event with its confidence and what else was thinkable."""
    chosen = {
        "id": "c1",
        "tool": "web_search",
        "arguments": '{"query":"q"}',
        "after": ["c0"],
        "why": "it is public",
        "confidence": 0.7,
        "alternatives": [{"tool": "file_search", "confidence": 0.2}],
    }
    span = span_of(
        "plan", "plan", result={"thought": "look it up", "calls": [chosen], "done": False}, calls_left=3
    )

    assert (span.name, span.kind, span.attributes["gen_ai.agent.name"]) == ("plan plan", "internal", "plan")
    assert span.attributes["agentflow.plan.thought"] == "look it up"
    assert span.attributes["agentflow.plan.tools"] == ("web_search",)
    assert span.attributes["agentflow.plan.confidence"] == 0.7
    assert span.attributes["agentflow.calls_left"] == 3
    (event,) = span.events
    assert event.attributes["gen_ai.tool.call.id"] == "c1"
    assert event.attributes["agentflow.plan.choice.why"] == "it is public"
    assert event.attributes["agentflow.plan.choice.after"] == ("c0",)
    assert json.loads(str(event.attributes["agentflow.plan.choice.alternatives"]))[0]["tool"] == "file_search"


def test_a_retrieval_has_its_query_and_its_documents() -> None:
    """Evidence is shown as documents with id and score; the address of a page keeps its own name."""
    found = [Evidence(text="Up to 120 euros.", source="travel.pdf", place="page 2", score=0.9)]
    span = span_of(
        "retrieval", "files", request={"query": "hotel", "folder": "handbook"}, result=found, top_k=5
    )

    assert (span.name, span.kind) == ("retrieval files", "client")
    assert span.attributes["gen_ai.data_source.id"] == "files"
    assert span.attributes["gen_ai.retrieval.query.text"] == "hotel"
    assert span.attributes["gen_ai.retrieval.top_k"] == 5
    assert span.attributes["agentflow.request.folder"] == "handbook"
    (document,) = read(span, "gen_ai.retrieval.documents")
    assert (document["id"], document["score"], document["text"]) == (
        "travel.pdf#page 2",
        0.9,
        "Up to 120 euros.",
    )
    page = span_of("retrieval", "page", request={"url": "http://localhost/x"})
    assert page.attributes["url.full"] == "http://localhost/x"


def test_agents_and_embeddings_have_their_names() -> None:
    """`invoke_agent` shows what it was told and said, `embeddings` its model and dimension."""
    agent = span_of(
        "agent",
        "writer",
        request={"instructions": "Write.", "text": "on cats"},
        result={"title": "Cats"},
        description="writes",
        HANDOFF_TO="editor",
    )
    vectors = span_of("embeddings", "minilm", usage={"input_tokens": 9}, dimension=384)

    assert agent.name == "invoke_agent writer"
    assert agent.attributes["gen_ai.agent.description"] == "writes"
    assert agent.attributes["agentflow.handoff_to"] == "editor"
    assert read(agent, "gen_ai.input.messages")[0]["parts"][0]["content"] == "on cats"
    assert read(agent, "gen_ai.output.messages")[0]["parts"][0]["content"] == '{"title":"Cats"}'
    assert (vectors.name, vectors.kind) == ("embeddings minilm", "client")
    assert vectors.attributes["gen_ai.embeddings.dimension.count"] == 384
    assert vectors.attributes["gen_ai.usage.input_tokens"] == 9


def test_no_attribute_is_too_large_and_cut_json_still_parses() -> None:
    """Megabytes of messages are cut inside, with a mark, so that a page can still show them."""
    long = "word " * 400_000
    span = span_of(
        "chat",
        "m",
        request={"instructions": "x", "messages": [{"role": "user", "content": long}] * 3},
        STRANGE=long,
    )

    for name, value in span.attributes.items():
        assert not isinstance(value, str) or len(value.encode()) <= LIMIT, name

    asked = read(span, "gen_ai.input.messages")
    assert "[cut: 2000000 bytes]" in asked[0]["parts"][0]["content"]
    assert str(span.attributes["agentflow.strange"]).endswith("[cut: 2000000 bytes]")


def test_values_that_are_no_valid_text_do_not_break_a_span() -> None:
    """A lone surrogate is replaced, and a value that is no JSON is named as such."""
    span = span_of("tool", "t", request=object(), STRANGE="a\ud800b")

    assert span.attributes["agentflow.strange"] == "a?b"
    assert read(span, "gen_ai.tool.call.arguments") == "(a value that is no JSON)"


@pytest.mark.parametrize("parents", [{"1.1": "1.1"}, {"1.1": "1.2", "1.2": "1.1"}])
def test_operations_that_say_to_be_inside_of_each_other_end_all_the_same(parents: dict[str, str]) -> None:
    """A journal or spans from elsewhere may say anything: each operation has its span."""
    work = Work("r")
    for operation_, parent in parents.items():
        started = OperationStarted(
            at=1, step="s#1", operation=operation_, kind="agent", name="a", parent=parent
        )
        work.started(started, 7, {})

    asked = OperationStarted(at=2, step="s#1", operation="1.3", kind="chat", name="m", parent="1.1")
    work.started(asked, 7, {})
    ended = OperationFinished(at=3, step="s#1", operation="1.3", usage={"input_tokens": 5})
    assert [span.name for span in work.finished(ended)] == ["chat m"]
    assert len(work.cut_off(4)) == len(parents)


def test_a_number_that_is_not_read_back_is_told_the_same_whatever_its_length() -> None:
    """A whole number of more digits than Python reads is no JSON on a span, be it in a list or by itself."""
    wide = 10**5000
    assert (
        describe({}, "n", Payload([wide]))
        == describe({}, "n", Payload(wide))
        == {"n": "(a value that is no JSON)"}
    )
    assert describe({}, "n", Payload(10**30)) == {"n": str(10**30)}


async def test_a_planner_with_a_model_is_plan_over_chat_beside_its_tools(tracing: Tracing) -> None:
    """The model call stands under the plan that it makes; the tools that it chose stand beside it."""
    from agents.testing import ScriptedModel, assistant_message

    turns = [
        {
            "thought": "add",
            "calls": [{"id": "c1", "tool": "add", "arguments": '{"a":1,"b":2}', "confidence": 0.9}],
            "done": False,
        },
        {"thought": "enough", "calls": [], "done": True},
    ]
    model = ScriptedModel([[assistant_message(json.dumps(turn))] for turn in turns])
    plan = Planner("plan", takes=str, gives=list[Evidence], tools=[add])

    @step
    async def count(found: list[Evidence]) -> int:
        return len(found)

    workflow = Workflow("planned", start=plan, end=count, edges=[plan >> count])
    traced = await tracing(workflow, "one and two", model="scripted/s", models={"s": model})

    assert traced.result.output == 1
    assert traced.tree() == [
        "invoke_workflow planned",
        "  step plan",
        "    plan plan",
        "      chat s",
        "    execute_tool add",
        "    plan plan",
        "      chat s",
        "  step count",
    ]
    first = next(span for span in traced.spans if span.name == "plan plan")
    assert first.events[0].attributes["gen_ai.tool.name"] == "add"
    chat = next(span for span in traced.spans if span.name == "chat s")
    assert chat.attributes["gen_ai.output.type"] == "json"
    assert read(chat, "gen_ai.input.messages")[0]["role"] == "user"
