"""Where two runs part: step by step, call by call, in what was asked, what came, tokens, money and time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from typing import Any, Literal

from agentflow.app.resuming import definition_of
from agentflow.changes import changes
from agentflow.engine.divergence import Difference, error_text, payload_difference, same_error, shown
from agentflow.events import (
    ApprovalGiven,
    ErrorInfo,
    Event,
    OperationFinished,
    OperationStarted,
    Payload,
    RunFailed,
    RunFinished,
    RunResumed,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
)
from agentflow.journal import said_by, status_of
from agentflow.marking import unmarked

Part = Literal["input", "steps", "calls", "request", "result", "answer", "error", "output"]


@dataclass(slots=True, kw_only=True)
class Cost:
    """What something used: `usd` is None where a price is not known, `seconds` is from its begin to its end."""

    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0
    usd: float | None = 0.0
    seconds: float = 0.0

    def add(self, usage: Any) -> None:
        """Add what a call used."""
        if not usage:
            return

        self.tokens += int(usage.get("input_tokens") or 0) + int(usage.get("output_tokens") or 0)
        priced = self.usd is not None and "usd" in usage
        self.usd = self.usd + float(usage["usd"]) if priced and self.usd is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """One thing that is different: of what, where in it, and both sides cut so that the difference is seen."""

    part: Part
    what: str
    path: str
    a: str
    b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One activation in both runs; None stands for a run that did not come to it."""

    step: str
    a: Cost | None
    b: Cost | None
    partings: Sequence[Parting]

    @property
    def same(self) -> bool:
        return not self.partings and self.a is not None and self.b is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two runs."""

    run: str
    workflow: str
    model: str
    status: str
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """How two runs differ. `first` is the first thing that is different, in the order of the first run; `rows` are all steps.

    `definition` holds in words what is different in what the runs followed, and `partings` what differs of the runs as such.
    """

    a: Side
    b: Side
    definition: Sequence[str]
    partings: Sequence[Parting]
    rows: Sequence[Row]

    @property
    def same(self) -> bool:
        return not self.partings and all(row.same for row in self.rows)

    @property
    def first(self) -> tuple[str, Parting] | None:
        """The step, empty for the run as such, and what is different there first."""
        own = [("", parting) for parting in self.partings if parting.part == "input"]
        inner = [(row.step, parting) for row in self.rows for parting in row.partings]
        return next(iter([*own, *inner, *(("", parting) for parting in self.partings)]), None)


@dataclass(slots=True, kw_only=True)
class _Call:
    started: OperationStarted
    finished: OperationFinished | None = None


@dataclass(slots=True, kw_only=True)
class _Visit:
    """What one activation did, over all its attempts."""

    step: str
    attempts: int = 0
    calls: dict[str, _Call] = field(default_factory=dict[str, _Call])
    answers: list[ApprovalGiven] = field(default_factory=list[ApprovalGiven])
    output: Payload | None = None
    error: ErrorInfo | None = None
    cost: Cost = field(default_factory=Cost)
    begun: int = 0


def diff(a: Sequence[Event], b: Sequence[Event]) -> Diff:
    """Compare two runs by their events; they may be of other models, and of other definitions."""
    left, right = _visits(a), _visits(b)
    steps = list(dict.fromkeys([*left, *right]))
    rows = [_row(step, left.get(step), right.get(step)) for step in steps]
    old, new = definition_of(a), definition_of(b)
    definition = [] if old.digest == new.digest else [str(change) for change in changes(old, new)]
    return Diff(
        a=_side(a, left), b=_side(b, right), definition=definition, partings=list(_of_runs(a, b)), rows=rows
    )


def _side(events: Sequence[Event], visits: dict[str, _Visit]) -> Side:
    started = events[0]
    assert isinstance(started, RunStarted)
    # The time until somebody took a run up, or forked it, is not its own.
    spent = sum(b.at - a.at for a, b in pairwise(events) if not isinstance(b, RunResumed))
    total = Cost(seconds=spent / 1e9)
    for visit in visits.values():
        total.model_calls += visit.cost.model_calls
        total.tool_calls += visit.cost.tool_calls
        total.tokens += visit.cost.tokens
        total.usd = None if total.usd is None or visit.cost.usd is None else total.usd + visit.cost.usd

    models = [event.model for event in events if isinstance(event, RunStarted | RunResumed)]
    return Side(
        run=started.run,
        workflow=started.workflow,
        model=" -> ".join(dict.fromkeys(models)),
        status=status_of(said_by(events[-1]), driven=False),
        cost=total,
    )


def _visits(events: Iterable[Event]) -> dict[str, _Visit]:
    found: dict[str, _Visit] = {}
    for event in events:
        if isinstance(event, StepStarted):
            visit = found.setdefault(event.step, _Visit(step=event.step, begun=event.at))
            visit.attempts += 1
        elif (known := found.get(getattr(event, "step", ""))) is not None:
            _see(known, event)

    return found


def _see(visit: _Visit, event: Event) -> None:
    match event:
        case OperationStarted():
            visit.calls[event.operation] = _Call(started=event)
            visit.cost.model_calls += event.kind == "chat"
            visit.cost.tool_calls += event.kind == "tool"
        case OperationFinished():
            visit.cost.add(event.usage)
            if event.operation in visit.calls:
                visit.calls[event.operation].finished = event
        case ApprovalGiven():
            visit.answers.append(event)
        case StepFinished():
            visit.output, visit.error = event.output, None
            visit.cost.seconds = (event.at - visit.begun) / 1e9
        case StepFailed():
            visit.error = event.error
            visit.cost.seconds = (event.at - visit.begun) / 1e9
        case _:
            pass


def _row(step: str, a: _Visit | None, b: _Visit | None) -> Row:
    if a is None or b is None:
        sides = ("came to it", "did not come to it")
        told = sides if b is None else (sides[1], sides[0])
        partings = [Parting(part="steps", what=step, path="", a=told[0], b=told[1])]
    else:
        partings = list(_partings(a, b))

    return Row(
        step=step,
        a=a.cost if a is not None else None,
        b=b.cost if b is not None else None,
        partings=partings,
    )


def _partings(a: _Visit, b: _Visit) -> Iterator[Parting]:
    """What is different in one activation, in the order in which it came about."""
    calls = [
        found
        for left, right in zip_longest(a.calls.values(), b.calls.values())
        for found in _of_calls(left, right)
    ]
    # An agent's result is different because of an answer inside of it: what came first goes first.
    yield from (parting for _, parting in sorted(calls, key=lambda found: found[0]))
    for one, other in zip_longest(a.answers, b.answers):
        if _answer(one) != _answer(other):
            yield Parting(part="answer", what="a person's answer", path="", a=_answer(one), b=_answer(other))

    if a.attempts != b.attempts:
        yield Parting(part="calls", what="attempts", path="", a=str(a.attempts), b=str(b.attempts))

    if not same_error(a.error, b.error):
        yield Parting(part="error", what="error", path="", a=error_text(a.error), b=error_text(b.error))

    if found := payload_difference(a.output, b.output):
        yield _parting("output", "output", found)


def _answer(given: ApprovalGiven | None) -> str:
    if given is None:
        return "none"

    comment = f": {given.comment}" if given.comment else ""
    return f"{'yes' if given.approved else 'no'}, by {given.by}{comment}"


def _of_calls(a: _Call | None, b: _Call | None) -> Iterator[tuple[int, Parting]]:
    """What is different in two calls, each with the event of the first run at which it is seen."""
    one, other = _named(a), _named(b)
    if a is None or b is None or one != other:
        at = next(call.started.seq for call in (a, b) if call is not None)
        yield at, Parting(part="calls", what="call", path="", a=_asked(a), b=_asked(b))
        return

    if found := payload_difference(_request(a.started), _request(b.started)):
        yield a.started.seq, _parting("request", one, found)

    ended = a.finished or b.finished
    if ended is not None and (parting := _of_ends(one, a.finished, b.finished)) is not None:
        yield ended.seq, parting


def _request(started: OperationStarted) -> Payload | None:
    """What a call was asked for, without the marks of text from outside: each run has marks of its own."""
    request = started.request
    return None if request is None else Payload(raw=unmarked(request.json.decode()).encode())


def _of_ends(what: str, a: OperationFinished | None, b: OperationFinished | None) -> Parting | None:
    if a is None or b is None:
        ends = ["it did not end" if ended is None else "it ended" for ended in (a, b)]
        return Parting(part="result", what=what, path="", a=ends[0], b=ends[1])

    if not same_error(a.error, b.error):
        return Parting(part="error", what=what, path="", a=error_text(a.error), b=error_text(b.error))

    found = payload_difference(a.result, b.result)
    return None if found is None else _parting("result", what, found)


def _named(call: _Call | None) -> str:
    if call is None:
        return "none"

    # Models are asked the same whatever they are called: that they are others is said of the runs.
    return "chat" if call.started.kind == "chat" else f"{call.started.kind} `{call.started.name}`"


def _asked(call: _Call | None) -> str:
    if call is None or call.started.request is None:
        return _named(call)

    return f"{_named(call)} {shown(call.started.request.data)}"


def _parting(part: Part, what: str, found: Difference) -> Parting:
    return Parting(part=part, what=what, path=found.path, a=found.old, b=found.new)


def _of_runs(a: Sequence[Event], b: Sequence[Event]) -> Iterator[Parting]:
    """What is different in what the runs were given and what they came to."""
    first, second = a[0], b[0]
    assert isinstance(first, RunStarted)
    assert isinstance(second, RunStarted)
    if found := payload_difference(first.input, second.input):
        yield _parting("input", "input", found)

    ends = [_end(events) for events in (a, b)]
    if ends[0][0] != ends[1][0]:
        yield Parting(part="error", what="end", path="", a=ends[0][0], b=ends[1][0])
    elif found := payload_difference(ends[0][1], ends[1][1]):
        yield _parting("output", "output", found)


def _end(events: Sequence[Event]) -> tuple[str, Payload | None]:
    last = events[-1]
    status = status_of(said_by(last), driven=False)
    if isinstance(last, RunFinished):
        return status, last.output

    return f"{status}: {error_text(last.error)}" if isinstance(last, RunFailed) else status, None
