"""No way to the network for what runs inside: a run that is executed again must not reach out, whatever its steps' code does."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from agentflow.exceptions import NetworkUnavailable


class NetworkRefused(NetworkUnavailable, OSError):
    """Raised when code reaches for the network where that is refused; those who open sockets close them on an `OSError`."""


_is_refused: ContextVar[bool] = ContextVar("agentflow_no_network", default=False)
_GUARDED = ("connect", "connect_ex", "sendto")
_users = 0


@contextmanager
def no_network() -> Generator[None, None, None]:
    """Refuse connections of this context and of the tasks and threads begun in it; other ones go on as they were."""
    global _users
    if not _users:
        for name in _GUARDED:
            setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))

    _users += 1
    token = _is_refused.set(True)
    try:
        yield
    finally:
        _is_refused.reset(token)
        _users -= 1
        if not _users:
            for name in _GUARDED:
                setattr(socket.socket, name, getattr(socket.socket, name).unguarded)


def _guarded(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: socket.socket, *arguments: Any) -> Any:
        if _is_refused.get() and self.family in (socket.AF_INET, socket.AF_INET6):
            raise NetworkRefused(
                f"{arguments[-1]} is not reached while a run is executed again",
                hint="let a tool reach it: what a tool gave is served from the record",
            )

        return real(self, *arguments)

    call.unguarded = real  # type: ignore[attr-defined]
    return call
