"""Web tools of this project: who is asked, and what may be fetched."""

from __future__ import annotations

from agentflow.evidence import Evidence
from agentflow.toolkit.web import PageReader, WebSearch
from agentflow.tools import tool

_search = WebSearch(providers=["searxng", "ddgs"])
_read = PageReader()


@tool(effect="read", returns="untrusted", outside=True, timeout=20)
async def web_search(query: str, max_results: int = 5) -> list[Evidence]:
    """Search the public web and return ranked passages."""
    return await _search(query, max_results=max_results)


@tool(effect="read", returns="untrusted", outside=True, timeout=20)
async def fetch_page(url: str) -> list[Evidence]:
    """Fetch one public web page, given its full http or https address, and return its text in passages."""
    return await _read(url)
