"""What tests of tools share: a web server on this machine, and no keys or proxies from outside."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.toolkit.hostile_urls import Ground, ground
from tests.toolkit.sites import Site

_SETTINGS = ("SEARXNG_URL", "BRAVE_API_KEY", "TAVILY_API_KEY", "DDGS_PROXY")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="module")
def shared_field() -> Iterator[Ground]:
    """Servers that must see nothing, and one that may, for all tests of a module."""
    with ground() as made:
        yield made


@pytest.fixture
def field(shared_field: Ground) -> Ground:
    """Servers that have seen nothing yet."""
    shared_field.seen.clear()
    shared_field.asked.clear()
    return shared_field


@pytest.fixture
def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]

    return port


@pytest.fixture(autouse=True)
def no_settings_of_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and proxies of whoever runs the tests have no say in them."""
    for name in (*_SETTINGS, *_PROXIES, *map(str.upper, _PROXIES)):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
