"""What a person meets when the model fails: always words, a hint and an exit code, never a traceback or a hang."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentflow import Settings, run
from agentflow.engine.notices import Delta
from agentflow.project import load_file
from tests.cli.conftest import Launcher
from tests.models.openai_server import OpenAIServer, calls, fails, says

JUDGE = '''
from dataclasses import dataclass
from agentflow import Agent, Evidence, Planner, Workflow, step, tool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    yes: bool
    why: str


@tool(effect="read")
async def look_up(topic: str) -> list[Evidence]:
    """Look a topic up."""
    return [Evidence(text=f"all about {topic}", source="book.md")]


@tool(effect="read")
async def fails(topic: str) -> str:
    """Fail."""
    raise RuntimeError("the shelf fell down")


judge_it = Agent("judge_it", takes=str, gives=Verdict, prompt="Is it so?", tools=[look_up, fails], max_turns=4, timeout=20)
judge = Workflow("judge", start=judge_it, end=judge_it)

plan = Planner("plan", takes=str, gives=list[Evidence], tools=[look_up], timeout=20)
gathers = Workflow("gathers", start=plan, end=plan)

talks = Agent("talks", takes=str, gives=str, prompt="Talk.", timeout=20)
talk = Workflow("talk", start=talks, end=talks)
'''


@pytest.fixture
def judge(project: Path) -> Path:
    """The project with workflows that need a language model."""
    (project / "workflows" / "judge.py").write_text(JUDGE, encoding="utf-8")
    return project


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_an_agent_with_tools_over_http(judge: Path, launch: Launcher, api: str) -> None:
    """With either protocol an agent calls a tool over real HTTP and gives its typed result, with tokens counted."""
    script = [calls("look_up", topic="tea"), says('{"yes": true, "why": "tea"}')]
    with OpenAIServer(script) as server:
        called = launch("run", "judge", "so?", "--json", "--model", f"{api}/scripted-1@{server.url}")

    assert called.json["status"] == "done", called.out
    assert called.json["output"] == {"yes": True, "why": "tea"}
    assert called.json["usage"]["model_calls"] == 2
    assert called.json["usage"]["tool_calls"] == 1
    assert called.json["usage"]["input_tokens"] > 0


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ([fails(401, "bad key")] * 5, "ModelRefused", "key"),
        ([fails(404, "no such model")] * 5, "ModelRefused", "no such model"),
        ([says("I think so."), says("Yes, I do think so.")], "ModelOutputInvalid", "Yes, I do think so."),
        ([calls("look_up", topic=str(n)) for n in range(20)], "ModelTurnsExceeded", "max_turns"),
    ],
)
def test_a_model_that_fails(
    judge: Path, launch: Launcher, script: list[object], kind: str, said: str
) -> None:
    """A refused key, an unknown model, prose for JSON, calls without end: the run fails with what it was."""
    with OpenAIServer(script) as server:  # type: ignore[arg-type]
        called = launch("run", "judge", "so?", "--json", "--model", f"chat/scripted-1@{server.url}")

    assert called.code == 1
    assert called.json["error"]["kind"] == kind
    assert said in called.json["error"]["message"] + called.json["error"]["hint"]


def test_a_model_that_cannot_be_reached(judge: Path, launch: Launcher) -> None:
    """A server that is not there is named with its address, and what to look at."""
    called = launch("run", "judge", "so?", "--model", "chat/x@http://127.0.0.1:9/v1")

    assert called.code == 1
    assert "ModelUnreachable" in called.err
    assert "127.0.0.1:9" in called.err
    assert "hint:" in called.err
    assert "Traceback" not in called.err


def test_a_slow_model_ends_with_the_steps_time_limit(judge: Path, launch: Launcher) -> None:
    """A model that does not answer ends the step at its own limit."""
    text = (judge / "workflows" / "judge.py").read_text(encoding="utf-8").replace("timeout=20", "timeout=0.5")
    (judge / "workflows" / "judge.py").write_text(text, encoding="utf-8")
    with OpenAIServer([says("late", delay=5)]) as server:
        called = launch("run", "judge", "so?", "--json", "--model", f"chat/scripted-1@{server.url}")

    assert called.json["error"]["kind"] in ("StepTimeout", "ModelTimeout")
    assert "0.5" in called.json["error"]["message"]


def test_an_unknown_tool_and_a_tool_that_raises_are_told_to_the_model(judge: Path, launch: Launcher) -> None:
    """The model hears of both and may go on."""
    script = [
        calls("loook_up", topic="tea"),
        calls("fails", topic="tea"),
        says('{"yes": false, "why": "no shelf"}'),
    ]
    with OpenAIServer(script) as server:
        called = launch("run", "judge", "so?", "--json", "--model", f"chat/scripted-1@{server.url}")
        heard = str(server.requests[-1].body)

    assert called.json["output"] == {"yes": False, "why": "no shelf"}
    assert "loook_up" in heard
    assert "the shelf fell down" in heard


def test_what_the_embedded_model_cannot_do_says_what_to_connect(judge: Path, launch: Launcher) -> None:
    """A free-form output type without a language model ends in words that say what to set."""
    called = launch("run", "talk", "hello", "--model", "embedded")

    assert called.code == 1
    assert "ModelCannot" in called.err
    assert "OPENAI_API_KEY" in called.err


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_tokens_are_streamed(judge: Path, api: str) -> None:
    """`events()` gives the model's words as they come, between the events of the run."""
    workflow = load_file(f"{judge}/workflows/judge.py:talk", None)
    with OpenAIServer([says("one two three four")]) as server:
        settings = Settings(model=f"{api}/scripted-1@{server.url}", root=judge)
        seen = [e async for e in run(workflow, "hello", settings=settings).events()]

    words = [e.text for e in seen if isinstance(e, Delta)]
    assert "".join(words) == "one two three four"
    assert len(words) > 1
    assert seen.index(next(e for e in seen if isinstance(e, Delta))) > 0


async def test_cancelling_reaches_a_waiting_model(judge: Path) -> None:
    """A run that is cancelled while a model thinks ends at once, and leaves no task behind."""
    workflow = load_file(f"{judge}/workflows/judge.py:talk", None)
    with OpenAIServer([says("late", delay=3)]) as server:
        started = run(workflow, "hello", settings=Settings(model=f"chat/scripted-1@{server.url}", root=judge))
        task = started.start()
        async with asyncio.timeout(20):
            while not server.requests:  # noqa: ASYNC110 - the server is a thread
                await asyncio.sleep(0.02)

        started.cancel("enough")
        result = await task

    assert result.status == "cancelled"
    assert len(asyncio.all_tasks()) == 1
