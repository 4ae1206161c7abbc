"""What of a file's data fits the format: each misfit is told at its place, and what is left of the data can be looked at further."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import jsonschema

from agentflow.definition.reading import CODE, Text, place_said, said_of
from agentflow.exceptions import Problem, did_you_mean, nearest
from agentflow.options import OPTIONS
from agentflow.places import Key, Place
from agentflow.schema import workflow_schema
from agentflow.spec import FORMAT
from agentflow.validation import UNREAD

_ALIKE = 0.7  # what a misspelt name has in common with the right one, from 0 to 1
_OPTIONS = {name for part in OPTIONS.values() for name in part.__annotations__}
_ROUNDS = 50  # one for each level at which taking a misfit out can make another; files nest less deep
_NO_EDGE = {"from": UNREAD, "to": UNREAD}


class Fitted(NamedTuple):
    """Data that fits the format, where its parts stand, the steps of which nothing is known, and what did not fit.

    An edge that could not be read, and an end that is missing, has `UNREAD` for a step.
    """

    data: dict[str, Any]
    marks: Mapping[Key, Place]
    unknown: set[Key]
    problems: list[Problem]


def fitted(text: Text, name: str) -> Fitted:
    """What of a text fits; `name` is the workflow's where it has none."""
    if not isinstance(text.data, dict):
        hint = "it begins with `agentflow: 1` and `name:`"
        where = place_said("the file", text.marks[()]) if text.marks else "the file"
        problem = Problem(code=CODE, what="it holds no workflow", where=where, hint=hint)
        return Fitted({}, {}, set(), [problem])

    return _Fitting(text, name).run()


@cache
def _validator() -> Any:
    return jsonschema.Draft202012Validator(workflow_schema())


class _Fitting:
    """Takes out of the data what does not fit, and tells each misfit once."""

    def __init__(self, text: Text, name: str) -> None:
        self.marks, self.name = dict(text.marks), name
        self.data: dict[str, Any] = copy.deepcopy(text.data)
        self.unknown: set[Key] = set()
        # What was taken out, so that it is not told as missing.
        self.gone: set[Key] = set()
        self.problems: list[tuple[tuple[int, int], Problem]] = []

    def run(self) -> Fitted:
        for _ in range(_ROUNDS):
            faults = list(map(_deepest, _validator().iter_errors(self.data)))
            for fault in faults:
                with suppress(KeyError, IndexError):  # it stood in what another misfit took out
                    self._mend(fault, tuple(fault.absolute_path))

            if not faults:
                break

        told = [problem for _, problem in sorted(self.problems, key=lambda p: p[0])]
        return Fitted(self.data, self.marks, self.unknown, told)

    def _tell(self, path: Key, what: str, hint: str) -> None:
        place = self._place(path)
        problem = Problem(code=CODE, what=what, where=place_said(said_of(path), place), hint=hint)
        self.problems.append(((place.line, place.column), problem))

    def _place(self, path: Key) -> Place:
        while path not in self.marks:
            path = path[:-1]

        return self.marks[path]

    def _mend(self, fault: Any, path: Key) -> None:
        if fault.validator == "additionalProperties":
            for key in [key for key in fault.instance if key not in fault.schema["properties"]]:
                self._tell_unknown(fault, (*path, key))
                self._rename((*path, key), fault)
        elif fault.validator == "required":
            missing = next(k for k in fault.validator_value if fault.message.startswith(repr(k)))
            if missing in fault.instance:
                return  # under a misspelt name

            if (*path, missing) not in self.gone:
                self._tell(path, f"`{missing}` is missing", _FORMAT_HINT)

            self._fill(path, missing)
        else:
            self._tell(path, fault.message[:200], _hint(fault))
            self._replace(path, fault)

    def _tell_unknown(self, fault: Any, path: Key) -> None:
        name, known = str(path[-1]), list(fault.schema["properties"])
        hint = f"known are: {', '.join(known)}" if known else "steps of this kind have none"
        if _is_one_of(path[:-1], "steps") and name in _OPTIONS:
            hint = "write it under `options:` of the step"

        self._tell(path, f"`{name}` is not known here", f"{did_you_mean(name, known)} {hint}".strip())

    def _rename(self, path: Key, fault: Any) -> None:
        """Take a misspelt name for the nearest that is not there; leave out what is near to none."""
        free = [name for name in fault.schema["properties"] if name not in fault.instance]
        near = nearest(str(path[-1]), free, likeness=_ALIKE)
        if not near:
            self._drop(path)
            return

        fault.instance[near[0]] = fault.instance.pop(path[-1])
        depth = len(path)
        moved = {k: place for k, place in self.marks.items() if k[:depth] == path}
        self.marks |= {(*path[:-1], near[0], *k[depth:]): place for k, place in moved.items()}

    def _replace(self, path: Key, fault: Any) -> None:
        """Take a misspelt word for the nearest that may stand there; leave out a value that is like none."""
        words = list(map(str, fault.validator_value)) if fault.validator == "enum" else []
        near = nearest(str(fault.instance), words, likeness=_ALIKE)
        if near:
            self._part(path[:-1])[path[-1]] = near[0]
        else:
            self._drop(path)

    def _drop(self, path: Key) -> None:
        """Take a part out; what it stood in must do without it."""
        holder = self._part(path[:-1])
        self.gone.add(path)
        if _is_one_of(path, "edges"):
            holder[path[-1]] = dict(_NO_EDGE)
        elif _is_one_of(path, "steps"):
            self._forget(path)
        elif path[-1] in ("steps", "edges") and _is_whole(path[:-1]):
            _empty(holder, path[-1])
        elif isinstance(holder, dict):
            holder.pop(path[-1], None)
        elif not _is_one_of(path, "allow"):
            # An item of a list, which moves none of those after it.
            self._drop(path[:-1])
        else:
            holder[path[-1]] = {"kind": "unchecked-tool", "because": "it could not be read"}

    def _fill(self, path: Key, missing: str) -> None:
        """Put in what is missing, where something can be said of the rest without it; else leave out the whole."""
        part = self._part(path)
        if _is_whole(path):
            part[missing] = {"agentflow": FORMAT, "name": self.name}.get(missing, UNREAD)
        elif _is_one_of(path, "edges"):
            part[missing] = UNREAD
        elif _is_one_of(path, "steps"):
            self._forget(path)
        elif missing == "name":
            part[missing] = "agent"
        else:
            self._drop(path)

    def _forget(self, path: Key) -> None:
        """Of a step without a kind only its types and limits can be known."""
        known: Any = self._part(path)
        kept = {k: v for k, v in known.items() if k not in _OF_KIND} if isinstance(known, dict) else {}
        self._part(path[:-1])[path[-1]] = {**kept, "kind": "function"}
        self.unknown.add(path)

    def _part(self, path: Key) -> Any:
        part: Any = self.data
        for key in path:
            part = part[key]

        return part


_OF_KIND = ("kind", "call", "options", "workflow", "reads")
_FORMAT_HINT = "`agentflow spec --schema` prints the format"


def _empty(whole: dict[str, Any], part: str | int) -> None:
    """Leave out all steps or all edges of a workflow: what the others hang on is not known then."""
    whole["edges"] = [dict(_NO_EDGE)]
    if part == "steps":
        whole |= {"steps": {}, "start": UNREAD, "end": UNREAD}


def _is_one_of(path: Key, name: str) -> bool:
    """Whether a part is one of the `steps` or `edges` of the workflow, or of one inside of it."""
    return len(path) >= 2 and path[-2] == name and _is_whole(path[:-2])


def _is_whole(path: Key) -> bool:
    """Whether a part is a workflow: the file's own, or that of a step."""
    return not path or (path[-1] == "workflow" and _is_one_of(path[:-1], "steps"))


def _deepest(fault: Any) -> Any:
    """Of a part that may be one thing or another, what is wrong with the one that it comes nearest to."""
    while fault.context:
        fault = max(fault.context, key=lambda inner: len(inner.absolute_path))

    return fault


def _hint(fault: Any) -> str:
    if fault.validator == "enum":
        known = list(map(str, fault.validator_value))
        return f"{did_you_mean(str(fault.instance), known)} it is one of: {', '.join(known)}".strip()

    if fault.validator == "type" and fault.validator_value == "string":
        return "put it in quotes, if it is meant as text"

    return _FORMAT_HINT
