"""Whether each citation is what a tool call of the run returned, byte for byte, and each mark has its citation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from agentflow.claims.finding import Code, Finding
from agentflow.claims.record import Record
from agentflow.claims.sentences import MARK, Span, is_joined
from agentflow.evidence import Answer, Evidence

# How a planner cites a tool that returned something else than passages, and what stands behind a text that was cut.
_BY_TOOL = "tool:"
_CUT = re.compile(r" \.\.\. \(the first [\d,]+ of [\d,]+ characters; sha256:[0-9a-f]+\)$")
_SHOWN = 60


def check_citations(answer: Answer, record: Record) -> Iterator[Finding]:
    """What is wrong with each citation by itself."""
    for number, cited in enumerate(answer.citations, 1):
        is_told = cited.source.startswith(_BY_TOOL) and all(p.source != cited.source for p in record.passages)
        found = _by_tool(cited, record) if is_told else _fault(cited, record)
        if found is not None:
            code, what, why = found
            yield Finding(code=code, level="error", what=f"[{number}] {what}", why=why, citation=number)


_Fault = tuple[Code, str, str] | None


def _fault(cited: Evidence, record: Record) -> _Fault:
    """The first thing that is wrong: each line rests on the one before."""
    alike = [p for p in record.passages if p.source == cited.source]
    if not alike:
        return _foreign(cited, record)

    holding = [p for p in alike if cited.text.strip() and cited.text in p.text]
    if not holding:
        return _altered(cited, alike, record)

    placed = [p for p in holding if _offsets_fit(cited, p)]
    if not placed:
        there = ", ".join(sorted({_offsets(p) for p in holding}))
        return "wrong-offsets", f"names {_offsets(cited)}", f"the passage with this text is at {there}"

    return _stamped_otherwise(cited, placed)


def _foreign(cited: Evidence, record: Record) -> _Fault:
    elsewhere = sorted({p.source for p in record.passages if cited.text.strip() and cited.text in p.text})
    if elsewhere:
        return "wrong-source", f"names `{cited.source}`", f"this text was returned from {_named(elsewhere)}"

    sources = sorted({p.source for p in record.passages})
    known = f"what was returned is from {_named(sources)}" if sources else "no call returned any passage"
    return (
        "unknown-source",
        f"names `{cited.source}`",
        f"no tool call of this run returned anything from there; {known}",
    )


def _altered(cited: Evidence, alike: Sequence[Evidence], record: Record) -> _Fault:
    shown = f"cites {_shown(cited.text)}"
    if not cited.text.strip():
        return "wrong-text", "cites no text at all", f"`{cited.source}` returned {len(alike)} passages"

    elsewhere = sorted({p.source for p in record.passages if cited.text in p.text})
    if elsewhere:
        return "wrong-source", f"names `{cited.source}`", f"this text was returned from {_named(elsewhere)}"

    if _is_merged(cited.text, [p.text for p in record.passages]):
        return "merged-text", shown, "no passage holds it: it is put together from several"

    return "wrong-text", shown, f"no passage of `{cited.source}` that a call returned holds this text"


def _is_merged(text: str, passages: Sequence[str]) -> bool:
    """Whether some beginning of the text, and the rest of it, each stand in a passage."""
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    return is_joined(
        len(starts),
        lambda n: any(text[: starts[n]].strip() in passage for passage in passages),
        lambda n: any(text[starts[n] :].strip() in passage for passage in passages),
    )


def _offsets_fit(cited: Evidence, passage: Evidence) -> bool:
    if cited.start is None and cited.end is None:
        return True

    if passage.start is None or cited.start is None or cited.end is None:
        return False

    if cited.text == passage.text:
        return (cited.start, cited.end) == (passage.start, passage.end)

    at = cited.start - passage.start
    return at >= 0 and passage.text.startswith(cited.text, at) and cited.end == cited.start + len(cited.text)


def _stamped_otherwise(cited: Evidence, placed: Sequence[Evidence]) -> _Fault:
    """The right words at the right place may still be said to come of another call, or to be better than they are."""
    stamped = [p for p in placed if (p.tool, p.at) == (cited.tool, cited.at)]
    if not stamped:
        there = ", ".join(sorted({_stamp(p) for p in placed}))
        return "other-call", f"is said to be of {_stamp(cited)}", f"in this run the text is of {there}"

    whole = [p for p in stamped if p.text == cited.text]
    if whole and not any((p.place, p.title) == (cited.place, cited.title) for p in whole):
        there = ", ".join(sorted({f"{p.title} · {p.place}" for p in whole}))
        return (
            "wrong-place",
            f"names {cited.title} · {cited.place}",
            f"the passage with this text is at {there}",
        )

    if cited.trust == "trusted" and all(p.trust == "untrusted" for p in stamped):
        return "raised-trust", "counts as trusted", "the tool that returned it says that its results are not"

    return None


def _by_tool(cited: Evidence, record: Record) -> _Fault:
    """A result that is no passage is cited as the tool's own words, which may have been cut."""
    name = cited.source.removeprefix(_BY_TOOL)
    calls = [c for c in record.calls if c.tool == name and c.is_done]
    if not calls:
        return "unknown-source", f"names the tool `{name}`", "no call of it in this run returned anything"

    told = [c for c in calls if _tells(c.text, cited.text)]
    if not told:
        return "wrong-text", f"cites {_shown(cited.text)}", f"no call of `{name}` returned this"

    if cited.place and all(c.call_id != cited.place for c in told):
        there = ", ".join(sorted({f"`{c.call_id}`" for c in told}))
        return "wrong-place", f"names the call `{cited.place}`", f"this was returned by {there}"

    return None


def _tells(result: str, cited: str) -> bool:
    cut = _CUT.search(cited)
    # The same JSON may be written with other white space.
    known, said = "".join(result.split()), "".join((cited[: cut.start()] if cut else cited).split())
    return bool(said) and (known.startswith(said) if cut else said in known)


def check_marks(answer: Answer, quoted: Sequence[Span]) -> Iterator[Finding]:
    """Marks without a citation, and citations without a mark; brackets inside of true quotes are the source's own."""
    used: set[int] = set()
    for match in MARK.finditer(answer.text):
        if any(span.start <= match.start() < span.end for span in quoted):
            continue

        numbers = {int(number) for number in match[1].split(",")}
        used |= numbers
        for number in sorted(n for n in numbers if not 1 <= n <= len(answer.citations)):
            there = f"the answer has {len(answer.citations)} citations"
            yield Finding(
                code="mark-to-nothing",
                level="error",
                what=f"[{number}] points at nothing",
                why=there,
                start=match.start(),
                end=match.end(),
                citation=number,
            )

    for number in sorted(set(range(1, len(answer.citations) + 1)) - used):
        what = f"[{number}] is cited nowhere in the text"
        why = f"`{answer.citations[number - 1].source}` is listed as if the answer rested on it"
        yield Finding(code="unused-citation", level="warning", what=what, why=why, citation=number)


def _offsets(passage: Evidence) -> str:
    return "no place" if passage.start is None else f"characters {passage.start}-{passage.end}"


def _stamp(passage: Evidence) -> str:
    return f"`{passage.tool or 'no tool'}` at {passage.at or 'no time'}"


def _named(sources: Sequence[str]) -> str:
    more = f" and {len(sources) - 3} more" if len(sources) > 3 else ""
    return ", ".join(f"`{source}`" for source in sources[:3]) + more


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return f"“{line if len(line) <= _SHOWN else line[:_SHOWN] + '…'}”"
