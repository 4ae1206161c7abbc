"""The commands that send traces away and get them back, and their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentflow.cli.arguments import AsJson, RunName


def audit_export(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="The run's id.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Each run of the journal.")] = False,
    pending: Annotated[
        bool, typer.Option("--pending", help="What the collector was to get of runs, and has not yet.")
    ] = False,
    otlp: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="A collector (http://localhost:4318); else that of the environment."
        ),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A file to write OTLP/JSON to, instead.")] = None,
    content: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="How much is told: none, digests, redacted or full.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send the spans of runs to a collector again, the same as before, or write them to a file."""
    from agentflow.cli.exporting import Export, export

    wanted = Export(run=run, is_for_all=every, is_pending=pending, otlp=otlp, file=file, content=content)
    raise typer.Exit(export(wanted, as_json=as_json))


Jaeger = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The page of Jaeger; else AGENTFLOW_JAEGER, or http://localhost:16686."),
]
trace = typer.Typer(help="The traces of runs in Jaeger.", no_args_is_help=True)


@trace.command("open")
def trace_open(
    run: RunName,
    jaeger: Jaeger = None,
    quiet: Annotated[bool, typer.Option("--print", help="Only print the address.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the address of a run's trace in Jaeger, and open it where there is a browser."""
    from agentflow.cli.tracing import open_trace

    raise typer.Exit(open_trace(run, jaeger, is_quiet=quiet, as_json=as_json))


@trace.command("pull")
def trace_pull(
    trace_id: Annotated[str, typer.Argument(metavar="TRACE", help="A trace id, or the id of its run.")],
    jaeger: Jaeger = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file to write it to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read a trace back from Jaeger, as OTLP/JSON."""
    from agentflow.cli.tracing import pull_trace

    raise typer.Exit(pull_trace(trace_id, jaeger, output, as_json=as_json))
