"""The stronger engine: CPython with numpy, pandas and Matplotlib, in namespaces of its own made by bubblewrap."""

from __future__ import annotations

import asyncio
import itertools
import json
import keyword
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from agentflow.exceptions import CodeFailed
from agentflow.toolkit.sandbox.calls import refusing
from agentflow.toolkit.sandbox.cgroup import Group, group
from agentflow.toolkit.sandbox.engine import SHORTER, LimitHit, Limits, Program, Ran, failed, flooded
from agentflow.toolkit.sandbox.mounts import PACKAGES, environment, installed, interpreter, mounts
from agentflow.toolkit.sandbox.worker import Lost, Worker

_MB = 2**20
_HANDLES = 128
_ENTRIES = 4_096
_FIRST_UID = 2_000_000_000
_UIDS = 100_000
_HEAD = 100_000
_NAMESPACES = ("ipc", "pid", "net", "uts")
_HINTS = {
    "MemoryError": "work row by row, and keep only what the result needs",
    "ModuleNotFoundError": "the standard library is there, and what the description of the tool names; nothing can be installed",
    "Operation not permitted": "there is no network and no other process: use the given variables and files",
    "PermissionError": "there is no network and no other process: use the given variables and files",
    "gaierror": "there is no network: use the given variables and files",
    "NameError": "variables are kept until a program hits a limit, or the run goes on in another process: define it again",
    "FileNotFoundError": "only the files that were handed over, and those of earlier programs, are in the work folder",
    "Read-only file system": "write to the work folder, which is the current one",
    "No space left": "the work folder is limited in size: remove files, or write less",
    "File too large": "the work folder is limited in size: write less",
    "can't start new thread": "the number of threads is limited, and there are no processes",
}
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubblewrap:
    """Runs programs with the Python that runs this, under `bwrap` (its path), with `packages` to import."""

    path: str
    packages: Sequence[str] = PACKAGES

    @property
    def name(self) -> str:
        return "bwrap"

    def describe(self, limits: Limits) -> str:
        """What a program finds there, told to the model that writes it."""
        there = ", ".join(installed(self.packages))
        return (
            f"It is CPython with its standard library{' and ' + there if there else ''}; nothing can be installed.\n"
            f"Files that it leaves in the current folder come back (at most {limits.files}), and so do "
            "Matplotlib figures as images.\n"
            "There are not: network, other processes, files of this machine, input.\n"
            f"Limits: {limits.seconds:g} seconds, {limits.megabytes} MB of memory, {limits.disk} MB of files, "
            f"{limits.threads} threads."
        )

    def session(self, limits: Limits) -> BubblewrapSession:
        return BubblewrapSession(self, limits)

    def command(self) -> list[str]:
        """What starts a worker: its namespaces, what is mounted, its environment, and nothing of ours."""
        # As root the worker takes a user of its own, which no limit of root holds for; else it is nobody in a new namespace.
        root = os.geteuid() == 0
        nobody = ("--unshare-user", "--uid", "65534", "--gid", "65534")
        return [
            self.path,
            *(() if root else nobody),
            *(f"--unshare-{name}" for name in _NAMESPACES),
            *("--unshare-cgroup-try", "--hostname", "sandbox"),
            *("--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"),
            # For the first steps of the worker only (inside/confinement.py).
            *("--cap-add", "CAP_SYS_ADMIN"),
            *(("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID") if root else ()),
            *mounts(self.packages),
            *(part for pair in environment().items() for part in ("--setenv", *pair)),
            *("--chdir", "/", "--", *interpreter()),
        ]


def setting_of(limits: Limits) -> dict[str, Any]:
    """What the worker is told of its walls."""
    own = _FIRST_UID + (os.getpid() * 64 + next(_numbers)) % _UIDS
    return {
        "uid": own if os.geteuid() == 0 else None,
        "disk": limits.disk * _MB,
        "entries": _ENTRIES,
        "threads": limits.threads,
        "handles": _HANDLES,
        "output": limits.output,
        "files": limits.files,
        "filter": refusing().hex(),
    }


class BubblewrapSession:
    """One worker, started for its first program."""

    def __init__(self, engine: Bubblewrap, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self._worker: Worker | None = None
        self._group: Group | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        return self._is_over

    async def run(self, program: Program) -> Ran:
        """Run it within its time; where it hits a limit, or breaks its interpreter, the session is over."""
        head = _asked(program)
        worker = await self._started()
        try:
            async with asyncio.timeout(self._limits.seconds):
                await worker.ask(head, list(program.files.values()))
                ran = await self._answer(worker)
        except BaseException as error:
            if isinstance(error, CodeFailed) and not isinstance(error, LimitHit):
                worker.rest()
                raise

            await self.close()
            raise _ended(error, self._limits) from None

        worker.rest()
        return ran

    async def _started(self) -> Worker:
        if self._worker is None:
            self._group = group(self._limits)
            try:
                self._worker = await Worker.start(
                    self._engine.command(),
                    setting_of(self._limits),
                    memory=self._limits.megabytes * _MB,
                    entry=self._group.entry if self._group is not None else (),
                )
            except BaseException:
                await self.close()
                raise

        return self._worker

    async def close(self) -> None:
        """End the worker; nothing runs here any more."""
        self._is_over = True
        if self._worker is not None:
            await self._worker.close()

        if self._group is not None:
            self._group.close()

    async def _answer(self, worker: Worker) -> Ran:
        printed: list[str] = []
        length = 0
        while True:
            head, files = await worker.hear(
                head=12 * self._limits.output + _HEAD, data=self._limits.disk * _MB
            )
            text = head.get("printed")
            if not isinstance(text, str):
                return self._ran(head, files, "".join(printed))

            if not text:
                raise Lost("it says what no worker says")

            length += len(text)
            printed.append(text)
            if length > self._limits.output:
                raise flooded(self._limits.output)

    def _ran(self, head: dict[str, Any], files: list[bytes], printed: str) -> Ran:
        if "error" in head:
            raise _failure(str(head["error"]), str(head.get("kind")))

        names, figures, text = head.get("names"), head.get("figures"), head.get("value")
        most = self._limits.files
        if (
            not isinstance(names, list)
            or any(not isinstance(name, str) or not is_inside(name) for name in names)
            or type(figures) is not int
            or not 0 <= figures <= most
            or len(names) > most
            or len(names) + figures != len(files)
            or not isinstance(text, str)
            or len(text) > self._limits.output
        ):
            raise Lost("it says what no worker says")

        return Ran(
            value=_value(text),
            printed=printed,
            files=tuple(zip(names, files[: len(names)], strict=True)),
            figures=tuple(files[len(names) :]),
        )


def _asked(program: Program) -> dict[str, Any]:
    """The program as a message; raises `CodeFailed` for what cannot be handed over."""
    wrong = [name for name in program.data if not _is_name(name)]
    wrong += [name for name in program.files if not is_inside(name)]
    if wrong:
        raise CodeFailed(f"the program or its data cannot be handed to the sandbox: `{wrong[0]}` is no name")

    data = dict(program.data)
    try:
        json.dumps(data)
        return {"code": program.code, "data": data, "files": list(program.files)}
    except (TypeError, ValueError, RecursionError) as error:
        raise CodeFailed(f"the program or its data cannot be handed to the sandbox: {error}") from None


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)


def is_inside(name: str) -> bool:
    """Whether a file of this name lies in the work folder."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _ended(error: BaseException, limits: Limits) -> BaseException:
    """What is raised where a program is the end of its session."""
    if isinstance(error, TimeoutError):
        return LimitHit(
            f"the program hit the time limit of {limits.seconds:g} seconds and was ended",
            hint="use a faster way, or less data",
        )

    if isinstance(error, Lost):
        return LimitHit(
            f"the program broke its interpreter: {error}",
            hint="it may have used up its memory: use less at once",
        )

    return error


def _failure(text: str, kind: str) -> CodeFailed:
    if kind == "MemoryError":
        return LimitHit(
            f"the program hit the memory limit and was ended:\n{text}", hint=_HINTS["MemoryError"]
        )

    if kind == "Unwritable":
        return CodeFailed(text.partition(": ")[2], hint=SHORTER)

    return failed(text, _HINTS)


def _value(text: str) -> Any:
    try:
        # What is no JSON by the standard comes from no worker of ours.
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise Lost("it says what no worker says") from None
