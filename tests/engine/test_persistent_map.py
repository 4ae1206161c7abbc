"""Maps that never change, whichever of them another is made from and whoever reads meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.engine.persistent_map import PersistentMap

KEYS = st.integers(0, 5)


@given(st.data())
def test_each_map_stays_what_it_was_whichever_others_are_made_from_it(data: st.DataObject) -> None:
    """All maps hold what plain copies hold, whether one goes on from the newest or from any other."""
    first: tuple[PersistentMap[int, int], dict[int, int]] = (PersistentMap({1: 1}), {1: 1})
    made = [first]
    for value in range(data.draw(st.integers(0, 12))):
        known, plain = made[data.draw(st.one_of(st.just(-1), st.integers(0, len(made) - 1)))]
        key, kind = data.draw(KEYS), data.draw(st.sampled_from(["insert", "discard", "ask"]))
        if kind == "insert":
            made.append((known.insert(key, value), plain | {key: value}))
        elif kind == "discard":
            made.append((known.discard(key), {k: v for k, v in plain.items() if k != key}))
        else:
            assert (key in known, known.get(key), known.get(key, -1)) == (
                key in plain,
                plain.get(key),
                plain.get(key, -1),
            )

    for known, plain in data.draw(st.permutations(made)):
        assert dict(known.items()) == plain
        assert sorted(known) == sorted(plain)
        assert sorted(known.values()) == sorted(known.backwards()) == sorted(plain.values())
        assert len(known) == len(plain)
        assert known == PersistentMap(plain)


def test_a_key_that_is_not_there_cannot_be_asked_for_or_removed() -> None:
    """Asked for by brackets or removed, a missing key is an error, and the map stays as it was."""
    first = PersistentMap({"a": 1})
    later = first.insert("b", 2)
    for known, missing in ((first, "b"), (later, "c")):
        with pytest.raises(KeyError, match=missing):
            known[missing]

        with pytest.raises(KeyError, match=missing):
            known.remove(missing)

    assert (dict(first.items()), dict(later.items())) == ({"a": 1}, {"a": 1, "b": 2})


def test_runs_that_begin_with_one_empty_map_do_not_get_at_each_other() -> None:
    """What is made from one empty map is apart, and none of it is kept by it."""
    nothing: PersistentMap[str, int] = PersistentMap()
    one, other = nothing.insert("a", 1), nothing.insert("b", 2)
    assert (dict(one.items()), dict(other.items()), len(nothing)) == ({"a": 1}, {"b": 2}, 0)
    assert not hasattr(nothing, "_later")


def test_the_first_of_a_hundred_thousand_is_read_and_let_go_without_recursion() -> None:
    """An old map that holds on to all later ones can be read, and all of them let go."""
    first = last = PersistentMap({0: 0})
    for number in range(100_000):
        last = last.insert(0, number)

    assert (first[0], last[0]) == (0, 99_999)
    del first, last


class _Asked(str):
    """A key that has something done while a map looks for it, as another thread could do it then."""

    __slots__ = ("during",)
    during: Callable[[], object]

    def __hash__(self) -> int:
        self.during()
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


def _asked_while(known: PersistentMap[str, int], go_on: Callable[[], object]) -> tuple[int, bool]:
    """What a map says of `a`, both times asked while `go_on` is done."""
    asked = _Asked("a")

    def once() -> None:
        asked.during = lambda: None
        go_on()

    asked.during = once
    found = known.get(asked, 0)
    asked.during = once
    return found, asked in known


def test_a_map_does_not_see_what_is_made_from_it_while_it_is_asked() -> None:
    """A key that is put into a later map, or taken out, while an earlier one looks for it is in this one as it was."""
    without, having = PersistentMap({"b": 2}), PersistentMap({"a": 1})
    assert _asked_while(without, lambda: without.insert("a", 3)) == (0, False)
    assert _asked_while(having, lambda: having.remove("a")) == (1, True)
