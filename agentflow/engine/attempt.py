"""One attempt of a step whose code is executed again: what it has come to so far, and what it waits to be given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agentflow.engine.record import SCOPES
from agentflow.engine.recorder import Wanted
from agentflow.events import ArtifactKept, Event, OperationFinished, OperationStarted, Payload

T = TypeVar("T")
# Turns of the loop that code gets to go on by itself before anybody waits for it.
TURNS = 12
# Seconds that code which waits for a call gets to ask for another one: where the record shows one call at a time, and else.
ALONE, TOGETHER = 0.25, 2.0
# Seconds that code gets which waits for nothing that is recorded: it computes, or sleeps.
AT_WORK = 60.0
# Seconds by which patience is counted, and how long it lasts at most where the process hardly gets to run.
SLICE, STARVED = 0.025, 20.0


@dataclass(eq=False, slots=True)
class Asked:
    """What the code of a step wants to do: `begun` is the recorded operation that it turned out to be."""

    wanted: Wanted
    begun: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    outcome: asyncio.Future[OperationFinished] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def is_scope(self) -> bool:
        return self.wanted.is_scope


@dataclass(eq=False, slots=True)
class Said:
    """What the code of a step had to say, as the fields of an event; `taken` once the record has come to it."""

    kind: type[Event]
    fields: dict[str, Any]
    taken: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Attempt:
    """What one attempt of an activation wants and says while its record, `events`, is gone through."""

    def __init__(self, activation: str, events: Sequence[Event]) -> None:
        self.id = activation
        self.task: asyncio.Task[None] | None = None
        self.asked: list[Asked] = []
        self.said: list[Said] = []
        # Calls and scopes that began, and have not ended; calls whose end was recorded as a cancellation.
        self.open: dict[str, Asked] = {}
        self.cut_off: list[Asked] = []
        # What was done inside of calls, which are not made again.
        self.inside: set[str] = set()
        self.files = Files(events)
        self.output: Payload | None = None
        self.moved = asyncio.Event()
        self.is_stopped = False
        self.is_alone = not _overlap(events)

    @property
    def is_over(self) -> bool:
        return self.task is None or self.task.done()

    @property
    def is_in_a_call(self) -> bool:
        """Whether something may be recorded that was done inside of a call."""
        return any(not asked.is_scope for asked in self.open.values())

    def ended(self, task: asyncio.Task[None]) -> None:
        """Its task is done."""
        del task
        self.moved.set()

    def ask(self, wanted: Wanted) -> Asked:
        """The code wants to do something."""
        if self.is_stopped:
            raise asyncio.CancelledError

        asked = Asked(wanted)
        self.asked.append(asked)
        self.moved.set()
        return asked

    def say(self, kind: type[Event], fields: dict[str, Any]) -> Said:
        """The code has something to say."""
        said = Said(kind, fields)
        if self.is_stopped:
            said.taken.set_result(None)  # nobody listens, and nobody is to wait for that
            return said

        self.said.append(said)
        self.moved.set()
        return said

    async def until(self, ready: Callable[[], T | None]) -> T | None:
        """What `ready` finds, once the code has come to it; None where it does not."""
        for _ in range(TURNS):
            if (found := ready()) is not None:
                return found

            if self.is_over:
                return None

            await asyncio.sleep(0)

        while True:
            self.moved.clear()
            if (found := ready()) is not None or self.is_over:
                return found

            if not await self._has_moved():
                return ready()

    async def _has_moved(self) -> bool:
        """Whether the code does anything within our patience; time in which this process was kept from running is not counted."""
        loop = asyncio.get_running_loop()
        left = self._patience()
        end = loop.time() + max(left, STARVED)
        while left > 0 and loop.time() < end:
            began = loop.time()
            try:
                async with asyncio.timeout(SLICE):
                    await self.moved.wait()
            except TimeoutError:
                # A slice that took twice as long says that others had the processor.
                left -= SLICE if loop.time() - began < 2 * SLICE else 0
            else:
                return True

        return False

    def _patience(self) -> float:
        if not (self.asked or self.cut_off or self.open):
            return AT_WORK

        return ALONE if self.is_alone else TOGETHER

    async def settle(self) -> None:
        """Let the code go on where more than one thing is under way, so that what follows comes in its order."""
        for _ in range(0 if self.is_alone else TURNS):
            await asyncio.sleep(0)

    def take(self, said: Said) -> None:
        """The record has come to what was said."""
        self.said.remove(said)
        if not said.taken.done():
            said.taken.set_result(None)

    async def stop(self) -> None:
        """End it: the process was gone, or the step was stopped, at this point of the record."""
        # Up to where it waits for something: a task that is stopped before it has begun leaves its coroutine behind.
        for _ in range(0 if self.is_over else TURNS):
            await asyncio.sleep(0)

        self.is_stopped = True
        for asked in (*self.asked, *self.open.values(), *self.cut_off):
            asked.begun.cancel()
            asked.outcome.cancel()

        for said in self.said:
            said.taken.cancel()

        if self.task is not None and not self.task.done():
            self.task.cancel()
            # Code that does not let itself be stopped must not hold up what follows.
            await asyncio.wait([self.task], timeout=1.0)


class Files:
    """The files that an attempt kept, by its record: each is given to the code that keeps the same one again."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.left: list[ArtifactKept] = []
        # Those that may have been kept inside of a call, which is not made again.
        self._in_calls: set[int] = set()
        self.fault: tuple[ArtifactKept | None, str, str] | None = None
        under_way: set[str] = set()
        for event in events:
            match event:
                case OperationStarted() if event.kind in ("chat", "tool"):
                    under_way.add(event.operation)
                case OperationFinished():
                    under_way.discard(event.operation)
                case ArtifactKept():
                    self.left.append(event)
                    if under_way:
                        self._in_calls.add(event.seq)
                case _:
                    pass

    def keep(self, name: str, digest: str) -> str | None:
        """The path under which the file was kept; None, and a fault, where none is recorded that is the same."""
        found = next((e for e in self.left if (e.name, e.digest) == (name, digest)), None)
        if found is not None:
            self.left.remove(found)
            return found.path

        alike = next((event for event in self.left if event.name == name), None)
        self.fault = self.fault or (alike, name, digest)
        return None

    def missing(self) -> ArtifactKept | None:
        """A file that the step's own code kept and does not keep any more."""
        return next((event for event in self.left if event.seq not in self._in_calls), None)


def _overlap(events: Iterable[Event]) -> bool:
    """Whether calls of an attempt were ever under way at the same time."""
    under_way: set[str] = set()
    for event in events:
        if isinstance(event, OperationStarted) and event.kind not in SCOPES:
            under_way.add(event.operation)
            if len(under_way) > 1:
                return True
        elif isinstance(event, OperationFinished):
            under_way.discard(event.operation)

    return False
