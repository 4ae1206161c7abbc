"""The session of a run: one for all tools that were made with the same factory, closed with the run."""

from __future__ import annotations

from collections.abc import Callable

from agentflow.context import current
from agentflow.toolkit.browser.session import BrowserSession


class RunSession:
    """Gives the session of the present run; outside of a run, `alone`, which is made at once to know what it may do."""

    def __init__(self, factory: Callable[[], BrowserSession]) -> None:
        self._factory = factory
        self.alone = factory()

    def get(self) -> BrowserSession:
        context = current()
        if context is None:
            return self.alone

        def make() -> BrowserSession:
            session = self._factory()
            context.on_close(session.close)
            return session

        # Tools of one factory steer the same page; it is kept alive here, so its id is its own.
        return context.shared(f"browser-session:{id(self._factory)}", make)
