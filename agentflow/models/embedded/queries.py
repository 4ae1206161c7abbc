"""Queries: what to search for, without the words that only ask to search."""

from __future__ import annotations

import re

_POLITE = r"(?:(?:please|kindly|hi|hello|hey|now|first|then|also|so|and|quickly|ok)[,\s]+|(?:can|could|would|will) you (?:please )?|i(?:'d like| want| need) (?:you )?to |i need |help me (?:to )?|let's |just )"
_WEB = r"(?:on |in |over )?(?:the )?(?:public )?(?:web|internet|net|online|google|search engines?)"
_OWN = r"(?:my|our|the|these|those|this|all(?: of)?(?: my| our| the)?) (?:own |uploaded |attached |internal |company |saved |shared |team )?(?:notes?|files?|docs?|documents?|documentation|folders?|archives?|drive|knowledge base|wiki|records|papers?|uploads?|library|pdfs?|attachments?|materials?)"
_LEADS = (
    rf"{_POLITE}",
    rf"(?:do a |run a )?(?:web |internet |online )?(?:search|google|look|check|browse|scour|query|research|find)(?: up| out| through| around)? {_WEB}(?: for| to find| to see| and find| about| whether| if| on)?\s+",
    rf"(?:search|look|check|go|query|browse)(?: up| out| through| into| in| inside| at)? {_OWN}(?: for| to find| to see| about| whether| if| on| and find)\s+",
    r"(?:search|look|query) (?:for|up)\s+",
    r"(?:find|check|see|verify|figure)(?: out| online)? (?:whether|if|what|which|who|where|when|how)\s+(?=\w+ \w+)",
    r"(?:i wonder|i'd like to know|i want to know|do you know|any idea) (?:about |if |whether |what |who )?(?=\w)",
    r"(?:find|look) (?:me |out (?:about )?|up |for )?(?=\w)",
    r"(?:google|look up|pull up|dig up|research|search|retrieve)\s+",
    r"(?:tell|show|give) me (?:what (?:is|are)|about)?\s*",
    r"what (?:do|does|did|is|are|was) "
    + _OWN
    + r" (?:say|tell(?: us| me)?|mention|state|have|contain|said)(?: about| on| regarding)?\s+",
    rf"(?:according to|in|from|per|based on|looking at) {_OWN}[,:]?\s+",
    r"(?:is|was) there (?:anything|something|any mention|any note)(?: in [\w ]+?)? (?:about|on|of|regarding)\s+",
)
_SAYS = re.compile(
    r"^what (?:do|does|did) (?:our|my|the|this|that)\s+(?P<document>[\w' -]{3,40}?) (?:say|state|mention|tell us|recommend|require|prescribe)s?"
    r"(?: (?:about|on|regarding|concerning|for))?\s+(?P<subject>.+)$",
    re.IGNORECASE,
)
_TAILS = (
    rf"\s+(?:by searching |via )?{_WEB}$",
    rf"[\s,]+(?:in|from|inside|among|within|across|according to|per) {_OWN}$",
    r"[\s,]+(?:please|for me|thanks|thank you)$",
    r",? (?:and|then) (?:tell|show|give|send|let|summari[sz]e|report|cite|quote|list)\b.*$",
    r"[?.!:;,\s]+$",
)
_WHOLLY_QUOTED = re.compile(r"^[\"“']([^\"”']+)[\"”']$")


def query(text: str) -> str:
    """What to search for, to answer `text`; never empty unless `text` is."""
    plain = " ".join(text.split())
    found = _without_tails(_without_leads(plain))
    says = _SAYS.match(found)
    if says:
        found = f"{says['document']} {says['subject']}"

    quoted = _WHOLLY_QUOTED.match(found)
    return (quoted.group(1) if quoted else found) or plain


def _without_leads(text: str) -> str:
    for _ in range(4):
        shorter = _shortened(text)
        if shorter == text:
            break

        text = shorter

    return text


def _shortened(text: str) -> str:
    for lead in _LEADS:
        rest = re.sub(rf"^(?:{lead})", "", text, count=1, flags=re.IGNORECASE)
        if rest != text and (len(rest.split()) > 1 or len(rest) > 3):
            return rest

    return text


def _without_tails(text: str) -> str:
    for _ in range(2):
        for tail in _TAILS:
            rest = re.sub(tail, "", text, flags=re.IGNORECASE)
            text = rest if len(rest) > 2 else text

    return text
