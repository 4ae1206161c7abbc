"""Computer use: a Chromium that reaches only what its policy names, steered by references or by a fixed policy."""

from agentflow.toolkit.browser.actions import browser_tools
from agentflow.toolkit.browser.browse import Browse
from agentflow.toolkit.browser.chromium import find_chromium
from agentflow.toolkit.browser.computer import computer_tool
from agentflow.toolkit.browser.folders import Kept
from agentflow.toolkit.browser.pages import Tab, Visit
from agentflow.toolkit.browser.process import Browser, run_browser
from agentflow.toolkit.browser.reach import Reach
from agentflow.toolkit.browser.session import BrowserSession
from agentflow.toolkit.browser.snapshot import Link
from agentflow.toolkit.browser.tables import Table

__all__ = [
    "Browse",
    "Browser",
    "BrowserSession",
    "Kept",
    "Link",
    "Reach",
    "Tab",
    "Table",
    "Visit",
    "browser_tools",
    "computer_tool",
    "find_chromium",
    "run_browser",
]
