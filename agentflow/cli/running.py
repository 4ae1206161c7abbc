"""`run`, and what every command that drives a run does: show it, see it through, and end with the right exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from agentflow import app
from agentflow.cli.arguments import Options
from agentflow.cli.asking import asker
from agentflow.cli.definitions import find_workflow, located
from agentflow.cli.interrupts import interrupting
from agentflow.cli.output import EXIT_CODES, FAILED, err
from agentflow.cli.pending import Item, items_of
from agentflow.cli.reading import read_input
from agentflow.cli.reporting import report
from agentflow.cli.view import RunView
from agentflow.exceptions import ProjectError
from agentflow.journal import Journal
from agentflow.models.catalog import choose
from agentflow.project import Project
from agentflow.tracing.collector import service_name
from agentflow.workflow import Workflow

if TYPE_CHECKING:
    from agentflow.cli.telemetry import Telemetry

# Gives a run to see through, or the exit code where there is none.
Starter = Callable[[app.Settings], Awaitable[app.Run[Any] | int]]


def settings_for(
    project: Project | None, journal: Journal, options: Options, view: RunView | None = None
) -> app.Settings:
    """What a run uses: journal, model, prices, observers."""
    setting = cast("str | None", project.settings.get("model")) if project is not None else None
    return app.Settings(
        journal=journal,
        model=str(choose(options.model, setting, os.environ)),
        prices=project.prices if project is not None and "prices" in project.settings else {},
        root=project.root if project is not None else Path.cwd(),
        observers=[view] if view is not None else [],
        service=service_name(os.environ),
        heads=(project or Project(root=Path.cwd())).heads(),
        approver=asker(view) if options.interactive and view is not None and sys.stdin.isatty() else None,
    )


def perform(project: Project | None, options: Options, start: Starter) -> int:
    """Start a run with `start(settings)`, show it to its end, and give the exit code."""
    return asyncio.run(_perform(project, options, start))


async def _perform(project: Project | None, options: Options, start: Starter) -> int:
    journal = (project or Project(root=Path.cwd())).journal()
    view = None if options.as_json else RunView(err, live=err.is_terminal)
    try:
        settings = settings_for(project, journal, options, view)
        run = await start(settings)
        if isinstance(run, int):
            return run

        telemetry = await telemetry_of(run, project)
        # What steps print must not come between a reader and the one document on standard output.
        with redirect_stdout(sys.stderr) if options.as_json else nullcontext():
            result = await _watched(run, view)

        items = await waiting_items(run, journal)
        delivery = await telemetry.close(result.status) if telemetry is not None else ""
    finally:
        await journal.close()

    report(result, items, options, delivery, was_asked=settings.approver is not None)
    return EXIT_CODES.get(result.status, FAILED)


async def telemetry_of(run: app.Run[Any], project: Project | None) -> Telemetry | None:
    """What tells others of a run; None where nothing is said of telling any."""
    settings = project.settings if project is not None else {}
    told = ("OTEL_", "AGENTFLOW_LOG", "AGENTFLOW_METRICS")
    if not (settings.get("log") or settings.get("metrics") or any(n.startswith(told) for n in os.environ)):
        return None

    from agentflow.cli.telemetry import Telemetry

    telemetry = Telemetry(run, os.environ, settings, project.root if project is not None else Path.cwd())
    await telemetry.begin()
    return telemetry


async def waiting_items(run: app.Run[Any], journal: Journal) -> list[Item]:
    """What a run that stopped waits for people to say."""
    if run.runner.state.status != "waiting":
        return []

    return items_of(run.id, run.runner.waiting(), await journal.read(run.id))


async def _watched(run: app.Run[Any], view: RunView | None) -> app.Result[Any]:
    with interrupting(run.interrupt):
        if view is None:
            return await run.result()

        with view:
            view.take_up(run.runner.history)
            return await run.result()


def run_workflow(
    words: Sequence[str],
    file: str | None,
    input_file: str | None,
    run_id: str | None,
    options: Options,
) -> int:
    """Start a new run and see it through; gives the exit code."""
    name, rest = (words[0], words[1:]) if file is None and words else (None, words)
    project, workflow = find_workflow(name, file)
    if file is not None:
        rest = _without_name(workflow, words, input_file)

    value = app.coerce_input(workflow, read_input(workflow, rest, input_file))
    attributes = {"workflow_file": located(file)} if file else {}

    async def start(settings: app.Settings) -> app.Run[Any]:
        if run_id is not None and settings.journal is not None and await settings.journal.read(run_id):
            raise ProjectError(
                f"there is a run `{run_id}` already", hint=f"go on with it: agentflow resume {run_id}"
            )

        return app.run(workflow, value, run_id=run_id, attributes=attributes, settings=settings)

    return perform(project, options, start)


def _without_name(
    workflow: Workflow[Any, Any], words: Sequence[str], input_file: str | None
) -> Sequence[str]:
    """The words of the input: a file names the workflow already, but people say its name as well."""
    is_alone = workflow.takes is str and len(words) == 1 and input_file is None
    return words[1:] if words[:1] == [workflow.name] and not is_alone else words
