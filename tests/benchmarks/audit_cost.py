"""What the audit trail costs: `python -m tests.benchmarks.audit_cost [--json]`.

CPU, medians (and p95) of eleven samples each beside its twin without the audit, in the same process: on a shared machine
compare the two, not the figures with those of another day.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agentflow import MemoryJournal, Settings, SqliteJournal, run
from agentflow.audit.rows import verify_rows
from agentflow.audit.spans import verify_spans
from agentflow.encoding import chained, decode, encode, linked
from agentflow.events import Event, OperationFinished, OperationStarted, Payload
from agentflow.journal import Trail, canonical
from agentflow.tracing.content import told
from agentflow.tracing.document import otlp_json
from agentflow.tracing.received import spans_in
from agentflow.tracing.spans import spans_of
from tests.benchmarks.flows import chain
from tests.journal.examples import started
from tests.tracing import ordering

SAMPLES = 11


def measured(units: int, work: Callable[[], object]) -> tuple[float, float]:
    """CPU microseconds per unit: median and p95, after a sample that does not count."""
    figures: list[float] = []
    for _ in range(SAMPLES + 1):
        begin = time.process_time()
        work()
        figures.append((time.process_time() - begin) / units * 1e6)

    ordered = sorted(figures[1:])
    return statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))]


async def steps_of(length: int) -> list[Event]:
    """A run of plain steps: two events each."""
    journal = MemoryJournal()
    await run(chain(length), 1, run_id="r", settings=Settings(journal=journal)).result()
    return await journal.read("r")


async def agents() -> list[Event]:
    """A run with a planner, an agent, tools, approvals and effects in doubt."""
    journal = MemoryJournal()
    await run(ordering.ordering, "go", run_id="r", settings=ordering.settings(journal)).result()
    await ordering.finished(journal)
    return await journal.read("r")


def chats(count: int) -> list[Event]:
    """A run of model calls with what a chat holds: requests of some 12 KiB, which are kept beside their events."""
    words = " ".join(hashlib.sha256(str(n).encode()).hexdigest()[:7] for n in range(1500))
    events: list[Event] = [started()]
    for number in range(count):
        request = {"messages": [{"type": "message", "role": "user", "content": f"{number} {words}"}]}
        answer = [{"type": "message", "role": "assistant", "content": f"answer {number} {words[:900]}"}]
        events += [
            OperationStarted(
                seq=len(events) + 1, at=2000 + 2 * number, step="a#1", operation=f"1.{number}", kind="chat",
                name="m", request=Payload(request),
            ),
            OperationFinished(
                seq=len(events) + 2, at=2001 + 2 * number, step="a#1", operation=f"1.{number}",
                result=Payload(answer), usage={"input_tokens": 3000, "output_tokens": 300},
            ),
        ]  # fmt: skip

    return events


def anew(events: Sequence[Event]) -> list[Event]:
    """The same events, of which nobody knows a digest yet."""
    return [decode(encode(event)) for event in events]


def span_figures(events: Sequence[Event]) -> dict[str, Any]:
    """What spans cost in CPU and bytes, with records and without."""
    count = len(spans_of(events))

    def made(*, with_records: bool, content: bool) -> Callable[[], object]:
        copies = [anew(events) for _ in range(SAMPLES + 1)]
        return lambda: [
            told(span, content=content) for span in spans_of(copies.pop(), with_records=with_records)
        ]

    def size(*, with_records: bool, content: bool) -> int:
        spans = spans_of(events, with_records=with_records)
        return len(json.dumps(otlp_json(spans, content=content), separators=(",", ":")))

    figures: dict[str, Any] = {"events": len(events), "spans": count}
    for name, content in (("content", True), ("no content", False)):
        bare = measured(count, made(with_records=False, content=content))
        full = measured(count, made(with_records=True, content=content))
        sizes = [size(with_records=flag, content=content) for flag in (False, True)]
        figures[name] = {
            "us per span without": bare,
            "us per span with": full,
            "us per event more": (full[0] - bare[0]) * count / len(events),
            "bytes per span without": sizes[0] / count,
            "bytes per span with": sizes[1] / count,
            "bytes per event more": (sizes[1] - sizes[0]) / len(events),
        }

    return figures


def verify_figures(events: Sequence[Event]) -> dict[str, Any]:
    """Events a second that are verified, of CPU, from rows and from spans with the parsing of their file."""
    trail = asyncio.run(_trail(events))
    text = json.dumps(otlp_json(spans_of(events, with_records=True)))
    assert verify_rows(trail).state == "ok"
    verdict = verify_spans(spans_in(json.loads(text)), "r")
    assert verdict.fault is None
    rows = measured(len(events), lambda: verify_rows(trail))
    spans = measured(len(events), lambda: verify_spans(spans_in(json.loads(text)), "r"))
    return {"rows": 1e6 / rows[0], "spans": 1e6 / spans[0], "bytes of the file": len(text)}


async def _trail(events: Sequence[Event]) -> Trail:
    journal = MemoryJournal()
    await journal.append("r", events)
    trail = await journal.trail("r")
    assert trail is not None
    return trail


def chain_figures(events: Sequence[Event]) -> dict[str, Any]:
    """What the way of chaining costs an event, and an append in all, one by one."""
    raws = [canonical(event) for event in events]

    def first() -> None:
        head = b""
        for raw in raws:
            head = chained(head, raw)

    def second() -> None:
        head = b""
        for raw in raws:
            head = linked(head, hashlib.sha256(raw).digest())

    return {
        "us per event, chain 1": measured(len(raws), first),
        "us per event, chain 2": measured(len(raws), second),
        "us per append to SQLite": measured(len(events), lambda: asyncio.run(_append(anew(events)))),
    }


async def _append(events: Sequence[Event]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "j.db")
        for event in events:
            await journal.append("r", [event])

        await journal.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    runs = {
        "500 plain steps": asyncio.run(steps_of(500)),
        "agents and people": asyncio.run(agents()),
        "100 chats of 12 KiB": chats(100),
    }
    figures: dict[str, Any] = {"chain": chain_figures(runs["500 plain steps"])}
    for name, events in runs.items():
        figures[name] = {**span_figures(events), "verified, events/s": verify_figures(events)}

    if given.json:
        json.dump(figures, sys.stdout, indent=2)
        return

    _print(figures)


def _print(figures: Any, indent: str = "") -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            _print(value, indent + "  ")
        elif isinstance(value, tuple):
            print(f"{indent}{name}: {value[0]:.1f} (p95 {value[1]:.1f})")
        else:
            print(f"{indent}{name}: {value:,.1f}")


if __name__ == "__main__":
    main()
