"""The figures in docs/performance.md are those that were measured, and are made anew by one command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import document
from tests.benchmarks.document import BLOCKS, DOCUMENT, FIGURES, PEERS, filled
from tests.benchmarks.goals import GOALS
from tests.benchmarks.growth import LIMIT, SERIES, growths
from tests.benchmarks.plan import JOBS
from tests.benchmarks.plots import PLOTS, draw
from tests.benchmarks.rounds import interleaved, spread

KEPT = json.loads(FIGURES.read_text(encoding="utf-8"))
EMPTY = "".join(f"<!-- figures: {name} -->\noutdated\n<!-- end of figures: {name} -->\n" for name in BLOCKS)


def row(size: int, cost: float, **more: object) -> dict[str, object]:
    one = {
        "workload": "W1",
        "subject": "agentflow",
        "size": size,
        "unit": "step",
        "growth_mb": 1.0,
        "notes": {},
    }
    return {**one, "cpu_us": spread([cost]), "wall_us": spread([cost]), **more}


def test_the_document_tells_what_was_measured() -> None:
    """Each table of the document is the one of the kept figures: nobody has changed a number by hand."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert filled(text, KEPT) == text


def test_the_plots_are_of_the_figures(tmp_path: Path) -> None:
    """Each plot that the document shows is drawn from the kept figures, and there are no others."""
    draw(KEPT["jobs"], tmp_path)
    drawn = {file.name for file in tmp_path.iterdir()}
    assert drawn == {f"{plot.name}.svg" for plot in PLOTS}
    assert drawn == {file.name for file in (DOCUMENT.parent / "plots").iterdir()}
    assert all(f"(plots/{name})" in DOCUMENT.read_text(encoding="utf-8") for name in drawn)
    assert all("<text" in (tmp_path / name).read_text(encoding="utf-8") for name in drawn)


def test_new_figures_replace_old_ones() -> None:
    """A block is made anew whole, and what is not measured is said to be so."""
    figures = {**KEPT, "jobs": [row(10, 41.0), row(100, 23.0), row(1000, 31.0)]}
    text = filled(EMPTY, figures)

    assert "outdated" not in text
    assert "| W1 chain, a step at 10 / 100 / 1,000 | 41.0 / 23.0 / 31.0 | not measured |" in text
    assert "| a step of a chain, by steps | 10: 41.0, 100: 23.0, 1,000: 31.0 | 1.35 (over) |" in text
    assert filled(text, figures) == text


def test_a_document_without_a_place_is_refused() -> None:
    """Where a block has no place, the markers that are missing are named."""
    with pytest.raises(ValueError, match=r"no place for host: put `<!-- figures: host -->`"):
        filled("nothing", KEPT)


def test_growth_is_the_worst_factor() -> None:
    """The factor is of one size to the next; the limit is for us, not for what we are compared with."""
    (found,) = growths([row(10, 40.0), row(100, 20.0), row(1000, 20.0 * LIMIT)])
    assert found.sizes == (10, 100, 1000)
    assert found.factor == pytest.approx(LIMIT)
    assert found.is_within
    bare = [row(size, cost, workload="W4", subject="bare SDK") for size, cost in ((20, 1.0), (200, 5.0))]
    assert growths(bare)[0].is_within
    assert growths([row(10, 40.0)]) == []


def test_tables_and_plots_name_what_there_is() -> None:
    """Goals, series and plots ask for jobs, series and peers that there are."""
    subjects = {(job.workload, job.subject) for job in JOBS}
    assert {(series.workload, series.subject) for series in SERIES} <= subjects
    assert {title for plot in PLOTS for title in plot.series} <= {series.title for series in SERIES}
    peers = json.loads(PEERS.read_text(encoding="utf-8"))["figures"]
    assert {goal.peers for goal in GOALS} - {""} == set(peers)
    assert len({job.name for job in JOBS}) == len(JOBS)


def test_jobs_are_measured_in_processes_of_their_own(tmp_path: Path) -> None:
    """A run of jobs gives a row for each, from all rounds; what cannot be measured is told and left out after that."""
    wanted = [job for job in JOBS if job.name in ("W1/await/100", "W1/task/10")]
    broken = type(wanted[0])(workload="W1", subject="nobody", size=1, unit="step", make="floors:nobody")
    said: list[str] = []
    rows = interleaved([*wanted, broken], rounds=2, samples=2, folder=tmp_path, say=said.append)

    assert [one["subject"] for one in rows] == ["await", "task", "nobody"]
    assert [one.get("samples") for one in rows] == [4, 4, None]
    assert all(one["cpu_us"]["min"] <= one["cpu_us"]["median"] <= one["cpu_us"]["p95"] for one in rows[:2])
    assert "error" in rows[2]
    assert sum("nobody" in line for line in said) == 2


def test_a_part_is_measured_by_name(tmp_path: Path) -> None:
    """`--only` measures a part and writes it; a name that is not known is refused with those that are."""
    command = [sys.executable, "-m", "tests.benchmarks", "--only"]
    told = {"cwd": DOCUMENT.parents[1], "capture_output": True, "text": True, "check": False}
    file = tmp_path / "f.json"
    done = subprocess.run([*command, "W7x"], **told)  # type: ignore[call-overload]
    assert done.returncode == 2
    assert "there is no 'W7x'; there are: " in done.stderr

    done = subprocess.run([*command, "W7", "--quick", "--json", str(file)], **told)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text(encoding="utf-8"))["jobs"]
    assert {one["workload"] for one in rows} == {"W7"}
    assert "W7        sleep (step)" in done.stdout


def test_the_command_writes_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One command fills the document and draws the plots beside it."""
    copy = tmp_path / "performance.md"
    copy.write_text(EMPTY, encoding="utf-8")
    monkeypatch.setattr(document, "DOCUMENT", copy)

    assert document.main([]) == 0
    assert "| W1 chain" in copy.read_text(encoding="utf-8")
    assert (tmp_path / "plots" / "steps.svg").is_file()
