"""The splitter: requests of several parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentflow.models.embedded import train
from agentflow.models.embedded.router import Offer
from agentflow.models.embedded.splitter import split
from agentflow.models.embedded.steps import steps

OFFERS = (
    Offer(name="web_search"),
    Offer(name="file_search"),
    Offer(name="browse"),
    Offer(name="run_code", description="Run Python code in a sandbox."),
)


@pytest.mark.parametrize(
    ("request_text", "parts"),
    [
        (
            "Look up the price of silver online and calculate what 37 ounces are worth",
            ["Look up the price of silver online", "calculate what 37 ounces are worth"],
        ),
        (
            "What is our customer number? Enter it in the form on example.org.",
            ["What is our customer number?", "Enter it in the form on example.org."],
        ),
        (
            "1. Search the web for the price of tin 2. compute what 40 kg cost",
            ["Search the web for the price of tin", "compute what 40 kg cost"],
        ),
        (
            "Before you open the portal, check in the notes which account we use",
            ["check in the notes which account we use", "open the portal"],
        ),
        (
            "After checking the lease for the rent, compute the sum over 14 months",
            ["check the lease for the rent", "compute the sum over 14 months"],
        ),
        (
            "Calculate the cost of 14 days using the day rate in our contract",
            ["find the day rate in our contract", "Calculate the cost of 14 days"],
        ),
        (
            "Open the page, but first look up its address in my notes",
            ["look up its address in my notes", "Open the page"],
        ),
        (
            "Who makes this sensor nowadays, and is that firm on our list of suppliers?",
            ["Who makes this sensor nowadays", "is that firm on our list of suppliers?"],
        ),
    ],
)
def test_parts_are_found_and_put_in_order(request_text: str, parts: list[str]) -> None:
    """Connectives, sentences, numbers and clauses of time all separate parts."""
    assert [part.text for part in split(request_text)] == parts


@pytest.mark.parametrize(
    "request_text",
    [
        "Translate 'open the page and then click' into German",
        "Find the largest file and tell me how big it is",
        "Run this code: a = 1; print(a)",
        "```python\na = 1\nprint(a); open('x')\n``` please run this",
        "Rewrite this: Search the web. Then compute the sum.",
        "Our guide is three years old, so don't use it: what does a ticket cost now?",
        "I was told that our rival went bankrupt. True?",
        "Check our contract before you sign",
        "",
    ],
)
def test_single_requests_stay_whole(request_text: str) -> None:
    """Quoted text, code, settings and reports of the result are no parts."""
    assert len(split(request_text)) == 1


def test_a_part_says_which_parts_it_refers_to() -> None:
    """A pronoun refers to the part before, a repeated noun to the part that named it."""
    parts = split(
        "Find the rate online, look up the budget in our plan, and calculate the budget at that rate"
    )
    assert [part.after for part in parts] == [(), (), (0, 1)]


def test_parts_for_one_tool_are_one_step() -> None:
    """What a browser does in one go is not torn apart, and a wish for a summary is not a step."""
    found = steps("Log in to the portal, open the invoices and download the one from May", OFFERS)
    assert [step.choice.tool for step in found] == ["browse"]
    found = steps("Search the web for news about tin prices and write a short poem about them", OFFERS)
    assert [step.choice.tool for step in found] == ["web_search"]


def test_two_questions_for_one_search_are_two_steps() -> None:
    """Independent questions are asked one by one."""
    found = steps(
        "What does the handbook say about gifts? And what does our price list say on samples?", OFFERS
    )
    assert [step.choice.tool for step in found] == ["file_search", "file_search"]


def test_hardly_any_single_request_is_split() -> None:
    """Of 85 held-out single requests not more than two become several steps."""
    path = Path(__file__).with_name("planner_heldout.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    singles = [row["prompt"] for row in rows if not row["expected_plan"]]
    assert sum(len(steps(prompt, OFFERS)) > 1 for prompt in singles) <= 2


def test_hardly_any_seed_is_taken_apart_by_grammar_alone() -> None:
    """Even without the router, fewer than one single request in ten is cut."""
    seeds = [request for request, _ in train.seeds()]
    assert sum(len(split(request)) > 1 for request in seeds) / len(seeds) < 0.1
