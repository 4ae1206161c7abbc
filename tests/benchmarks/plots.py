"""Draws how costs grow, as SVG files that can be read on light and on dark ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.growth import Growth, growths

# Of middle lightness, so that they stand out from white and from black.
GREY = "#808080"
COLOURS = ("#2b83d6", "#d9741a", "#3a9a4b", "#a860d4", "#d0435f", "#8a7a3c", "#2a9d9d", "#7d7dde")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One picture: which series, by their titles, and what stands at its axes."""

    name: str
    title: str
    axis: str
    series: tuple[str, ...]
    is_logarithmic: bool = False


PLOTS = (
    Plot(
        name="steps",
        title="Microseconds of CPU a unit, by how many there are",
        axis="steps, branches, iterations",
        series=("a step of a chain", "a branch of a fan-out", "an iteration of a loop", "a durable step"),
    ),
    Plot(
        name="turns",
        title="Microseconds of CPU a turn of an agent, by its turns",
        axis="turns",
        series=("a turn of an agent", "a turn of the bare SDK"),
    ),
    Plot(
        name="events",
        title="Microseconds of CPU an event, by the events of the run",
        axis="events of the run",
        series=("an event of a run taken up", "an event verified", "an event replayed"),
    ),
    Plot(
        name="journal",
        title="Microseconds of CPU, by the events in the journal",
        axis="events in the journal",
        series=(
            "a step of one more run",
            "a page of runs",
            "a page of runs that wait",
            "a page of runs since a moment",
            "a page of runs until a moment",
            "one run read",
            "one run taken up and finished",
            "figures over all runs, a run",
        ),
        is_logarithmic=True,
    ),
)


def draw(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write each plot of which there are figures, the same bytes for the same figures."""
    found = {growth.series.title: growth for growth in growths(rows)}
    folder.mkdir(exist_ok=True)
    for plot in PLOTS:
        known = [found[title] for title in plot.series if title in found]
        if known:
            _draw(plot, known, folder / f"{plot.name}.svg")


def _draw(plot: Plot, known: Sequence[Growth], file: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: dict[Any, str] = {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": plot.name,  # the same names of parts each time
        "font.family": "sans-serif",
        "text.color": GREY,
        "axes.labelcolor": GREY,
        "axes.edgecolor": GREY,
        "xtick.color": GREY,
        "ytick.color": GREY,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(7.5, 4), layout="constrained")
        figure.patch.set_alpha(0)
        _lines(figure.add_subplot(), plot, known)
        figure.savefig(file, format="svg", metadata={"Date": None})


def _lines(axes: Any, plot: Plot, known: Sequence[Growth]) -> None:
    from matplotlib.ticker import LogLocator

    axes.patch.set_alpha(0)
    for growth, colour in zip(known, COLOURS, strict=False):
        axes.plot(growth.sizes, growth.cpu_us, marker="o", color=colour, label=growth.series.title)

    axes.set_title(plot.title, fontsize=11)
    axes.set_xlabel(plot.axis)
    axes.set_xscale("log")
    sizes = sorted({size for growth in known for size in growth.sizes})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
    if plot.is_logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        axes.set_ylim(bottom=0)

    axes.yaxis.set_major_formatter(_thousands)
    axes.minorticks_off()

    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color=GREY, alpha=0.25)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))


def _thousands(value: float, _: object) -> str:
    return f"{value:,.0f}"
