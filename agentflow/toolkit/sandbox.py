"""A sandbox for Python programs that a model wrote: an interpreter of its own, in a process of its own.

The interpreter is `pydantic-monty`: a subset of Python with no way to the files, network, processes or Python
of this machine. Each run gets a new worker process, so nothing is left from one run to the next.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sysconfig
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from threading import Lock
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from agentflow.exceptions import CodeFailed, MissingExtra

if TYPE_CHECKING:
    from pydantic_monty import MontyError, OsFunction, OsHandler

MODULES = (
    "base64",
    "bisect",
    "collections",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "math",
    "random",
    "re",
    "time",
    "typing",
    "unicodedata",
)
"""The modules that a program may count on."""

_first = Lock()
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_GRACE_SECONDS = 5
_TRACEBACK_LINES = 8
_DEPTH = 50
_READS = frozenset(
    {
        "Path.exists",
        "Path.is_file",
        "Path.is_dir",
        "Path.is_symlink",
        "Path.read_text",
        "Path.read_bytes",
        "Path.iterdir",
        "Path.scan",
        "Path.stat",
        "Path.resolve",
        "Path.absolute",
    }
)
_SHORTER = "give back a summary of it, or its first rows"
_HINTS = {
    "time limit": "use a faster way, or less data",
    "memory limit": "work row by row, and keep only what the result needs",
    "ModuleNotFoundError": f"these modules can be imported: {', '.join(MODULES)}",
    "NotImplementedError": "not supported here: class inheritance, `yield`, and listing an open file at once",
    "PermissionError": "there is no file or network here: use the variables that are given",
    "FileNotFoundError": "only the files that were handed over can be opened, for reading",
    "is not supported in this environment": "there is nothing of this machine here: use the given variables",
    "NameError": "each run is fresh: define what is used; `__import__` and `input` do not exist",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeResult:
    """What a program gave: the value of its last expression as JSON-able data, and what it printed."""

    value: Any
    printed: str
    seconds: float


class Sandbox:
    """Runs programs within limits: `seconds` each, `megabytes` of memory, `output` characters given back.

    Each run is fresh: no variable and no file is kept for the next one. Sleeping takes no time.
    """

    def __init__(self, *, seconds: float = 10, megabytes: int = 256, output: int = 64_000) -> None:
        self._seconds = seconds
        self._megabytes = megabytes
        self._output = output
        # Threads of its own, so that long programs do not use up those that other blocking work needs.
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 2), thread_name_prefix="sandbox")

    async def run(
        self, code: str, *, data: Mapping[str, Any] = _NOTHING, files: Mapping[str, str] = _NOTHING
    ) -> CodeResult:
        """Run `code` with the values of `data` as variables, and `files` (name to text) to open for reading.

        Raises `CodeFailed` with the last lines of the traceback, or naming the limit that was hit.
        """
        worker = _Worker()
        call = partial(self._run, worker, code, dict(data), files)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except asyncio.CancelledError:
            worker.stop()
            raise

    def _run(self, worker: _Worker, code: str, data: dict[str, Any], files: Mapping[str, str]) -> CodeResult:
        try:
            # The pool for threads: that for asyncio can abort this process at its end, after a limit was hit.
            from pydantic_monty import Monty, MontyError
        except ImportError:
            raise MissingExtra("tools", "pydantic-monty") from None

        # The pool looks for its program with `sysconfig`, whose first use fails if two threads make it at once.
        with _first:
            sysconfig.get_config_vars()

        printed = _Printed(self._output, worker)
        begin = perf_counter()
        try:
            with (
                Monty(max_processes=1, request_timeout=self._seconds + _GRACE_SECONDS) as pool,
                pool.checkout(
                    limits={
                        "max_feed_duration_secs": self._seconds,
                        "max_memory": self._megabytes * 2**20,
                    },
                    os_policy={"sleep": "zero"},
                ) as session,
                worker.at_work(session.worker_pid),
            ):
                value = session.feed_run(code, inputs=data, print_callback=printed, os=_reader(files))
        except MontyError as error:
            printed.check()
            raise _failure(error) from None
        except ValueError as error:
            raise CodeFailed(f"the program or its data cannot be handed to the sandbox: {error}") from None

        printed.check()
        return CodeResult(
            value=self._plain(value), printed=printed.text(), seconds=round(perf_counter() - begin, 4)
        )

    def _plain(self, value: Any) -> Any:
        try:
            plain = _Plain(self._output).of(value)
            size = len(json.dumps(plain))
        except ValueError as error:
            raise CodeFailed(f"the result cannot be given back: {error}", hint=_SHORTER) from None

        if size > self._output:
            raise CodeFailed(
                f"the result is {size:,} characters long, and {self._output:,} are allowed", hint=_SHORTER
            )

        return plain


class _Worker:
    """The process that runs a program; it can be stopped from any thread while it is at work."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pid: int | None = None
        self._stopped = False

    @contextmanager
    def at_work(self, pid: int | None) -> Generator[None, None, None]:
        with self._lock:
            self._pid = pid
            stopped = self._stopped

        if stopped:
            self.stop()

        try:
            yield
        finally:
            # Under the lock, so that the number is never used after it may stand for another process.
            with self._lock:
                self._pid = None

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGTERM)


class _Printed:
    """Collects what a program prints, and stops the program when that is more than `most` characters."""

    def __init__(self, most: int, worker: _Worker) -> None:
        self._most = most
        self._worker = worker
        self._parts: list[str] = []
        self._length = 0

    def __call__(self, stream: str, text: str) -> None:
        del stream
        self._length += len(text)
        if self._length > self._most:
            # An error raised here would reach the program only once its time is up.
            self._worker.stop()
        else:
            self._parts.append(text)

    def check(self) -> None:
        if self._length > self._most:
            raise CodeFailed(
                f"the program printed more than {self._most:,} characters and was stopped",
                hint="print less, and let the last line be an expression whose value is the result",
            )

    def text(self) -> str:
        return "".join(self._parts)


class _Plain:
    """Turns a value of a program into JSON-able data."""

    def __init__(self, most: int) -> None:
        # Each value takes a character at least; counting them ends early on what would be refused anyway.
        self._most = self._left = most

    def of(self, value: Any, depth: int = 0) -> Any:
        """Sets become sorted lists, dates ISO 8601, decimals floats, `nan` and `inf` None, objects their fields."""
        self._left -= 1
        if depth > _DEPTH or self._left < 0:
            raise ValueError(f"it is nested over {_DEPTH} levels or holds over {self._most:,} values")

        if isinstance(value, Mapping):
            return {_key(key): self.of(item, depth + 1) for key, item in value.items()}

        if isinstance(value, set | frozenset):
            return sorted((self.of(item, depth + 1) for item in value), key=_order)

        if isinstance(value, list | tuple):
            return [self.of(item, depth + 1) for item in value]

        fields = getattr(value, "attributes", None)
        return self.of(fields, depth + 1) if isinstance(fields, dict) else _single(value)


def _single(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value

    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None

    if isinstance(value, datetime | date | time):
        return value.isoformat()

    if isinstance(value, timedelta):
        return value.total_seconds()

    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _key(key: Any) -> str:
    if isinstance(key, tuple):
        return ", ".join(map(_key, key))

    return str(_single(key))


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, before all else by text."""
    number = isinstance(value, int | float)
    return (not number, value if number else 0, "" if number else str(value))


def _reader(files: Mapping[str, str]) -> OsHandler | None:
    """What answers a program that opens a file: `files`, to be read, and nothing else."""
    if not files:
        return None

    from pydantic_monty import NOT_HANDLED, MemoryFile, OSAccess

    kept = OSAccess([MemoryFile(f"/{name.lstrip('/')}", content=text) for name, text in files.items()])

    def answer(
        *, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], is_async: bool, **rest: Any
    ) -> Any:
        # Files that a program writes would be kept in this process, outside of its memory limit.
        if name in _READS or (name == "open" and args[1] in {"r", "rb", "rt"}):
            return kept(name=cast("OsFunction", name), args=args, kwargs=kwargs, is_async=is_async, **rest)

        return NOT_HANDLED

    return answer


def _failure(error: MontyError) -> CodeFailed:
    """What went wrong, as the last lines of the traceback, with a hint at what the interpreter lacks."""
    from pydantic_monty import MontyRuntimeError, MontySyntaxError

    text = error.display() if isinstance(error, MontyRuntimeError | MontySyntaxError) else str(error)
    lines = text.splitlines()[-_TRACEBACK_LINES:]
    hint = next((hint for cue, hint in _HINTS.items() if cue in text), "")
    return CodeFailed("the program failed:\n" + "\n".join(lines), hint=hint)
