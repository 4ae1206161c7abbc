"""Arguments that several commands take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

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
Migrate = Annotated[
    bool, typer.Option("--migrate", help="Go on with the definition as it is now, if that can be.")
]
NoInput = Annotated[
    bool, typer.Option("--no-input", help="Never ask on the terminal; exit with 3 where a person is needed.")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's id; see `agentflow runs`.")]
Comment = Annotated[str, typer.Option(help="Why; it is kept in the trail.")]
Statuses = Annotated[
    list[str] | None,
    typer.Option("--status", metavar="STATUS", help="Runs of this status; may be given several times."),
]
OfWorkflow = Annotated[str, typer.Option("--workflow", metavar="NAME", help="Runs of this workflow.")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is shown and what it uses."""

    as_json: bool = False
    model: str | None = None
    interactive: bool = True
