"""What a search provider is, and how the failures of several are told as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agentflow.exceptions import NetworkUnavailable, RateLimited, ToolError, ToolTimeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One search result, as `engine` gave it."""

    title: str
    url: str
    text: str
    engine: str


class Provider(Protocol):
    """A way to search the web."""

    @property
    def name(self) -> str: ...

    async def find(self, query: str, *, wanted: int, seconds: float) -> list[Hit]:
        """At most `wanted` hits, within `seconds`; empty only if every engine answered that it has none."""
        ...


# What a caller can do most about comes first; that the network is missing is true only if all say so.
_ORDER = (RateLimited, ToolTimeout, ToolError, NetworkUnavailable)


def combined(faults: Sequence[ToolError]) -> ToolError:
    """One error in place of several, of the kind that matters most and with the texts of all."""
    kinds = {kind: [fault for fault in faults if type(fault) is kind] for kind in _ORDER}
    kind = next((kind for kind in _ORDER if kinds[kind]), ToolError)
    texts = "; ".join(dict.fromkeys(map(str, faults)))
    hint = next((fault.hint for fault in kinds[kind] if fault.hint), "")
    return kind(texts, hint=hint)


def refusal(engine: str, status: int) -> ToolError | None:
    """The error that an HTTP `status` of a search engine stands for; None if it is an answer."""
    if status == 200:
        return None

    # DuckDuckGo answers 202, and others 403 or 503, to those who ask too often or look like a program.
    if status in {202, 403, 429, 503}:
        return RateLimited(
            f"`{engine}` answered {status}: it is asked too often, or refuses programs",
            hint="wait a minute, or set SEARXNG_URL to a search server of your own",
        )

    return ToolError(f"`{engine}` answered {status}")
