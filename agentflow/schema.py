"""The format of workflow files as a JSON Schema (draft 2020-12), derived from the dataclasses of the spec."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from agentflow.options import OPTIONS, NestedAgent
from agentflow.spec import FORMAT, Budget, EdgeSpec, Flow, MapSpec, Retry, StepSpec, WorkflowSpec

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
}
_PARTS = (StepSpec, EdgeSpec, MapSpec, Retry, Budget, Flow)


def workflow_schema() -> dict[str, Any]:
    """The JSON Schema of a workflow file; a sub-workflow inside of a step is a whole file again."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "agentflow workflow",
        **_workflow(),
        "$defs": {
            **{part.__name__: _part(part) for part in _PARTS},
            **{part.__name__: _options(part) for part in dict.fromkeys((*OPTIONS.values(), NestedAgent))},
        },
    }


def _workflow() -> dict[str, Any]:
    made = _part(WorkflowSpec)
    # Steps stand by their ids, and the format is named first.
    made["properties"]["steps"] = {"type": "object", "additionalProperties": _ref(StepSpec)}
    made["properties"] = {"agentflow": {"const": FORMAT}, **made["properties"]}
    made["required"] = ["agentflow", *made["required"]]
    return made


def _part(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    known = {f.name: _of(hints[f.name]) for f in fields(kind)}
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    if kind is StepSpec:  # its id is the key that it stands under
        known.pop("id")
        needed.remove("id")

    if kind is EdgeSpec:
        names = {"source": "from", "target": "to"}
        known = {names.get(name, name): value for name, value in known.items()}
        needed = [names.get(name, name) for name in needed]

    made = _object(kind, known, needed)
    return {**made, "allOf": _by_kind()} if kind is StepSpec else made


def _object(kind: type[Any], known: Mapping[str, Any], needed: Sequence[str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": known, "additionalProperties": False}
    summary = (kind.__doc__ or "").strip().partition("\n")[0]
    return {"description": summary, **schema, "required": list(needed)}


def _options(kind: type[Any]) -> dict[str, Any]:
    known = {name: _of(hint) for name, hint in get_type_hints(kind).items()}
    return _object(kind, known, sorted(kind.__required_keys__))


def _by_kind() -> list[dict[str, Any]]:
    """What may stand in the options of a step hangs on its kind."""
    return [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"properties": {"options": _ref(part)}},
        }
        for kind, part in OPTIONS.items()
    ]


def _of(hint: Any) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is WorkflowSpec:
        return {"$ref": "#"}

    if is_dataclass(hint) or is_typeddict(hint):
        return _ref(hint)

    if origin is Literal:
        return {"enum": list(arguments)}

    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(member) for member in arguments]}

    if origin in (tuple, list):
        return {"type": "array", "items": _of(arguments[0])}

    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object"}

    return dict(_PLAIN[hint])


def _ref(kind: Any) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{kind.__name__}"}
