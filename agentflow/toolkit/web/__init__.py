"""Web search and page fetch: what is found there is evidence, and never trusted."""

from agentflow.toolkit.web.brave import Brave
from agentflow.toolkit.web.page import PageReader, fetch_page
from agentflow.toolkit.web.provider import Hit, Provider, Query, SafeSearch, TimeRange
from agentflow.toolkit.web.search import WebSearch
from agentflow.toolkit.web.searxng import SearXng
from agentflow.toolkit.web.tavily import Tavily

__all__ = [
    "Brave",
    "Hit",
    "PageReader",
    "Provider",
    "Query",
    "SafeSearch",
    "SearXng",
    "Tavily",
    "TimeRange",
    "WebSearch",
    "fetch_page",
]
