"""Evidence in a request, and its passages cut into what can be quoted: sentences, items of lists, rows of tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_QUESTION_FIELDS = ("question", "task", "query", "request", "ask", "prompt", "topic")
_MESSAGE_FIELDS = ("subject", "body", "message", "text")
_EVIDENCE_FIELDS = frozenset(["evidence", "sources", "passages", "notes", "results", "observations"])
_STOP = frozenset(
    re.findall(
        r"\w+",
        """a about after all also am an and any are as at be been before but by can could did do does each either else
        ever every for from get give given go had has have he her him his how i if in into is it its just last let like
        long make many may me mine more most much must my need no nor not of off on once one only or other our out over
        own please s same say shall she should so some still such take tell than that the their them then there these
        they this those to too under until up us use very want was we were what when where which while who whom whose
        why will with within without would yes yet you your t don""",
    )
)
_ABBREVIATIONS = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|approx|ca|cf|Mr|Mrs|Ms|Dr|Prof|St|No|Nr|vs|ext|Ext|Inc|Ltd|Co|Art|Sec|Fig|max|min|incl|excl|"
    r"tel|Tel|dept|a\.m|p\.m)|\b[A-Z]|^\d{1,2})\.$"
)
_OLD_NAME = re.compile(r"\b(?:superseded|obsolete|archived|withdrawn)\b", re.IGNORECASE)
_OLD_TEXT = re.compile(
    r"^\W*(?:superseded|obsolete|withdrawn)\b|\bthis (?:document|policy|version|page|text) (?:is|was|has) (?:been |not been )?"
    r"(?:superseded|replaced|obsolete|withdrawn|in force|no longer valid)",
    re.IGNORECASE | re.MULTILINE,
)
_REFERS_BACK = re.compile(
    r"(?:They|It|This|These|That|Those|He|She|Such|Then|Both|The same|After that|Otherwise)\b"
)
_OPENING = 300  # characters in which a document says that it is no longer valid


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A numbered piece of evidence."""

    n: int
    text: str
    source: str = ""
    title: str = ""
    place: str = ""
    raw: Mapping[str, Any]

    @property
    def headings(self) -> list[str]:
        """The headings above the passage, the nearest last."""
        place = re.sub(r"(?:^|,) ?(?:characters?|pages?|rows?|lines?) \d+.*$", "", self.place)
        return [h for h in (self.title, *place.split(" > ")) if 0 < len(h) <= _LONGEST_HEADING]

    @property
    def outdated(self) -> bool:
        name = f"{self.source} {self.title} {self.place}".replace("-", " ").replace("_", " ")
        return bool(_OLD_NAME.search(name) or _OLD_TEXT.search(self.text[:_OPENING]))


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest thing that is quoted: a sentence, an item of a list or a row of a table."""

    text: str
    passage: Passage
    heading: str = ""  # the nearest one, from the passage's text or its place
    header: str = ""  # the head of the table
    before: str = ""  # the sentence in front, where this one refers to it
    listed: bool = False


def question_of(text: str) -> str:
    """The question in `text`: the field that is named like one, else a message's, else the longest."""
    document = _document(text)
    fields = dict(_strings(document)) if document is not None else {"question": text}
    named = next((fields[n].strip() for n in _QUESTION_FIELDS if fields.get(n, "").strip()), "")
    message = "\n".join(fields[n].strip() for n in _MESSAGE_FIELDS if n in fields)
    return named or message or max(fields.values(), key=len, default="")


def evidence_of(text: str, outputs: Sequence[str] = ()) -> list[Passage]:
    """The numbered passages in a JSON `text` and in the tools' `outputs`, one a number."""
    found: dict[int, Passage] = {}
    for source in (text, *outputs):
        for passage in _passages(_document(source)):
            found.setdefault(passage.n, passage)

    return list(found.values())


def holds_no_evidence(text: str) -> bool:
    """Is `text` JSON that has a place for evidence, and nothing in it?"""
    document = _document(text)
    places: list[Any] = [document]
    if isinstance(document, Mapping):
        places = [value for name, value in document.items() if name in _EVIDENCE_FIELDS]

    return any(place == [] for place in places)


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        start = min((i for i in (text.find("{"), text.find("[")) if i >= 0), default=-1)

    try:
        return json.JSONDecoder().raw_decode(text, start)[0] if start >= 0 else None
    except ValueError:
        return None


def _passages(value: Any) -> Iterator[Passage]:
    if isinstance(value, Mapping) and isinstance(value.get("n"), int) and isinstance(value.get("text"), str):
        known = {k: str(value.get(k) or "") for k in ("text", "source", "title", "place")}
        yield Passage(n=value["n"], raw=value, **known)
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _passages(inner)


def _strings(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Names and strings outside of the evidence, the outermost last."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping) and not isinstance(value.get("n"), int):
        nested = [key for key in value if not isinstance(value[key], str)]
        for key in [*nested, *(k for k in value if k not in nested)]:  # the outermost last: it wins in a dict
            yield from _strings(value[key], str(key).lower())


_LONGEST_ENTRY, _LONGEST_HEADING = 70, 90
_BULLET = re.compile(r"\s*(?:[-*•–]|\d{1,2}[.)])\s+")
_OWN_MARK = re.compile(r"\[\d[\d, ]*\]")
_OWN_MARKS = re.compile(rf"(?:\s*{_OWN_MARK.pattern})+$")
_RULE = re.compile(r"[\s|:=_*~-]+")


def _cut(passage: Passage) -> Iterator[Unit]:
    heading = passage.headings[-1] if passage.headings else ""
    for block in _blocks(passage.text):
        text = fold("\n".join(block))
        if block[0].startswith("#"):
            heading = text.lstrip("# ").replace("\\", "")
        elif _is_row(block[0]) or _is_csv(block):
            yield from _table(block, passage, heading)
        elif _BULLET.match(block[0]) or _is_entry(block[-1]):
            bullet = _BULLET.match(text)
            yield Unit(text[bullet.end() :] if bullet else text, passage, heading, listed=True)
        else:
            yield from _prose(text, passage, heading)


def _without_marks(unit: Unit) -> Unit | None:
    """The unit without the source's own marks such as `[12]` at its end; None where one is left inside."""
    text, before, header = (_OWN_MARKS.sub("", part) for part in (unit.text, unit.before, unit.header))
    marked = any(_OWN_MARK.search(part) for part in (text, before, header))
    return None if marked else replace(unit, text=text, before=before, header=header)


def _prose(text: str, passage: Passage, heading: str) -> Iterator[Unit]:
    before = ""
    for sentence in sentences(text):
        yield Unit(sentence, passage, heading, before=before if _REFERS_BACK.match(sentence) else "")
        before = sentence


def _table(block: Sequence[str], passage: Passage, heading: str) -> Iterator[Unit]:
    """The rows of a table, without the bars around them; the first is the head if a rule follows it."""
    headed = len(block) > 2 and bool(_RULE.fullmatch(block[1]))
    rows = [fold(line).strip("| ") for line in block if not _RULE.fullmatch(line)]
    header = rows.pop(0) if headed else ""
    yield from (Unit(row, passage, heading, header, listed=True) for row in rows if row)


def _blocks(text: str) -> Iterator[list[str]]:
    """Lines that belong together: a heading, a table, an item or entry of a list, a paragraph."""
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if block and _begins(line, block):
            yield block
            block = []

        if line.strip() and (_is_row(line) or not _RULE.fullmatch(line)):
            block.append(line)


def _begins(line: str, block: Sequence[str]) -> bool:
    """Does `line` begin something new after `block`?"""
    if not line.strip() or line.startswith("#") or block[0].startswith("#") or _BULLET.match(line):
        return True

    if _is_row(line) or _is_row(block[0]):
        return _is_row(line) != _is_row(block[0])

    return _is_entry(block[-1]) and not line.lstrip()[0].islower()


def _is_row(line: str) -> bool:
    return line.count("|") >= 2


def _is_csv(block: Sequence[str]) -> bool:
    return all(line.count(",") >= 3 and not line.rstrip().endswith(".") for line in block)


def _is_entry(line: str) -> bool:
    """A short line that ends without an end: a row of a table that lost its bars, as in `Porto 110 EUR`."""
    last = re.findall(r"\w+$", line.rstrip())
    return len(line) <= _LONGEST_ENTRY and bool(last) and last[0].lower() not in _STOP


def sentences(text: str) -> list[str]:
    """Sentences of folded `text`, verbatim; abbreviations and numbered references do not end one."""
    found: list[str] = []
    start = 0
    for match in re.finditer(r"[.!?][\"')\]”]*(?:\[\d+\])*\s+(?=[\"'(\[“]?[A-ZÀ-Þ0-9])", text):
        sentence = text[start : match.end()].strip()
        if not _ABBREVIATIONS.search(sentence):
            found.append(sentence)
            start = match.end()

    return [*found, text[start:].strip()] if text[start:].strip() else found


def fold(text: str) -> str:
    return " ".join(text.split())


def terms_of(text: str) -> list[str]:
    return [_stem(w) for w in re.findall(r"[^\W_]+", text.lower()) if w not in _STOP]


def _stem(word: str) -> str:
    """A light stem: `days` and `day`, `policies` and `policy`, `claimed` and `claim` become the same."""
    if word.isdigit() or len(word) < 4:
        return word

    word = re.sub(r"(?:ies|y)$", "i", word)
    word = re.sub(r"(?<=[^s])s$", "", word)
    return re.sub(r"(?:ing|ed|er|e)$", "", word) if len(word) > 4 else word


def units_of(passages: Sequence[Passage]) -> list[Unit]:
    """All that can be quoted from `passages`."""
    cut = [unit for passage in passages for unit in _cut(passage)]
    return [unit for unit in map(_without_marks, cut) if unit]
