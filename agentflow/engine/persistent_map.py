"""Maps that never change, of which one is made from another in the same time at any size."""
# ruff: noqa: SLF001 - a map looks into others of its kind

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar, overload

Key = TypeVar("Key")
Value = TypeVar("Value")
Default = TypeVar("Default")
_MISSING: Any = object()


class PersistentMap(Generic[Key, Value]):
    """A map that never changes: others, with a key more or less, are made from it.

    Of maps that were made one from another the newest holds a dict, and each older one the key by which the next differs,
    with its own value there: going on from the newest copies nothing. One that is asked later makes a dict of its own, once.
    H. Baker, "Shallow binding makes functional arrays fast" (1991).

    One thread makes maps from another; all may read.
    """

    __slots__ = ("_key", "_later", "_value", "_values")

    # The dict, or None where the map made from this one has it; then the three others say what was here.
    _values: dict[Key, Value] | None
    _later: PersistentMap[Key, Value]
    _key: Key
    _value: Any

    def __init__(self, values: Mapping[Key, Value] | None = None) -> None:
        self._values = dict(values or {})

    def insert(self, key: Key, value: Value) -> PersistentMap[Key, Value]:
        """The map with a value at a key, in place of the one that may be there."""
        values = self._values if self._values is not None else self._own()
        later: PersistentMap[Key, Value] = _new(PersistentMap)
        if not values:
            # What is empty may be where many begin, and stays as it is.
            later._values = {key: value}
            return later

        later._values = values
        self._key, self._value, self._later = key, values.get(key, _MISSING), later
        # Before the dict changes: who reads this map at that moment sees by it that the dict is not its own any more.
        self._values = None
        values[key] = value
        return later

    def remove(self, key: Key) -> PersistentMap[Key, Value]:
        """The map without a key; raises `KeyError` where it is not there."""
        values = self._values if self._values is not None else self._own()
        later: PersistentMap[Key, Value] = _new(PersistentMap)
        later._values = values
        self._key, self._value, self._later = key, values[key], later
        self._values = None
        del values[key]
        return later

    def discard(self, key: Key) -> PersistentMap[Key, Value]:
        """The map without a key that may be there."""
        return self.remove(key) if key in self else self

    def _own(self) -> dict[Key, Value]:
        """The dict of this map, made from that of the newest where it has none."""
        if self._values is not None:
            return self._values

        later, values = self._copied()
        for older in reversed(later):
            if older._value is _MISSING:
                del values[older._key]
            else:
                values[older._key] = older._value

        self._values = values
        return values

    def _copied(self) -> tuple[list[PersistentMap[Key, Value]], dict[Key, Value]]:
        """What the newest map holds, and the maps from this one up to the one before it."""
        line, newest = list[PersistentMap[Key, Value]](), self
        while True:
            values = newest._values
            if values is not None:
                copy = values.copy()
                if newest._values is values:
                    return line, copy  # else another thread has gone on from it while it was copied

            line.append(newest)
            newest = newest._later

    @overload
    def get(self, key: Key) -> Value | None: ...

    @overload
    def get(self, key: Key, default: Default) -> Value | Default: ...

    def get(self, key: Key, default: Any = None) -> Any:
        """The value at a key, or the default."""
        values = self._values
        if values is not None:
            value = values.get(key, default)
            if self._values is values:
                return value

        return self._own().get(key, default)

    def __getitem__(self, key: Key) -> Value:
        value = self.get(key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)

        return value

    def __contains__(self, key: object) -> bool:
        values = self._values
        if values is not None:
            found = key in values
            if self._values is values:
                return found

        return key in self._own()

    def __len__(self) -> int:
        return len(self._own())

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._own()))

    def values(self) -> list[Value]:
        """The values, in the order of their keys."""
        return list(self._own().values())

    def items(self) -> list[tuple[Key, Value]]:
        """The keys with their values."""
        return list(self._own().items())

    def backwards(self) -> Iterator[Value]:
        """The values one by one, those of the newest keys first; to be looked through before another map is made from this one."""
        return reversed(self._own().values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PersistentMap) and self._own() == other._own()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PersistentMap({self._own()!r})"


_new = object.__new__
