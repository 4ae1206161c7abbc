"""`python -m tests.durability.samples some|all FOLDER`: the workflows of this project, crashed at some or all of their events."""

from __future__ import annotations

import json
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from agentflow.embedding import encoder
from agentflow.events import OperationStarted
from agentflow.project import find_project
from agentflow.toolkit.web import WebSearch
from tests.durability.children import spread
from tests.durability.claims import Story, one_outcome, sequence
from tests.durability.crashing import Case, Point, Trial, crashed, told, tried, whole
from tests.durability.driving import Found, Subject
from tests.durability.reports import ROOT, print_report
from tools import web
from tools.browser import shop

FORM = {"name": "Ada", "email": "ada@example.com", "topic": "Returns", "message": "Hello there"}
# The form's own page is where the browser begins, so that it need not look far.
VALUES: Mapping[str, Any] = {
    "research": {"question": "How much may a hotel cost in Lisbon?"},
    "data_analysis": {"question": "Total units by category in 2025"},
    "ticket_triage": {"count": 2},
    "site_check": {
        "task": "Is there a contact form?",
        "url": "http://shop.localhost/contact",
        "values": FORM,
    },
}
# At how many events each is crashed in a sample of them; the slowest is the first.
POINTS = {"site_check": 2, "research": 4, "data_analysis": 4, "ticket_triage": 4}
# Loaded before the children are forked; running a workflow here would leave threads.
LOADED = ("agentflow.models.agent", "agentflow.models.completion", "agentflow.models.embedded.brain")
OUTBOX = "traces/artifacts/outbox.jsonl"
# When something was looked up, and what the shop answered to a form, are of one run alone.
OWN = frozenset({"at", "reply"})


def crash(how: str, folder: Path) -> dict[str, Any]:
    """Crash each workflow at some points, spread over its events, or at all of them."""
    web._search = WebSearch(providers=["ddgs"], resolver=_unknown)
    encoder().embed(["warm"])
    for module in LOADED:
        import_module(module)

    subjects = [_in(name, folder / f"{name}-whole") for name in POINTS]
    # The browser takes as long as all others.
    spread(2, lambda number: _finish(subjects[1:] if number else subjects[:1]))
    cases = [case for subject in subjects for case in _cases(subject, how)]
    return tried(folder, cases, _trial)


def _finish(subjects: Sequence[Subject]) -> None:
    for subject in subjects:
        _furnish(subject.folder)
        whole(subject)


def _cases(subject: Subject, how: str) -> Iterator[Case]:
    reference = told(subject)
    events, points = len(reference.events), POINTS[subject.workflow.name]
    some = [events * n // (points + 1) for n in range(1, points + 1)]
    for number in some if how == "some" else range(1, events):
        yield subject, Point((number,)), reference


def _unknown(host: str, *_: object) -> NoReturn:
    raise socket.gaierror(f"{host} is not known")


def _in(name: str, folder: Path) -> Subject:
    return Subject(workflow=find_project(ROOT).load(name), value=VALUES[name], folder=folder)


def _furnish(folder: Path) -> None:
    (folder / "workflows").mkdir(parents=True)
    (folder / "workflows" / "samples").symlink_to(ROOT / "workflows" / "samples")


def _trial(subject: Subject, point: Point, reference: Story) -> Trial:
    """One run, with the shop in this process, as what it was sent must outlive the processes that die."""
    before = len(shop().messages)
    own = replace(subject, found=partial(_found, before))
    _furnish(own.folder)
    trial = crashed(own, point, reference, partial(_broken, own.folder))
    sent = len(shop().messages) - before
    wanted = int(subject.workflow.name == "site_check")
    problems = [] if sent == wanted else [f"{sent} forms were sent, not {wanted}"]
    return replace(trial, problems=[*trial.problems, *problems])


def _found(before: int, folder: Path, asked: OperationStarted) -> Found:
    assert asked.request is not None
    if asked.name == "submit_form":
        return len(shop().messages) > before, []

    to = asked.request.data["to"]
    keys = [message["key"] for message in _outbox(folder) if message["to"] == to]
    return bool(keys), keys[0] if keys else None


def _outbox(folder: Path) -> Sequence[Mapping[str, str]]:
    path = folder / OUTBOX
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _broken(folder: Path, story: Story, reference: Story) -> list[str]:
    problems = [*sequence(story, reference), *one_outcome(story, reference)]
    if _shared(story.output) != _shared(reference.output):
        problems.append(
            f"it gave {story.output!r} and not {reference.output!r}; it ended with {story.events[-1]}"
        )

    return [*problems, *_unlike(_outbox(folder), _shared(reference.output))]


def _unlike(sent: Sequence[Mapping[str, str]], wanted: Any) -> Iterator[str]:
    """Each reply is in the outbox once."""
    replies = Counter(reply["to"] for reply in wanted.get("replies", ()))
    found = Counter(message["to"] for message in sent)
    if found != replies:
        yield f"letters went to {dict(found)}, not to {dict(replies)}"


def _shared(output: bytes | None) -> Any:
    """An output without what differs between any two runs."""
    return _without(json.loads(output)) if output is not None else {}


def _without(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without(value) for key, value in data.items() if key not in OWN}

    return [_without(one) for one in data] if isinstance(data, list) else data


if __name__ == "__main__":
    print_report(crash, sys.argv[1], Path(sys.argv[2]))
