"""`audit verify`: whether a trail is what was written, from the journal or from spans."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agentflow.audit.heads import Head, read_heads
from agentflow.audit.kept import against, vanished
from agentflow.audit.keys import PublicKey, public_key
from agentflow.audit.rows import hashes_in, verify_rows
from agentflow.audit.spans import hashes_in as hashes_of_spans
from agentflow.audit.spans import runs_in, verify_spans
from agentflow.audit.verdict import Fault, Verdict
from agentflow.cli.definitions import opened, project_here
from agentflow.cli.output import DONE, UNPROVEN, count, escape, out, print_json
from agentflow.exceptions import JournalDamaged, ProjectError, TraceUnreadable, UnknownName
from agentflow.journal import Journal
from agentflow.journal.refusals import unknown_run
from agentflow.tracing.ids import hex_trace_id, trace_id
from agentflow.tracing.jaeger import fetch_trace
from agentflow.tracing.received import Received, read_file, spans_in

_COLORS = {"ok": "green", "incomplete": "yellow", "forged": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be verified, and against which heads."""

    run: str | None = None
    is_for_all: bool = False
    file: Path | None = None
    jaeger: str | None = None
    heads: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The heads that are kept, by run; `is_wanted` where the person named the file."""

    heads: Mapping[str, Sequence[Head]]
    key: PublicKey | None
    notes: Sequence[str]
    is_wanted: bool


def verify(question: Question, *, as_json: bool) -> int:
    """Verify one trail or all; gives the exit code: 4 unless each is what was written."""
    _check(question)
    known = _known(question)
    if question.file is not None or question.jaeger is not None:
        verdicts, source = _from_spans(question, known)
    else:
        verdicts, source = asyncio.run(_from_journal(question, known))

    is_proven = bool(verdicts) and all(verdict.state == "ok" for verdict in verdicts) and not known.notes
    if as_json:
        told = [asdict(verdict) for verdict in verdicts]
        print_json({"source": source, "ok": is_proven, "runs": told, "notes": list(known.notes)})
    else:
        _print(verdicts, source, known)

    return DONE if is_proven else UNPROVEN


def _check(question: Question) -> None:
    if question.file is not None and question.jaeger is not None:
        raise ProjectError("`--file` and `--jaeger` are two places", hint="verify them one after the other")

    if question.run is not None and question.is_for_all:
        raise ProjectError("a run and `--all` are named", hint="name one of them")

    if question.jaeger is not None and question.run is None:
        raise ProjectError("no run is named", hint="name the run, or its trace id, that Jaeger is asked for")

    if question.run is None and not question.is_for_all and question.file is None:
        raise ProjectError("no run is named", hint="name one, or give `--all`; see `agentflow runs`")


def _known(question: Question) -> Known:
    key = public_key(question.key) if question.key is not None else None
    path = question.heads or _heads_of_project(question)
    if path is None and key is not None:
        raise ProjectError(
            "a key is named, but no heads that it signed", hint="name their file with `--heads`"
        )

    if path is None or (question.heads is None and not path.exists()):
        return Known(heads={}, key=key, notes=(), is_wanted=key is not None)

    heads, notes = read_heads(path)
    return Known(heads=heads, key=key, notes=notes, is_wanted=question.heads is not None or key is not None)


def _heads_of_project(question: Question) -> Path | None:
    try:
        return project_here().heads_file()
    except ProjectError:
        if question.file is None and question.jaeger is None:
            raise

        return None  # spans can be verified anywhere


async def _from_journal(question: Question, known: Known) -> tuple[list[Verdict], str]:
    async with opened(read_only=True) as journal:
        runs = [question.run] if question.run is not None else await _all_runs(journal, known)
        verdicts = [await _of_run(journal, run, known) for run in runs]

    return verdicts, "journal"


async def _all_runs(journal: Journal, known: Known) -> list[str]:
    rows = [*await journal.runs(), *await journal.runs(pruned=True)]
    return list(dict.fromkeys([*(row.run for row in rows), *(known.heads if known.is_wanted else ())]))


async def _of_run(journal: Journal, run: str, known: Known) -> Verdict:
    heads = known.heads.get(run, ())
    try:
        trail = await journal.trail(run)
    except JournalDamaged as error:
        return _unreadable(run, error)

    if trail is None:
        if heads:
            return vanished(run, heads)

        raise await unknown_run(journal, run)

    verdict = verify_rows(trail)
    hashes = {trail.count: trail.head} if trail.is_pruned else hashes_in(trail)
    return against(verdict, hashes, heads, key=known.key, is_wanted=known.is_wanted)


def _unreadable(run: str, error: JournalDamaged) -> Verdict:
    fault = Fault(seq=0, what="altered", why=f"{error}")
    return Verdict(run=run, state="forged", events=0, count=0, fault=fault)


def _from_spans(question: Question, known: Known) -> tuple[list[Verdict], str]:
    received, source = _received(question)
    runs = _runs_of(question, received, source)
    verdicts = [
        against(
            verify_spans(received, run),
            hashes_of_spans(received, run),
            known.heads.get(run, ()),
            key=known.key,
            is_wanted=known.is_wanted,
            is_whole=False,
        )
        for run in runs
    ]
    return verdicts, source


def _runs_of(question: Question, received: Sequence[Received], source: str) -> list[str]:
    """The runs to verify; each trace must be known by the name of its run, which its own span tells, or the person."""
    found = runs_in(received)
    if question.run is not None and trace_id(question.run) in found:
        return [question.run]

    named = {f"{trace:032x}": run for trace, run in found.items()}
    if question.run is not None and question.run not in named:
        raise UnknownName("run", question.run, [run for run in named.values() if run])

    wanted = named if question.run is None else {question.run: named[question.run]}
    if not wanted:
        raise TraceUnreadable(f"{source} has no span of a run", hint="give spans that agentflow sent")

    if nameless := [trace for trace, run in wanted.items() if not run]:
        raise TraceUnreadable(
            f"no span says which run the trace {nameless[0]} is of: the run's own is not there",
            hint="name the run",
        )

    return list(wanted.values())


def _received(question: Question) -> tuple[list[Received], str]:
    if question.file is not None:
        try:
            return read_file(question.file.read_text(encoding="utf-8", errors="replace")), str(question.file)
        except OSError as error:
            raise TraceUnreadable(f"{question.file} cannot be read: {error.strerror}") from None

    assert question.jaeger is not None
    assert question.run is not None
    return spans_in(fetch_trace(question.jaeger, _trace_named(question.run))), question.jaeger


def _trace_named(run: str) -> str:
    is_trace = len(run) == 32 and set(run) <= set("0123456789abcdef")
    return run if is_trace else hex_trace_id(run)


def _print(verdicts: Sequence[Verdict], source: str, known: Known) -> None:
    for verdict in verdicts:
        _print_one(verdict)

    for limit in dict.fromkeys(limit for verdict in verdicts for limit in verdict.limits):
        out.print(f"[dim]not told: {escape(limit)}[/]")

    for note in known.notes:
        out.print(f"[yellow]note:[/] {escape(note)}")

    states = [verdict.state for verdict in verdicts]
    words = [f"{states.count(state)} {state}" for state in _COLORS if state in states]
    out.print(f"\n{count(len(verdicts), 'run')} verified from {escape(source)}: {', '.join(words) or 'none'}")


def _print_one(verdict: Verdict) -> None:
    found = [count(verdict.events, "event"), count(verdict.spans, "span") if verdict.spans else ""]
    head = f"head {verdict.head[:16]}" if verdict.head else ""
    words = "  ".join(filter(None, [*found, head]))
    out.print(f"[{_COLORS[verdict.state]}]{verdict.state}[/]  {escape(verdict.run)}  [dim]{words}[/]")
    for line in _fault_lines(verdict) if verdict.fault is not None else ():
        out.print(f"  {escape(line)}")

    for gap in verdict.gaps:
        out.print(f"  not there: {escape(gap)}")

    if verdict.state == "ok":
        out.print(f"  [dim]checked: {escape('; '.join(verdict.checks))}[/]")


def _fault_lines(verdict: Verdict) -> list[str]:
    """What is wrong, what that means, and what to do."""
    fault = verdict.fault
    assert fault is not None
    about = ", ".join(filter(None, [fault.type, f"step {fault.step}" if fault.step else ""]))
    lines = [f"{_which(fault)}{f' ({about})' if about else ''} was {fault.what}: {fault.why}"]
    if fault.span:
        lines.append(f"look at span {fault.span} of trace {hex_trace_id(verdict.run)}")

    lines.append(f"that means: {_meaning(fault, is_whole=not verdict.gaps)}")
    lines.append(
        "what to do: keep this copy as it is, and compare it with another: a backup, the spans, the journal"
    )
    return lines


def _which(fault: Fault) -> str:
    if fault.upto > fault.seq:
        return f"one of the events {fault.seq} to {fault.upto}"

    which = f"event {fault.seq}" if fault.seq else ""
    if fault.of == "span":
        return f"the span of {which}" if which else "a span"

    return which or "the record"


def _meaning(fault: Fault, *, is_whole: bool) -> str:
    if fault.of == "span" and fault.seq:
        return "what this span shows is not what happened; the events that it is made of say that"

    before = f"events 1 to {fault.seq - 1} are what was written; " if fault.seq > 1 and is_whole else ""
    return f"{before}nothing from there on can be trusted"
