"""Programs for questions about one table, put together from recipes; no language model writes them.

The question is consumed word by word: values, limits, periods, then what to compute and by which columns.
A word that finds no place is refused and named: a program for another question is worse than none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import Template
from typing import Any

from agentflow.embedding import available, encoder
from agentflow.exceptions import ModelCannot

_HINT = "name columns and values as the table does, or connect a language model: set OPENAI_API_KEY or OPENAI_BASE_URL, or pass --model"
_SYNONYMS = {
    "revenue": "sales revenue,sales value,sales,turnover,income,takings,earnings,money",
    "units": "quantity,pieces,volume,items sold,items",
    "price": "unit price,list price",
    "discount": "discount percent,discount percentage,discount rate,rebate,price reduction",
    "region": "sales region,area,territory",
    "product": "article,merchandise,goods",
    "category": "product category,product group,product line,product type",
    "channel": "sales channel,distribution channel",
    "customer": "client,buyer",
    "salary": "pay,wage",
}
_OTHER_THINGS = frozenset(["profit", "margin", "cost", "costs", "tax", "taxes", "loss", "losses", "customer"])
_SAME_MEANING, _CLEARLY = 0.6, 0.1  # similarity of a word to a column's name, and its lead over the next
_UNITS = re.compile(r"eur|usd|gbp|pct|percent|id|no|nr|num|name|the|of|in|is|has")
_ROWS = "orders?|transactions?|purchases?|records?|rows?|entries|entry"
_BUCKETS = {
    "day": "daily|days?|dates?",
    "month": "monthly|months?|over time|trends?|time series|seasonal(?:ity)?|evol(?:ve|ution)|develop(?:ed|ment)?",
    "quarter": "quarterly|quarters?",
    "year": "yearly|annual(?:ly)?|years?",
}
_KEYS = {"day": "{}[:10]", "month": "{}[:7]", "quarter": "quarter({})", "year": "{}[:4]"}
_DIGITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_N = rf"\d{{1,3}}|{'|'.join(_DIGITS)}"
_MOST = "top|best|highest|largest|biggest|greatest|most|leading|strongest|maximum|max|fastest"
_LEAST = "bottom|worst|lowest|smallest|least|fewest|weakest|minimum|min|poorest|slowest"
_FALL = "fall(?:en|ing|s)?|fell|declin(?:e|ed|es|ing)|drop(?:ped|ping|s)?|decreas(?:e|ed|es|ing)|shr[aiu]nk(?:ing)?"
_GROW = "gr[eo]w(?:th|n|s|ing)?|increas(?:e|ed|es|ing)|r[io]se|rising|chang(?:e|ed|es|ing)|(?:year|month)[- ](?:over|on)[- ](?:year|month)|yoy"
_VERSUS = "versus|vs|against|compar(?:e|ed|ing|ison)"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
_ORDINALS = {"first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}
_PART = rf"{_MONTH}|q[1-4]|h[12]|(?:{'|'.join(_ORDINALS)}) (?:quarter|half)"
_YEAR = r"(?:19|20)\d\d"
_PERIOD = rf"(?:(?:{_PART})(?:,? (?:of )?(?:the year )?{_YEAR})?|{_YEAR}(?:-\d\d(?!\d)|[ -]?[qh][1-4])?)"
_SPAN = rf"(?:(from|between|since|after|before|until|up to) )?(?:the )?({_PERIOD})(?: ?(to|until|through|and|or|-|,|with) ?(?:the )?({_PERIOD}))?"
_OPEN = {"since": ">=", "after": ">", "before": "<", "until": "<=", "up to": "<="}
_LIMITS = {
    ">": "more than|greater than|higher than|larger than|over|above",
    ">=": "at least|no less than",
    "<": "less than|fewer than|lower than|smaller than|under|below",
    "<=": "at most|up to|no more than",
    "==": "exactly|equal to",
}
_WITHOUT = "excluding|exclude|except(?: for)?|without|other than|apart from|not in|not|ignoring"
_LEAD = "for each|in each|for every|in every|each|every|per|by|which|what"
_SHARE = "shares?|percentages?|percent|proportions?|fractions?|portions?"
_AGGREGATES = {
    "mean": "average|mean|avg|averaged",
    "median": "median",
    "sum": "total|sum|sums|overall|altogether|in total|combined",
    "distinct": "(?:(?:how many|number of|count of) )?(?:different|distinct|unique)",
    "count": "how many|number of|count(?: of)?|how often",
}
_NEUTRAL = frozenset(
    re.findall(
        r"\w+",
        """a an the of in on at for from by per to with and or is are was were be been do does did has have had we our
        us i me my you your it its they their this that these those which what who where when how much many show give
        tell list find calculate compute determine report plot chart draw graph table display please can could would
        each every all any within across among over through via during between sold sell sells selling made make makes
        generated earned bring brings brought come comes came contribute contributes contributed value figures numbers
        data there so far go went split broken down breakdown distribution distributed rank ranked ranking sorted sort
        high low same as than then only just whole entire up perform performed performing performance result results
        look like get got single most level overview both well together see want know need let s not""",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A program, what it computes in words, and how surely that is what was asked."""

    code: str
    title: str
    confidence: float


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: str
    samples: tuple[str, ...]
    distinct: int

    @property
    def cell(self) -> str:
        return f"row[{json.dumps(self.name, ensure_ascii=False)}]"

    @property
    def words(self) -> list[str]:
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name).replace("_", " ").lower()
        return [w for w in re.findall(r"[^\W\d]+", spaced) if not _UNITS.fullmatch(w)]

    @property
    def is_id(self) -> bool:
        return self.type == "text" and bool(re.search(r"(?:^|_)(?:id|no|nr|number)$", self.name.lower()))

    @property
    def additive(self) -> bool:
        """Does a total of it mean something? One of prices or of percentages does not."""
        return not re.search(r"price|pct|percent|rate|rating|age|score|share|temperature", self.name.lower())


@dataclass(frozen=True, slots=True)
class _Part:
    """A labelled piece of code: a group's key, a filter's condition, or what a total is divided by."""

    label: str
    code: str
    time: bool = False
    place: int = 0


@dataclass(frozen=True, slots=True)
class _Period:
    label: str
    year: str
    first: int
    last: int

    def key(self, month: int) -> str:
        return f'"{self.year}-{month:02}"' if self.year else f'"{month:02}"'

    def cut(self, cell: str) -> str:
        return f"{cell}[:7]" if self.year else f"{cell}[5:7]"

    def inside(self, cell: str, end: _Period | None = None) -> str:
        """The condition of lying in this period, or between its start and the end of `end`."""
        if end is None and self.last - self.first == 11:
            return f'{cell}[:4] == "{self.year}"'

        start, stop = self.key(self.first), (end or self).key((end or self).last)
        return f"{self.cut(cell)} == {start}" if start == stop else f"{start} <= {self.cut(cell)} <= {stop}"

    @property
    def bucket(self) -> str:
        return {2: "quarter", 11: "year"}.get(self.last - self.first, "month")


@dataclass(slots=True)
class _Reading:
    """What has been understood so far, and the `text` that is left to place."""

    asked: str
    text: str
    columns: Sequence[_Column]
    aggregate: str = ""
    measure: _Column | None = None
    rows: str = ""  # what the rows are called where the question counts them
    per: _Part | None = None
    groups: list[_Part] = field(default_factory=list[_Part])
    filters: list[_Part] = field(default_factory=list[_Part])
    chosen: dict[str, list[str]] = field(default_factory=dict[str, "list[str]"])
    only: list[str] = field(default_factory=list[str])  # the values whose share is asked for
    periods: list[_Period] = field(default_factory=list[_Period])
    within: str = ""  # the group inside which a ranking is made
    limit: int = 0
    ranked: str = ""
    superlative: bool = False
    share: bool = False
    growth: bool = False
    versus: bool = False
    confidence: float = 0.92

    def take(self, pattern: str) -> re.Match[str] | None:
        """The first match of `pattern` as whole words, blanked out of the text."""
        match = re.search(rf"(?<!\w)(?:{pattern})(?!\w)", self.text)
        if match:
            start, end = match.span()
            self.text = self.text[:start] + ";" * (end - start) + self.text[end:]

        return match

    def of(self, kind: str) -> list[_Column]:
        return [c for c in self.columns if c.type == kind]

    @property
    def date(self) -> str:
        """The code of a row's date."""
        dates = [c for c in self.of("date") if all(re.match(r"\d{4}-\d\d", s) for s in c.samples)]
        if not dates:
            raise _cannot("the time in the question", "no column holds dates written as YYYY-MM-DD")

        return dates[0].cell

    @property
    def in_time(self) -> bool:
        return any(g.time for g in self.groups)

    def group(self, label: str, code: str, *, time: bool = False, place: int = 0) -> None:
        if label not in {g.label for g in self.groups}:
            self.groups.append(_Part(label, code, time, place))


def write_program(request: str) -> Recipe:
    """A Python program for `{"question", "table": {"columns": [...]}}`; raises `ModelCannot` naming the part."""
    question, columns = _request(request)
    text = re.sub(r"['’]s\b", "", question.lower()).replace("%", " percent ").replace("€", " eur ")
    text = re.sub(r"\b(?:order|basket) (?:value|size)s?\b", "revenue per order", re.sub(r"\s+", " ", text))
    reading = _Reading(text, text, columns)
    for read in (_values, _limits, _growth, _spans, _flags, _ranking, _aggregates, _columns, _rest, _settle):
        read(reading)

    title = _title(reading)
    return Recipe(code=_program(reading, title), title=title, confidence=round(reading.confidence, 2))


def _request(text: str) -> tuple[str, list[_Column]]:
    try:
        request = json.loads(text)
        if error := request.get("error"):  # the same question would only give the same program again
            raise _cannot("this question", f"the one it wrote failed: {error}")

        return str(request["question"]), [_column(c) for c in request["table"]["columns"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelCannot(
            "the embedded model writes programs only for a question about a table",
            hint='give it JSON: {"question": ..., "table": {"columns": [{"name", "type", "samples"}]}}, or connect a language model',
        ) from None


def _column(raw: Mapping[str, Any]) -> _Column:
    samples = tuple(str(s) for s in raw.get("samples") or ())
    return _Column(str(raw["name"]), str(raw.get("type", "text")), samples, int(raw.get("distinct") or 0))


def _cannot(part: str, why: str) -> ModelCannot:
    return ModelCannot(f"the embedded model cannot write a program for {part}: {why}", hint=_HINT)


def _flex(phrase: str) -> str:
    """A pattern for `phrase` in singular and plural, its words joined by anything that is no letter."""
    *head, last = re.findall(r"\w+", phrase.lower()) or [phrase.lower()]
    stem = re.sub(r"(?:ies|y|s)$", "", last) if len(last) > 3 else last
    end = "(?:y|ies)" if last.endswith(("ies", "y")) else "(?:s|es)?"
    return r"\W+".join([*map(re.escape, head), re.escape(stem) + end])


def _phrases(columns: Sequence[_Column]) -> list[tuple[str, _Column]]:
    """Patterns that name a column, longest first: its words, each word no other column has, and synonyms."""
    found: list[tuple[str, _Column]] = []
    for column in columns:
        others = {_flex(w) for c in columns if c is not column for w in c.words}
        own = [w for w in column.words if _flex(w) not in others]
        synonyms = [s for w in own for s in _SYNONYMS.get(w, "").split(",") if _flex(s) not in others]
        found += [(p, column) for p in {" ".join(column.words), *own, *synonyms} if p]

    return [(_flex(p), c) for p, c in sorted(found, key=lambda f: -len(f[0]))]


def _names(reading: _Reading, column: _Column) -> str:
    return "|".join(p for p, c in _phrases(reading.columns) if c is column) or "(?!)"


def _values(reading: _Reading) -> None:
    """Values named in the question become filters; two of one column are set side by side."""
    columns = [c for c in sorted(reading.of("text"), key=lambda c: c.distinct) if not c.is_id]
    for several in (True, False):  # `Trail tent` goes before `tents`, whatever their columns
        for column in columns:
            values = [v for v in column.samples if len(v) > 1 and (len(v.split()) > 1) is several]
            _values_of(reading, column, {_flex(v): v for v in sorted(values, key=len, reverse=True)})


def _values_of(reading: _Reading, column: _Column, known: Mapping[str, str]) -> None:
    one = "|".join(known) or "(?!)"
    more = rf"(?: ?(?:,|and|or|vs\.?|versus|with|to|than|against|compared with) ?(?:the )?(?:{one}))*"
    pattern = rf"(?:({_WITHOUT}) (?:the )?)?((?:{one}){more})(?: (?:{_names(reading, column)}))?"
    while match := reading.take(pattern):
        named = [m[0] for m in re.finditer(rf"(?<!\w)(?:{one})(?!\w)", match[2])]
        values = [next(v for p, v in known.items() if re.fullmatch(p, n)) for n in named]
        word, label = "not in" if match[1] else "in", " or ".join(values)
        code = f"{column.cell} {word} {json.dumps(values, ensure_ascii=False)}"
        reading.filters.append(_Part(f"{column.name} {'not ' if match[1] else ''}{label}", code))
        if not match[1]:
            reading.chosen[column.name] = values

        if len(values) > 1 and not match[1]:
            reading.group(column.name, column.cell, place=match.start())


def _limits(reading: _Reading) -> None:
    """Numeric conditions: `discount above 10 %`, `orders over 500 EUR`, `with more than 5 units`."""
    named = [(p, c) for p, c in _phrases(reading.columns) if c.type == "number"]
    name, words = "|".join(p for p, _ in named) or "(?!)", "|".join(_LIMITS.values())
    number = rf"(?!{_YEAR}(?! (?:eur|{name})))(\d+(?:\.\d+)?)"
    head = rf"(?:({name}) (?:is |was |were |are |of )?)?({words}) (?:of )?(?:eur )?"
    while match := reading.take(rf"{head}{number}(?: (percent|euros?|eur))?(?: ({name}))?"):
        before, word, figure, unit, after = match.groups()
        column = next((c for p, c in named if re.fullmatch(p, before or after or "")), None)
        column = column or _of_unit(reading, unit)
        if column is None:
            raise _cannot(f"`{match[0].strip()}`", "it is not clear which column is meant")

        test = f"{next(s for s, p in _LIMITS.items() if re.fullmatch(p, word))} {figure}"
        reading.filters.append(_Part(f"{column.name} {test}", f"float({column.cell} or 0) {test}"))


def _of_unit(reading: _Reading, unit: str | None) -> _Column | None:
    ends = ("pct", "percent", "rate") if unit == "percent" else ("revenue_eur", "amount", "revenue", "eur")
    numbers = reading.of("number")
    return next((c for e in ends for c in numbers if unit and c.name.lower().endswith(e)), None)


def _growth(reading: _Reading) -> None:
    while match := reading.take(rf"{_FALL}|{_GROW}(?! time)"):
        reading.growth = True
        reading.ranked = "least" if re.fullmatch(_FALL, match[0]) else reading.ranked
        if match[0].startswith("month"):
            reading.group("month", _KEYS["month"].format(reading.date), time=True)

    while reading.take(_VERSUS):
        reading.versus = True


def _spans(reading: _Reading) -> None:
    """A range of time becomes a filter; single periods become a filter, or the sides of a comparison."""
    while match := reading.take(_SPAN):
        lead, first, joiner, second = match.groups()
        periods = [_period(p) for p in (first, second) if p]
        year = next((p.year for p in reversed(periods) if p.year), "")
        periods = [p if p.year else replace(p, year=year) for p in periods]
        ranging = second and (lead == "between" or joiner in {"to", "until", "through", "-"})
        if lead in _OPEN and not second:
            edge = periods[0].first if lead in {"since", "before"} else periods[0].last
            code = f"{periods[0].cut(reading.date)} {_OPEN[lead]} {periods[0].key(edge)}"
            reading.filters.append(_Part(f"{lead} {periods[0].label}", code))
        elif ranging and not (reading.growth or reading.versus):
            label = f"{periods[0].label} to {periods[1].label}"
            reading.filters.append(_Part(label, periods[0].inside(reading.date, periods[1])))
        else:
            reading.periods += periods


def _period(text: str) -> _Period:
    year = re.search(_YEAR, text)
    found = re.search(rf"(?<![a-z])(?:([qh])(\d)|(\w+) (quarter|half)|({_MONTH})|-(\d\d)(?!\d))", text)
    label = text[0].upper() + text[1:]
    if found is None:
        return _Period(label, year[0] if year else "", 1, 12)

    kind, digit, word, unit, month, number = found.groups()
    size = 6 if "h" in (kind, (unit or "")[:1]) else 3 if kind or unit else 1
    place = int(digit or number or 0) or _ORDINALS.get(word) or _MONTHS.index(month[:3]) + 1
    return _Period(label, year[0] if year else "", size * (place - 1) + 1, size * place)


def _flags(reading: _Reading) -> None:
    """Columns of yes and no: `return rate`, `not returned`, `returned orders`, `returns`."""
    for column in reading.of("boolean"):
        root = re.sub(r"(?:ed|s|d|ing)$", "", column.words[0]) + r"\w*" if column.words else "(?!)"
        of = rf"(?:{_SHARE}|rate) of (?:\w+ ){{0,2}}(?:that )?(?:is |are |was |were )?{root}"
        yes = f"{column.cell}.strip().lower() in YES"
        if reading.take(rf"{root} (?:rates?|share|ratio)|{of}"):
            reading.aggregate, reading.measure = "rate", column
        elif reading.take(rf"(?:not|never|non)[- ](?:been )?{root}"):
            reading.filters.append(_Part(f"not {column.name}", f"not {yes}"))
        elif match := reading.take(root):
            reading.filters.append(_Part(column.name, yes))
            reading.rows = match[0] if match[0].endswith("s") else "rows"


def _ranking(reading: _Reading) -> None:
    """`top 5`, `three lowest`, `best-selling`, `most expensive`: which end of the list, and how much of it."""
    price = next((c for c in reading.of("number") if "price" in c.words), None)
    if price and (match := reading.take(r"(most|least) expensive|(cheap)est|priciest|dearest")):
        cheap = match[1] == "least" or match[2]
        reading.measure, reading.aggregate = price, "min" if cheap else "max"
        reading.ranked, reading.superlative = "least" if cheap else "most", True

    kinds = "selling|sold|performing|popular|frequent|common|important|valuable"
    while match := reading.take(rf"(?:({_N}) )?({_MOST}|{_LEAST})(?:[- ](?:{kinds}))?(?: ({_N}))?"):
        reading.ranked = reading.ranked or ("least" if re.fullmatch(_LEAST, match[2]) else "most")
        reading.superlative = True
        count = match[1] or match[3] or "0"
        reading.limit = reading.limit or (int(count) if count.isdigit() else _DIGITS.index(count) + 1)


def _aggregates(reading: _Reading) -> None:
    for name, pattern in _AGGREGATES.items():
        if reading.take(pattern):
            reading.aggregate = reading.aggregate or name

    for bucket, pattern in _BUCKETS.items():
        while match := reading.take(rf"(?:({_LEAD}) )?(?:{pattern})"):
            part = _Part(bucket, _KEYS[bucket].format(reading.date), True, match.start())
            if reading.aggregate == "mean" and match[1] in {None, "per"}:
                reading.per = part
            else:
                reading.group(bucket, part.code, time=True, place=part.place)


def _columns(reading: _Reading) -> None:
    ids = [c for c in reading.columns if c.is_id and c.words]
    nouns = "|".join([_ROWS, *(_flex(" ".join(c.words)) for c in ids)])
    for pattern, column in [(nouns, None), *_phrases([c for c in reading.columns if not c.is_id])]:
        while match := reading.take(rf"(?:({_LEAD}) (?:the )?)?({pattern})"):
            if column is None:
                _place_rows(reading, match, ids)
            else:
                _place(reading, column, match[1] or "", match.start())


def _place_rows(reading: _Reading, match: re.Match[str], ids: Sequence[_Column]) -> None:
    if match[1] in {"per", "each", "every"}:
        reading.per = _Part(match[2], ids[0].cell if ids else "id(row)")
    elif match[1] in {"which", "what"} and ids:
        reading.group(ids[0].name, ids[0].cell, place=match.start())
    else:
        reading.rows = match[2]


def _place(reading: _Reading, column: _Column, lead: str = "", place: int = 0) -> None:
    number = column.type == "number"
    if number and lead == "per":
        reading.per = _Part(column.name, f"float({column.cell} or 0)")
    elif number and lead and 0 < column.distinct <= 24 and not reading.ranked:
        reading.group(column.name, column.cell, place=place)
    elif number and reading.measure not in (None, column):
        raise _cannot(f"`{column.name}`", "another column is measured already, and this takes one at a time")
    elif number:
        reading.measure = column
    elif column.type == "text" and reading.aggregate in {"distinct", "count"} and not (lead or reading.rows):
        _count_values(reading, column)
    elif column.type == "text":
        reading.group(column.name, column.cell, place=place)
        reading.within = reading.within if lead in {"", "by", "which", "what"} else column.name


def _count_values(reading: _Reading, column: _Column) -> None:
    """`how many products` counts different ones, `how many products were sold` counts pieces."""
    units = next((c for c in reading.of("number") if {"units", "quantity"} & set(c.words)), None)
    if units and reading.aggregate == "count" and re.search(r"\b(?:sold|sell|bought)\b", reading.asked):
        reading.measure, reading.aggregate = units, "sum"
    else:
        reading.measure, reading.aggregate = column, "distinct"


def _rest(reading: _Reading) -> None:
    """Refuse the words that found no place, after a last try by their meaning."""
    while reading.take(_SHARE):
        reading.share = not reading.growth

    for word in re.findall(r"[^\W_]+", reading.text):
        if word not in _NEUTRAL and not _place_by_meaning(reading, word):
            raise _cannot(f"`{word}`", "it names no column, value, period or calculation of this table")


def _place_by_meaning(reading: _Reading, word: str) -> bool:
    columns = [c for c in reading.columns if c.words and not c.is_id and c.type in {"number", "text"}]
    if len(columns) < 2 or not word.isalpha() or word in _OTHER_THINGS or not available():
        return False

    vectors = encoder().embed([word, *(" ".join(c.words) for c in columns)])
    scores: list[float] = (vectors[1:] @ vectors[0]).tolist()
    best, second = sorted(scores, reverse=True)[:2]
    if best < _SAME_MEANING or best - second < _CLEARLY:
        return False

    _place(reading, columns[scores.index(best)])
    reading.confidence = min(reading.confidence, 0.6)
    return True


def _settle(reading: _Reading) -> None:
    """Settle what the question left open; a guess lowers the confidence."""
    if reading.rows and reading.measure is None and reading.aggregate in {"", "sum", "count"}:
        reading.aggregate = "count"
    elif reading.measure is None:
        reading.measure = _main_measure(reading)
        reading.confidence -= 0.15

    if reading.per and reading.per.time and reading.measure and not reading.measure.additive:
        reading.group(reading.per.label, reading.per.code, time=True)
        reading.per = None

    if not reading.aggregate or (reading.aggregate == "count" and reading.measure):
        reading.aggregate = _usual(reading)

    _settle_periods(reading)
    _settle_share(reading)
    reading.groups.sort(key=lambda g: (g.label != reading.within, g.place))
    if reading.superlative and not reading.limit and reading.groups and _asks_for_one(reading):
        reading.limit = 1


def _main_measure(reading: _Reading) -> _Column:
    numbers = reading.of("number")
    many = re.search(r"how many|best.sell", reading.asked)
    wanted = ("units", "quantity") if many else ("revenue", "sales", "amount")
    found = [c for w in wanted for c in numbers if w in c.words] or (numbers if len(numbers) == 1 else [])
    if not found:
        names = ", ".join(f"`{c.name}`" for c in numbers)
        raise _cannot("this question", f"it does not say what to measure; there are {names}")

    return found[0]


def _usual(reading: _Reading) -> str:
    if reading.superlative and not reading.groups and not reading.growth:
        return "max" if reading.ranked == "most" else "min"

    return "sum" if reading.measure is None or reading.measure.additive else "mean"


def _asks_for_one(reading: _Reading) -> bool:
    """Is it `which region`, and not `which regions` or `by region`?"""
    label = reading.groups[-1].label
    patterns = [p for p, c in _phrases(reading.columns) if c.name == label] or [_BUCKETS.get(label, label)]
    named = re.search(rf"(?:\b(by|per|each|every) )?\b({'|'.join(patterns)})\b", reading.asked)
    return named is None or not (named[1] or named[2].endswith("s"))


def _settle_periods(reading: _Reading) -> None:
    periods = reading.periods
    if reading.growth and len(periods) == 1 and periods[0].year and not reading.in_time:
        year = str(int(periods[0].year) - 1)
        earlier = replace(periods[0], year=year, label=re.sub(_YEAR, year, periods[0].label))
        reading.periods = [earlier, *periods]
    elif len(periods) == 2 and (reading.growth or reading.versus):
        reading.growth, reading.groups = True, [g for g in reading.groups if not g.time]
    elif periods:
        code = " or ".join(p.inside(reading.date) for p in periods)
        reading.filters.append(_Part(" and ".join(p.label for p in periods), code))
        reading.periods = []
        if len(periods) > 1 and not reading.in_time:
            reading.group(periods[0].bucket, _KEYS[periods[0].bucket].format(reading.date), time=True)

    if reading.growth and reading.in_time and len(reading.groups) > 1:
        raise _cannot("the growth", "it is asked for by time and by another column at once")


def _settle_share(reading: _Reading) -> None:
    """A share of one value is taken of the total over all values: its filter moves behind the sums."""
    names = [g.label for g in reading.groups] or [*reading.chosen][:1]
    if reading.share and not names:
        raise _cannot("the share", "it does not say of what, or by which column")

    if reading.share:
        column = next((c for c in reading.columns if c.name == names[0]), None)
        if column and not reading.groups:
            reading.group(column.name, column.cell)

        reading.only = reading.chosen.get(names[0], [])
        reading.filters = [
            f for f in reading.filters if not (reading.only and f.label.startswith(f"{names[0]} "))
        ]


def _title(reading: _Reading) -> str:
    kinds = {"rate": "Percentage", "distinct": "Number of different", "count": f"Number of {reading.rows}"}
    words = [kinds.get(reading.aggregate, f"{reading.aggregate} of".capitalize())]
    words += [reading.measure.name] if reading.measure and reading.aggregate != "count" else []
    words += [f"per {reading.per.label}"] if reading.per else []
    words += [f"by {' and '.join(g.label for g in reading.groups)}"] if reading.groups else []
    title = " ".join(words)
    for flag, name in ((reading.share, "Share"), (reading.growth, "Growth")):
        title = f"{name}: {title[0].lower()}{title[1:]}" if flag else title

    title += (
        f", {'lowest' if reading.ranked == 'least' else 'highest'} {reading.limit}" if reading.limit else ""
    )
    title += f" in each {reading.within}" if reading.limit and reading.within else ""
    return ", ".join([title, *(f.label for f in reading.filters), *reading.only])


_HEAD = Template("""import csv
import math

YES = ("true", "yes", "y", "1", "t")


def quarter(date):
    return f"{date[:4]}-Q{(int(date[5:7]) + 2) // 3}"


def tidy(number):
    return int(number) if number == int(number) else round(number, 2)


def measure(rows):
$measure


title = $title
rows = list(csv.DictReader(data.lstrip("\\ufeff").splitlines(keepends=True)))
""")
_GROUPED = Template("""groups = {$start}
for row in rows:
    groups.setdefault($keys, []).append(row)

table = [[*key, measure(group)] for key, group in groups.items()]
columns = $columns
""")
_WITHIN = Template("""parts = {}
for line in table:
    parts.setdefault(line[0], []).append(line)

table = [line for part in parts.values() for line in part[:$limit]]
""")
_CHANGES = """for i, line in enumerate(table):
    old = table[i - 1][-2] if i else None
    line.append(tidy(100 * (line[-1] - old) / abs(old)) if old and line[-1] is not None else None)

columns.append("change %")
"""
_SHARES = Template("""total = math.fsum(line[-1] for line in table)
table = [[*line, tidy(100 * line[-1] / total) if total else None] for line in table]
table = [line for line in table if line[0] in $only or not $only]
columns.append("share %")
""")
_LAST_YEARS = Template("""names = sorted({$date[:4] for row in rows})[-2:]
if len(names) < 2:
    raise ValueError("the table holds one year only: there is nothing to compare")

before, after = [[row for row in rows if $date[:4] == name] for name in names]
""")
_SAME_MONTHS = Template("""months = sorted({$date[5:7] for row in before} & {$date[5:7] for row in after})
before, after = [[row for row in side if $date[5:7] in months] for side in (before, after)]
if 0 < len(months) < 12:
    title += f", months {months[0]} to {months[-1]} of both"

""")
_COMPARED = Template("""table = []
for key in sorted({$keys for row in before + after}):
    old = measure([row for row in before if $keys == key])
    new = measure([row for row in after if $keys == key])
    change = tidy(100 * (new - old) / abs(old)) if old and new is not None else None
    table.append([*key, old, new, change])

columns = [*$columns, *names, "change %"]
""")
_END = Template("""kind = $kind if len(table) > 1 else "none"
chart = {"kind": kind, "x": columns[0] if kind != "none" else "", "y": columns[-1] if kind != "none" else ""}
result = {"title": title, "columns": columns, "rows": table, "chart": chart}
result
""")


def _program(reading: _Reading, title: str) -> str:
    body = "\n".join(f"    {line}" for line in _measure(reading))
    parts = [_HEAD.substitute(measure=body, title=json.dumps(title, ensure_ascii=False))]
    parts += [f"rows = [row for row in rows if {f.code}]\n" for f in reading.filters]
    parts += _compared(reading) if reading.growth and not reading.in_time else _grouped(reading)
    kind = "none" if len(reading.groups) != 1 else "line" if reading.in_time else "bar"
    return "".join([*parts, _END.substitute(kind=json.dumps(kind))])


def _measure(reading: _Reading) -> list[str]:
    """The body of a function from rows to the number that is asked for."""
    cell = reading.measure.cell if reading.measure else ""
    numbers = f"float({cell}) for row in rows if {cell}.strip()"
    total = (
        f"math.fsum({numbers})"
        if cell and reading.aggregate not in {"count", "distinct", "rate"}
        else "len(rows)"
    )
    if reading.per:
        code = f"{reading.per.code} for row in rows"
        parts = f"math.fsum({code})" if code.startswith("float") else f"len({{{code}}})"
        return [f"parts = {parts}", f"return tidy({total} / parts) if parts else None"]

    if reading.aggregate in {"count", "sum"}:
        return [f"return tidy({total})"]

    if reading.aggregate == "distinct":
        return [f"return len({{{cell} for row in rows if {cell}.strip()}})"]

    if reading.aggregate == "rate":
        found = f"sum({cell}.strip().lower() in YES for row in rows)"
        return [f"return tidy(100 * {found} / len(rows)) if rows else None"]

    value = {
        "mean": "math.fsum(values) / len(values)",
        "median": "(values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2",
        "min": "values[0]",
        "max": "values[-1]",
    }[reading.aggregate]
    return [f"values = sorted({numbers})", f"return tidy({value}) if values else None"]


def _labels(reading: _Reading, *more: str) -> str:
    return json.dumps([*(g.label for g in reading.groups), *more], ensure_ascii=False)


def _keys(reading: _Reading) -> str:
    return "(" + "".join(f"{g.code}, " for g in reading.groups).rstrip(" ") + ")"


def _value_name(reading: _Reading) -> str:
    kinds = {"sum": "", "rate": "% ", "distinct": "different "}
    name = reading.measure.name if reading.measure else reading.rows
    name = kinds.get(reading.aggregate, f"{reading.aggregate} ") + name if reading.measure else name
    return f"{name} per {reading.per.label}" if reading.per else name


def _grouped(reading: _Reading) -> list[str]:
    """Code that makes `table` with a row for each group, and `columns`."""
    start, columns = "" if reading.groups else "(): []", _labels(reading, _value_name(reading))
    parts = [_GROUPED.substitute(start=start, keys=_keys(reading), columns=columns), _sorted(reading)]
    parts += [_CHANGES] if reading.growth else []
    parts += [_SHARES.substitute(only=json.dumps(reading.only, ensure_ascii=False))] if reading.share else []
    return parts


def _sorted(reading: _Reading) -> str:
    """Time goes forward; anything else, and what is ranked, goes by its value."""
    if reading.in_time and not reading.ranked:
        return "table.sort(key=lambda line: line[:-1])\n"

    sign = "" if reading.ranked == "least" else "-"
    code = f"table.sort(key=lambda line: (line[-1] is None, {sign}(line[-1] or 0), line[:-1]))\n"
    if reading.limit and reading.within and len(reading.groups) > 1:
        return code + _WITHIN.substitute(limit=reading.limit)

    return f"{code}table = table[:{reading.limit}]\n" if reading.limit else code


def _compared(reading: _Reading) -> list[str]:
    """Code that sets two periods side by side; of two years, only the months that both have."""
    parts, date = [_LAST_YEARS.substitute(date=reading.date)], reading.date
    if reading.periods:
        names = json.dumps([p.label for p in reading.periods], ensure_ascii=False)
        sides = [f"[row for row in rows if {p.inside(date)}]" for p in reading.periods]
        parts = [
            f"names = {names}\n",
            *(f"{n} = {s}\n" for n, s in zip(("before", "after"), sides, strict=True)),
        ]

    if not reading.periods or {p.bucket for p in reading.periods} == {"year"}:
        parts.append(_SAME_MONTHS.substitute(date=date))

    return [*parts, _COMPARED.substitute(keys=_keys(reading), columns=_labels(reading)), _sorted(reading)]
