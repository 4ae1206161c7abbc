"""The runs that a test makes, executed again from their records at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from agentflow.app.replaying import Replayed, replay_program
from agentflow.encoding import decode, encode
from agentflow.engine import attempt
from agentflow.engine.notices import Delta
from agentflow.engine.runner import Runner
from agentflow.engine.state import State
from agentflow.events import Event, RunStarted

# Tests in these folders have their runs replayed; of one test at most so many, as property tests make hundreds.
FOLDERS = ("app", "cli", "engine", "models", "steps", "tracing", "workflows")
MOST_RUNS, MOST_EVENTS = 8, 1500

_CHANGES = "its step does something else each time, by a variable of the test"
_DOUBLE = "its step relies on a double that cannot give a recorded outcome back"
_WAITS = "its step waits for what the test does meanwhile, or for an object of the test's own loop"
# Tests whose steps are no function of what they are given, which is what a replay finds out; by the name of the test.
EXCEPTIONS: Mapping[str, str] = {
    "test_definitions_that_are_gone_or_changed_are_passed_over": _WAITS,
    "test_the_network_is_refused": "its step reaches for the network by itself",
    "test_a_step_that_is_no_function_of_its_input_is_named_with_a_hint": _CHANGES,
    "test_failed_resumed_and_moved_runs_replay": _CHANGES,
    "test_a_run_that_goes_on_after_a_failure_is_a_second_span_of_the_same_trace": _CHANGES,
    "test_spans_carry_the_name_of_the_process_that_did_the_work": _CHANGES,
    "test_a_call_that_was_never_answered_is_free": _DOUBLE,
    "test_what_a_server_does_not_count_is_counted_as_the_most": _DOUBLE,
    "test_a_step_s_minutes": _CHANGES,
    "test_other_arguments_are_asked_about_anew": _CHANGES,
    "test_what_is_asked_differently_is_called_anew_and_said": _CHANGES,
    "test_a_step_is_tried_again_until_it_works": _CHANGES,
    "test_what_is_left_of_a_failed_step_makes_no_calls": _CHANGES,
    "test_branches_run_at_the_same_time": _WAITS,
    "test_a_step_that_ignores_its_cancellation_does_not_save_the_run": _WAITS,
    "test_a_scope_is_entered_around_each_step": "its step reads what the `scope` of the run's settings set",
    "test_a_prompt_that_holds_a_secret_is_sent_without_it": "its prompt holds a secret that is not known afterwards",
}


@dataclass(eq=False)
class Collected:
    """The events of one runner, as they were committed."""

    runner: Runner
    events: list[Event] = field(default_factory=list[Event])

    def see(self, news: Event | Delta) -> None:
        if isinstance(news, Event):
            self.events.append(news)

    def all(self) -> Sequence[Event]:
        return [*self.runner.history, *self.events]

    def is_whole(self) -> bool:
        """Whether all of a run was seen: another process may have written to its journal, or only a part been given."""
        events = self.all()
        numbers = [event.seq for event in events]
        return bool(events) and isinstance(events[0], RunStarted) and numbers == [*range(1, len(events) + 1)]


def collect(monkeypatch: pytest.MonkeyPatch) -> dict[str, Collected]:
    """The runs that are driven from here on, by id: of one that is taken up again, what drove it last."""
    found: dict[str, Collected] = {}
    drive = Runner.drive

    async def driven(self: Runner) -> State:
        known = found.get(self.run_id)
        if known is None or known.runner is not self:
            known = found[self.run_id] = Collected(self)
            self.observers.append(known.see)

        return await drive(self)

    monkeypatch.setattr(Runner, "drive", driven)
    return found


def chosen(found: Mapping[str, Collected]) -> list[Collected]:
    """Those of a test's runs that are replayed."""
    whole = [known for known in found.values() if known.is_whole() and len(known.all()) <= MOST_EVENTS]
    return whole[:MOST_RUNS]


def replayed(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> Replayed[object]:
    """What comes of executing a collected run again, from its events as they are written."""
    events = [decode(encode(event)) for event in collected.all()]
    runner = collected.runner
    monkeypatch.setattr(attempt, "AT_WORK", 3.0)
    return asyncio.run(replay_program(runner.program, runner.contents, events, root=runner.root))
