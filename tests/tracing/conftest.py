"""What the tests of tracing share: finding a span by what it shows, and a run with its events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agentflow import Decision, MemoryJournal, Settings, Workflow, run
from agentflow.app import Pending, Result
from agentflow.events import Event
from agentflow.tracing.spans import SpanData, SpanEvent, spans_of


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A run that is over or waits, and its spans."""

    events: Sequence[Event]
    spans: Sequence[SpanData]
    result: Result[Any]

    def one(self, name: str, **attributes: Any) -> SpanData:
        """The one span of this name with these attributes, written `step_attempt` for `agentflow.step.attempt`."""
        wanted = {f"agentflow.{key.replace('_', '.')}": value for key, value in attributes.items()}
        found = [s for s in self.spans if s.name == name and wanted.items() <= s.attributes.items()]
        assert len(found) == 1, f"{len(found)} spans `{name}` {wanted}: {[s.name for s in self.spans]}"
        return found[0]

    def tree(self) -> list[str]:
        """The names of all spans from the root down, indented, in the order in which they began."""
        lines: list[str] = []

        def show(parent: int | None, depth: int) -> None:
            for span in sorted((s for s in self.spans if s.parent_id == parent), key=lambda s: s.start):
                lines.append("  " * depth + span.name)
                show(span.span_id, depth + 1)

        show(None, 0)
        return lines


def traced(events: Sequence[Event], result: Any = None) -> Traced:
    return Traced(events=events, spans=spans_of(events), result=result)


def told(span: SpanData, name: str) -> SpanEvent:
    return next(event for event in span.events if event.name == name)


def names(span: SpanData) -> list[str]:
    return [event.name.removeprefix("agentflow.") for event in span.events]


def links(span: SpanData) -> dict[str, int]:
    return {str(link.attributes["agentflow.link"]): link.span_id for link in span.links}


class Tracing:
    """Runs workflows in memory; approvals are given or refused by `ada`."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.approved = True

    async def __call__(self, workflow: Workflow[Any, Any], value: Any, **settings: Any) -> Traced:
        given = Settings(journal=self.journal, approver=self._approve, **settings)
        result = await run(workflow, value, run_id=f"{workflow.name}-1", settings=given).result()
        return await self.again(result)

    async def again(self, result: Result[Any]) -> Traced:
        """What the journal holds of a run by now."""
        events = await self.journal.read(result.run_id)
        return Traced(events=events, spans=spans_of(events), result=result)

    async def _approve(self, pending: Pending) -> Decision:
        return Decision(approved=self.approved, by="ada", comment="as discussed")


@pytest.fixture
def tracing() -> Tracing:
    return Tracing()
