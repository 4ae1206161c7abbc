"""Reading a Python value out of what a model answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agentflow.exceptions import ModelOutputInvalid

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

# Structured answers must be JSON objects; a type that is none stands in one, under this name.
_WRAPPER = "response"


class Output:
    """A type that a model shall answer with: its JSON Schema, and the reading of answers.

    Models that know no schemas write text around the JSON, or leave the wrapper out: both are read.
    """

    def __init__(self, of: Any) -> None:
        # Imported here: pydantic takes a tenth of a second, and this module is also imported without need of it.
        from pydantic import TypeAdapter, create_model

        self.name: str = getattr(of, "__name__", None) or str(of)
        self._adapter: TypeAdapter[Any] = TypeAdapter(of)
        self.schema: dict[str, Any] = self._adapter.json_schema()
        self._wrapped = self.schema.get("type") != "object"
        if self._wrapped:
            fields: dict[str, Any] = {_WRAPPER: (of, ...)}
            self.schema = create_model(self.name, **fields).model_json_schema()

    def read(self, text: str) -> Any:
        """The value that `text` holds; raises `ModelOutputInvalid` saying what does not fit."""
        from pydantic import ValidationError

        faults: list[str] = []
        for candidate in _candidates(text):
            try:
                return self._adapter.validate_json(json.dumps(self._unwrapped(candidate)))
            except ValidationError as error:
                faults = faults or _faults(error)

        raise ModelOutputInvalid(
            f"the answer does not fit `{self.name}`: {'; '.join(faults)}; it begins: {text[:200]!r}",
            hint="a model with JSON Schema output, or a simpler output type, helps",
        )

    def _unwrapped(self, value: Any) -> Any:
        return value[_WRAPPER] if self._wrapped and isinstance(value, dict) and _WRAPPER in value else value


def _candidates(text: str) -> Iterator[Any]:
    """What the answer may be: all of `text` as JSON, the first JSON object in it, or `text` itself."""
    try:
        yield json.loads(text)
    except ValueError:
        yield from _first_object(text)

    yield text.strip()


def _first_object(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            yield decoder.raw_decode(text, start)[0]
            return
        except ValueError:
            start = text.find("{", start + 1)


def _faults(error: ValidationError) -> list[str]:
    return [f"`{'.'.join(map(str, e['loc'])) or 'answer'}`: {e['msg']}" for e in error.errors()[:5]]
