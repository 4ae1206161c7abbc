"""A sub-agent for the web that needs no language model: it reads towards a task, or fills the form that fits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from agentflow.context import current
from agentflow.evidence import Evidence
from agentflow.exceptions import ToolError
from agentflow.toolkit.browser.explore import PageView, explore, look, read
from agentflow.toolkit.browser.filling import fill_in, read_back, send, to_be_sent
from agentflow.toolkit.browser.forms import Match, best_match, forms_of, pairs_in
from agentflow.toolkit.browser.passages import Passage
from agentflow.toolkit.browser.process import Browser, run_browser
from agentflow.toolkit.browser.reach import Reach
from agentflow.toolkit.browser.relevance import Relevance
from agentflow.toolkit.browser.session import BrowserSession

_SHORTLIST = 24
_SAID = 6
_NEAR_BEST = 0.35  # a passage that scores less than this share of the best one is noise beside it


@dataclass(frozen=True, slots=True)
class _Found:
    """A passage on the page that it was found on."""

    passage: Passage
    view: PageView

    @property
    def place(self) -> str:
        return self.passage.place or self.view.visit.title


class Browse:
    """`browse(task, url)` returns the passages most like the task from `url` and the pages around it.

    With `values`, or `name: value` pairs in the task that fit a form on the page, it fills that form in, and
    sends it only when called with `submit=True`; without, no request leaves that could change anything. Called so, the
    values count as approved: a form with these and no others is sent, for any other a person is asked about all of it.
    Given a `Reach`, it uses the browser that the run keeps for it; given a `Browser`, that one.
    """

    def __init__(
        self,
        where: Reach | Browser,
        *,
        depth: int = 2,
        pages: int = 6,
        results: int = 5,
        meaning: bool | None = None,
    ) -> None:
        self._where = where
        self._depth = depth
        self._pages = pages
        self._results = results
        self._meaning = meaning

    async def __call__(
        self, task: str, url: str, values: Mapping[str, str] | None = None, *, submit: bool = False
    ) -> list[Evidence]:
        """Evidence from the site at `url`, best first; raises a `ToolError` that says what went wrong."""
        relevance = Relevance(task, meaning=self._meaning)
        async with self._session(may_send=submit) as session:
            if values:
                view, match = await self._form(session, url, values, relevance)
                return await self._use(session, view, match, submit=submit)

            pairs = pairs_in(task)
            if pairs:
                view = await read(session, url)
                spelled_out = best_match(forms_of(view.root), pairs)
                if spelled_out:
                    return await self._use(session, view, spelled_out, submit=submit)

            return await self._read(session, url, relevance)

    @asynccontextmanager
    async def _session(self, *, may_send: bool) -> AsyncGenerator[BrowserSession]:
        browser = run_browser(self._where) if isinstance(self._where, Reach) else self._where
        try:
            async with BrowserSession(browser, writes="ask" if may_send else "refuse") as session:
                yield session
        finally:
            # Outside of a run nobody else would end a browser that was started for this call.
            if browser is not self._where and current() is None:
                await browser.close()

    async def _read(self, session: BrowserSession, url: str, relevance: Relevance) -> list[Evidence]:
        """Gather passages until one of them holds all that the task names, or the pages are used up."""
        found: list[_Found] = []
        views = explore(session, url, relevance, depth=self._depth, pages=self._pages)
        async with aclosing(views):
            async for view in views:
                fresh = [_Found(passage, view) for passage in view.passages]
                found += fresh
                if any(relevance.answered(f.passage.text, f.place) for f in fresh):
                    break

        return _evidence(await self._best(found, relevance))

    async def _best(self, found: Sequence[_Found], relevance: Relevance) -> list[tuple[_Found, float]]:
        lexical = relevance.lexical([(f.passage.text, f.place) for f in found], answers=True)
        ranked = sorted(zip(found, lexical, strict=True), key=lambda row: -row[1])
        unique: dict[str, tuple[_Found, float]] = {}
        for row in ranked:
            unique.setdefault(row[0].passage.text, row)

        short = list(unique.values())[:_SHORTLIST]
        alike = await relevance.alike([f"{f.place}: {f.passage.text}" for f, _ in short])
        scored = [(f, score + near) for (f, score), near in zip(short, alike, strict=True)]
        scored.sort(key=lambda row: -row[1])
        least = scored[0][1] * _NEAR_BEST if scored else 0.0
        return [row for row in scored if row[1] >= least][: self._results]

    async def _form(
        self, session: BrowserSession, url: str, values: Mapping[str, str], relevance: Relevance
    ) -> tuple[PageView, Match]:
        """The first page with a form that takes all of `values`; the session stands on it."""
        nearest: Match | None = None
        views = explore(session, url, relevance, depth=self._depth, pages=self._pages)
        async with aclosing(views):
            async for view in views:
                match = best_match(forms_of(view.root), values)
                if match and not match.missing:
                    return view, match

                if match and (nearest is None or len(match.values) > len(nearest.values)):
                    nearest = match

        raise _no_form(url, values, nearest)

    async def _use(
        self, session: BrowserSession, view: PageView, match: Match, *, submit: bool
    ) -> list[Evidence]:
        """Fill in the form, and give what it holds then or, if it is sent, what the site says that it did not say before."""
        await fill_in(session, match)
        if not submit:
            rows = await read_back(session, match)
            filled = Passage(text="", place=match.form.name or view.visit.title)
            return _evidence([(_Found(replace(filled, text=text), view), 1.0) for text in rows])

        session.approve(await to_be_sent(session, match), view.visit.url)
        before = {passage.text for passage in view.passages}
        visit = await send(session, match)
        answer = await look(session, visit)
        said = [passage for passage in answer.passages if passage.note or passage.text not in before]
        said.sort(key=lambda passage: not passage.note)
        if visit.status >= 400:
            text = " ".join(passage.text for passage in said[:_SAID]) or f"status {visit.status}"
            raise ToolError(f"`{visit.url}` did not accept the form: {text}", hint="correct the values")

        return _evidence(
            [(_Found(passage, answer), 1.0) for passage in (said or answer.passages)[: self._results]]
        )


def _evidence(rows: Sequence[tuple[_Found, float]]) -> list[Evidence]:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        Evidence(
            text=found.passage.text,
            source=found.view.visit.url,
            place=found.passage.place,
            title=found.view.visit.title,
            tool="browse",
            at=at,
            score=round(score, 4),
        )
        for found, score in rows
    ]


def _no_form(url: str, values: Mapping[str, str], nearest: Match | None) -> ToolError:
    names = ", ".join(f"`{name}`" for name in (nearest.missing if nearest else values))
    if nearest is None:
        return ToolError(
            f"no form at or near `{url}` has a field for {names}", hint="give the form's own page"
        )

    labels = ", ".join(f"`{f.label}`" for f in nearest.form.fields if f.label)
    return ToolError(f"no form at or near `{url}` has a field for {names}; the nearest one has {labels}")
