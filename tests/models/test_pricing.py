"""Prices that a project gives, and the list that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentflow.exceptions import ProjectError
from agentflow.models.catalog import parse
from agentflow.models.pricing import Price, cost_usd, is_priced, price_of
from agentflow.project import Project, find_project

USAGE = {"requests": 1, "input_tokens": 1_000_000, "output_tokens": 500_000, "cached_tokens": 999}
LOCAL = "chat/mine@http://127.0.0.1:1/v1"


@pytest.mark.parametrize("key", [LOCAL, LOCAL + "/", "chat/mine", "mine"])
def test_a_given_price_counts_by_each_name_of_the_model(key: str) -> None:
    """The whole reference, the reference without its address, and the bare name all mean the model."""
    prices = {key: Price(input=1, output=4)}
    assert cost_usd(LOCAL, USAGE, prices) == 3.0
    assert cost_usd(parse(LOCAL, {}), USAGE, prices) == 3.0
    assert is_priced(LOCAL, prices)
    assert not is_priced(LOCAL)


def test_the_most_exact_name_counts() -> None:
    """A model that is served at two addresses may cost two prices."""
    prices = {"mine": Price(input=1, output=1), LOCAL: Price(input=2, output=2)}
    assert price_of(LOCAL, prices)(1_000_000, 0) == 2.0
    assert price_of("chat/mine@http://other/v1", prices)(1_000_000, 0) == 1.0


def test_given_prices_go_before_the_list() -> None:
    """A contract of one's own replaces the list's price; other models keep theirs."""
    prices = {"gpt-4o": Price(input=0, output=0)}
    assert cost_usd("responses/gpt-4o", USAGE, prices) == 0.0
    assert cost_usd("gpt-4o", USAGE, prices) == 0.0
    assert cost_usd("gpt-4o-mini", USAGE, prices) == cost_usd("gpt-4o-mini", USAGE) != 0.0


def test_models_of_this_process_cost_nothing_unless_told() -> None:
    """The embedded model and doubles are free, until a project wants to see a bill."""
    for name in ("embedded", "scripted/m"):
        assert cost_usd(name, USAGE) == 0.0
        assert is_priced(name)

    assert cost_usd("scripted/m", USAGE, {"m": Price(input=1, output=0)}) == 1.0
    assert cost_usd("embedded", USAGE, {"embedded": Price(input=1, output=0)}) == 1.0


def test_a_project_gives_prices_in_its_settings(tmp_path: Path) -> None:
    """They stand in a table of pyproject.toml, by model."""
    text = '[tool.agentflow.prices]\n"my-model" = { input = 0.2, output = 1 }\n'
    (tmp_path / "pyproject.toml").write_text(text)
    assert find_project(tmp_path).prices == {"my-model": Price(input=0.2, output=1.0)}
    assert Project(root=tmp_path).prices == {}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (3, "is no table of prices"),
        ({"m": 3}, "the price of `m` is `3`"),
        ({"m": {"input": 1}}, "the price of `m` has no `output`"),
        ({"m": {"input": 1, "output": 1, "cached": 1}}, "unknown part `cached`"),
        ({"m": {"input": "1", "output": 1}}, "`input` is `'1'`, which is no number"),
        ({"m": {"input": True, "output": 1}}, "which is no number"),
        ({"m": {"input": -1, "output": 1}}, "`input` is -1; a price is 0 or more"),
        ({"m": {"input": 1, "output": float("inf")}}, "a price is 0 or more"),
    ],
)
def test_what_is_no_price_is_refused(table: Any, says: str) -> None:
    """The error names the file, the model and the part, and shows how a price is written."""
    project = Project(root=Path("/somewhere"), settings={"prices": table})
    with pytest.raises(ProjectError, match=r"pyproject\.toml") as caught:
        _ = project.prices

    assert says in str(caught.value)
    assert "per million tokens" in caught.value.hint
