"""`draw`: a workflow as a picture."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from agentflow.cli.definitions import find_workflow
from agentflow.cli.output import DONE, out, print_json
from agentflow.drawing import mermaid, picture
from agentflow.exceptions import ProjectError


def draw_workflow(name: str | None, file: str | None, target: Path | None, *, as_json: bool) -> int:
    """Print or write the drawing; gives the exit code."""
    _, workflow = find_workflow(name, file)
    text = mermaid(workflow.spec)
    if target is not None:
        _write(target, text, workflow.spec)

    if as_json:
        print_json({"workflow": workflow.name, "mermaid": text, "file": str(target) if target else None})
    elif target is None:
        out.print(escape(text), soft_wrap=True)
    else:
        out.print(f"wrote {escape(str(target))}")

    return DONE


def _write(target: Path, text: str, spec: object) -> None:
    kind = target.suffix.lstrip(".").lower()
    if kind not in ("mmd", "md", "svg", "png"):
        raise ProjectError(f"`{target.name}` is no kind of picture", hint="end it in .mmd, .svg or .png")

    if not target.parent.is_dir():
        raise ProjectError(f"there is no folder `{target.parent}`", hint="make it, or name another one")

    try:
        if kind in ("mmd", "md"):
            target.write_text(text + "\n", encoding="utf-8")
        else:
            target.write_bytes(picture(spec, kind))  # type: ignore[arg-type]
    except OSError as error:
        raise ProjectError(f"`{target}` cannot be written: {error}") from None
