"""`draw`: a workflow as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from agentflow.cli.definitions import find_workflow
from agentflow.cli.output import DONE, escape, out, print_json
from agentflow.drawing import mermaid, picture
from agentflow.exceptions import ProjectError
from agentflow.path import Step
from agentflow.steps.held import has_servers, held_tools
from agentflow.workflow import Workflow

_Kind = Literal["mmd", "md", "svg", "png"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What a drawing marks beyond the definition, by the labels of tools: steps, those of sub-workflows as `handle/send`."""

    untrusted: frozenset[str]
    asking: frozenset[str]


def marks_of(workflow: Workflow[Any, Any]) -> Marks:
    """The steps with a tool whose results are untrusted, and those with a tool that needs an approval."""
    steps = dict(_steps(workflow, ""))
    return Marks(
        untrusted=frozenset(path for path, step in steps.items() if _is_untrusted(step)),
        asking=frozenset(
            path for path, step in steps.items() if any(t.labels.needs_approval for t in held_tools(step))
        ),
    )


def _steps(workflow: Workflow[Any, Any], prefix: str) -> Iterator[tuple[str, Step[Any, Any]]]:
    below = dict(workflow.children())
    for name, step in workflow.steps.items():
        if name in below:
            yield from _steps(below[name], f"{prefix}{name}/")
        else:
            yield prefix + name, step


def _is_untrusted(step: Step[Any, Any]) -> bool:
    # What an MCP server gives is untrusted, as nobody has labelled its tools.
    return has_servers(step) or any(tool.returns == "untrusted" for tool in held_tools(step))


def draw_workflow(name: str | None, file: str | None, target: Path | None, *, as_json: bool) -> int:
    """Print or write the drawing; gives the exit code."""
    _, workflow = find_workflow(name, file)
    marks = marks_of(workflow)
    text = mermaid(workflow.spec, untrusted=marks.untrusted, asking=marks.asking)
    if target is not None:
        _write(target, text, workflow, marks)

    if as_json:
        print_json({"workflow": workflow.name, "mermaid": text, "file": str(target) if target else None})
    elif target is None:
        out.print(escape(text), soft_wrap=True)
    else:
        out.print(f"wrote {escape(str(target))}")

    return DONE


def _write(target: Path, text: str, workflow: Workflow[Any, Any], marks: Marks) -> None:
    kind = _kind(target)
    if not target.parent.is_dir():
        raise ProjectError(f"there is no folder `{target.parent}`", hint="make it, or name another one")

    try:
        if kind == "mmd" or kind == "md":
            target.write_text(_framed(text, kind) + "\n", encoding="utf-8")
        else:
            target.write_bytes(picture(workflow.spec, kind, untrusted=marks.untrusted, asking=marks.asking))
    except OSError as error:
        raise ProjectError(f"`{target}` cannot be written: {error}") from None


def _kind(target: Path) -> _Kind:
    kinds: tuple[_Kind, ...] = get_args(_Kind)
    for kind in kinds:
        if target.suffix.lower() == f".{kind}":
            return kind

    raise ProjectError(f"`{target.name}` is no kind of picture", hint="end it in .mmd, .md, .svg or .png")


def _framed(text: str, kind: _Kind) -> str:
    """Mermaid as it stands in a file of its own, or in Markdown."""
    return f"```mermaid\n{text}\n```" if kind == "md" else text
