"""Heads of runs, kept in a file elsewhere: against them a trail that was cut off or made anew as a whole is known.

A line of the file is one head in JSON. It says of a run that its first `count` events come to `head`, when that was
noted, and who signed it.
"""

from __future__ import annotations

import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from agentflow.audit.keys import PublicKey, SigningKey
from agentflow.exceptions import HeadsUnusable

# A signature is of this and the head: what is signed for another purpose is not taken for one.
_PURPOSE = b"agentflow head 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the first `count` events of a run come to. `at` is nanoseconds since the epoch; `key` and `signature` are
    empty where nobody signed it.
    """

    run: str
    workflow: str
    count: int
    head: str
    chain: int
    at: int
    key: str = ""
    signature: str = ""

    def message(self) -> bytes:
        """What is signed: all but the signature, as JSON with sorted names."""
        said = {name: value for name, value in asdict(self).items() if name != "signature"}
        return _PURPOSE + _dumped(said)

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether the signature is there, and of this key."""
        try:
            signature = b64decode(self.signature, validate=True)
        except ValueError:
            return False

        return key.has_signed(signature, self.message())


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """A file of heads, and what new ones are signed with."""

    path: Path
    key: SigningKey | None = None

    def keep(self, *, run: str, workflow: str, count: int, head: str, chain: int) -> Head:
        """Add a head to the file, on disk when this returns; raises `HeadsUnusable`."""
        made = Head(run=run, workflow=workflow, count=count, head=head, chain=chain, at=time.time_ns())
        if self.key is not None:
            made = replace(made, key=self.key.public.id)
            made = replace(made, signature=b64encode(self.key.sign(made.message())).decode())

        try:
            _append(self.path, _dumped(asdict(made)) + b"\n")
        except OSError as error:
            raise HeadsUnusable(
                f"the head of run `{run}` could not be kept in {self.path}: {error.strerror}",
                hint=f"mend that, then: agentflow audit sign {run}",
            ) from None

        return made


def _dumped(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        _lock(file)
        size = os.fstat(file).st_size
        # A line that another process was killed in must not spoil this one.
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        line = b"\n" + line if torn else line
        while line:
            line = line[os.write(file, line) :]

        os.fsync(file)
    finally:
        os.close(file)


def _lock(file: int) -> None:
    # Elsewhere an append of a line of this length is whole by itself, as far as that can be had.
    with suppress(ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def read_heads(path: Path) -> tuple[dict[str, list[Head]], list[str]]:
    """The heads in a file by run, each run's by count; and what is wrong with lines that are none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise HeadsUnusable(f"the heads in {path} cannot be read: {error.strerror}") from None

    heads: dict[str, list[Head]] = {}
    wrong: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        head = _head(line)
        if head is not None:
            heads.setdefault(head.run, []).append(head)
        elif line.strip():
            wrong.append(f"line {number} of {path} is no head")

    for known in heads.values():
        known.sort(key=lambda head: head.count)

    return heads, wrong


_KINDS: dict[str, type] = {
    "run": str,
    "workflow": str,
    "count": int,
    "head": str,
    "chain": int,
    "at": int,
    "key": str,
    "signature": str,
}


def _head(line: str) -> Head | None:
    try:
        known = json.loads(line)
    except ValueError:
        return None

    if not isinstance(known, Mapping):
        return None

    said = cast("Mapping[str, Any]", known)
    if set(said) != set(_KINDS) or not all(isinstance(said[n], kind) for n, kind in _KINDS.items()):
        return None

    return Head(**said)
