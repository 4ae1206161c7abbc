"""`run`, `resume` and `approve`: start a run or take one up, show it, and end with the right exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_type_hints

from rich.markup import escape

from agentflow import app
from agentflow.cli.output import (
    EXIT_CODES,
    FAILED,
    citations_of,
    err,
    out,
    plain,
    print_failure,
    print_json,
    print_output,
)
from agentflow.cli.view import RunView, usage_note
from agentflow.events import RunStarted
from agentflow.exceptions import InputInvalid, ProjectError
from agentflow.journal import Journal
from agentflow.models.catalog import choose
from agentflow.project import Project, find_project, load_file
from agentflow.workflow import Workflow


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is shown and what it uses."""

    as_json: bool = False
    model: str | None = None
    interactive: bool = True


def read_input(workflow: Workflow[Any, Any], words: Sequence[str], file: Path | None) -> Any:
    """The input of a run, from a JSON file, `key=value` words, or one word of plain text."""
    given: Any = _from_file(file) if file is not None else {}
    pairs = [word for word in words if "=" in word]
    texts = [word for word in words if "=" not in word]
    if workflow.takes is str:
        return " ".join(words).removeprefix("text=") or given

    if texts:
        raise InputInvalid(
            f"workflow `{workflow.name}`", [f"`{texts[0]}` is no `key=value`"], hint='write question="..."'
        )

    if not pairs:
        return given

    keys = [pair.partition("=")[0] for pair in pairs]
    if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise InputInvalid(f"workflow `{workflow.name}`", [f"`{twice[0]}` is given twice"])

    hints = _hints(workflow.takes)
    values = {key: _value(text, hints.get(key)) for key, _, text in (pair.partition("=") for pair in pairs)}
    return {**cast("dict[str, Any]", given), **values} if isinstance(given, dict) else values


def _from_file(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(f"there is no file `{file}`") from None
    except (ValueError, OSError) as error:
        raise ProjectError(f"`{file}` is not JSON: {error}") from None


def _hints(type_: Any) -> Mapping[str, Any]:
    try:
        return get_type_hints(type_)
    except (TypeError, NameError):
        return {}


def _value(text: str, hint: Any) -> Any:
    if hint is str:
        return text

    try:
        return json.loads(text)
    except ValueError:
        return text


def find_workflow(name: str | None, file: str | None) -> tuple[Project | None, Workflow[Any, Any]]:
    """The workflow that a command names, by name in the project or by file."""
    try:
        project = find_project()
    except ProjectError:
        if file is None:
            raise

        project = None

    if file is not None:
        return project, load_file(file, project)

    assert project is not None
    if name is None:
        raise ProjectError("no workflow is named", hint=f"there are: {', '.join(project.names()) or 'none'}")

    return project, project.load(name)


def settings_for(
    project: Project | None, journal: Journal, options: Options, view: RunView | None
) -> app.Settings:
    """What a run uses: journal, model, observers."""
    setting = cast("str | None", project.settings.get("model")) if project is not None else None
    return app.Settings(
        journal=journal,
        model=str(choose(options.model, setting, os.environ)),
        root=project.root if project is not None else Path.cwd(),
        observers=[view] if view is not None else [],
        approver=_asker(view) if options.interactive and view is not None and sys.stdin.isatty() else None,
    )


def _asker(view: RunView) -> app.Approver:
    async def ask(pending: app.Pending) -> app.Decision | None:
        with view.paused():
            return await _ask_person(pending)

    return ask


async def _ask_person(pending: app.Pending) -> app.Decision | None:
    out.print(
        f"\n[bold cyan]{escape(pending.prompt)}[/]  [dim]{escape(pending.step)} {pending.digest[:19]}[/]"
    )
    out.print(escape(json.dumps(pending.subject, ensure_ascii=False, indent=2)))
    answer = await _typed("approve? [y]es, [n]o, anything else to decide later: ")
    if answer.strip().lower()[:1] not in ("y", "n"):
        return None

    return app.Decision(approved=answer.strip().lower().startswith("y"))


async def _typed(question: str) -> str:
    """A line from the terminal; a cancelled question leaves nothing behind that would take the next line."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()
    sys.stdout.write(question)
    sys.stdout.flush()

    def read() -> None:
        if not line.done():
            line.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin, read)
    try:
        return await line
    finally:
        loop.remove_reader(sys.stdin)


Starter = Callable[[app.Settings], Any]


def perform(project: Project | None, options: Options, start: Starter) -> int:
    """Start a run with `start(settings)`, show it to its end, and give the exit code."""
    return asyncio.run(_perform(project, options, start))


async def _perform(project: Project | None, options: Options, start: Starter) -> int:
    journal = (project or Project(root=Path.cwd())).journal()
    view = None if options.as_json else RunView(err, live=err.is_terminal and not options.as_json)
    exporter = _exporter()
    try:
        settings = settings_for(project, journal, options, view)
        run = start(settings)
        run = await run if asyncio.iscoroutine(run) else run
        if exporter is not None:
            exporter.watch(run)

        result = await _watched(run, view)
    finally:
        await journal.close()

    delivery = exporter.close() if exporter is not None else ""
    report(result, options, delivery)
    return EXIT_CODES.get(result.status, FAILED)


def _exporter() -> Any:
    if not any(os.environ.get(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT") for kind in ("", "TRACES_")):
        return None

    from agentflow.cli.delivery import Delivering  # loads OpenTelemetry, only where it is asked for

    return Delivering(os.environ)


async def _watched(run: app.Run[Any], view: RunView | None) -> app.Result[Any]:
    loop = asyncio.get_running_loop()
    task = run.start()

    def interrupt(name: str) -> None:
        # The first signal leaves the run resumable; a second one does not wait for that.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

        run.interrupt(name)

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, interrupt, signal.Signals(number).name)

    if view is None:
        return await task

    with view:
        return await task


def report(result: app.Result[Any], options: Options, delivery: str) -> None:
    """Show how a run ended: the answer, the error or what it waits for, and where to look."""
    if options.as_json:
        print_json(result_data(result))
        return

    err.print()
    for pending in result.pending:
        out.print(
            f"[bold cyan]{escape(pending.prompt)}[/]  [dim]{escape(pending.step)} {pending.digest[:19]}[/]"
        )
        out.print(escape(json.dumps(pending.subject, ensure_ascii=False, indent=2)))

    if result.status == "done":
        print_output(result.output)
    elif result.error is not None:
        print_failure(result.step, result.error)

    usage = usage_note(result.usage)
    words = [f"run {result.run_id}", result.status, f"{result.seconds:.1f} s", usage]
    err.print("\n[dim]" + escape("  ".join(filter(None, words))) + "[/]")
    err.print(f"[dim]{escape(_next_line(result))}[/]")
    if delivery:
        err.print(f"[dim]{escape(delivery)}[/]")


def _next_line(result: app.Result[Any]) -> str:
    run = result.run_id
    if result.status == "waiting":
        steps = ", ".join(p.step for p in result.pending)
        return f"waits for a person: {steps}\nanswer: agentflow approve {run} --yes   or   agentflow approve {run} --no"

    if result.status in ("interrupted", "failed"):
        return f"look: agentflow show {run}    go on: agentflow resume {run}"

    return f"look: agentflow show {run}    head {result.head[:16]}"


def result_data(result: app.Result[Any]) -> dict[str, Any]:
    """A result as the JSON that `run --json` prints."""
    return {
        "run_id": result.run_id,
        "status": result.status,
        "output": plain(result.output),
        "citations": plain(citations_of(result.output)),
        "usage": dict(result.usage),
        "trace_id": result.trace_id,
        "head": result.head,
        "seconds": round(result.seconds, 3),
        "step": result.step,
        "error": plain(result.error),
        "pending": plain(list(result.pending)),
    }


def run_workflow(
    name: str | None,
    file: str | None,
    words: Sequence[str],
    input_file: Path | None,
    run_id: str | None,
    options: Options,
) -> int:
    """Start a new run and see it through; gives the exit code."""
    project, workflow = find_workflow(name, file)
    value = app.coerce_input(workflow, read_input(workflow, words, input_file))
    attributes = {"workflow_file": file} if file else {}

    async def start(settings: app.Settings) -> app.Run[Any]:
        if run_id is not None and settings.journal is not None and await settings.journal.read(run_id):
            raise ProjectError(
                f"there is a run `{run_id}` already", hint=f"go on with it: agentflow resume {run_id}"
            )

        return app.run(workflow, value, run_id=run_id, attributes=attributes, settings=settings)

    return perform(project, options, start)


def resume_run(run_id: str, file: str | None, options: Options) -> int:
    """Take up a run with the definition that it names."""
    project, workflow, model = _definition_of(run_id, file)
    options = replace(options, model=options.model or model)
    return perform(project, options, lambda settings: app.resume(workflow, run_id, settings=settings))


def answer_run(
    run_id: str, step: str | None, yes: bool | None, comment: str, file: str | None, options: Options
) -> int:
    """Answer an approval of a run and let it go on."""
    if yes is None:
        raise ProjectError("no single answer is given", hint="add `--yes` or `--no`")

    project, workflow, model = _definition_of(run_id, file)
    options = replace(options, model=options.model or model)

    async def start(settings: app.Settings) -> app.Run[Any]:
        run = await app.resume(workflow, run_id, settings=settings)
        run.decide(step, app.Decision(approved=yes, comment=comment))
        return run

    return perform(project, options, start)


def _definition_of(run_id: str, file: str | None) -> tuple[Project | None, Workflow[Any, Any], str]:
    """The project and the workflow of a run in the journal, and the model that it used."""
    started = asyncio.run(_first_event(run_id))
    project, workflow = find_workflow(started.workflow, file or started.attributes.get("workflow_file"))
    return project, workflow, started.model


async def _first_event(run_id: str) -> RunStarted:
    journal = current_journal()
    try:
        event = (await app.load(journal, run_id))[0]
    finally:
        await journal.close()

    assert isinstance(event, RunStarted)
    return event


def current_journal() -> Journal:
    """The journal of the project around the current folder, or of the environment."""
    try:
        return find_project().journal()
    except ProjectError:
        # A workflow file may be run outside of a project; looking for runs must not make a journal.
        if not (Path.cwd() / "traces" / "journal.db").is_file() and "AGENTFLOW_JOURNAL" not in os.environ:
            raise

        return Project(root=Path.cwd()).journal()
