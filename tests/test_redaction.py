"""What is looked for in a text only where a sign of it is there: that changes what it costs, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentflow import redaction
from agentflow.redaction import Redactor, Rule

FRAGMENTS = (
    "4111 1111 1111 1111",
    "5555-5555-5555-4444",
    "378282246310005",
    "1764525600000000000",
    "w-261130-183012-4f2a",
    "input_tokens",
    "access_token",
    "Password",
    "api-key",
    "hunter2hunter2",
    "DE89 3704 0044 0532 0130 00",
    "sk-abcdefghijklmnopqrstuvwx",
    "jo@example.org",
    "bearer abcdefgh12345678",
    "https://u:p4ssw0rd@h/",
)
BETWEEN = (
    "",
    " ",
    "a",
    ".",
    "\n",
    "\t",
    "\b",
    '"',
    "'",
    "\\",
    "/",
    "€",
    "é",
    "\u2028",
    "\x01",
    "%20",
    ":",
    "=",
    ": ",
    "é=",
)
SAID = st.lists(st.sampled_from(FRAGMENTS + BETWEEN), max_size=7).map("".join)


def always(*given: object) -> bool:
    """Whatever is asked: it may be there."""
    del given
    return True


def nested(said: str, depth: int, *, plain: bool) -> str:
    """A text within JSON, as often as `depth` says; `plain` leaves letters as they are."""
    value: Any = said
    for level in range(depth):
        value = json.dumps({"text": value} if level % 2 else [value], ensure_ascii=not plain)

    return str(value)


@given(said=SAID, name=SAID, depth=st.integers(0, 3), plain=st.booleans())
@settings(max_examples=400, deadline=None)
def test_signs_hide_nothing(said: str, name: str, depth: int, plain: bool) -> None:
    """What is taken out of a text, also of one within JSON within JSON, is the same where everything is looked for."""
    texts = [nested(said, depth, plain=plain), nested(json.dumps({name: said}), depth, plain=plain)]
    came = [Redactor()(text) for text in texts]
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(Rule, "may_match", always)
        patching.setattr(redaction, "_may_match", always)
        assert came == [Redactor()(text) for text in texts]


def test_what_every_trace_holds_is_no_sign_of_anything() -> None:
    """Times, counts of tokens and ids do not have a trace looked through word by word."""
    event = {"type": "operation.finished", "at": 1764525600123456789, "usage": {"input_tokens": 9}}
    text = json.dumps({**event, "operation": "1.20", "result": [{"call_id": "c1", "name": "add"}]})
    assert not redaction._may_match(text)


@given(st.lists(st.lists(st.sampled_from((*FRAGMENTS, *BETWEEN)), max_size=5).map("".join), max_size=5))
def test_what_one_look_leaves_each_look_leaves(texts: list[str]) -> None:
    """Where one look at all texts says that there is nothing to take out, nothing is taken out of any of them."""
    redactor = Redactor()
    if redactor.leaves(texts):
        assert [redactor(text) for text in texts] == texts
