"""Recipes: questions about a table become programs, which run in the real sandbox and are checked by hand."""

from __future__ import annotations

import csv
import io
import json
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pydantic_monty import Monty

from agentflow.exceptions import ModelCannot
from agentflow.models.embedded.recipes import write_program

Row = dict[str, str]
Key = Callable[[Row], str]
PRODUCTS = {
    "Fjell 2 tent": ("tents", 349.0),
    "Brook 3 tent": ("tents", 429.0),
    "Heath jacket": ("jackets", 189.0),
    "Rain shell": ("jackets", 129.0),
    "Dale boots": ("boots", 159.0),
    "Ember stove": ("stoves", 79.0),
}
NUMBERS = ["units", "unit_price_eur", "discount_pct", "revenue_eur"]
TYPES = {"date": "date", "returned": "boolean", **dict.fromkeys(NUMBERS, "number")}


def made_rows() -> list[Row]:
    chance = random.Random(11)
    rows: list[Row] = []
    for number in range(500):
        year = chance.choice([2025, 2025, 2026])
        date = f"{year}-{chance.randint(1, 12 if year == 2025 else 9):02}-{chance.randint(1, 28):02}"
        product, units, discount = (
            chance.choice(list(PRODUCTS)),
            chance.randint(1, 6),
            chance.choice([0, 5, 10, 20]),
        )
        category, price = PRODUCTS[product]
        rows.append(
            {
                "date": date,
                "order_id": f"O-{number}",
                "region": chance.choice(["North", "South", "East", "United West"]),
                "channel": chance.choice(["web shop", "retail", "partner"]),
                "product": product,
                "category": category,
                "units": str(units),
                "unit_price_eur": str(price),
                "discount_pct": str(discount),
                "revenue_eur": f"{units * price * (1 - discount / 100):.2f}",
                "returned": chance.choice(["true", "false", "false", "false"]),
            }
        )

    return rows


ROWS = made_rows()


def as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


DATA = as_csv(ROWS)


def table(samples: int = 12) -> dict[str, Any]:
    columns: list[dict[str, Any]] = []
    for name in ROWS[0]:
        values = list(dict.fromkeys(row[name] for row in ROWS))
        kind = TYPES.get(name, "text")
        columns.append({"name": name, "type": kind, "samples": values[:samples], "distinct": len(values)})

    return {"path": "sales.csv", "rows": len(ROWS), "columns": columns}


def program(question: str, samples: int = 12) -> str:
    return write_program(json.dumps({"question": question, "table": table(samples)})).code


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Monty]:
    with Monty(request_timeout=20) as pool:
        yield pool


def run(sandbox: Monty, code: str, data: str = DATA) -> dict[str, Any]:
    with sandbox.checkout() as session:
        result: dict[str, Any] = session.feed_run(code, inputs={"data": data})
        return result


def total(rows: Sequence[Row], column: str = "revenue_eur") -> float:
    return sum(float(row[column]) for row in rows)


def mean(rows: Sequence[Row], column: str = "revenue_eur") -> float:
    return total(rows, column) / len(rows)


def rate(rows: Sequence[Row]) -> float:
    return 100 * sum(row["returned"] == "true" for row in rows) / len(rows)


def where(**wanted: str) -> list[Row]:
    """The rows whose columns begin with the given texts."""
    return [row for row in ROWS if all(row[name].startswith(text) for name, text in wanted.items())]


def by(
    column: str | Key, measure: Callable[[Sequence[Row]], float], rows: Sequence[Row] = ROWS
) -> dict[str, float]:
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[column] if isinstance(column, str) else column(row)].append(row)

    return {key: measure(group) for key, group in groups.items()}


def highest(groups: dict[str, float], count: int) -> dict[str, float]:
    return dict(sorted(groups.items(), key=lambda item: -item[1])[:count])


def lowest(groups: dict[str, float], count: int) -> dict[str, float]:
    return dict(sorted(groups.items(), key=lambda item: item[1])[:count])


def month(row: Row) -> str:
    return row["date"][:7]


def quarter(row: Row) -> str:
    return f"{row['date'][:4]}-Q{(int(row['date'][5:7]) + 2) // 3}"


def between(start: str, end: str) -> list[Row]:
    return [row for row in ROWS if start <= row["date"][:7] <= end]


def compared(rows: Sequence[Row]) -> float:
    """The change in percent from 2025 to 2026, in the months that both have."""
    old, new = (
        total([r for r in rows if r["date"][:4] == year and r["date"][5:7] <= "09"])
        for year in ("2025", "2026")
    )
    return 100 * (new - old) / old


def units(rows: Sequence[Row]) -> float:
    return total(rows, "units")


def share(part: Sequence[Row], whole: Sequence[Row]) -> float:
    return 100 * total(part) / total(whole)


# The last column of each row by its first ones; a question without groups has one value.
QUESTIONS: list[tuple[str, float | dict[str, float]]] = [
    ("What is the total revenue?", total(ROWS)),
    ("Total revenue by region", by("region", total)),
    ("turnover by sales channel in 2026", by("channel", total, where(date="2026"))),
    ("How much revenue came from the North region in 2025?", total(where(region="North", date="2025"))),
    ("Sales in the United West in Q2 2025", total([r for r in where(region="United") if quarter(r) == "2025-Q2"])),
    ("Revenue by month in 2025", by(month, total, where(date="2025"))),
    ("quarterly revenue of tents", by(quarter, total, where(category="tents"))),
    ("annual units", by(lambda r: r["date"][:4], units)),
    ("Which region had the highest revenue in the third quarter of 2025?", highest(by("region", total, between("2025-07", "2025-09")), 1)),
    ("Top 3 products by units sold", highest(by("product", units), 3)),
    ("the two worst categories by revenue in 2026", lowest(by("category", total, where(date="2026")), 2)),
    ("What was the average discount by channel?", by("channel", lambda g: mean(g, "discount_pct"))),
    ("Median unit price per category", by("category", lambda g: statistics.median(float(r["unit_price_eur"]) for r in g))),
    ("most expensive product", highest(by("product", lambda g: max(float(r["unit_price_eur"]) for r in g)), 1)),
    ("What is the lowest single order revenue in 2025?", min(float(r["revenue_eur"]) for r in where(date="2025"))),
    ("How many orders were returned in 2025?", len(where(date="2025", returned="true"))),
    ("How many orders were not returned?", len(where(returned="false"))),
    ("Return rate by channel", by("channel", rate)),
    ("Which category has the lowest return rate?", lowest(by("category", rate), 1)),
    ("What share of orders in the South was returned?", rate(where(region="South"))),
    ("Share of revenue by category", {k: 100 * v / total(ROWS) for k, v in by("category", total).items()}),
    ("What share of revenue comes from the web shop?", {"web shop": share(where(channel="web"), ROWS)}),
    ("Which region has the largest share of revenue?", highest({k: 100 * v / total(ROWS) for k, v in by("region", total).items()}, 1)),
    ("How did revenue grow from 2025 to 2026 by category?", by("category", compared)),
    ("Which region is falling?", by("region", compared)),
    ("Compare Q1 2025 with Q1 2026", 100 * (total(between("2026-01", "2026-03")) / total(between("2025-01", "2025-03")) - 1)),
    ("How many tents did we sell in March 2026?", units([r for r in where(category="tents") if month(r) == "2026-03"])),
    ("How many different products were sold?", float(len(PRODUCTS))),
    ("Revenue excluding tents and boots", total([r for r in ROWS if r["category"] not in {"tents", "boots"}])),
    ("Number of orders with a discount above 5 % by channel", by("channel", len, [r for r in ROWS if float(r["discount_pct"]) > 5])),
    ("orders over 1000 EUR", len([r for r in ROWS if float(r["revenue_eur"]) > 1000])),
    ("Average order value by region", by("region", mean)),
    ("revenue per unit by channel", by("channel", lambda g: total(g) / units(g))),
    ("Average monthly revenue by region", by("region", lambda g: total(g) / len({month(r) for r in g}))),
    ("Revenue between January 2025 and March 2025", total(between("2025-01", "2025-03"))),
    ("revenue since June 2026", total(between("2026-06", "2026-12"))),
    ("revenue in January", total([r for r in ROWS if r["date"][5:7] == "01"])),
    ("Compare web shop and retail revenue", by("channel", total, [r for r in ROWS if r["channel"] != "partner"])),
]  # fmt: skip


@pytest.mark.parametrize(("question", "expected"), QUESTIONS, ids=[q for q, _ in QUESTIONS])
def test_a_program_computes_what_was_asked(
    sandbox: Monty, question: str, expected: float | dict[str, float]
) -> None:
    """The program, run in the sandbox, gives the numbers that plain Python gives."""
    result = run(sandbox, program(question))
    found = {str(row[0]): row[-1] for row in result["rows"]}
    if isinstance(expected, dict):
        assert found == pytest.approx(expected, abs=0.011)
    else:
        assert [row[-1] for row in result["rows"]] == [pytest.approx(expected, abs=0.011)]


def test_two_groups_make_two_key_columns(sandbox: Monty) -> None:
    """Revenue by region and quarter has a row for each pair that occurs, and no chart."""
    result = run(sandbox, program("revenue by region and quarter"))
    pairs = {(row["region"], quarter(row)) for row in ROWS}

    assert {(region, part) for region, part, _ in result["rows"]} == pairs
    assert result["columns"][:2] == ["region", "quarter"]
    assert result["chart"]["kind"] == "none"


def test_a_ranking_inside_each_group(sandbox: Monty) -> None:
    """`best-selling product in each region` has the one with most units for each region."""
    result = run(sandbox, program("Best-selling product in each region"))
    best = {
        region: next(iter(highest(by("product", units, where(region=region)), 1)))
        for region in by("region", len)
    }

    assert {row[0]: row[1] for row in result["rows"]} == best


def test_growth_from_month_to_month(sandbox: Monty) -> None:
    """Monthly growth compares each month with the one before; the first has none."""
    rows = run(sandbox, program("Monthly growth of revenue in 2025"))["rows"]
    months = by(month, total, where(date="2025"))
    january, february = months["2025-01"], months["2025-02"]

    assert rows[0] == ["2025-01", pytest.approx(january), None]
    assert rows[1][-1] == pytest.approx(100 * (february - january) / january, abs=0.011)


def test_charts_fit_the_table(sandbox: Monty) -> None:
    """Time makes a line, other groups make bars, a single value makes no chart."""
    kinds = [
        run(sandbox, program(q))["chart"] for q in ("revenue by month", "revenue by region", "total revenue")
    ]

    assert [chart["kind"] for chart in kinds] == ["line", "bar", "none"]
    assert kinds[0]["x"] == "month"
    assert kinds[0]["y"] == "revenue_eur"


def test_the_title_says_what_was_computed(sandbox: Monty) -> None:
    """The title names the calculation, the groups, the filters, and the months that two years share."""
    ranked = run(sandbox, program("Which region had the highest revenue in Q3 2025?"))["title"]
    grown = run(sandbox, program("growth of units by region"))["title"]

    assert ranked == "Sum of revenue_eur by region, highest 1, Q3 2025"
    assert grown == "Growth: sum of units by region, months 01 to 09 of both"


def test_a_name_that_is_no_sample_is_looked_for_by_the_program(sandbox: Monty) -> None:
    """With few samples known, `Ember` becomes a filter on the product, and a name that is nowhere fails aloud."""
    found = run(sandbox, program("How much revenue did the Ember stoves make?", samples=4))["rows"]

    assert found == [[pytest.approx(total(where(product="Ember")))]]
    with pytest.raises(Exception, match="no row of the table holds zugspitz"):
        run(sandbox, program("How much revenue did the Zugspitz stoves make?", samples=4))


@pytest.mark.parametrize(
    ("question", "part"),
    [
        ("What is our customer churn?", "`customer`"),
        ("Forecast the revenue of 2027", "`forecast`"),
        ("Revenue last month", "`last`"),
        ("How is the weather by region?", "`weather`"),
        ("What was the profit in 2025?", "`profit`"),
        ("Correlation between discount and units", "`units`|`correlation`"),
        ("orders above 7 by region", "`above 7`"),
        ("What share of revenue is there?", "the share"),
    ],
)
def test_what_cannot_be_placed_is_named(question: str, part: str) -> None:
    """A question that no recipe fits is refused, with the part that has no place and a way on."""
    with pytest.raises(ModelCannot, match=part) as caught:
        program(question)

    assert "OPENAI_API_KEY" in caught.value.hint


def test_a_table_without_dates_refuses_time() -> None:
    """Time needs a column of ISO dates."""
    columns = [
        {"name": "day", "type": "date", "samples": ["03.04.2025"]},
        {"name": "revenue", "type": "number"},
    ]

    with pytest.raises(ModelCannot, match="YYYY-MM-DD"):
        write_program(json.dumps({"question": "revenue by month", "table": {"columns": columns}}))


@pytest.mark.parametrize(
    "request_", ["no JSON", "[]", '{"question": "x"}', '{"question": "x", "table": {"columns": [1]}}']
)
def test_a_request_without_a_table_is_refused(request_: str) -> None:
    """What is no question about a table is refused, with the form that is expected."""
    with pytest.raises(ModelCannot, match="a question about a table"):
        write_program(request_)


def test_a_failed_program_is_not_written_again() -> None:
    """A recipe is the same each time, so a repair is refused at once."""
    with pytest.raises(ModelCannot, match="failed: ZeroDivisionError"):
        write_program(json.dumps({"question": "revenue", "table": table(), "error": "ZeroDivisionError"}))


def test_synonyms_and_words_of_like_meaning_find_their_column() -> None:
    """`quantity` and `area` are known to mean units and region; `car` is found by its meaning, less surely."""
    known = write_program(json.dumps({"question": "quantity by area", "table": table()}))
    columns = [{"name": "vehicle", "type": "text", "samples": ["A1"]}, {"name": "litres", "type": "number"}]
    near = write_program(json.dumps({"question": "litres for each car", "table": {"columns": columns}}))

    assert (known.title, near.title) == ("Sum of units by region", "Sum of litres by vehicle")
    assert known.confidence > 0.9 > near.confidence


def test_a_guess_lowers_the_confidence() -> None:
    """A question that does not say what to measure is answered by revenue, less surely."""
    said, guessed = (
        write_program(json.dumps({"question": q, "table": table()}))
        for q in ("revenue by region", "best region")
    )

    assert guessed.title == "Sum of revenue_eur by region, highest 1"
    assert guessed.confidence < said.confidence


def test_hostile_names_stay_data(sandbox: Monty) -> None:
    """Quotes, braces and dollars in column names and values cannot become code."""
    name, value = 'a"] + {$x}', 'it\'s "odd" \\ {1}'
    rows: list[Row] = [{"kind": value, name: "2"}, {"kind": "plain", name: "3"}]
    columns = [
        {"name": "kind", "type": "text", "samples": [value, "plain"], "distinct": 2},
        {"name": name, "type": "number", "samples": ["2", "3"], "distinct": 2},
    ]
    code = write_program(json.dumps({"question": "sum by kind", "table": {"columns": columns}})).code

    assert run(sandbox, code, as_csv(rows))["rows"] == [["plain", 3], [value, 2]]


def test_an_empty_selection_gives_an_empty_table_or_zero(sandbox: Monty) -> None:
    """No rows make a sum of zero, and no groups."""
    assert run(sandbox, program("revenue in 2019"))["rows"] == [[0]]
    assert run(sandbox, program("revenue by region in 2019"))["rows"] == []


def test_a_byte_order_mark_and_quoted_lines_are_read(sandbox: Monty) -> None:
    """A CSV as spreadsheets write it is read as it is meant."""
    data = '\ufeffregion,revenue_eur\n"North\nWest",2\nSouth,3.5\n'
    columns = [
        {"name": "region", "type": "text", "samples": ["South"]},
        {"name": "revenue_eur", "type": "number"},
    ]
    code = write_program(json.dumps({"question": "revenue by region", "table": {"columns": columns}})).code

    assert run(sandbox, code, data)["rows"] == [["South", 3.5], ["North\nWest", 2]]
