"""Name lookups with a time limit, which the resolver of the operating system does not have."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Thread
from typing import Any

Resolver = Callable[..., Iterable[Any]]
"""The shape of `socket.getaddrinfo`."""


def bounded(resolver: Resolver | None, seconds: float) -> Resolver:
    """`resolver` (default: the system's) that raises `socket.gaierror` after `seconds` without an answer."""

    def lookup(host: str, *rest: Any) -> Iterable[Any]:
        answer: Future[Iterable[Any]] = Future()
        # A lookup cannot be cancelled; a daemon thread at least does not hold up the end of the process.
        Thread(target=_settle, args=(answer, resolver, host, rest), daemon=True).start()
        try:
            return answer.result(seconds)
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, f"no answer for `{host}` within {seconds:g} s") from None

    return lookup


def _settle(
    answer: Future[Iterable[Any]], resolver: Resolver | None, host: str, rest: tuple[Any, ...]
) -> None:
    try:
        answer.set_result((resolver or socket.getaddrinfo)(host, *rest))
    except (OSError, ValueError) as error:
        answer.set_exception(error)
