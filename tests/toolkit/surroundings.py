"""What there is around a sandbox for a program to reach: a file with a secret, and servers that count who comes."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentflow.toolkit.sandbox.calls import _CLONE3, _REFUSED

SECRET = "xyzzy-4711-canary"
VARIABLE = "AGENTFLOW_CANARY"


@dataclass(frozen=True, slots=True)
class World:
    """What a program could reach if it got out; `touched` says what of it was."""

    folder: Path
    canary: Path
    sockets: dict[str, socket.socket]
    variables: dict[str, Any]

    def touched(self) -> list[str]:
        """What is not as it was: the file, its folder, the servers, shared memory."""
        found = [] if self.canary.read_text() == f"SECRET = {SECRET!r}\n" else ["the canary"]
        found += [f"`{p.name}`" for p in self.folder.iterdir() if p.name not in {"canary.py", "socket"}]
        found += [name for name, one in self.sockets.items() if _was_asked(one)]
        return found + [p for p in ("/dev/shm/agentflow-canary", "/tmp/evil.txt") if Path(p).exists()]


def _was_asked(one: socket.socket) -> bool:
    with suppress(BlockingIOError):
        if one.type == socket.SOCK_DGRAM:
            one.recv(1)
        else:
            one.accept()[0].close()

        return True

    return False


@contextmanager
def world(folder: Path) -> Generator[World]:
    """A canary file, and servers of all kinds that count who comes."""
    canary = folder / "canary.py"
    canary.write_text(f"SECRET = {SECRET!r}\n")
    abstract = f"agentflow-canary-{os.getpid()}"
    sockets = {
        "TCP": socket.create_server(("127.0.0.1", 0)),
        "UDP": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "local": socket.socket(socket.AF_UNIX),
        "abstract": socket.socket(socket.AF_UNIX),
    }
    port = sockets["TCP"].getsockname()[1]
    sockets["UDP"].bind(("127.0.0.1", port))
    sockets["local"].bind(str(folder / "socket"))
    sockets["abstract"].bind("\0" + abstract)
    for name, one in sockets.items():
        one.setblocking(False)
        if name != "UDP":
            one.listen()

    column = 0 if os.uname().machine == "x86_64" else 1
    numbers = {name: found[column] for name, found in {**_REFUSED, "clone3": _CLONE3}.items()}
    variables = {
        "canary": str(canary),
        "folder": str(folder),
        "port": port,
        "abstract": abstract,
        "path": str(folder / "socket"),
        "pid": os.getpid(),
        "project": str(Path(__file__).parents[2]),
        "numbers": numbers,
    }
    try:
        yield World(folder, canary, sockets, variables)
    finally:
        for one in sockets.values():
            one.close()
