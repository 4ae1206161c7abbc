"""What holds for every test: no network beyond this machine, no settings from outside, and a home of its own."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SETTINGS = ("AGENTFLOW_", "OPENAI_", "OTEL_")


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
