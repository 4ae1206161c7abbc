"""`init`: a small project to start from."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from agentflow.cli.output import DONE, escape, out, print_json
from agentflow.exceptions import ProjectError

TEMPLATE = Path(__file__).resolve().parents[1] / "_template"
# With it no tool takes the template for a project, or its modules for ours; what tools leave there is not part of it.
_SUFFIX = ".template"
_NAME = "my-project"
_QUESTION = "Where is the audit trail of a run kept?"
_SHOWN = 10  # places that an error names


def write_project(folder: Path, *, as_json: bool) -> int:
    """Write the project into `folder`, which may hold other files already; gives the exit code."""
    files = list(_template_files())
    if found := list(_in_the_way(folder, files)):
        some = ", ".join(f"`{place}`" for place in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ProjectError(
            f"nothing was written: {some}{more} would be in the way",
            hint="name a folder that is new or empty, or move what is there",
        )

    try:
        for name in files:
            _write(folder / name, _text(name, folder))
    except OSError as error:
        raise ProjectError(f"`{folder}` cannot be written: {error.strerror or error}") from None

    _report(folder, files, as_json=as_json)
    return DONE


def _template_files() -> Iterator[str]:
    """The files of the template, seen from the project."""
    for path in sorted(TEMPLATE.rglob(f"*{_SUFFIX}")):
        yield path.relative_to(TEMPLATE).as_posix().removesuffix(_SUFFIX)


def _in_the_way(folder: Path, files: Sequence[str]) -> Iterator[Path]:
    """What is no folder where one is needed, and the files that are there already; a broken link is one of them."""
    above = {folder / parent for name in files for parent in Path(name).parents}
    yield from (place for place in sorted(above) if os.path.lexists(place) and not place.is_dir())
    yield from (folder / name for name in files if os.path.lexists(folder / name))


def _text(name: str, folder: Path) -> str:
    text = (TEMPLATE / f"{name}{_SUFFIX}").read_text(encoding="utf-8")
    return text.replace(_NAME, _project_name(folder)) if name in ("pyproject.toml", "README.md") else text


def _project_name(folder: Path) -> str:
    """The folder's name as packages may be called."""
    return re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or _NAME


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _report(folder: Path, files: Sequence[str], *, as_json: bool) -> None:
    enter = "agentflow check" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))}"
    commands = [enter, f'agentflow run ask question="{_QUESTION}"']
    if as_json:
        print_json({"folder": str(folder), "files": list(files), "next": commands})
        return

    out.print(f"wrote {len(files)} files to {escape(str(folder))}\n")
    for command in commands:
        out.print(f"  [cyan]{escape(command)}[/]")
