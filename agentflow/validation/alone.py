"""Nets of which it is plain that no values meet in them and that their joins are complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentflow.validation.order import Move, Net, Spot


def is_plain(net: Net, start: Spot, end: Spot) -> bool:
    """Whether all that one value sends out is one value again before anything is chosen, wherever it goes, until the end.

    If all steps lead to the end as well, `together` finds no values that meet there, and all branches of each join: it is
    exact for nets from whose every state the end is reached. It takes time for each two spots, and this for each one.
    """
    leaving = net.leaving()
    alone, todo = {start}, [start]
    made = set[int]()
    while todo:
        for move in leaving.get(todo.pop(), ()):
            spot = _Play(leaving, made).run(move)
            if spot is None or (spot not in leaving and spot != end):
                return False

            if spot not in alone:
                alone.add(spot)
                todo.append(spot)

    return len(made) == len(net.moves)


class _Play:
    """What comes of one value until it is one again; `made` gets the moves."""

    def __init__(self, leaving: Mapping[Spot, Sequence[Move]], made: set[int]) -> None:
        self.leaving, self.made = leaving, made
        self.entered: set[Spot] = set()
        self.came: dict[int, int] = {}
        self.ready: list[Spot] = []

    def run(self, first: Move) -> Spot | None:
        """The spot of the value that is one again; None where something is chosen, met or waited for before."""
        count, move = 1, first if len(first.empties) == 1 else None
        while move is not None and self._make(move):
            count += len(move.fills) - len(move.empties)
            if count == 1:
                return move.fills[0]

            move = self._next()

        return None

    def _make(self, move: Move) -> bool:
        """Make a move; False where it leads to where a value was already."""
        known = len(self.entered)
        self.entered.update(move.fills)
        self.ready += move.fills
        self.made.add(id(move))
        return len(self.entered) == known + len(move.fills)

    def _next(self) -> Move | None:
        """A move for which all is there, and nothing else could be chosen."""
        while self.ready:
            moves = self.leaving.get(self.ready.pop(), ())
            if len(moves) != 1:
                return None

            came = self.came[id(moves[0])] = self.came.get(id(moves[0]), 0) + 1
            if came == len(moves[0].empties):
                return moves[0]

        return None
