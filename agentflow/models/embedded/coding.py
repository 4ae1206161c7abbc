"""Programs as text, put together for what was read from a question about a table."""

from __future__ import annotations

import json
from string import Template

from agentflow.models.embedded.tables import Reading

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
_FOUND = Template("""if not rows:
    raise ValueError("no row of the table holds " + " and ".join($names))

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
_FORWARD = "table.sort(key=lambda line: line[:-1])\n"
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


def program_of(reading: Reading, title: str) -> str:
    body = "\n".join(f"    {line}" for line in _measure(reading))
    parts = [_HEAD.substitute(measure=body, title=json.dumps(title, ensure_ascii=False))]
    parts += [f"rows = [row for row in rows if {f.code}]\n" for f in reading.filters]
    parts += [_FOUND.substitute(names=json.dumps(reading.named))] if reading.named else []
    parts += _compared(reading) if reading.growth and not reading.in_time else _grouped(reading)
    kind = "none" if len(reading.groups) != 1 else "line" if reading.in_time and not reading.ranked else "bar"
    return "".join([*parts, _END.substitute(kind=json.dumps(kind))])


def _measure(reading: Reading) -> list[str]:
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


def _labels(reading: Reading, *more: str) -> str:
    return json.dumps([*(g.label for g in reading.groups), *more], ensure_ascii=False)


def _keys(reading: Reading) -> str:
    return "(" + "".join(f"{g.code}, " for g in reading.groups).rstrip(" ") + ")"


def _value_name(reading: Reading) -> str:
    kinds = {"sum": "", "rate": "% ", "distinct": "different "}
    name = reading.measure.name if reading.measure else reading.rows
    name = kinds.get(reading.aggregate, f"{reading.aggregate} ") + name if reading.measure else name
    return f"{name} per {reading.per.label}" if reading.per else name


def _grouped(reading: Reading) -> list[str]:
    """Code that makes `table` with a row for each group, and `columns`."""
    start, columns = "" if reading.groups else "(): []", _labels(reading, _value_name(reading))
    parts = [_GROUPED.substitute(start=start, keys=_keys(reading), columns=columns)]
    parts += [_FORWARD + _CHANGES] if reading.growth else []
    parts += [_SHARES.substitute(only=json.dumps(reading.only, ensure_ascii=False))] if reading.share else []
    return [*parts, "" if reading.growth and not reading.ranked else _sorted(reading)]


def _sorted(reading: Reading) -> str:
    """Time goes forward; anything else, and what is ranked, goes by its value."""
    if reading.in_time and not reading.ranked:
        return _FORWARD

    sign = "" if reading.ranked == "least" else "-"
    code = f"table.sort(key=lambda line: (line[-1] is None, {sign}(line[-1] or 0), line[:-1]))\n"
    if reading.limit and reading.within and len(reading.groups) > 1:
        return code + _WITHIN.substitute(limit=reading.limit)

    return f"{code}table = table[:{reading.limit}]\n" if reading.limit else code


def _compared(reading: Reading) -> list[str]:
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


def title_of(reading: Reading) -> str:
    kinds = {"rate": "Percentage", "distinct": "Number of different", "count": f"Number of {reading.rows}"}
    words = [kinds.get(reading.aggregate, f"{reading.aggregate} of".capitalize())]
    words += [reading.measure.name] if reading.measure and reading.aggregate != "count" else []
    words += [f"per {reading.per.label}"] if reading.per else []
    words += [f"by {' and '.join(g.label for g in reading.groups)}"] if reading.groups else []
    title = " ".join(words)
    for flag, name in ((reading.share, "Share"), (reading.growth, "Growth")):
        title = f"{name}: {title[0].lower()}{title[1:]}" if flag else title

    if reading.limit:
        title += f", {'lowest' if reading.ranked == 'least' else 'highest'} {reading.limit}"
        title += " by change %" if reading.growth else f" in each {reading.within}" if reading.within else ""

    return ", ".join([title, *(f.label for f in reading.filters), *reading.only])
