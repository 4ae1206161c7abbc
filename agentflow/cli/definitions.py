"""What a command is about: the project around it, a workflow, a journal, and the definition of a run in it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentflow.events import Event, RunResumed, RunStarted
from agentflow.exceptions import ProjectError
from agentflow.journal import Journal
from agentflow.project import Project, find_project, load_file
from agentflow.workflow import Workflow


@dataclass(frozen=True, kw_only=True)
class Definition:
    """The workflow that a run follows, where it was found, and the model that the run used last."""

    project: Project | None
    workflow: Workflow[Any, Any]
    model: str


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


def located(file: str) -> str:
    """A `--workflow-file` as it is found again from any folder."""
    path, colon, name = file.partition(":")
    return f"{Path(path).resolve()}{colon}{name}"


def definition_of(events: Sequence[Event], file: str | None = None) -> Definition:
    """The definition of a run, which `file` may replace."""
    started = events[0]
    assert isinstance(started, RunStarted)
    models = [event.model for event in events if isinstance(event, RunStarted | RunResumed)]
    project, workflow = find_workflow(started.workflow, file or started.attributes.get("workflow_file"))
    return Definition(project=project, workflow=workflow, model=models[-1])


async def events_of(run_id: str) -> list[Event]:
    """The events of a run; looking for them makes no journal, nor writes to one."""
    from agentflow import app  # loads the engine, which a check does without

    async with opened(read_only=True) as journal:
        return await app.load(journal, run_id)


@asynccontextmanager
async def opened(*, read_only: bool = False) -> AsyncGenerator[Journal, None]:
    """The journal of the project around the current folder, or of the environment."""
    journal = project_here().journal(read_only=read_only)
    try:
        yield journal
    finally:
        await journal.close()


def project_here() -> Project:
    """The project around the current folder; the folder itself where a journal is in it, or is named by the environment."""
    try:
        return find_project()
    except ProjectError:
        # A workflow file may be run outside of a project.
        if not (Path.cwd() / "traces" / "journal.db").is_file() and "AGENTFLOW_JOURNAL" not in os.environ:
            raise

        return Project(root=Path.cwd())
