"""Executing a recorded run again, with all that came from outside served from its record."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from agentflow.app.compose import compile_workflow
from agentflow.app.offline import no_network
from agentflow.app.resuming import load
from agentflow.engine.contents import Sources
from agentflow.engine.divergence import Divergence
from agentflow.engine.graph import Program
from agentflow.engine.replaying import Replayer
from agentflow.events import Event, RunStarted
from agentflow.exceptions import ReplayDiverged
from agentflow.journal import Journal
from agentflow.secrets import stand_ins
from agentflow.spec import to_data
from agentflow.workflow import Workflow

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed(Generic[T]):
    """What came of executing a run again: the `same` path, or the first `divergence` from it.

    `events` are the events as far as it went; `status` and `output` are how the run stood there. `steps` counts the attempts
    of steps that were executed, `calls` the calls that were served from the record, and `taken` the outputs that were
    taken as recorded, as their definition is not at hand any more (the run was moved onto another one).
    """

    run_id: str
    divergence: Divergence | None
    events: Sequence[Event]
    status: str
    output: T | None
    steps: int
    calls: int
    taken: int

    @property
    def same(self) -> bool:
        return self.divergence is None

    def unwrap(self) -> Replayed[T]:
        """Itself; raises `ReplayDiverged` where it went another way."""
        if self.divergence is not None:
            raise ReplayDiverged(
                f"run `{self.run_id}` went another way: {self.divergence}", hint=self.divergence.hint
            )

        return self


async def replay(
    workflow: Workflow[Any, T], journal: Journal | None, run_id: str, *, root: Path | None = None
) -> Replayed[T]:
    """Execute a run of a journal again with `workflow`; nothing is written, called, asked or waited for.

    The code of steps is executed. Outcomes of models and tools, answers of people, points in time, random numbers and the
    order in which things ended are the record's. Raises `UnknownName` where there is no such run.
    """
    return await replay_events(workflow, await load(journal, run_id), root=root)


async def replay_events(
    workflow: Workflow[Any, T], events: Sequence[Event], *, root: Path | None = None
) -> Replayed[T]:
    """Execute the run that `events` are of again; see `replay`."""
    program = compile_workflow(workflow)
    return await replay_program(program, workflow.contents, events, root=root)


async def replay_program(
    program: Program, contents: Mapping[str, Sources], events: Sequence[Event], *, root: Path | None = None
) -> Replayed[Any]:
    """Execute a run again, with a workflow as it was compiled; see `replay`."""
    started = events[0]
    assert isinstance(started, RunStarted)
    pools: list[Any] = []

    def pool() -> Any:
        pools.append(_pool(program, events))
        return pools[-1]

    objects = {"models": pool}
    replayer = Replayer(program, started.run, root=root or Path.cwd(), contents=contents, objects=objects)
    with no_network(), stand_ins():
        divergence = await replayer.replay(events)

    for made in pools:
        await made.aclose()

    state = replayer.state
    return Replayed(
        run_id=started.run,
        divergence=divergence,
        events=events[: replayer.seq],
        status=state.status,
        output=None if state.output is None else state.output.value(program.gives),
        steps=replayer.executed,
        calls=replayer.served,
        taken=replayer.taken,
    )


def _pool(program: Program, events: Sequence[Event]) -> Any:
    from agentflow.models.replayed import RecordedPool  # loads the SDK

    return RecordedPool(os.environ, events, {*_tools(program), *_asked(to_data(program.spec))})


def _tools(program: Program) -> Iterator[str]:
    """The names of the tools of a definition, also of workflows inside."""
    for work in program.work:
        yield from work.tools
        if work.child is not None:
            yield from _tools(work.child)


def _asked(spec: Any) -> Iterator[str]:
    """The names that agents have as tools of others."""
    if isinstance(spec, dict):
        for agent in spec.get("agents_as_tools") or ():
            yield re.sub(r"[^a-zA-Z0-9_-]+", "_", str(agent["name"]))

        for value in spec.values():
            yield from _asked(value)
    elif isinstance(spec, list | tuple):
        for value in spec:
            yield from _asked(value)
