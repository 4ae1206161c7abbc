"""Families of tools: what kind of thing an offered tool is, told by its name and its description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

from agentflow.models.embedded.features import embedding

Family = Literal["web_search", "file_search", "computer", "code_interpreter"]

_FIND = r"search\w*|find\w*|looks?(?: \w+)? ?up|lookup|retriev\w*|quer(?:y|ies)|google|ask|grep"
_DOCUMENTS = r"files?|doc(?:s|uments?)?|notes?|knowledge(?: ?base)?|kb|vectors?(?: ?store)?|corpus|handbook|wiki|archive|rag|manuals?|passages"
_PUBLIC = r"web|internet|online|google|bing|duck ?duck ?go|ddg|brave|tavily|searx\w*|serp\w*|news|wikipedia"
_SCREEN = r"browsers?|browse|computer|desktop|playwright|screen|web ?pages?|web ?sites?|pages?|urls?"
_STEER = r"open\w*|visit\w*|click\w*|navigat\w*|controls?|operates?|browses?|use|fetch\w*|reads?|carry out|does tasks|fill\w*"
_RUN = r"run|runs|execut\w*|evaluat\w*|interpret\w*|calculat\w*|comput(?:e|es|ing|ation)"
_CODE = r"code|python|program|script|interpreter|repl|sandbox|calculator|expressions?|arithmetic"
_MEANINGS: dict[Family, str] = {
    "web_search": "Search the public internet and return pages that answer a question.",
    "file_search": "Find passages that answer a question in the user's own documents.",
    "computer": "Operate a web browser: open a page, click buttons, fill in forms.",
    "code_interpreter": "Run a Python program and return what it prints.",
}
_SAME = 0.47  # similarity above which a description means the same: those of other kinds stay below 0.41
_WRITES = r"\b(?:send|write|create|delete|remove|upload|post|publish|move|rename|save|edit|update|resize|convert|transcribe|translate|generat\w*)\b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A tool that may be chosen; `parameters` is the JSON Schema of its arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __hash__(self) -> int:
        return hash((self.name, self.description))


def words(name: str) -> str:
    """The words in the name of a tool: `runPython_code` becomes `run python code`."""
    return " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)).lower()


@lru_cache(maxsize=256)
def family(offer: Offer) -> Family | None:
    """The family that `offer` belongs to; None for a tool of any other kind."""
    name = words(offer.name)
    return _by_name(name) or _by_description(name, offer.description.lower()) or _by_meaning(offer)


def _by_name(name: str) -> Family | None:
    if re.search(_WRITES, name):
        return None

    if _both(name, _FIND, _PUBLIC) or re.search(r"\b(?:google|tavily|searx\w*|duck ?duck ?go|ddg)\b", name):
        return "web_search"

    if _both(name, _FIND, _DOCUMENTS):
        return "file_search"

    if re.search(r"\b(?:brows(?:e|er|ing)|computer|playwright)\b", name):
        return "computer"

    if _both(name, _RUN, _CODE) or re.search(r"\b(?:python|calculator|repl|interpreter)\b", name):
        return "code_interpreter"

    return None


def _by_description(name: str, description: str) -> Family | None:
    opening = description.split(".")[0]
    if re.search(_WRITES, name) or re.search(rf"^\W*{_WRITES}", opening):
        return None

    if _both(opening, _FIND, r"web|internet|online"):
        return "web_search"

    if _both(opening, _RUN, _CODE):
        return "code_interpreter"

    if _both(opening, _STEER, _SCREEN):
        return "computer"

    if _both(opening, rf"{_FIND}|returns?|answers?", rf"{_DOCUMENTS}|polic(?:y|ies)|contracts?"):
        return "file_search"

    return None


def _by_meaning(offer: Offer) -> Family | None:
    if not offer.description:
        return None

    meant = embedding(offer.description)
    likeness = {name: float(meant @ embedding(text)) for name, text in _MEANINGS.items()}
    alike: list[Family] = [name for name in _MEANINGS if likeness[name] >= _SAME]
    return max(alike, key=lambda name: likeness[name], default=None)


def _both(text: str, one: str, other: str) -> bool:
    return all(re.search(rf"\b(?:{pattern})\b", text) for pattern in (one, other))
