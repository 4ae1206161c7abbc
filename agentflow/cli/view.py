"""A run as a person watches it: which steps run, how long, what the planner chose and why, tokens and money."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from agentflow.cli.output import count, escape
from agentflow.engine.notices import Delta
from agentflow.events import (
    ApprovalAsked,
    ApprovalGiven,
    Event,
    MapExpanded,
    OperationDoubted,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    RunInterrupted,
    RunMigrated,
    RunPaused,
    RunResumed,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerSet,
)
from agentflow.reporting.text import visible

MARKS = {"run": "◐", "done": "✓", "fail": "✗", "wait": "…"}
STYLES = {"run": "yellow", "done": "green", "fail": "red", "wait": "cyan"}
SHOWN_ROWS = 40
SHOWN_LETTERS = 60  # of an argument


@dataclass(slots=True)
class Row:
    """One line of the view."""

    label: str
    depth: int
    started: int
    state: str = "run"
    ended: int = 0
    note: str = ""
    stream: str = ""
    kind: str = "step"
    parent: str = ""
    remark: str = ""

    def text(self, now: int) -> Text:
        seconds = ((self.ended or now) - self.started) / 1e9
        line = Text("  " * self.depth)
        line.append(f"{MARKS[self.state]} ", style=STYLES[self.state])
        line.append(visible(self.label), style="bold" if self.depth == 0 else "")
        line.append(f"  {seconds:.2f} s", style="dim")
        note = "  ".join(filter(None, (self.remark, self.note or self.stream[-90:].replace("\n", " "))))
        if note:
            line.append(f"  {visible(note)}", style="dim" if self.state != "fail" else "red")

        return line


@dataclass
class RunView:
    """An observer of a run that prints it: live on a terminal, line by line elsewhere."""

    console: Console
    live: bool
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    _live: Live | None = None
    _announced: set[str] = field(default_factory=set[str])
    _finished: int = 0

    def take_up(self, history: Sequence[Event]) -> None:
        """Know what happened before anybody watched."""
        self._finished = sum(isinstance(event, StepFinished) for event in history)

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop(keep=True)

    def _start(self) -> None:
        if self.live:
            self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=8)
            self._live.start()

    def _stop(self, *, keep: bool) -> None:
        if self._live is not None:
            self._live.transient = not keep
            self._live.stop()
            self._live = None

    @contextmanager
    def paused(self) -> Generator[None, None, None]:
        """Leave the terminal to a question, then go on."""
        running = self._live is not None
        self._stop(keep=False)
        try:
            yield
        finally:
            if running:
                self._start()

    def __call__(self, event: Event | Delta) -> None:
        match event:
            case Delta(step, text):
                self._stream(step, text)
            case StepStarted():
                self._begin(event.step, self._step_row(event.step, event.at))
                if event.attempt > 1:
                    self.rows[event.step].note = f"attempt {event.attempt}"
            case MapExpanded():
                self._row(event.step, event.at).note = f"{event.count} items"
            case StepFinished():
                self._end(event.step, event.at, "done", "")
            case StepFailed():
                self._end(event.step, event.at, "fail", f"{event.error.kind}: {event.error.message}")
            case OperationStarted():
                self._operation(event)
            case OperationFinished():
                self._operation_ended(event)
            case _:
                self._other(event)

    def _other(self, event: Event) -> None:
        match event:
            case ApprovalAsked():
                self._wait(event, f"waits for a person: {event.tool}" if event.tool else "waits for a person")
            case ApprovalGiven():
                self._go_on(event, f"{'approved' if event.approved else 'refused'} by {event.by}")
            case OperationDoubted():
                self._wait(event, f"it is not known whether `{event.name}` was done")
            case OperationResolved():
                self._go_on(event, f"{VERDICTS[event.verdict]}, says {event.by}")
            case TimerSet():
                self._wait(event, f"{self._row(event.step, event.at).note} until {clock(event.due)}".strip())
            case RunResumed() | RunMigrated() | RunPaused() | RunInterrupted():
                self._say(notice(event, self._finished))
            case _:
                pass

    def _wait(self, event: ApprovalAsked | OperationDoubted | TimerSet, note: str) -> None:
        row = self._row(event.step, event.at)
        row.state, row.note = "wait", note
        if not self.live:
            self.console.print(row.text(event.at))

    def _go_on(self, event: ApprovalGiven | OperationResolved, note: str) -> None:
        row = self._row(event.step, event.at)
        row.state, row.note = "run", note

    def _say(self, text: str) -> None:
        """A line about the run itself, above the steps where they are live."""
        self.console.print(Text(text, style="cyan"))

    def _row(self, key: str, at: int) -> Row:
        # A run that is taken up goes on with steps that began before anybody watched.
        if key not in self.rows:
            self.rows[key] = self._step_row(key, at)

        return self.rows[key]

    def _step_row(self, step: str, at: int) -> Row:
        entered, _, name = step.rpartition("/")
        if name.endswith("]"):
            entered = step.rpartition("[")[0]

        return Row(name, _depth(step), at, parent=entered)

    def _begin(self, key: str, row: Row) -> None:
        self.rows[key] = row

    def _end(self, key: str, at: int, state: str, note: str) -> None:
        row = self._row(key, at)
        row.ended, row.state, row.stream = at, state, ""
        row.note = note or row.note
        if not self.live:
            self.console.print(row.text(at))

    def _operation(self, event: OperationStarted) -> None:
        if not self.live and event.step not in self._announced:
            self._announced.add(event.step)
            self.console.print(self._row(event.step, event.at).text(event.at))

        depth = _depth(event.step) + (2 if event.parent else 1)
        label = f"{VERBS.get(event.kind, event.kind)} {event.name}"
        if event.kind == "tool" and event.request is not None:
            label = f"{event.name}({_arguments(event.request.data)})"

        parent = f"{event.step}/{event.parent}" if event.parent else event.step
        key = f"{event.step}/{event.operation}"
        row = Row(label, depth, event.at, kind=event.kind, parent=parent)
        if (event.attributes or {}).get("diverged"):
            row.remark = DIVERGED

        self._begin(key, row)

    def _operation_ended(self, event: OperationFinished) -> None:
        key = f"{event.step}/{event.operation}"
        if event.error is not None:
            self._end(key, event.at, "fail", event.error.message)
            return

        self._end(key, event.at, "done", _note(event, self._row(key, event.at).kind))

    def _stream(self, step: str, text: str) -> None:
        running = [row for key, row in self.rows.items() if key.startswith(step) and row.state == "run"]
        if running:
            running[-1].stream = (running[-1].stream + text)[-400:]

    def _in_order(self) -> list[Row]:
        """Each row under the one that it belongs to, in the order in which they began."""
        below: dict[str, list[tuple[str, Row]]] = {}
        for key, row in self.rows.items():
            below.setdefault(row.parent, []).append((key, row))

        ordered: list[Row] = []
        todo = list(reversed(below.get("", [])))
        while todo:
            key, row = todo.pop()
            ordered.append(row)
            todo += reversed(below.get(key, []))

        return ordered

    def _render(self) -> RenderableType:
        now = time.time_ns()
        rows = self._in_order()
        shown = (
            rows
            if len(rows) <= SHOWN_ROWS
            else [r for r in rows if r.depth == 0 or r.state == "run"][-SHOWN_ROWS:]
        )
        return Group(*(row.text(now) for row in shown))


def _depth(step: str) -> int:
    return step.count("/") + step.count("[")


VERBS = {
    "chat": "ask",
    "plan": "plan",
    "agent": "agent",
    "retrieval": "retrieve from",
    "embeddings": "embed with",
}


VERDICTS = {"done": "it was done", "retry": "to be tried again", "fail": "it failed"}
DIVERGED = "the request differs from what is recorded: asked anew"


def notice(event: RunResumed | RunMigrated | RunPaused | RunInterrupted, finished: int) -> str:
    """What happened to the run itself, in a line or a few."""
    match event:
        case RunMigrated():
            return "\n  ".join(["goes on with another definition:", *map(str, event.changes or ())])
        case RunPaused():
            return "pauses: only people are waited for"
        case RunInterrupted():
            return f"stops here, and can be resumed: {event.reason}"
        case _:
            raised = f"; budget now {limits_note(event.budget)}" if event.budget else ""
            return f"going on: {count(finished, 'finished step')}{raised}"


def limits_note(budget: Mapping[str, Mapping[str, Any]]) -> str:
    """Limits of the run and of its steps, as they are given: `usd=2, handle/draft.tokens=9000`."""
    return ", ".join(
        f"{where}.{name}={value}" if where else f"{name}={value}"
        for where, limits in budget.items()
        for name, value in limits.items()
    )


def _arguments(arguments: Any) -> str:
    if not isinstance(arguments, Mapping):
        return str(arguments)[:80]

    known = cast("Mapping[str, Any]", arguments)
    return ", ".join(f"{name}={_cut(repr(value))}" for name, value in known.items())


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…"


def _note(event: OperationFinished, kind: str) -> str:
    parts: list[str] = []
    result = event.result.data if event.result is not None else None
    if isinstance(result, dict):
        known = cast("dict[str, Any]", result)
        if "thought" in known:
            parts.append(str(known["thought"]))
    elif isinstance(result, list) and kind in ("tool", "retrieval"):
        parts.append(f"{len(result)} results")

    if event.usage:
        parts.append(usage_note(event.usage))

    return "  ".join(filter(None, parts))


def usage_note(usage: Mapping[str, Any]) -> str:
    """Tokens and money in a few words."""
    tokens = int(usage.get("input_tokens") or 0) + int(usage.get("output_tokens") or 0)
    usd = usage.get("usd")
    words = [f"{tokens:,} tokens"] if tokens else []
    if usd:
        words.append(f"${usd:.4f}")

    return ", ".join(words)


def clock(at: int) -> str:
    """A time of day, here, of nanoseconds since the epoch."""
    return time.strftime("%H:%M:%S", time.localtime(at / 1e9))


def quoted(text: str) -> str:
    """Text that Rich prints as it is."""
    return escape(text)
