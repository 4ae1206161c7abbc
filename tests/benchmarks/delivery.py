"""What delivery costs: CPU and bytes per span, by step of its way and by level of content, and the rate to a receiver.

Run as `python -m tests.benchmarks.delivery`, with `--json` for figures only. The receiver is on loopback, in a process of its
own, and only takes what comes. CPU time is of this process alone, all threads; medians of rounds, and the 95th percentile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agentflow import Context, MemoryJournal, Settings, Workflow, each, operation, run, step
from agentflow.events import Event
from agentflow.tracing.collector import Collector
from agentflow.tracing.content import LEVELS, Capture, told
from agentflow.tracing.document import document, otlp_json
from agentflow.tracing.export import Exporter
from agentflow.tracing.spans import SpanData, SpanFolder
from agentflow.tracing.wire import Wire

ROUNDS = 7
WORDS = (
    "some ordinary words about hotels in Lisbon and what they may cost a night; ask desk@example.org " * 10
)


@step
async def split(count: int) -> list[int]:
    return list(range(count))


@step
async def work(n: int, ctx: Context) -> str:
    told_ = {"instructions": "Be brief.", "messages": [{"role": "user", "content": f"{n} {WORDS}"}]}
    async with operation("chat", "m", request=told_, provider="openai", request_model="m") as said:
        said.result = [{"type": "message", "role": "assistant", "content": WORDS}]
        said.usage = {"input_tokens": 300, "output_tokens": 200}

    async with operation("tool", "look", request={"at": n}) as used:
        used.result = {"found": WORDS}

    return f"{n} {WORDS[:200]}"


@step
async def join(parts: list[str]) -> int:
    return len(parts)


sample = Workflow(
    "sample", start=split, end=join, edges=[split >> each(work, at_most=1000, parallel=8) >> join]
)


async def events_of(items: int) -> list[Event]:
    """The events of a run with a model call and a tool call for each item, each with about a kilobyte each way."""
    journal = MemoryJournal()
    await run(sample, items, run_id="r", settings=Settings(journal=journal)).result()
    return await journal.read("r")


def folded(events: Sequence[Event], *, with_records: bool) -> list[SpanData]:
    folder = SpanFolder("r", with_records=with_records)
    return [span for event in events for span in folder.fold(event)]


def _told(spans: Sequence[SpanData], capture: Capture) -> list[SpanData]:
    return [told(span, content=capture) for span in spans]


def cpu(work_: Callable[[], object], count: int) -> dict[str, float]:
    """Microseconds of CPU per span: the median of rounds, and the 95th percentile."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        before = time.process_time()
        work_()
        taken.append((time.process_time() - before) / count * 1e6)

    taken.sort()
    return {"median": round(statistics.median(taken), 1), "p95": round(taken[-1], 1)}


class Sink(BaseHTTPRequestHandler):
    """Takes what it is sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        return


def serve(told_: Any) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    told_.send(server.server_port)
    server.serve_forever()


def measure(items: int) -> dict[str, Any]:
    """All figures, by name."""
    events = asyncio.run(events_of(items))
    spans = folded(events, with_records=True)
    count = len(spans)
    figures: dict[str, Any] = {
        "spans": count,
        "events": len(events),
        "cpu_us_per_span": {
            "fold": cpu(lambda: folded(events, with_records=False), count),
            "fold with records": cpu(lambda: folded(events, with_records=True), count),
        },
        "bytes_per_span": {},
    }
    wire = Wire(Collector(endpoint="http://127.0.0.1:9/v1/traces"), {})
    for level in LEVELS:
        capture = Capture(level)
        tell = partial(_told, spans, capture)
        figures["cpu_us_per_span"][f"tell, {level}"] = cpu(tell, count)
        shown = tell()
        text = json.dumps(otlp_json(spans, content=capture), ensure_ascii=False, separators=(",", ":"))
        figures["bytes_per_span"][level] = {
            "protobuf": len(wire._protobuf(shown)) // count,
            "json": len(text.encode()) // count,
        }

    shown = _told(spans, Capture())
    figures["cpu_us_per_span"]["encode, protobuf"] = cpu(lambda: wire._protobuf(shown), count)
    figures["cpu_us_per_span"]["encode, json"] = cpu(lambda: json.dumps(document(shown, {})).encode(), count)
    figures |= delivered(events, count)
    return figures


def delivered(events: Sequence[Event], count: int) -> dict[str, Any]:
    """All of the way, with the rate by the clock."""
    here, there = multiprocessing.Pipe()
    receiver = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    receiver.start()
    collector = Collector(endpoint=f"http://127.0.0.1:{here.recv()}/v1/traces")
    rates: list[float] = []

    def deliver() -> None:
        before = time.monotonic()
        exporter = Exporter(collector, content=Capture(), environ={})
        for event in events:
            exporter(event)

        delivery = exporter.flush(120)
        assert delivery.sent == count, delivery
        exporter.close()
        rates.append(count / (time.monotonic() - before))

    try:
        deliver()  # what is loaded once is not counted
        rates.clear()
        whole = cpu(deliver, count)
    finally:
        receiver.terminate()
        receiver.join()

    return {"delivered": {"cpu_us_per_span": whole, "spans_per_second": round(statistics.median(rates))}}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--items", type=int, default=200, help="each makes three spans")
    given = parser.parse_args()
    figures = measure(given.items)
    if given.json:
        print(json.dumps(figures))
        return

    print(f"{figures['spans']} spans of {figures['events']} events")
    for name, taken in figures["cpu_us_per_span"].items():
        print(f"  {name:20} {taken['median']:8.1f} us of CPU a span (p95 {taken['p95']:.1f})")

    for level, sizes in figures["bytes_per_span"].items():
        print(f"  {level:20} {sizes['protobuf']:8} bytes a span as protobuf, {sizes['json']} as JSON")

    whole = figures["delivered"]
    print(
        f"  delivered            {whole['cpu_us_per_span']['median']:8.1f} us of CPU a span,"
        f" {whole['spans_per_second']} spans/s by the clock"
    )


if __name__ == "__main__":
    main()
