"""Whether the numbers and names of a sentence occur in what it cites: a hint that it says more than its sources."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agentflow.claims.finding import Code, Finding
from agentflow.claims.record import Record
from agentflow.claims.sentences import MARK, Span, plain, sentences
from agentflow.evidence import Answer, Evidence

_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_MORE = {"half": "0.5", "hundred": "100", "thousand": "1000", "once": "1", "twice": "2"}
_SPELLED = {word: str(n) for n, word in enumerate(_WORDS)} | {w: str(n) for w, n in _TENS.items()} | _MORE
# Words that are used without counting anything.
_IDLE = frozenset({"zero", "one", "half", "once", "twice", "hundred", "thousand"})
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,:/’'\-–\u202f]\d+)*(?:st|nd|rd|th)?", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_][\w’'&-]*")
_GROUPS = re.compile(r"\d{1,3}(?:[.,’'\u202f]\d{3})+(?!\d)")
_LISTED = re.compile(r"^\s*(?:[-*•]\s+|\d{1,2}[.)]\s+)+")
_COMMON = frozenset((
    "i", "i'm", "i've", "i'd", "i'll", "yes", "no", "note", "see", "source", "sources", "answer",
    "question", "however", "but", "and", "or", "the", "a", "an", "it", "this", "that", "these", "those",
    "there", "they", "he", "she", "we", "you", "if", "in", "on", "at", "by", "for", "from", "with",
    "as", "of", "to", "per", "both", "all", "each",
))  # fmt: skip


def check_facts(answer: Answer, record: Record) -> Iterator[Finding]:
    """Numbers and names of cited sentences that occur in none of their citations."""
    names = _known_names(record)
    for sentence in sentences(answer.text):
        cited = [answer.citations[n - 1] for n in sentence.marks if 1 <= n <= len(answer.citations)]
        if cited:
            yield from _unsupported(sentence, cited, names)


def _unsupported(sentence: Span, cited: list[Evidence], names: frozenset[str]) -> Iterator[Finding]:
    grounds = " ".join(f"{e.text}\n{e.title}\n{e.place}\n{e.source}" for e in cited)
    # Marks, and the number of an item of a list, are no facts; what is taken out keeps its length.
    said = MARK.sub(lambda m: " " * len(m[0]), sentence.text)
    listed = _LISTED.match(said)
    first = listed.end() if listed else 0
    said = " " * first + said[first:]
    marks = sorted(set(sentence.marks))
    missing_by_kind: tuple[tuple[Code, str, Iterator[tuple[int, str]]], ...] = (
        ("number-unsupported", "the number", _missing_numbers(said, grounds)),
        ("name-unsupported", "the name", _missing_names(said, grounds, names)),
    )
    for code, what, missing in missing_by_kind:
        for start, word in missing:
            yield Finding(
                code=code,
                level="warning",
                what=f"{what} `{word}`",
                why=f"it occurs in none of {', '.join(f'[{n}]' for n in marks)}",
                start=sentence.start + start,
                end=sentence.start + start + len(word),
                citation=marks[0] if len(marks) == 1 else None,
            )


def _missing_numbers(said: str, grounds: str) -> Iterator[tuple[int, str]]:
    known = set(numbers_in(grounds))
    for match in _NUMBER.finditer(said):
        if not _forms(match[0]) & known and not _parts_known(match[0], known):
            yield match.start(), match[0]

    for match in _WORD.finditer(said):
        word = match[0].lower()
        if word in _SPELLED and word not in _IDLE and _SPELLED[word] not in known:
            yield match.start(), match[0]


def numbers_in(text: str) -> Iterator[str]:
    """The numbers of a text, each in the ways in which it may be written."""
    for match in _NUMBER.finditer(text):
        yield from _forms(match[0])
        yield from (form for part in re.split(r"[-–/:]", match[0]) for form in _forms(part))

    for match in _WORD.finditer(text):
        word = match[0].lower()
        if word in _SPELLED:
            yield _SPELLED[word]

    # A number that is glued to letters, as in `20EUR` or `v5.3`.
    for match in re.finditer(r"\d+(?:[.,]\d+)*", text):
        yield from _forms(match[0])


def _forms(number: str) -> set[str]:
    """`1,250.00` is also 1250, and `0,5` is also 0.5."""
    bare = re.sub(r"(?:st|nd|rd|th)$", "", number, flags=re.IGNORECASE)
    forms = {bare, bare.replace(",", ".")}
    if _GROUPS.match(bare):
        forms.add(re.sub(r"[,’'\u202f]", "", bare))
        forms.add(re.sub(r"\D", "", bare) if _GROUPS.fullmatch(bare) else bare)

    return {_short(form) for form in forms}


def _short(number: str) -> str:
    if not re.fullmatch(r"\d+(?:\.\d+)?", number):
        return re.sub(r"^0+(?=\d)", "", number)

    whole, dot, rest = number.partition(".")
    rest = rest.rstrip("0")
    return (whole.lstrip("0") or "0") + (dot + rest if rest else "")


def _parts_known(number: str, known: set[str]) -> bool:
    """Whether a range or a date is made of numbers that are there; a time of day is one number."""
    parts = re.split(r"[-–/]", number)
    return len(parts) > 1 and all(_forms(part) & known for part in parts)


def _missing_names(said: str, grounds: str, names: frozenset[str]) -> Iterator[tuple[int, str]]:
    known = {_stem(word) for word in _WORD.findall(plain(grounds))}
    is_first = True
    for match in _WORD.finditer(said):
        word, begins = match[0], is_first or _begins(said, match.start())
        is_first = False
        if not word[0].isupper() or plain(word) in _COMMON or _stem(plain(word)) in known:
            continue

        # The first word of a sentence is a name where the run's passages know it as one.
        if not begins or _stem(plain(word)) in names or (len(word) > 1 and word.isupper()):
            yield match.start(), word


def _begins(said: str, at: int) -> bool:
    """Whether a word begins a sentence, a quote, or what stands behind a colon."""
    before = said[:at].rstrip(" *_(`'\"“„«")
    return not before or before[-1] in ".!?:;…\n-–—|"


def _stem(word: str) -> str:
    return re.sub(r"(?:'s|s'|s)$", "", word.strip("'-&"))


def _known_names(record: Record) -> frozenset[str]:
    """The words that stand with a capital within the sentences of what was returned."""
    found = (
        match[0]
        for passage in record.passages
        for match in _WORD.finditer(passage.text)
        if match[0][0].isupper() and not _begins(passage.text, match.start())
    )
    return frozenset(_stem(plain(word)) for word in found) - _COMMON
