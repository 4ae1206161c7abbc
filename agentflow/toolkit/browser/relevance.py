"""How much a text has to do with a task: shared words weighted by rarity, and meaning where it can be had."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Sequence

from agentflow.embedding import available, encoder

_WORD = re.compile(r"\w+")
# fmt: off
_STOP = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "could", "did", "do", "does", "for", "from",
    "go", "has", "have", "how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "of", "on", "or",
    "our", "please", "so", "than", "that", "the", "their", "them", "then", "there", "this", "to", "us",
    "was", "we", "were", "what", "when", "where", "which", "who", "will", "with", "would", "you", "your",
    "page", "site", "website", "web", "shop", "find", "tell", "look", "open", "show", "read", "give",
    "get", "visit",
})
# fmt: on
# What an answer to such a question looks like: an amount of money, a time, a number.
_SHAPES = (
    (
        re.compile(r"\b(how much|price|prices|costs?|expensive)\b"),
        re.compile(r"(?i)[€$£]\s?\d|\d\s?(€|eur|usd|gbp)\b|\bfree\b"),
    ),
    (
        re.compile(r"\b(how long|how soon|when|how many (minutes|hours|days|weeks|months|years))\b"),
        re.compile(r"(?i)\d+\s*(minutes?|hours?|(working )?days?|weeks?|months?|years?)\b|\d{1,2}:\d\d"),
    ),
    (re.compile(r"\bhow (many|heavy|big|large|tall)\b"), re.compile(r"\d")),
)
_SHAPE_BONUS = 0.25
_PLACE_WEIGHT = 0.7
_ALIKE_WEIGHT = 0.5


def words(text: str) -> list[str]:
    """The words of `text` that say something, in a form that forgives plurals."""
    return [_stem(word) for word in _WORD.findall(text.casefold()) if word not in _STOP]


def _stem(word: str) -> str:
    for ending, short in (("ies", "y"), ("sses", "ss"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith(("ss", "us")):
            return word.removesuffix(ending) + short

    return word


class Relevance:
    """Scores texts for one task. `meaning` adds embedding similarity; None means where it is installed."""

    def __init__(self, task: str, *, meaning: bool | None = None) -> None:
        self.task = task
        self.words = frozenset(words(task))
        asked = [(question.search(task.casefold()), answer) for question, answer in _SHAPES]
        self._shapes = [answer for found, answer in asked if found]
        # What the shape of the answer covers need not be named in it: "how much" is met by an amount.
        self._named = self.words - {word for found, _ in asked if found for word in words(found[0])}
        self._meaning = available() if meaning is None else meaning

    def answered(self, text: str, place: str) -> bool:
        """Does `text` under `place` hold all that the task names, in the shape that it asks for?"""
        if len(self.words) < 2 or not self._named:
            return False  # a single word is named everywhere; the best place for it is worth looking for

        held = self._named <= {*words(text), *words(place)}
        return held and all(shape.search(text) for shape in self._shapes)

    def lexical(self, texts: Sequence[tuple[str, str]], *, answers: bool) -> list[float]:
        """A score of about 0 to 1 for each (text, place), with words that few of them hold counting more.

        `answers`: the texts are to hold the answer, so one that has the shape of it scores higher.
        """
        bags = [(frozenset(words(text)), frozenset(words(place))) for text, place in texts]
        spread = Counter(word for text, place in bags for word in (text | place) & self.words)
        weight = {word: math.log(1 + len(bags) / (1 + spread[word])) + 0.2 for word in self.words}
        whole = sum(weight.values()) or 1.0
        return [
            self._score(text, place, weight) / whole + (self._shaped(raw) if answers else 0.0)
            for (text, place), (raw, _) in zip(bags, texts, strict=True)
        ]

    def _score(self, text: frozenset[str], place: frozenset[str], weight: dict[str, float]) -> float:
        direct = sum(weight[word] for word in text & self.words)
        # What a heading says need not be said again below it.
        return direct + _PLACE_WEIGHT * sum(weight[word] for word in (place - text) & self.words)

    def _shaped(self, text: str) -> float:
        return _SHAPE_BONUS if any(shape.search(text) for shape in self._shapes) else 0.0

    async def alike(self, texts: Sequence[str]) -> list[float]:
        """How near each text is to the task in meaning, weighted to be added to the lexical score."""
        if not self._meaning or not texts:
            return [0.0] * len(texts)

        near = await asyncio.to_thread(_similarities, self.task, list(texts))
        return [_ALIKE_WEIGHT * value for value in near]


def _similarities(task: str, texts: list[str]) -> list[float]:
    vectors = encoder().embed([task, *texts])
    return [max(0.0, float(value)) for value in vectors[1:] @ vectors[0]]
