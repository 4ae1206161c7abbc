"""`index add`, `list` and `remove`: the stores of a project, kept in step with their folders."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from agentflow.cli.definitions import project_here
from agentflow.cli.output import (
    DONE,
    FAILED,
    INTERRUPTED,
    count,
    err,
    error_data,
    escape,
    out,
    plain,
    print_error,
    print_json,
)
from agentflow.cli.settings import with_store, without_store
from agentflow.exceptions import ProjectError, ToolError
from agentflow.project import Project
from agentflow.toolkit.files import FileSearch, IndexReport
from agentflow.toolkit.files.scope import attributes
from agentflow.toolkit.files.stores import Stores, stores_of
from agentflow.toolkit.files.vector_store import File


@dataclass(frozen=True, kw_only=True)
class Adding:
    """How stores are to be indexed; `include` and `exclude` are those of a new one."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    is_retried: bool = False
    is_rebuilt: bool = False
    is_watched: bool = False
    as_json: bool = False


@dataclass(kw_only=True)
class _Shown:
    """What came of the stores so far."""

    reports: dict[str, IndexReport] = field(default_factory=dict[str, IndexReport])
    errors: dict[str, ToolError] = field(default_factory=dict[str, ToolError])

    def data(self, *, interrupted: bool) -> dict[str, Any]:
        stores = [{"store": name, **plain(report)} for name, report in self.reports.items()]
        errors = {name: error_data(error) for name, error in self.errors.items()}
        return {"stores": stores, "errors": errors, "interrupted": interrupted}


def stores_here() -> tuple[Project, Stores]:
    """The project around the current folder and its stores."""
    project = project_here()
    return project, stores_of(project.settings, project.root)


def add_store(name: str | None, folder: Path | None, wanted: Adding) -> int:
    """Index one store or all, a new one if a folder is named; gives the exit code."""
    if folder is not None:
        _write_store(name or "", folder, wanted)
    elif wanted.include or wanted.exclude:
        raise ProjectError("`--include` and `--exclude` are for a new store", hint="name its folder, too")

    _, stores = stores_here()
    names = [name] if name else list(stores)
    if not names:
        raise ProjectError("there is no store yet", hint="add one: `agentflow index add NAME FOLDER`")

    shown = _Shown()
    searches = {name: stores[name] for name in names}
    try:
        asyncio.run(
            _watched(searches, wanted, shown) if wanted.is_watched else _indexed(searches, wanted, shown)
        )
    except KeyboardInterrupt:
        return _interrupted(shown, wanted)
    finally:
        stores.close()

    if wanted.as_json:
        print_json(shown.data(interrupted=False))

    return FAILED if shown.errors else DONE


def _interrupted(shown: _Shown, wanted: Adding) -> int:
    if wanted.as_json:
        print_json(shown.data(interrupted=True))
    elif not wanted.is_watched:
        err.print("stopped; files that were finished stay indexed: `agentflow index add` goes on from there")

    return DONE if wanted.is_watched else INTERRUPTED


async def _indexed(searches: Mapping[str, FileSearch], wanted: Adding, shown: _Shown) -> None:
    for name, search in searches.items():
        try:
            with _bar(name, search, wanted) as tell:
                report = await search.index(tell, retry_skipped=wanted.is_retried, rebuild=wanted.is_rebuilt)
        except ToolError as error:
            if len(searches) == 1:
                raise

            shown.errors[name] = error  # of one store, which is no reason not to index the others
            if not wanted.as_json:
                print_error(error, as_json=False)
        else:
            _show(name, report, wanted, shown)


async def _watched(searches: Mapping[str, FileSearch], wanted: Adding, shown: _Shown) -> None:
    async def follow(name: str, search: FileSearch) -> None:
        reports: AsyncIterator[IndexReport] = search.watch()
        async for report in reports:
            _show(name, report, wanted, shown)

    await _indexed(searches, wanted, shown)
    async with asyncio.TaskGroup() as group:
        for name in shown.reports:
            group.create_task(follow(name, searches[name]))


def _show(name: str, report: IndexReport, wanted: Adding, shown: _Shown) -> None:
    before = shown.reports.get(name)
    shown.reports[name] = report
    nothing_new = before is not None and not (report.added or report.changed or report.removed)
    if not wanted.as_json and not nothing_new:
        _print_report(name, report, with_skipped=before is None or before.skipped != report.skipped)


def _print_report(name: str, report: IndexReport, *, with_skipped: bool) -> None:
    done = {"added": report.added, "changed": report.changed, "removed": report.removed}
    said = [f"{number} {what}" for what, number in done.items() if number]
    said += [f"{report.unchanged} unchanged"] if report.unchanged else []
    said += [f"[yellow]{len(report.skipped)} skipped[/]"] if report.skipped else []
    files, passages = ", ".join(said) or "no files", count(report.chunks, "passage")
    out.print(f"[bold]{escape(name)}[/]: {files}; {passages} in {report.seconds:.1f} s")
    for item in report.skipped if with_skipped else ():
        out.print(f"  [yellow]skipped[/] {escape(item.path)}[dim]: {escape(item.why)}[/]")


@contextmanager
def _bar(name: str, search: FileSearch, wanted: Adding) -> Generator[Any]:
    """A bar on the terminal with the file that is read and the time that is left; nothing where nobody looks."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
    with Progress(
        *columns, console=err, transient=True, disable=wanted.as_json or not err.is_terminal
    ) as bar:
        task = bar.add_task(escape(name), total=None, said="")

        def tell(done: int, total: int, what: str) -> None:
            _move(bar, task, search, (done, total, what))

        yield tell


def _move(bar: Progress, task: TaskID, search: FileSearch, now: tuple[int, int, str]) -> None:
    done, total, what = now
    if not total:
        err.print(escape(what))
        return

    left = search.seconds_left
    time_left = f", {_period(left)} left" if left is not None else ""
    bar.update(
        task, total=total, completed=done - 1, said=escape(f"{done} of {total}{time_left}: {what[-60:]}")
    )


def _period(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"

    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def list_stores(*, as_json: bool) -> int:
    """Print the stores of the project; gives the exit code."""
    project, stores = stores_here()
    try:
        rows = [asyncio.run(_row(name, stores[name], project.root)) for name in stores]
    finally:
        stores.close()

    if as_json:
        print_json({"stores": rows})
    elif not rows:
        out.print("no stores yet: `agentflow index add NAME FOLDER`")
    else:
        _print_rows(rows)

    return DONE


async def _row(name: str, search: FileSearch, root: Path) -> dict[str, Any]:
    folder = search.folder
    error = ""
    files: Collection[File] = ()
    passages = 0
    try:
        files, passages = (await search.files()).values(), await search.count()
    except ToolError as problem:  # of one store, which is no reason not to list the others
        error = str(problem)

    return {
        "store": name,
        "folder": str(folder.relative_to(root) if folder.is_relative_to(root) else folder),
        "files": sum(not file.why for file in files),
        "skipped": sum(bool(file.why) for file in files),
        "passages": passages,
        "bytes": search.index_file.stat().st_size if search.index_file.exists() else 0,
        "weight": search.weight,
        "exists": folder.is_dir(),
        "error": error,
    }


def _print_rows(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("store", "folder", "files", "skipped", "passages", "size"):
        table.add_column(
            name, justify="left" if name in ("store", "folder") else "right", no_wrap=name == "store"
        )

    for row in rows:
        folder = escape(row["folder"]) + ("" if row["exists"] else " [red](not there)[/]")
        numbers = [f"{row[key]:,}" for key in ("files", "skipped", "passages")]
        size = f"{row['bytes'] / 1e6:.1f} MB" if row["bytes"] else "[dim]not indexed[/]"
        table.add_row(escape(row["store"]), folder, *numbers, size)

    out.print(table)
    for row in rows:
        if row["error"]:
            out.print(f"[red]{escape(row['store'])}[/]: {escape(row['error'])}")


def list_files(name: str, *, as_json: bool) -> int:
    """Print the files of a store; gives the exit code."""
    _, stores = stores_here()
    try:
        files = sorted(asyncio.run(stores[name].files()).values(), key=lambda file: file.path)
    finally:
        stores.close()

    rows = [{"path": file.path, "why_skipped": file.why, **attributes(file)} for file in files]
    if as_json:
        print_json({"store": name, "files": rows})
    elif not rows:
        out.print(f"nothing is indexed yet: `agentflow index add {escape(name)}`")
    else:
        _print_files(rows)

    return DONE


def _print_files(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("file", "kB", "modified", "metadata"):
        table.add_column(name, justify="right" if name == "kB" else "left")

    for row in rows:
        known = {"path", "why_skipped", "kind", "name", "size", "modified"}
        own = ", ".join(f"{key}={value}" for key, value in row.items() if key not in known)
        said = f"[yellow]skipped: {escape(row['why_skipped'])}[/]" if row["why_skipped"] else escape(own)
        table.add_row(escape(row["path"]), f"{row['size'] / 1000:,.1f}", row["modified"], said)

    out.print(table)


def remove_store(name: str, *, is_sure: bool, as_json: bool) -> int:
    """Remove a store's index and settings once a person is sure; gives the exit code."""
    project, stores = stores_here()
    search = stores[name]
    search.close()
    file = project.root / "pyproject.toml"
    kept = without_store(file, name)
    if not is_sure and not _is_agreed(name, as_json=as_json):
        out.print("nothing was removed")
        return DONE

    freed = 0
    for suffix in ("", "-wal", "-shm", ".lock"):
        part = Path(f"{search.index_file}{suffix}")
        if part.exists():
            freed += part.stat().st_size
            part.unlink()

    _write(file, kept)
    if as_json:
        print_json({"store": name, "bytes": freed})
    else:
        out.print(
            f"removed store [bold]{escape(name)}[/]; its documents stay in {escape(str(search.folder))}"
        )

    return DONE


def _is_agreed(name: str, *, as_json: bool) -> bool:
    if as_json or not sys.stdin.isatty():
        raise ProjectError(f"the store `{name}` would be removed", hint="add `--yes`")

    return typer.confirm(f"Remove the index and the settings of `{name}`?")


def _write_store(name: str, folder: Path, wanted: Adding) -> None:
    project = project_here()
    if not folder.is_dir():
        raise ProjectError(f"there is no folder `{folder}`", hint="name the folder with the documents")

    place = Path(os.path.relpath(folder.resolve(), project.root.resolve()))
    inside = folder.resolve().is_relative_to(project.root.resolve())
    file = project.root / "pyproject.toml"
    settings = {
        "folder": (place if inside else folder.resolve()).as_posix(),
        "include": list(wanted.include),
        "exclude": list(wanted.exclude),
    }
    text = with_store(file, name, {key: value for key, value in settings.items() if value})
    _write(file, text)


def _write(file: Path, text: str) -> None:
    """Replace the file as a whole: a process that ends meanwhile leaves it as it was."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
