"""`check`: are the project's workflows sound?"""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from agentflow.cli.definitions import find_workflow
from agentflow.cli.output import DONE, WRONG_USE, err, error_data, out, print_json
from agentflow.exceptions import AgentflowError, DefinitionError
from agentflow.project import find_project
from agentflow.workflow import Workflow


def check_workflows(name: str | None, file: str | None, *, as_json: bool) -> int:
    """Check one workflow or all; gives the exit code."""
    found, errors = _one(name, file) if name or file else find_project().load_all()
    if as_json:
        print_json(
            {
                "ok": not errors,
                "workflows": [_data(w) for w in found.values()],
                "errors": [error_data(e) for e in errors],
            }
        )
        return WRONG_USE if errors else DONE

    for workflow in found.values():
        spec = workflow.spec
        what = f"{len(spec.steps)} steps, {len(spec.edges)} edges"
        out.print(f"[green]✓[/] {escape(workflow.name)}  [dim]{what}  {workflow.digest[:19]}[/]")

    for error in errors:
        err.print(f"[red]✗[/] {escape(str(error))}")
        if error.hint:
            err.print(f"    [cyan]hint:[/] {escape(error.hint)}")

    return WRONG_USE if errors else DONE


def _one(name: str | None, file: str | None) -> tuple[dict[str, Workflow[Any, Any]], list[AgentflowError]]:
    try:
        _, workflow = find_workflow(name, file)
    except DefinitionError as error:
        return {}, [error]

    return {workflow.name: workflow}, []


def _data(workflow: Workflow[Any, Any]) -> dict[str, Any]:
    spec = workflow.spec
    return {
        "name": spec.name,
        "digest": workflow.digest,
        "takes": spec.takes,
        "gives": spec.gives,
        "steps": [step.id for step in spec.steps],
        "edges": len(spec.edges),
    }
