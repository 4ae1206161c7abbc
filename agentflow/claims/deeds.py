"""Whether what an answer says it did was done: statements about tools, against the calls of the run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentflow.claims.finding import Code, Finding
from agentflow.claims.record import Call, Record
from agentflow.claims.sentences import Span, marks_in, plain, sentences, unmarked
from agentflow.evidence import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Tools that do the same: how they are called, and how one speaks of having used them.

    `verbs` are forms of the past and of `-ing`, `objects` what they are done to.
    """

    name: str
    tools: re.Pattern[str]
    verbs: str
    objects: str


def _family(name: str, tools: str, verbs: str, objects: str) -> Family:
    return Family(name=name, tools=re.compile(tools, re.IGNORECASE), verbs=verbs, objects=objects)


_FILES = (
    r"file|document|doc|handbook|folder|knowledge|retriev|corpus|archive|index|(?<![a-z])rag(?![a-z])|pdf"
)
_READ = (
    r"search(?:ed|ing)|read(?:ing)?|open(?:ed|ing)|look(?:ed|ing) (?:in|into|through|at|up)|check(?:ed|ing)|went through|"
    r"going through|consult(?:ed|ing)|review(?:ed|ing)"
)
_SENDING = r"mail|send|message|slack|notif|post|sms|chat"
FAMILIES = (
    _family(
        "a web search",
        r"web.?search|search.?(?:the.?)?(?:web|internet|online)|internet|brave|tavily|searx|google|bing|ddgs|duckduck",
        r"search(?:ed|ing)|look(?:ed|ing)(?: \w+){0,3}? (?:up|on|online)|googl(?:ed|ing)|quer(?:ied|ying)|check(?:ed|ing)|browsed|consult(?:ed|ing)",
        r"the web(?! ?(?:page|site))|web search|the internet|online|google(?! (?:drive|docs|sheets|maps))|bing|search engines?",
    ),
    _family(
        "a page that was opened",
        r"brows|fetch|page|url|crawl|scrap|visit|navigat|click|extract|http|site",
        r"open(?:ed|ing)|visit(?:ed|ing)|brows(?:ed|ing)|fetch(?:ed|ing)|load(?:ed|ing)|read(?:ing)?|navigat(?:ed|ing)|went|access(?:ed|ing)|click(?:ed|ing)|look(?:ed|ing) at",
        r"(?:web)?pages?|(?:web)?sites?|urls?|links?|https?://\S+",
    ),
    _family(
        "a search of files",
        _FILES,
        _READ,
        r"files?|handbook|folders?|knowledge base|archive",
    ),
    _family(
        "a document that was read",
        rf"{_FILES}|brows|fetch|page|url|download|web|read|extract",
        _READ,
        r"documents?|pdfs?|spreadsheets?",
    ),
    _family(
        "a run of code",
        r"python|code|exec|sandbox|script|calc|comput|sql|table|shell|interpret|notebook|(?<![a-z])eval",
        r"r[au]n(?:ning)?|execut(?:ed|ing)|evaluat(?:ed|ing)|test(?:ed|ing)|comput(?:ed|ing)|calculat(?:ed|ing)|verif(?:ied|ying)",
        r"code|scripts?|programs?|python|sandbox|sql|interpreter|notebook|calculator|(?<=ran the )calculations?|tests",
    ),
    _family(
        "a message that was sent",
        _SENDING,
        r"sent|sending|forward(?:ed|ing)|wrote",
        r"e-?mails?|messages?|mails?|notifications?|sms|letters?|slack|by e-?mail|to the \w+(?= (?:desk|team|manager|owner)|[.,;])",
    ),
    _family("somebody who was told", _SENDING, r"e-?mail(?:ed|ing)|notif(?:ied|ying)|messag(?:ed|ing)", r"\w+"),
    _family(
        "a form that was sent", r"(?<![a-z])form(?![a-z])|submit|booking|(?<![a-z])order", r"submit(?:ted|ting)|fill(?:ed|ing) (?:in|out)", r"forms?|booking|order"
    ),
    _family(
        "a picture that was made",
        r"image|picture|draw|paint|plot|chart|diagram|render|table|python|code",
        r"generat(?:ed|ing)|dr[ae]w(?:n|ing)?|creat(?:ed|ing)|plott(?:ed|ing)|render(?:ed|ing)",
        r"images?|pictures?|illustrations?|plots?|charts?|diagrams?|graphs?",
    ),
    _family(
        "a transcription", r"transcri|speech|whisper|audio|listen", r"transcrib(?:ed|ing)|listen(?:ed|ing) to", r"\w+"
    ),
    _family(
        "a call of a service",
        r".",
        r"call(?:ed|ing)|quer(?:ied|ying)|request(?:ed|ing)|us(?:ed|ing)|ask(?:ed|ing)",
        r"(?:the )?\w* ?apis?|endpoints?|databases?|mcp servers?",
    ),
)  # fmt: skip
# Between who speaks and the verb; each word takes the space before it, so that there is one way to read them only.
_ADVERBS = r"(?:,? ?(?:['’]ve|have|had|has|also|then|just|already|first|next|finally|carefully|again|even|actually|been)){0,8},? ?"
_BY = r"(?:after|having|by|upon|from|when|while|through)"
# What makes a sentence one about what was not, will be or could be done.
_UNDONE = re.compile(
    r"\b(?:not|never|no|nor|neither|cannot|can['’]?t|couldn['’]?t|didn['’]?t|haven['’]?t|hasn['’]?t|wasn['’]?t|weren['’]?t|unable|without|failed|"
    r"fails|instead of|rather than|will|would|could|should|may|might|must|can|if|unless|tried|trying)\b[^.;:!?]*$",
    re.IGNORECASE,
)
# Where a sentence goes on with something else: `I could not find it, so I searched the web`.
_TURN = re.compile(r",|\b(?:but|so|therefore|instead(?! of))\b", re.IGNORECASE)
_NAMED = re.compile(
    r"\b(?i:us(?:ed|ing)|call(?:ed|ing)|r[au]n(?:ning)?|invok(?:ed|ing)|ask(?:ed|ing)|tool|with) (?:the |a |tool |of |tools )*"
    r"(?:`(?P<code>[A-Za-z_][\w.-]*)`|(?P<bare>[a-z]+(?:_[a-z0-9]+)+))"
)
_NAMED_AFTER = re.compile(
    r"`(?P<code>[A-Za-z_][\w.-]*)` (?:tool )?(?:returned|found|gave|told|said|says|shows|showed|reported|confirmed)"
)
_URL = re.compile(r"https?://[^\s\"'<>)\]]+")


def _claims(family: Family) -> re.Pattern[str]:
    """First person, or what leaves it out: `I searched the web`, `after searching the web`, `the web was searched`."""
    verbs, objects = family.verbs, family.objects
    before = (
        rf"(?:(?<!\w)(?:I|we){_ADVERBS}|\b(?:and|then|,) (?:then |also )?|\b{_BY} (?:\w+ing and )?|^[\s>*-]*)"
    )
    active = rf"{before}\b(?:{verbs})\b(?: [^.;!?]{{0,60}}?)?\b(?P<object>{objects})"
    passive = rf"\b(?P<passive>{objects})\b (?:was|were|has been|have been){_ADVERBS}(?:{verbs})\b"
    noun = r"|\b(?:my|our|a|the) (?:web|internet|online) search(?:es)? (?:\w+ ){0,2}?(?:found|shows?|showed|returned|gave|says|confirm\w*|turned up|suggests?|results?)"
    opened = r"|\baccording to (?:the|a) (?:web)?(?:page|site)s? (?:that )?(?:I|we) (?:opened|visited|read|fetched|found)"
    more = noun if "web search" in family.name else opened if "opened" in family.name else ""
    return re.compile(f"{active}|{passive}{more}", re.IGNORECASE)


_SAID = tuple((family, _claims(family)) for family in FAMILIES)
# These begin sentences that speak of whoever answers; a bare past tense within a sentence may be of anybody.
_SPEAKER = re.compile(
    rf"(?<!\w)(?:I|we|my|our)(?!\w)|^[\s>*-]*(?:{_BY} )?\w+(?:ed|ing)\b|^[\s>*-]*(?:ran|went|sent|drew)\b|\b{_BY} \w+ing\b|\b(?:was|were|been) \w+(?:ed|un|wn|nt)\b|(?:web|internet|online) search",
    re.IGNORECASE,
)

_PERSON = re.compile(r"(?<!\w)(?:I|[Ww]e|[Mm]y|[Oo]ur)(?!\w)")


def check_deeds(answer: Answer, record: Record) -> Iterator[Finding]:
    """The statements of having used a tool that no call of the run bears out."""
    cited = [plain(item.text) for item in answer.citations]
    for sentence in sentences(answer.text):
        said = unmarked(sentence.text)
        # What a source says of itself is no statement of who answers.
        if any(plain(said).strip(" .") in text for text in cited):
            continue

        yield from _named_tools(sentence, record)
        if _SPEAKER.search(said):
            yield from _families(sentence, record)


def _families(sentence: Span, record: Record) -> Iterator[Finding]:
    for family, says in _SAID:
        match = next((m for m in says.finditer(sentence.text) if not _is_undone(sentence.text, m)), None)
        # Without an I or a we, a sentence with a source of its own may be what that one says of others.
        if match is None or (any(marks_in(sentence.text)) and not _PERSON.search(sentence.text)):
            continue

        calls = [c for c in record.calls if any(family.tools.search(name) for name in c.names)]
        if (fault := _fault(calls, family.name)) is not None:
            code, why = fault
            yield _finding(sentence, code, why)
        elif url := _URL.search(sentence.text):
            yield from _unopened(sentence, url[0].rstrip(".,;:"), calls)


def _is_undone(text: str, match: re.Match[str]) -> bool:
    """Whether the words before the verb, or between it and its object, take the claim back."""
    return bool(_UNDONE.search(_TURN.split(text[: match.end()])[-1]))


def _named_tools(sentence: Span, record: Record) -> Iterator[Finding]:
    for pattern in (_NAMED, _NAMED_AFTER):
        for match in pattern.finditer(sentence.text):
            name = next(text for text in match.groups() if text)
            if _is_undone(sentence.text, match) or not _is_tool(name, record):
                continue

            calls = [c for c in record.calls if name in c.names]
            if (fault := _fault(calls, f"a call of `{name}`")) is not None:
                yield _finding(sentence, *fault)


def _is_tool(name: str, record: Record) -> bool:
    # Other things stand in backquotes as well; a tool's name is of several words, or was called.
    return "_" in name or any(name in call.names for call in record.calls)


def _fault(calls: Sequence[Call], what: str) -> tuple[Code, str] | None:
    if any(call.is_done for call in calls):
        return None

    if not calls:
        return "tool-not-called", f"the run has no call that could be {what}"

    failed = [call for call in calls if call.error is not None]
    words = "; ".join(dict.fromkeys(f"`{c.tool}`: {c.error.kind}" for c in failed if c.error is not None))
    return "tool-failed", f"no such call ended well ({words or 'none has ended'})"


def _unopened(sentence: Span, url: str, calls: Sequence[Call]) -> Iterator[Finding]:
    bare = url.rstrip("/")
    is_known = any(bare in f"{call.arguments} {call.text}" for call in calls if call.is_done)
    if not is_known:
        yield _finding(
            sentence, "page-not-opened", f"no call was given `{url}`, and none returned anything from there"
        )


def _finding(sentence: Span, code: Code, why: str) -> Finding:
    shown = sentence.text if len(sentence.text) <= 100 else sentence.text[:100] + "…"
    return Finding(
        code=code,
        level="error",
        what=f"it says “{shown}”",
        why=why,
        start=sentence.start,
        end=sentence.end,
    )
