"""What a run waits for a person to say: for the person, and as data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentflow import app
from agentflow.app.result import pending_of
from agentflow.cli.output import escape, out, plain
from agentflow.cli.periods import iso, stamp
from agentflow.engine.people import Waiting
from agentflow.events import ApprovalAsked, Event, OperationStarted


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that is waited for: since when, until when (nanoseconds since the epoch, or 0), and how it is answered."""

    pending: app.Pending
    since: int
    due: int
    answer: str

    def data(self) -> dict[str, Any]:
        """The item as JSON data."""
        return {
            **plain(self.pending),
            "since": iso(self.since) if self.since else None,
            "deadline": iso(self.due) if self.due else None,
            "answer": self.answer,
        }


def items_of(run_id: str, waiting: Sequence[Waiting], events: Sequence[Event]) -> list[Item]:
    """What a run waits for, oldest first; `events` are all of the run's."""
    pending = [pending_of(w) for w in waiting]
    answers = app.answer_hint(run_id, pending).splitlines()
    return [
        Item(
            pending=p, since=_since(w, events), due=w.activation.due if w.kind == "approval" else 0, answer=a
        )
        for p, w, a in zip(pending, waiting, answers, strict=True)
    ]


def _since(waiting: Waiting, events: Sequence[Event]) -> int:
    """When the question was asked, or the call was begun whose outcome is not known."""
    for event in reversed(events):
        match event:
            case ApprovalAsked(digest=digest) if waiting.kind == "approval":
                found = digest == waiting.digest
            case OperationStarted(operation=operation) if waiting.kind == "effect":
                found = operation == waiting.operation
            case _:
                continue

        if found and event.step == waiting.activation.id:
            return event.at

    return 0


def print_question(pending: app.Pending) -> None:
    """What is asked, and exactly what the answer is about: the value, or the tool and its arguments."""
    about = f"{pending.name}  {pending.digest[:19]}".strip()
    out.print(f"[bold cyan]{escape(pending.prompt)}[/]  [dim]{escape(about)}[/]")
    subject = json.dumps(pending.subject, ensure_ascii=False, indent=2)
    out.print(escape(f"{pending.tool}({subject})" if pending.tool else subject))


def print_items(items: Sequence[Item], *, was_asked: bool = False) -> None:
    """All that is waited for, each with the command that answers it; approvals in short which a person `was_asked` just now."""
    for number, item in enumerate(items):
        if number:
            out.print()

        if was_asked and item.pending.kind == "approval":
            out.print(f"[bold cyan]{escape(item.pending.prompt)}[/]  [dim]{escape(item.pending.name)}[/]")
        else:
            print_question(item.pending)

        since = f"since {stamp(item.since)}" if item.since else ""
        due = f"until {stamp(item.due)}" if item.due else ""
        if since or due:
            out.print(f"[dim]{'  '.join(filter(None, (since, due)))}[/]")

        out.print(f"[cyan]  {escape(item.answer)}[/]")
