"""Who refused, and when they may be asked again: an engine that is asked on while it refuses blocks for longer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from agentflow.exceptions import RateLimited

_FIRST = 30.0  # seconds to wait after a first refusal that names no time; each further one doubles it
_LONGEST = 3600.0


@dataclass(frozen=True, slots=True)
class _Refusal:
    until: float
    count: int
    text: str


class Backoff:
    """Keeps, by name, until when each of those who refused is left alone. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._refusals: dict[str, _Refusal] = {}

    @contextmanager
    def turn(self, name: str) -> Generator[None]:
        """Ask `name` inside; raises `RateLimited` without asking while the time that it refused for has not passed."""
        self._check(name)
        try:
            yield
        except RateLimited as fault:
            wait = self._refused(name, fault)
            # The time that is kept to here is also what whoever tries again should know.
            raise RateLimited(str(fault), hint=fault.hint, retry_after=wait) from fault

        self._refusals.pop(name, None)

    def _check(self, name: str) -> None:
        refusal = self._refusals.get(name)
        left = refusal.until - self._clock() if refusal else 0.0
        if refusal and left > 0:
            raise RateLimited(
                f"`{name}` is not asked again for {left:.0f} s, as {refusal.text}",
                hint="wait, or name another provider",
                retry_after=left,
            )

    def _refused(self, name: str, fault: RateLimited) -> float:
        before = self._refusals.get(name)
        count = before.count + 1 if before else 1
        wait = min(_FIRST * 2.0 ** min(count - 1, 16), _LONGEST)
        if fault.retry_after is not None:
            wait = fault.retry_after

        self._refusals[name] = _Refusal(self._clock() + wait, count, str(fault))
        return wait
