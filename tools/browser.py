"""Browser tools of this project: they see the sample shop and nothing else, and a person approves what is sent."""

from __future__ import annotations

import atexit
import threading

from agentflow.evidence import Evidence
from agentflow.toolkit.browser import Browse, BrowserSession, Reach, browser_tools, run_browser
from agentflow.tools import tool
from workflows.samples.shop.server import Shop, start

_shops: list[Shop] = []
_starting = threading.Lock()


def shop() -> Shop:
    """The sample shop of this process, started at the first use."""
    with _starting:
        if not _shops:
            _shops.append(start())
            atexit.register(_shops[0].stop)

        return _shops[0]


REACH = Reach(hosts=frozenset(), sites={"shop.localhost": lambda: shop().port})
_browse = Browse(REACH)
_submit = Browse(REACH, depth=0)  # the form that was approved is on this page and no other


@tool(effect="read", returns="untrusted", timeout=90)
async def browse(task: str, url: str, values: dict[str, str] | None = None) -> list[Evidence]:
    """Look something up on a web site, starting at a page of it, or fill a form in without sending it.

    `values` are what to fill in, by the labels of the form. The shop is at http://shop.localhost/.
    """
    return await _browse(task, url, values)


@tool(effect="write", returns="untrusted", needs_approval=True, timeout=90)
async def submit_form(url: str, values: dict[str, str]) -> list[Evidence]:
    """Fill in the form on a page, by its labels, and send it. Returns what the site answers."""
    return await _submit("the answer to the form", url, values, submit=True)


# Steered step by step, the browser sends only what a person has seen and approved, request by request.
actions = browser_tools(lambda: BrowserSession(run_browser(REACH), writes="ask"))
