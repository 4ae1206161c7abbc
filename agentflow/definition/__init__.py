"""A workflow from the text of a YAML file: all that is wrong with it at once, each with its line and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentflow.exceptions import DefinitionError
from agentflow.workflow import Workflow, is_keeping, keeping_problems


def definition(text: str, file: Path, packages: tuple[str, ...]) -> Workflow[Any, Any]:
    """The workflow that `text` defines; only steps and tools of `packages` can be named in it.

    Raises `DefinitionError` with all problems at once: how it is written (AF160), what it names (AF161), and what is wrong
    with the graph, as far as that can be known of what could be read.
    """
    # Loaded here, as most projects have no such file.
    from agentflow.assembly import attempt
    from agentflow.definition.fitting import fitted
    from agentflow.definition.reading import read
    from agentflow.places import Places
    from agentflow.spec import from_data

    known = read(text, file)
    if known.problems and not known.marks:
        raise DefinitionError(file.stem, known.problems)

    fit = fitted(known, file.stem)
    if not fit.data:
        raise DefinitionError(file.stem, fit.problems)

    spec = from_data(fit.data, where=file.name)
    with keeping_problems():
        workflow, unmade = attempt(spec, Places(fit.marks), packages, fit.unknown)

    workflow.problems = (*known.problems, *fit.problems, *unmade, *workflow.problems)
    if workflow.problems and not is_keeping():
        raise DefinitionError(spec.name, workflow.problems)

    return workflow
