"""For tests of workflows: run one to its end, say which way it went, replay it, script its model's answers, crash anywhere."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agentflow.app import Decision, Pending, Replayed, Result, Settings, replay_events, run
from agentflow.encoding import decode
from agentflow.events import Event, Payload, RunStarted, StepStarted
from agentflow.exceptions import ProjectError
from agentflow.journal import Delivered, Journal, Lease, Pruned, Request, RunRow, Trail
from agentflow.journal.memory import MemoryJournal
from agentflow.project import find_project, load_file
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


# A run as it was recorded: its events, their lines of JSON, or a file that holds those.
Record = Path | Sequence[Event] | Sequence[str]
_ANY: Any = object()


def read_record(record: Record) -> list[Event]:
    """The events of a run from where they were recorded; raises `ProjectError` where there are none."""
    lines: Any = record
    if isinstance(record, Path):
        try:
            lines = record.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ProjectError(
                f"the record {record} cannot be read: {error.strerror}",
                hint="make it anew: agentflow freeze RUN",
            ) from None

    events = [line if isinstance(line, Event) else decode(line.encode()) for line in lines if line]
    if not events or not isinstance(events[0], RunStarted):
        raise ProjectError("this is no record of a run", hint="give all its events, from the first one on")

    return events


def assert_replays(
    record: Record,
    workflow: Workflow[Any, Any] | None = None,
    *,
    workflow_file: str | None = None,
    path: Sequence[str] | None = None,
    output: Any = _ANY,
) -> Replayed[Any]:
    """Assert that a recorded run goes the same way again, with no model, tool or network: its first divergence is told.

    Without a `workflow` or a `workflow_file`, the project around the record (or the current folder) knows it by the name
    in the record. `path` is what `path_of` gives, `output` the output as plain JSON data. In an async test, await
    `agentflow.app.replay_events` instead.
    """
    events = read_record(record)
    known = workflow if workflow is not None else _workflow_of(record, events, workflow_file)
    replayed = asyncio.run(replay_events(known, events))
    assert replayed.same, f"run `{replayed.run_id}` went another way: {replayed.divergence}"
    if path is not None:
        assert_path(replayed.events, path)

    if output is not _ANY:
        came = None if replayed.output is None else Payload(replayed.output).data
        assert came == output, f"the run gave {came}, not {output}"

    return replayed


def _workflow_of(record: Record, events: Sequence[Event], file: str | None) -> Workflow[Any, Any]:
    started = events[0]
    assert isinstance(started, RunStarted)
    if file is None:
        return find_project(_folder(record)).load(started.workflow)

    path, colon, name = file.partition(":")
    place = Path(path).resolve()
    try:
        project = find_project(place.parent)
    except ProjectError:
        project = None

    return load_file(f"{place}{colon}{name}", project)


def _folder(record: Record) -> Path | None:
    return record.parent if isinstance(record, Path) else None


class CrashingJournal:
    """A journal whose process dies at a chosen point: right `after` its n-th event is on disk, or right `before` that.

    Each event is a commit of its own, so every event of a run is a point to crash at; the events that this object is
    given are counted, of all runs. What was done and not yet recorded is lost with a crash `before` the record of it.
    `crash` is what happens there; by default the process is killed, with no time to tidy up. Start the run in a process
    of its own, with `inner` a journal in a file, and resume it in another.
    """

    def __init__(
        self,
        inner: Journal,
        *,
        after: int | None = None,
        before: int | None = None,
        crash: Callable[[], None] | None = None,
    ) -> None:
        point = after if before is None else before
        if point is None or (after is not None and before is not None):
            raise ValueError("give either `after` or `before`: the number of an event")

        if point < 1:
            raise ValueError(f"there is no event {point} to crash at: events count from 1")

        self.inner, self.after, self.before, self.appended = inner, after, before, 0
        self._crash = crash or _kill_this_process

    async def append(self, run: str, events: Sequence[Event], *, durable: bool = False) -> None:
        for event in events:
            if self.appended + 1 == self.before:
                self._crash()

            await self.inner.append(run, [event], durable=durable)
            self.appended += 1
            if self.appended == self.after:
                self._crash()

    async def read(self, run: str) -> list[Event]:
        return await self.inner.read(run)

    async def runs(
        self,
        *,
        status: Collection[str] = (),
        workflow: str = "",
        before: int | None = None,
        after: int | None = None,
        limit: int | None = None,
        pruned: bool = False,
    ) -> list[RunRow]:
        return await self.inner.runs(
            status=status, workflow=workflow, before=before, after=after, limit=limit, pruned=pruned
        )

    async def head(self, run: str) -> str:
        return await self.inner.head(run)

    async def trail(self, run: str) -> Trail | None:
        return await self.inner.trail(run)

    async def claim(self, run: str, owner: str, until: int) -> Lease | None:
        return await self.inner.claim(run, owner, until)

    async def renew(self, leases: Sequence[tuple[str, str]], until: int) -> list[Lease]:
        return await self.inner.renew(leases, until)

    async def release(self, run: str, owner: str) -> None:
        await self.inner.release(run, owner)

    async def holder(self, run: str) -> Lease | None:
        return await self.inner.holder(run)

    async def send(self, run: str, body: Any) -> int:
        return await self.inner.send(run, body)

    async def requested(self) -> Collection[str]:
        return await self.inner.requested()

    async def requests(self, run: str) -> list[Request]:
        return await self.inner.requests(run)

    async def take(self, run: str, request: int) -> bool:
        return await self.inner.take(run, request)

    async def deliveries(self, place: str, run: str = "") -> list[Delivered]:
        return await self.inner.deliveries(place, run)

    async def note_delivery(self, delivered: Delivered) -> None:
        await self.inner.note_delivery(delivered)

    async def prune(self, runs: Sequence[str]) -> Pruned:
        return await self.inner.prune(runs)

    async def close(self) -> None:
        await self.inner.close()


def _kill_this_process() -> None:
    # Not an exit: nothing is flushed, closed or caught.
    os.kill(os.getpid(), signal.SIGKILL)
