"""Requests of a conversation, each of which repeats what was said before: that is written, hashed and measured once."""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from agentflow.events import Payload, adapter
from agentflow.secrets import edition, redact_bytes, redact_within

# How many beginnings of what is hashed are kept: a request is looked up under two, and under more where it is repeated.
_KEPT = 16
# By what was hashed before the items, how many of them, and the digest so far.
Digests = dict[bytes, tuple[int, Any]]
Plain = Callable[[Sequence[Any]], list[Any]]


class Transcript:
    """The items of one conversation. `plain` gives them as JSON data of its own, `short` an item as it is written down.

    What is the same as the time before is not gone over again; it is told by comparison, so that an item which somebody
    changed in the meantime is taken as it is now.
    """

    def __init__(self, plain: Plain, short: Callable[[Any], Any]) -> None:
        self._plain, self._short = plain, short
        self._edition: object = None
        self._forget()

    def _forget(self) -> None:
        self._came: list[Any] = []
        self._signs: list[bytes] = []
        self._shown: list[Any] = []
        self._hidden: dict[int, Any] = {}
        self._written: list[bytes] = []
        self._sizes: list[int] = []
        self._measure: Hashable = None
        self._digests: Digests = {}

    def shown(self, items: Sequence[Any]) -> list[Any]:
        """`items`, which are now all that was said, without secrets."""
        if self._edition is not (known := edition()):
            # What was looked at may hold a secret that was none then.
            self._forget()
            self._edition = known

        self._keep(self._alike(items))
        self._add(items[len(self._came) :])
        if not self._hidden:
            return list(items)

        return [deepcopy(self._hidden[n]) if n in self._hidden else item for n, item in enumerate(items)]

    def _alike(self, items: Sequence[Any]) -> int:
        """How many items from the first on are what they were."""
        pairs = zip(items, self._came, self._signs, strict=False)
        differs = (n for n, (item, came, sign) in enumerate(pairs) if not _is_same(item, came, sign))
        return next(differs, min(len(items), len(self._came)))

    def _keep(self, count: int) -> None:
        """Take the items after the first `count` for not said; payloads that were given keep theirs."""
        if count == len(self._came):
            return

        self._came, self._shown, self._sizes = self._came[:count], self._shown[:count], self._sizes[:count]
        self._signs = self._signs[:count]
        self._hidden = {n: item for n, item in self._hidden.items() if n < count}
        self._written, self._digests = self._written[:count], {}

    def _add(self, items: Sequence[Any]) -> None:
        for item in items:
            (came,) = self._plain([item])
            clean = redact_within(item)
            (shown,) = (came,) if clean is item or clean == item else self._plain([clean])
            if shown is not came:
                self._hidden[len(self._came)] = clean

            self._came.append(came)
            self._signs.append(_sign(came))
            self._shown.append(shown)

    def measured(self, measure: Callable[[Any], int], by: Hashable) -> int:
        """The sum of what `measure` gives for each item without secrets; `by` says what it depends on beside the item."""
        if by != self._measure:
            self._sizes, self._measure = [], by

        self._sizes += map(measure, self._shown[len(self._sizes) :])
        return sum(self._sizes)

    def request(self, before: Mapping[str, Any], name: str, after: Mapping[str, Any]) -> Payload:
        """The JSON object of the parts `before`, the items under `name`, and the parts `after`."""
        try:
            self._written += [_json(self._short(item)) for item in self._shown[len(self._written) :]]
            head = b"{" + b"".join(_part(key, value) + b"," for key, value in before.items())
            tail = b"]" + b"".join(b"," + _part(key, value) for key, value in after.items()) + b"}"
        except ValueError:
            # What cannot be written says so where it is to be.
            return Payload({**before, name: [self._short(item) for item in self._shown], **after})

        return Transcribed(head + _part(name, [])[:-1], self._written, tail, self._digests)


def _is_same(item: Any, came: Any, sign: bytes) -> bool:
    # Equal is not enough: `True` equals 1, and objects are equal whatever order their names are in.
    return _sign(item) == sign if sign else bool(item == came)


def _sign(value: Any) -> bytes:
    """What is the same of plain data that is written the same; empty for other objects."""
    try:
        return marshal.dumps(value, 0)
    except ValueError:
        return b""


def _json(value: Any) -> bytes:
    from pydantic_core import to_json

    return redact_bytes(to_json(value))


def _part(name: str, value: Any) -> bytes:
    return _json(name) + b":" + _json(value)


class Transcribed(Payload):
    """A payload with items of a transcript, put together where it is read: kept whole, a long conversation is many times its size."""

    __slots__ = ("_count", "_digests", "_head", "_items", "_tail")

    def __init__(self, head: bytes, items: list[bytes], tail: bytes, digests: Digests) -> None:
        super().__init__(raw=b"")
        self._head, self._items, self._count, self._tail = head, items, len(items), tail
        self._digests = digests

    @property
    def json(self) -> bytes:
        return self._head + b",".join(self._items[: self._count]) + self._tail

    @property
    def texts(self) -> list[str]:
        parts = [self._head + self._tail, *self._items[: self._count]]
        return [part.decode(errors="replace") for part in parts]

    def value(self, type_: Any) -> Any:
        return adapter(type_).validate_json(self.json)

    def hashed(self, start: bytes) -> bytes:
        """SHA-256 over `start` and the JSON, of which only what is new since the request before is gone over."""
        start += self._head
        count, digest = self._digests.get(start, (0, None))
        if digest is None or count > self._count:
            count, digest = 0, hashlib.sha256(start)

        if more := self._items[count : self._count]:
            digest = digest.copy()
            digest.update((b"," if count else b"") + b",".join(more))
            self._remember(start, digest)

        whole = digest.copy()
        whole.update(self._tail)
        found: bytes = whole.digest()
        return found

    def _remember(self, start: bytes, digest: Any) -> None:
        if len(self._digests) >= _KEPT:
            self._digests.clear()

        self._digests[start] = (self._count, digest)
