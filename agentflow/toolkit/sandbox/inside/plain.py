"""Values of a program as data that can be written as JSON; used on both sides of the sandbox's wall."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

_DEPTH = 50


class Unwritable(ValueError):
    """Raised when a value is no data, or is too much of it."""


def written(value: Any, most: int) -> str:
    """`value` as JSON of at most `most` characters; raises `Unwritable`."""
    try:
        text = json.dumps(Plain(most).of(value), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise Unwritable(f"the result cannot be given back: {error}") from None

    if len(text) > most:
        raise Unwritable(f"the result is {len(text):,} characters long, and {most:,} are allowed")

    return text


class Plain:
    """Turns values into JSON-able data that holds at most `most` values, nested at most 50 levels deep."""

    def __init__(self, most: int) -> None:
        # Each value takes a character at least; counting them ends early on what would be refused anyway.
        self._most = self._left = most

    def of(self, value: Any, depth: int = 0) -> Any:
        """Sets become sorted lists, dates ISO 8601, decimals floats, `nan` and `inf` None, objects their fields.

        A data frame becomes a dict of `columns` and `rows`, a series a dict, an array a list.
        """
        self._left -= 1
        if depth > _DEPTH or self._left < 0:
            raise ValueError(f"it is nested over {_DEPTH} levels or holds over {self._most:,} values")

        # Before lists: an array of numbers is long, and its size is known at once.
        value = self._unpacked(value)
        if isinstance(value, Mapping):
            return {_key(key): self.of(item, depth + 1) for key, item in value.items()}

        if isinstance(value, set | frozenset):
            return sorted((self.of(item, depth + 1) for item in value), key=_order)

        if isinstance(value, Iterator):
            value = list(islice(value, self._left + 1))

        if isinstance(value, list | tuple):
            return [self.of(item, depth + 1) for item in value]

        fields = _fields(value)
        return self.of(fields, depth + 1) if fields is not None else _single(value)

    def _unpacked(self, value: Any) -> Any:
        """What numpy and pandas hold, as Python's own types."""
        package = type(value).__module__.partition(".")[0]
        if package not in {"numpy", "pandas"}:
            return value

        if getattr(value, "size", 1) > self._left:
            raise ValueError(f"it holds {value.size:,} values, and {self._most:,} are allowed")

        if package == "numpy":
            return value.tolist() if hasattr(value, "tolist") else value

        return _of_pandas(value)


def _of_pandas(value: Any) -> Any:
    kind = type(value).__name__
    if kind == "DataFrame":
        named = any(name is not None for name in value.index.names)
        table = value if type(value.index).__name__ == "RangeIndex" and not named else value.reset_index()
        return {
            "columns": [_key(name) for name in table.columns],
            "rows": [list(row) for row in table.itertuples(index=False, name=None)],
        }

    if kind == "Series":
        return dict(zip(value.index.tolist(), value.tolist(), strict=True))

    if kind in {"NAType", "NaTType"}:
        return None

    return value.tolist() if hasattr(value, "tolist") else value


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of a data class, also of one that the other interpreter gives by proxy."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}

    fields = getattr(value, "attributes", None)
    return fields if isinstance(fields, dict) else None


def _single(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        # The bare number or text of a subclass, which may write itself as anything.
        return value if type(value) in {type(None), bool, int, str} else _bare(value)

    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None

    if isinstance(value, datetime | date | time):
        return value.isoformat()

    if isinstance(value, timedelta):
        return value.total_seconds()

    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _bare(value: Any) -> Any:
    return int(value) if isinstance(value, int) else str(value)


def _key(key: Any) -> str:
    if isinstance(key, tuple):
        return ", ".join(map(_key, key))

    return str(_single(key))


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, before all else by text."""
    number = isinstance(value, int | float)
    return (not number, value if number else 0, "" if number else str(value))
