"""Cues: words and shapes in a request that speak for or against a kind of tool."""

from __future__ import annotations

import re
from functools import cache

_QUOTED = re.compile(r"(?<!\w)(['\"‘“`])(?=\S)(.{2,}?)(?<=\S)['\"’”`](?!\w)", re.DOTALL)
_FENCED = re.compile(r"```.*?```", re.DOTALL)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_START = r"^(?:(?:please|kindly|hey|hi|hello|so|now|first|then|next|and|also|ok|okay)[,\s]+|(?:can|could|would|will) you (?:please |kindly )?|i(?:'d like| want| need) you to |help me (?:to )?|let(?:'s| us) |just |quickly )*"

_OURS = r"(?:our|my|the team's|the company'?s?|this|these|those)"
_DOCUMENT = (
    r"(?:hand ?book|manual|contracts?|agreement|polic(?:y|ies)|notes?|notebook|minutes|documents?|docs?|documentation|files?|folder|archive|"
    r"wiki|knowledge base|reports?|pdfs?|paper(?:s|work)?|thesis|transcripts?|guide(?:lines?|s)?|spec(?:s|ification)?|runbook|playbook|memos?|lease|"
    r"slides|deck|presentation|proposal|brief(?:ing)?|invoices?|records?|letters?|leaflet|catalogue|faq|readme|journal|diary|"
    r"drive|e-?mails?|correspondence|rules|bylaws|statutes|price list|checklist|roadmap|plan|scans?|cv|résumés?|resumes?|warranty|terms)"
)

# Each cue is one feature of the trained head: its weight for each class is learned, not set by hand.
_CUES: dict[str, str] = {
    # the public web
    "search_web": r"\b(?:(?:search|look|check|find|see|browse|scour)\b[^.?!]{0,60}?\b(?:web|internet|online)\b|google (?!docs|sheets|drive)|web search|on the (?:public )?(?:web|internet))",
    "online": r"\bonline\b|\binternet\b",
    "fresh": r"\b(?:latest|newest|current(?:ly)?|most recent|recent(?:ly)?|up[- ]to[- ]date|nowadays|these days|right now|at the moment|at present|as of (?:now|today)|so far|lately|just (?:announced|released)|by now|(?:this|last|next|past|coming) (?:week(?:end)?|month|year|quarter|season|spring|summer|autumn|fall|winter|night|hours?)|yesterday|today|tonight|tomorrow|still|yet|anymore|20(?:2[4-9]|3\d))\b",
    "news": r"\b(?:news|headlines?|announce[ds]?|announcements?|released?|launch(?:ed|es)?|outage|forecast|weather|scores?|won|champions?|elections?|trending|rumou?rs?|press)\b",
    "market": r"\b(?:prices?|costs?|exchange rate|shares?|stocks?|market|rates?|fares?|tickets?|cheapest|reviews?|rated|best|top|salary|salaries)\b",
    "public_body": r"\b(?:president|prime minister|chancellor|ceo|mayor|government|ministry|minister|court|regulations?|laws?|vaccines?|cve|vulnerabilit(?:y|ies)|version|studies|published|research)\b",
    # own documents
    "ours": r"\b(?:our|ours|my)\b",
    "we": r"\b(?:we|us)\b",
    "our_document": rf"\b{_OURS}\b(?: [\w'’-]+){{0,3}}? {_DOCUMENT}\b",
    "document": rf"\b{_DOCUMENT}\b",
    "in_document": rf"\b(?:in|from|through|of|per|by|check|search|according to) (?:the|our|my|this|that|your)\b(?: [\w'’-]+){{0,3}}? {_DOCUMENT}\b",
    "says": r"\b(?:says?|said|states?|stated|mentions?|mentioned|describes?|described|according to|as listed|as per|lists?|listed|wrote|written|noted|covers?|stipulates?|specif(?:y|ies)|defines?|agreed|decided?|promised)\b",
    "given": r"\b(?:uploaded|attached|attachment|stored|saved|on file|internal(?:ly)?|archived|scanned|i gave you|shared (?:folder|drive)|knowledge base)\b",
    "passage": r"\b(?:clause|section|paragraph|chapter|page|passages?|wording|appendix)\b",
    "text_file": r"\b[\w-]+\.(?:pdf|docx?|pptx?|md|txt|odt|rtf|html?)\b",
    # a browser or a screen
    "address": r"\b(?:https?://|www\.)\S+|\blocalhost\b|\b\d{1,3}(?:\.\d{1,3}){3}\b",
    "host": r"(?<![@\w.])(?:[a-z0-9-]+\.)+(?:com|org|net|io|edu|gov|dev|app|co|uk|de|fr|local|example|test|eu|ai|info)\b",
    "press": r"\b(?:clicks?|tap|press|tick|untick|hover|scroll|drag|drop-?down|checkbox|buttons?|menu|slider|tabs?|pop-?up|banner|toggle|screenshots?|zoom)\b",
    "sign_in": r"\b(?:log(?:ging)?[ -]?(?:in|into|on|onto|out)|sign(?:ing)? (?:in|into|up|out|on)|login|credentials|password|account|register|portal|checkout|check out|cart|basket|wish ?list)\b",
    "form": r"\b(?:form|fields?|search box|text box|input box|submit|fill(?: in| out)?|enter|type|select|choose|upload)\b",
    "screen": r"\b(?:browser|web ?pages?|pages?|web ?sites?|sites?|home ?page|screen|desktop|window|app|dashboard|web ui|interface|link)\b",
    "on_site": r"\b(?:on|in|at|to|through|via|from|into) (?:the|their|its|our|my|a|this|that)\b(?: [\w'’-]+){0,4}? (?:web ?site|site|page|portal|shop|store|app|dashboard|form|interface|board|console|browser)\b",
    "transact": r"\b(?:book|reserve|order|buy|purchase|subscribe|unsubscribe|cancel|renew|apply|post|publish|download|rename|approve|delete|vote|enrol|enroll)\b",
    # computing
    "compute": r"\b(?:calculat\w*|comput(?:e|es|ed|ing)|work out|simulat\w*|estimate|integrate|invert|fit|solve|evaluate|forecast|optimi[sz]e|minimi[sz]e|maximi[sz]e|interpolate|convert|encode|decode|hash|brute[- ]force|tally|count|sum|add up|total(?:s)?|crunch|tabulate|multipl(?:y|ied)|divided? by|subtract)\b",
    "statistic": r"\b(?:averages?|mean|median|variance|standard deviation|deviation|correlations?|regression|percent(?:age|ile)?s?|probability|odds|distribution|histogram|compound(?:ed)?|interest|growth rate|moving average|quartiles?|sums?|roots?|factorial|primes?|divisors?|permutations?|combinations?|matrix|equation|eigenvalues?|digits?)\b",
    "program": r"\b(?:python|script|code|snippet|program|run|execute|pandas|function|regex|regular expression|json|unit tests?|loop|algorithm)\b",
    "run_code": r"\b(?:run|execute|evaluate)\b[^.?!]{0,30}\b(?:code|script|snippet|program|python|function|query|tests?)\b",
    "chart": r"\b(?:plot|chart|graph|histogram|scatter|diagram|pivot)\b",
    "data_file": r"\b[\w-]+\.(?:csv|tsv|xlsx?|json|parquet)\b|\bcsv\b|\bdata ?(?:frame|set)s?\b|\bspreadsheet\b",
    "how_many": r"\bhow (?:many|much|long|often|far)\b",
    "large_arithmetic": r"\d{3,}[\d.,]*\s*(?:[-+*/^×÷]|\*\*|times|plus|minus)\s*\d|\d\s*(?:[-+*/^×÷]|\*\*|times|plus|minus)\s*\d[\d.,]{2,}|\d\s*(?:\*\*|\^)\s*\d|\d\s*[-+*/]\s*\d+\s*[-+*/]\s*\d",
    "ordinal": r"\b\d{2,}(?:st|nd|rd|th) (?!century|birthday|anniversary|of|street|january|february|march|april|may|june|july|august|september|october|november|december)",
    "occurrences": r"\bhow (?:many times|often) (?:does|do|is|are)\b|\bhow many (?:letters|words|vowels|characters|times)\b|\boccurrences? of\b|\bcount (?:the )?(?:words|letters|vowels|characters|lines)\b",
    "arithmetic": r"\d\s*(?:[-+*/^×÷]|\*\*|times|plus|minus|over|mod(?:ulo)?|to the power of)\s*\d|\d\s?%|\bpercent\b",
    "weekday": r"\b(?:weekday|day of the week|days (?:are )?(?:there )?(?:between|from|until|since|lie)|working days|hours (?:between|from))\b",
    "sort": r"\b(?:sort|rank|dedup\w*|duplicates|alphabetical|group by|group the|filter the|permutations)\b",
    # words alone
    "lead_none": _START
    + r"(?:translate|rewrite|rephrase|paraphrase|reword|proofread|explain|define|describe|write|compose|draft|shorten|spell|suggest|summari[sz]e this|tell me (?:a|another) (?:joke|story|riddle|fun)|make (?:this|the following|it|that)|turn this|correct|name|give me (?:a|an|two|three|four|five|some|pros|tips|ideas|feedback)|come up|brainstorm|imagine|pretend)\b",
    "lead_talk": r"^(?:hi|hello|hey|thanks|thank you|thx|good (?:morning|evening|afternoon|night)|bye|goodbye|ok|okay|great|cool|nice|sorry|i (?:feel|am|'m|love|like|just)|are you|do you|who are you|can you keep|what can you|how are you|how is it going|welcome|please stop|never mind)\b",
    "lead_ask": r"^(?:what(?:'s| is| are| was| were| does| do)?|who(?:'s| is| was)?|why|how (?:do|does|did|is|are|can|should)|when|where|which)\b",
    "lead_why": r"^(?:why|how (?:do|does|did|would|should|can|come)|explain|describe)\b",
    "lead_find": _START
    + r"(?:find|look up|search|check|get|give me|show|list|see|look|pull up|dig up|research)\b",
    "lead_act": _START
    + r"(?:open|go (?:to|through|on|into|back)|visit|navigate|browse to|click|tap|press|log|sign|fill|type|enter|submit|select|scroll|upload|download|book|reserve|order|add|put|take a screenshot|register|subscribe|unsubscribe|cancel|change|set|move|close|play|post|publish|approve|renew|switch|tick|check out|pay|mark|rename|delete|accept|complete|use the)\b",
    "lead_compute": _START
    + r"(?:calculate|compute|run|execute|plot|draw|simulate|sort|solve|convert|count|work out|fit|generate|make a (?:bar|line|pie|scatter)|write (?:and (?:run|execute)|code|a (?:program|script))|use python|evaluate|determine|estimate|analy[sz]e|find the (?:sum|median|mean|average|roots?)|load|parse)\b",
    "meaning": r"\b(?:meaning of|what does [^?]{1,40} (?:mean|stand for)|difference between|definition|in simple terms|plain words|for a child|synonym|opposite of|idiom|metaphor|poem|haiku|limerick|joke|story|slogan|rhyme|greeting|tweet|sentence|paragraph|polite(?:ly)?|tone|grammar|essay)\b",
    "opinion": r"\b(?:do you (?:think|prefer|like)|your (?:opinion|favou?rite|thoughts)|should i|any thoughts|in general|pros and cons|tips|ideas|advice|i can'?t decide|how do i|how can i)\b",
    "others": r"\b(?:other (?:companies|people|firms|teams)|competitors?|rivals?|experts|people|official|public(?:ly)?|manufacturer(?:'s)?|industry|analysts|critics|reviewers)\b",
    "no_tool": r"\b(?:without (?:looking|searching|using|checking|browsing|running|any tool)|no need to (?:search|look|check|browse|calculate|run)|don'?t (?:search|look|google|browse|use any|run|check)|from memory|off the top of your head|just (?:tell|explain) me)\b",
    "general_what": r"^what(?:'s| is| are) (?:an? )?[\w -]{3,30}\??$",
    "language": r"\b(?:in|into|to|from) (?:english|french|german|spanish|italian|portuguese|dutch|polish|japanese|chinese|latin|swedish|danish|russian|arabic|turkish|greek|finnish|estonian|korean|hindi)\b",
    "mail": r"\b(?:send|e-?mail|mail|message|notify|forward)\b",
    "picture": r"\b(?:draw|picture|image|illustration|logo|photo|sketch|painting|render)\b",
}
_NOT = r"\b(?:no|not|nothing|nowhere|never|\w+n['’]t|dont|do not|instead of|rather than|without|ignore|ignoring|forget)\b"
_REJECTED = (
    re.compile(
        rf"{_NOT}[^.,;:?!]{{0,30}}?\b{_OURS}\b[^.,;:?!]{{0,30}}?\b{_DOCUMENT}\b[^.,;:?!]*", re.IGNORECASE
    ),
    re.compile(
        rf"{_NOT}[^.,;:?!]{{0,20}}?\b(?:web|internet|online|google|search engines?)\b[^.,;:?!]*",
        re.IGNORECASE,
    ),
)
_COUNTED = (
    "rejects_files",
    "rejects_web",
    "numbers",
    "list_of_numbers",
    "long_number",
    "quoted",
    "fenced",
    "question",
    "short",
    "long",
    "capitals",
)
NAMES = (*_CUES, *_COUNTED)


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    # Compiled at the first use: twenty milliseconds that an import should not cost.
    return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _CUES.items()}


def read(text: str) -> tuple[float, ...]:
    """The strength of each cue of `NAMES` in `text`, 0 to 1; what stands in quotation marks does not count."""
    bare = masked(text)
    rejects = tuple(float(p.search(bare) is not None) for p in _REJECTED)
    meant = _without_rejected(bare)
    return (
        *(float(p.search(meant) is not None) for p in _patterns().values()),
        *rejects,
        *_counts(text, bare),
    )


def _without_rejected(text: str) -> str:
    for pattern in _REJECTED:
        text = pattern.sub(" ", text)

    return text


_POLITE = re.compile(_START, re.IGNORECASE)
_ABOUT = ("lead_none", "lead_why", "meaning", "opinion", "no_tool", "general_what")


def lead(text: str) -> str:
    """The word that `text` begins with, behind `please` and the like: of an order, its verb."""
    rest = _POLITE.sub("", masked(text).lower()).split()
    return rest[0] if rest else ""


def speaks_about(text: str) -> float:
    """1 when `text` asks for words about a thing and not for the thing to be done, else 0."""
    bare = masked(text)
    return float(any(_patterns()[name].search(bare) for name in _ABOUT))


def talks(text: str) -> bool:
    """Is `text` small talk, or about words and not about things?"""
    return bool(speaks_about(text)) or _patterns()["lead_talk"].search(text) is not None


def masked(text: str) -> str:
    """`text` with quoted strings and code blocks left out: they are mentioned, not meant."""
    return _QUOTED.sub(" it ", _FENCED.sub(" it ", text)).strip()


def _counts(text: str, bare: str) -> tuple[float, ...]:
    numbers = _NUMBER.findall(text)
    words = len(bare.split())
    return (
        min(len(numbers), 4) / 4,
        float(len(numbers) >= 3),
        float(any(len(re.sub(r"\D", "", n)) >= 3 for n in numbers)),
        float(_QUOTED.search(text) is not None),
        float(_FENCED.search(text) is not None),
        float(text.rstrip().endswith("?")),
        float(words <= 5),
        float(words >= 18),
        min(len(re.findall(r"(?<=\S )[A-Z]\w+", bare)), 3) / 3,
    )
