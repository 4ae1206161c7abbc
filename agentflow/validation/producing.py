"""What the model of a run cannot give: known before anything is asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentflow.evidence import Answer, Evidence
from agentflow.exceptions import Problem, ProjectError
from agentflow.spec import StepSpec, WorkflowSpec, agents_in, steps_in
from agentflow.typeref import resolve_type, short_name

_EMBEDDED = "embedded"
Schema = Mapping[str, Any]


def cannot_produce(spec: WorkflowSpec, model: object) -> list[Problem]:
    """The steps whose output type `model` (a name, or what prints as one) cannot write.

    Only of the embedded model is it known beforehand: it writes evidence, cited answers, labels (enums and booleans)
    and programs. A step that names a model of its own is judged by that.
    """
    asking = [(place, step) for place, step in steps_in(spec) if step.kind in ("planner", "agent")]
    return [problem for place, step in asking for problem in _asked(place, step, str(model))]


def _asked(place: str, step: StepSpec, model: str) -> Iterator[Problem]:
    for agent in agents_in({"name": step.id, "gives": step.gives, **step.options}):
        name, gives = agent.get("name", ""), agent.get("gives", "str")
        if (agent.get("model") or model) == _EMBEDDED and not _writes(gives):
            yield _problem(place, name if name != step.id else "", gives)


def _problem(step: str, agent: str, gives: str) -> Problem:
    who = f"its agent `{agent}`" if agent else "it"
    return Problem(
        code="AF118",
        what=f"{who} gives `{short_name(gives)}`, which the embedded model cannot write",
        where=f"step `{step}`",
        hint="connect a language model (`--model`, OPENAI_API_KEY or OPENAI_BASE_URL), or let it give evidence, "
        "an `Answer` or labels",
    )


def _writes(gives: str) -> bool:
    try:
        type_ = resolve_type(gives)
    except ProjectError:
        return True  # a type that stands in a function cannot be found by its name

    if type_ in (str, Any, Answer, list[Evidence]) or short_name(gives) == "Sequence[Evidence]":
        return True  # plain text: whether there is something to quote is known when it is asked

    try:
        schema = _schema(type_)
    except Exception:  # noqa: BLE001 - whatever a type's own hooks raise; that it has no schema is said where it is used
        return True

    return _is_labels(schema, schema) or _is_program(schema) or _is_answer(schema)


def _schema(type_: Any) -> Schema:
    # pydantic takes a tenth of a second to import.
    from pydantic import TypeAdapter, create_model

    schema = TypeAdapter(type_).json_schema()
    fields: dict[str, Any] = {"response": (type_, ...)}
    return (
        schema if schema.get("type") == "object" else create_model("Response", **fields).model_json_schema()
    )


def _is_labels(schema: Schema, root: Schema) -> bool:
    properties = schema.get("properties") or {}
    return bool(properties) and all(_is_label(_followed(p, root), root) for p in properties.values())


def _is_label(field: Schema, root: Schema) -> bool:
    if "properties" in field:
        return all(_is_label(_followed(p, root), root) for p in field["properties"].values())

    return "enum" in field or "const" in field or field.get("type") == "boolean"


def _followed(field: Schema, root: Schema) -> Schema:
    options = [o for o in field.get("anyOf", field.get("allOf", ())) if o.get("type") != "null"]
    inner: Schema = options[0] if len(options) == 1 else {}
    if "$ref" in field:
        inner = root.get("$defs", {}).get(str(field["$ref"]).rpartition("/")[2], {})

    return {**_followed(inner, root), **field} if inner else field


def _is_program(schema: Schema) -> bool:
    names = set(schema.get("properties", {}))
    return names == {"code"} or (schema.get("title") == "Program" and "code" in names)


def _is_answer(schema: Schema) -> bool:
    properties = schema.get("properties", {})
    name = next((n for n in ("text", "answer") if properties.get(n, {}).get("type") == "string"), None)
    return name is not None and set(properties) <= {name, "citations"}
