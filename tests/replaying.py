"""The runs that a test makes, executed again from their records at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from agentflow.app.replaying import Replayed, replay_program
from agentflow.engine.notices import Delta
from agentflow.engine.runner import Runner
from agentflow.engine.state import State
from agentflow.events import Event, decode, encode


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


def replayed(collected: Collected) -> Replayed[object]:
    """What comes of executing a collected run again, from its events as they are written."""
    events = [decode(encode(event)) for event in collected.all()]
    runner = collected.runner
    return asyncio.run(replay_program(runner.program, runner.contents, events, root=runner.root))
