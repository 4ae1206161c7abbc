"""Each kind of span has the name, the kind and the attributes that the GenAI conventions want (the 0.1.0 line)."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from agentflow import Context, Workflow, operation, step
from agentflow.events import OperationFinished, OperationStarted, Payload, RunStarted
from agentflow.spec import to_data
from agentflow.tracing import semconv
from agentflow.tracing.messages import messages
from agentflow.tracing.runs import begun
from agentflow.tracing.spans import SpanData, SpanFolder, spans_of
from tests.tracing.conftest import Traced, Tracing
from tests.tracing.workflows import branching, counting


@pytest.fixture
async def run_(tracing: Tracing) -> Traced:
    """A run with an operation of each kind, recorded as models, toolkits and planners record them."""

    async def breaks() -> None:
        async with operation("tool", "broken", request={}):
            raise TimeoutError("too slow\nby far")

    @step
    async def work(text: str, ctx: Context) -> str:
        chat: dict[str, Any] = {
            "provider": "openai",
            "request_model": "gpt-x",
            "server_address": "api.example",
            "server_port": 443,
        }
        usage = {
            "requests": 1,
            "input_tokens": 12,
            "output_tokens": 3,
            "cached_tokens": 4,
            "reasoning_tokens": 2,
        }
        told = {
            "instructions": "Be brief.",
            "messages": [{"role": "user", "content": text}],
            "tools": ["look"],
        }
        async with operation("plan", "planner", calls_left=3) as plan:
            async with operation(
                "chat", "gpt-x", request=told, temperature=0.5, top_p=0.9, max_tokens=99, **chat
            ) as said:
                said.result = [{"type": "message", "role": "assistant", "content": "{}"}]
                said.usage = usage
                said.attributes |= {"response_model": "gpt-x-1", "response_id": "r1", "finish_reason": "stop"}

            others = [{"tool": "browse", "confidence": 0.2}]
            call = {
                "id": "c1",
                "tool": "look",
                "arguments": "{}",
                "confidence": 0.7,
                "why": "it knows",
                "alternatives": others,
            }
            plan.result = {"thought": "look first", "calls": [call], "done": False}

        async with operation(
            "agent", "writer", request={"text": text}, description="Writes.", request_model="gpt-x"
        ) as agent:
            async with operation("chat", "gpt-x", request=told, **chat) as said:
                said.usage = usage

            async with operation(
                "tool", "look", request={"at": text}, call_id="c1", effect="read", returns="untrusted"
            ) as used:
                async with operation("retrieval", "handbook", request={"query": text}, top_k=5) as found:
                    async with operation(
                        "embeddings", "minilm", request={"input": text}, dimension=384
                    ) as vector:
                        vector.usage = {"input_tokens": 7}

                    found.result = [{"source": "a.md", "place": "1", "score": 0.5, "text": "so"}]

                used.result = "so"

            agent.result = "done"

        async with operation("agent", "remote", provider="a2a"):
            pass

        with suppress(TimeoutError):
            await breaks()

        return "done"

    traced = await tracing(Workflow("table", start=work, end=work), "hello")
    assert traced.result.status == "done", traced.result.error
    return traced


# Of each row of the table: the span's name, its kind, and attributes that it has with these values; `...` is any.
ROWS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "invoke_workflow table",
        "internal",
        {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.agent.name": "table",
            "gen_ai.workflow.name": "table",
            "gen_ai.conversation.id": "table-1",
            "gen_ai.input.messages": ...,
            "gen_ai.output.messages": ...,
            "agentflow.workflow.digest": ...,
            "agentflow.workflow.graph": ("work",),
            "agentflow.bound.model_calls": ...,
            "agentflow.convention": "gen_ai/0.1.0",
        },
    ),
    ("plan planner", "internal", {"gen_ai.operation.name": "plan", "gen_ai.agent.name": "planner"}),
    (
        "chat gpt-x",
        "client",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-x",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.top_p": 0.9,
            "gen_ai.request.max_tokens": 99,
            "gen_ai.response.model": "gpt-x-1",
            "gen_ai.response.id": "r1",
            "gen_ai.response.finish_reasons": ("stop",),
            "gen_ai.usage.input_tokens": 12,
            "gen_ai.usage.output_tokens": 3,
            "gen_ai.usage.cache_read.input_tokens": 4,
            "gen_ai.usage.reasoning.output_tokens": 2,
            "gen_ai.output.type": "text",
            "gen_ai.conversation.id": "table-1",
            "gen_ai.system_instructions": ...,
            "gen_ai.input.messages": ...,
            "gen_ai.output.messages": ...,
            "gen_ai.tool.definitions": ...,
            "server.address": "api.example",
            "server.port": 443,
        },
    ),
    (
        "invoke_agent writer",
        "internal",
        {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "writer",
            "gen_ai.agent.description": "Writes.",
            "gen_ai.request.model": "gpt-x",
            "gen_ai.conversation.id": "table-1",
            "gen_ai.usage.input_tokens": 12,
            "gen_ai.usage.output_tokens": 3,
            "gen_ai.input.messages": ...,
            "gen_ai.output.messages": ...,
        },
    ),
    (
        "execute_tool look",
        "internal",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "look",
            "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.type": "function",
            "gen_ai.agent.name": "writer",
            "gen_ai.tool.call.arguments": '{"at":"hello"}',
            "gen_ai.tool.call.result": '{"result":"so"}',
        },
    ),
    (
        "retrieval handbook",
        "client",
        {
            "gen_ai.operation.name": "retrieval",
            "gen_ai.data_source.id": "handbook",
            "gen_ai.retrieval.query.text": "hello",
            "gen_ai.retrieval.top_k": 5,
            "gen_ai.retrieval.documents": ...,
        },
    ),
    (
        "embeddings minilm",
        "client",
        {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.request.model": "minilm",
            "gen_ai.embeddings.dimension.count": 384,
            "gen_ai.usage.input_tokens": 7,
        },
    ),
    ("execute_tool broken", "internal", {"error.type": "TimeoutError", "gen_ai.tool.name": "broken"}),
]


@pytest.mark.parametrize(("name", "kind", "attributes"), ROWS, ids=[row[0] for row in ROWS])
async def test_each_kind_of_span_is_as_the_conventions_say(
    run_: Traced, name: str, kind: str, attributes: dict[str, Any]
) -> None:
    """Name, kind and each attribute of the table, whole, with its type."""
    span = next(span for span in run_.spans if span.name == name)
    assert span.kind == kind
    for key, value in attributes.items():
        assert key in span.attributes, key
        if value is not ...:
            assert (span.attributes[key], type(span.attributes[key])) == (value, type(value)), key


async def test_a_failure_has_its_type_a_short_description_and_the_whole_as_an_event(run_: Traced) -> None:
    """Status error with one line, `error.type` of few values, the exception as an event; what is well has no status."""
    broken = run_.one("execute_tool broken")
    assert (broken.status, broken.error) == ("error", "too slow")
    assert broken.events[-1].attributes["exception.message"] == "too slow\nby far"
    assert {span.status for span in run_.spans if span is not broken} == {"unset"}


async def test_the_model_call_of_a_plan_is_below_it_and_what_it_chose_beside_it(run_: Traced) -> None:
    """The tree is that of the conventions; a choice is an event with its grounds, confidence and what was not chosen."""
    assert run_.tree() == [
        "invoke_workflow table",
        "  step work",
        "    plan planner",
        "      chat gpt-x",
        "    invoke_agent writer",
        "      chat gpt-x",
        "      execute_tool look",
        "        retrieval handbook",
        "          embeddings minilm",
        "    invoke_agent remote",
        "    execute_tool broken",
    ]
    (choice,) = run_.one("plan planner").events
    assert choice.name == "agentflow.plan.choice"
    assert choice.attributes["agentflow.plan.choice.confidence"] == 0.7
    assert json.loads(str(choice.attributes["agentflow.plan.choice.alternatives"])) == [
        {"tool": "browse", "confidence": 0.2}
    ]


async def test_messages_have_the_form_that_jaeger_reads(run_: Traced) -> None:
    """Each message is a role and parts, each part has a type, texts stand under `content`; all of it is text of JSON."""
    for span in run_.spans:
        for name in (semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES):
            for message in json.loads(str(span.attributes.get(name, "[]"))):
                assert message["role"] in ("user", "assistant", "tool", "system")
                assert all(part["content"] for part in message["parts"] if part["type"] == "text")

    every = messages(
        [
            {"role": "user", "content": "a"},
            {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "o"},
        ]
    )
    assert [set(part) for message in every for part in message["parts"]] == [
        {"type", "content"},
        {"type", "id", "name", "arguments"},
        {"type", "id", "response"},
    ]


def test_every_name_is_of_the_conventions_or_says_that_it_is_our_own() -> None:
    """No name of ours looks like one of theirs, and nothing that is content has a name that nobody would leave out."""
    names = {n: v for n, v in vars(semconv).items() if n.isupper() and isinstance(v, str) and "." in v}
    for name, value in names.items():
        if name != "CONVENTION":
            assert value.startswith(
                ("gen_ai.", "agentflow.", "error.", "exception.", "server.", "url.", "service.")
            ), name

    assert {
        v for v in names.values() if v.endswith((".message", ".arguments", ".result", ".messages"))
    } <= semconv.CONTENT


async def test_what_names_a_span_is_kept_however_much_else_there_is(tracing: Tracing) -> None:
    """A run with more labels, and a call with more arguments, than collectors take attributes loses those, and says so."""

    @step
    async def work(text: str, ctx: Context) -> str:
        async with operation("retrieval", "web", request={f"k{n}": n for n in range(500)} | {"query": text}):
            return text

    workflow = Workflow("wide", start=work, end=work)
    first, *rest = (await tracing(workflow, "a")).events
    assert isinstance(first, RunStarted)
    labels = {f"label{n:03}": "x" for n in range(500)}
    started = RunStarted(
        at=first.at,
        seq=1,
        run=first.run,
        workflow="wide",
        digest=first.digest,
        spec=to_data(workflow.spec),
        input=Payload("a"),
        model="m",
        version="1",
        attributes=labels,
    )
    for span in spans_of([started, *rest]):
        assert len(span.attributes) <= semconv.MOST_ATTRIBUTES
        if span.name != "step work":
            assert int(str(span.attributes[semconv.DROPPED])) > 300
            assert span.attributes[semconv.CONVERSATION_ID] == first.run

    root = next(s for s in spans_of([started, *rest]) if s.parent_id is None)
    assert {
        semconv.OPERATION_NAME,
        semconv.WORKFLOW_DIGEST,
        semconv.RUN_STATUS,
        semconv.OUTPUT_MESSAGES,
    } <= set(root.attributes)


async def test_interrupted_work_is_told_by_spans_of_their_own_and_links() -> None:
    """A span that a process left open is closed as interrupted, and the next attempt begins anew below the same step."""
    folder = SpanFolder("r")
    first = RunStarted(
        at=1, seq=1, run="r", workflow="w", digest="d", spec=None, input=Payload(1), model="m", version="1"
    )
    folder.fold(first)
    folder.fold(OperationStarted(at=2, seq=2, step="s#1", operation="1.1", kind="chat", name="m"))
    (open_, root) = folder.open()
    assert (open_.name, open_.attributes[semconv.STILL_OPEN]) == ("chat m", True)
    assert root.name == "invoke_workflow w"
    ended: list[SpanData] = folder.fold(OperationFinished(at=3, seq=3, step="s#1", operation="1.1"))
    assert [span.name for span in ended] == ["chat m"]


async def test_the_root_tells_the_graph_an_edge_a_line(tracing: Tracing) -> None:
    """Cases and limits of loops are told with the edge; of a very large graph, how much is left out."""
    root = (await tracing(branching, 1)).one("invoke_workflow branching")
    assert root.attributes["agentflow.workflow.graph"] == (
        "given -> even",
        "given -> doubled",
        "even -> gather(even, doubled)",
        "doubled -> gather(even, doubled)",
        "gather(even, doubled) -> joined",
        "joined -> again on str, at most 9",
        "again -> given",
        "joined -> ends on int",
    )
    edges = [{"from": f"s{n}", "to": f"s{n + 1}"} for n in range(300)]
    event = RunStarted(
        at=1,
        run="r",
        workflow="w",
        digest="d",
        spec={"edges": edges},
        input=Payload(1),
        model="m",
        version="1",
    )
    lines = begun(event)["agentflow.workflow.graph"]
    assert isinstance(lines, tuple)
    assert (len(lines), lines[-1]) == (201, "and 100 more")


async def test_a_step_tells_what_went_in_and_out(tracing: Tracing) -> None:
    """Small values stand there, large ones by digest and size."""
    traced = await tracing(counting, "word " * 2000 + "x")
    assert traced.result.status == "failed"  # more items than the map may have
    span = next(s for s in traced.spans if s.name == "step split")
    assert span.attributes["agentflow.step.input.size"] == 10003
    assert str(span.attributes["agentflow.step.output.digest"]).startswith("sha256:")
