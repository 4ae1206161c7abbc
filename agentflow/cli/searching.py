"""`index search` and `index open`: what the stores say, and the place that a citation names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from agentflow.cli.output import DONE, count, escape, out, plain, print_json
from agentflow.cli.storing import stores_here
from agentflow.evidence import Evidence
from agentflow.exceptions import ToolArgumentsInvalid, UnknownName
from agentflow.toolkit.files.filters import filter_of_words
from agentflow.toolkit.files.retrieval import FileMatch, grouped
from agentflow.toolkit.files.search import Excerpt
from agentflow.toolkit.files.stores import Stores

_SHOWN = 400  # characters of a passage


@dataclass(frozen=True, kw_only=True)
class Searching:
    """How to search, and how to show what is found."""

    stores: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    limit: int = 5
    weight: float | None = None
    is_by_file: bool = False
    as_json: bool = False


def search_stores(query: str, wanted: Searching) -> int:
    """Print what the stores have to say; gives the exit code."""
    _, stores = stores_here()
    try:
        found = asyncio.run(_found(stores, query, wanted))
    finally:
        stores.close()

    files = grouped(found)
    if wanted.as_json:
        print_json({"files": plain(files)} if wanted.is_by_file else {"passages": plain(found)})
    elif not found:
        out.print("nothing was found")
    elif wanted.is_by_file:
        _print_files(files)
    else:
        for number, item in enumerate(found, 1):
            _print_passage(f"[cyan]\\[{number}][/] [bold]{escape(item.source)}[/]", item)

    return DONE


async def _found(stores: Stores, query: str, wanted: Searching) -> list[Evidence]:
    where = filter_of_words(wanted.where) if wanted.where else None
    return await stores.search(query, wanted.limit, stores=wanted.stores, where=where, weight=wanted.weight)


def _print_files(files: Sequence[FileMatch]) -> None:
    for number, file in enumerate(files, 1):
        passages = count(len(file.passages), "passage")
        out.print(
            f"[cyan]\\[{number}][/] [bold]{escape(file.source)}[/] [dim]{escape(file.title)}, {passages}[/]"
        )
        for item in file.passages:
            _print_passage("   ", item)


def _print_passage(head: str, item: Evidence) -> None:
    out.print(f"{head} [dim]{escape(item.place)} · {item.score:.2f}[/]")
    text = " ".join(item.text.split())
    out.print(f"    {escape(text[:_SHOWN])}{'…' if len(text) > _SHOWN else ''}")


def open_source(
    source: str, at: int, to: int | None, around: int, names: Sequence[str], *, as_json: bool
) -> int:
    """Print a place in a document and what stands around it; gives the exit code."""
    if around < 0:
        raise ToolArgumentsInvalid(f"`--around` is {around}", hint="give 0 or more")

    _, stores = stores_here()
    try:
        excerpt = asyncio.run(_opened(stores, source, at, to, around, names))
    finally:
        stores.close()

    if as_json:
        print_json({**asdict(excerpt), "file": str(excerpt.file)})
    else:
        _print_excerpt(excerpt)

    return DONE


async def _opened(
    stores: Stores, source: str, at: int, to: int | None, around: int, names: Sequence[str]
) -> Excerpt:
    known: list[str] = []
    for name in names or list(stores):
        try:
            return await stores[name].open(source, at, to, around=around)
        except UnknownName as error:
            if error.kind != "file":
                raise

            known += error.known

    raise UnknownName("file", source, known)


def _print_excerpt(excerpt: Excerpt) -> None:
    page = f", page {excerpt.page}" if excerpt.page is not None else ""
    out.print(f"[bold]{escape(excerpt.source)}[/][dim]{page}, characters {excerpt.start}-{excerpt.end}[/]")
    out.print(f"[dim]{escape(str(excerpt.file))}[/]\n")
    out.print(
        f"[dim]{escape(excerpt.before)}[/][black on yellow]{escape(excerpt.text)}[/][dim]{escape(excerpt.after)}[/]"
    )
