"""Prompts and inputs as text: what a model is told of a step's value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_type_hints

from agentflow.evidence import Evidence, fields_of, numbered
from agentflow.exceptions import DefinitionError, Problem
from agentflow.marking import marked
from agentflow.path import Place
from agentflow.typeref import cases, class_of

_PLACEHOLDER = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")
# A part of a field, as a template of another kind would write it: `{draft.text}`, `{items[0]}`, `{name!r}`.
_PART = re.compile(r"(?<!\{)\{([^\W\d]\w*(?:\.[^\W\d]\w*|\[\w*\]|![rsa])+)\}(?!\})")
_PLAIN = re.compile(r"\{(\{\w+\})\}")
_LONGEST_NAME = 200  # bytes of a file's name are limited to 255 by most file systems
_TASK_FIELDS = ("question", "task", "request", "query", "text", "message")


def load_prompt(step: str, prompt: str, place: Place) -> str:
    """The prompt's text; a name that ends in `.md` or `.txt` is a file beside the definition or above it.

    A sentence that ends so is text. Of two words it cannot be told, so a file must be there.
    """
    if not prompt.endswith((".md", ".txt")) or "\n" in prompt or len(prompt) > _LONGEST_NAME:
        return prompt

    folders = [Path(place.file).parent, *list(Path(place.file).parents)[1:3], Path.cwd()]
    found = next((folder / prompt for folder in folders if (folder / prompt).is_file()), None)
    if found is None and (len(prompt.split()) > 2 or _PLACEHOLDER.search(prompt)):
        return prompt

    try:
        if found is not None:
            return found.read_text(encoding="utf-8")

        what = "is not there"
        hint = f"put the file into {folders[0]}; to have it taken as text, end it with a full stop or a line break"
    except (OSError, UnicodeDecodeError) as error:
        what, hint = f"cannot be read: {error}", "make it a text file in UTF-8 that may be read"

    where = f"step `{step}`" + (f" ({place})" if str(place) else "")
    problem = Problem(code="AF121", what=f"its prompt `{prompt}` {what}", where=where, hint=hint)
    raise DefinitionError(step, [problem])


def placeholders(prompt: str) -> list[str]:
    """The names in braces that a prompt wants filled, each once."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(prompt)))


def parts_of_fields(prompt: str) -> list[str]:
    """What stands in braces and asks for a part of a field, which nothing fills, each once."""
    return list(dict.fromkeys(_PART.findall(prompt)))


def field_names(type_: Any) -> set[str] | None:
    """The fields of a type that placeholders may name; None where they cannot be known."""
    if type_ is str:
        return {"text"}

    if not isinstance(type_, type) or type_ in (int, float, bool, list, dict):
        return None

    try:
        return set(get_type_hints(type_)) or None
    except (NameError, TypeError):
        return None


def fillable(type_: Any) -> set[str] | None:
    """The placeholders that some value of a type fills; None where any may come."""
    found: set[str] = set()
    for case in cases(type_):
        class_ = class_of(case)
        row = getattr(_runtime(case), "__required_keys__", None)
        if row is None and (class_ is None or class_ is object or issubclass(class_, Mapping)):
            return None

        found |= {"text"} if class_ is str else set(_said(_runtime(case), class_))

    return found


def _runtime(type_: Any) -> Any:
    return _runtime(type_.__supertype__) if hasattr(type_, "__supertype__") else type_


def _said(type_: Any, class_: type | None) -> Iterable[str]:
    """The fields that values of a class surely have."""
    if hasattr(type_, "__required_keys__"):
        return cast("Iterable[str]", type_.__annotations__)

    if class_ is not None and is_dataclass(class_):
        return [field.name for field in fields(class_)]

    return cast("Iterable[str]", getattr(class_, "model_fields", None) or getattr(class_, "_fields", ()))


def fill(prompt: str, value: Any, *, mark: str = "") -> str:
    """The prompt with each `{field}` replaced by that field of the value, and `{{field}}` by plain `{field}`.

    With a `mark` each field is told as text from outside.
    """
    known = {"text": value} if isinstance(value, str) else _fields_of(value)

    def filled(match: re.Match[str]) -> str:
        if match[1] not in known:
            return match[0]

        return marked(_as_text(known[match[1]]), mark)

    # In one pass over the prompt's own text: braces inside a value are left as they are.
    parts = _PLAIN.split(prompt)
    return "".join(part if n % 2 else _PLACEHOLDER.sub(filled, part) for n, part in enumerate(parts))


def _fields_of(value: Any) -> dict[str, Any]:
    named: Any = getattr(value, "_asdict", None)
    return named() if isinstance(value, tuple) and named is not None else fields_of(value)


def task_text(value: Any) -> str:
    """The request in a value: its text, or the field that is named like one, then the other fields by name."""
    if isinstance(value, str):
        return value

    known = {name: item for name, item in fields_of(value).items() if item not in (None, "", [], {})}
    main = next((name for name in _TASK_FIELDS if isinstance(known.get(name), str)), None)
    lines = [str(known.pop(main))] if main else []
    return "\n".join(lines + [f"{name}: {_as_text(item)}" for name, item in known.items()]) or _as_text(value)


def input_text(value: Any, *, mark: str = "") -> str:
    """A value as the JSON that a model reads; evidence in it is numbered from 1 through the whole value.

    Evidence that is not trusted is marked with `mark`, where one is given.
    """
    if isinstance(value, str):
        return value

    count = 0

    def render(item: Any) -> Any:
        nonlocal count
        if isinstance(item, Evidence):
            count += 1
            return numbered([item], count, mark=mark)[0]

        if isinstance(item, list | tuple):
            return [render(x) for x in cast("Sequence[Any]", item)]

        known = fields_of(item)
        return {name: render(x) for name, x in known.items()} if known else item

    return json.dumps(render(value), ensure_ascii=False, indent=1, default=str)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else input_text(value)
