"""Where a run that is executed again leaves its record: what was recorded there, and what came instead."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

from agentflow.events import ErrorInfo, Payload

What = Literal[
    "definition", "input", "call", "request", "label", "question", "file", "output", "end", "order"
]
# Characters of a value that are shown, and of what stands before the first difference.
_SHOWN, _BEFORE = 100, 24
_ABSENT = object()
# Where an object lay in memory is another place each time.
_PLACE = re.compile(r"\b0x[0-9a-f]{6,}\b")

NOT_THE_SAME = (
    "a step must give the same for the same input: let what changes (time, chance, files, the network) "
    "come from its input or from a tool"
)
CODE_CHANGED = "was its code, its prompt or what it reads changed since the run was recorded?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first place where a run did not go as recorded.

    `seq` numbers the recorded event that did not come, `event` is its type; `step` is the activation, and `call` what was
    called there, where it is about a call. `recorded` and `came` say in words what there was, and what there is now.
    """

    what: What
    seq: int
    event: str
    recorded: str
    came: str
    step: str = ""
    call: str = ""
    hint: str = ""

    def __str__(self) -> str:
        step = f", step `{self.step}`" if self.step else ""
        call = f", {self.call}" if self.call else ""
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return (
            f"event {self.seq} ({self.event}){step}{call}: {self.what} differs\n"
            f"  recorded: {self.recorded}\n  now: {self.came}{hint}"
        )


class Difference(NamedTuple):
    """The first difference of two values: the path that leads there, and both values cut so that it is seen."""

    path: str
    old: str
    new: str


def first_difference(old: Any, new: Any, path: str = "") -> Difference | None:
    """Where two values of JSON data first differ; None where they are the same."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return _in_mappings(cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", new), path)

    if isinstance(old, list) and isinstance(new, list):
        return _in_lists(old, new, path)

    # As text, since 1, 1.0 and True are equal in Python, and are not in JSON.
    if old is not _ABSENT and new is not _ABSENT and _text(old) == _text(new):
        return None

    return Difference(path, *_pair(old, new))


def _in_mappings(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Difference | None:
    for name in [*old, *(name for name in new if name not in old)]:
        inner = f"{path}.{name}" if path else name
        if found := first_difference(old.get(name, _ABSENT), new.get(name, _ABSENT), inner):
            return found

    return None


def _in_lists(old: list[Any], new: list[Any], path: str) -> Difference | None:
    for index in range(max(len(old), len(new))):
        before = old[index] if index < len(old) else _ABSENT
        after = new[index] if index < len(new) else _ABSENT
        if found := first_difference(before, after, f"{path}[{index}]"):
            return found

    return None


def _pair(old: Any, new: Any) -> tuple[str, str]:
    if not isinstance(old, str) or not isinstance(new, str):
        return shown(old), shown(new)

    ends = min(len(old), len(new))
    same = next((i for i in range(ends) if old[i] != new[i]), ends)
    start = max(0, same - _BEFORE) if max(len(old), len(new)) > _SHOWN else 0
    return _cut(old, start), _cut(new, start)


def _cut(text: str, start: int = 0) -> str:
    end = start + _SHOWN
    kept = json.dumps(text[start:end], ensure_ascii=False)
    return ("…" if start else "") + kept + ("…" if len(text) > end else "")


def shown(value: Any) -> str:
    """A value of JSON data in a line."""
    if value is _ABSENT:
        return "nothing"

    if isinstance(value, str):
        return _cut(value)

    text = _text(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def payload_difference(old: Payload | None, new: Payload | None) -> Difference | None:
    """Where two payloads first differ."""
    if old is None or new is None:
        return None if old is new else Difference("", _of(old), _of(new))

    # Most are the same byte for byte; else the order of keys alone makes no difference.
    return None if old.json == new.json else first_difference(old.data, new.data)


def _of(payload: Payload | None) -> str:
    return "nothing" if payload is None else shown(payload.data)


def error_text(error: ErrorInfo | None) -> str:
    """An error in words."""
    return "no error" if error is None else f"{error.kind}: {error.message}"


def same_error(old: ErrorInfo | None, new: ErrorInfo | None) -> bool:
    """Whether two errors say the same; where an object lay in memory does not count."""
    return _PLACE.sub("0x", error_text(old)) == _PLACE.sub("0x", error_text(new))


def at(difference: Difference, value: str) -> str:
    """A value of a difference with the path that leads to it."""
    return f"{difference.path} = {value}" if difference.path else value
