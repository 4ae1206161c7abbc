"""A run as one HTML file: it needs no server, loads nothing, runs no script, and shows what was said as text only."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence

from agentflow.claims import Checked, Record, check
from agentflow.claims.answers import answers
from agentflow.encoding import chain_of, chained, linked, seal_of
from agentflow.events import Event, RunFinished
from agentflow.exceptions import ProjectError
from agentflow.journal import canonical
from agentflow.reporting import sections
from agentflow.reporting.account import Account
from agentflow.reporting.graph import Way, marked_picture, steps_in_words
from agentflow.reporting.style import CSS
from agentflow.reporting.text import Allowance, cleaning, esc, shown
from agentflow.reporting.tree import tree_of
from agentflow.reporting.waterfall import waterfall
from agentflow.spec import from_data

# Characters of payloads on a page, and of each one of them.
_LEGEND = '<p class="note">Green: the way that was taken. Pale: not visited. Red: failed.</p>'
PAYLOADS, EACH, LEAST = 1_500_000, 20_000, 300


def page(
    events: Sequence[Event],
    head: str,
    *,
    driven: bool = False,
    note: str = "",
    clean: Callable[[str], str] = str,
) -> str:
    """The page of a run, from its events; `head` is the hash that the journal names as the last one.

    `driven`: a process is at the run now. `note` is what is known of the head from elsewhere, such as a signature. `clean`
    takes out of each text what the page must not tell.
    """
    with cleaning(clean):
        return _page(events, head, driven=driven, note=note)


def _page(events: Sequence[Event], head: str, *, driven: bool, note: str) -> str:
    account = Account.of(events, driven=driven)
    tops = tree_of(events)
    rows = sum(1 for top in tops for _ in top.all())
    allowance = Allowance(left=PAYLOADS, each=max(LEAST, min(EACH, PAYLOADS // max(1, 3 * rows))))
    parts = [(id_, name, body) for id_, name, body in _parts(events, account, allowance) if body]
    parts.append(("waterfall", "Waterfall", waterfall(tops, allowance)))
    nav = " ".join(f'<a href="#{id_}">{esc(name)}</a>' for id_, name, _ in parts)
    body = "".join(
        f'<section id="{id_}"><h2>{esc(name)}</h2>{inside}</section>' for id_, name, inside in parts
    )
    title = f"{account.started.workflow} · {account.started.run} · {account.status}"
    chain = _chain(events, head) + (f"<br>{esc(note)}" if note else "")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">'
        f"<title>{esc(title)}</title><style>{CSS}</style></head><body>"
        f'<a class="skip" href="#main">Skip to what went wrong</a>{sections.heading(account, head, chain)}'
        f'<nav aria-label="Parts of the page">{nav}</nav><main id="main">{body}</main>'
        f"</body></html>\n"
    )


def _policy() -> str:
    """Nothing may be loaded and nothing run; the one style sheet is known by its hash."""
    digest = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _parts(events: Sequence[Event], account: Account, allowance: Allowance) -> Iterator[tuple[str, str, str]]:
    yield "problems", "What went wrong", sections.problems(account)
    last = events[-1]
    checked = _checked(events) if isinstance(last, RunFinished) else []
    yield "answers", "Answers and their sources", "".join(sections.answers(checked, allowance))
    if isinstance(last, RunFinished) and not checked:
        yield "output", "Output", shown(last.output, allowance)

    yield "input", "Input", shown(account.started.input, allowance)
    yield "questions", "Approvals", sections.questions(account.questions) if account.questions else ""
    yield "plans", "The planner's reasoning", sections.plans(account) if account.plans else ""
    yield "costs", "Costs", sections.costs(account)
    yield "graph", "Graph", _graph(events, account)
    yield "history", "What happened to the run", sections.history(account) if account.notices else ""
    yield "artifacts", "Files", sections.artifacts(account) if account.artifacts else ""


def _checked(events: Sequence[Event]) -> list[tuple[str, Checked]]:
    record = Record.of(events)
    return [(where, check(answer, record)) for where, answer in answers(events) if where.startswith("output")]


def _graph(events: Sequence[Event], account: Account) -> str:
    spec, way = from_data(account.spec), Way.of(events)
    try:
        return f'<div class="graph">{marked_picture(spec, way)}</div>{_LEGEND}'
    except ProjectError as error:
        steps = "".join(
            f"<li>{esc(name)}: visited {n} times</li>" for name, n in steps_in_words(spec, way).items()
        )
        return f'<p class="note">{esc(error)}; {esc(error.hint)}</p><ul>{steps}</ul>'


def _chain(events: Sequence[Event], head: str) -> str:
    """Whether the events on this page come to the head that the journal names."""
    made, chain = b"", chain_of(events[0])
    for event in events:
        # By the digest of what was written, where it is known: what is written anew may hide a secret more.
        digest = seal_of(event)
        made = linked(made, digest) if chain != 1 and digest else chained(made, canonical(event), chain)

    if made.hex() == head:
        return f'<span class="ok">✓ the chain of these {len(events):,} events comes to this head</span>'

    return f'<span class="bad">✗ the chain of these {len(events):,} events comes to {made.hex()}</span>'
