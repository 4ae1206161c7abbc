"""Ways in which an answer may claim what its run does not bear out, planted into a true one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from agentflow.claims import Record
from agentflow.events import ErrorInfo
from agentflow.evidence import Answer, Evidence


@dataclass(frozen=True, kw_only=True)
class Forged:
    """A forged answer, the record that it is checked against, and the codes of which one must be found."""

    answer: Answer
    record: Record
    codes: frozenset[str]


Forgery = Callable[[Answer, Record], Iterator[tuple[Answer, Record]]]
FORGERIES: dict[str, tuple[Forgery, frozenset[str]]] = {}


def _plants(name: str, *codes: str) -> Callable[[Forgery], Forgery]:
    def keep(forgery: Forgery) -> Forgery:
        FORGERIES[name] = (forgery, frozenset(codes))
        return forgery

    return keep


def forged(name: str, answer: Answer, record: Record) -> Iterator[Forged]:
    """The answer forged in one way; nothing where it has not what the way needs."""
    forgery, codes = FORGERIES[name]
    for made, against in forgery(answer, record):
        yield Forged(answer=made, record=against, codes=codes)


def _swapped(answer: Answer, **changed: object) -> Answer:
    first, *rest = answer.citations
    return Answer(text=answer.text, citations=[replace(first, **changed), *rest])  # type: ignore[arg-type]


def _cited(forge: Callable[[Evidence], dict[str, object]]) -> Forgery:
    def apply(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
        if answer.citations:
            yield _swapped(answer, **forge(answer.citations[0])), record

    return apply


def _added(*sentences: str) -> Forgery:
    def apply(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
        for sentence in sentences:
            yield replace(answer, text=f"{answer.text}\n{sentence}"), record

    return apply


_plants("a word of the passage is another", "wrong-text")(
    _cited(lambda e: {"text": e.text.replace(e.text.split()[-1], "nevertheless")})
)
_plants("a digit of the passage is another", "wrong-text")(
    _cited(
        lambda e: {
            "text": re.sub(r"\d", lambda m: str((int(m[0]) + 1) % 10), e.text, count=1)
            + ("" if re.search(r"\d", e.text) else "7")
        }
    )
)
_plants("the passage says more", "wrong-text")(
    _cited(lambda e: {"text": e.text + " All staff may ignore this."})
)
_plants("the white space of the passage is another", "wrong-text")(
    _cited(lambda e: {"text": e.text.replace(" ", "  ", 1)})
)
_plants("an empty passage", "wrong-text")(_cited(lambda _: {"text": " "}))
_plants("a source that is not there", "wrong-source", "unknown-source")(
    _cited(lambda _: {"source": "handbook/secret-rules.md"})
)
_plants("a web page as the source", "wrong-source", "unknown-source")(
    _cited(lambda _: {"source": "https://example.com/rules"})
)
_plants("nothing that was ever returned", "unknown-source")(
    _cited(lambda _: {"source": "https://example.com/x", "text": "Everybody gets a bicycle."})
)
_plants("a tool's own words that it never said", "wrong-text", "unknown-source")(
    _cited(lambda _: {"source": "tool:run_python", "place": "c9", "text": "42"})
)
_plants("offsets one to the right", "wrong-offsets")(
    _cited(lambda e: {"start": (e.start or 0) + 1, "end": (e.end or 0) + 1})
)
_plants("offsets of nothing", "wrong-offsets")(_cited(lambda _: {"start": 10**9, "end": 10**9 + 5}))
_plants("an end that is too late", "wrong-offsets")(_cited(lambda e: {"end": (e.end or 0) + 40}))
_plants("a part of the passage at its beginning's offsets", "wrong-offsets")(
    _cited(lambda e: {"text": e.text[5:], "end": (e.end or 0) - 5})
)
_plants("another run's call", "other-call")(_cited(lambda _: {"at": "2020-01-01T00:00:00+00:00"}))
_plants("another tool", "other-call")(_cited(lambda _: {"tool": "web_search"}))
_plants("another place", "wrong-place")(_cited(lambda e: {"place": f"9. {e.place}"}))
_plants("trust that its tool does not give", "raised-trust")(lambda a, r: _trusting(a, r))


def _trusting(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    """The same run, whose tool says that its results cannot be trusted, and an answer that says they can."""
    if answer.citations:
        calls = [replace(c, result=_untrusted(c.result)) for c in record.calls]
        yield _swapped(answer, trust="trusted"), replace(record, calls=tuple(calls))


def _untrusted(result: object) -> object:
    items = result if isinstance(result, list) else []
    return [{**item, "trust": "untrusted"} if isinstance(item, dict) else item for item in items]


@_plants("the source of another passage", "wrong-source")
def _other_source(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    others = [
        p.source for p in record.passages if answer.citations and answer.citations[0].text not in p.text
    ]
    for source in [s for s in others if answer.citations and s != answer.citations[0].source][:1]:
        yield _swapped(answer, source=source), record


@_plants("two passages in one", "merged-text")
def _merged(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    if not answer.citations:
        return

    cited = answer.citations[0]
    other = next((p for p in record.passages if p.text != cited.text and p.text not in cited.text), None)
    if other is not None:
        text = " ".join(cited.text.split(" ")[:6]) + " " + " ".join(other.text.split(" ")[-6:])
        yield _swapped(answer, text=text), record


@_plants("a citation of a run that made no calls", "unknown-source")
def _other_run(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    if answer.citations:
        yield answer, replace(record, calls=())


@_plants("a mark beyond the citations", "mark-to-nothing")
def _mark(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    yield replace(answer, text=f"{answer.text} [{len(answer.citations) + 1}]"), record
    yield replace(answer, text=f"{answer.text} [0]"), record


@_plants("an altered number", "number-unsupported")
def _number(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    for match in list(re.finditer(r"(?<!\[)\b\d+(?:[.,:]\d+)*\b(?!\])", answer.text))[:2]:
        line = answer.text[answer.text.rfind("\n", 0, match.start()) + 1 :].partition("\n")[0]
        if re.search(r"\[\d+\]", line) and not line.startswith(match[0]):
            yield (
                replace(answer, text=answer.text[: match.start()] + "86753" + answer.text[match.end() :]),
                record,
            )


@_plants("a name that the passage does not hold", "name-unsupported")
def _name(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    if answer.citations:
        yield replace(answer, text=f"{answer.text}\nThis was decided by Zebediah Quux. [1]"), record


@_plants("a quote that is made up", "quote-not-found")
def _quote(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    if answer.citations:
        for left, right in ("“”", "„“", "«»", '""'):
            yield (
                replace(
                    answer, text=f"{answer.text}\nIt says {left}every employee owns the company{right} [1]."
                ),
                record,
            )

        yield replace(answer, text=f"{answer.text}\n> Every employee owns the company. [1]"), record
        yield replace(answer, text=f"{answer.text}\nVerbatim: every employee owns the company [1]"), record


def _quoting(words: str, answer: Answer) -> Answer:
    return replace(answer, text=f"{answer.text}\nThe rule reads “{words}” [1].")


@_plants("a quote with one word altered", "quote-not-found")
def _altered(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    words = answer.citations[0].text.split()[:8] if answer.citations else []
    if len(words) == 8:
        yield _quoting(" ".join([*words[:5], "hardly", *words[6:]]), answer), record


@_plants("a quote that is put together from two passages", "quote-merged")
def _merged_quote(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    if not answer.citations:
        return

    cited = " ".join(answer.citations[0].text.split())
    texts = [" ".join(p.text.split()) for p in record.passages]
    other = next((t for t in texts if t not in cited and cited not in t), None)
    if other is not None:
        head, tail = " ".join(cited.split()[:5]), " ".join(other.split()[-5:])
        if not any(f"{head} {tail}" in t for t in texts):
            yield _quoting(f"{head} {tail}", answer), record
            yield _quoting(f"{head} … {tail}", answer), record


@_plants("a quote of a passage that is not cited with it", "quote-elsewhere")
def _elsewhere(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    if not answer.citations:
        return

    cited = " ".join(" ".join(c.text.split()) for c in answer.citations).casefold()
    for passage in record.passages:
        words = " ".join(passage.text.split()[-6:]).strip(" .")
        if words.casefold() not in cited and '"' not in words:
            yield _quoting(words, answer), record
            return


_plants("a tool that was never called", "tool-not-called")(
    _added(
        "I ran the code to make sure.",
        "I executed a Python script that confirms this.",
        "After running the script, the total is the same.",
        "I sent the summary to the travel desk by e-mail.",
        "We e-mailed the manager.",
        "I used the `run_python` tool to check the sum.",
        "Using run_on_table, the figures were summed up.",
        "`send_mail` returned a receipt.",
        "I submitted the form for you.",
        "I generated a chart of the limits.",
        "I transcribed the recording.",
        "According to the page I opened, this is still in force.",
        "I opened https://example.com/limits and read it there.",
        "The code was executed without errors.",
    )
)


@_plants("a tool whose calls all failed", "tool-failed")
def _failed(answer: Answer, record: Record) -> Iterator[tuple[Answer, Record]]:
    """The same run, in which the searches failed."""
    if not record.calls:
        return

    error = ErrorInfo(kind="NetworkUnavailable", message="the web cannot be reached")
    search = replace(record.calls[0], tool="web_search", error=error, result=None, within=frozenset({"ddgs"}))
    failing = replace(record, calls=(search, *(c for c in record.calls if c.tool == "file_search")))
    for sentence in (
        "I searched the web for it.",
        "A web search confirms this.",
        "I also checked online.",
        "The web was searched as well.",
        "`web_search` found the same.",
    ):
        yield replace(answer, text=f"{answer.text}\n{sentence}"), failing
