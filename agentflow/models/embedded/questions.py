"""Questions about a table, read word by word: values, limits, periods, then what to compute and by which columns.

A word that finds no place is refused and named: a program for another question is worse than none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agentflow.embedding import available, encoder
from agentflow.models.embedded.tables import Column, Part, Period, Reading, cannot

_SYNONYMS = {
    "revenue": "sales revenue,sales value,sales,turnover,income,takings,earnings,money",
    "units": "quantity,pieces,volume,items sold",
    "price": "unit price,list price",
    "discount": "discount percent,discount percentage,discount rate,rebate,price reduction",
    "region": "sales region,area,territory",
    "product": "article,merchandise,goods,item",
    "category": "product category,product group,product line,product type",
    "channel": "sales channel,distribution channel",
    "customer": "client,buyer",
    "salary": "pay,wage",
}
_SHORT = {"uk": "united kingdom", "usa": "united states"}
_OTHER_THINGS = frozenset(["profit", "margin", "cost", "costs", "tax", "taxes", "loss", "losses", "customer"])
_SAME_MEANING, _CLEARLY = 0.6, 0.1  # similarity of a word to a column's name, and its lead over the next
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
_FALL = "fall(?:en|ing|s)?|fell|declin(?:e|ed|es|ing)|drop(?:ped|ping|s)?|decreas(?:e|ed|es|ing)|shr[aiu]nk(?:ing)?|los(?:e|es|ing|t)"
_GROW = "gr[eo]w(?:th|n|s|ing)?|increas(?:e|ed|es|ing)|r[io]se|rising|chang(?:e|ed|es|ing)|(?:year|month)[- ](?:over|on)[- ](?:year|month)|yoy|going (?:up|down)(?: or (?:up|down))?"
_VERSUS = "versus|vs|against|compar(?:e|ed|ing|ison)|differ(?:s|ences?)?|var(?:y|ies)"
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
        look like get got single often most level overview both well together see want know need let s not""",
    )
)


def read(question: str, columns: Sequence[Column]) -> Reading:
    """What `question` asks of a table with these columns; raises `ModelCannot` naming what has no place."""
    text = re.sub(r"['’]s\b", "", question.lower()).replace("%", " percent ").replace("€", " eur ")
    text = re.sub(r"\b(?:order|basket) (?:value|size)s?\b", "revenue per order", re.sub(r"\s+", " ", text))
    reading = Reading(question, text, text, columns)
    for take in (_values, _limits, _growth, _spans, _flags, _ranking, _aggregates, _columns, _rest, _settle):
        take(reading)

    return reading


def _flex(phrase: str) -> str:
    """A pattern for `phrase` in singular and plural, its words joined by anything that is no letter."""
    *head, last = re.findall(r"\w+", phrase.lower()) or [phrase.lower()]
    stem = re.sub(r"(?:ies|y|s)$", "", last) if len(last) > 3 else last
    end = "(?:y|ies)" if last.endswith(("ies", "y")) else "(?:s|es)?"
    return r"\W+".join([*map(re.escape, head), re.escape(stem) + end])


def _phrases(columns: Sequence[Column]) -> list[tuple[str, Column]]:
    """Patterns that name a column, longest first: its words, each word no other column has, and synonyms."""
    found: list[tuple[str, Column]] = []
    for column in columns:
        others = {_flex(w) for c in columns if c is not column for w in c.words}
        own = [w for w in column.words if _flex(w) not in others]
        telling = own or column.words
        synonyms = [s for w in telling for s in _SYNONYMS.get(w, "").split(",") if _flex(s) not in others]
        found += [(p, column) for p in {" ".join(column.words), *own, *synonyms} if p]

    return [(_flex(p), c) for p, c in sorted(found, key=lambda f: -len(f[0]))]


def _names(reading: Reading, column: Column) -> str:
    return "|".join(p for p, c in _phrases(reading.columns) if c is column) or "(?!)"


def _values(reading: Reading) -> None:
    """Values named in the question become filters; two of one column are set side by side."""
    columns = [c for c in sorted(reading.of("text"), key=lambda c: c.distinct) if not c.is_id]
    known = [(v, c) for c in columns for v in c.samples if len(v) > 1]
    words: dict[str, tuple[str, Column]] = {}  # one word for each value named, the longest values first
    for place, (value, column) in enumerate(sorted(known, key=lambda k: -len(k[0]))):
        pattern = "|".join(
            [_flex(value), *(short for short, long in _SHORT.items() if long == value.lower())]
        )
        reading.text, count = re.subn(rf"(?<!\w)(?:{pattern})(?!\w)", f"value{place}x", reading.text)
        words |= {f"value{place}x": (value, column)} if count else {}

    for column in columns:
        _values_of(
            reading, column, {word: value for word, (value, owner) in words.items() if owner is column}
        )


def _values_of(reading: Reading, column: Column, known: Mapping[str, str]) -> None:
    one = "|".join(known) or "(?!)"
    more = rf"(?: ?(?:,|and|or|vs\.?|versus|with|to|than|against|compared with) ?(?:the )?(?:{one}))*"
    pattern = rf"(?:({_WITHOUT}) (?:the )?)?((?:{one}){more})(?: (?:{_names(reading, column)}))?"
    chosen: list[str] = []
    while match := reading.take(pattern):
        values = [known[word] for word in re.findall(one, match[2])]
        if match[1]:
            reading.filters.append(_of_values(column, values, out=True))
            continue

        chosen += values
        if len(chosen) > 1:
            reading.group(column.name, column.cell, place=match.start())

    if chosen:
        reading.chosen[column.name] = chosen
        reading.filters.append(_of_values(column, chosen))


def _of_values(column: Column, values: Sequence[str], *, out: bool = False) -> Part:
    code = f"{column.cell} {'not in' if out else 'in'} {json.dumps(values, ensure_ascii=False)}"
    return Part(f"{column.name} {'not ' if out else ''}{' or '.join(values)}", code)


def _limits(reading: Reading) -> None:
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
            raise cannot(f"`{match[0].strip()}`", "it is not clear which column is meant")

        test = f"{next(s for s, p in _LIMITS.items() if re.fullmatch(p, word))} {figure}"
        reading.filters.append(Part(f"{column.name} {test}", f"float({column.cell} or 0) {test}"))


def _of_unit(reading: Reading, unit: str | None) -> Column | None:
    ends = ("pct", "percent", "rate") if unit == "percent" else ("revenue_eur", "amount", "revenue", "eur")
    numbers = reading.of("number")
    return next((c for e in ends for c in numbers if unit and c.name.lower().endswith(e)), None)


def _growth(reading: Reading) -> None:
    while match := reading.take(rf"{_FALL}|{_GROW}(?! time)"):
        reading.growth = True
        reading.ranked = "least" if re.fullmatch(_FALL, match[0]) else reading.ranked
        if match[0].startswith("month"):
            reading.group("month", _KEYS["month"].format(reading.date), time=True)

    while reading.take(_VERSUS):
        reading.versus = True


def _spans(reading: Reading) -> None:
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
            reading.filters.append(Part(f"{lead} {periods[0].label}", code))
        elif ranging and not (reading.growth or reading.versus):
            label = f"{periods[0].label} to {periods[1].label}"
            reading.filters.append(Part(label, periods[0].inside(reading.date, periods[1])))
        else:
            reading.periods += periods


def _period(text: str) -> Period:
    year = re.search(_YEAR, text)
    found = re.search(rf"(?<![a-z])(?:([qh])(\d)|(\w+) (quarter|half)|({_MONTH})|-(\d\d)(?!\d))", text)
    label = text[0].upper() + text[1:]
    if found is None:
        return Period(label, year[0] if year else "", 1, 12)

    kind, digit, word, unit, month, number = found.groups()
    size = 6 if "h" in (kind, (unit or "")[:1]) else 3 if kind or unit else 1
    place = int(digit or number or 0) or _ORDINALS.get(word) or _MONTHS.index(month[:3]) + 1
    return Period(label, year[0] if year else "", size * (place - 1) + 1, size * place)


def _flags(reading: Reading) -> None:
    """Columns of yes and no: `return rate`, `not returned`, `returned orders`, `returns`."""
    for column in reading.of("boolean"):
        root = re.sub(r"(?:ed|s|d|ing)$", "", column.words[0]) + r"\w*" if column.words else "(?!)"
        of = rf"(?:{_SHARE}|rate) of (?:\w+ ){{0,2}}(?:that )?(?:is |are |was |were )?{root}"
        yes = f"{column.cell}.strip().lower() in YES"
        if reading.take(rf"{root} (?:rates?|share|ratio)|{of}"):
            reading.aggregate, reading.measure = "rate", column
        elif reading.take(rf"(?:not|never|non)[- ](?:been )?{root}"):
            reading.filters.append(Part(f"not {column.name}", f"not {yes}"))
        elif match := reading.take(root):
            reading.flag = column
            reading.filters.append(Part(column.name, yes))
            reading.rows = match[0] if match[0].endswith("s") else "rows"


def _ranking(reading: Reading) -> None:
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


def _aggregates(reading: Reading) -> None:
    for name, pattern in _AGGREGATES.items():
        if reading.take(pattern):
            reading.aggregate = reading.aggregate or name

    for bucket, pattern in _BUCKETS.items():
        while match := reading.take(rf"(?:({_LEAD}) )?(?:{pattern})"):
            part = Part(bucket, _KEYS[bucket].format(reading.date), True, match.start())
            if reading.aggregate == "mean" and match[1] in {None, "per"}:
                reading.per = part
            else:
                reading.group(bucket, part.code, time=True, place=part.place)


def _columns(reading: Reading) -> None:
    ids = [c for c in reading.columns if c.is_id and c.words]
    nouns = "|".join([_ROWS, *(_flex(" ".join(c.words)) for c in ids)])
    for pattern, column in [(nouns, None), *_phrases([c for c in reading.columns if not c.is_id])]:
        while match := reading.take(rf"(?:({_LEAD}) (?:the )?)?({pattern})"):
            if column is None:
                _place_rows(reading, match, ids)
            else:
                _place(reading, column, match[1] or "", match.start())


def _place_rows(reading: Reading, match: re.Match[str], ids: Sequence[Column]) -> None:
    if match[1] in {"per", "each", "every"}:
        if reading.per:
            reading.group(reading.per.label, reading.per.code, time=reading.per.time)

        reading.per = Part(match[2], ids[0].cell if ids else "float(1)")
    elif match[1] in {"which", "what"} and ids:
        reading.group(ids[0].name, ids[0].cell, place=match.start())
    else:
        reading.rows = match[2]


def _place(reading: Reading, column: Column, lead: str = "", place: int = 0) -> None:
    number = column.type == "number"
    if number and lead == "per":
        reading.per = Part(column.name, f"float({column.cell} or 0)")
    elif number and lead and 0 < column.distinct <= 24 and not reading.ranked:
        reading.group(column.name, column.cell, place=place)
    elif number and reading.measure not in (None, column):
        raise cannot(f"`{column.name}`", "another column is measured already, and this takes one at a time")
    elif number:
        reading.measure = column
    elif column.type == "text" and reading.aggregate in {"distinct", "count"} and not (lead or reading.rows):
        _count_values(reading, column)
    elif column.type == "text":
        reading.group(column.name, column.cell, place=place)
        reading.within = reading.within if lead in {"", "by", "which", "what"} else column.name


def _count_values(reading: Reading, column: Column) -> None:
    """`how many products` counts different ones, `how many products were sold` counts pieces."""
    units = next((c for c in reading.of("number") if {"units", "quantity"} & set(c.words)), None)
    if units and reading.aggregate == "count" and re.search(r"\b(?:sold|sell|bought)\b", reading.asked):
        reading.measure, reading.aggregate = units, "sum"
    else:
        reading.measure, reading.aggregate = column, "distinct"


def _rest(reading: Reading) -> None:
    """Refuse the words that found no place, after a last try by their meaning."""
    while reading.take(_SHARE):
        reading.share = not reading.growth

    for run in re.findall(r"[^\W_]+(?:[ -][^\W_]+)*", reading.text):
        words = [w for w in re.split(r"[ -]", run) if w not in _NEUTRAL]
        if words and not _place_as_value(reading, words):
            _place_words(reading, words)


def _place_words(reading: Reading, words: Sequence[str]) -> None:
    for word in words:
        if not _place_by_meaning(reading, word):
            raise cannot(f"`{word}`", "it names no column, value, period or calculation of this table")


def _place_as_value(reading: Reading, words: Sequence[str]) -> bool:
    """A name that is no sample may be a value of the one column whose values are not all known."""
    name = " ".join(words)
    columns = [c for c in reading.of("text") if not c.is_id and c.distinct > len(c.samples)]
    if len(columns) != 1 or not re.search(rf"(?<=[a-z,] ){words[0].title()}\b", reading.question):
        return False

    reading.filters.append(
        Part(f"{columns[0].name} {name}", f"{json.dumps(name)} in {columns[0].cell}.lower()")
    )
    reading.named.append(name)
    reading.confidence = min(reading.confidence, 0.7)
    return True


def _place_by_meaning(reading: Reading, word: str) -> bool:
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


def _settle(reading: Reading) -> None:
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


def _main_measure(reading: Reading) -> Column:
    numbers = reading.of("number")
    many = re.search(r"how many|best.sell", reading.asked)
    wanted = ("units", "quantity") if many else ("revenue", "sales", "amount")
    found = [c for w in wanted for c in numbers if w in c.words] or (numbers if len(numbers) == 1 else [])
    if not found:
        names = ", ".join(f"`{c.name}`" for c in numbers)
        raise cannot("this question", f"it does not say what to measure; there are {names}")

    return found[0]


def _usual(reading: Reading) -> str:
    if reading.superlative and not reading.groups and not reading.growth:
        return "max" if reading.ranked == "most" else "min"

    return "sum" if reading.measure is None or reading.measure.additive else "mean"


def _asks_for_one(reading: Reading) -> bool:
    """Is it `which region`, and not `which regions` or `by region`?"""
    label = reading.groups[-1].label
    patterns = [p for p, c in _phrases(reading.columns) if c.name == label] or [_BUCKETS.get(label, label)]
    named = re.search(rf"(?:\b(by|per|each|every) )?\b({'|'.join(patterns)})\b", reading.asked)
    return named is None or not (named[1] or named[2].endswith("s"))


def _settle_periods(reading: Reading) -> None:
    periods = reading.periods
    if reading.growth and len(periods) == 1 and periods[0].year and not reading.in_time:
        year = str(int(periods[0].year) - 1)
        earlier = replace(periods[0], year=year, label=re.sub(_YEAR, year, periods[0].label))
        reading.periods = [earlier, *periods]
    elif len(periods) == 2 and (reading.growth or reading.versus):
        reading.growth, reading.groups = True, [g for g in reading.groups if not g.time]
    elif periods:
        code = " or ".join(p.inside(reading.date) for p in periods)
        reading.filters.append(Part(" and ".join(p.label for p in periods), code))
        reading.periods = []
        if len(periods) > 1 and not reading.in_time:
            reading.group(periods[0].bucket, _KEYS[periods[0].bucket].format(reading.date), time=True)

    if reading.growth and reading.in_time and len(reading.groups) > 1:
        raise cannot("the growth", "it is asked for by time and by another column at once")


def _settle_share(reading: Reading) -> None:
    """A share of one value is taken of the total over all values: its filter moves behind the sums."""
    if reading.share and reading.flag:
        _settle_rate(reading, reading.flag)
        return

    names = [g.label for g in reading.groups] or [*reading.chosen][:1]
    if reading.share and not names:
        raise cannot("the share", "it does not say of what, or by which column")

    if reading.share:
        column = next((c for c in reading.columns if c.name == names[0]), None)
        if column and not reading.groups:
            reading.group(column.name, column.cell)

        reading.only = reading.chosen.get(names[0], [])
        reading.filters = [
            f for f in reading.filters if not (reading.only and f.label.startswith(f"{names[0]} "))
        ]


def _settle_rate(reading: Reading, flag: Column) -> None:
    """`what share of orders was returned` asks for a rate; of sums no rate is taken."""
    if reading.measure is not None:
        raise cannot("the share", f"it mixes `{flag.name}` with `{reading.measure.name}`")

    reading.aggregate, reading.measure, reading.share = "rate", flag, False
    reading.filters = [f for f in reading.filters if f.label != flag.name]
