"""Web search and page fetch: what is found there is evidence, and never trusted."""

from agentflow.toolkit.web.page import PageReader, fetch_page
from agentflow.toolkit.web.search import WebSearch

__all__ = ["PageReader", "WebSearch", "fetch_page"]
