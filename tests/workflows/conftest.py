"""What the sample workflows leave running, stopped with the tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import NoReturn

import pytest

from agentflow.toolkit.web import WebSearch


@pytest.fixture(scope="package", autouse=True)
def _no_shop_left() -> Iterator[None]:
    """The sample shop that the browser tools started serves until its process ends; a test run ends sooner."""
    yield
    from tools import browser

    while browser._shops:
        browser._shops.pop().stop()


@pytest.fixture(autouse=True)
def _no_web(monkeypatch: pytest.MonkeyPatch) -> None:
    """The web cannot be reached, wherever these tests run: no name is found."""
    from tools import web

    def unknown(host: str, *_: object) -> NoReturn:
        raise socket.gaierror(f"{host} is not known")

    monkeypatch.setattr(web, "_search", WebSearch(providers=["ddgs"], resolver=unknown))
