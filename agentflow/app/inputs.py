"""What a workflow is given: plain data becomes what it takes, or is refused field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from agentflow.events import adapter
from agentflow.exceptions import InputInvalid
from agentflow.steps.prompting import field_names
from agentflow.typeref import short_name, type_name
from agentflow.workflow import Workflow

# Of these, pydantic gives back each value as it is.
_PLAIN = (str, int, float, bool, bytes, type(None))


def coerce_input(workflow: Workflow[Any, Any], value: Any) -> Any:
    """`value` as what the workflow takes; raises `InputInvalid` that names each field, what it wants and what came."""
    if type(value) is workflow.takes and workflow.takes in _PLAIN:
        return value

    from pydantic import ValidationError  # heavy, and not needed for what is plain already

    if unknown := _unknown_fields(workflow.takes, value):
        raise _refused(workflow, unknown)

    try:
        return adapter(workflow.takes).validate_python(value)
    except ValidationError as error:
        details = [_fault(e) for e in error.errors()]
        raise _refused(workflow, details) from None


def _refused(workflow: Workflow[Any, Any], details: list[str]) -> InputInvalid:
    wanted = f"it takes `{short_name(type_name(workflow.takes))}`{_shape(workflow.takes)}"
    return InputInvalid(f"workflow `{workflow.name}`", details, hint=wanted)


def _unknown_fields(type_: Any, value: Any) -> list[str]:
    names = field_names(type_)
    if names is None or type_ is str or not isinstance(value, Mapping):
        return []

    given = cast("Mapping[str, Any]", value)
    return [f"`{key}`: there is no such field" for key in given if key not in names]


def _fault(error: Any) -> str:
    place = ".".join(map(str, error["loc"])) or "the value"
    got = "nothing" if error["type"] in ("missing", "missing_argument") else f"{error['input']!r:.80}"
    return f"`{place}`: {error['msg'][0].lower()}{error['msg'][1:]}; got {got}"


def _shape(type_: Any) -> str:
    names = field_names(type_)
    return f" with {', '.join(sorted(names))}" if names and type_ is not str else ""
