"""Arguments: what a tool is to be called with, read from a request with the help of the tool's JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentflow.models.embedded import programs, queries, values

_URL = re.compile(r"https?://[^\s'\"<>)\]]+", re.IGNORECASE)
_LOCAL = re.compile(
    r"(?<![\w@/.])(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|[\w-]+\.(?:local|test))(?::\d+)?(?:/[^\s'\"<>)\]]*)?",
    re.IGNORECASE,
)
_HOST = re.compile(
    r"(?<![\w@/.-])(?:[a-z0-9-]+\.)+(?:com|org|net|io|edu|gov|dev|app|co|uk|de|fr|nl|it|es|at|ch|se|no|dk|fi|pl|eu|us|ai|info|example|invalid)\b"
    r"(?::\d+)?(?:/[^\s'\"<>)\]]*)?",
    re.IGNORECASE,
)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|(?<!\w)'([^']+)'(?!\w)")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:[.,]\d{3})*(?:\.\d+)?(?![\w])")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_PLACE = re.compile(r"\b(?:in|for|at|near|of) ((?:[A-ZÀ-Þ][\w'’-]+)(?: [A-ZÀ-Þ][\w'’-]+)*)")
_TITLED = re.compile(
    r"\b(?:named|called|titled|entitled|name is|nickname) ([\w .-]+?)(?=[,.;?!]|$| and | with | to )"
)

# What a parameter wants is told by its name; each pattern has to fit the whole of it.
_QUERY = re.compile(r"q|query|question|search(?:_query|_terms?)?|text|keywords?|terms?|topic")
_LINK = re.compile(r"(?:start_)?ur[li]s?|links?|address(?:es)?|page|site|website|href")
_TASK = re.compile(r"task|instructions?|goal|objective|action|request|prompt|description|input")
_CODE = re.compile(r"code|script|program|source|python|expr(?:ession)?")
_VALUE = re.compile(r"(?:form_)?values|fields|form|data|inputs")
_BODY = re.compile(r"body|message|content|subject|title|summary")
_RECIPIENT = re.compile(r"to|recipients?|e_?mails?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Arguments for a tool; None when a required one cannot be known, and `why` then says which."""

    arguments: Mapping[str, Any] | None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where arguments come from: the text of a part, and the ids of the calls whose results it refers to.

    `whole` is the request that the part was cut from: an address or a value may stand elsewhere in it.
    `subjects` is what those calls ask for, and `has_address` says whether their results can hold an address.
    """

    text: str
    whole: str = ""
    earlier: Sequence[str] = field(default_factory=tuple)
    subjects: str = ""
    has_address: bool = False


def fill(source: Source, parameters: Mapping[str, Any]) -> Filled:
    """Arguments that fit the JSON Schema `parameters`; optional ones only when the request speaks of them."""
    properties: Mapping[str, Mapping[str, Any]] = parameters.get("properties", {})
    required: set[str] = set(parameters.get("required", ()))
    lone_text = [n for n in properties if n in required and _kind(properties[n]) == "string"]
    found: dict[str, Any] = {}
    for name, schema in properties.items():
        value = _value(name, schema, source, needed=name in required, alone=lone_text == [name])
        if value is not None:
            found[name] = value
        elif name in required:
            return Filled(arguments=None, why=_missing(name, schema))

    return Filled(arguments=found)


def _missing(name: str, schema: Mapping[str, Any]) -> str:
    if _CODE.fullmatch(name.lower()):
        return f"`{name}` would have to be written, and the request holds no code that could be run"

    return f"the request does not say what `{name}` ({_kind(schema)}) is to be"


def _value(name: str, schema: Mapping[str, Any], source: Source, *, needed: bool, alone: bool) -> Any:
    if "enum" in schema or "const" in schema:
        return _label(schema, source.text)

    kind = _kind(schema)
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(name, source, needed)

    return _text(name, source, needed=needed, alone=alone) if kind == "string" else None


def _kind(schema: Mapping[str, Any]) -> str:
    """The JSON type of a schema; of a choice with null, the other type."""
    options = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    kinds = [option.get("type") for option in options]
    flat = [k for kind in kinds for k in (kind if isinstance(kind, list) else [kind])]
    return next((str(k) for k in flat if k not in (None, "null")), "string")


def _label(schema: Mapping[str, Any], text: str) -> Any:
    """The allowed value that the request names, else the default."""
    if "const" in schema:
        return schema["const"]

    named = [
        v
        for v in schema["enum"]
        if re.search(rf"\b{re.escape(str(v).replace('_', ' '))}\b", text, re.IGNORECASE)
    ]
    return named[0] if named else schema.get("default")


def _text(name: str, source: Source, *, needed: bool, alone: bool) -> str | None:
    key = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    if _LINK.fullmatch(key):
        return _address(source)

    if _CODE.fullmatch(key):
        return programs.code(source.text)

    if _QUERY.fullmatch(key) and not (key == "text" and not needed):
        # A passage that was found before is too long for a query; what was asked for is not.
        return f"{queries.query(source.text)} {source.subjects}".strip() or None

    if _TASK.fullmatch(key) and needed:
        return _order(source)

    return _particular(key, source, needed=needed) or (_order(source) if alone else None)


def _order(source: Source) -> str:
    """The text of the part, with the results that it refers to."""
    known = " ".join(f"${{{call}.text}}" for call in source.earlier)
    return f"{source.text.strip()}\nKnown from before: {known}" if known else source.text.strip()


def _particular(key: str, source: Source, *, needed: bool) -> str | None:
    """A text whose parameter tells what it is: a recipient, a subject, a place, a date, a name."""
    text = source.text
    if _RECIPIENT.fullmatch(key):
        return _first(_MAIL, text)

    if _BODY.fullmatch(key):
        return _quotation(text) or (text.strip() if needed else None)

    if "date" in key:
        return _first(_DATE, text)

    if key in {"city", "location", "place", "country"}:
        return _first(_PLACE, text)

    if "name" in key:
        return _first(_TITLED, text) or _quotation(text)

    return _quotation(text) if needed else None


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match.group(match.lastindex or 0).strip() if match else None


def _quotation(text: str) -> str | None:
    return _first(_QUOTED, text)


def addresses(text: str) -> list[str]:
    """The web addresses in `text`, with a scheme."""
    spots = [(m.start(), m.group(0)) for m in _URL.finditer(text)]
    bare = _URL.sub(lambda m: " " * len(m.group(0)), text)
    spots += [(m.start(), f"http://{m.group(0)}") for m in _LOCAL.finditer(bare)]
    bare = _LOCAL.sub(lambda m: " " * len(m.group(0)), bare)
    spots += [(m.start(), f"https://{m.group(0)}") for m in _HOST.finditer(bare)]
    return [address.rstrip(".,;:!?") for _, address in sorted(spots)]


def _address(source: Source) -> str | None:
    own = addresses(source.text)
    if own:
        return own[0]

    if source.earlier and source.has_address:
        return f"${{{source.earlier[-1]}.url}}"

    return next(iter(addresses(source.whole)), None)


def _number(name: str, source: Source, needed: bool) -> float | None:
    """The number that stands beside the parameter's name; the only number there is, when one is required."""
    words = name.replace("_", " ")
    beside = re.search(
        rf"\b{re.escape(words)}\b\D{{0,6}}(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?) {re.escape(words)}\b", source.text
    )
    if beside:
        return float(beside.group(1) or beside.group(2))

    numbers = _NUMBER.findall(_URL.sub(" ", source.text))
    return float(numbers[0].replace(",", "")) if needed and len(numbers) == 1 else None


def _integer(name: str, source: Source, needed: bool) -> int | None:
    number = _number(name, source, needed)
    return int(number) if number is not None and number == int(number) else None


def _flag(name: str, source: Source, needed: bool) -> bool | None:
    named = re.search(rf"\b{re.escape(name.replace('_', ' '))}\b", source.text, re.IGNORECASE)
    return True if named else (False if needed else None)


def _items(name: str, source: Source, _needed: bool) -> list[str] | None:
    if _LINK.fullmatch(name.rstrip("s").lower()):
        return addresses(source.text) or None

    quoted = [next(g for g in m.groups() if g) for m in _QUOTED.finditer(source.text)]
    if name.rstrip("s").lower() in {"query", "querie", "question"}:
        return [queries.query(source.text)]

    return quoted or None


def _pairs(name: str, source: Source, needed: bool) -> dict[str, str] | None:
    found = values.named(source.text) or values.named(source.whole)
    return found or ({} if needed and _VALUE.fullmatch(name.lower()) else None)


_READERS: Mapping[str, Callable[[str, Source, bool], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _flag,
    "array": _items,
    "object": _pairs,
}
