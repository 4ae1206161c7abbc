"""The guard of costs: `pytest -m guard` alone. It compares what was measured in one run, never a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.benchmarks import guard
from tests.benchmarks.guard import (
    ELSEWHERE,
    MARGIN,
    RATIOS,
    Ratio,
    excesses,
    guarded,
    limits,
    margin_here,
    recorded,
    recorded_here,
)
from tests.benchmarks.host import host
from tests.benchmarks.plan import JOBS

ROOT = Path(__file__).parents[2]
STEP = Ratio(name="step", cost="W1/agentflow/100", beside="W1/task/100")
GROWTH = Ratio(name="growth", cost="W1/agentflow/1000", beside="W1/agentflow/100", is_growth=True)


@pytest.mark.guard
@pytest.mark.timeout(600)
def test_no_cost_is_over_what_was_recorded() -> None:
    """Each cost beside its floor is within a third of what was recorded, and ten times the size costs no more a unit."""
    if not recorded_here():
        pytest.skip(f"no ratios are recorded for Python {sys.version_info.major}.{sys.version_info.minor}")

    # In a process of its own, whose heap is not that of the tests before.
    command = [sys.executable, "-m", "tests.benchmarks.guard", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert not done.returncode, done.stderr
    assert set(json.loads(done.stdout)) == {ratio.name for ratio in RATIOS}


def test_a_step_that_costs_two_fifths_more_is_told() -> None:
    """What is over its limit is named with the limit, the worst first; what is within is not."""
    allowed = limits([STEP, GROWTH], {"step": 5.0})
    assert allowed == pytest.approx({"step": 6.5, "growth": 1.56})
    assert excesses({"step": 5.0 * 1.29, "growth": 1.55}, allowed) == []

    found = excesses({"step": 5.0 * 1.4, "growth": 10.0}, allowed)
    assert [str(one) for one in found] == ["growth: 10.00, at most 1.56", "step: 7.00, at most 6.50"]


def test_on_another_processor_a_ratio_has_more_room() -> None:
    """A ratio may be twice what was recorded where that was on another processor; growth is held everywhere alike."""
    assert limits([STEP, GROWTH], {"step": 5.0}, ELSEWHERE) == pytest.approx({"step": 10.0, "growth": 1.56})
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert margin_here() == (
        MARGIN if host()["processor"] == recorded()["processors"].get(here) else ELSEWHERE
    )


def test_what_is_not_recorded_is_not_held() -> None:
    """A ratio without a record has no limit; growth has one always."""
    assert limits([STEP, GROWTH], {}) == pytest.approx({"growth": 1.56})
    assert excesses({"step": 99.0, "other": 99.0}, {"growth": 1.3}) == []


@pytest.mark.parametrize(
    ("figures", "counts"),
    [([7.0, 4.9], 4.9), ([7.0, 7.5, 5.0], 5.0), ([7.0, 7.5, 8.0], 7.0)],
    ids=["a moment's noise", "a longer one's", "it stays"],
)
def test_what_is_over_is_measured_again(
    figures: list[float], counts: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what was over is measured again, while it is, and the least figure counts."""
    asked: list[list[str]] = []

    def made_up(ratios: Sequence[Ratio], folder: Path) -> Mapping[str, float]:
        asked.append([ratio.name for ratio in ratios])
        return {"step": figures[len(asked) - 1], "growth": 1.0}

    monkeypatch.setattr(guard, "measured", made_up)
    found = guarded([STEP, GROWTH], {"step": 6.5, "growth": 1.3}, tmp_path)

    assert found == {"step": counts, "growth": 1.0}
    assert asked == [["step", "growth"], *[["step"]] * (len(figures) - 1)]


def test_ratios_are_of_jobs_that_there_are() -> None:
    """Each ratio names two jobs, and what is recorded are the ratios that are held to a record."""
    names = {job.name for job in JOBS}
    assert {job for ratio in RATIOS for job in (ratio.cost, ratio.beside)} <= names
    held = {ratio.name for ratio in RATIOS if not ratio.is_growth}
    assert all(set(ratios) == held for ratios in recorded()["ratios"].values())
    assert MARGIN == 0.3


def test_a_measured_ratio_is_of_this_run(tmp_path: Path) -> None:
    """A measured cost is a positive number beside its floor: a step of a workflow costs more than a task does."""
    assert guard.measured([STEP], tmp_path)["step"] > 1
