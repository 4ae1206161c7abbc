"""`index`: the stores of documents that a project searches, and their arguments; the work is done in `storing`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentflow.cli.arguments import AsJson

index = typer.Typer(
    name="index",
    help="Stores of documents: add them, keep them in step with their folders, search them.",
    no_args_is_help=True,
)
Named = Annotated[
    list[str] | None, typer.Option("--store", metavar="NAME", help="Only this store; may be repeated.")
]


@index.command()
def add(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The store; all if not given.")] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Makes a new store of this folder.")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Of a new store: only such files, as `*.pdf`.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Of a new store: no such files, as `drafts/`.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what was skipped.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make the index anew, as another embedding needs it.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and index what changes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Index what is new or changed, and forget what is gone; with FOLDER, add a store to pyproject.toml first."""
    from agentflow.cli.storing import Adding, add_store

    wanted = Adding(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        is_retried=retry,
        is_rebuilt=rebuild,
        is_watched=watch,
        as_json=as_json,
    )
    raise typer.Exit(add_store(name, folder, wanted))


@index.command(name="list")
def list_(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Lists the files of this store instead.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the stores, or the files of one with what is known of each."""
    from agentflow.cli.storing import list_files, list_stores

    raise typer.Exit(list_files(name, as_json=as_json) if name else list_stores(as_json=as_json))


@index.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY")],
    store: Named = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION", help="`kind=pdf,docx`, `year>=2020`, `path=hr/**`; may be repeated."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many to show.")] = 5,
    weight: Annotated[
        float | None, typer.Option(help="The share of meaning: 0 (words alone) to 1 (meaning alone).")
    ] = None,
    by_file: Annotated[bool, typer.Option("--by-file", help="Group what is found by file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Search in all stores, or in those named, and show the passages that answer best."""
    from agentflow.cli.searching import Searching, search_stores

    wanted = Searching(
        stores=tuple(store or ()),
        where=tuple(where or ()),
        limit=limit,
        weight=weight,
        is_by_file=by_file,
        as_json=as_json,
    )
    raise typer.Exit(search_stores(query, wanted))


@index.command(name="open")
def open_(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="As a citation names it: handbook/travel.md.")
    ],
    at: Annotated[int, typer.Option(metavar="START", help="The character that the place begins at.")] = 0,
    to: Annotated[int | None, typer.Option(metavar="END", help="The character that it ends before.")] = None,
    around: Annotated[int, typer.Option(help="How many characters to show before and after it.")] = 300,
    store: Named = None,
    as_json: AsJson = False,
) -> None:
    """Show the place that a citation names, with what stands around it."""
    from agentflow.cli.searching import open_source

    raise typer.Exit(open_source(source, at, to, around, tuple(store or ()), as_json=as_json))


@index.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a store: its index and its settings. The documents stay."""
    from agentflow.cli.storing import remove_store

    raise typer.Exit(remove_store(name, is_sure=yes, as_json=as_json))
