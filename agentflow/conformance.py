"""Values held against a JSON Schema (draft 2020-12): each fault says where it is, and what would fit instead."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit
from uuid import UUID

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

MOST = 20  # faults that are told of one value
_SHOWN = 80  # characters of a value
# A pattern can take exponential time (OWASP, "Regular expression denial of service"); a fit takes microseconds.
_PATTERN_SECONDS = 0.25
_HOST = re.compile(r"(?=.{1,253}$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_MAIL = re.compile(r"[^@\s]+@[^@\s]+")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_CLOCK = re.compile(r"\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?")


class Conformance:
    """A schema to hold values against. Nothing is fetched: a reference out of the schema is a fault."""

    def __init__(self, schema: Mapping[str, Any] | bool) -> None:
        # Imported here: together they cost a tenth of a second.
        from jsonschema import Draft202012Validator, FormatChecker
        from jsonschema.validators import extend
        from referencing import Registry

        extended: Any = extend  # untyped
        known = extended(Draft202012Validator, {"pattern": _pattern, "format": _format})
        self._validator = known(schema, registry=Registry(), format_checker=FormatChecker(formats=()))

    def faults(self, value: Any, *, whole: str = "value") -> list[str]:
        """What does not fit, at most `MOST` faults; `whole` is what the value as a whole is called."""
        from referencing.exceptions import Unresolvable

        found: list[str] = []
        try:
            for error in self._validator.iter_errors(value):
                found += [line for line in _told(error, whole) if line not in found]
                if len(found) >= MOST:
                    break
        except RecursionError:
            return [f"`{whole}`: is nested too deep"]
        except Unresolvable as error:
            return [f"`{whole}`: its schema refers to `{error.ref}`, which is not in it"]

        return found[:MOST]


def schema_faults(schema: Any) -> list[str]:
    """What makes `schema` no JSON Schema: keywords with values that they cannot have, patterns that are none."""
    from jsonschema import Draft202012Validator

    try:
        meta = Draft202012Validator(Draft202012Validator.META_SCHEMA)
        found = [line for error in meta.iter_errors(schema) for line in _told(error, "schema")]
        return [*found, *_pattern_faults(schema)][:MOST]
    except RecursionError:
        return ["`schema`: is nested too deep"]


def _pattern_faults(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        known = cast("dict[str, Any]", schema)
        pattern = known.get("pattern")
        if isinstance(pattern, str) and _compiled(pattern) is None:
            yield f"`pattern`: {_brief(pattern)} is no regular expression"

        for value in known.values():
            yield from _pattern_faults(value)
    elif isinstance(schema, list):
        for value in cast("Sequence[Any]", schema):
            yield from _pattern_faults(value)


def _compiled(pattern: str) -> Any:
    import regex

    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError):
        return None


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    if not isinstance(value, str):
        return

    compiled = _compiled(pattern)
    try:
        if compiled is None or compiled.search(value, timeout=_PATTERN_SECONDS):
            return
    except TimeoutError:
        yield ValidationError(f"takes too long to be held against the pattern {_brief(pattern)}")
        return

    yield ValidationError(f"does not match the pattern {_brief(pattern)}")


def _format(_: Any, name: str, value: Any, __: Any) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    known = _FORMATS.get(name)
    if known is not None and not known[0](value):
        yield ValidationError(f"is {_brief(value)}, which is no `{name}`; write it as {known[1]}")


def _told(error: ValidationError, whole: str) -> Iterator[str]:
    """A fault in words; of a choice of which nothing fits, the faults of what comes nearest."""
    where, keyword = _place(error.absolute_path, whole), str(error.validator)
    rule: Any = error.validator_value
    if keyword == "required":
        for name in rule:
            if isinstance(error.instance, dict) and name not in error.instance:
                yield f"`{_place([*error.absolute_path, name], whole)}`: is missing"
    elif keyword == "additionalProperties" and isinstance(error.instance, dict):
        yield from _unknown(error, whole)
    elif keyword in ("anyOf", "oneOf") and error.context:
        yield from _nearest(error, whole)
    else:
        yield f"`{where}`: {_WORDS.get(keyword, _as_it_is)(error, rule)}"


def _nearest(error: ValidationError, whole: str) -> Iterator[str]:
    from jsonschema.exceptions import best_match

    near = best_match(error.context or [])
    # Where the kinds of value differ, what all the choices take says more than one of them.
    kinds = {kind for e in error.context or () if e.validator == "type" for kind in _kinds(e.validator_value)}
    same_place = all(e.validator == "type" and not e.relative_path for e in error.context or ())
    if near is None or same_place:
        yield f"`{_place(error.absolute_path, whole)}`: {_mismatch(error.instance, sorted(kinds))}"
        return

    rule: Any = error.validator_value
    yield from (f"{line} (of {len(rule)} forms, the nearest)" for line in _told(near, whole))


def _unknown(error: ValidationError, whole: str) -> Iterator[str]:
    schema = cast("Mapping[str, Any]", error.schema)
    known = list(schema.get("properties", {}))
    patterns = [compiled for p in schema.get("patternProperties", ()) if (compiled := _compiled(p))]
    for name in cast("dict[str, Any]", error.instance):
        if name not in known and not any(p.search(name, timeout=_PATTERN_SECONDS) for p in patterns):
            there = ", ".join(f"`{n}`" for n in known) or "nothing"
            yield f"`{_place([*error.absolute_path, name], whole)}`: there is no such name; there is: {there}"


def _place(path: Any, whole: str) -> str:
    """The way to a value, such as `items[0].sku`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or whole


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _kinds(rule: Any) -> list[str]:
    return [rule] if isinstance(rule, str) else [str(kind) for kind in rule]


def _mismatch(value: Any, kinds: list[str]) -> str:
    return f"is {_brief(value)}, and must be of type {' or '.join(kinds)}"


def _as_it_is(error: Any, _: Any) -> str:
    return error.message if len(error.message) <= 3 * _SHOWN else f"{error.message[: 3 * _SHOWN]}..."


_WORDS: dict[str, Callable[[Any, Any], str]] = {
    "type": lambda e, rule: _mismatch(e.instance, _kinds(rule)),
    "enum": lambda e, rule: (
        f"is {_brief(e.instance)}, and must be one of {', '.join(map(_brief, rule[:30]))}"
    ),
    "const": lambda e, rule: f"is {_brief(e.instance)}, and must be {_brief(rule)}",
    "minimum": lambda e, rule: f"is {_brief(e.instance)}, and must be at least {rule}",
    "maximum": lambda e, rule: f"is {_brief(e.instance)}, and must be at most {rule}",
    "exclusiveMinimum": lambda e, rule: f"is {_brief(e.instance)}, and must be above {rule}",
    "exclusiveMaximum": lambda e, rule: f"is {_brief(e.instance)}, and must be below {rule}",
    "minLength": lambda e, rule: f"has {len(e.instance)} characters, and must have at least {rule}",
    "maxLength": lambda e, rule: f"has {len(e.instance)} characters, and must have at most {rule}",
    "minItems": lambda e, rule: f"has {len(e.instance)} items, and must have at least {rule}",
    "maxItems": lambda e, rule: f"has {len(e.instance)} items, and must have at most {rule}",
}


def _holds(check: Callable[[Any], object], kind: type | tuple[type, ...] = str) -> Callable[[Any], bool]:
    """Whether a value of `kind` passes `check`; values of other kinds are no matter of a format."""

    def holds(value: Any) -> bool:
        if not isinstance(value, kind) or isinstance(value, bool):
            return True

        try:
            return check(value) not in (None, False)
        except (ValueError, binascii.Error):
            return False

    return holds


def _within(bits: int) -> Callable[[Any], bool]:
    return _holds(lambda value: -(2 ** (bits - 1)) <= value < 2 ** (bits - 1), (int, float))


def _moment(value: str) -> datetime | None:
    return datetime.fromisoformat(value.upper()) if _MOMENT.fullmatch(value) else None


def _clock(value: str) -> time | None:
    return time.fromisoformat(value) if _CLOCK.fullmatch(value) else None


def _day(value: str) -> date | None:
    return date.fromisoformat(value) if len(value) == 10 else None


def _uuid(value: str) -> UUID | None:
    return UUID(value) if len(value) == 36 else None


# By name: the check, and what fits. Those of OpenAPI's format registry and of JSON Schema that can be told apart.
_FORMATS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "date-time": (_holds(_moment), "2026-01-31T12:00:00Z"),
    "date": (_holds(_day), "2026-01-31"),
    "time": (_holds(_clock), "12:00:00Z"),
    "email": (_holds(_MAIL.fullmatch), "name@example.org"),
    "uuid": (_holds(_uuid), "123e4567-e89b-12d3-a456-426614174000"),
    "uri": (_holds(lambda v: bool(urlsplit(v).scheme) and " " not in v), "https://example.org/path"),
    "hostname": (_holds(_HOST.fullmatch), "www.example.org"),
    "ipv4": (_holds(ipaddress.IPv4Address), "192.0.2.1"),
    "ipv6": (_holds(ipaddress.IPv6Address), "2001:db8::1"),
    "byte": (_holds(lambda v: base64.b64decode(v, validate=True)), "base64"),
    "int32": (_within(32), "a number of 32 bits"),
    "int64": (_within(64), "a number of 64 bits"),
}
