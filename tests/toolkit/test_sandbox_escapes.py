"""Nobody gets out of the sandbox: the corpus of attempts, on both engines, and what they do in a bare Python."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agentflow.exceptions import CodeFailed
from agentflow.toolkit.sandbox import EngineName, Sandbox, SandboxSession, probe
from tests.toolkit.escapes import ATTEMPTS, LOUD, QUIET, Attempt
from tests.toolkit.surroundings import SECRET, VARIABLE, World, world

# The limit of each program, and what is left for the machine to be slow: whoever is not done by then got around it.
_SECONDS, _PATIENCE = 1, 60
_TOGETHER = 3


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv(VARIABLE, SECRET)
    # What outputs are kept in is not what is to be left alone.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "world").mkdir()
    with world(tmp_path / "world") as made:
        yield made


def _engines() -> list[Any]:
    found = probe()
    absent = pytest.mark.skipif(not found.works, reason=f"no bubblewrap here: {found.reason}")
    return [pytest.param("monty"), pytest.param("bwrap", marks=absent)]


@pytest.mark.parametrize("engine", _engines())
async def test_no_attempt_succeeds(engine: EngineName, around: World) -> None:
    """No program reads, changes, reaches or starts anything outside; each ends, and nothing is left of it."""
    quiet, loud = (
        Sandbox(engine=engine, seconds=seconds, megabytes=192, disk=4, output=4_000, threads=16)
        for seconds in (_SECONDS, _SECONDS / 2)
    )
    turn = asyncio.Semaphore(_TOGETHER)

    async def apart(attempt: Attempt) -> list[str]:
        async with turn, loud.session() as session:
            return await _faults_of(session, attempt, around)

    async def together() -> list[str]:
        async with quiet.session() as session:
            return [fault for one in QUIET for fault in await _faults_of(session, one, around)]

    found = await asyncio.gather(together(), *map(apart, LOUD))

    assert [fault for one in found for fault in one] == []
    assert around.touched() == []
    assert not [path for path in around.folder.parent.rglob("evil*.txt") if path.name == "evil.txt"]
    assert _children() == []


async def _faults_of(session: SandboxSession, attempt: Attempt, around: World) -> list[str]:
    said = await asyncio.wait_for(_said(session, attempt, around), _PATIENCE)
    return [f"{attempt.name}: {fault}" for fault in _faults(said)]


async def _said(session: SandboxSession, attempt: Attempt, around: World) -> str:
    """All that comes back of an attempt, also what is kept of its files."""
    try:
        result = await session.run(attempt.code, data=around.variables)
    except CodeFailed as error:
        return f"{error} {error.hint}"

    kept = [Path(file.path) for file in (*result.files, *result.images)]
    assert all(path.parent.parent == around.folder.parent and not path.is_symlink() for path in kept)
    texts = [path.read_text(errors="replace") for path in kept]
    shown = json.dumps([result.value, *map(str, kept)], allow_nan=False, ensure_ascii=False)
    return "\n".join([result.printed, shown, *texts, *(str(asdict(file)) for file in result.files)])


def _faults(said: str) -> Iterator[str]:
    if SECRET in said:
        yield "it saw the secret"

    if '"ESCAPED"' in said:
        yield "it got out"

    control = {c for c in said if unicodedata.category(c) in {"Cc", "Cs"}} - {"\n", "\t"}
    if control:
        yield f"it gave control characters: {control!r}"

    if len(said) > 100_000:
        yield "it said too much"


def _children() -> list[str]:
    """Processes that this one started, directly or not, and that still run a sandbox."""
    parents = {}
    names = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue

        names[int(folder.name)], parents[int(folder.name)] = name, int(rest.split()[1])

    mine = {int(Path("/proc/self").resolve().name)}
    for _ in parents:
        mine |= {pid for pid, parent in parents.items() if parent in mine}

    return [names[pid] for pid in mine if names.get(pid) in {"bwrap", "monty"}]


def test_attempts_are_real(around: World) -> None:
    """In a bare Python the attempts of reading, talking and starting do what they say: their failure is the sandbox's."""
    program = (
        "import contextlib, json, os, sys\n"
        "attempts, variables = json.load(sys.stdin)\n"
        "held = []\n"
        "for name, code in attempts:\n"
        "    scope = dict(variables)\n"
        "    body, _, last = code.rpartition('\\n')\n"
        "    try:\n"
        "        exec(body, scope)\n"
        "        scope['said'] = eval(last, scope)\n"
        "    except Exception as error:\n"
        "        scope['said'] = repr(error)\n"
        "    held += [] if scope['said'] == 'ESCAPED' else [(name, scope['said'])]\n"
        "print(json.dumps(held))\n"
    )
    bare = [(a.name, a.code) for a in ATTEMPTS if a.is_bare]
    ended = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([bare, around.variables]),
        capture_output=True,
        text=True,
        check=True,
    )

    assert [name for name, _ in json.loads(ended.stdout)] == ["HTTP"], ended.stdout
    assert set(around.touched()) == {"TCP", "UDP", "local", "abstract"}
    assert len(bare) >= 30


def test_there_are_enough() -> None:
    """Sixty and more different attempts."""
    assert len({attempt.code for attempt in ATTEMPTS}) == len(ATTEMPTS) >= 60
    assert len({attempt.name for attempt in ATTEMPTS}) == len(ATTEMPTS)
