"""What media cost: `python -m tests.benchmarks.media [--json]`.

A call is timed against a server on this machine, so it is what agentflow adds to the service's own time. Local speech needs
`agentflow[speech]` and espeak-ng, pictures `agentflow[ocr]`; what is not there is left out. Each part runs in a process of its
own, whose largest resident size is its memory; times are CPU and wall, median and 95th percentile.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

CALLS = 40
TEXT = "The meeting is moved to Thursday. Please bring the quarterly report. The train leaves at nine. "


def spread(samples: list[tuple[float, float]]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    cpu, wall = ([s[n] * 1000 for s in samples] for n in (0, 1))
    return {
        "cpu_ms": round(statistics.median(cpu), 2),
        "cpu_ms_p95": round(statistics.quantiles(cpu, n=20)[-1], 2),
        "wall_ms": round(statistics.median(wall), 2),
        "wall_ms_p95": round(statistics.quantiles(wall, n=20)[-1], 2),
    }


async def timed(call: Callable[[], Awaitable[Any]], times: int) -> list[tuple[float, float]]:
    await call()
    samples: list[tuple[float, float]] = []
    for _ in range(times):
        cpu, wall = time.process_time(), time.perf_counter()
        await call()
        samples.append((time.process_time() - cpu, time.perf_counter() - wall))

    return samples


def remote(folder: Path) -> dict[str, Any]:
    """Calls over HTTP: 1 MB of sound, a picture of 1 MB, a verdict, and the largest upload."""
    from agentflow.toolkit.media import Endpoint, Images, Moderator, Speech
    from tests.toolkit.media_server import MediaServer, Reply, Sent, says

    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + os.urandom(1_000_000)).decode()
    verdict = {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 0.1}}

    def reply(sent: Sent) -> Reply:
        if "audio" in sent.path:
            return says({"text": "a", "segments": [{"start": 0, "end": 1, "text": "a"}] * 100})

        return says({"data": [{"b64_json": picture}]} if "images" in sent.path else {"results": [verdict]})

    (folder / "small.mp3").write_bytes(os.urandom(1_000_000))
    (folder / "large.mp3").write_bytes(os.urandom(25_000_000))

    def serve(told: Connection) -> None:
        with MediaServer(reply) as server:
            told.send(server.url)
            told.recv()

    async def measure(url: str) -> dict[str, Any]:
        there = Endpoint(model="m", base_url=url)
        speech, images = Speech(folder, endpoint=there), Images(endpoint=there, out=folder)
        judge = Moderator(endpoint=there)
        found: dict[str, Any] = {"base_mb": resident()}
        found["moderate"] = spread(await timed(lambda: judge.moderate("hello"), CALLS))
        found["transcribe 1 MB"] = spread(await timed(lambda: speech.transcribe("small.mp3"), CALLS))
        found["generate 1 MB"] = spread(await timed(lambda: images.generate("a fox"), CALLS))
        found["mb_after_small"] = resident()
        await speech.transcribe("large.mp3")
        found["mb_after_25_mb"] = resident()
        return found

    # In a process of its own: taking a form apart costs the server more than making one costs us.
    apart = get_context("fork")
    here, there = apart.Pipe()
    process = apart.Process(target=serve, args=(there,))
    process.start()
    try:
        return asyncio.run(measure(here.recv()))
    finally:
        here.send("enough")
        process.join()


def heard(folder: Path) -> dict[str, Any]:
    """A minute of a synthetic voice, as a share of its own length."""
    from agentflow.toolkit.media import LocalSpeech

    path = folder / "call.wav"
    subprocess.run(["espeak-ng", "-v", "en-us", "-s", "150", "-w", str(path), TEXT * 8], check=True)
    with wave.open(str(path)) as file:
        seconds = file.getnframes() / file.getframerate()

    begun = time.process_time()
    speech = LocalSpeech(folder, threads=1)
    text = asyncio.run(speech.transcribe("call.wav")).text
    first = time.process_time() - begun
    samples = asyncio.run(timed(lambda: speech.transcribe("call.wav"), 4))
    wanted = (TEXT * 8).lower().replace(".", "").split()
    given = text.lower().replace(".", "").replace(",", "").split()
    return {
        "seconds": round(seconds, 1),
        "first_cpu_s": round(first, 2),
        "real_time_factor_cpu": round(statistics.median(s[0] for s in samples) / seconds, 3),
        "real_time_factor_wall": round(statistics.median(s[1] for s in samples) / seconds, 3),
        "word_error_rate": round(distance(wanted, given) / len(wanted), 3),
        "mb": resident(),
    }


def read(folder: Path) -> dict[str, Any]:
    """A page of A4 at 150 dots an inch with 40 lines."""
    from PIL import Image, ImageDraw, ImageFont

    from agentflow.toolkit.media import Ocr

    page = Image.new("RGB", (1240, 1754), "white")
    lines = [f"{n:02}  {TEXT[:60]}" for n in range(40)]
    for n, line in enumerate(lines):
        ImageDraw.Draw(page).text((80, 60 + n * 41), line, fill="black", font=ImageFont.load_default(26))

    page.save(folder / "page.png")
    ocr = Ocr(folder)
    found = "\n".join(e.text for e in asyncio.run(ocr.read_image("page.png")))
    samples = asyncio.run(timed(lambda: ocr.read_image("page.png"), 6))
    wanted = "\n".join(lines).replace(" ", "")
    errors = distance(wanted, found.replace(" ", ""))
    return {**spread(samples), "character_error_rate": round(errors / len(wanted), 4), "mb": resident()}


def distance(wanted: Sequence[str], given: Sequence[str]) -> int:
    """The fewest insertions, deletions and substitutions between the two (Levenshtein)."""
    row = list(range(len(given) + 1))
    for n, one in enumerate(wanted, 1):
        above, row[0] = row[0], n
        for m, other in enumerate(given, 1):
            above, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, above + (one != other))

    return row[-1]


def resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


PARTS: dict[str, tuple[Callable[[Path], dict[str, Any]], Callable[[], bool]]] = {
    "remote": (remote, lambda: True),
    "speech": (heard, lambda: bool(find_spec("faster_whisper") and shutil.which("espeak-ng"))),
    "ocr": (read, lambda: find_spec("rapidocr") is not None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=PARTS)
    given = parser.parse_args()
    if given.part:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(PARTS[given.part][0](Path(folder))))
        return

    command = [sys.executable, "-m", "tests.benchmarks.media", "--part"]
    found = {
        name: json.loads(subprocess.run([*command, name], check=True, capture_output=True, text=True).stdout)
        for name, (_, is_there) in PARTS.items()
        if is_there()
    }
    if given.json:
        print(json.dumps(found))
        return

    for part, figures in found.items():
        for name, value in figures.items():
            print(f"{part:8} {name:24} {value}")


if __name__ == "__main__":
    main()
