"""Runs of the SDK in stretches: what a model is asked, and what comes of it, is the same wherever the Runner is started anew."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    ModelRetryBackoffSettings,
    ModelRetrySettings,
    ModelSettings,
    RetryPolicyContext,
    RunContextWrapper,
    TResponseInputItem,
    input_guardrail,
    output_guardrail,
)
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import (
    ResponseComputerToolCall,
    ResponseFunctionWebSearch,
    ResponseOutputItem,
    ResponseReasoningItem,
)
from openai.types.responses.response_function_web_search import ActionSearch

from agentflow.exceptions import ModelTurnsExceeded
from agentflow.models import agent as agents_module
from agentflow.models.agent import AgentCall, AgentSpec, run_agent
from agentflow.models.pool import ModelPool
from agentflow.models.stretches import NextStretch, Stretches
from agentflow.tools import tool
from tests.models.recording import Recording, recorded

WHOLE = 1_000


@tool(effect="none", returns="trusted")
async def add(a: int) -> int:
    """Add one."""
    return a + 1


@contextmanager
def stretched(length: int) -> Generator[list[Stretches], None, None]:
    """Have agents run in stretches of that many turns; those that were made are given."""
    made: list[Stretches] = []

    def make() -> Stretches:
        made.append(Stretches(length))
        return made[-1]

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(agents_module, "Stretches", make)
        yield made


async def ran(spec: AgentSpec, length: int, **more: Any) -> tuple[Any, Recording]:
    """The result of an agent's run in stretches of that length, and what was recorded of it."""
    with stretched(length), recorded() as recording:
        try:
            result: Any = await run_agent(AgentCall(spec=spec, text="go", **more), ModelPool({}))
        except Exception as error:
            result = (type(error), str(error))

    return result, recording


def told(recording: Recording) -> list[Any]:
    """What was done and asked in a run, in order."""
    return [
        (kept.path, kept.request, kept.operation.result, kept.operation.attributes) for kept in recording.kept
    ]


Turn = Sequence[ResponseOutputItem]


def turn(kind: str, number: int) -> list[Any]:
    """What a model says in a turn."""
    thought = ResponseReasoningItem(id=f"rs_{number}", type="reasoning", summary=[])
    one = function_call("add", {"a": number}, call_id=f"c{number}")
    match kind:
        case "one":
            return [one]
        case "three":
            more = [function_call("add", {"a": n}, call_id=f"c{number}.{n}") for n in range(2)]
            return [one, *more]
        case "thought":
            return [thought, one]
        case "same thought":
            return [thought.model_copy(update={"id": "rs"}), one]
        case "unknown":
            return [function_call("nothing", {}, call_id=f"c{number}")]
        case "same id":
            return [function_call("add", {"a": number}, call_id="c")]
        case "said":
            return [assistant_message(f"wait {number}"), one]
        case "helper":
            return [function_call("helper", {"input": f"do {number}"}, call_id=f"c{number}")]
        case "handoff":
            return [function_call("transfer_to_other", {}, call_id=f"c{number}")]
        case _:
            raise AssertionError(kind)


KINDS = ("one", "three", "thought", "same thought", "unknown", "same id", "said", "helper")


def spec_of(kinds: Sequence[str], hands_over_at: int) -> AgentSpec:
    """An agent whose model says these turns and then answers; from one turn on another agent goes on, if it comes to that."""
    said = [turn(kind, number) for number, kind in enumerate(kinds)] + [[assistant_message("done")]]
    first, rest = said[:hands_over_at], said[hands_over_at:]
    helper = AgentSpec(
        name="helper",
        model=ScriptedModel(
            [[*turn("one", n)] if n % 3 else [assistant_message(f"helped {n}")] for n in range(60)]
        ),
        tools=(add,),
    )
    common: dict[str, Any] = {"tools": (add,), "agents_as_tools": (helper,), "max_turns": 50}
    if not rest:
        return AgentSpec(name="first", model=ScriptedModel(first), **common)

    other = AgentSpec(name="other", model=ScriptedModel(rest), **common)
    handing = [turn("handoff", 900)]
    return AgentSpec(name="first", model=ScriptedModel(first + handing), handoffs=(other,), **common)


@given(kinds=st.lists(st.sampled_from(KINDS), max_size=8), at=st.integers(0, 9), length=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
async def test_models_are_asked_the_same_wherever_the_runner_is_started_anew(
    kinds: list[str], at: int, length: int
) -> None:
    """Each request, call, result and label is the one of a run in a single stretch."""
    whole, expected = await ran(spec_of(kinds, at), WHOLE)
    parts, came = await ran(spec_of(kinds, at), length)
    assert told(came) == told(expected)
    assert parts == whole


@pytest.mark.parametrize("length", [1, 2, WHOLE])
@pytest.mark.parametrize("most", [1, 2, 3, 5])
async def test_turns_are_counted_through_all_stretches(length: int, most: int) -> None:
    """An agent that does not come to an end has made just as many turns, and the error names the limit that was set."""
    spec = AgentSpec(
        name="a", model=ScriptedModel([turn("one", n) for n in range(9)]), tools=(add,), max_turns=most
    )
    (kind, text), recording = await ran(spec, length)
    assert (kind, f"({most})" in text) == (ModelTurnsExceeded, True)
    assert sum(path.endswith("chat ScriptedModel") for path in recording.paths) == most


def always(context: RetryPolicyContext) -> bool:
    """Make any call again that failed."""
    del context
    return True


async def test_a_call_that_is_made_again_is_no_turn() -> None:
    """What the SDK asks a model again, after an error that may pass, counts once."""
    failing = ModelStep.raise_error(ConnectionError("gone"))
    steps = [item for n in range(4) for item in (failing, turn("one", n))]
    at_once = ModelRetryBackoffSettings(initial_delay=0.001)
    again = ModelSettings(retry=ModelRetrySettings(max_retries=2, policy=always, backoff=at_once))
    spec = AgentSpec(
        name="a",
        model=ScriptedModel([*steps, [assistant_message("done")]]),
        tools=(add,),
        settings=again,
        max_turns=5,
    )
    result, recording = await ran(spec, 2)
    assert result.output == "done"
    assert len(recording.paths) == 1 + 5 + 4 + 4


async def test_guardrails_judge_what_was_given_at_first_once_and_what_comes_at_the_end_once() -> None:
    """Where the Runner is started anew nothing new was given."""
    judged: list[Any] = []

    @input_guardrail
    async def before(
        context: RunContextWrapper[Any], agent: Agent[Any], text: str | list[TResponseInputItem]
    ) -> GuardrailFunctionOutput:
        judged.append(text)
        return GuardrailFunctionOutput(output_info="", tripwire_triggered=False)

    @output_guardrail
    async def after(context: RunContextWrapper[Any], agent: Agent[Any], text: Any) -> GuardrailFunctionOutput:
        judged.append((text, context.usage.requests))
        return GuardrailFunctionOutput(output_info="", tripwire_triggered=False)

    said = [*(turn("one", n) for n in range(4)), [assistant_message("done")]]
    spec = AgentSpec(
        name="a",
        model=ScriptedModel(said),
        tools=(add,),
        input_guardrails=(before,),
        output_guardrails=(after,),
    )
    await ran(spec, 1)
    assert judged == ["go", ("done", 5)]


async def test_who_was_made_to_call_a_tool_is_not_made_to_again() -> None:
    """A model that must call something at first may answer later, in whatever stretch that is."""
    for length in (1, 2, WHOLE):
        model = ScriptedModel([*(turn("one", n) for n in range(3)), [assistant_message("done")]])
        await ran(
            AgentSpec(name="a", model=model, tools=(add,), settings={"tool_choice": "required"}), length
        )
        chosen = [call.model_settings.tool_choice for call in model.calls]
        assert chosen == ["required", None, None, None]


async def test_after_an_item_of_another_kind_the_runner_goes_on_as_it_is() -> None:
    """What a server did by itself may need what came before it: it stays where the Runner sees it."""
    search = ResponseFunctionWebSearch(
        id="ws", type="web_search_call", status="completed", action=ActionSearch(type="search", query="q")
    )
    said = [[search, *turn("one", 0)], *(turn("one", n) for n in range(1, 5)), [assistant_message("done")]]
    with stretched(1) as made:
        spec = AgentSpec(name="a", model=ScriptedModel(said), tools=(add,))
        await run_agent(AgentCall(spec=spec, text="go"), ModelPool({}))

    assert [one.turns for one in made] == [0]


async def test_a_model_may_change_what_it_is_given() -> None:
    """What it takes out of a request is there again in the next one."""
    seen: list[int] = []

    class Greedy(ScriptedModel):
        async def get_response(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(sum("call_id" in item for item in kwargs["input"]))
            for item in kwargs["input"]:
                item.pop("call_id", None)

            return await super().get_response(*args, **kwargs)

    model = Greedy([*(turn("one", n) for n in range(5)), [assistant_message("done")]])
    with stretched(2):
        await run_agent(
            AgentCall(spec=AgentSpec(name="a", model=model, tools=(add,)), text="go"), ModelPool({})
        )

    assert seen == [0, 2, 4, 6, 8, 10]


async def test_the_runner_never_knows_of_more_than_a_stretch() -> None:
    """However long a run is, what the SDK goes over again each turn stays as small as it was."""
    known: list[int] = []

    class Watched(Stretches):
        def whole(self, items: Any, agent: Any) -> Any:
            known.append(len(items))
            return super().whole(items, agent)

    said = [*(turn("one", n) for n in range(40)), [assistant_message("done")]]
    spec = AgentSpec(name="a", model=ScriptedModel(said), tools=(add,), max_turns=41)
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(agents_module, "Stretches", partial(Watched, 6))
        await run_agent(AgentCall(spec=spec, text="go"), ModelPool({}))

    assert max(known) == 1 + 2 * 6
    assert len(known) == 41 + 6


def test_actions_on_a_screen_stand_where_they_are_needed() -> None:
    """Of two items with one id the later counts: an action stays where it was, its picture comes where it came last."""
    action = ResponseComputerToolCall(
        id="cu", call_id="s", type="computer_call", status="completed", pending_safety_checks=[], action=None
    ).model_dump(exclude_none=True)
    picture = {"type": "computer_call_output", "call_id": "s", "output": "first"}
    stretches = Stretches(1)
    text = {"role": "user", "content": "go"}
    assert stretches.whole([text], "a") == [text]
    stretches.answered()
    with pytest.raises(NextStretch):
        stretches.whole([text, action, picture], "a")

    later = {**picture, "output": "second"}
    whole = stretches.whole([text, {"role": "assistant", "content": "hm"}, later], "a")
    assert whole == [text, action, {"role": "assistant", "content": "hm"}, later]


async def test_a_limit_of_time_for_a_call_does_not_hold_a_stretch_together() -> None:
    """The Runner asks a model that has one from a task of its own, out of which it is started anew all the same."""
    for length in (1, WHOLE):
        said = [*(turn("one", n) for n in range(3)), [assistant_message("done")]]
        spec = AgentSpec(name="a", model=ScriptedModel(said), tools=(add,), settings={"timeout": 60})
        result, recording = await ran(spec, length)
        assert (result.output, len(recording.paths)) == ("done", 1 + 4 + 3)
