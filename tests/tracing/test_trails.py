"""`audit export`, `trace open` and `trace pull`: to a collector, to a file, and back from Jaeger."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Generator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentflow import Settings, run
from agentflow.cli.commands import app
from agentflow.exceptions import ProjectError, UnknownName
from agentflow.journal.sqlite import SqliteJournal
from agentflow.tracing.ids import hex_trace_id
from agentflow.tracing.received import read_file
from agentflow.tracing.spans import spans_of
from tests.tracing.fake_jaeger import FakeJaeger
from tests.tracing.workflows import counting


@pytest.fixture
def jaeger() -> Generator[FakeJaeger]:
    jaeger = FakeJaeger()
    yield jaeger
    jaeger.close()


@pytest.fixture
def counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A journal with two runs, in the current folder; gives the number of spans of each."""
    monkeypatch.chdir(tmp_path)

    async def made() -> dict[str, int]:
        journal = SqliteJournal(tmp_path / "traces" / "journal.db")
        for name in ("r1", "r2"):
            await run(counting, "me@example.org b", run_id=name, settings=Settings(journal=journal)).result()

        counts = {name: len(spans_of(await journal.read(name))) for name in ("r1", "r2")}
        await journal.close()
        return counts

    return asyncio.run(made())


def called(*arguments: str) -> tuple[int, str]:
    """The exit code of a command and what it printed; raises what it raises."""
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception

    return result.exit_code, result.stdout


def test_a_run_goes_to_a_collector_and_comes_back_from_jaeger(
    jaeger: FakeJaeger, counts: dict[str, int]
) -> None:
    """What is exported is what is pulled, and verifies; a second export is the same."""
    code, said = called("audit", "export", "r1", "--otlp", jaeger.url, "--content", "full", "--json")
    told = json.loads(said)
    assert (code, told["ok"], told["runs"][0]["spans"]) == (0, True, counts["r1"])
    called("audit", "export", "r1", "--otlp", jaeger.url, "--content", "full")
    assert len({span.SerializeToString(deterministic=True) for _, _, span in jaeger.spans}) == counts["r1"]
    del jaeger.spans[counts["r1"] :]

    assert called("trace", "pull", "r1", "--jaeger", jaeger.url, "-o", "r1.json")[0] == 0
    assert len(read_file(Path("r1.json").read_text())) == counts["r1"]
    assert called("audit", "verify", "r1", "--file", "r1.json")[0] == 0
    code, document = called("trace", "pull", hex_trace_id("r1"), "--jaeger", jaeger.url)
    assert len(read_file(document)) == counts["r1"]


def test_all_runs_go_into_a_file_that_others_may_not_read(counts: dict[str, int]) -> None:
    """One document a line; at each level of content the file holds no more than that allows."""
    for level, is_told in (("full", True), ("redacted", False), ("digests", False), ("none", False)):
        assert called("audit", "export", "--all", "--file", "all.jsonl", "--content", level)[0] == 0
        text = Path("all.jsonl").read_text()
        assert len(text.splitlines()) == 2
        assert len(read_file(text)) == sum(counts.values())
        assert ("me@example.org" in text) is is_told

    assert stat.S_IMODE(Path("all.jsonl").stat().st_mode) == 0o600


def test_only_what_is_owed_is_sent_where_that_is_asked(jaeger: FakeJaeger, counts: dict[str, int]) -> None:
    """A collector that has a run is sent nothing of it again, and a run that it was never to get is none of its business."""
    called("audit", "export", "r1", "--otlp", jaeger.url)
    del jaeger.spans[:]
    assert json.loads(called("audit", "export", "--pending", "--otlp", jaeger.url, "--json")[1])["runs"] == []
    assert called("audit", "export", "r1", "--otlp", "http://127.0.0.1:9")[0] == 1
    assert jaeger.spans == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--otlp", "http://x"], "which runs"),
        (["r1", "--all"], "which runs"),
        (["r1"], "no collector is named"),
        (["r1", "--file", "f", "--otlp", "http://x"], "a file and a collector"),
        (["r1", "--otlp", "x:4318"], "no address"),
        (["r1", "--file", "no/where"], "cannot be written"),
        (["r1", "--file", "f", "--content", "some"], "no level of content"),
    ],
)
def test_an_export_that_cannot_be_is_refused(counts: dict[str, int], arguments: list[str], why: str) -> None:
    """What is missing, contradicts itself or cannot be is said before anything is sent."""
    with pytest.raises(ProjectError, match=why):
        called("audit", "export", *arguments)


def test_the_page_of_a_run_is_found_by_its_name(
    counts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is made from the option, the environment, the settings or this machine, in this order."""
    page = f"/trace/{hex_trace_id('r1')}"
    assert called("trace", "open", "r1")[1].strip() == f"http://localhost:16686{page}"
    Path("pyproject.toml").write_text('[tool.agentflow]\njaeger = "https://jaeger.example/"\n')
    assert called("trace", "open", "r1")[1].strip() == f"https://jaeger.example{page}"
    monkeypatch.setenv("AGENTFLOW_JAEGER", "http://env:1/base")
    assert called("trace", "open", "r1")[1].strip() == f"http://env:1/base{page}"
    assert called("trace", "open", "r1", "--jaeger", "http://a")[1].strip() == f"http://a{page}"
    with pytest.raises(UnknownName):
        called("trace", "open", "r9")

    with pytest.raises(ProjectError, match="no address of Jaeger"):
        called("trace", "open", "r1", "--jaeger", "localhost")
