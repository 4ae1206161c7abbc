"""`check`: is a workflow sound, what is the most it can do, what could it leak?"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from agentflow.assessment import Assessment, assess, further, models_of
from agentflow.bounds import COUNTS, Amount
from agentflow.cli.definitions import find_workflow
from agentflow.cli.output import DONE, WRONG_USE, err, error_data, escape, out, plain, print_json
from agentflow.cli.sarif import sarif_of
from agentflow.exceptions import AgentflowError, DefinitionError, Problem
from agentflow.models.catalog import choose
from agentflow.models.endings import Ending, listed_endings
from agentflow.project import Project, find_project
from agentflow.workflow import Workflow, keeping_problems

DOCS = "docs/problems.md"
_COLOURS = {"error": "red", "warning": "yellow"}
_WORDS = {"model_calls": "model calls", "tool_calls": "tool calls", "parallel": "at once"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a check is made and shown. `is_strict` fails on warnings, `is_online` asks model servers for endings."""

    as_json: bool = False
    sarif: Path | None = None
    model: str | None = None
    is_strict: bool = False
    is_online: bool = False


def check_workflows(name: str | None, file: str | None, wanted: Wanted) -> int:
    """Check one workflow or all; gives the exit code."""
    # A broken workflow must not hide the others of its module, nor those around it.
    with keeping_problems():
        project, named, failures = _found(name, file)

    setting = cast("str | None", project.settings.get("model")) if project is not None else None
    model = str(choose(wanted.model, setting, os.environ))
    found = {name: workflow for name, workflow in named.items() if not workflow.problems}
    broken = [
        DefinitionError(w.name, [*w.problems, *further(w, model)]) for w in named.values() if w.problems
    ]
    errors: list[AgentflowError] = [*failures, *broken]
    listed = asyncio.run(_listed(model, found.values())) if wanted.is_online else {}
    checked = [assess(workflow, model, listed=listed) for workflow in found.values()]
    _show(checked, errors, wanted, is_single=bool(name or file))
    if errors or any(a.errors for a in checked):
        return WRONG_USE

    return WRONG_USE if wanted.is_strict and any(a.warnings for a in checked) else DONE


Found = tuple[Project | None, Mapping[str, Workflow[Any, Any]], Sequence[AgentflowError]]


def _found(name: str | None, file: str | None) -> Found:
    if not name and not file:
        project = find_project()
        return project, *project.load_all()

    try:
        named, workflow = find_workflow(name, file)
    except DefinitionError as error:
        return None, {}, [error]

    return named, {workflow.name: workflow}, []


async def _listed(model: str, workflows: Any) -> Mapping[str, Ending]:
    """What the servers of the models say of their end; a server that cannot be asked is said, and passed over."""
    names = {model, *(name for workflow in workflows for name, _ in models_of(workflow.spec))}
    found: dict[str, Ending] = {}
    for name in sorted(names):
        try:
            ref = choose(name, None, os.environ)
            found |= await listed_endings(ref, os.environ, dt.datetime.now(dt.UTC).date())
        except AgentflowError as error:
            err.print(f"[yellow]not asked:[/] {escape(name)}: {escape(str(error))}")

    return found


def _show(
    checked: Sequence[Assessment], errors: Sequence[AgentflowError], wanted: Wanted, *, is_single: bool
) -> None:
    if wanted.sarif is not None:
        wanted.sarif.write_text(sarif_of(checked, errors, Path.cwd()), encoding="utf-8")

    if wanted.as_json:
        problems = any(a.errors for a in checked)
        workflows = [_data(a) for a in checked]
        told = [error_data(e) for e in errors]
        print_json({"ok": not errors and not problems, "workflows": workflows, "errors": told})
        return

    for assessment in checked:
        _print(assessment, is_single=is_single)

    for error in errors:
        _print_error(error)

    if errors or any(a.problems for a in checked):
        out.print(f"[dim]each code is explained in {DOCS}[/]")


def _print(checked: Assessment, *, is_single: bool) -> None:
    workflow, spec = checked.workflow, checked.workflow.spec
    mark = "[red]✗[/]" if checked.errors else "[green]✓[/]"
    what = f"{len(spec.steps)} steps, {len(spec.edges)} edges"
    out.print(f"{mark} {escape(workflow.name)}  [dim]{what}  {workflow.digest[:19]}[/]")
    _print_bound(checked, is_single=is_single)
    for problem in checked.problems:
        _print_problem(problem)

    for finding in checked.flows:
        if finding.waived:
            out.print(
                f"  [dim]allowed: {finding.kind} at `{escape(finding.step)}`: {escape(finding.waived)}[/]"
            )

    for note in checked.notes:
        out.print(f"  [dim]note {escape(note)}[/]")


def _print_bound(checked: Assessment, *, is_single: bool) -> None:
    amounts = [(_WORDS.get(name, name), getattr(checked.bound, name)) for name in COUNTS]
    if not is_single:
        known = [f"{_number(a)} {name}" for name, a in amounts if a.value is not None]
        free = [name for name, a in amounts if a.value is None]
        said = ", ".join(known) + (f"; no bound: {', '.join(free)}" if free else "")
        out.print(f"  [dim]at most {said}[/]")
        return

    amounts += [(f"{tool.rpartition(':')[2]}", a) for tool, a in checked.bound.tool_calls_by.items()]
    for name, amount in amounts:
        number = "no bound" if amount.value is None else _number(amount)
        out.print(f"  at most {number:>9} {name:13} [dim]{escape(amount.why)}[/]")

    for assumed in checked.bound.assumes:
        out.print(f"  [dim]taken for granted: {escape(assumed)}[/]")


def _number(amount: Amount) -> str:
    return f"{amount.value:,.4g}" if isinstance(amount.value, float) else f"{amount.value:,}"


def _print_problem(problem: Problem, to: Console = out) -> None:
    colour = _COLOURS[problem.severity]
    to.print(
        f"  [{colour}]{problem.severity} {problem.code}[/] {escape(problem.where)}: {escape(problem.what)}"
    )
    if problem.hint:
        to.print(f"    [cyan]hint:[/] {escape(problem.hint)}")


def _print_error(error: AgentflowError) -> None:
    if not isinstance(error, DefinitionError):
        err.print(f"[red]✗[/] {escape(str(error))}")
        if error.hint:
            err.print(f"    [cyan]hint:[/] {escape(error.hint)}")

        return

    err.print(f"[red]✗[/] {escape(str(error).partition(':')[0])}")
    for problem in error.problems:
        _print_problem(problem, err)


def _data(checked: Assessment) -> dict[str, Any]:
    spec, bound = checked.workflow.spec, checked.bound
    return {
        "name": spec.name,
        "digest": checked.workflow.digest,
        "takes": spec.takes,
        "gives": spec.gives,
        "steps": [step.id for step in spec.steps],
        "edges": len(spec.edges),
        "problems": plain(checked.problems),
        "notes": list(checked.notes),
        "bound": {name: asdict(getattr(bound, name)) for name in COUNTS},
        "tool_calls_by": {tool: asdict(amount) for tool, amount in bound.tool_calls_by.items()},
        "assumes": list(bound.assumes),
        "flows": [asdict(finding) for finding in checked.flows],
    }
