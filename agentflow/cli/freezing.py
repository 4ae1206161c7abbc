"""`freeze`: a test, for pytest, that a run goes the same way again."""

from __future__ import annotations

import asyncio
import os
import pprint
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from agentflow import app
from agentflow.cli.definitions import definition_of, events_of, project_here
from agentflow.cli.output import DONE, err, print_json
from agentflow.events import Event, RunStarted, encode
from agentflow.exceptions import ProjectError, ReplayDiverged
from agentflow.testing import path_of

# Bytes of a record that stands in the test itself.
_INLINE = 6000
# Columns of what is generated, as most formatters keep to.
_WIDTH = 100


def freeze_run(run_id: str, file: str | None, output: Path | None, *, as_json: bool) -> int:
    """Write a test of a run, and its record beside it where it is large; gives the exit code."""
    events = asyncio.run(events_of(run_id))
    definition = definition_of(events, file)
    root = definition.project.root if definition.project is not None else Path.cwd()
    replayed = asyncio.run(app.replay_events(definition.workflow, events, root=root))
    if replayed.divergence is not None:
        raise ReplayDiverged(
            f"run `{run_id}` does not go the same way even now: {replayed.divergence}",
            hint="a test of it would fail from the start; see `agentflow replay`",
        )

    lines = [encode(event).decode() for event in events]
    folder = output.parent if output is not None else project_here().root / "tests"
    kept = _kept(lines, folder, run_id)
    text = _test(events, lines, kept, folder, file, output)
    if output is not None:
        _write(output, text)
    elif not as_json:
        sys.stdout.write(text)

    if as_json:
        print_json(
            {
                "run_id": run_id,
                "test": str(output) if output else text,
                "record": str(kept) if kept else None,
            }
        )
    elif kept is not None:
        err.print(f"[dim]its record is in[/] {escape(str(kept))}")

    return DONE


def _kept(lines: Sequence[str], folder: Path, run_id: str) -> Path | None:
    """Where the record is kept beside the test; None where it stands in the test."""
    if sum(map(len, lines)) <= _INLINE:
        return None

    path = folder / "recordings" / f"{run_id}.jsonl"
    _write(path, "\n".join(lines) + "\n")
    return path


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ProjectError(
            f"{path} cannot be written: {error.strerror}", hint="name another file: --output"
        ) from None


def _test(
    events: Sequence[Event],
    lines: Sequence[str],
    kept: Path | None,
    folder: Path,
    file: str | None,
    output: Path | None,
) -> str:
    started = events[0]
    assert isinstance(started, RunStarted)
    name = re.sub(r"\W+", "_", started.workflow).strip("_")
    again = f"agentflow freeze {started.run}" + (
        f" --output {output}" if output else f" > tests/test_{name}.py"
    )
    given = _workflow(started, file, folder)
    last: Any = events[-1]
    result = last.output.data if last.type == "run.finished" else None
    needs_path = kept is not None or "Path(" in given
    record = (
        f'RECORD = Path(__file__).parent / "recordings" / "{kept.name}"'
        if kept is not None
        else f"RECORD = {_literal(list(lines))}"
    )
    imports = (["from pathlib import Path\n"] if needs_path else []) + [
        "from agentflow.testing import assert_replays"
    ]
    return "\n".join(
        [
            f'"""Run `{started.run}` of workflow `{started.workflow}`, frozen: it goes the same way, with no network and no model.',
            "",
            f"Made by `{again}`, which makes it anew.",
            '"""',
            "",
            *imports,
            "",
            record,
            f"PATH = {_literal(path_of(events))}",
            f"OUTPUT = {_literal(result)}",
            "",
            "",
            f"def test_{name}_goes_the_way_it_went() -> None:",
            f'    """The same steps, calls and output as on the day it was recorded; it ended: {app.diff(events, events).a.status}."""',
            f"    assert_replays(RECORD, {given}path=PATH, output=OUTPUT)",
            "",
        ]
    )


def _workflow(started: RunStarted, file: str | None, folder: Path) -> str:
    """The argument that says where the workflow is; nothing where the project knows it by name."""
    named = file or started.attributes.get("workflow_file")
    if named is None:
        return ""

    path, colon, name = named.partition(":")
    place = Path(os.path.relpath(Path(path).resolve(), folder.resolve())).as_posix()
    return f"workflow_file=str(Path(__file__).parent / {place!r}) + {colon + name!r}, "


def _literal(value: Any) -> str:
    return pprint.pformat(value, width=_WIDTH, sort_dicts=False)
