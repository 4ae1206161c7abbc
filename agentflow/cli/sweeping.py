"""`resume --all`: take up each run that its process left, one line a run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentflow import app
from agentflow.app.resuming import definition_of as followed
from agentflow.cli.arguments import Options
from agentflow.cli.definitions import Definition, definition_of, opened, project_here
from agentflow.cli.interrupts import interrupting
from agentflow.cli.output import DONE, FAILED, INTERRUPTED, WAITING, count, err, escape, out, print_json
from agentflow.cli.pending import Item
from agentflow.cli.running import settings_for, telemetry_of, waiting_items
from agentflow.events import Event, RunInterrupted, RunPaused, RunResumed, StepFinished
from agentflow.exceptions import AgentflowError, JournalError, RunBusy
from agentflow.journal import Journal, RunRow

LEFT = ("open", "interrupted", "waiting", "running")
# A run that was taken up so often without finishing a step may be what ends its processes.
TRIES = 5
MARKS = {"done": "[green]✓[/]", "failed": "[red]✗[/]", "rejected": "[red]✗[/]", "error": "[red]✗[/]"}
WORDS = {"waiting": "waiting for a person", "busy": "driven by another process"}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one run: how it ended, or `busy`, `passed over` or `error`, and why."""

    row: RunRow
    status: str
    why: str = ""
    is_taken: bool = False
    seconds: float = 0.0
    pending: Sequence[Item] = ()

    def data(self) -> dict[str, Any]:
        """The outcome as JSON data."""
        return {
            "run_id": self.row.run,
            "workflow": self.row.workflow,
            "before": self.row.status,
            "status": self.status,
            "why": self.why,
            "taken_up": self.is_taken,
            "seconds": round(self.seconds, 3),
            "pending": [item.data() for item in self.pending],
        }


def resume_all(parallel: int | None, options: Options) -> int:
    """Take up all runs that were left, `parallel` at a time; gives the exit code."""
    return asyncio.run(_resume_all(parallel or 4, options))


async def _resume_all(parallel: int, options: Options) -> int:
    async with opened(read_only=True) as reading:
        rows = await reading.runs(status=LEFT)

    sweep = Sweep(options=options)
    if rows:
        async with opened() as journal:
            with interrupting(sweep.interrupt):
                turns = asyncio.Semaphore(parallel)
                # The oldest first.
                await asyncio.gather(*(sweep.take(row, journal, turns) for row in reversed(rows)))

    sweep.report()
    return sweep.exit_code()


@dataclass(kw_only=True)
class Sweep:
    """The taking up of many runs: those under way, and what became of the others."""

    options: Options
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    going: list[app.Run[Any]] = field(default_factory=list[app.Run[Any]])
    notes: set[str] = field(default_factory=set[str])
    stopped: str = ""

    def interrupt(self, reason: str) -> None:
        """Stop the runs under way so that they can be resumed, and take up no more."""
        self.stopped = reason
        for run in self.going:
            run.interrupt(reason)

    async def take(self, row: RunRow, journal: Journal, turns: asyncio.Semaphore) -> None:
        """Take up one run, if that is to be done, and note what became of it."""
        async with turns:
            if self.stopped:
                return

            try:
                outcome = await self._taken(row, journal)
            except RunBusy as error:
                outcome = Outcome(row=row, status="busy", why=str(error))
            except JournalError as error:
                outcome = Outcome(row=row, status="error", why=str(error))
            except AgentflowError as error:  # a definition that is not there, not sound, or another one
                outcome = Outcome(row=row, status="passed over", why=str(error))
            except Exception as error:  # noqa: BLE001 - one run must not stop the others
                outcome = Outcome(row=row, status="error", why=f"{type(error).__name__}: {error}")

        self.outcomes.append(outcome)
        if not self.options.as_json:
            _print(outcome)

    async def _taken(self, row: RunRow, journal: Journal) -> Outcome:
        if row.status == "running":
            return Outcome(row=row, status="busy")

        events = await app.load(journal, row.run)
        definition = definition_of(events)
        if followed(events).digest != definition.workflow.digest:
            why = f"`{row.workflow}` is defined otherwise now: see `agentflow resume {row.run}`"
            return Outcome(row=row, status="passed over", why=why)

        options = replace(self.options, model=self.options.model or definition.model, interactive=False)
        settings = settings_for(definition.project or project_here(), journal, options)
        if row.status == "waiting" and not await app.is_due(definition.workflow, row.run, settings):
            return Outcome(row=row, status="waiting")

        if (tries := tries_of(events)) >= TRIES:
            why = f"it was taken up {tries} times since its last finished step: `agentflow resume {row.run}` takes it up all the same"
            return Outcome(row=row, status="passed over", why=why)

        return await self._resumed(definition, row, events, settings)

    async def _resumed(
        self, definition: Definition, row: RunRow, events: Sequence[Event], settings: app.Settings
    ) -> Outcome:
        run = await app.resume(definition.workflow, row.run, settings=settings)
        telemetry = await telemetry_of(run, definition.project)
        self._begin(run, row, events)
        try:
            result = await run.result()
        finally:
            self.going.remove(run)

        if telemetry is not None:
            self.notes.add(await telemetry.close(result.status))

        assert settings.journal is not None
        error = result.error
        return Outcome(
            row=row,
            status=result.status,
            why=f"{result.step}: {error.kind}: {error.message}" if error is not None else "",
            is_taken=True,
            seconds=result.seconds,
            pending=await waiting_items(run, settings.journal),
        )

    def _begin(self, run: app.Run[Any], row: RunRow, events: Sequence[Event]) -> None:
        self.going.append(run)
        if self.stopped:
            run.interrupt(self.stopped)

        if not self.options.as_json:
            finished = sum(isinstance(event, StepFinished) for event in events)
            text = (
                f"  {run.id}  {row.workflow}  was {row.status}, going on: {count(finished, 'finished step')}"
            )
            err.print(f"[dim]{escape(text)}[/]")

    def counts(self) -> dict[str, int]:
        """How many runs ended in which way."""
        return dict(Counter(outcome.status for outcome in self.outcomes))

    def report(self) -> None:
        """Sum up: in a line, or as the JSON document."""
        if self.options.as_json:
            print_json({"runs": [outcome.data() for outcome in self.outcomes], "summary": self.counts()})
            return

        said = ", ".join(f"{number} {WORDS.get(status, status)}" for status, number in self.counts().items())
        out.print(f"[bold]{count(len(self.outcomes), 'run')}[/]: {said}" if said else "no runs to resume")
        for note in sorted(filter(None, self.notes)):
            err.print(f"[dim]{escape(note)}[/]")

    def exit_code(self) -> int:
        """0 where none failed and none waits."""
        found = {outcome.status for outcome in self.outcomes}
        if self.stopped:
            return INTERRUPTED

        if found & {"failed", "rejected", "error"}:
            return FAILED

        return WAITING if "waiting" in found else DONE


def tries_of(events: Sequence[Event]) -> int:
    """How often a run was taken up since it finished a step, or stopped in good order, which its process survived."""
    tries = 0
    for event in reversed(events):
        if isinstance(event, StepFinished | RunPaused | RunInterrupted):
            break

        tries += isinstance(event, RunResumed)

    return tries


def _print(outcome: Outcome) -> None:
    mark = MARKS.get(outcome.status, "[yellow]·[/]")
    took = f"  [dim]{outcome.seconds:.1f} s[/]" if outcome.is_taken else ""
    why = outcome.why.splitlines()[0] if outcome.why else ""
    said = WORDS.get(outcome.status, outcome.status)
    line = f"{escape(outcome.row.run)}  {escape(outcome.row.workflow)}  {said}"
    out.print(f"{mark} {line}{f': {escape(why)}' if why else ''}{took}")
    for item in outcome.pending:
        out.print(f"[cyan]    {escape(item.answer)}[/]")
