"""The splitter: a request of several parts as an ordered list of them, with what refers back to what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

_ACTIONS = (
    r"search|look(?: (?:up|for|in|at|through|into|on))?|find(?: out)?|check|get|fetch|pull|dig|see|google|research|verify|compare|"
    r"open|go (?:to|through|on)|visit|navigate|browse|click|press|log|sign|fill|type|enter|submit|select|scroll|upload|download|book|reserve|order|add|put|"
    r"take|register|subscribe|cancel|change|set|move|close|post|publish|approve|renew|switch|buy|send|e-?mail|draw|create|start|read|use|"
    r"calculate|compute|run|execute|plot|simulate|sort|solve|convert|count|work out|fit|multiply|divide|subtract|sum|estimate|make|write|"
    r"save|store|record|file|confirm|list|extract|collect|determine|figure out|quote|summari[sz]e|graph|chart|average|total"
)
_QUESTIONS = (
    r"what|who|whose|which|when|where|how (?:many|much|long|far|often|high|big|old|is|are|was|were|do|does|did|has|have)|is|are|was|were|does|do|did|has|have|can|could|may|"
    r"will|would|should"
)
_POLITE = r"(?:(?:please|also|then|now|first|second|third|last|next|finally|afterwards|after that|i want you to|i need you to|could you|can you|kindly)[,\s]+)*"
_BEGINS = re.compile(rf"^{_POLITE}(?:(?P<action>{_ACTIONS})|(?P<question>{_QUESTIONS}))\b", re.IGNORECASE)
_QUESTION_AHEAD = re.compile(
    rf"^(?:(?:according to|in|from|per|on) [^,.;?]{{3,40}},? )(?:{_QUESTIONS})\b", re.IGNORECASE
)

# What may stand between two parts; the first alternative that fits wins, so the longest ones come first.
_JOINT = re.compile(
    r"(?P<ordered>(?:\s*[,;.:]\s*|\s+)(?:(?:and|but|so)\s+)?(?:then|afterwards?|after (?:that|this|which)|next|finally|subsequently|"
    r"once (?:that(?: is|'s)|you have (?:it|that|them)) ?(?:done)?|with (?:that|the result|this))\b[,:]?\s+(?=\w))"
    r"|(?P<numbered>[.?!;,:]?\s+\(?\d[.)]\s+(?=\w))"
    r"|(?P<sentence>[.?!;]+\s+(?:(?:and|but|so|also|then|second(?:ly)?|finally|next|afterwards)[,\s]+)*(?=\w))"
    r"|(?P<joined>,?\s+(?:and also|and|but also|plus|as well as)\s+(?=\w))"
    r"|(?P<listed>,\s+(?=\w))",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^\s*\(?1[.)]\s+")
_SHIELDED = re.compile(
    r"```.*?```|`[^`]*`|\"[^\"]*\"|“[^”]*”|(?<!\w)'[^']*'(?!\w)|https?://\S+|\b[\w-]+(?:\.[\w-]+)+\b|\be\.g\.|\bi\.e\.|\b(?:mr|mrs|dr|st|no|vs)\.",
    re.DOTALL | re.IGNORECASE,
)
_GERUND = r"(?:\w+ing|(?:you(?:'ve| have)?|i(?:'ve| have)?) \w+)"
_AFTER_FIRST = re.compile(rf"^(?:after|once)\s+({_GERUND}\b[^,]*),\s+(.+)$", re.IGNORECASE | re.DOTALL)
_BEFORE_FIRST = re.compile(rf"^before\s+({_GERUND}\b[^,]*),\s+(.+)$", re.IGNORECASE | re.DOTALL)
_AFTER_LAST = re.compile(
    rf"^(.+?),?\s+(?:but only )?(?:after|once)\s+((?:{_GERUND})\b[^,]*?)[.]?$", re.IGNORECASE | re.DOTALL
)
_FIRST_LAST = re.compile(
    r"^(.+?)[,;.]\s*(?:but )?(?:before (?:that|this|you do)|first)[,:]?\s+(.+)$", re.IGNORECASE | re.DOTALL
)

_GIVEN_FIRST = re.compile(
    r"^(?:using|based on|given|taking|starting from|with(?: the help of)?)\s+([^,]{8,}),\s+(.+)$",
    re.IGNORECASE | re.DOTALL,
)
_USED_TO = re.compile(
    r"^(?:use|take)\s+((?:the|our|my)\s+.{6,}?)\s+(?:to|and)\s+(.+)$", re.IGNORECASE | re.DOTALL
)
_GIVEN_LAST = re.compile(
    r"^(.+?),?\s+(?:using|based on)\s+((?:the|our|my)\s+.{8,}?)[.]?$", re.IGNORECASE | re.DOTALL
)

_TELL = re.compile(
    rf"^{_POLITE}(?:tell|give|show|let me know|read (?:me|out|it)|report|say|explain|answer|list (?:it|them)|summari[sz]e (?:it|them|this|that|what)|name|save (?:it|them)|quote)\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\b(?:its?|that|this|them|these|those|they|their|there|he|she|him|his|her|the (?:same|results?|totals?|outcome|answers?|amounts?|sum|findings?))\b",
    re.IGNORECASE,
)
_NAMED_AGAIN = re.compile(r"\b(?:the|that|this|these|those|said) ([\w-]{4,})", re.IGNORECASE)
_MATERIAL = re.compile(
    rf"^{_POLITE}(?:translate|rewrite|rephrase|paraphrase|reword|proofread|correct|shorten|simplify|explain|summari[sz]e|make)\b[^.?!]{{0,60}}:",
    re.IGNORECASE,
)
_FEWEST_WORDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One thing that a request asks for. `after` holds the places (from 0) of earlier parts it refers to."""

    text: str
    after: tuple[int, ...] = ()
    question: bool = False


def split(request: str) -> tuple[Part, ...]:
    """The parts of `request` in the order in which to do them; one part when it is a single thing."""
    text = " ".join(request.split()) if "```" not in request else request.strip()
    if _MATERIAL.match(text):
        return (Part(text=text),)  # what follows the colon is material and no orders

    wholes = [_pieces(whole) for whole in _in_order(text)]
    pieces = [piece for whole in wholes for piece in whole]
    parts = [_part(pieces, place) for place in range(len(pieces))]
    if len(wholes) > 1:
        # Such a sentence is written because the second half needs the first.
        second = len(wholes[0])
        parts[second] = replace(parts[second], after=tuple(sorted({*parts[second].after, second - 1})))

    return tuple(parts)


def _part(pieces: Sequence[str], place: int) -> Part:
    text = pieces[place]
    begins = _BEGINS.match(text)
    asks = text.rstrip().endswith("?") or bool(begins and begins["question"])
    return Part(text=text, after=_referred(pieces, place), question=asks)


def _referred(pieces: Sequence[str], place: int) -> tuple[int, ...]:
    """The earlier pieces that the one at `place` refers to: by a pronoun (the last one), or by a noun of theirs."""
    text = _shield(pieces[place])
    nouns = {noun.lower().rstrip("s") for noun in _NAMED_AGAIN.findall(text)}
    found = {
        n for n in range(place) if nouns & {w.lower().rstrip("s") for w in re.findall(r"[\w-]+", pieces[n])}
    }
    if place and _PRONOUN.search(text):
        found.add(place - 1)

    return tuple(sorted(found))


def _in_order(text: str) -> list[str]:
    """`text` with `before` and `after` clauses put in the order of doing."""
    hidden = _shield(text)
    for pattern, swapped in (
        (_AFTER_FIRST, False),
        (_BEFORE_FIRST, True),
        (_AFTER_LAST, True),
        (_FIRST_LAST, True),
    ):
        match = pattern.match(hidden)
        if match is None:
            continue

        one, two = (text[match.start(n) : match.end(n)] for n in (1, 2))
        if min(len(one.split()), len(two.split())) < _FEWEST_WORDS:
            return [text]  # `before you look online` is no task of its own

        return [_plain(piece) for piece in ([two, one] if swapped else [one, two])]

    return _in_order_of_need(text, hidden)


def _in_order_of_need(text: str, hidden: str) -> list[str]:
    """`text` with what a sum is based on in front: `compute the cost using the rates in our list`."""
    for pattern, source in ((_GIVEN_FIRST, 1), (_USED_TO, 1), (_GIVEN_LAST, 2)):
        match = pattern.match(hidden)
        if match and _BEGINS.match(hidden[match.start(3 - source) :]):
            needed, wanted = (text[match.start(n) : match.end(n)] for n in (source, 3 - source))
            return [f"find {needed}", wanted]

    return [text]


def _plain(clause: str) -> str:
    """A clause as an order: `checking the lease` and `you have checked the lease` become `check the lease`."""
    clause = re.sub(r"^(?:you|i)(?:'ve| have)?\s+", "", clause.strip(), flags=re.IGNORECASE)
    verb, _, rest = clause.partition(" ")
    stem = re.sub(r"(?:ing|ed)$", "", verb.lower())
    for base in (stem, stem + "e", stem[:-1]):
        if _BEGINS.match(f"{base} {rest}") and verb.lower() != base:
            return f"{base} {rest}"

    return (
        {"found": "find", "got": "get", "read": "read"}.get(verb.lower(), verb) + f" {rest}"
        if rest
        else clause
    )


def _pieces(text: str) -> list[str]:
    """`text` cut at each joint after which something new begins."""
    text = _NUMBERED.sub("", text)
    hidden = _shield(text)
    pieces: list[str] = []
    start = 0
    for joint in _JOINT.finditer(hidden):
        left, right = hidden[start : joint.start()], hidden[joint.end() :]
        if _cuts(joint, left, right):
            pieces.append(_trim(text[start : joint.start()], joint.group(0)))
            start = joint.end()

    return [*pieces, text[start:].strip()]


def _cuts(joint: re.Match[str], left: str, right: str) -> bool:
    following = re.split(r"[.?!;](?:\s|$)", right, maxsplit=1)[0]
    enough = len(left.split()) >= _FEWEST_WORDS and len(following.split()) >= _FEWEST_WORDS
    if not enough or not _stands_alone(left):
        return False

    if _TELL.match(right):
        return False

    begins = _BEGINS.match(right)
    if begins is None:
        return joint["sentence"] is not None and _QUESTION_AHEAD.match(right) is not None

    if joint["listed"] is not None:
        return begins["action"] is not None and _acts(left)

    if joint["joined"] is not None:
        return begins["action"] is not None or (
            (_asks(left) and following.rstrip().endswith("?")) or right.rstrip().endswith("?")
        )

    return True


def _stands_alone(left: str) -> bool:
    """Is there something to do in `left`, so that it is more than the setting of what follows?"""
    return _acts(left) or _asks(left)


def _acts(text: str) -> bool:
    begins = _BEGINS.match(_last_clause(text))
    return begins is not None and begins["action"] is not None


def _asks(text: str) -> bool:
    begins = _BEGINS.match(_last_clause(text)) or _QUESTION_AHEAD.match(text.strip())
    return begins is not None


def _last_clause(text: str) -> str:
    """`text` from where its request begins: behind `I am in Rome. ` or `For my trip, `."""
    text = text.strip()
    if _BEGINS.match(text):
        return text

    rest = [text[match.end() :] for match in re.finditer(r"[.!;:]\s+|,\s+", text)]
    return next((piece for piece in rest if _BEGINS.match(piece)), text)


def _trim(piece: str, joint: str) -> str:
    """A piece keeps its question mark, which the joint took."""
    return piece.strip() + ("?" if joint.lstrip().startswith("?") else "")


def _shield(text: str) -> str:
    """`text` with quoted strings, code and addresses blotted out, of the same length."""
    return _SHIELDED.sub(lambda match: "x" * len(match.group(0)), text)


def merged(parts: Sequence[Part], first: int, last: int) -> Part:
    """The parts from `first` to `last` as one, which refers to whatever they refer to before `first`."""
    after = {place for part in parts[first : last + 1] for place in part.after if place < first}
    text = "; ".join(part.text.rstrip(".;") for part in parts[first : last + 1])
    return Part(text=text, after=tuple(sorted(after)), question=parts[first].question)
