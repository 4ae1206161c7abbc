"""Whether what an answer quotes stands in what it cites."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from agentflow.claims.finding import Code, Finding
from agentflow.claims.record import Record
from agentflow.claims.sentences import Span, is_joined, plain, sentences, unmarked
from agentflow.evidence import Answer

# Fewer words in quotation marks are a name or a word that is pointed out, and seldom a quote.
_QUOTE_WORDS = 3
_LEFT_OUT = re.compile(r"\s*(?:\[\s*(?:\.\.\.|…)\s*\]|\(\s*(?:\.\.\.|…)\s*\)|\.\.\.|…)\s*")
_EDGES = " .,;:!?'\""


def true_quotes(answer: Answer, quoted: Sequence[Span]) -> list[Span]:
    """The quotes that stand in a passage that the answer cites."""
    texts = [plain(cited.text) for cited in answer.citations]
    return [span for span in quoted if any(_stands_in(span.text, text) for text in texts)]


def check_quotes(answer: Answer, record: Record, quoted: Sequence[Span]) -> Iterator[Finding]:
    """The quotes that are not in the passages cited with them."""
    cited = [plain(item.text) for item in answer.citations]
    returned = [plain(p.text) for p in record.passages] + [
        plain(c.text) for c in record.calls if not c.passages
    ]
    said = sentences(answer.text)
    for quote in quoted:
        if not _parts(quote.text) or _stands_in(quote.text, plain(record.input)):
            continue

        marks = next((s.marks for s in said if s.start < quote.end <= s.end), ())
        scope = [cited[n - 1] for n in marks if 1 <= n <= len(cited)] or cited
        if not any(_stands_in(quote.text, text) for text in scope):
            yield from _judged(quote, tuple(marks), cited, returned)


def _judged(
    quote: Span, marks: Sequence[int], cited: Sequence[str], returned: Sequence[str]
) -> Iterator[Finding]:
    elsewhere = [number for number, text in enumerate(cited, 1) if _stands_in(quote.text, text)]
    is_short = len(quote.text.split()) < _QUOTE_WORDS
    known = [*cited, *returned]
    if elsewhere:
        there = ", ".join(f"[{number}]" for number in elsewhere)
        yield _finding(
            quote, "quote-elsewhere", f"it stands in {there}, which is not what is cited with it", marks
        )
    elif any(_stands_in(quote.text, text) for text in returned):
        # A word that is pointed out need not be of a passage that is cited.
        if not is_short:
            yield _finding(quote, "quote-elsewhere", "a tool returned it, but no citation holds it", marks)
    elif not is_short and _is_merged(quote.text, known):
        yield _finding(quote, "quote-merged", "its parts stand apart in what the tools returned", marks)
    else:
        why = "no passage that is cited or was returned holds it"
        yield _finding(quote, "quote-not-found", why, marks, is_warning=is_short)


def _finding(quote: Span, code: Code, why: str, marks: Sequence[int], *, is_warning: bool = False) -> Finding:
    shown = quote.text if len(quote.text) <= 80 else quote.text[:80] + "…"
    return Finding(
        code=code,
        level="warning" if is_warning else "error",
        what=f"the quote “{shown}”",
        why=why,
        start=quote.start,
        end=quote.end,
        citation=marks[0] if len(marks) == 1 else None,
    )


def _parts(quote: str) -> list[str]:
    """The parts of a quote between its ellipses, as they are compared."""
    parts = [plain(part).strip(_EDGES) for part in _LEFT_OUT.split(unmarked(quote))]
    return [part for part in parts if part]


def _stands_in(quote: str, text: str) -> bool:
    """Whether all parts of a quote stand in a text, whole and in order; brackets of the source are its own."""
    whole = plain(quote).strip(_EDGES)
    if whole and _found(whole, text, 0) >= 0:
        return True

    at = 0
    for part in _parts(quote):
        found = _found(part, text, at)
        if found < 0:
            return False

        at = found + len(part)

    return at > 0


def _found(part: str, text: str, start: int) -> int:
    """Where a part begins in a text, at the border of a word: a number must not lose its last digits."""
    at = text.find(part, start)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(part) : at + len(part) + 1]
        if not (_goes_on(before, part[:1]) or _goes_on(part[-1:], after)):
            return at

        at = text.find(part, at + 1)

    return -1


def _goes_on(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum()


def _is_merged(quote: str, texts: Sequence[str]) -> bool:
    parts = _parts(quote)
    if len(parts) > 1 and all(any(_found(part, text, 0) >= 0 for text in texts) for part in parts):
        return True

    words = parts[0].split()

    def known(part: Sequence[str]) -> bool:
        return any(_found(" ".join(part), text, 0) >= 0 for text in texts)

    return is_joined(len(words), lambda n: known(words[:n]), lambda n: known(words[n:]))
