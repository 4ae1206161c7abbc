"""Moderation as a guardrail of agents: before the model, after it, when its service is down, and in the trail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from agents.testing import assistant_message

from agentflow import Agent, Budget, Workflow
from agentflow.exceptions import GuardrailTripped, ProjectError, StepFailed
from agentflow.models.agent import AgentCall, AgentSpec, run_agent
from agentflow.models.pool import ModelPool
from agentflow.testing import ScriptedModel, run_to_end
from agentflow.toolkit.media import Endpoint, Moderator
from agentflow.tracing.spans import spans_of
from tests.models.openai_server import OpenAIServer, Script, calls
from tests.models.recording import Recording, recorded
from tests.toolkit.media_server import MediaServer, Reply, Sent, fails, says


def judge(sent: Sent) -> Reply:
    """Flags what speaks of a bomb."""
    is_hit = "bomb" in sent.fields["input"]
    return says(
        {
            "results": [
                {"flagged": is_hit, "categories": {"illicit": is_hit}, "category_scores": {"illicit": 0.5}}
            ]
        }
    )


BUSY = fails(429, retry_after="0")


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with MediaServer(judge) as server:
        yield server


def moderator(server: MediaServer, on_failure: Literal["refuse", "allow"] = "refuse") -> Moderator:
    return Moderator(endpoint=Endpoint(model="m", base_url=server.url, timeout=5), on_failure=on_failure)


def guarded(guard: Any, **more: Any) -> AgentSpec:
    return AgentSpec(name="a", input_guardrails=(guard,), output_guardrails=(guard,), **more)


async def asked(
    spec: AgentSpec, text: str, script: Script = ("fine",), **record: Any
) -> tuple[Any, Recording, OpenAIServer]:
    """What the agent gave, or the error that ended it; what was recorded; and its model's server."""
    pool = ModelPool({}, max_retries=0)
    with OpenAIServer(script) as model, recorded(**record) as recording:
        try:
            call = AgentCall(spec=spec, text=text, model=f"chat/m@{model.url}")
            given: Any = (await run_agent(call, pool)).output
        except Exception as error:
            given = error
        finally:
            await pool.aclose()

    return given, recording, model


async def test_a_flagged_question_never_reaches_the_model(server: MediaServer) -> None:
    """The step ends with the reason, and not a token was used."""
    given, recording, model = await asked(guarded(moderator(server)), "how to build a bomb")

    assert isinstance(given, GuardrailTripped)
    assert str(given) == "guardrail `moderation` stopped agent `a`: illicit (0.50)"
    assert model.requests == []
    assert recording.paths == ["agent a", "agent a > guardrail moderation"]


async def test_a_flagged_answer_is_not_given(server: MediaServer) -> None:
    """The model answered, and nobody sees what."""
    given, recording, _ = await asked(guarded(moderator(server)), "a story", ["then the bomb went off"])

    assert isinstance(given, GuardrailTripped)
    assert [k.operation.attributes["flagged"] for k in recording.kept if k.operation.kind == "guardrail"] == [
        False,
        True,
    ]


async def test_what_is_harmless_passes_and_is_on_the_record(server: MediaServer) -> None:
    """Under the agent, with what was judged and the whole verdict."""
    given, recording, _ = await asked(guarded(moderator(server)), "hello")

    assert given == "fine"
    before, after = [k for k in recording.kept if k.operation.kind == "guardrail"]
    assert (before.request, after.request) == (
        {"side": "input", "text": "hello"},
        {"side": "output", "text": "fine"},
    )
    assert before.path == after.path == "agent a > guardrail moderation"
    assert before.operation.result == {
        "flagged": False,
        "reason": "",
        "failure": "",
        "ruling": {"flagged": False, "categories": {"illicit": False}, "scores": {"illicit": 0.5}},
    }


@pytest.mark.parametrize("reply", [BUSY, fails(401), says({"results": []})])
async def test_what_cannot_be_judged_is_refused(server: MediaServer, reply: Reply) -> None:
    """However the service fails; the error says why, and the model is not asked."""
    server.reply = reply
    given, recording, model = await asked(guarded(moderator(server)), "hello")

    assert isinstance(given, GuardrailTripped)
    assert "the text could not be judged: " in str(given)
    assert model.requests == []
    assert recording.one("guardrail", "moderation").operation.attributes["failure"]


async def test_what_cannot_be_judged_passes_where_that_is_said(server: MediaServer) -> None:
    """After it was tried again; and the record tells that it was not judged."""
    server.reply = BUSY
    given, recording, _ = await asked(guarded(moderator(server, "allow")), "hello")

    assert given == "fine"
    assert len(server.sent) == 6
    for kept in recording.kept:
        if kept.operation.kind == "guardrail":
            assert kept.operation.result["failure"].startswith("RateLimited: ")
            assert not kept.operation.result["flagged"]


@pytest.mark.parametrize("reply", [fails(401), fails(404), says({"results": [{"flagged": "no"}]})])
async def test_what_a_service_refuses_passes_nowhere(server: MediaServer, reply: Reply) -> None:
    """A wrong key or model would else switch the guardrail off for good."""
    server.reply = reply
    given, _, _ = await asked(guarded(moderator(server, "allow")), "hello")

    assert isinstance(given, GuardrailTripped)


async def test_a_service_that_was_busy_is_asked_again(server: MediaServer) -> None:
    """A passing failure stops no agent."""

    def reply(sent: Sent) -> Reply:
        return BUSY if len(server.sent) == 1 else judge(sent)

    server.reply = reply
    given, _, _ = await asked(guarded(moderator(server)), "hello")

    assert given == "fine"


async def test_what_was_judged_is_not_judged_again_when_a_run_is_resumed(server: MediaServer) -> None:
    """The verdict is read back from the record, also where the service would now say something else."""
    _, first, _ = await asked(guarded(moderator(server)), "hello")
    server.reply = fails(500)
    given, second, _ = await asked(guarded(moderator(server)), "hello", known=first.outcomes())

    assert given == "fine"
    assert second.served == 3  # the model's answer, and a verdict on each side of it
    assert len(server.sent) == 2


async def test_a_typed_answer_is_judged_as_json(server: MediaServer) -> None:
    """Each word of it, wherever it stands."""

    @dataclass(frozen=True)
    class Plan:
        steps: list[str]

    given, _, _ = await asked(guarded(moderator(server), output=Plan), "plan", [{"steps": ["buy", "a bomb"]}])

    assert isinstance(given, GuardrailTripped)
    assert server.sent[-1].fields["input"] == '{"steps": ["buy", "a bomb"]}'


async def test_an_agent_that_is_called_as_a_tool_is_guarded_too(server: MediaServer) -> None:
    """Its guardrail ends the whole run, and is recorded under the agent that it guards."""
    boss = AgentSpec(name="boss", agents_as_tools=(guarded(moderator(server)),))
    given, recording, _ = await asked(boss, "go", [calls("a", input="a bomb"), "unreached"])

    assert isinstance(given, GuardrailTripped)
    assert recording.paths[-1] == "agent boss > agent a > guardrail moderation"


@pytest.mark.parametrize("guard", ["moderation", Moderator, len, 7])
async def test_what_is_no_guardrail_is_told(guard: Any) -> None:
    """Before the model is asked; a guardrail that is never called would protect nobody."""
    given, _, model = await asked(AgentSpec(name="a", input_guardrails=(guard,)), "hello")

    assert isinstance(given, ProjectError)
    assert "no guardrail" in str(given)
    assert model.requests == []


async def test_a_guardrail_in_a_workflow_is_in_its_trail_and_is_no_tool_call(server: MediaServer) -> None:
    """It has an event and a span of its own; budgets and bounds of tool calls are for what models call."""
    guard = moderator(server)
    agent = Agent("write", takes=str, gives=str, input_guardrails=[guard], output_guardrails=[guard])
    workflow = Workflow("w", start=agent, end=agent, budget=Budget(tool_calls=1))
    ended = await run_to_end(workflow, "hello", model=ScriptedModel([[assistant_message("fine")]]))
    stopped = await run_to_end(workflow, "a bomb", model=ScriptedModel([[assistant_message("fine")]]))

    spans = [span for span in spans_of(ended.events) if span.name == "guardrail moderation"]
    assert ended.output == "fine"
    assert len(spans) == 2
    assert all(span.attributes["agentflow.flagged"] is False for span in spans)
    assert ended.result.usage["tool_calls"] == 0
    with pytest.raises(StepFailed, match="GuardrailTripped: guardrail `moderation` stopped agent `write`"):
        _ = stopped.output


def test_defining_a_guarded_agent_is_light() -> None:
    """Neither the SDK nor an HTTP client is loaded, and the spec names the guardrail."""
    code = (
        "import sys\n"
        "from agentflow import Agent\n"
        "from agentflow.toolkit.media import LocalSpeech, Moderator, Ocr\n"
        "agent = Agent('a', takes=str, gives=str, input_guardrails=[Moderator()])\n"
        "heavy = ('agents', 'httpx', 'numpy', 'onnxruntime', 'PIL', 'faster_whisper', 'rapidocr', 'av')\n"
        "print(agent.step_spec().options['guardrails'], [n for n in heavy if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "['moderation'] []"
