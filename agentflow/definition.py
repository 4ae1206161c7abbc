"""A workflow from the text of a YAML file: all that is wrong with the text at once, each with its line and column."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from agentflow.assembly import assemble
from agentflow.exceptions import DefinitionError, Problem, ProjectError
from agentflow.path import Place
from agentflow.schema import workflow_schema
from agentflow.spec import from_data
from agentflow.workflow import Workflow

CODE = "AF160"
_Key = tuple[str | int, ...]


class _Text(NamedTuple):
    """What a text holds, where each part of it stands, and what is wrong with how it is written."""

    data: Any
    marks: Mapping[_Key, tuple[int, int]]
    problems: list[Problem]


def definition(text: str, file: Path, packages: tuple[str, ...]) -> Workflow[Any, Any]:
    """The workflow that `text` defines; only steps and tools of `packages` can be named in it.

    Raises `DefinitionError` with all problems of one kind together: how it is written (AF160), what it names (AF161), then
    what is wrong with the graph.
    """
    known = _read(text, file)
    problems = [*known.problems, *_misfits(known, file)]
    if problems:
        name = known.data.get("name") if isinstance(known.data, dict) else None
        raise DefinitionError(str(name or file.stem), problems)

    spec = from_data(known.data, where=file.name)
    try:
        return assemble(spec, Place(str(file), 1), packages, dict(_lines(known.marks)))
    except ProjectError as error:
        line = known.marks.get(("edges",), (1, 1))[0]
        problem = Problem(code="AF161", what=str(error), where=f"{file.name}:{line}", hint=error.hint)
        raise DefinitionError(spec.name, [problem]) from None


def _read(text: str, file: Path) -> _Text:
    import yaml

    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            where = f"{file.name}:1"
            what = "it uses an alias (`*name`), and a workflow is written out in full"
            return _Text({}, {}, [Problem(code=CODE, what=what, where=where, hint="write the part out")])

        node = yaml.compose(text, yaml.SafeLoader)
        marks: dict[_Key, tuple[int, int]] = {}
        twice = list(_marked(node, (), marks, file))
        return _Text(_plain(yaml.safe_load(text)), marks, twice)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file.name}:{mark.line + 1}:{mark.column + 1}" if mark is not None else f"{file.name}:1"
        said = getattr(error, "problem", None) or str(error).replace("\n", " ")
        return _Text({}, {}, [Problem(code=CODE, what=f"it is not YAML: {said}", where=where)])


def _marked(node: Any, path: _Key, marks: dict[_Key, tuple[int, int]], file: Path) -> Iterator[Problem]:
    """Note where each part stands; keys that stand twice are problems, as YAML drops the first."""
    if node is None:
        return

    marks.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if node.id == "sequence":
        for number, item in enumerate(node.value):
            yield from _marked(item, (*path, number), marks, file)

    if node.id != "mapping":
        return

    seen: set[str] = set()
    for key, value in node.value:
        name, at = str(key.value), (key.start_mark.line + 1, key.start_mark.column + 1)
        if name in seen:
            where = f"{file.name}:{at[0]}:{at[1]}"
            yield Problem(code=CODE, what=f"`{name}` stands twice", where=where, hint="leave one of them out")

        seen.add(name)
        marks[(*path, name)] = at
        yield from _marked(value, (*path, name), marks, file)


def _plain(value: Any) -> Any:
    """The data with text for keys: YAML 1.1 reads an unquoted `on` as true."""
    if isinstance(value, dict):
        known: dict[Any, Any] = value
        return {"on" if key is True else str(key): _plain(item) for key, item in known.items()}

    if isinstance(value, list):
        items: list[Any] = value
        return [_plain(item) for item in items]

    return value


def _misfits(known: _Text, file: Path) -> Iterator[Problem]:
    """Where the data does not fit the format."""
    if known.problems and not known.marks:
        return  # it could not be read at all

    if not isinstance(known.data, dict):
        hint = "it begins with `agentflow: 1` and `name:`"
        yield Problem(code=CODE, what="it holds no workflow", where=f"{file.name}:1", hint=hint)
        return

    import jsonschema

    validator = jsonschema.Draft202012Validator(workflow_schema())
    faults = map(_deepest, validator.iter_errors(json.loads(json.dumps(known.data, default=str))))
    for fault in sorted(faults, key=lambda f: _place(known.marks, f)):
        line, column = _place(known.marks, fault)
        path = ".".join(map(str, fault.absolute_path)) or "the workflow"
        yield Problem(
            code=CODE,
            what=f"`{path}`: {fault.message[:200]}",
            where=f"{file.name}:{line}:{column}",
            hint=_hint(fault),
        )


def _deepest(fault: Any) -> Any:
    """Of a part that may be one thing or another, what is wrong with the one that it comes nearest to."""
    while fault.context:
        fault = max(fault.context, key=lambda inner: len(inner.absolute_path))

    return fault


def _place(marks: Mapping[_Key, tuple[int, int]], fault: Any) -> tuple[int, int]:
    path: _Key = tuple(fault.absolute_path)
    if fault.validator == "additionalProperties" and isinstance(fault.instance, dict):
        allowed = fault.schema.get("properties", {})
        unknown = next((key for key in cast("dict[str, Any]", fault.instance) if key not in allowed), "")
        path = (*path, unknown) if (*path, unknown) in marks else path

    while path not in marks and path:
        path = path[:-1]

    return marks.get(path, (1, 1))


def _hint(fault: Any) -> str:
    if fault.validator == "additionalProperties":
        return f"known are: {', '.join(fault.schema.get('properties', {}))}"

    if fault.validator == "enum":
        return f"it is one of: {', '.join(map(str, fault.validator_value))}"

    return "`agentflow spec --schema` prints the format"


def _lines(marks: Mapping[_Key, tuple[int, int]]) -> Iterator[tuple[str, int]]:
    """The line of each step, by the steps that lead to it."""
    for path, (line, _) in marks.items():
        if names := _steps(path):
            yield "/".join(names), line


def _steps(path: _Key) -> list[str]:
    """The steps that a part of the text lies in, where it is a step itself: `steps.handle.workflow.steps.draft`."""
    names: list[str] = []
    rest = list(path)
    while len(rest) >= 2 and rest[0] == "steps":
        names.append(str(rest[1]))
        rest = rest[2:]
        if not rest:
            return names

        if rest.pop(0) != "workflow":
            break

    return []
