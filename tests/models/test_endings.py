"""Models that end: what is announced, what a server lists, and what is said of it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import agentflow
from agentflow.exceptions import ModelRefused, ModelTimeout, ModelUnreachable
from agentflow.models import endings
from agentflow.models.catalog import OPENAI_DEFAULT, ModelRef, parse
from agentflow.models.endings import Ending, ends, listed_endings, problem_of
from tests.models.openai_server import OpenAIServer

TODAY = date(2026, 11, 23)
DATA = Path(agentflow.__file__).parent / "data" / "model_endings.toml"


def groups() -> list[dict[str, Any]]:
    """The data as it stands in its file."""
    return list(tomllib.loads(DATA.read_text())["endings"])


def served(url: str, name: str = "scripted-1") -> ModelRef:
    """A model of a server of our own."""
    return ModelRef(provider="chat", name=name, base_url=url)


def test_a_model_that_ends_soon_is_found() -> None:
    """A model whose shutdown is announced is found with its date, replacement and source."""
    ending = ends("gpt-4o", TODAY)

    assert ending is not None
    assert (ending.model, ending.date, ending.replacement) == ("gpt-4o", date(2027, 1, 14), "gpt-6-luna")
    assert "OpenAI API deprecations" in ending.source
    assert ending.read_on <= TODAY


def test_only_what_is_near_or_past_counts() -> None:
    """An ending counts from `within_days` before its day, for ever after, and not before."""
    last = date(2027, 1, 14)

    assert ends("gpt-4o", last - timedelta(days=91)) is None
    assert ends("gpt-4o", last - timedelta(days=90)) is not None
    assert ends("gpt-4o", last - timedelta(days=8), within_days=7) is None
    assert ends("gpt-4o", last + timedelta(days=4000), within_days=0) is not None


def test_a_snapshot_has_its_own_row_before_its_family() -> None:
    """A dated version ends on its own day; one without a row ends with its family only where the source says so."""
    own, family = ends("gpt-4o-2024-05-13", TODAY), ends("o3-2099-01-01", TODAY)

    assert own is not None
    assert own.date == date(2026, 10, 23)
    assert family is not None
    assert (family.model, family.date) == ("o3-2099-01-01", date(2026, 12, 11))
    assert ends("gpt-4o-2099-01-01", TODAY) is None


def test_a_tuned_model_ends_with_its_base() -> None:
    """A model that was tuned from another ends with it where the source says so."""
    tuned = ends("ft:gpt-4o-mini-2024-07-18:acme::abc123", TODAY)

    assert tuned is not None
    assert tuned.date == date(2027, 1, 14)
    assert ends("ft:davinci-002:acme::abc123", TODAY) is None


@pytest.mark.parametrize("name", ["embedded", "scripted/gpt-4o", OPENAI_DEFAULT, "qwen3:4b", ""])
def test_other_models_do_not_end(name: str) -> None:
    """Nothing is said of models of which nothing is announced, nor of those that run in this process."""
    assert ends(name, TODAY) is None


def test_dates_hold_for_the_servers_of_who_announced_them() -> None:
    """A model ends at its own provider; another server may serve the same name for longer."""
    claude = "chat/claude-sonnet-4-5-20250929"
    gemini = parse("chat/models/gemini-2.5-pro@https://generativelanguage.googleapis.com/v1beta/openai", {})

    assert ends("claude-sonnet-4-5-20250929", TODAY) is not None
    assert ends(f"{claude}@https://api.anthropic.com/v1", TODAY) is not None
    assert ends(claude, TODAY) is None  # this is OpenAI's own server
    assert ends(gemini, TODAY) is not None
    assert ends("responses/gpt-4o", TODAY) is not None
    assert ends("chat/gpt-4o@http://127.0.0.1:8000/v1", TODAY) is None


def test_the_warning_says_when_and_what_instead() -> None:
    """The problem names the model, its day, the days left, the replacement and the source."""
    ending = ends("gpt-4o", TODAY)
    assert ending is not None
    problem = problem_of(ending, "step `write`", TODAY)

    assert (problem.code, problem.severity, problem.where) == ("AF170", "warning", "step `write`")
    assert problem.what == "`gpt-4o` is shut down on 2027-01-14 (52 days left); replacement `gpt-6-luna`"
    assert "read on 2026-10-28" in problem.hint


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (1, "is shut down on 2027-01-14 (1 day left)"),
        (0, "is shut down on 2027-01-14"),
        (-9, "was shut down"),
    ],
)
def test_the_warning_says_whether_it_is_past(days: int, text: str) -> None:
    """Before its day a model is said to end, and after it to have ended."""
    ending = Ending(model="m", date=date(2027, 1, 14), source="a list", read_on=TODAY)

    problem = problem_of(ending, "workflow `w`", ending.date - timedelta(days=days))
    assert text in problem.what
    assert "replacement" not in problem.what


def test_a_replacement_that_ends_as_well_is_followed() -> None:
    """Who moves to a replacement that has ended or will is told so, and where to go from there."""
    ending = ends("gpt-4.5-preview", TODAY)
    assert ending is not None

    what = problem_of(ending, "", TODAY).what
    assert what.endswith("replacement `gpt-4.1`, which ends on 2027-01-14, then `gpt-6-luna`")


def test_every_row_is_complete_and_alone() -> None:
    """Each row of the data has a known source and provider, no model has two, and none replaces itself."""
    data = tomllib.loads(DATA.read_text())
    rows = [(group["provider"], model) for group in groups() for model in group["models"]]

    assert len(rows) == len(set(rows)) > 150
    assert {provider for provider, _ in rows} == set(data["hosts"]) == {"openai", "anthropic", "google"}
    assert {group["source"] for group in groups()} == set(data["sources"])
    assert all(group.get("replacement") not in group["models"] for group in groups())
    assert all(source["page"] and source["read_on"] for source in data["sources"].values())


def test_every_model_of_the_data_can_be_told_of() -> None:
    """A warning can be made of each row, also where replacements are replaced in turn."""
    for model in (model for group in groups() for model in group["models"]):
        ending = ends(model, date(2030, 1, 1))
        assert ending is not None
        assert len(problem_of(ending, "", TODAY).what) < 300


async def test_a_server_lists_endings() -> None:
    """Days are read as text, with a time, and in seconds or milliseconds; what is no day is passed over."""
    listed = {
        "text": "2027-01-14",
        "time": "2027-01-14T00:00:00Z",
        "epoch": 1_799_884_800,
        "milliseconds": 1_799_884_800_000,
        "none": None,
        "word": "soon",
        "flag": True,
        "huge": 1e300,
    }
    with OpenAIServer(models=(*listed, "other"), shutdown_dates=listed) as server:
        found = await listed_endings(served(server.url), {}, TODAY)

    assert {name: ending.date for name, ending in found.items()} == dict.fromkeys(
        ["text", "time", "epoch", "milliseconds"], date(2027, 1, 14)
    )
    assert found["text"].source == f"the list of models at {server.url}"
    assert found["text"].read_on == TODAY


async def test_what_a_server_lists_goes_before_what_is_announced() -> None:
    """The server's own day counts, with the replacement that was announced."""
    with OpenAIServer(models=("gpt-4o",), shutdown_dates={"gpt-4o": "2026-12-24"}) as server:
        listed = await listed_endings(served(server.url, "gpt-4o"), {}, TODAY)

    here, openai = (
        ends(served(server.url, "gpt-4o"), TODAY, listed=listed),
        ends("gpt-4o", TODAY, listed=listed),
    )
    assert here is not None
    assert openai is not None
    assert (here.date, here.replacement) == (date(2026, 12, 24), None)
    assert (openai.date, openai.replacement) == (date(2026, 12, 24), "gpt-6-luna")


async def test_nothing_is_listed_in_this_process() -> None:
    """A model without a server needs no listing, no key and no connection."""
    assert await listed_endings(parse("embedded", {}), {}, TODAY) == {}


async def test_a_server_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not there, takes too long or wants a key is an error in words, with its address."""
    with OpenAIServer() as gone:
        pass

    with pytest.raises(ModelUnreachable, match="the list of models at http://127"):
        await listed_endings(served(gone.url), {}, TODAY)

    with pytest.raises(ModelRefused, match="OPENAI_API_KEY"):
        await listed_endings(parse("gpt-4o", {}), {}, TODAY)

    monkeypatch.setattr(endings, "_TIMEOUT", 0.05)
    with OpenAIServer(listing_delay=20) as slow:
        with pytest.raises(ModelTimeout, match="the list of models"):
            await listed_endings(served(slow.url), {}, TODAY)

        slow.closing.set()


def test_importing_reads_no_data_and_no_client() -> None:
    """The module is light: its data and the client are loaded where they are used."""
    code = (
        "import sys, agentflow.models.endings as e; "
        "print('openai' in sys.modules, 'tomllib' in sys.modules, e._data.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False", "0"]
