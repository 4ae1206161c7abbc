"""Answers quoted from evidence: the passages' own sentences, each with the number of its source.

Sentences are chosen by shared words (weighted by how rare they are in the evidence), by the similarity of their
embeddings to the question, and by the kind of thing asked for. Nothing is rephrased, so each can be checked.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentflow.embedding import encoder

NOTHING = "I found nothing in the sources that answers this."
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
_DATES = r"\b(?:january|february|march|april|may|june|july|august|september|october|november|december|monday|tuesday|wednesday|thursday|friday|saturday|sunday)\b|\b\d{1,2}:\d\d\b|\b(?:19|20)\d\d\b"
_LENGTHS = r"\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|twelve)[ -](?:\w+ )?(?:minutes?|hours?|days?|weeks?|months?|years?)\b"
_MONEY = r"(?:\b(?:eur|gbp|usd|chf)\b|[€£$]|\bpercent\b|%)|\bfree\b"
_NUMBER = r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|twice|once|half)\b"
_NAMES = (
    r"\b[A-Z][a-zé]+ [A-Z][a-zé]+|\b(?:manager|head|officer|director|team|desk|lead|department|service)\b"
)
# What a question asks for, and what the sentence that answers it therefore holds.
_CUES = (
    (r"how (?:long|soon|quickly|fast|early|late|much time)|deadline|within what", f"{_LENGTHS}|{_DATES}"),
    (r"how much(?! time)|cost|price|pay|fee|limit|charge|ceiling|earn|worth|money|budget", _MONEY),
    (r"how (?:many|often|old|far|big|heavy)|what (?:percentage|share)|number of", _NUMBER),
    (r"\bwhen\b|what time|(?:which|what) (?:day|date|month|year)\b", f"{_DATES}|{_LENGTHS}"),
    (r"\bwhom?\b|whose|which (?:person|team|department)", _NAMES),
    (
        r"phone|call|extension|e-?mail|address|website|contact",
        r"@|\+?\d[\d ()/-]{5,}|\bext\b|https?:|\.example|\.test",
    ),
)
_ASKING = re.compile(
    r"(?:and |but )?(?:(?:by|from|until|since|after|for|within|in|at|on|up to) )?(?:how|what|when|whom?|where|which|why)\b"
    r"(?: (?:much|many|long|soon|fast|often|early|far|time|kind|is|are|was|does|do|did|may|must|can|will|should)\b)*",
    re.IGNORECASE,
)
_OLD_NAME = re.compile(r"\b(?:superseded|obsolete|archived|withdrawn)\b", re.IGNORECASE)
_OLD_TEXT = re.compile(
    r"^\W*(?:superseded|obsolete|withdrawn)\b|\bthis (?:document|policy|version|page|text) (?:is|was|has) (?:been |not been )?"
    r"(?:superseded|replaced|obsolete|withdrawn|in force|no longer valid)",
    re.IGNORECASE | re.MULTILINE,
)
_ASKS_FOR_OLD = re.compile(
    r"\b(?:old|former|previous(?:ly)?|superseded|earlier version|used to)\b", re.IGNORECASE
)
_REFERS_BACK = re.compile(
    r"(?:They|It|This|These|That|Those|He|She|Such|Then|Both|The same|After that|Otherwise)\b"
)
_SEMANTIC, _LEXICAL, _CUE = 0.50, 0.15, 0.10  # weights, found on questions about a handbook
_HEAD, _ABOVE = 0.8, 0.6  # how much a term counts that stands in a table's head, or in a heading only
_CONTEXT, _CONTEXT_TERMS = 0.25, 12  # how much, and how many, terms count that stand around the question
_AROUND = 0.1  # how much the similarity to the whole of what was said counts, beside that to the question
_OUTDATED = 0.25  # taken off what stands in a superseded document
_FLOOR, _CLOSE = 0.29, 0.20  # below the first nothing is answered, below the second nothing is even near
_KEEP = 0.80  # a further sentence must score this share of the best
_PER_PART, _AT_MOST = {1: 4, 2: 3}, 6  # sentences for a question of so many parts (2 for more), and for all
_OPENING = 300  # characters in which a document says that it is no longer valid
_EMBEDDED = 96  # units compared by embedding; the others are out by their words already


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotation:
    """Quoted sentences with their marks `[n]`, the passages that they cite, and how well they fit, 0 to 1."""

    text: str
    confidence: float
    cited: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class _Unit:
    """The smallest thing that is quoted: a sentence, an item of a list or a row of a table."""

    text: str
    passage: Passage
    heading: str = ""  # the nearest one, from the passage's text or its place
    header: str = ""  # the head of the table
    before: str = ""  # the sentence in front, where this one refers to it
    listed: bool = False


@dataclass(frozen=True, slots=True)
class _Scored:
    unit: _Unit
    score: float


def quote(text: str, outputs: Sequence[str] = ()) -> Quotation:
    """Answer the question in `text` (JSON or plain) from the evidence in it and in the tools' `outputs`."""
    question, context = question_of(text)
    cut = [unit for passage in evidence_of(text, outputs) for unit in _units(passage)]
    units = [unit for unit in map(_without_marks, cut) if unit]
    if not units:
        return Quotation(text=NOTHING, confidence=0.0)

    ranked = [_rank(part, context, units) for part in _parts(question)]
    best = max(r[0].score for r in ranked)
    chosen: list[_Unit] = []
    for scored in ranked:
        room = min(_PER_PART.get(len(ranked), 2), _AT_MOST - len(chosen))
        chosen += _choose(scored, chosen, room=room)

    quoted = _render(chosen)
    if best < _FLOOR:
        quoted = f"{NOTHING} The nearest passage: {quoted}" if quoted else NOTHING

    cited = {u.passage.n: u.passage for u in chosen}
    return Quotation(text=quoted, confidence=_confidence(best), cited=tuple(cited.values()))


def _confidence(score: float) -> float:
    """The share of questions answered rightly at this score, fitted by eye on questions about a handbook."""
    return round(1 / (1 + math.exp(-16 * (score - 0.36))), 2)


# What is asked, and the evidence at hand


def question_of(text: str) -> tuple[str, str]:
    """The question in `text`, and all that was said around it."""
    document = _document(text)
    fields = dict(_strings(document)) if document is not None else {"question": text}
    for name in _QUESTION_FIELDS:
        if fields.get(name, "").strip():
            return fields[name].strip(), " ".join(fields[n] for n in (name, *_MESSAGE_FIELDS) if n in fields)

    message = "\n".join(fields[n].strip() for n in _MESSAGE_FIELDS if n in fields)
    whole = message or max(fields.values(), key=len, default="")
    return whole, whole


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


def _parts(question: str) -> list[str]:
    """The questions in `question`: each sentence that asks, and each `and how many ...` within one."""
    asking = [s for s in sentences(_fold(question)) if s.rstrip().endswith("?")] or [question]
    words = "how|what|when|who|whom|where|which|why|do|does|is|are|can|may|must|should|will"
    parts = [p for s in asking for p in re.split(rf"(?:[,;]\s*(?:and\s+)?|\s+and\s+)(?=(?:{words})\b)", s)]
    return [p for p in parts if len(terms_of(p)) > 0][:4] or [question]


# Passages cut into what can be quoted

_LONGEST_ENTRY, _LONGEST_HEADING = 70, 90
_BULLET = re.compile(r"\s*(?:[-*•–]|\d{1,2}[.)])\s+")
_OWN_MARK = re.compile(r"\[\d[\d, ]*\]")
_OWN_MARKS = re.compile(rf"(?:\s*{_OWN_MARK.pattern})+$")
_RULE = re.compile(r"[\s|:=_*~-]+")


def _units(passage: Passage) -> Iterator[_Unit]:
    heading = passage.headings[-1] if passage.headings else ""
    for block in _blocks(passage.text):
        text = _fold("\n".join(block))
        if block[0].startswith("#"):
            heading = text.lstrip("# ").replace("\\", "")
        elif _is_row(block[0]) or _is_csv(block):
            yield from _table(block, passage, heading)
        elif _BULLET.match(block[0]) or _is_entry(block[-1]):
            bullet = _BULLET.match(text)
            yield _Unit(text[bullet.end() :] if bullet else text, passage, heading, listed=True)
        else:
            yield from _prose(text, passage, heading)


def _without_marks(unit: _Unit) -> _Unit | None:
    """The unit without the source's own marks such as `[12]` at its end; None where one is left inside."""
    text, before, header = (_OWN_MARKS.sub("", part) for part in (unit.text, unit.before, unit.header))
    marked = any(_OWN_MARK.search(part) for part in (text, before, header))
    return None if marked else replace(unit, text=text, before=before, header=header)


def _prose(text: str, passage: Passage, heading: str) -> Iterator[_Unit]:
    before = ""
    for sentence in sentences(text):
        yield _Unit(sentence, passage, heading, before=before if _REFERS_BACK.match(sentence) else "")
        before = sentence


def _table(block: Sequence[str], passage: Passage, heading: str) -> Iterator[_Unit]:
    """The rows of a table, without the bars around them; the first is the head if a rule follows it."""
    headed = len(block) > 2 and bool(_RULE.fullmatch(block[1]))
    rows = [_fold(line).strip("| ") for line in block if not _RULE.fullmatch(line)]
    header = rows.pop(0) if headed else ""
    yield from (_Unit(row, passage, heading, header, listed=True) for row in rows if row)


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


def _fold(text: str) -> str:
    return " ".join(text.split())


# How well a unit answers


def terms_of(text: str) -> list[str]:
    return [_stem(w) for w in re.findall(r"[^\W_]+", text.lower()) if w not in _STOP]


def _stem(word: str) -> str:
    """A light stem: `days` and `day`, `policies` and `policy`, `claimed` and `claim` become the same."""
    if word.isdigit() or len(word) < 4:
        return word

    word = re.sub(r"(?:ies|y)$", "i", word)
    word = re.sub(r"(?<=[^s])s$", "", word)
    return re.sub(r"(?:ing|ed|er|e)$", "", word) if len(word) > 4 else word


def _rank(part: str, context: str, units: Sequence[_Unit]) -> list[_Scored]:
    """All units by how well they answer `part`, the best first."""
    near = [_nearness(unit) for unit in units]
    weights = _weights(part, context, near)
    lexical = [sum(w * terms.get(t, 0.0) for t, w in weights.items()) for terms in near]
    semantic = _similarities(part, context, units, lexical)
    scores = [
        _SEMANTIC * semantic[i] + _LEXICAL * lexical[i] + _CUE * _cue(part, unit.text) - _outdated(part, unit)
        for i, unit in enumerate(units)
    ]
    return sorted((_Scored(u, s) for u, s in zip(units, scores, strict=True)), key=lambda s: -s.score)


def _nearness(unit: _Unit) -> dict[str, float]:
    """For each term in and around a unit how close it stands: the unit, the table's head, the headings above."""
    around = dict.fromkeys(terms_of(f"{unit.heading} {' '.join(unit.passage.headings)}"), _ABOVE)
    return (
        around
        | dict.fromkeys(terms_of(f"{unit.header} {unit.before}"), _HEAD)
        | dict.fromkeys(terms_of(unit.text), 1.0)
    )


def _weights(part: str, context: str, units: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The question's terms, the rarer in the evidence the heavier, and lighter those around it; the sum is 1."""
    frequency = Counter(t for unit in units for t in unit)
    asked = dict.fromkeys(terms_of(part), 1.0)
    near = [t for t in dict.fromkeys(terms_of(context)) if t not in asked and frequency[t]][:_CONTEXT_TERMS]
    shares = asked | dict.fromkeys(near, _CONTEXT)
    weights = {t: share * math.log(1 + len(units) / (0.5 + frequency[t])) for t, share in shares.items()}
    whole = sum(weights.values()) or 1.0
    return {t: w / whole for t, w in weights.items()}


def _similarities(part: str, context: str, units: Sequence[_Unit], lexical: Sequence[float]) -> list[float]:
    """The similarity of each unit, read under its heading, to the question; 0 for those not looked at."""
    near = sorted(range(len(units)), key=lambda i: -lexical[i])[:_EMBEDDED]
    asked = (
        _ASKING.sub("", part, count=1).strip(" ?") or part
    )  # `how long does` says what kind, not what about
    vectors = encoder().embed([asked, context, *(_in_context(units[i]) for i in near)])
    own, around = vectors[2:] @ vectors[0], vectors[2:] @ vectors[1]
    scores = dict(zip(near, ((1 - _AROUND) * own + _AROUND * around).tolist(), strict=True))
    return [max(0.0, scores.get(i, 0.0)) for i in range(len(units))]


def _in_context(unit: _Unit) -> str:
    heading = re.sub(r"^[A-Z]?\d{0,2}\.? ", "", unit.heading)
    if not unit.header:
        return ". ".join(t for t in (heading, unit.before, unit.text) if t)

    cells = zip(unit.header.split("|"), unit.text.split("|"), strict=False)
    return f"{heading}. " + ", ".join(f"{a.strip()}: {b.strip()}" for a, b in cells if b.strip())


def _cue(part: str, text: str) -> float:
    """1 when `text` holds what the kind of question asks for, -0.5 when it does not, 0 when it could be anything."""
    wanted = [answer for asked, answer in _CUES if re.search(asked, part, re.IGNORECASE)]
    if not wanted:
        return 0.0

    return 1.0 if any(re.search(a, text, 0 if a == _NAMES else re.IGNORECASE) for a in wanted) else -0.5


def _outdated(part: str, unit: _Unit) -> float:
    return _OUTDATED if unit.passage.outdated and not _ASKS_FOR_OLD.search(part) else 0.0


# What is said in the end


def _choose(ranked: Sequence[_Scored], chosen: Sequence[_Unit], *, room: int) -> list[_Unit]:
    """The best units for one part of the question, without what was chosen already or says the same."""
    picked: list[_Unit] = []
    for scored in ranked:
        if len(picked) >= room or scored.score < max(_CLOSE, _KEEP * ranked[0].score):
            break

        if not any(_same(scored.unit.text, other.text) for other in (*chosen, *picked)):
            picked.append(scored.unit)

    return picked


def _same(one: str, other: str) -> bool:
    first, second = set(terms_of(one)), set(terms_of(other))
    return len(first & second) >= 0.8 * max(1, min(len(first), len(second)))


def _render(units: Sequence[_Unit]) -> str:
    """Each sentence, item or row on a line of its own; rows stand together, below the head of their table."""
    tables = list(dict.fromkeys((u.passage.n, u.header) if u.header else (0, u.text) for u in units))
    ordered = sorted(units, key=lambda u: tables.index((u.passage.n, u.header) if u.header else (0, u.text)))
    lines: dict[str, None] = {}
    for unit in ordered:
        mark, head = f" [{unit.passage.n}]", f"{_prefix(unit)}{unit.header}"
        if unit.before or unit.header:
            lines[(unit.before or head) + mark] = None

        lines[f"{'' if unit.header else _prefix(unit)}{unit.text}{mark}"] = None

    return "\n".join(lines)


def _prefix(unit: _Unit) -> str:
    """`Heading: ` for what cannot be understood alone, if the heading stands in the evidence's title or place."""
    known = {h.lower(): h for h in unit.passage.headings}
    return f"{known[unit.heading.lower()]}: " if unit.listed and unit.heading.lower() in known else ""
