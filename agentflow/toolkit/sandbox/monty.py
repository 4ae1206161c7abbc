"""The engine that is always there: an interpreter of its own for a part of Python, in a process of its own.

It is `pydantic-monty`: it has no way to the files, network, processes or Python of this machine. Files of a program
lie in a folder that is kept in memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sysconfig
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from agentflow.exceptions import CodeFailed, MissingExtra
from agentflow.toolkit.sandbox.engine import (
    SHORTER,
    LimitHit,
    Limits,
    Program,
    Ran,
    failed,
    flooded,
)
from agentflow.toolkit.sandbox.inside.plain import Unwritable, written

if TYPE_CHECKING:
    from pydantic_monty import MontyError
    from pydantic_monty import MontySession as Interpreter

    from agentflow.toolkit.sandbox.folder import Folder

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
_GRACE_SECONDS = 5
_TRACEBACK_LINES = 8
_CALLS = 20_000
_LIMITS = ("time limit", "memory limit", "suspension")
_HINTS = {
    "time limit": "use a faster way, or less data",
    "memory limit": "work row by row, and keep only what the result needs",
    "ModuleNotFoundError": f"these modules can be imported: {', '.join(MODULES)}",
    "NotImplementedError": "not supported here: class inheritance, `yield`, and listing an open file at once",
    "PermissionError": "there is no file or network here: use the variables that are given",
    "FileNotFoundError": "only the files that were handed over, and those of earlier programs, are in the work folder",
    "No space left": "the work folder is limited in size: remove files, or write less",
    "is not supported in this environment": "there is nothing of this machine here: use the given variables",
    "NameError": "variables are kept until a program hits a limit, or the run goes on in another process: define it "
    "again; `__import__` and `input` do not exist",
}


class MontyEngine:
    """Runs programs with `pydantic-monty`."""

    @property
    def name(self) -> str:
        return "monty"

    def describe(self, limits: Limits) -> str:
        """What a program finds there, told to the model that writes it."""
        return (
            f"There are: most of the language, and the modules {', '.join(MODULES)}.\n"
            "There are not: other modules (no statistics, numpy, pandas, io or string), class inheritance, `yield`, "
            "network, processes, files of this machine, input.\n"
            f"Files that it leaves in the current folder come back (at most {limits.files}).\n"
            f"Limits: {limits.seconds:g} seconds, {limits.megabytes} MB of memory, {limits.disk} MB of files."
        )

    def session(self, limits: Limits) -> MontyInterpreter:
        return MontyInterpreter(limits)


class MontyInterpreter:
    """One interpreter, started for its first program."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._worker = _Worker()
        self._stack = ExitStack()
        self._is_over = False
        self._interpreter: Interpreter | None = None
        self._folder: Folder | None = None

    @property
    def is_over(self) -> bool:
        return self._is_over

    async def run(self, program: Program) -> Ran:
        """Run it within its time; where it hits a limit the session is over."""
        work = asyncio.get_running_loop().run_in_executor(_threads(), self._run, program)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._is_over = True
            self._worker.stop()
            # It ends at once, and only then can the interpreter be closed.
            await asyncio.wait([work])
            await self.close()
            raise
        except LimitHit:
            await self.close()
            raise

    async def close(self) -> None:
        """End the interpreter; nothing runs here any more."""
        self._is_over = True
        await asyncio.get_running_loop().run_in_executor(_threads(), self._stack.close)

    def _run(self, program: Program) -> Ran:
        try:
            # The pool for threads: that for asyncio can abort this process at its end, after a limit was hit.
            from pydantic_monty import MontyError
        except ImportError:
            raise MissingExtra("tools", "pydantic-monty") from None

        printed = _Printed(self._limits.output, self._worker)
        try:
            value = self._fed(program, printed)
        except MontyError as error:
            printed.check()
            raise _failure(error) from None
        except ValueError as error:
            raise CodeFailed(f"the program or its data cannot be handed to the sandbox: {error}") from None

        printed.check()
        assert self._folder is not None
        return Ran(value=self._plain(value), printed=printed.text(), files=self._folder.changed())

    def _fed(self, program: Program, printed: _Printed) -> Any:
        interpreter = self._started()
        assert self._folder is not None
        for name, data in program.files.items():
            self._folder.place(name, data)

        with self._worker.at_work(interpreter.worker_pid):
            return interpreter.feed_run(
                program.code,
                inputs=dict(program.data),
                print_callback=printed,
                os=self._folder,
                cwd=self._folder.root,
            )

    def _started(self) -> Interpreter:
        if self._interpreter is None:
            from pydantic_monty import Monty

            from agentflow.toolkit.sandbox.folder import Folder

            # The pool looks for its program with `sysconfig`, whose first use fails if two threads make it at once.
            with _first:
                sysconfig.get_config_vars()

            seconds = self._limits.seconds
            pool = self._stack.enter_context(Monty(max_processes=1, request_timeout=seconds + _GRACE_SECONDS))
            self._interpreter = self._stack.enter_context(
                pool.checkout(
                    limits={
                        "max_feed_duration_secs": seconds,
                        "max_memory": self._limits.megabytes * 2**20,
                        "max_suspensions": _CALLS,
                    },
                    os_policy={"sleep": "zero"},
                )
            )
            self._folder = Folder(self._limits)

        return self._interpreter

    def _plain(self, value: Any) -> Any:
        try:
            return json.loads(written(value, self._limits.output))
        except Unwritable as error:
            raise CodeFailed(str(error), hint=SHORTER) from None


@cache
def _threads() -> ThreadPoolExecutor:
    # Threads of its own, so that long programs do not use up those that other blocking work needs.
    return ThreadPoolExecutor(min(4, os.cpu_count() or 2), thread_name_prefix="sandbox")


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
            raise flooded(self._most)

    def text(self) -> str:
        return "".join(self._parts)


def _failure(error: MontyError) -> CodeFailed:
    """What went wrong, as the last lines of the traceback, with a hint at what the interpreter lacks."""
    from pydantic_monty import MontyCrashedError, MontyRuntimeError, MontySyntaxError

    shown = error.display() if isinstance(error, MontyRuntimeError | MontySyntaxError) else str(error)
    text = "\n".join(shown.splitlines()[-_TRACEBACK_LINES:])
    problem = failed(text, _HINTS)
    # What a time limit cut off is in no state to go on, and a full memory stays full.
    over = isinstance(error, MontyCrashedError) or any(cue in text for cue in _LIMITS)
    return LimitHit(str(problem), hint=problem.hint) if over else problem
