"""What the sample workflows leave running, stopped with the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def _no_shop_left() -> Iterator[None]:
    """The sample shop that the browser tools started serves until its process ends; a test run ends sooner."""
    yield
    from tools import browser

    while browser._shops:
        browser._shops.pop().stop()
