"""Web tools of this project: who is asked, in which order, and what may be fetched."""

from __future__ import annotations

from pathlib import Path

from agentflow.evidence import Evidence
from agentflow.toolkit.web import PageReader, TimeRange, WebSearch
from agentflow.tools import tool

ROOT = Path(__file__).resolve().parents[1]
# Each is asked only where it is set up: SEARXNG_URL, BRAVE_API_KEY, TAVILY_API_KEY; `ddgs` needs nothing.
_search = WebSearch(providers=["searxng", "brave", "tavily", "ddgs"])
_read = PageReader(folder=ROOT / "traces" / "cache" / "pages")


@tool(effect="read", returns="untrusted", outside=True, timeout=20, concurrency=4)
async def web_search(
    query: str, max_results: int = 5, time_range: TimeRange | None = None, news: bool = False
) -> list[Evidence]:
    """Search the public web and return ranked passages.

    `time_range` leaves out what is older than a day, week, month or year. `news` searches newspapers and the like.
    """
    return await _search(query, max_results=max_results, time_range=time_range, news=news)


@tool(effect="read", returns="untrusted", outside=True, timeout=20, retries=1, concurrency=8)
async def fetch_page(url: str, max_age: int = 3600) -> list[Evidence]:
    """Fetch one public web page or document, given its full http or https address, and return its text in passages.

    `max_age` is how many seconds old a copy may be that was kept from an earlier fetch; 0 fetches anew.
    """
    return await _read(url, max_age=max_age)
