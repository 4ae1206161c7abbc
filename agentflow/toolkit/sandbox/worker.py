"""The worker of the stronger sandbox, seen from outside: a process that is given programs and not believed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from agentflow.exceptions import ToolError

_START_SECONDS = 30
_END_SECONDS = 5
_SMALL = 100_000
_COMPLAINT = 400


class Lost(Exception):
    """Raised when the worker is gone, or says what no worker says."""


class Worker:
    """A process in its sandbox. It stands still except while it is asked something."""

    def __init__(self, process: asyncio.subprocess.Process, number: int) -> None:
        self._process = process
        # A handle, so that a signal never goes to another process that got the same number.
        self._handle = os.pidfd_open(number)

    @classmethod
    async def start(
        cls, command: Sequence[str], setting: Mapping[str, Any], *, memory: int, entry: Sequence[str] = ()
    ) -> Worker:
        """Start `command`, which is `bwrap` and its arguments, by way of `entry`.

        `memory` is in bytes, beside what Python takes up at first.
        """
        with tempfile.TemporaryFile() as complaints:
            process, told = await _spawned(entry, command, complaints)
            try:
                number = await asyncio.wait_for(_greeted(process, setting, told, memory), _START_SECONDS)
                return cls(process, number)
            except (Lost, OSError, TimeoutError) as error:
                if isinstance(error, TimeoutError):
                    _kill(process)

                await _ended(process)
                raise ToolError(
                    f"the sandbox does not start: {error or 'it gives no answer'}{_read(complaints)}",
                    hint="use the engine `monty`, which needs nothing of the system",
                ) from None
            except BaseException:
                _kill(process)
                await _ended(process)
                raise
            finally:
                os.close(told)

    async def ask(self, head: Mapping[str, Any], files: Sequence[bytes]) -> None:
        """Let it go on, and send it a message."""
        self._signal(signal.SIGCONT)
        assert self._process.stdin is not None
        with suppress(ConnectionError):  # then there is no answer either
            self._process.stdin.write(message(head, files))
            await self._process.stdin.drain()

    async def hear(self, *, head: int, data: int) -> tuple[dict[str, Any], list[bytes]]:
        """Its next message: at most `head` bytes of JSON and `data` bytes of files; raises `Lost`."""
        assert self._process.stdout is not None
        return await _heard(self._process.stdout, head, data)

    def rest(self) -> None:
        """Make it stand still, whatever threads its programs left."""
        self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it, and with it all that is in the sandbox."""
        self._signal(signal.SIGKILL)

    async def close(self) -> None:
        """End it, and wait until it is gone."""
        self.kill()
        await _ended(self._process)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _signal(self, number: int) -> None:
        if self._handle >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)


def message(head: Mapping[str, Any], files: Sequence[bytes] = ()) -> bytes:
    """A message as the worker reads it: a length in 4 bytes, JSON, then the files."""
    text = json.dumps({**head, "sizes": [len(data) for data in files]}).encode()
    return len(text).to_bytes(4, "big") + text + b"".join(files)


async def _spawned(
    entry: Sequence[str], command: Sequence[str], complaints: IO[bytes]
) -> tuple[asyncio.subprocess.Process, int]:
    """The process, and where it tells the number of the worker."""
    told, tells = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(*entry, command[0]),
            *("--info-fd", str(tells)),
            *command[1:],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=complaints,
            pass_fds=(tells,),
            env={},
        )
    except BaseException:
        os.close(told)
        raise
    finally:
        os.close(tells)

    return process, told


async def _greeted(
    process: asyncio.subprocess.Process, setting: Mapping[str, Any], told: int, memory: int
) -> int:
    """The number of the worker, as this process sees it, once all its walls stand."""
    await _told(process, setting)
    number = _child(int(json.loads(os.read(told, _SMALL))["child-pid"]))
    await _told(process, {"memory": _size(number) + memory})
    return number


async def _told(process: asyncio.subprocess.Process, what: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(ConnectionError):
        process.stdin.write(message(what))
        await process.stdin.drain()

    head, _ = await _heard(process.stdout, _SMALL, 0)
    if head.get("ready") is not True:
        raise Lost(str(head.get("error", "it does not say that it is ready"))[:_COMPLAINT])


def _child(first: int) -> int:
    """The worker: the one child of the first process of its namespace, which `bwrap` itself provides."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            if int(status.read_text().rpartition(")")[2].split()[1]) == first:
                return int(status.parent.name)

    raise Lost("its process is not to be seen")


def _size(number: int) -> int:
    """Bytes of address space that a process has by now."""
    pages = int(Path(f"/proc/{number}/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _heard(source: asyncio.StreamReader, most: int, data: int) -> tuple[dict[str, Any], list[bytes]]:
    try:
        length = int.from_bytes(await source.readexactly(4), "big")
        if length > most:
            raise Lost(f"it says {length:,} bytes at once")

        head = json.loads(await source.readexactly(length))
        sizes = head["sizes"] if isinstance(head, dict) else None
        if not isinstance(sizes, list) or any(type(size) is not int or size < 0 for size in sizes):
            raise Lost("it says what no worker says")

        if sum(sizes) > data:
            raise Lost(f"it hands over {sum(sizes):,} bytes of files, and {data:,} are allowed")

        return head, [await source.readexactly(size) for size in sizes]
    except asyncio.IncompleteReadError:
        raise Lost("it ended") from None
    except (ValueError, RecursionError, KeyError):
        raise Lost("it says what no worker says") from None


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait until it is gone; `bwrap` ends with what it started, unless it hangs before that."""
    try:
        # Also takes what is left in the pipe: asyncio would else never see that it is closed.
        await asyncio.wait_for(process.communicate(), _END_SECONDS)
    except TimeoutError:
        _kill(process)
        await process.communicate()


def _read(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    text = complaints.read(_COMPLAINT).decode(errors="replace").strip()
    return f" ({text})" if text else ""
