"""MiniWoB++ tasks done through the tools of the browser, by policies that know elements by their references alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentflow.toolkit.browser import Browser
from tests.miniwob.desk import Office, office, pages, served
from tests.miniwob.policies import POLICIES

pytestmark = pytest.mark.asyncio(loop_scope="module")
WANTED = 60
# They wait for what moves or take many actions; they are done with the long tests.
LONG = {
    "book-flight",
    "book-flight-nodelay",
    "button-delay",
    "choose-date",
    "choose-date-medium",
    "choose-date-nodelay",
    "click-collapsible-2",
    "click-menu-2",
    "click-tab-2-hard",
    "number-checkboxes",
    "order-food",
    "stock-market",
    "terminal",
    "use-slider-2",
}
TASKS = [pytest.param(task, marks=pytest.mark.slow) if task in LONG else task for task in POLICIES]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desks() -> AsyncIterator[Office]:
    with served() as reach:
        async with Browser(reach) as browser, office(browser) as made:
            yield made


@pytest.mark.parametrize("task", TASKS)
async def test_a_task_is_done(desks: Office, task: str) -> None:
    """The task, as the first seed makes it, says that it was done right."""
    desk = await desks.desk(task, 1)
    await POLICIES[task](desk)
    assert await desks.is_solved(), desk.goal


async def test_there_are_policies_for_as_many_tasks_as_promised() -> None:
    """At least 60 tasks have a policy, and each of them is a task of the package."""
    tasks = {path.stem for path in (pages() / "miniwob").glob("*.html")}
    assert len(tasks) == 130
    assert set(POLICIES) <= tasks
    assert len(POLICIES) - len(LONG) >= WANTED
