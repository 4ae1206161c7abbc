"""`spec`: a workflow as the YAML that it could be written in."""

from __future__ import annotations

import sys
from pathlib import Path

from agentflow.cli.definitions import find_workflow
from agentflow.cli.output import DONE, err, print_json
from agentflow.definition.writing import yaml_of
from agentflow.exceptions import ProjectError
from agentflow.schema import workflow_schema
from agentflow.spec import to_data


def print_spec(name: str | None, file: str | None, output: Path | None, *, as_json: bool) -> int:
    """Print a workflow's definition, or write it to a file; gives the exit code."""
    _, workflow = find_workflow(name, file)
    if as_json:
        print_json(to_data(workflow.spec))
        return DONE

    text = yaml_of(workflow.spec)
    if output is None:
        sys.stdout.write(text)
        return DONE

    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ProjectError(f"`{output}` cannot be written: {error}") from None

    err.print(f"[dim]written to {output}[/]")
    return DONE


def print_schema() -> int:
    """Print the JSON Schema of workflow files; gives the exit code."""
    print_json(workflow_schema())
    return DONE
