"""Answers quoted from evidence: the passages' own sentences, each with the number of its source.

Sentences are chosen by shared words (weighted by how rare they are in the evidence), by the similarity of their
embeddings to the question, and by the kind of thing asked for. Nothing is rephrased, so each can be checked.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentflow.embedding import encoder
from agentflow.models.embedded.passages import (
    Passage,
    Unit,
    evidence_of,
    fold,
    question_of,
    sentences,
    terms_of,
    units_of,
)

NOTHING = "I found nothing in the sources that answers this."
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
        r"@|\+?\d[\d ()/-]{5,}|\bext\b|https?:|\bwww\.",
    ),
)
_ASKING = re.compile(
    r"(?:and |but )?(?:(?:by|from|until|since|after|for|within|in|at|on|up to) )?(?:how|what|when|whom?|where|which|why)\b"
    r"(?: (?:much|many|long|soon|fast|often|early|far|time|kind|is|are|was|does|do|did|may|must|can|will|should)\b)*",
    re.IGNORECASE,
)
_ASKS_FOR_OLD = re.compile(
    r"\b(?:old|former|previous(?:ly)?|superseded|earlier version|used to)\b", re.IGNORECASE
)
_SEMANTIC, _LEXICAL, _CUE = 0.50, 0.15, 0.10  # weights, found on questions about a handbook
_HEAD, _ABOVE = 0.8, 0.6  # how much a term counts that stands in a table's head, or in a heading only
_OUTDATED = 0.25  # taken off what stands in a superseded document
_FLOOR, _CLOSE = 0.29, 0.20  # below the first nothing is answered, below the second nothing is even near
_UNASKED = 0.07  # taken off where no question, only something in a message, was matched
_KEEP = 0.80  # a further sentence must score this share of the best
_PER_PART, _AT_MOST = {1: 4, 2: 3}, 6  # sentences for a question of so many parts (2 for more), and for all
_ALIKE = 0.8  # share of the shorter sentence's words that make it a duplicate
_MOST_PARTS, _MOST_SAID = 4, 10  # questions answered one by one; sentences of a message without any
_EMBEDDED = 96  # units compared by embedding; the others are out by their words already


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotation:
    """Quoted sentences with their marks `[n]`, the passages that they cite, and how well they fit, 0 to 1."""

    text: str
    confidence: float
    cited: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """One thing that is asked, in one or more wordings; what fits any of them well fits the part."""

    wordings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Scored:
    unit: Unit
    score: float


def quote(text: str, outputs: Sequence[str] = ()) -> Quotation:
    """Answer the question in `text` (JSON or plain) from the evidence in it and in the tools' `outputs`."""
    *asked, said = _rank(_parts(question_of(text)), units_of(evidence_of(text, outputs)))
    if not said:
        return Quotation(text=NOTHING, confidence=0.0)

    # `Do I need to do anything?` says nothing of what it is about; the rest of the message does.
    best, doubt = max((r[0].score for r in asked), default=0.0), 0.0
    if best < _FLOOR and best < said[0].score:
        asked, best, doubt = [said], said[0].score, _UNASKED

    chosen: list[Unit] = []
    for scored in asked:
        room = min(_PER_PART.get(len(asked), 2), _AT_MOST - len(chosen))
        chosen += _choose(scored, chosen, room=room)

    quoted = _render(chosen)
    if best < _FLOOR:
        quoted = f"{NOTHING} The nearest passage: {quoted}" if quoted else NOTHING

    cited = {u.passage.n: u.passage for u in chosen}
    return Quotation(text=quoted, confidence=_confidence(best - doubt), cited=tuple(cited.values()))


def _confidence(score: float) -> float:
    """The share of questions answered rightly at this score, fitted by eye on questions about a handbook."""
    return round(1 / (1 + math.exp(-16 * (score - 0.36))), 2)


def _parts(question: str) -> list[_Part]:
    """What is asked: each sentence that asks, cut at `and how many ...`; the last part is all that is said."""
    said = [s for line in question.splitlines() for s in sentences(fold(line))]
    parts: list[_Part] = []
    for place, sentence in enumerate(said):
        before = said[place - 1] if place else ""
        for text in _JOINED.split(sentence) if sentence.endswith("?") else ():
            if terms_of(text):
                parts.append(_Part((text, f"{before} {text}") if before else (text,)))

            before = text

    whole = tuple(s for s in said if len(terms_of(s)) > 1)[:_MOST_SAID] or (question,)
    return [*parts[:_MOST_PARTS], _Part(whole)]


_JOINED = re.compile(
    r"(?:[,;]\s*(?:and\s+)?|\s+and\s+)(?=(?:how|what|when|who|whom|where|which|why|do|does|is|are|can|may|must|should|will)\b)"
)


def _rank(parts: Sequence[_Part], units: Sequence[Unit]) -> list[list[_Scored]]:
    """For each part all units by how well they answer it, the best first."""
    near = [_nearness(unit) for unit in units]
    wordings = list(dict.fromkeys(w for part in parts for w in part.wordings))
    lexical = {w: _shared(w, near) for w in wordings}
    likely = sorted(range(len(units)), key=lambda i: -max(lexical[w][i] for w in wordings))[:_EMBEDDED]
    vectors = encoder().embed([_in_context(units[i]) for i in likely])
    scores = {w: [_LEXICAL * lexical[w][i] + _CUE * _cue(w, units[i].text) for i in likely] for w in wordings}
    for wording in wordings:
        like = vectors @ encoder().embed([_subject(wording)])[0]
        scores[wording] = [
            s + _SEMANTIC * max(0.0, float(c)) for s, c in zip(scores[wording], like, strict=True)
        ]

    return [_best(part, [units[i] for i in likely], scores) for part in parts]


def _best(part: _Part, units: Sequence[Unit], scores: Mapping[str, Sequence[float]]) -> list[_Scored]:
    asks_for_old = any(_ASKS_FOR_OLD.search(wording) for wording in part.wordings)
    found = [
        _Scored(unit, max(scores[w][i] for w in part.wordings) - _outdated(unit, asks_for_old=asks_for_old))
        for i, unit in enumerate(units)
    ]
    return sorted(found, key=lambda s: -s.score)


def _subject(wording: str) -> str:
    """The question without its asking words: `how long does` says what kind of thing, not about what."""
    return _ASKING.sub("", wording, count=1).strip(" ?") or wording


def _nearness(unit: Unit) -> dict[str, float]:
    """For each term in and around a unit how close it stands: the unit, the table's head, the headings above."""
    around = dict.fromkeys(terms_of(f"{unit.heading} {' '.join(unit.passage.headings)}"), _ABOVE)
    return (
        around
        | dict.fromkeys(terms_of(f"{unit.header} {unit.before}"), _HEAD)
        | dict.fromkeys(terms_of(unit.text), 1.0)
    )


def _shared(wording: str, units: Sequence[Mapping[str, float]]) -> list[float]:
    """For each unit the share of the question's terms that it has; the rarer in the evidence, the heavier."""
    frequency = Counter(t for unit in units for t in unit)
    weights = {t: math.log(1 + len(units) / (0.5 + frequency[t])) for t in terms_of(wording)}
    whole = sum(weights.values()) or 1.0
    return [sum(w * unit.get(t, 0.0) for t, w in weights.items()) / whole for unit in units]


def _in_context(unit: Unit) -> str:
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


def _outdated(unit: Unit, *, asks_for_old: bool) -> float:
    """What a superseded source loses, or gains when the old state is asked for."""
    if not unit.passage.outdated:
        return 0.0

    return -_OUTDATED / 2 if asks_for_old else _OUTDATED


def _choose(ranked: Sequence[_Scored], chosen: Sequence[Unit], *, room: int) -> list[Unit]:
    """The best units for one part of the question, without what was chosen already or says the same."""
    picked: list[Unit] = []
    for scored in ranked:
        if len(picked) >= room or scored.score < max(_CLOSE, _KEEP * ranked[0].score):
            break

        if not any(_same(scored.unit.text, other.text) for other in (*chosen, *picked)):
            picked.append(scored.unit)

    return picked


def _same(one: str, other: str) -> bool:
    """Do both say the same? Sentences that differ in a number contradict each other."""
    first, second = set(terms_of(one)), set(terms_of(other))
    differing = any(t.isdigit() for t in first - second) and any(t.isdigit() for t in second - first)
    return not differing and len(first & second) >= _ALIKE * max(1, min(len(first), len(second)))


def _render(units: Sequence[Unit]) -> str:
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


def _prefix(unit: Unit) -> str:
    """`Heading: ` for what cannot be understood alone, if the heading stands in the evidence's title or place."""
    known = {h.lower(): h for h in unit.passage.headings}
    return f"{known[unit.heading.lower()]}: " if unit.listed and unit.heading.lower() in known else ""
