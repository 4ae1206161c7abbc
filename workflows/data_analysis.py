"""Data analysis: a CSV and a question in; a program is written and run, and a table and a plot come out."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agentflow import Agent, Budget, Context, ToolError, Workflow, step
from agentflow.tools import call
from tools.code import run_on_table, table_text

# Of a column with few different values all are shown, so that a question may name any of them.
SAMPLES, ALL_UP_TO = 5, 40
KIND = Literal["number", "text", "date", "boolean"]


@dataclass(frozen=True, kw_only=True)
class TableQuestion:
    """A question about a CSV file; the path is seen from the project."""

    question: str
    table: str = "workflows/samples/sales.csv"

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise ValueError("`question` is empty")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: what it holds, a few of its values, and how many different ones there are."""

    name: str
    type: KIND
    samples: list[str]
    distinct: int


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a program's author must know of a table."""

    path: str
    rows: int
    columns: list[Column]


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A question and the table to answer it from."""

    question: str
    table: Table


@dataclass(frozen=True, kw_only=True)
class Repair(Assignment):
    """An assignment whose program failed."""

    program: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Program:
    """A Python program that reads the CSV text from `data` and ends with the result."""

    code: str


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What the program gave: a table, and how to plot it."""

    title: str
    columns: list[str]
    rows: list[list[Any]]
    chart: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The answer: a table, the program that made it, and the plot's file."""

    title: str
    columns: list[str]
    rows: list[list[Any]]
    plot: str
    code: str


@step
def profile(question: TableQuestion) -> Assignment:
    """Look at the table: its columns, their kinds, some values."""
    rows = list(csv.DictReader(io.StringIO(table_text(question.table))))
    if not rows:
        raise ToolError(f"`{question.table}` has no rows")

    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ToolError(f"`{question.table}`, line {number}: it has not as many cells as the header")

    columns = [_column(name, [row[name] or "" for row in rows]) for name in rows[0]]
    return Assignment(
        question=question.question, table=Table(path=question.table, rows=len(rows), columns=columns)
    )


def _column(name: str, values: Sequence[str]) -> Column:
    different = list(dict.fromkeys(values))
    kind = _kind(different)
    few = len(different) <= ALL_UP_TO and kind == "text"
    samples = different if few else different[:SAMPLES]
    return Column(name=name, type=kind, samples=samples, distinct=len(different))


def _kind(values: Sequence[str]) -> KIND:
    filled = [value for value in values if value]
    if set(map(str.lower, filled)) <= {"0", "1", "true", "false", "yes", "no"}:
        return "boolean"

    if all(len(v) >= 10 and v[4] == "-" and v[7] == "-" and v[:4].isdigit() for v in filled):
        return "date"

    return "number" if all(map(_is_number, filled)) else "text"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False

    return True


write_code = Agent("write_code", takes=Assignment, gives=Program, prompt="prompts/analysis.md", max_turns=3)


@step
async def compute(program: Program, ctx: Context) -> Computed | Repair:
    """Run the program in the sandbox; what it did wrong goes back to its author."""
    asked = ctx.output(profile)
    try:
        result = await call(run_on_table, {"code": program.code, "path": asked.table.path})
        return _computed(result.value)
    except ToolError as error:
        return Repair(question=asked.question, table=asked.table, program=program.code, error=str(error))


def _computed(value: Any) -> Computed:
    if not isinstance(value, dict) or not {"title", "columns", "rows"} <= value.keys():
        raise ToolError("the program must end with a dict of `title`, `columns`, `rows` and `chart`")

    return Computed(
        title=str(value["title"]),
        columns=[str(c) for c in value["columns"]],
        rows=[list(row) for row in value["rows"]],
        chart={k: str(v) for k, v in (value.get("chart") or {}).items()},
    )


@step
def plot(computed: Computed, ctx: Context) -> Analysis:
    """Draw the table, and keep it and the plot beside the run."""
    name = ""
    if computed.chart.get("kind") in ("bar", "line") and computed.rows:
        name = ctx.artifact("plot.png", _drawn(computed), "image/png")

    text = io.StringIO()
    csv.writer(text).writerows([computed.columns, *computed.rows])
    ctx.artifact("table.csv", text.getvalue().encode(), "text/csv")
    code = ctx.output(write_code).code
    plotted = (
        Path(name).relative_to(ctx.root).as_posix() if name and Path(name).is_relative_to(ctx.root) else name
    )
    return Analysis(
        title=computed.title, columns=computed.columns, rows=computed.rows, plot=plotted, code=code
    )


def _drawn(computed: Computed) -> bytes:
    # Without pyplot: its figures are global, and this runs in a thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    y = _index(computed, computed.chart.get("y"), len(computed.columns) - 1)
    x = _index(computed, computed.chart.get("x"), 0)
    labels = [" / ".join(str(cell) for i, cell in enumerate(row) if i != y)[:28] for row in computed.rows]
    labels = [
        str(row[x])[:28] if len(row) == 2 else label for row, label in zip(computed.rows, labels, strict=True)
    ]
    values = [float(row[y] or 0) for row in computed.rows]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    if computed.chart["kind"] == "line":
        axes.plot(range(len(values)), values, marker="o", color="#1f5f8b")
    else:
        axes.bar(range(len(values)), values, color="#1f5f8b")

    axes.set_xticks(
        range(len(labels)),
        labels,
        rotation=40 if len(labels) > 5 else 0,
        ha="right" if len(labels) > 5 else "center",
    )
    axes.set_ylabel(computed.columns[y])
    axes.set_title(computed.title)
    axes.spines[["top", "right"]].set_visible(False)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    return data.getvalue()


def _index(computed: Computed, name: str | None, otherwise: int) -> int:
    return computed.columns.index(name) if name in computed.columns else otherwise


data_analysis = Workflow(
    "data_analysis",
    start=profile,
    end=plot,
    edges=[
        profile >> write_code >> compute,
        compute.on(Repair, at_most=3) >> write_code,
        compute.on(Computed) >> plot,
    ],
    budget=Budget(model_calls=20, tool_calls=10, minutes=10),
    description="Answer a question about a CSV with a program, a table and a plot.",
)
