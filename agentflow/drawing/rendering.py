"""Pictures of a workflow, made by Graphviz's program `dot`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection
from typing import Literal

from agentflow.drawing.layout import dot_text
from agentflow.exceptions import ProjectError
from agentflow.spec import WorkflowSpec

SECONDS = 60.0
_DPI = {"svg": 72, "png": 144}


def picture(
    spec: WorkflowSpec,
    kind: Literal["svg", "png"],
    *,
    untrusted: Collection[str] = (),
    asking: Collection[str] = (),
) -> bytes:
    """The drawing as an SVG or PNG file; raises `ProjectError` where Graphviz is missing or fails.

    `untrusted` are the steps that take in what strangers wrote, `asking` those that ask a person before a tool is
    called; both are marked. A step of a sub-workflow is written as `handle/send`.
    """
    program = shutil.which("dot")
    if program is None:
        raise ProjectError(
            "`dot`, which lays out pictures, is not installed",
            hint="install Graphviz: `apt-get install graphviz`, `brew install graphviz`, or graphviz.org/download;"
            " Mermaid text (.mmd) needs nothing",
        )

    command = [program, f"-T{kind}", f"-Gdpi={_DPI[kind]}"]
    text = dot_text(spec, untrusted=untrusted, asking=asking)
    try:
        done = subprocess.run(  # noqa: S603 - the program is Graphviz's own, and the text goes in by a pipe
            command, input=text.encode(), capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ProjectError(
            f"`dot` needed more than {SECONDS:g} s to lay out `{spec.name}`",
            hint="draw its sub-workflows one by one, or write Mermaid text (.mmd)",
        ) from None

    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise ProjectError(f"`dot` could not draw `{spec.name}`; it said: {said[0]}")

    return done.stdout
