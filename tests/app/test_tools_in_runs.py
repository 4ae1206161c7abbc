"""Tools in runs: tried again where that helps, told to models in bounds, and never with a secret in them."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow import (
    Agent,
    Evidence,
    MemoryJournal,
    Rate,
    Secret,
    Settings,
    SqliteJournal,
    Tool,
    Workflow,
    run,
    secrets,
    step,
    tool,
)
from agentflow import limits as limits_module
from agentflow.encoding import encode
from agentflow.events import OperationFinished
from agentflow.exceptions import NetworkUnavailable, RateLimited, ToolError, ToolTimeout
from agentflow.tools import call


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "_FIRST_WAIT", 0.001)


class Flaky:
    """A tool that fails with `faults`, one after the other, before it answers."""

    def __init__(self, *faults: Exception, **labels: Any) -> None:
        self.faults, self.made = list(faults), 0

        given: dict[str, Any] = {"retries": 2, **labels}

        @tool(**given)
        async def ask(what: str) -> str:
            """Ask."""
            self.made += 1
            if self.faults:
                raise self.faults.pop(0)

            return f"{what}!"

        self.tool: Tool[..., Any] = ask

    async def run(self, journal: MemoryJournal | None = None) -> Any:
        asks = self.tool

        @step
        async def work(what: str) -> str:
            return str(await call(asks, {"what": what}))

        return await run(
            Workflow("w", start=work, end=work), "so", settings=Settings(journal=journal)
        ).result()


@pytest.mark.parametrize(
    "fault", [RateLimited("slow down", retry_after=0), NetworkUnavailable("no way"), ToolTimeout("late")]
)
async def test_a_call_is_made_again_where_the_reason_may_pass(fault: ToolError) -> None:
    flaky, journal = Flaky(fault, fault), MemoryJournal()
    result = await flaky.run(journal)
    assert (result.unwrap(), flaky.made) == ("so!", 3)
    ended = [e for e in await journal.read(result.run_id) if isinstance(e, OperationFinished)]
    assert [e.attributes for e in ended] == [
        {"retries": 2, "retried_after": f"{type(fault).__name__}: {fault}"}
    ]


@pytest.mark.parametrize(
    ("fault", "labels", "made"),
    [
        (ToolError("wrong"), {}, 1),
        (ValueError("a bug"), {}, 1),
        (NetworkUnavailable("no way"), {"retries": 0}, 1),
        (NetworkUnavailable("no way"), {"effect": "write"}, 1),
        (NetworkUnavailable("no way"), {"effect": "write", "idempotent": True}, 3),
        (RateLimited("come back tomorrow", retry_after=86_400), {}, 1),
    ],
)
async def test_a_call_is_not_made_again_where_that_is_of_no_use_or_does_harm(
    fault: Exception, labels: dict[str, Any], made: int
) -> None:
    flaky = Flaky(fault, fault, fault, **labels)
    assert (await flaky.run()).status == "failed"
    assert flaky.made == made


async def test_calls_of_all_runs_go_through_one_gate() -> None:
    inside = most = 0

    @tool(concurrency=2)
    async def look(what: str) -> str:
        """Look."""
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.001)
        inside -= 1
        return what

    @step
    async def work(what: str) -> str:
        return " ".join(await asyncio.gather(*(look(what) for _ in range(5))))

    workflow = Workflow("w", start=work, end=work)
    await asyncio.gather(*(run(workflow, "x").output() for _ in range(4)))
    assert most == 2
    assert replace(look, rate=Rate(3)).gate is not look.gate


def told(model: ScriptedModel) -> str:
    return str(model.calls[-1].input)


async def answered(tools: list[Tool[..., Any]], *calls: Any, **settings: Any) -> tuple[ScriptedModel, Any]:
    model = ScriptedModel([list(calls), [assistant_message("done")]])
    work = Agent("work", takes=str, gives=str, prompt="Work.", tools=tools)
    given: dict[str, Any] = {"model": "scripted/m", "models": {"m": model}, **settings}
    return model, await run(Workflow("w", start=work, end=work), "go", settings=Settings(**given)).result()


async def test_a_model_is_told_the_beginning_of_a_long_result_and_the_record_holds_all_of_it() -> None:
    @tool(returns="trusted", max_output=50)
    async def long() -> str:
        """Say much."""
        return "0123456789" * 1000

    journal = MemoryJournal()
    model, result = await answered([long], function_call("long", {}, call_id="c1"), journal=journal)
    assert "0123456789" * 5 + " ... (the first 50 of 10,000 characters; sha256:" in told(model)
    kept = [
        e.result.data
        for e in await journal.read(result.run_id)
        if isinstance(e, OperationFinished) and e.result
    ]
    assert "0123456789" * 1000 in kept


async def test_of_many_passages_a_model_is_told_as_many_as_fit_and_cites_no_others() -> None:
    @tool(returns="trusted", max_output=500)
    async def find() -> list[Evidence]:
        """Find."""
        return [Evidence(text=f"passage {n} " + "x" * 100, source="s") for n in range(10)]

    model, _ = await answered([find], function_call("find", {}, call_id="c1"))
    (output,) = [
        item["output"] for item in model.calls[-1].input if item.get("type") == "function_call_output"
    ]
    shown = json.loads(output)
    assert [item["n"] for item in shown] == [1, 2]
    assert "passage 2" not in output


KEY = 'sk-live/7Jq+2mZ0 "quoted"=='


@pytest.fixture
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", {})
    monkeypatch.setattr(secrets, "_pattern", None)
    monkeypatch.setenv("SHOP_KEY", KEY)


def leaky() -> list[Tool[..., Any]]:
    """Tools that give their key away, each in another way."""
    shop = Secret("SHOP_KEY")

    @tool(returns="trusted")
    async def says() -> str:
        """Echo the request, as servers do in their errors."""
        return f"you sent Authorization: Bearer {shop.reveal()}"

    @tool
    async def gives() -> dict[str, Any]:
        """Give the request back as data."""
        key = shop.reveal()
        return {"headers": {"x-key": key}, "url": f"https://shop.test/?key={quote(key)}", key: [key]}

    @tool
    async def finds() -> list[Evidence]:
        """Find a page that holds it."""
        key = shop.reveal()
        basic = base64.b64encode(f"shop:{key}".encode()).decode()
        return [
            Evidence(text=f"key={key}", source=f"https://shop.test/?key={quote(key, safe='')}", title=basic)
        ]

    @tool
    async def fails() -> str:
        """Fail with it."""
        raise ToolError(f"401 for {shop.reveal()}", hint=f"is {shop.reveal()} still valid?")

    @tool
    async def breaks() -> str:
        """Break with it."""
        raise ValueError({"key": shop.reveal()})

    return [says, gives, finds, fails, breaks]


@pytest.mark.usefixtures("_key")
async def test_no_secret_gets_into_prompts_the_journal_the_output_or_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tools = leaky()
    calls = [function_call(t.name, {}, call_id=f"c{n}") for n, t in enumerate(tools)]
    # The model repeats it as well, had it been told.
    echo = function_call("says", {}, call_id="c9")
    journal = SqliteJournal(tmp_path / "journal.db")
    model, result = await answered(tools, *calls, echo, journal=journal)
    events = await journal.read(result.run_id)
    await journal.close()

    files = await asyncio.to_thread(lambda: [p.read_bytes() for p in tmp_path.iterdir()])
    seen = {
        "prompts": str([(c.system_instructions, c.input) for c in model.calls]),
        "events": "".join(encode(e).decode() for e in events),
        "file": "".join(data.decode(errors="replace") for data in files),
        "log": caplog.text,
        "result": str(result),
    }
    assert "[secret SHOP_KEY]" in seen["prompts"]
    assert "[secret SHOP_KEY]" in seen["events"]
    for place, text in seen.items():
        for form in (KEY, json.dumps(KEY)[1:-1], quote(KEY), quote(KEY, safe=""), "7Jq+2mZ0", "7Jq%2B2mZ0"):
            assert form not in text, (place, form)
        assert base64.b64encode(f"shop:{KEY}".encode()).decode()[8:30] not in text, place


@pytest.mark.usefixtures("_key")
async def test_a_step_that_fails_with_a_secret_says_so_without_it() -> None:
    @step
    async def work(text: str) -> str:
        raise ValueError(f"{text} {Secret('SHOP_KEY').reveal()}")

    result = await run(Workflow("w", start=work, end=work), "it broke with").result()
    assert result.error is not None
    assert result.error.message == "it broke with [secret SHOP_KEY]"
    assert KEY not in result.error.traceback


@pytest.mark.usefixtures("_key")
async def test_a_prompt_that_holds_a_secret_is_sent_without_it() -> None:
    Secret("SHOP_KEY").reveal()
    model = ScriptedModel([[assistant_message("done")]])
    work = Agent("work", takes=str, gives=str, prompt=f"Use the key {KEY}.")
    settings = Settings(model="scripted/m", models={"m": model})
    await run(Workflow("w", start=work, end=work), f"it is {KEY}", settings=settings).output()
    assert model.calls[0].system_instructions == "Use the key [secret SHOP_KEY]."
    assert "it is [secret SHOP_KEY]" in str(model.calls[0].input)
