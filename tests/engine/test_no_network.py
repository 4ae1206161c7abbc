"""The tests' own guard: nothing beyond this machine is reached, and nothing from outside is read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import guarded


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("203.0.113.1", 80)),
        (socket.AF_INET, ("example.org", 443)),
        (socket.AF_INET6, ("2001:db8::1", 80, 0, 0)),
    ],
)
def test_other_machines_cannot_be_reached(family: socket.AddressFamily, address: Any) -> None:
    """Connecting or sending to another machine is refused by name, and remembered for the end of the test."""
    refused: list[str] = []
    connect: Callable[..., Any] = guarded(socket.socket.connect, refused)
    with (
        socket.socket(family) as client,
        pytest.raises(OSError, match="tests may reach this machine only, not"),
    ):
        connect(client, address)

    assert refused == [f"{address[0]}:{address[1]}"]


def test_this_machine_can_be_reached() -> None:
    """Servers on the loopback, and sockets in the file system, are there for the tests."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        client.sendall(b"x")

    first, second = socket.socketpair()
    first.close()
    second.close()


def test_nothing_from_outside_is_read(some_home: Path) -> None:
    """Settings of whoever runs the tests are gone, and the home folder is an empty one."""
    assert not [name for name in os.environ if name.startswith(("AGENTFLOW_", "OPENAI_", "OTEL_"))]
    assert Path.home() == some_home
