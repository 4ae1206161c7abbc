"""Spans are a function of a run's events: one tree a run, each span once, the same however often it is made."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from agentflow import Context, Settings, SqliteJournal, Wait, Workflow, each, run, step
from agentflow.app import compile_workflow
from agentflow.engine.reduce import reduce
from agentflow.engine.state import empty
from agentflow.events import Event, StepStarted
from agentflow.tracing.activation import parse
from agentflow.tracing.spans import SpanFolder, spans_of
from tests.tracing.conftest import Traced, Tracing
from tests.tracing.workflows import begin, branching, counting, nested, split, total, whole


async def test_a_run_is_one_tree_with_maps_and_sub_workflows_around_their_steps(tracing: Tracing) -> None:
    """Items stand under their map, inner steps under their sub-workflow, and operations under their step."""
    traced = await tracing(whole, "to be")

    assert traced.tree() == [
        "invoke_workflow whole",
        "  step begin",
        "  invoke_workflow counting",
        "    step split",
        "    map measure",
        "      step measure",
        "        retrieval lexicon",
        "      step measure",
        "        retrieval lexicon",
        "    step total",
        "  step approve",
    ]
    assert {span.kind for span in traced.spans if span.name.startswith("retrieval")} == {"client"}
    assert {span.kind for span in traced.spans if not span.name.startswith("retrieval")} == {"internal"}
    assert all(span.status == "unset" and span.start <= span.end for span in traced.spans)


async def test_a_span_tells_which_step_it_is_and_what_went_in_and_out(tracing: Tracing) -> None:
    """A step's span has its place in the run, its kind, its input and its output."""
    traced = await tracing(whole, "to be")

    item = traced.one("step measure", step_item=1)
    assert item.attributes["agentflow.step.activation"] == "counting#1/measure#1[1]"
    assert item.attributes["agentflow.step.id"] == "measure"
    assert item.attributes["agentflow.step.kind"] == "function"
    assert item.attributes["agentflow.step.visit"] == item.attributes["agentflow.step.attempt"] == 1
    assert (item.attributes["agentflow.step.input"], item.attributes["agentflow.step.output"]) == (
        '"be"',
        "2",
    )
    mapped = traced.one("map measure", map_count=2)
    assert mapped.attributes["agentflow.step.input"] == '["to","be"]'
    assert mapped.attributes["agentflow.step.output"] == "[2,2]"


async def test_the_root_names_the_run_as_the_conventions_want_it(tracing: Tracing) -> None:
    """The root has the operation, both names of a workflow, the run as conversation, and what went in and out."""
    traced = await tracing(whole, "to be")

    root = traced.one("invoke_workflow whole").attributes
    assert root["gen_ai.operation.name"] == "invoke_workflow"
    assert root["gen_ai.agent.name"] == root["gen_ai.workflow.name"] == "whole"
    assert root["gen_ai.conversation.id"] == "whole-1"
    assert root["agentflow.workflow.digest"] == whole.digest
    assert root["agentflow.run.status"] == "done"
    said = json.loads(str(root["gen_ai.output.messages"]))
    assert said == [
        {"role": "assistant", "parts": [{"type": "text", "content": "4"}], "finish_reason": "stop"}
    ]
    inner = traced.one("invoke_workflow counting").attributes
    assert (inner["gen_ai.operation.name"], inner["agentflow.step.kind"]) == ("invoke_workflow", "workflow")


async def test_an_approval_says_what_was_asked_and_who_decided(tracing: Tracing) -> None:
    """The span of an approval has the question, the decision, by whom, and both moments as events."""
    traced = await tracing(whole, "to be")

    span = traced.one("step approve", approval_by="ada", approval_approved=True)
    assert span.attributes["agentflow.approval.prompt"] == "Is it right?"
    assert [event.name for event in span.events] == ["agentflow.approval.asked", "agentflow.approval.given"]


async def test_spans_are_the_same_from_memory_and_from_a_file(tmp_path: Path) -> None:
    """Folding events as they happen, or reading them from a journal later, gives equal spans."""
    seen: list[Event] = []
    journal = SqliteJournal(tmp_path / "journal.db")
    text = "to be " + "é" * 3000 + " x" * 40

    def observe(event: Any) -> None:
        if isinstance(event, Event):
            seen.append(event)

    await run(counting, text, run_id="same", settings=Settings(journal=journal, observers=[observe])).result()

    kept = spans_of(await journal.read("same"))
    await journal.close()
    assert spans_of(seen) == kept == spans_of(seen)
    assert len(kept) == 4 + 2 * 43


async def test_each_span_is_given_once_and_under_a_span_that_is_there(tracing: Tracing) -> None:
    """No id comes twice, and each parent is a span of the same trace."""
    traced = await tracing(whole, "flaky words it is")

    ids = Counter(span.span_id for span in traced.spans)
    assert set(ids.values()) == {1}
    assert [span.name for span in traced.spans if span.parent_id is None] == ["invoke_workflow whole"]
    assert {span.parent_id for span in traced.spans} - {None} <= set(ids)
    assert len({span.trace_id for span in traced.spans}) == 1


async def _given_by_the_engine(traced: Traced, workflow: Workflow[Any, Any]) -> dict[str, bytes]:
    state, inputs = empty(), {}
    for event in traced.events:
        state, _ = reduce(state, event, compile_workflow(workflow).graph)
        if isinstance(event, StepStarted):
            inputs[event.step] = state.active[event.step].input.json

    return inputs


async def test_inputs_are_those_that_the_engine_gave(tracing: Tracing) -> None:
    """Loops, gathers, maps and mapped sub-workflows: each step's input on its span is what the engine held."""
    for workflow, value in ((branching, 3), (nested, "a bc def"), (whole, "to be")):
        traced = await tracing(workflow, value)
        wanted = await _given_by_the_engine(traced, workflow)
        shown = {
            s.attributes["agentflow.step.activation"]: str(s.attributes["agentflow.step.input"]).encode()
            for s in traced.spans
            if "agentflow.step.activation" in s.attributes
        }
        assert shown == wanted
        assert traced.result.status == "done"


async def test_later_visits_of_a_loop_are_spans_of_their_own(tracing: Tracing) -> None:
    """The second visit of a step has the number 2 and another id."""
    traced = await tracing(branching, 3)

    first, second = traced.one("step given", step_visit=1), traced.one("step given", step_visit=2)
    assert first.span_id != second.span_id
    assert (first.attributes["agentflow.step.input"], second.attributes["agentflow.step.input"]) == ("3", "7")


async def test_a_mapped_sub_workflow_is_a_map_of_workflow_spans(tracing: Tracing) -> None:
    """Each item of a mapped sub-workflow is an `invoke_workflow` span under the map."""
    traced = await tracing(nested, "a bc")

    assert traced.tree()[2:6] == [
        "  map word",
        "    invoke_workflow word",
        "      step measure",
        "        retrieval lexicon",
    ]
    assert traced.one("invoke_workflow word", step_item=1).attributes["agentflow.step.output"] == "2"


async def test_a_wait_is_a_span_as_long_as_the_wait(tracing: Tracing) -> None:
    """A wait's span says until when, and ends no earlier."""
    traced = await tracing(
        Workflow(
            "pause", start=begin, end=(pause := Wait("pause_", of=str, seconds=0.02)), edges=[begin >> pause]
        ),
        "x",
    )

    span = traced.one("step pause_", step_kind="wait")
    assert span.end - span.start >= 20_000_000
    assert str(span.attributes["agentflow.wait.due"]).startswith("20")


async def test_artifacts_are_told_on_the_step_that_kept_them(tracing: Tracing, tmp_path: Path) -> None:
    """A file that a step keeps is an event on its span, with its digest and size."""

    @step
    async def keep(text: str, ctx: Context) -> str:
        return ctx.artifact("note.txt", text.encode(), "text/plain")

    traced = await tracing(
        Workflow("keeping", start=begin, end=keep, edges=[begin >> keep]), "four", root=tmp_path
    )

    event = traced.one("step keep").events[0]
    assert (event.name, event.attributes["agentflow.artifact.size"]) == ("agentflow.artifact.kept", 4)
    assert str(event.attributes["agentflow.artifact.digest"]).startswith("sha256:")


async def test_a_large_input_is_named_by_digest_and_size(tracing: Tracing) -> None:
    """Above 4 kB a step's span tells what a value was without holding it."""
    traced = await tracing(counting, "x" * 5000)

    span = traced.one("step split").attributes
    assert span["agentflow.step.input.size"] == 5002
    assert str(span["agentflow.step.input.digest"]).startswith("sha256:")
    assert "agentflow.step.input" not in span


async def test_a_run_without_a_spec_still_has_its_tree(tracing: Tracing) -> None:
    """Spans without inputs and kinds are made where the events say nothing of the graph."""
    from dataclasses import replace

    traced = await tracing(whole, "to be")
    events = [replace(traced.events[0], spec=None), *traced.events[1:]]  # type: ignore[call-arg]

    bare = spans_of(events)
    assert [(s.span_id, s.parent_id) for s in bare] == [(s.span_id, s.parent_id) for s in traced.spans]
    assert "step measure" in [span.name for span in bare]


async def test_folding_twice_as_many_steps_takes_twice_the_work(tracing: Tracing) -> None:
    """The function calls that a fold makes grow with the number of events and not faster."""
    import sys

    def work(events: list[Event]) -> int:
        calls = [0]

        def count(frame: Any, kind: str, _: Any) -> None:
            calls[0] += kind == "call"

        folder = SpanFolder("many")
        sys.setprofile(count)
        try:
            for event in events:
                folder.fold(event)
        finally:
            sys.setprofile(None)

        return calls[0]

    @step
    async def short(word: str) -> int:
        return len(word)

    many = Workflow("many", start=split, end=total, edges=[split >> each(short, at_most=1000) >> total])
    counts: list[float] = []
    for size in (500, 1000):
        await run(
            many, "x " * size, run_id=f"many{size}", settings=Settings(journal=tracing.journal)
        ).result()
        counts.append(work(list(await tracing.journal.read(f"many{size}"))))

    assert counts[1] < 2.1 * counts[0]


def test_names_of_activations_are_taken_apart() -> None:
    """Frames, nodes, visits and items are found, also where a node's name holds a slash."""
    deep = parse("sub#1[2]/in/ner#3/read#12[0]")
    assert (deep.frame, deep.node, deep.visit, deep.item) == ("sub#1[2]/in/ner#3", "read", 12, 0)
    assert (deep.outer, parse("sub#1/write#2").outer, parse("write#1").outer) == (deep.id[:-3], "sub#1", "")
