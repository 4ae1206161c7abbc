"""Requests that repeat what was said: the bytes and digests of one that is written whole, for the work of what is new."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message, function_call
from hypothesis import given, settings
from hypothesis import strategies as st

from agentflow import Agent, Workflow, secrets, tool, transcript
from agentflow.engine.record import key_of
from agentflow.engine.writing import written
from agentflow.events import OperationStarted, Payload
from agentflow.exceptions import RunError
from agentflow.models.computer import by_digest
from agentflow.models.traced import new_transcript
from agentflow.secrets import hide
from agentflow.testing import run_to_end
from agentflow.transcript import Transcript

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("aé", max_size=3) | st.just("data:image/a,b"),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.sampled_from("ab"), below, max_size=2),
    max_leaves=4,
)
ITEMS = st.lists(st.dictionaries(st.sampled_from(("type", "content")), PLAIN, max_size=2), max_size=4)


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets that a test makes known are known to it alone."""
    monkeypatch.setattr(secrets, "_known", {})
    monkeypatch.setattr(secrets, "_pattern", None)


def asked(known: Transcript, items: Sequence[Any]) -> Payload:
    known.shown(items)
    return known.request({"instructions": "Go."}, "messages", {"tools": ["t"], "schema": None})


def whole(items: Sequence[Any]) -> Payload:
    """The same request, written all at once."""
    messages = by_digest(secrets.redact_within(list(items)))
    return Payload({"instructions": "Go.", "messages": messages, "tools": ["t"], "schema": None})


@given(said=st.lists(ITEMS, max_size=6))
@settings(max_examples=150, deadline=None)
def test_a_request_is_written_as_if_nothing_was_known_of_it(said: list[list[Any]]) -> None:
    """Whatever was asked before, whether it begins alike or not: the same bytes, data and digests."""
    known = new_transcript()
    requests = [(items, asked(known, items)) for items in said for _ in range(2)]
    for items, request in requests:
        expected = whole(items)
        assert key_of(b"p", "chat", "m", request, 1) == key_of(b"p", "chat", "m", expected, 1)
        assert request.json == expected.json
        assert request.data == expected.data
        assert request == expected
        assert request.value(dict[str, Any]) == expected.data
        rest, *parts = map(json.loads, request.texts)
        assert {**rest, "messages": parts} == expected.data


def test_earlier_requests_stay_what_they_were() -> None:
    """What a conversation becomes, also where it begins anew at some point, changes nothing in a request that was made."""
    known = new_transcript()
    lists = [[{"a": 1}], [{"a": 1}, {"b": 2}], [{"a": 1}, {"c": 3}], [{"z": 0}], [{"a": 1}, {"b": 2}]]
    requests = [asked(known, items) for items in lists]
    digests = [key_of(b"", "chat", "m", request, 0) for request in reversed(requests)]
    assert digests == [key_of(b"", "chat", "m", whole(items), 0) for items in reversed(lists)]
    assert [request.json for request in requests] == [whole(items).json for items in lists]


@pytest.mark.parametrize(
    ("first", "second"),
    [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"a": 1}, {"a": True}), ({"a": 0.0}, {"a": -0.0})],
)
def test_an_item_that_is_equal_and_written_otherwise_is_another(first: Any, second: Any) -> None:
    """Names in another order, a truth for a number: what is on the record is what was asked, byte for byte."""
    known = new_transcript()
    asked(known, [first])
    assert asked(known, [second]).json == whole([second]).json


def test_an_item_that_was_changed_in_place_is_written_as_it_is_now() -> None:
    """Who was given an item may change it: what is on the record is what was asked."""
    known, item = new_transcript(), {"content": [{"text": "first"}]}
    asked(known, [item])
    item["content"][0]["text"] = "second"
    assert asked(known, [item]).json == whole([item]).json


def test_a_secret_is_taken_out_of_what_was_said_before_it_was_known() -> None:
    """What was shown and written without harm is gone over once more."""
    known, items = new_transcript(), [{"content": "the key is sesame-4711"}, {"content": "hm"}]
    assert known.shown(items) == items
    hide("DOOR", "sesame-4711")
    assert known.shown(items)[0] == {"content": "the key is [secret DOOR]"}
    assert b"sesame" not in asked(known, items).json
    assert items[0] == {"content": "the key is sesame-4711"}


def test_what_cannot_be_written_says_so_where_it_is_to_be() -> None:
    """Half of a surrogate pair goes to a model, and is refused by the record."""
    known, items = new_transcript(), [{"content": "a"}, {"content": "\ud800"}]
    assert known.shown(items) == items
    with pytest.raises(RunError, match="what `m` was asked cannot be written"):
        written(asked(known, items), "what `m` was asked")

    assert asked(known, items[:1]).json == whole(items[:1]).json


def test_who_changes_what_it_was_shown_changes_only_that() -> None:
    """What stands for an item with a secret in it is another copy each time."""
    hide("DOOR", "sesame-4711")
    known, items = new_transcript(), [{"content": ["sesame-4711"]}]
    known.shown(items)[0]["content"].clear()
    assert known.shown(items) == [{"content": ["[secret DOOR]"]}]


def test_sizes_are_measured_once() -> None:
    """The sum is of all that is said now; what it depends on beside the items has all measured again."""
    known, seen = new_transcript(), list[Any]()

    def measure(item: Any) -> int:
        seen.append(item)
        return int(item["n"])

    items = [{"n": n} for n in range(5)]
    for count in (2, 4, 5, 1):
        known.shown(items[:count])
        assert known.measured(measure, by="a") == sum(range(count))

    assert len(seen) == 5
    assert known.measured(lambda item: 2 * measure(item), by="b") == 0
    assert len(seen) == 6


class Counted:
    """A digest that counts the bytes it is given."""

    total = 0

    def __init__(self, data: bytes = b"", inner: Any = None) -> None:
        self._inner = inner if inner is not None else hashlib.new("sha256")
        self.update(data)

    def update(self, data: bytes) -> None:
        Counted.total += len(data)
        self._inner.update(data)

    def copy(self) -> Counted:
        return Counted(inner=self._inner.copy())

    def digest(self) -> bytes:
        found: bytes = self._inner.digest()
        return found


class Hashes:
    sha256 = Counted


@contextmanager
def counting() -> Generator[list[tuple[int, int]], None, None]:
    """Of each request of a model: the items that were written for it, and the bytes that were hashed since the one before."""
    found: list[tuple[int, int]] = []
    add = Transcript._add

    def counted(self: Transcript, items: Sequence[Any]) -> None:
        found.append((len(items), Counted.total))
        Counted.total = 0
        add(self, items)

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(Transcript, "_add", counted)
        patching.setattr(transcript, "hashlib", Hashes)
        Counted.total = 0
        yield found


@tool(name="add", effect="none", returns="trusted")
async def _add(a: int) -> int:
    """Add one."""
    return a + 1


async def test_a_turn_is_as_much_work_however_many_there_were() -> None:
    """Of what an agent was told, its run writes and hashes what is new; the record holds all of it all the same."""
    said: list[Any] = [[function_call("add", {"a": 1000 + n}, call_id=f"c{1000 + n}")] for n in range(60)]
    step = Agent("a", takes=str, gives=str, tools=[_add], max_turns=61)
    workflow = Workflow("w", start=step, end=step)
    with counting() as work:
        ended = await run_to_end(workflow, "go", model=ScriptedModel([*said, [assistant_message("done")]]))

    assert ended.output == "done"
    assert [items for items, _ in work] == [1] + [2] * 60
    hashed = [count for _, count in work[1:]]
    assert max(hashed[30:]) <= max(hashed[:10]) + 10
    chats = [e for e in ended.events if isinstance(e, OperationStarted) and e.kind == "chat"]
    assert [len(e.request.data["messages"]) for e in chats if e.request] == [1 + 2 * n for n in range(61)]
