"""What holds for every test: no network beyond this machine, no settings from outside, a home of its own; runs replay."""

from __future__ import annotations

import ipaddress
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentflow.journal.database import Database
from tests import replaying

SETTINGS = ("AGENTFLOW_", "OPENAI_", "OTEL_")
REPLAYS = pytest.StashKey[list[int]]()


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of whoever runs the tests have no say in them."""
    for name in [name for name in os.environ if name.startswith(SETTINGS)]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def some_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home folder for the whole session."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def no_home(some_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written to the home folder goes elsewhere."""
    monkeypatch.setenv("HOME", str(some_home))
    for name, folder in (
        ("CACHE", ".cache"),
        ("CONFIG", ".config"),
        ("DATA", ".local/share"),
        ("STATE", ".local/state"),
    ):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(some_home / folder))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that connects to another machine fails, also where the code under test swallows the error."""
    refused: list[str] = []
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name), refused))

    yield
    assert not refused, f"the test tried to reach {', '.join(refused)}; only this machine may be reached"


def guarded(real: Callable[..., Any], refused: list[str]) -> Callable[..., Any]:
    """A socket's method that refuses other machines, and keeps whom it refused."""

    def call(self: socket.socket, *arguments: Any) -> Any:
        # `sendto` takes flags before the address.
        address = arguments[-1]
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(str(address[0])):
            refused.append(f"{address[0]}:{address[1]}")
            raise OSError(f"tests may reach this machine only, not {address[0]}:{address[1]}")

        return real(self, *arguments)

    return call


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

    return address.is_loopback or address.is_unspecified


@pytest.fixture(autouse=True)
def no_journal_stays_open() -> Iterator[None]:
    """What a test left open of journals is closed when it is over, not when it is collected in the middle of another one."""
    opened: list[sqlite3.Connection] = []
    connect = Database._connect

    def noted(file: Database, place: str) -> None:
        connect(file, place)
        opened.append(file.connection)

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(Database, "_connect", noted)
        yield

    for connection in opened:
        connection.close()


@pytest.fixture(autouse=True)
def every_run_replays(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    no_settings_from_outside: None,
    no_journal_stays_open: None,
) -> Iterator[None]:
    """The runs that a test made go the same way again when they are executed from their records."""
    name = request.node.originalname or request.node.name
    folder = request.path.relative_to(Path(__file__).parent).parts[0]
    if folder not in replaying.FOLDERS or name in replaying.EXCEPTIONS:
        yield
        return

    with pytest.MonkeyPatch.context() as patching:
        found = replaying.collect(patching)
        yield

    for known in replaying.chosen(found):
        came = replaying.replayed(known, monkeypatch)
        assert came.divergence is None, (
            f"run `{came.run_id}` of this test went another way: {came.divergence}"
        )
        request.config.stash.setdefault(REPLAYS, []).append(len(came.events))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how many runs were replayed."""
    if counts := config.stash.get(REPLAYS, []):
        terminalreporter.write_line(f"{len(counts)} runs of {sum(counts)} events were replayed, all the same")
