"""Problems as SARIF 2.1.0 (OASIS, 2020), the form in which code hosts and editors take the findings of checkers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agentflow.assessment import Assessment
from agentflow.exceptions import AgentflowError, DefinitionError, Problem
from agentflow.version import VERSION

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
DOCS = "https://github.com/agentflow/agentflow/blob/main/docs/problems.md"
_PLACE = re.compile(r"\((?P<file>[^()]+?):(?P<line>[1-9]\d*)(?::(?P<column>\d+))?\)")
_OTHER = "AF100"


def sarif_of(checked: Sequence[Assessment], errors: Sequence[AgentflowError], root: Path) -> str:
    """All problems as one SARIF document; files are given relative to `root` where they lie below it."""
    problems = list(_problems(checked, errors))
    codes = sorted({problem.code for problem in problems})
    run = {
        "tool": {
            "driver": {"name": "agentflow", "version": VERSION, "rules": [_rule(code) for code in codes]}
        },
        "results": [_result(problem, codes, root) for problem in problems],
    }
    return (
        json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)
        + "\n"
    )


def _problems(checked: Sequence[Assessment], errors: Sequence[AgentflowError]) -> Iterator[Problem]:
    for assessment in checked:
        yield from assessment.problems

    for error in errors:
        if isinstance(error, DefinitionError):
            yield from error.problems
        else:
            yield Problem(code=_OTHER, what=str(error), where="", hint=error.hint)


def _rule(code: str) -> dict[str, Any]:
    return {"id": code, "helpUri": f"{DOCS}#{code.lower()}"}


def _result(problem: Problem, codes: Sequence[str], root: Path) -> dict[str, Any]:
    text = ": ".join(filter(None, (problem.where, problem.what)))
    message = f"{text}\nhint: {problem.hint}" if problem.hint else text
    result: dict[str, Any] = {
        "ruleId": problem.code,
        "ruleIndex": codes.index(problem.code),
        "level": problem.severity,
        "message": {"text": message},
    }
    if (found := _PLACE.search(problem.where)) is not None:
        result["locations"] = [{"physicalLocation": _location(found, root)}]

    return result


def _location(found: re.Match[str], root: Path) -> dict[str, Any]:
    path = Path(found["file"])
    if path.is_absolute() and path.is_relative_to(root):
        path = path.relative_to(root)

    uri = path.as_uri() if path.is_absolute() else quote(path.as_posix())
    region = {"startLine": int(found["line"])}
    if found["column"]:
        region["startColumn"] = int(found["column"])

    return {"artifactLocation": {"uri": uri}, "region": region}
