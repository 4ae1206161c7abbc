"""Chats whose requests are written by their items are told as those that are written whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentflow.events import OperationStarted, Payload
from agentflow.tracing import content, operations
from agentflow.tracing.content import LEVELS, Capture, told
from agentflow.tracing.span import OpenSpan, SpanData
from agentflow.tracing.values import LIMIT, Joined
from agentflow.transcript import Transcript

TEXTS: st.SearchStrategy[str] = st.one_of(
    st.text(max_size=5),
    st.sampled_from(["me@example.org", "password=hunter22", "4111 1111 1111 1111", "é" * 9000, "x" * 30_000]),
)


def made(make: Callable[[str], Any], texts: st.SearchStrategy[str] = TEXTS) -> st.SearchStrategy[Any]:
    return texts.map(make)


def called(text: str) -> dict[str, Any]:
    """A call whose arguments hold a text, as escapes if it cannot be written otherwise."""
    return {"type": "function_call", "call_id": "c", "name": "n", "arguments": json.dumps({text: text})}


ITEMS: st.SearchStrategy[Any] = st.one_of(
    TEXTS,
    made(lambda text: {"role": "user", "content": text}),
    made(lambda text: {"role": "assistant", "content": [{"type": "output_text", "text": text}]}),
    made(lambda text: {"role": text, "content": []}),
    made(called, TEXTS | st.just("\ud800")),
    made(lambda text: {"type": "function_call_output", "call_id": "c", "output": text}),
    made(lambda text: {"type": "other", text: text}),
)


def chat(request: Payload) -> SpanData:
    """The span of a call that asks for `request`."""
    begun = OperationStarted(at=1, step="s#1", operation="1.1", kind="chat", name="m", request=request)
    attributes = operations.begun(begun, "run-1")
    return OpenSpan(
        name="chat m", trace_id=1, span_id=2, parent_id=None, start=1, attributes=attributes
    ).closed(2)


def requests(items: Sequence[Any], instructions: str) -> tuple[Payload, Payload]:
    """The same request by its items, and whole."""
    known = Transcript(list, lambda item: item)
    known.shown(items)
    by_items = known.request({"instructions": instructions}, "messages", {"tools": ["t"], "schema": None})
    return by_items, Payload(raw=by_items.json)


@given(items=st.lists(ITEMS, max_size=5), instructions=TEXTS)
@settings(max_examples=200, deadline=None)
def test_a_chat_is_told_the_same_however_its_request_is_kept(items: list[Any], instructions: str) -> None:
    """Attributes are equal, what is too long is cut alike, and what is taken out is taken out alike, looked at together or not."""
    spans = [chat(request) for request in requests(items, instructions)]
    assert spans[0] == spans[1]
    for level in LEVELS:
        came = [told(span, content=Capture(level)) for span in spans]
        with pytest.MonkeyPatch.context() as patching:
            patching.setattr(content, "_is_plain", never)
            came += [told(span, content=Capture(level)) for span in spans]

        assert came == came[:1] * 4


def never(*given: object) -> bool:
    """Whatever is asked: no."""
    del given
    return False


def test_messages_of_a_conversation_are_known_by_their_parts() -> None:
    """Each part of what a turn was asked is the same text in the next turn, and none is longer than an attribute may be."""
    items = [{"role": "user", "content": f"question {n}"} for n in range(3)]
    first, second = (
        chat(requests(items[:count], "Go.")[0]).attributes["gen_ai.input.messages"] for count in (2, 3)
    )
    assert isinstance(first, Joined)
    assert isinstance(second, Joined)
    assert set(first.parts) < set(second.parts)
    assert all(f"question {n}" in "".join(second.parts) for n in range(3))

    long = chat(requests([{"role": "user", "content": "é" * LIMIT}], "Go.")[0]).attributes[
        "gen_ai.input.messages"
    ]
    assert not isinstance(long, Joined)
    assert len(str(long).encode()) <= LIMIT
