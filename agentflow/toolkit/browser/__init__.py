"""Computer use: a Chromium that reaches only what its policy names, steered by references or by a fixed policy."""

from agentflow.toolkit.browser.actions import browser_tools
from agentflow.toolkit.browser.browse import Browse
from agentflow.toolkit.browser.chromium import find_chromium
from agentflow.toolkit.browser.process import Browser, run_browser
from agentflow.toolkit.browser.reach import Reach
from agentflow.toolkit.browser.session import BrowserSession, Visit
from agentflow.toolkit.browser.snapshot import Link

__all__ = [
    "Browse",
    "Browser",
    "BrowserSession",
    "Link",
    "Reach",
    "Visit",
    "browser_tools",
    "find_chromium",
    "run_browser",
]
