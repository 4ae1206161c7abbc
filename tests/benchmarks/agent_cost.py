"""What a turn of an agent costs beside the bare SDK's: `python -m tests.benchmarks.agent_cost [--json]`.

An agent with one tool calls it n times, one call a turn, then answers: n + 1 turns. The model is a stub in this process that
answers at once, so that all that is measured is what lies around it; the floor is a loop over the same model and tool
that does nothing else. Samples of all cases are taken in turn, within one run. Microseconds per turn, CPU and wall:
median (min-max) of seven samples.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from agents import Agent as SdkAgent
from agents import Model, ModelResponse, RunConfig, Runner, Usage, function_tool
from agents.tool_context import ToolContext
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from agentflow import Agent, MemoryJournal, Settings, Workflow, run, tool
from agentflow.models.sdk import answer_text, tool_calls
from agentflow.tracing.content import Level
from tests.benchmarks.watching import Watching

TURNS = (5, 20, 100, 200)
SAMPLES = 7
LEVELS: tuple[Level, ...] = ("none", "redacted")
# Each sample takes as many runs as make about this many turns, so that short runs are not lost in the noise.
_SAMPLE_TURNS = 40
_WHOLE = Response(
    id="r",
    created_at=0,
    model="stub",
    object="response",
    output=[],
    parallel_tool_calls=False,
    tool_choice="auto",
    tools=[],
)
_EVENT = ResponseCompletedEvent(type="response.completed", sequence_number=0, response=_WHOLE)


class Stub(Model):
    """Asks for `calls` calls of the tool `add`, one a turn, then answers."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return ModelResponse(output=[self._said(kwargs["input"])], usage=Usage(), response_id=None)

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        # Copied without checks: what a stub costs is no part of what is measured.
        whole = _WHOLE.model_copy(update={"output": [self._said(kwargs["input"])]})
        yield _EVENT.model_copy(update={"response": whole})

    def _said(self, given: Any) -> Any:
        # Every turn before this one added a call and its result to what was asked at first.
        done = 0 if isinstance(given, str) else (len(given) - 1) // 2
        if done < self.calls:
            return ResponseFunctionToolCall(
                arguments=f'{{"x": {done}}}',
                call_id=f"c{done}",
                name="add",
                type="function_call",
                id=f"f{done}",
            )

        text = ResponseOutputText(annotations=[], text=f"done {done}", type="output_text")
        return ResponseOutputMessage(
            id="m", content=[text], role="assistant", status="completed", type="message"
        )


async def _add(x: int) -> str:
    """Add one."""
    return str(x + 1)


async def looped(calls: int) -> None:
    """The floor: the same model and tool in a loop that does nothing else, as no one would want it."""
    model, said = Stub(calls), list[Any]([{"role": "user", "content": "go"}])
    while True:
        response = await model.get_response(input=list(said))
        said += [item.model_dump(exclude_unset=True) for item in response.output]
        if not (asked := tool_calls(response)):
            break

        for call in asked:
            context = ToolContext[Any](
                context=None,
                tool_name=call.name,
                tool_call_id=call.call_id,
                tool_arguments=call.arguments,
            )
            output = await _sdk_tool.on_invoke_tool(context, call.arguments)
            said.append({"type": "function_call_output", "call_id": call.call_id, "output": output})

    assert answer_text(response) == f"done {calls}"


_sdk_tool = function_tool(_add, name_override="add")


def agent_of(calls: int) -> SdkAgent[None]:
    """An agent of the SDK that makes so many calls."""
    return SdkAgent(name="a", model=Stub(calls), tools=[_sdk_tool])


async def bare(calls: int, built: SdkAgent[None] | None = None) -> None:
    """The turns on the SDK alone, its tracing off."""
    config = RunConfig(tracing_disabled=True)
    result = await Runner.run(built or agent_of(calls), "go", max_turns=calls + 1, run_config=config)
    assert result.final_output == f"done {calls}"


_add_tool = tool(name="add", effect="none", returns="trusted")(_add)


def workflow(calls: int) -> Workflow[str, str]:
    """The same agent as the one step of a workflow."""
    step = Agent("a", takes=str, gives=str, tools=[_add_tool], max_turns=calls + 1)
    return Workflow("turns", start=step, end=step)


async def orchestrated(calls: int, built: Workflow[str, str] | None = None, **settings: Any) -> str:
    """The turns as a run of a workflow, with a journal in memory; gives the id of the run."""
    given: dict[str, Any] = {"journal": MemoryJournal(), "models": {"stub": Stub(calls)}, **settings}
    result = await run(
        built or workflow(calls), "go", settings=Settings(model="scripted/stub", **given)
    ).result()
    assert result.output == f"done {calls}"
    return result.run_id


async def traced(calls: int, built: Workflow[str, str], level: Level) -> None:
    """The turns as a run whose spans are made and kept in memory: two a turn, and the agent's, the step's and the run's."""
    watching = Watching(level)
    await orchestrated(calls, built, observers=[watching])
    assert len(watching.kept.get_finished_spans()) == 2 * calls + 1 + 3


def cases(turns: tuple[int, ...]) -> dict[str, tuple[int, Callable[[], Awaitable[object]]]]:
    """What is measured: by name, the turns of one run, and a run."""
    built = {calls: workflow(calls) for calls in turns}
    found: dict[str, tuple[int, Callable[[], Awaitable[object]]]] = {}
    for calls in turns:
        found[f"loop {calls}"] = (calls + 1, partial(looped, calls))
        found[f"bare {calls}"] = (calls + 1, partial(bare, calls, agent_of(calls)))
        found[f"agentflow {calls}"] = (calls + 1, partial(orchestrated, calls, built[calls]))
        for level in LEVELS:
            name = f"agentflow {calls}, spans, content {level}"
            found[name] = (calls + 1, partial(traced, calls, built[calls], level))

    return found


async def sampled(turns: int, once: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Microseconds of CPU and of wall per turn, of one sample."""
    runs = max(1, _SAMPLE_TURNS // turns)
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(runs):
        await once()

    spent = time.process_time() - cpu, time.perf_counter() - wall
    return spent[0] / runs / turns * 1e6, spent[1] / runs / turns * 1e6


async def measured(turns: tuple[int, ...] = TURNS, samples: int = SAMPLES) -> dict[str, dict[str, Any]]:
    """All figures by name; samples of the cases are taken in turn, after one of each that does not count."""
    known = cases(turns)
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in known}
    for _ in range(samples + 1):
        for name, case in known.items():
            figures[name].append(await sampled(*case))

    return {name: _told(values[1:]) for name, values in figures.items()}


def _told(values: list[tuple[float, float]]) -> dict[str, Any]:
    sides = {"cpu": [cpu for cpu, _ in values], "wall": [wall for _, wall in values]}
    return {
        side: {"median": statistics.median(side_values), "min": min(side_values), "max": max(side_values)}
        for side, side_values in sides.items()
    }


def compared(rows: dict[str, dict[str, Any]], turns: tuple[int, ...]) -> dict[str, float]:
    """What the goals are about: ratios of medians of CPU, and microseconds that spans add."""
    cpu = {name: row["cpu"]["median"] for name, row in rows.items()}
    found: dict[str, float] = {}
    for calls in turns:
        found[f"agentflow / bare, {calls}"] = cpu[f"agentflow {calls}"] / cpu[f"bare {calls}"]
        for level in LEVELS:
            traced_cpu = cpu[f"agentflow {calls}, spans, content {level}"]
            found[f"spans add, content {level}, {calls}"] = traced_cpu - cpu[f"agentflow {calls}"]

    least, most = min(turns), max(turns)
    return found | {
        f"{who}, {most} / {least}": cpu[f"{who} {most}"] / cpu[f"{who} {least}"]
        for who in ("loop", "bare", "agentflow")
    }


def main() -> int:
    """Print the figures as a table or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--turns", type=int, nargs="+", default=list(TURNS), help="calls of the tool in a run"
    )
    parser.add_argument("--samples", type=int, default=SAMPLES)
    given = parser.parse_args()
    turns = tuple(given.turns)
    rows = asyncio.run(measured(turns, given.samples))
    ratios = compared(rows, turns)
    if given.json:
        sys.stdout.write(json.dumps({"us_per_turn": rows, "compared": ratios}, indent=2) + "\n")
        return 0

    for name, row in rows.items():
        told = (f"{side} {r['median']:8.0f} ({r['min']:.0f}-{r['max']:.0f})" for side, r in row.items())
        sys.stdout.write(f"{name:45} {'  '.join(told)}\n")

    for name, ratio in ratios.items():
        sys.stdout.write(f"{name:45} {ratio:8.2f}\n")

    return 0


if __name__ == "__main__":
    sys.exit(main())
