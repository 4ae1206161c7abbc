"""Named values in a request, as a form wants them: `name: Ana, city: Oslo`, `with email a@example.com`."""

from __future__ import annotations

import re

_LABELS = (
    r"first name|last name|full name|user ?name|nick ?name|e-?mail(?: address)?|phone(?: number)?|telephone|name|city|street|address|"
    r"zip(?: code)?|post(?:al )?code|country|company|organi[sz]ation|password|message|subject|date|time|age|title|amount|quantity|comments?|"
    r"number|code|text|category|department|order number|customer number|room|priority|description"
)
_KEPT = re.compile(r"\"[^\"]*\"|“[^”]*”|(?<!\w)'[^']*'(?!\w)|https?://\S+|\b[\w.-]+:\d+\S*")
_BOUNDARY = re.compile(r"\s*[,;\n]\s*(?:and |then )?|\s+and\s+|\.\s+|\.$|\s+with\s+|\s+in the \w+ field\b")
_INTRODUCTION = re.compile(
    r"^.*\b(?:fill(?: in| out)?|enter|use|using|type|with|submit|send|following|values?|data|details|form|fields?)\s*:\s*",
    re.IGNORECASE | re.DOTALL,
)
_MARKED = re.compile(r"(?P<label>[A-Za-z]\w*(?:[ -][A-Za-z]\w*){0,2})\s*[:=]\s*(?P<value>\S.*)$", re.DOTALL)
_LABELLED = re.compile(
    rf"(?:^|\s)(?P<label>(?i:{_LABELS}))\s+(?:(?:is|as|of|to)\s+)?"
    r"(?P<value>\x00\d+\x00|[\w.+-]+@[\w.-]+\w|[A-ZÀ-Þ0-9+][\w.'’/-]*(?: [A-ZÀ-Þ0-9][\w.'’/-]*)*|[\w.-]*\d[\w.-]*)"
    r"(?=$|\s+(?:in|into|to|on|at|for|from|then)\b)"
)
_SIGNED_IN = re.compile(
    r"\b(?:log|sign)(?:ged)?[ -]?(?:in|on)(?:to [^,.;]*?)? as (?P<value>[\w.@+-]*\w)", re.IGNORECASE
)


def named(text: str) -> dict[str, str]:
    """Each label of `text` with its value; labels are in lower case."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match.group(0))
        return f"\0{len(kept) - 1}\0"

    found: dict[str, str] = {}
    for segment in _BOUNDARY.split(_KEPT.sub(keep, text)):
        pair = _pair(segment)
        if pair:
            found[pair[0].lower()] = _restored(pair[1], kept)

    signed_in = _SIGNED_IN.search(text)
    return ({"username": signed_in["value"]} if signed_in else {}) | found


def _pair(segment: str) -> tuple[str, str] | None:
    segment = _INTRODUCTION.sub("", segment).strip()
    match = _MARKED.search(segment) or _LABELLED.search(segment)
    if match is None:
        return None

    known = re.search(rf"(?:{_LABELS})$", match["label"], re.IGNORECASE)
    return (known.group(0) if known else match["label"]), match["value"].strip()


def _restored(value: str, kept: list[str]) -> str:
    whole = re.sub(r"\0(\d+)\0", lambda match: kept[int(match.group(1))], value)
    return whole.strip("\"'“”")
