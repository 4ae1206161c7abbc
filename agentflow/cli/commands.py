"""The commands of the launcher and their arguments; the work is done in the modules beside this one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from agentflow.cli.output import FAILED, INTERRUPTED, WRONG_USE, exit_code, print_error
from agentflow.exceptions import AgentflowError
from agentflow.version import VERSION

# Typer carries its own copy of Click; this is the base of what it raises for a wrong call, wherever that copy lies.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="agentflow",
    help="Orchestration for autonomous agents: checked before it runs, bounded while it runs, provable after.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else.")
]
File = Annotated[
    str | None,
    typer.Option("--workflow-file", help="A definition outside of `workflows/`: path.py:name or path.yaml."),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="`embedded`, `NAME`, `responses/NAME` or `chat/NAME`, the last two also with `@http://host/v1`."
    ),
]
NoInput = Annotated[
    bool, typer.Option("--no-input", help="Never ask on the terminal; exit with 3 where a person is needed.")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's id; see `agentflow runs`.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agentflow {VERSION}")
        raise typer.Exit


@app.callback()
def launcher(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Orchestration for autonomous agents: checked before it runs, bounded while it runs, provable after."""


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="DIR")], as_json: AsJson = False) -> None:
    """Write a small project: workflows, tools and a place for traces."""
    from agentflow.cli.starting import write_project

    raise typer.Exit(write_project(folder, as_json=as_json))


@app.command()
def check(
    workflow: Annotated[str | None, typer.Argument(metavar="[WORKFLOW]")] = None,
    workflow_file: File = None,
    as_json: AsJson = False,
) -> None:
    """Check one workflow, or all of the project, without running anything."""
    from agentflow.cli.checking import check_workflows

    raise typer.Exit(check_workflows(workflow, workflow_file, as_json=as_json))


@app.command()
def draw(
    workflow: Annotated[str | None, typer.Argument(metavar="[WORKFLOW]")] = None,
    workflow_file: File = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file ending in .mmd, .svg or .png; else Mermaid is printed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a workflow as Mermaid, SVG or PNG."""
    from agentflow.cli.picturing import draw_workflow

    raise typer.Exit(draw_workflow(workflow, workflow_file, output, as_json=as_json))


@app.command()
def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORKFLOW [KEY=VALUE]...", help="The workflow, then its input."),
    ] = None,
    input_file: Annotated[Path | None, typer.Option("--input", help="A JSON file with the input.")] = None,
    model: Model = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="A name for the run; made up if not given.")
    ] = None,
    workflow_file: File = None,
    no_input: NoInput = False,
    as_json: AsJson = False,
) -> None:
    """Run a workflow: agentflow run research question="How many days of leave do I have?"."""
    from agentflow.cli.running import Options, run_workflow

    named = list(words or [])
    name = named.pop(0) if workflow_file is None and named else None
    options = Options(as_json=as_json, model=model, interactive=not no_input)
    raise typer.Exit(run_workflow(name, workflow_file, named, input_file, run_id, options))


@app.command()
def resume(
    run: RunName,
    model: Model = None,
    workflow_file: File = None,
    no_input: NoInput = False,
    as_json: AsJson = False,
) -> None:
    """Take up a run that was interrupted, failed, or cut off with its process."""
    from agentflow.cli.running import Options, resume_run

    options = Options(as_json=as_json, model=model, interactive=not no_input)
    raise typer.Exit(resume_run(run, workflow_file, options))


@app.command()
def approve(
    run: RunName,
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="Which one, where several wait.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve.")] = False,
    no: Annotated[bool, typer.Option("--no", help="Refuse.")] = False,
    comment: Annotated[str, typer.Option(help="Why; it is kept in the trail.")] = "",
    workflow_file: File = None,
    as_json: AsJson = False,
) -> None:
    """Answer what a run waits for, and let it go on."""
    from agentflow.cli.running import Options, answer_run

    raise typer.Exit(
        answer_run(
            run,
            step,
            yes if yes != no else None,
            comment,
            workflow_file,
            Options(as_json=as_json, interactive=False),
        )
    )


@app.command()
def runs(
    limit: Annotated[int, typer.Option(help="How many to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the runs in the journal, the newest first."""
    from agentflow.cli.showing import list_runs

    raise typer.Exit(list_runs(limit, as_json=as_json))


@app.command()
def show(run: RunName, as_json: AsJson = False) -> None:
    """Show a run's trace as a tree with time bars."""
    from agentflow.cli.showing import show_run

    raise typer.Exit(show_run(run, as_json=as_json))


def run_launcher() -> None:
    """Run the command line; errors are told in words, never as a traceback."""
    as_json = "--json" in sys.argv[1:]
    try:
        code = app(standalone_mode=False)
    except AgentflowError as error:
        print_error(error, as_json=as_json)
        code = exit_code(error)
    except UsageError as error:
        if not str(error):  # the help was asked for by giving no command
            sys.exit(WRONG_USE)

        print_error(AgentflowError(str(error), hint="see `agentflow --help`"), as_json=as_json)
        code = WRONG_USE
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as `head` does.
        sys.stderr.close()
        code = FAILED

    except Exception as error:  # a fault of ours: said in a line, with the way to the rest of it
        if os.environ.get("AGENTFLOW_DEBUG"):
            raise

        fault = AgentflowError(
            f"unexpected {type(error).__name__}: {error}", hint="AGENTFLOW_DEBUG=1 shows where"
        )
        print_error(fault, as_json=as_json)
        code = FAILED

    sys.exit(code if isinstance(code, int) else 0)
