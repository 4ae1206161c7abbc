"""Which files a search is limited to: conditions on what is known of each, all of which must hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

from agentflow.exceptions import ToolArgumentsInvalid, UnknownName
from agentflow.toolkit.files import globs

Value = str | int | float | bool
Metadata = Mapping[str, Value | list[str]]
_WORDS = re.compile(r"(?P<name>[\w.-]+)\s*(?P<sign><=|>=|=)\s*(?P<value>.*)", re.DOTALL)
_KINDS = {"text": "a text", "number": "a number", "truth": "true or false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The attribute `name` is one of `values`, if given, and lies from `least` to `most`, as far as they are given.

    Of an attribute with several values, one has to fit. Dates are texts such as `2026-11-30`.
    """

    name: str
    values: tuple[Value, ...] = ()
    least: Value | None = None
    most: Value | None = None

    def holds(self, attributes: Metadata) -> bool:
        """Does it hold for a file with these attributes? Not for one that lacks it."""
        known = attributes.get(self.name)
        return known is not None and any(map(self._fits, known if isinstance(known, list) else [known]))

    def described(self) -> str:
        """The condition in words."""
        values = f"={','.join(map(str, self.values))}" if self.values else ""
        least = f">={self.least}" if self.least is not None else ""
        most = f"<={self.most}" if self.most is not None else ""
        return f"{self.name}{values}{least}{most}"

    def wanted(self) -> Iterable[Value]:
        """The values that the condition names."""
        return [*self.values, *(bound for bound in (self.least, self.most) if bound is not None)]

    def _fits(self, value: Value) -> bool:
        return (
            (not self.values or any(_same(value, wanted) for wanted in self.values))
            and (self.least is None or _at_most(self.least, value))
            and (self.most is None or _at_most(value, self.most))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """All `conditions` hold, the path fits one of `paths`, if given, and is one of `only`, if given."""

    conditions: tuple[Condition, ...] = ()
    paths: tuple[str, ...] = ()
    only: frozenset[str] | None = None

    def fits(self, path: str, attributes: Metadata) -> bool:
        return (
            (self.only is None or path in self.only)
            and (not self.paths or globs.matches(path, self.paths))
            and all(condition.holds(attributes) for condition in self.conditions)
        )

    def described(self) -> list[str]:
        """The conditions in words, as they are recorded."""
        path = [f"path={','.join(self.paths)}"] if self.paths else []
        return [*(condition.described() for condition in self.conditions), *path]

    def check(self, files: Iterable[Metadata]) -> None:
        """Refuse conditions that can hold for none of `files`: on attributes that none has, or with values of another type."""
        known: dict[str, set[str]] = {}
        for attributes in files if self.conditions else ():
            for name, value in attributes.items():
                known.setdefault(name, set()).add(_kind(value))

        for condition in self.conditions if known else ():
            _check(condition, known)


def filter_from(where: Mapping[str, Any]) -> Filter:
    """The filter that JSON data means: `{"kind": ["pdf", "docx"], "year": {"least": 2020}, "path": "contracts/**"}`."""
    paths = where.get("path", ())
    return Filter(
        conditions=tuple(_condition(name, value) for name, value in where.items() if name != "path"),
        paths=(paths,) if isinstance(paths, str) else tuple(paths),
    )


def filter_of_words(words: Sequence[str]) -> Filter:
    """The filter that words such as `kind=pdf,docx`, `year>=2020` and `path=contracts/**` mean."""
    conditions: list[Condition] = []
    paths: list[str] = []
    for word in words:
        match = _WORDS.fullmatch(word.strip())
        if not match or not match["value"]:
            hint = "write `name=value`, `name=one,other`, `name>=value`, `name<=value` or `path=folder/**`"
            raise ToolArgumentsInvalid(f"`{word}` is no condition", hint=hint)

        if match["name"] == "path" and match["sign"] == "=":
            paths += match["value"].split(",")
        else:
            conditions.append(_condition_of(match["name"], match["sign"], match["value"]))

    return Filter(conditions=tuple(conditions), paths=tuple(paths))


def _condition_of(name: str, sign: str, text: str) -> Condition:
    if sign == "=":
        return Condition(name=name, values=tuple(_value(part) for part in text.split(",")))

    bound = _value(text)
    return Condition(name=name, least=bound) if sign == ">=" else Condition(name=name, most=bound)


def _value(text: str) -> Value:
    """What a word on the command line means; quotes make it a text."""
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"

    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]

    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue

    return text


def _condition(name: str, value: Any) -> Condition:
    match value:
        case str() | int() | float() | date():
            return Condition(name=name, values=(plain(value),))
        case list() | tuple() if value:
            return Condition(name=name, values=tuple(plain(item) for item in cast("Sequence[Any]", value)))
        case {"least": _, **others} | {"most": _, **others} if not set(cast("dict[str, Any]", others)) - {
            "least",
            "most",
        }:
            bounds = cast("Mapping[str, Any]", value)
            least, most = (
                plain(bounds[key]) if bounds.get(key) is not None else None for key in ("least", "most")
            )
            return Condition(name=name, least=least, most=most)
        case _:
            hint = 'give a value, a list of values, or `{"least": ..., "most": ...}`'
            raise ToolArgumentsInvalid(f"the condition on `{name}` is {value!r}", hint=hint)


def plain(value: Any) -> Value:
    """A value as it is compared and kept: dates are texts; raises `ToolArgumentsInvalid` for what is no value."""
    if isinstance(value, date):  # a datetime is one, too
        return value.isoformat()

    if isinstance(value, str | int | float):
        return value

    raise ToolArgumentsInvalid(
        f"{value!r} is no value", hint="values are texts, numbers, dates, true and false"
    )


def _check(condition: Condition, known: Mapping[str, set[str]]) -> None:
    if condition.name not in known:
        raise UnknownName("attribute", condition.name, [*known, "path"])

    for value in condition.wanted():
        if _kind(value) not in known[condition.name]:
            kinds = " or ".join(_KINDS[kind] for kind in sorted(known[condition.name]))
            raise ToolArgumentsInvalid(
                f"`{condition.name}` is compared with {value!r}",
                hint=f"of each file that has it, it is {kinds}",
            )


def _kind(value: Value | list[str]) -> str:
    if isinstance(value, bool):
        return "truth"

    return "number" if isinstance(value, int | float) else "text"


def _same(one: Value, other: Value) -> bool:
    return _kind(one) == _kind(other) and one == other


def _at_most(one: Value, other: Value) -> bool:
    return _kind(one) == _kind(other) and one <= other  # type: ignore[operator]
