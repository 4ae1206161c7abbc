"""Arguments read from a request."""

from __future__ import annotations

from typing import Any

import pytest

from agentflow.models.embedded.arguments import Source, addresses, fill
from agentflow.models.embedded.programs import code
from agentflow.models.embedded.queries import query
from agentflow.models.embedded.values import named

TEXT = {"type": "string"}


def _schema(*required: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _filled(text: str, schema: dict[str, Any], **source: Any) -> Any:
    return fill(Source(text=text, **source), schema).arguments


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("Search the web for the newest Rust release", "the newest Rust release"),
        ("Please look up the opening hours of the museum online", "the opening hours of the museum"),
        ("What do my notes say about pumps?", "pumps"),
        ("what does our employee handbook say about remote work?", "employee handbook remote work"),
        (
            "Can you google the phone number of the embassy in Ottawa",
            "the phone number of the embassy in Ottawa",
        ),
        ("Search my notes for the name of the plumber", "the name of the plumber"),
        ("Who is the CEO of Nokia?", "Who is the CEO of Nokia"),
        ("Is there anything in our files about a supplier named Kestrel?", "a supplier named Kestrel"),
        ('search for "quarterly bonus"', "quarterly bonus"),
        ("Search for cheap tents and tell me the best three", "cheap tents"),
        ("find", "find"),
    ],
)
def test_a_query_is_what_is_sought_without_the_words_that_ask_to_search(
    request_text: str, expected: str
) -> None:
    """Lead-ins and tails go, the subject stays."""
    assert query(request_text) == expected


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("Run this Python code: print(sum(range(101)))", "print(sum(range(101)))"),
        ("```python\nx = 1\nprint(x)\n```", "x = 1\nprint(x)"),
        ("What does this print? Run it: x = [1, 2]; print(x)", "x = [1, 2]; print(x)"),
        ("What is 48217 * 9913?", "print(48217 * 9913)"),
        ("Calculate 18.5 percent of 7,340", "print(18.5/100*7340)"),
        ("2 to the power of 300", "print(2 ** 300)"),
        ("Calculate 72 divided by 6.5", "print(72 / 6.5)"),
        ("What is the mean of 2, 4 and 9?", "numbers = [2, 4, 9]\nprint(sum(numbers) / len(numbers))"),
        ("How many primes are there below 50000?", None),
        ("compute 3 to the 17th modulo 101", None),
        ("the days from 2020-01-03 to 2021-02-03", None),
        ("Run the weekly report: sales", None),
    ],
)
def test_code_is_taken_from_the_request_or_made_of_a_bare_sum(
    request_text: str, expected: str | None
) -> None:
    """What is no sum and no code is left to those who can write programs."""
    assert code(request_text) == expected


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        (
            "Fill it in with name Ana Sousa and email ana@example.com",
            {"name": "Ana Sousa", "email": "ana@example.com"},
        ),
        ("Complete the form, name: Lee, city: Oslo", {"name": "Lee", "city": "Oslo"}),
        (
            "Fill in: first name Ana, last name Sousa, then submit",
            {"first name": "Ana", "last name": "Sousa"},
        ),
        ("log in as admin with password test123", {"username": "admin", "password": "test123"}),
        (
            'choose category "Other" and send the text "It is stuck, again"',
            {"category": "Other", "text": "It is stuck, again"},
        ),
        ("Send the message 'Hello' to http://localhost:8000/contact", {"message": "Hello"}),
        ("Fill in the contact form with my name and email", {}),
    ],
)
def test_named_values_are_read_as_a_form_wants_them(request_text: str, expected: dict[str, str]) -> None:
    """Values may follow a colon, an equals sign, or the label itself."""
    found = named(request_text)
    assert {k: v for k, v in found.items() if k in expected} == expected
    assert expected or not found


def test_addresses_get_a_scheme() -> None:
    """Local addresses are reached by http, public hosts by https, and mail addresses are none."""
    text = "Open localhost:8000/login, then www.example.org/a and http://x.test/b. Write to me@example.com."
    assert addresses(text) == ["http://localhost:8000/login", "https://www.example.org/a", "http://x.test/b"]


def test_optional_arguments_stay_at_their_defaults() -> None:
    """A number in the question is not taken for a number of results."""
    schema = _schema("query", query=TEXT, max_results={"type": "integer", "default": 5})
    assert _filled("Search the web for the 30 years' war", schema) == {"query": "the 30 years' war"}
    assert _filled("Search for tents, max results 3", schema)["max_results"] == 3


def test_a_required_argument_that_is_not_in_the_request_stops_the_call() -> None:
    """The reason names the parameter."""
    filled = fill(Source(text="Open the portal"), _schema("url", url=TEXT))
    assert filled.arguments is None
    assert "`url`" in filled.why
    assert "code" in fill(Source(text="How many primes are there?"), _schema("code", code=TEXT)).why


def test_an_address_may_come_from_an_earlier_result() -> None:
    """Where the request has no address, the first one of the call before is taken."""
    schema = _schema("url", "task", url=TEXT, task=TEXT)
    filled = _filled("open it", schema, earlier=("c1",), has_address=True)
    assert filled == {"url": "${c1.url}", "task": "open it\nKnown from before: ${c1.text}"}


def test_an_address_may_stand_elsewhere_in_the_request() -> None:
    """A part without an address uses the one of the whole request."""
    filled = _filled("sign up", _schema("url", url=TEXT), whole="On shop.example.com sign up")
    assert filled == {"url": "https://shop.example.com"}


def test_arguments_of_many_types() -> None:
    """Labels, numbers, flags, lists, recipients, subjects and places are each found by what they look like."""
    schema = _schema(
        "to",
        "subject",
        "city",
        "units",
        "days",
        "urgent",
        "tags",
        to=TEXT,
        subject=TEXT,
        city=TEXT,
        units={"enum": ["metric", "imperial"]},
        days={"type": "integer"},
        urgent={"type": "boolean"},
        tags={"type": "array", "items": TEXT},
        note={"anyOf": [{"type": "string"}, {"type": "null"}]},
    )
    text = 'Tell bo@example.com the imperial forecast for New York, 3 days, urgent, about "storms"'
    assert _filled(text, schema) == {
        "to": "bo@example.com",
        "subject": "storms",
        "city": "New York",
        "units": "imperial",
        "days": 3,
        "urgent": True,
        "tags": ["storms"],
    }


def test_a_lone_required_text_is_the_request_itself() -> None:
    """A tool that takes one text of any name is given the request."""
    assert _filled("Draw a castle", _schema("scene", scene=TEXT)) == {"scene": "Draw a castle"}


def test_long_requests_take_no_long_time() -> None:
    """No pattern runs away on long or odd text."""
    for text in (
        "a-" * 4000,
        "(" * 4000 + "1",
        "1, " * 3000,
        "'x " * 3000,
        "name: " * 1500,
        "go and " * 1500,
    ):
        fill(Source(text=text), _schema(query=TEXT, url=TEXT, code=TEXT, values={"type": "object"}))
