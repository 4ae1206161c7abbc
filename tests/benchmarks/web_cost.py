"""What a call of the web tools costs beside the network: `python -m tests.benchmarks.web_cost [--json] [--calls N]`.

A server in another process on this machine answers at once. Milliseconds of wall time and of CPU in this process (median
and p95), KiB that a call allocates at its peak in this process, and MiB that the child which reads HTML takes at its peak.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentflow.toolkit.web import PageReader, SearXng, WebSearch
from agentflow.toolkit.web import page as page_module
from tests.toolkit.sites import Reply, Site, in_json, names

_FIXTURES = Path(__file__).parents[1] / "toolkit" / "fixtures"
Call = Callable[[int], Awaitable[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--calls", type=int, default=50, help="calls of each kind")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return

    with served() as base, tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(measure(base, Path(folder), options.calls))

    if options.json:
        print(json.dumps(results))
        return

    for name, figures in results.items():
        print(f"{name:28}", "  ".join(f"{key} {value}" for key, value in figures.items()))


async def measure(base: str, folder: Path, calls: int) -> dict[str, dict[str, float]]:
    """Figures by what was called."""
    port = int(base.rpartition(":")[2])
    limits: dict[str, Any] = {"ports": [port], "networks": ["127.0.0.1/32"], "resolver": names({})}
    reading, on_disk = PageReader(**limits), PageReader(**limits, folder=folder)
    searching = WebSearch([SearXng(base)], keep=0)
    kept = WebSearch([SearXng(base)])
    engines = WebSearch(["ddgs"], backends="duckduckgo", keep=0, resolver=names({}))
    point_engine_at(base)

    async def from_disk(_: int) -> Any:
        # A reader of its own has nothing in memory.
        return await PageReader(**limits, folder=folder)(f"{base}/page")

    await on_disk(f"{base}/page")
    await kept("tent")
    kinds: dict[str, Call] = {
        "search, SearXNG": lambda n: searching(f"tent {n}"),
        "search, one engine of ddgs": lambda n: engines(f"tent {n}"),
        "search, kept": lambda _: kept("tent"),
        "fetch, 160 kB of HTML": lambda _: reading(f"{base}/page", max_age=0),
        "fetch, plain text": lambda _: reading(f"{base}/text", max_age=0),
        "fetch, PDF of a page": lambda _: reading(f"{base}/travel.pdf", max_age=0),
        "fetch, kept in memory": lambda _: on_disk(f"{base}/page"),
        "fetch, kept on disk": from_disk,
    }
    results = {name: await figures(call, calls) for name, call in kinds.items()}
    results["child that reads HTML"] = {"peak_MiB": child_peak()}
    return results


async def figures(call: Call, calls: int) -> dict[str, float]:
    await call(0)
    walls, cpus = [], []
    for n in range(1, calls + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        await call(n)
        walls.append(1000 * (time.perf_counter() - wall))
        cpus.append(1000 * (time.process_time() - cpu))

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    await call(calls + 1)
    peak = (tracemalloc.get_traced_memory()[1] - before) / 1024
    tracemalloc.stop()
    return {
        "wall_ms": round(statistics.median(walls), 2),
        "wall_p95_ms": round(p95(walls), 2),
        "cpu_ms": round(statistics.median(cpus), 2),
        "cpu_p95_ms": round(p95(cpus), 2),
        "peak_KiB": round(peak),
    }


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


def child_peak() -> float:
    """The most memory that a child for HTML had in use, where this system tells."""
    peaks = [0.0]
    for child in page_module._extractors._children:
        status = Path(f"/proc/{child._process.pid}/status") if child._process else Path("/nowhere")
        found = re.search(r"VmHWM:\s*(\d+)", status.read_text()) if status.exists() else None
        peaks.append(int(found[1]) / 1024 if found else 0.0)

    return round(max(peaks), 1)


def point_engine_at(base: str) -> None:
    from ddgs.engines.duckduckgo import Duckduckgo

    Duckduckgo.search_url = f"{base}/duck"


@contextmanager
def served() -> Generator[str]:
    """The address of a server in another process, whose work is not counted here."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.web_cost", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def serve() -> None:
    site = Site()
    hits = [
        {"title": f"Tents {n}", "url": f"https://{n}.example/", "content": "A tent for two. " * 20}
        for n in range(20)
    ]
    rows = "".join(
        f'<div class="result__body"><h2><a href="{hit["url"]}">{hit["title"]}</a></h2>'
        f'<a href="{hit["url"]}">{hit["content"]}</a></div>'
        for hit in hits
    )
    paragraph = "We mend tents, packs and stoves in our workshop, and have done so since 1994. " * 8
    article = "".join(f"<h2>Part {n}</h2><p>{paragraph}</p><p>{paragraph}</p>" for n in range(120))
    page = (
        f"<html><head><title>Repairs</title></head><body><nav>Home</nav><main>{article}</main></body></html>"
    )
    site.replies = {
        "/search": in_json({"results": hits}),
        "/duck": Reply(f"<html><body>{rows}</body></html>".encode()),
        "/page": Reply(page.encode()),
        "/text": Reply((paragraph * 20).encode(), headers={"Content-Type": "text/plain"}),
        "/travel.pdf": Reply(
            (_FIXTURES / "travel.pdf").read_bytes(), headers={"Content-Type": "application/pdf"}
        ),
    }
    print(site.url, flush=True)
    sys.stdin.read()
    site.close()


if __name__ == "__main__":
    main()
