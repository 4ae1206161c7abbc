"""For tests of workflows: run one to its end, say which way it went, and script what its model answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agentflow.app import Decision, Pending, Result, Settings, run
from agentflow.events import Event, StepStarted
from agentflow.journal import Journal
from agentflow.journal.memory import MemoryJournal
from agentflow.workflow import Workflow

if TYPE_CHECKING:
    from agentflow.models.scripted import ScriptedModel as ScriptedModel
    from agentflow.models.scripted import assistant_message as assistant_message
    from agentflow.models.scripted import function_call as function_call

T = TypeVar("T")
_SDK_NAMES = ("ScriptedModel", "assistant_message", "function_call")


def __getattr__(name: str) -> Any:
    # The SDK costs about a second to import: tests without a model do not pay for it.
    if name not in _SDK_NAMES:
        raise AttributeError(f"module 'agentflow.testing' has no attribute {name!r}")

    from agentflow.models import scripted

    return getattr(scripted, name)


@dataclass(frozen=True, kw_only=True)
class Ended(Generic[T]):
    """A run that is over, or waits for a person: how it stands, and its events in order."""

    result: Result[T]
    events: Sequence[Event]

    @property
    def output(self) -> T:
        """What came out; raises what ended the run where nothing did."""
        return self.result.unwrap()

    @property
    def path(self) -> list[str]:
        """The steps in the order in which they began; see `path_of`."""
        return path_of(self.events)


async def run_to_end(
    workflow: Workflow[Any, T],
    value: Any,
    *,
    model: Any = None,
    approve: bool | Callable[[Pending], bool] | None = True,
    journal: Journal | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Ended[T]:
    """Run `workflow` on `value` and say how it ended; a run that fails is no error here, `output` raises it.

    `model` answers all model calls, such as a `ScriptedModel`. `approve` answers approvals: all alike, by a function, or
    with None not at all. `settings` are more fields of `Settings`.
    """

    async def answer(pending: Pending) -> Decision | None:
        verdict = approve(pending) if callable(approve) else approve
        return None if verdict is None else Decision(approved=verdict, by="test")

    kept = journal or MemoryJournal()
    given: dict[str, Any] = {"journal": kept, "approver": answer, **(settings or {})}
    if model is not None:
        given |= {"model": "scripted/test", "models": {"test": model}}

    result = await run(workflow, value, settings=Settings(**given)).result()
    return Ended(result=result, events=await kept.read(result.run_id))


def path_of(events: Sequence[Event]) -> list[str]:
    """The names of the steps in the order in which they began: `sub/step` inside a sub-workflow, without items of maps.

    A step that is visited twice is there twice; one that is tried again is not.
    """
    begun = [event.step for event in events if isinstance(event, StepStarted) and event.attempt == 1]
    return [re.sub(r"#\d+(?=/|$)", "", step) for step in begun if "]" not in step]


def assert_path(events: Sequence[Event], expected: Sequence[str]) -> None:
    """Assert that the run went this way: the steps in the order in which they began."""
    went = path_of(events)
    assert went == list(expected), f"the run went {' -> '.join(went)}, not {' -> '.join(expected)}"
