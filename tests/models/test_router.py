"""The router: which tool a request needs."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from agentflow.models.embedded import head, train
from agentflow.models.embedded.families import family
from agentflow.models.embedded.router import Offer, route
from agentflow.models.embedded.steps import steps

HELD_OUT = Path(__file__).with_name("planner_heldout.jsonl")
WEB = Offer(name="web_search", description="Search the public web and return ranked passages.")
FILES = Offer(name="file_search", description="Search the project's files and return passages.")
BROWSER = Offer(name="computer", description="Carry out a task on a web site with a browser.")
CODE = Offer(name="code_interpreter", description="Run Python code in a sandbox.")
IMAGE = Offer(name="image_generation", description="Generate an image from a text description.")
MAIL = Offer(name="send_email", description="Send an e-mail to a recipient.")
ALL = {offer.name: offer for offer in (WEB, FILES, BROWSER, CODE, IMAGE, MAIL)}
MAIN = (WEB, FILES, BROWSER, CODE)


def _rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in HELD_OUT.read_text(encoding="utf-8").splitlines()]


def _offers(row: dict[str, Any]) -> list[Offer]:
    return [ALL[name] for name in row["tools"]]


def test_the_tool_is_right_for_most_requests_never_seen_in_training() -> None:
    """At least 85 of 100 held-out single requests get the right tool, and none of the classes is left behind."""
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for row in _rows():
        if row["expected_plan"] is None:
            chosen = route(row["prompt"], _offers(row)).tool
            right[row["expected_tool"] or "none"].append(chosen == row["expected_tool"])

    every = [ok for flags in right.values() for ok in flags]
    assert sum(every) / len(every) >= 0.85
    assert {name for name, flags in right.items() if sum(flags) / len(flags) < 0.70} == set()


def test_requests_of_several_parts_become_the_right_sequence_of_tools() -> None:
    """At least 80 % of held-out requests of several parts are planned exactly."""
    rows = [row for row in _rows() if row["expected_plan"]]
    exact = [
        [step.choice.tool for step in steps(row["prompt"], _offers(row))] == row["expected_plan"]
        for row in rows
    ]
    assert len(exact) == 15
    assert sum(exact) / len(exact) >= 0.80


def test_held_out_requests_are_not_among_the_seeds() -> None:
    """What is measured was not trained on."""
    seeds = {request.lower() for request, _ in train.seeds()}
    assert not [row["prompt"] for row in _rows() if row["prompt"].lower() in seeds]


def test_the_weights_were_made_from_the_seeds_that_are_there() -> None:
    """Whoever changes a seed has to train again."""
    assert head.head().seeds == train.digest()


def test_training_again_learns_what_the_seeds_say() -> None:
    """A head trained on a part of the seeds gets unseen ones right."""
    rows = train.seeds()
    small = train.fitted(rows[::6], rounds=300)
    unseen = rows[1::18]
    guessed = [
        max(shares, key=lambda name: shares[name]) for shares in (small.families(r) for r, _ in unseen)
    ]
    assert sum(g == name for g, (_, name) in zip(guessed, unseen, strict=True)) / len(unseen) > 0.7


def test_probabilities_add_up_to_one() -> None:
    """The choice and its alternatives are one distribution over all offers and no tool."""
    choice = route("What does our handbook say about leave?", list(ALL.values()))
    tools = [choice.tool, *(tool for tool, _ in choice.alternatives)]
    total = choice.confidence + sum(p for _, p in choice.alternatives)
    assert total == pytest.approx(1.0, abs=1e-4)
    assert sorted(map(str, tools)) == sorted([*ALL, "None"])
    assert list(choice.alternatives) == sorted(choice.alternatives, key=lambda pair: -pair[1])


def test_without_offers_no_tool_is_chosen() -> None:
    """Nothing offered, nothing chosen, with certainty."""
    choice = route("Search the web for news", [])
    assert (choice.tool, choice.alternatives) == (None, ())
    assert choice.confidence == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "description", "expected"),
    [
        ("search_docs", "", "file_search"),
        ("kb_lookup", "", "file_search"),
        ("handbook", "Answers questions from the employee handbook.", "file_search"),
        ("retrieve", "Returns passages from the vector store.", "file_search"),
        ("google", "", "web_search"),
        ("searchWeb", "", "web_search"),
        ("research", "Finds current information across the internet.", "web_search"),
        ("browse", "Carry out a task on a site.", "computer"),
        ("web_fetch", "Fetch the text of a web page.", "computer"),
        ("operator", "Does tasks on websites for the user, such as filling in forms.", "computer"),
        ("run_python", "", "code_interpreter"),
        ("calculator", "Evaluate an arithmetic expression.", "code_interpreter"),
        ("send_email", "Send an e-mail to a recipient.", None),
        ("image_generation", "Generate an image from a text description.", None),
        ("get_weather", "Get the forecast for a city.", None),
        ("delete_file", "Delete a file from the workspace.", None),
        ("write_document", "Write a document.", None),
        ("search_flights", "Search for flights between two airports.", None),
    ],
)
def test_the_family_of_a_tool_is_told_by_its_name_or_its_description(
    name: str, description: str, expected: str | None
) -> None:
    """Tools of any name are recognised; tools of other kinds are left alone."""
    assert family(Offer(name=name, description=description)) == expected


def test_tools_may_bear_any_name() -> None:
    """The choice is made among what is offered and not among fixed names."""
    offers = [Offer(name="lookup", description="Look things up on the internet."), Offer(name="search_notes")]
    assert route("What do my notes say about the boiler?", offers).tool == "search_notes"
    assert route("Who won the election in Norway last week?", offers).tool == "lookup"


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("Send an e-mail to bob@example.com with the subject Hello", "send_email"),
        ("Generate a picture of a red car", "image_generation"),
        ("What is image compression?", None),
        ("Describe the painting The Scream", None),
        ("Compose an apology to a customer, and don't email anybody yet", None),
        ("What did the email from Tom in my archive say?", "file_search"),
    ],
)
def test_tools_of_other_kinds_are_chosen_only_when_they_are_asked_for(
    request_text: str, expected: str | None
) -> None:
    """An unknown tool competes by its description, and talk about its subject is not enough."""
    assert route(request_text, list(ALL.values())).tool == expected


def test_of_two_tools_of_one_family_the_more_similar_one_is_chosen() -> None:
    """Two file searches share the probability of their family by their descriptions."""
    law = Offer(name="search_contracts", description="Search the contracts with suppliers.")
    food = Offer(name="search_recipes_docs", description="Search the documents with recipes for the kitchen.")
    choice = route("What does our contract with Nordwind say on delivery by the supplier?", [law, food])
    assert choice.tool == "search_contracts"
    assert dict(choice.alternatives)["search_recipes_docs"] < choice.confidence


def test_what_is_not_offered_goes_to_no_tool_and_not_to_a_wrong_one() -> None:
    """A sum is not searched for, and a form is not filled in by a search."""
    assert route("Compute the standard deviation of 4, 8, 15, 16, 23, 42", [WEB, FILES]).tool is None
    assert route("Fill in the form and press Submit", [FILES]).tool is None
