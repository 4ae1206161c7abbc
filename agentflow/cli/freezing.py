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

from agentflow import app
from agentflow.cli.definitions import definition_of, events_of, project_here
from agentflow.cli.output import DONE, err, escape, print_json
from agentflow.encoding import encode
from agentflow.events import Event, RunStarted
from agentflow.exceptions import ProjectError, ReplayDiverged
from agentflow.testing import path_of

# Bytes of a record that stands in the test itself.
_INLINE = 6000
# Columns of what is generated, as most formatters keep to.
_WIDTH = 100
_TEST = '''"""Run `{run}` of workflow `{workflow}`, frozen: it goes the same way, with no network and no model.

Made by `agentflow freeze {run} {where}`, which makes it anew.
"""

{imports}from agentflow.testing import assert_replays

RECORD = {record}
PATH = {path}
OUTPUT = {output}


def test_{name}_goes_the_way_it_went() -> None:
    """The same steps, calls and output as on the day it was recorded; it ended: {ended}."""
    assert_replays(RECORD, {given}path=PATH, output=OUTPUT)
'''


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
    record = f'Path(__file__).parent / "recordings" / "{kept.name}"' if kept else _literal(lines)
    text = _test(events, record, _workflow(events, file, folder), output)
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


def _test(events: Sequence[Event], record: str, given: str, output: Path | None) -> str:
    """The text of the test; `record` is what its record is, `given` the argument that says where its workflow is."""
    started = events[0]
    assert isinstance(started, RunStarted)
    name = re.sub(r"\W+", "_", started.workflow).strip("_")
    last: Any = events[-1]
    return _TEST.format(
        run=started.run,
        workflow=started.workflow,
        where=f"--output {output}" if output is not None else f"> tests/test_{name}.py",
        imports="from pathlib import Path\n\n" if "Path(" in record + given else "",
        record=record,
        path=_literal(path_of(events)),
        output=_literal(last.output.data if last.type == "run.finished" else None),
        name=name,
        ended=app.diff(events, events).a.status,
        given=given,
    )


def _workflow(events: Sequence[Event], file: str | None, folder: Path) -> str:
    """The argument that says where the workflow is; nothing where the project knows it by name."""
    started = events[0]
    assert isinstance(started, RunStarted)
    named = file or started.attributes.get("workflow_file")
    if named is None:
        return ""

    path, colon, name = named.partition(":")
    place = Path(os.path.relpath(Path(path).resolve(), folder.resolve())).as_posix()
    return f"workflow_file=str(Path(__file__).parent / {place!r}) + {colon + name!r}, "


def _literal(value: Any) -> str:
    return pprint.pformat(value, width=_WIDTH, sort_dicts=False)
