"""Calls of tools from a step's own code: recorded, approved, and given again on a later attempt."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from agentflow.context import Verdict, current
from agentflow.evidence import Evidence
from agentflow.exceptions import ToolArgumentsInvalid, ToolError, ToolTimeout
from agentflow.tools import Tool, call, tool
from tests.models.recording import recorded


@dataclass(frozen=True)
class Point:
    x: float
    tags: tuple[str, ...] = ()


MADE: list[Any] = []


@tool
async def find(query: str, limit: int = 1) -> list[Evidence]:
    """Find passages."""
    MADE.append(query)
    return [Evidence(text=query, source="s", score=float(n)) for n in range(limit)]


@tool
async def point(x: float) -> Point:
    """Make a point."""
    MADE.append(x)
    return Point(x, ("a",))


@tool
async def mean(a: int, b: int) -> float:
    """Add, with a whole number where a float was promised."""
    return a + b


@tool
async def untyped(a):  # type: ignore[no-untyped-def]
    """Give back what came."""
    return Point(a)


@tool
async def liar() -> int:
    """Give something else than it says."""
    return "text"  # type: ignore[return-value]


@tool
async def silent() -> None:
    """Give nothing."""
    MADE.append("silent")


@tool(effect="write", needs_approval=True)
async def pay(amount: int) -> str:
    """Pay somebody."""
    MADE.append(amount)
    return f"paid {amount}"


def plain(x: int) -> Point:
    """Make a point in a thread."""
    return Point(x)


THREADED = Tool(name="plain", description="", function=plain)


@pytest.fixture(autouse=True)
def _anew() -> None:
    MADE.clear()


async def test_outside_of_a_run_a_tool_is_its_function() -> None:
    """As in a unit test: nothing is stamped, recorded, or asked."""
    assert await find("q") == [Evidence(text="q", source="s", score=0.0)]
    assert await pay(5) == "paid 5"
    assert await call(pay, {"amount": 6}) == "paid 6"
    assert await THREADED(1) == Point(1)


@pytest.mark.parametrize(
    ("used", "arguments", "request_"),
    [
        (find, ("q", 2), {"query": "q", "limit": 2}),
        (point, (1.5,), {"x": 1.5}),
        (mean, (1, 2), {"a": 1, "b": 2}),
        (liar, (), {}),
        (silent, (), {}),
        (THREADED, (3,), {"x": 3}),
    ],
)
async def test_a_call_gives_the_same_on_a_later_attempt(
    used: Tool[..., Any], arguments: tuple[Any, ...], request_: dict[str, Any]
) -> None:
    """What a tool gave comes back as its declared type, equal and alike in print, and the function is not called."""
    with recorded() as first:
        before = await used(*arguments)

    made = list(MADE)
    with recorded(known=first.outcomes()) as again:
        after = await used(*arguments)

    assert (repr(after), after) == (repr(before), before)
    assert type(after) is type(before)
    assert first.one("tool", used.name).request == request_
    assert (made, again.served) == (MADE, 1)


async def test_evidence_keeps_its_stamp() -> None:
    """Passages come back with the tool and the time of the first call."""
    with recorded() as first:
        before = await find("q", limit=2)

    with recorded(known=first.outcomes()):
        after = await call(find, {"query": "q", "limit": 2})

    assert after == before
    assert {(e.tool, bool(e.at)) for e in after} == {("find", True)}


async def test_a_tool_without_a_type_gives_plain_data_again() -> None:
    """Where nothing is declared, the record's JSON is all there is."""
    with recorded() as first:
        assert await untyped(1.0) == Point(1.0)

    with recorded(known=first.outcomes()):
        assert await untyped(1.0) == {"x": 1.0, "tags": []}


@pytest.mark.parametrize(
    ("labels", "once"),
    [
        ({"effect": "write"}, True),
        ({"effect": "write", "idempotent": True}, False),
        ({"effect": "read"}, False),
        ({"effect": "none"}, False),
    ],
)
async def test_only_writes_that_cannot_be_repeated_are_made_once(labels: dict[str, Any], once: bool) -> None:
    """A write that is not idempotent must not be made again by itself; all else may be."""

    @tool(**labels)
    async def act() -> str:
        """Act."""
        return "done"

    with recorded() as recording:
        await act()

    assert recording.one("tool", "act").once is once


async def test_a_person_is_asked_before_a_call_and_not_about_an_impossible_one() -> None:
    """Yes lets it pass, no is a `ToolError` with the reason, and arguments that do not fit are nobody's question."""

    def person(_: str, arguments: Mapping[str, Any]) -> Verdict:
        return Verdict(approved=arguments["amount"] < 10, by="Ann")

    with recorded(person=person) as recording:
        assert await pay(5) == "paid 5"
        with pytest.raises(ToolError, match=r"^a person refused this call of `pay`$"):
            await pay(50)

        with pytest.raises(ToolArgumentsInvalid):
            await call(pay, {"amount": "all"})

    assert [arguments for _, arguments, _ in recording.asked] == [{"amount": 5}, {"amount": 50}]
    assert MADE == [5]
    assert [(kept.once, kept.error is None) for kept in recording.kept] == [
        (True, True),
        (False, False),
        (False, False),
    ]


async def test_the_key_names_the_call_inside_of_a_tool() -> None:
    """Each call has a key of its own, the same on each attempt, which is not the step's."""
    keys: list[str] = []

    @tool(effect="write", idempotent=True)
    async def send(to: str) -> str:
        """Send something."""
        context = current()
        assert context is not None
        keys.append(context.idempotency_key)
        return to

    for _ in range(2):
        with recorded():
            context = current()
            assert context is not None
            keys.append(context.idempotency_key)
            for to in ("ann", "bob", "ann"):
                await send(to)

    assert keys[:4] == keys[4:]
    assert len(set(keys)) == 4


async def test_a_time_limit_holds_for_a_direct_call() -> None:
    """A tool that is simply awaited in a step is bounded like one that a model called."""

    @tool(timeout=0.01)
    async def slow() -> None:
        """Take long."""
        await asyncio.Event().wait()

    with recorded() as recording, pytest.raises(ToolTimeout):
        await slow()

    assert isinstance(recording.one("tool", "slow").error, ToolTimeout)


async def test_wrong_python_calls_are_python_s_errors() -> None:
    """A call that does not fit the signature fails as it would anywhere, and nothing is recorded."""
    with recorded() as recording, pytest.raises(TypeError, match="too many"):
        await find("a", 1, 2)  # type: ignore[call-arg]

    assert recording.kept == []


def test_tools_are_light() -> None:
    """Defining tools loads neither pydantic nor a model's client."""
    code = "import sys, agentflow.tools; print([m for m in ('pydantic', 'agents', 'openai') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
