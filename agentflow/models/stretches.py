"""A run of the SDK in stretches, so that a turn costs the same however many there were before it.

The SDK's Runner goes over all that it has done since it was started, several times a turn: `_dedupe_processed_response_invocations`
and `_register_tool_call_items` in its `run_internal/tool_planning.py` make out each earlier call anew, and what is said to the
model is put together anew as well. So it is started again after every few turns, from the agent that is at work and with
the text that it was started with at first, and what was said before that is put in where it asks a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentflow.models.sdk import NO_ID

# Starting the Runner costs about half a turn; what it goes over again within a stretch, a quarter of one at this length.
TURNS = 6
# Items that stand for themselves. Of any other the Runner may have to see those before it: then it is not started again.
_PLAIN = frozenset(
    {"message", "function_call", "function_call_output", "computer_call", "computer_call_output", "reasoning"}
)
# Of two items with one id the Runner sends the later; where it stands is where what follows needs it.
_STAYING = frozenset({"function_call", "computer_call", "reasoning"})

Item = dict[str, Any]


class NextStretch(BaseException):
    """Ends a stretch where the model of `agent` was to be asked.

    No `Exception`: retries, and handlers of errors, must not take it for a failure of the model.
    """

    def __init__(self, agent: Any) -> None:
        super().__init__()
        self.agent = agent


class Stretches:
    """What was said in a run so far. `turns` counts the turns before the present stretch."""

    def __init__(self, length: int = TURNS) -> None:
        self.turns = 0
        self._length, self._answered = length, 0
        self._said: list[Item] = []
        self._ids: set[str] = set()

    def whole(self, items: Sequence[Item], agent: Any) -> list[Item]:
        """All that was said, for the model of `agent`. Of it the Runner has `items`: the text, and what came in this stretch.

        Raises `NextStretch` where the Runner is to be started anew instead.
        """
        text, own = items[:1], items[1:]
        if self._answered >= self._length and all(_kind(item) in _PLAIN for item in own):
            self._said = self._joined(own)
            self._ids.update(filter(None, map(_id, own)))
            self.turns, self._answered = self.turns + self._answered, 0
            raise NextStretch(agent)

        return [*text, *self._joined(own)]

    def answered(self) -> None:
        """A model has answered: a turn was begun that the Runner counts."""
        self._answered += 1

    def _joined(self, own: Sequence[Item]) -> list[Item]:
        """What was said before, and `own` after it; where both have an item of one id, the later is the one that counts."""
        later = {known: item for item in own if (known := _id(item)) in self._ids}
        if not later:
            # Copies: a model may do with what it is given as it likes.
            return [*map(dict, self._said), *own]

        said = (later.get(_id(item), item) if _stays(item) else item for item in self._said)
        kept = [dict(item) for item in said if _stays(item) or _id(item) not in later]
        return [*kept, *(item for item in own if not (_stays(item) and _id(item) in later))]


def _kind(item: Item) -> str:
    return str(item.get("type") or "message")


def _stays(item: Item) -> bool:
    return _kind(item) in _STAYING


def _id(item: Item) -> str:
    """What names an item; empty for one that has no name, or only one that many have."""
    kind = _kind(item)
    if kind == "message":
        return ""

    given = item.get("id") if kind == "reasoning" else item.get("call_id")
    return f"{kind} {given}" if given and given != NO_ID else ""
