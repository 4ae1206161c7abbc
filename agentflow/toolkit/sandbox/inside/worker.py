"""The process inside of the sandbox: takes programs, runs them one after another, and gives back what came of them.

What it says is not trusted: the program that it runs can do all that it can.
"""

from __future__ import annotations

import ast
import gc
import io
import json
import linecache
import os
import stat
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from . import confinement
from .plain import written

_NAME = "<program>"
_FLUSH = 8_192
_LINES, _WIDE = 8, 1_000


class Channel:
    """Messages over two pipes: a length in 4 bytes, JSON, then as many bytes as the JSON's `sizes` say."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink

    def read(self) -> tuple[dict[str, Any], list[bytes]]:
        """The next message and its files; raises `EOFError` when there will be none."""
        head = json.loads(self._exactly(int.from_bytes(self._exactly(4), "big")))
        return head, [self._exactly(size) for size in head.get("sizes", ())]

    def write(self, head: Mapping[str, Any], files: list[bytes] | None = None) -> None:
        """Say `head`, and hand over the bytes of `files`."""
        sizes = [len(data) for data in files or ()]
        text = json.dumps({**head, "sizes": sizes}).encode()
        self._sink.write(len(text).to_bytes(4, "big") + text + b"".join(files or ()))
        self._sink.flush()

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) < size:
            raise EOFError

        return data


class Printed(io.TextIOBase):
    """What stands in for the standard streams: text goes out in pieces, so that too much of it is seen at once."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._parts: list[str] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        for start in range(0, len(text), _FLUSH):
            self._parts.append(text[start : start + _FLUSH])
            self._length += len(self._parts[-1])
            if self._length >= _FLUSH:
                self.flush()

        return len(text)

    def flush(self) -> None:
        text = "".join(self._parts)
        self._parts, self._length = [], 0
        if text:
            self._channel.write({"printed": text})


class Session:
    """The variables and files that programs leave to the next one."""

    def __init__(self, channel: Channel, *, output: int, files: int, disk: int) -> None:
        self._channel = channel
        self._output, self._files, self._disk = output, files, disk
        self._scope: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self._seen: dict[str, tuple[int, int, int]] = {}

    def answer(self, head: Mapping[str, Any], given: list[bytes]) -> None:
        """Run the program of a message, and say what came of it."""
        printed = sys.stdout = sys.stderr = Printed(self._channel)
        try:
            for name, data in zip(head["files"], given, strict=True):
                self._place(name, data)

            text = written(self._run(head["code"], head["data"]), self._output)
            names, files, figures = self._left()
        except BaseException as error:  # noqa: BLE001 - whatever a program raises is told
            printed.flush()
            self._channel.write({"error": _told(error), "kind": type(error).__name__})
            _forget()
            return

        printed.flush()
        self._channel.write({"value": text, "names": names, "figures": figures}, files)

    def _place(self, name: str, data: bytes) -> None:
        path = f"{confinement.WORK}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(data)

        self._seen[path] = _mark(os.lstat(path))

    def _run(self, code: str, data: Mapping[str, Any]) -> Any:
        """Run `code`, and give the value of its last line, if that is an expression."""
        linecache.cache[_NAME] = (len(code), None, code.splitlines(keepends=True), _NAME)
        self._scope.update(data)
        tree = ast.parse(code, _NAME)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, _NAME, "exec"), self._scope)  # noqa: S102 - what this process is for
        if not isinstance(last, ast.Expr):
            return None

        return eval(compile(ast.Expression(last.value), _NAME, "eval"), self._scope)  # noqa: S307

    def _left(self) -> tuple[list[str], list[bytes], int]:
        """The files that a program made or changed, by name, and after them the figures; how many are figures."""
        found = dict(_walk(confinement.WORK))
        new = [path for path, mark in found.items() if self._seen.get(path) != mark]
        self._seen = found
        figures = _figures()
        # Sizes first: a file may say that it is larger than what there is.
        size = sum(found[path][1] for path in new) + sum(map(len, figures))
        for what, count in (("files", len(new)), ("figures", len(figures))):
            if count > self._files:
                raise ValueError(f"the program left over {self._files} {what}: make fewer at a time")

        if size > self._disk:
            raise ValueError(
                f"the program left {size:,} bytes, and {self._disk:,} are allowed: make smaller files"
            )

        names = [os.path.relpath(path, confinement.WORK) for path in new]
        return names, [_content(path) for path in new] + figures, len(figures)


def _walk(folder: str) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Plain files below `folder`, without links and without hidden ones."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue

            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path, _mark(entry.stat(follow_symlinks=False))


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _content(path: str) -> bytes:
    # Not through a link, and without waiting at a pipe, whatever has become of the file since it was listed.
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(number, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(number).st_mode) else b""


def _figures() -> list[bytes]:
    if "matplotlib.pyplot" not in sys.modules:
        return []

    from . import figures

    return figures.taken()


def _told(error: BaseException) -> str:
    """The end of the traceback, from the program's own first line on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != _NAME:
        frames = frames.tb_next

    shown = traceback.TracebackException(type(error), error, frames, compact=True)
    lines = "".join(shown.format()).splitlines()[-_LINES:]
    return "\n".join(line if len(line) <= _WIDE else f"{line[:_WIDE]}..." for line in lines)


def _forget() -> None:
    """Let go of what a failed program held, so that the next one has the room."""
    sys.last_traceback = sys.last_value = sys.last_type = None
    gc.collect()


def main() -> None:
    """Say when all walls stand, then answer until nobody asks any more."""
    # Standard streams are the worker's; whatever else was inherited is nobody's.
    os.closerange(3, 65_536)
    channel = Channel(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    null = os.open("/dev/null", os.O_RDWR)
    setting, _ = channel.read()
    try:
        confinement.confine(setting)
        channel.write({"ready": True})
        # Only from outside can it be seen how much Python itself takes up.
        confinement.bound(channel.read()[0]["memory"])
    except (OSError, RuntimeError) as error:
        channel.write({"error": str(error), "kind": type(error).__name__})
        return

    for number in range(3):
        os.dup2(null, number)

    channel.write({"ready": True})
    session = Session(channel, output=setting["output"], files=setting["files"], disk=setting["disk"])
    with suppress(EOFError):
        while True:
            session.answer(*channel.read())


if __name__ == "__main__":
    main()
