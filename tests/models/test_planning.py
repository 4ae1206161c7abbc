"""Turns of the embedded planner."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agentflow.models.embedded.planning import plan_turn

TEXT = {"type": "string"}


def _tool(name: str, description: str, **properties: Any) -> dict[str, Any]:
    required = [n for n, schema in properties.items() if "default" not in schema]
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"name": name, "description": description, "parameters": parameters}


WEB = _tool("web_search", "Search the public web.", query=TEXT, max_results={"type": "integer", "default": 5})
FILES = _tool("file_search", "Search the project's files.", query=TEXT)
BROWSE = _tool(
    "browse", "Carry out a task on a web site.", task=TEXT, url=TEXT, values={"type": "object", "default": {}}
)
CODE = _tool("run_code", "Run Python code in a sandbox.", code=TEXT)
TOOLS = (WEB, FILES, BROWSE, CODE)
BOOKING = (
    "Find out which day the museum of design is free this month and book a ticket on its website for that day"
)


def _plan(
    task: str, *observations: dict[str, Any], tools: Any = TOOLS, calls: int = 5, rounds: int = 3
) -> Any:
    return plan_turn(
        {
            "task": task,
            "tools": list(tools),
            "observations": list(observations),
            "calls_left": calls,
            "rounds_left": rounds,
        }
    )


def _seen(
    name: str, tool: str, *, error: str = "", text: str = '[{"text": "x"}]', **arguments: Any
) -> dict[str, Any]:
    return {
        "id": name,
        "tool": tool,
        "arguments": json.dumps(arguments),
        "ok": not error,
        "text": text,
        "error": error or None,
    }


def _short(plan: Any) -> list[tuple[str, str, dict[str, Any]]]:
    return [(c["id"], c["tool"], json.loads(c["arguments"])) for c in plan["calls"]]


def test_a_question_becomes_a_call_with_its_confidence_and_what_came_next() -> None:
    """The reply is plain JSON, and the thought says what the router chose and how surely."""
    plan = _plan("What does our handbook say about overtime?")
    assert _short(plan) == [("c1", "file_search", {"query": "handbook overtime"})]
    assert plan["calls"][0]["after"] == []
    assert plan["calls"][0]["confidence"] > 0.8
    assert {a["tool"] for a in plan["calls"][0]["alternatives"]} == {
        "web_search",
        "browse",
        "run_code",
        "none",
    }
    assert re.match(r"The router chose `file_search` \([01]\.\d\d\); next best ", plan["thought"])
    assert plan["done"] is False
    assert json.loads(json.dumps(plan)) == plan


def test_what_needs_no_tool_is_done_at_once() -> None:
    """Small talk and common knowledge lead to no call."""
    for task in ("Hello, how are you?", "What is photosynthesis?", "Translate 'good night' into Polish"):
        plan = _plan(task)
        assert (plan["calls"], plan["done"]) == ([], True)


def test_a_part_waits_for_the_part_that_it_refers_to() -> None:
    """The browser is sent to the first address of the search before it, and is told what was found."""
    search, visit = _plan(BOOKING)["calls"]
    assert (search["tool"], visit["tool"], visit["after"]) == ("web_search", "browse", ["c1"])
    arguments = json.loads(visit["arguments"])
    assert arguments["url"] == "${c1.url}"
    assert "${c1.text}" in arguments["task"]


def test_independent_parts_do_not_wait() -> None:
    """Two questions for two tools may run side by side."""
    plan = _plan(
        "Find what our handbook says about overtime, then search the web for the legal limit in Austria"
    )
    assert [(c["tool"], c["after"]) for c in plan["calls"]] == [("file_search", []), ("web_search", [])]


def test_code_that_nobody_wrote_is_not_run() -> None:
    """A sum that is not in the request is left out, and the thought says why."""
    plan = _plan("How many prime numbers lie between 1000 and 9000?")
    assert (plan["calls"], plan["done"]) == ([], True)
    assert "`code` would have to be written" in plan["thought"]
    assert _short(_plan("Calculate 18.5 percent of 7,340")) == [
        ("c1", "run_code", {"code": "print(18.5/100*7340)"})
    ]


def test_what_waits_for_a_part_that_cannot_be_done_is_left_out() -> None:
    """No call is made whose input can never come."""
    plan = _plan(
        "Compute how many primes lie below 9000 and type the result in the form at http://localhost:1/f"
    )
    assert plan["calls"] == []
    assert "needs the result of a part that could not be done" in plan["thought"]


def test_a_form_is_filled_with_the_named_values() -> None:
    """Address and values are taken from the request."""
    plan = _plan("Register at http://localhost:8000/register with name Ana and email ana@example.com")
    ((_, tool, arguments),) = _short(plan)
    assert tool == "browse"
    assert arguments["url"] == "http://localhost:8000/register"
    assert arguments["values"] == {"name": "Ana", "email": "ana@example.com"}


def test_where_only_searching_is_offered_a_few_words_are_searched_for() -> None:
    """A subject is typed as into a search box; small talk still is not searched for."""
    assert _plan("vacation days", tools=(WEB, FILES))["calls"]
    assert not _plan("Good morning to you", tools=(WEB, FILES))["calls"]


def test_an_unsure_question_is_asked_of_both_searches() -> None:
    """Evidence decides where the router cannot; with one call left only the likelier one is asked."""
    task = "What was said about the merger with Larsen?"
    both = _plan(task, tools=(WEB, FILES))["calls"]
    assert {c["tool"] for c in both} == {"web_search", "file_search"}
    assert all(c["after"] == [] for c in both)
    assert len(_plan(task, tools=(WEB, FILES), calls=1)["calls"]) == 1


@pytest.mark.parametrize("error", ["NetworkUnavailable: there is no network", "RateLimited: asked too often"])
def test_a_failed_web_search_is_routed_around(error: str) -> None:
    """The same is asked of the files; when that was tried, planning ends."""
    task = "Who is the CEO of Nokia?"
    failed = _seen("c1", "web_search", error=error, query="Who is the CEO of Nokia")
    plan = _plan(task, failed)
    assert _short(plan) == [("c2", "file_search", {"query": "Who is the CEO of Nokia"})]
    plan = _plan(task, failed, _seen("c2", "file_search", query="Who is the CEO of Nokia"))
    assert (plan["calls"], plan["done"]) == ([], True)
    assert "`web_search`" in plan["thought"]


def test_a_search_that_found_nothing_is_asked_elsewhere() -> None:
    """An empty result is a reason to look in the other place."""
    plan = _plan(
        "What is our refund period?", _seen("c1", "file_search", text="[]", query="What is our refund period")
    )
    assert [tool for _, tool, _ in _short(plan)] == ["web_search"]


def test_a_page_that_cannot_be_read_is_searched_for_but_a_form_is_not() -> None:
    """Reading has a detour, acting has none."""
    read = "What does the headline on http://localhost:9000/ read?"
    task = {"task": read, "url": "http://localhost:9000/"}
    assert [t for _, t, _ in _short(_plan(read, _seen("c1", "browse", error="BrowserMissing", **task)))] == [
        "web_search"
    ]
    act = "Log in at http://localhost:9000/ and submit the form"
    task = {"task": act, "url": "http://localhost:9000/"}
    assert _plan(act, _seen("c1", "browse", error="BrowserMissing", **task))["calls"] == []


def test_refused_arguments_are_mended_once() -> None:
    """The named argument goes; a second refusal ends it."""
    task = "Search the web for tents"
    error = "ToolArgumentsInvalid: the arguments of `web_search` do not fit: `max_results`: must be a number"
    refused = _seen("c1", "web_search", error=error, query="tents", max_results="many")
    assert _short(_plan(task, refused)) == [("c2", "web_search", {"query": "tents"})]
    again = _seen("c2", "web_search", error=error, query="tents")
    assert [t for _, t, _ in _short(_plan(task, refused, again))] == []


def test_no_call_is_made_twice() -> None:
    """After all went well there is nothing left to do."""
    first = _plan(BOOKING)["calls"]
    seen = [_seen(c["id"], c["tool"], **json.loads(c["arguments"])) for c in first]
    plan = _plan(BOOKING, *seen)
    assert (plan["calls"], plan["done"]) == ([], True)


def test_a_skipped_call_follows_the_detour() -> None:
    """What waited for the failed call waits for the one that stands in for it."""
    plan = _plan(
        BOOKING,
        _seen("c1", "web_search", error="RateLimited", query="day the museum of design is free this month"),
        _seen("c2", "browse", error="skipped: it waits for c1, which failed", task="book"),
    )
    (_, search, _), (_, visit, arguments) = _short(plan)
    assert (search, visit) == ("file_search", "browse")
    assert [c["id"] for c in plan["calls"]] == ["c3", "c4"]
    assert plan["calls"][1]["after"] == ["c3"]
    assert arguments["url"] == "${c3.url}"


def test_calls_cut_by_the_budget_are_made_later() -> None:
    """With one call left the first part is done, and the second in the next turn."""
    task = "Find what our handbook says about overtime, then search the web for the legal limit in Austria"
    plan = _plan(task, calls=1)
    assert [t for _, t, _ in _short(plan)] == ["file_search"]
    assert "Not made, because no more calls are left: `web_search`." in plan["thought"]
    ((_, _, arguments),) = _short(plan)
    later = _plan(task, _seen("c1", "file_search", **arguments))
    assert [(name, t) for name, t, _ in _short(later)] == [("c2", "web_search")]


def test_without_calls_or_rounds_planning_ends() -> None:
    """Limits are limits."""
    assert _plan("Who is the CEO of Nokia?", calls=0)["done"] is True
    assert _plan("Who is the CEO of Nokia?", rounds=0)["calls"] == []


def test_the_task_may_be_a_json_object() -> None:
    """A workflow's input arrives as JSON; its question is what is planned for."""
    task = json.dumps({"id": 7, "question": "What does our handbook say about overtime?"})
    assert _short(_plan(task)) == [("c1", "file_search", {"query": "handbook overtime"})]


def test_odd_requests_are_survived() -> None:
    """An empty task, no tools and missing fields lead to no call and no error."""
    assert plan_turn({"task": ""})["done"] is True
    assert _plan("Search the web for tents", tools=())["calls"] == []
    assert plan_turn({"task": "x", "tools": [{"name": "lookup", "parameters": None}]})["done"] is True
