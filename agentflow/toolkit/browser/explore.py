"""Walking a site towards a task: the pages most like it first, to a small depth, within one host."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from urllib.parse import unquote, urldefrag, urlsplit

from agentflow.exceptions import ToolError
from agentflow.toolkit.browser.pages import Visit
from agentflow.toolkit.browser.passages import Passage, passages_of
from agentflow.toolkit.browser.relevance import Relevance
from agentflow.toolkit.browser.session import BrowserSession
from agentflow.toolkit.browser.snapshot import Link, Node, links_of, parse

# Some sites change things on a mere GET: what sounds like doing something is not followed.
_ACTS = re.compile(
    r"(?i)log.?out|sign.?out|delete|remove|unsubscribe|add.to.(cart|basket)|\bbuy\b|\bcheckout\b"
)
# Pages of this kind answer questions whose words their link does not hold.
_ANSWERS = re.compile(r"(?i)\b(faq|questions|help|support|info(rmation)?|about|terms|policy|contact)\b")
_ANSWERS_BONUS = 0.06
_MOST_LINKS = 40
_DEEPER = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """A page that was read."""

    visit: Visit
    root: Node
    passages: tuple[Passage, ...]


@dataclass(slots=True)
class _Frontier:
    """Addresses that are known and not visited, with score and depth."""

    waiting: dict[str, tuple[float, int]] = field(default_factory=dict[str, tuple[float, int]])
    seen: set[str] = field(default_factory=set[str])

    def add(self, url: str, score: float, depth: int) -> None:
        known = self.waiting.get(url)
        if url not in self.seen and (known is None or known[0] < score):
            self.waiting[url] = (score, depth)

    def take(self) -> tuple[str, int]:
        url = max(self.waiting, key=lambda u: self.waiting[u][0])
        _, depth = self.waiting.pop(url)
        self.seen.add(url)
        return url, depth


async def explore(
    session: BrowserSession, url: str, relevance: Relevance, *, depth: int, pages: int
) -> AsyncGenerator[PageView]:
    """Yield the page at `url`, then others of its host; the session stands on the page that was yielded last.

    Raises `ToolError` if the first page cannot be read; others that cannot are left out.
    """
    frontier = _Frontier()
    view = await read(session, url)
    frontier.seen |= {_bare(url), _bare(view.visit.url)}
    await _widen(frontier, view, relevance, 1, depth)
    yield view
    for _ in range(pages - 1):
        if not frontier.waiting:
            return

        target, level = frontier.take()
        try:
            view = await read(session, target)
        except ToolError:
            continue  # one page fewer; the others may still answer

        frontier.seen.add(_bare(view.visit.url))
        await _widen(frontier, view, relevance, level + 1, depth)
        yield view


async def read(session: BrowserSession, url: str) -> PageView:
    """Open `url` and read it; raises `ToolError` if the site answers with an error."""
    visit = await session.open(url)
    if visit.status >= 400:
        raise ToolError(f"`{url}` answered with the status {visit.status}", hint="check the address")

    return await look(session, visit)


async def look(session: BrowserSession, visit: Visit) -> PageView:
    """The page that the session stands on."""
    root = parse(await session.snapshot())
    return PageView(visit=visit, root=root, passages=tuple(passages_of(root)))


async def _widen(frontier: _Frontier, view: PageView, relevance: Relevance, level: int, depth: int) -> None:
    """Add the links of a page to what may be visited next."""
    if level > depth:
        return

    links = [link for link in links_of(view.root, view.visit.url) if _may_follow(link, view.visit.url)]
    fresh = [link for link in links if _bare(link.url) not in frontier.seen][:_MOST_LINKS]
    lexical = relevance.lexical(
        [(f"{link.text} {_path(link.url)}", link.around) for link in fresh], answers=False
    )
    alike = await relevance.alike([link.text for link in fresh])
    for link, score, near in zip(fresh, lexical, alike, strict=True):
        total = score + near + (_ANSWERS_BONUS if _ANSWERS.search(link.text) else 0.0)
        # Links that seem to have nothing to do with the task are followed last, in the order of the page.
        frontier.add(_bare(link.url), total * _DEEPER ** (level - 1), level)


def _may_follow(link: Link, base: str) -> bool:
    return urlsplit(link.url).netloc == urlsplit(base).netloc and not _ACTS.search(f"{link.text} {link.url}")


def _bare(url: str) -> str:
    return urldefrag(url).url


def _path(url: str) -> str:
    return unquote(urlsplit(url).path).replace("-", " ").replace("/", " ")
