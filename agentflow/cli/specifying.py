"""`spec`: a workflow as the YAML that it could be written in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from agentflow.cli.definitions import find_workflow
from agentflow.cli.output import DONE, err, print_json
from agentflow.exceptions import ProjectError
from agentflow.schema import workflow_schema
from agentflow.spec import WorkflowSpec, steps_in, to_data

WIDTH = 100


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


def yaml_of(spec: WorkflowSpec) -> str:
    """The definition as YAML that loads as the same spec; raises `ProjectError` where a function has no name to load it by."""
    import yaml  # only this command writes it

    if nameless := [place for place, step in steps_in(spec) if "<locals>" in step.call]:
        raise ProjectError(
            f"step `{nameless[0]}` is made of a function inside of another, which a file cannot name",
            hint="define it at the top of its module",
        )

    class Dumper(yaml.SafeDumper):
        """Texts of several lines as blocks, as a person writes them."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - a text that stands twice is written twice
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> Any:
        # A block keeps only what can be seen.
        is_block = "\n" in value and all(line.isprintable() for line in value.split("\n"))
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if is_block else None)

    Dumper.add_representer(str, text)
    return yaml.dump(to_data(spec), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)
