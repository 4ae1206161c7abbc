"""The work folder of a program that is interpreted: files that lie in memory, and nowhere else."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from pydantic_monty import NOT_HANDLED, AbstractFile, OSAccess

from agentflow.exceptions import CodeFailed
from agentflow.toolkit.sandbox.engine import Limits

_READS = frozenset(
    {
        "Path.exists",
        "Path.is_file",
        "Path.is_dir",
        "Path.is_symlink",
        "Path.iterdir",
        "Path.scan",
        "Path.stat",
        "Path.resolve",
        "Path.absolute",
        "Path.read_text",
        "Path.read_bytes",
        "open",
    }
)
_CHANGES = frozenset(
    {
        "Path.write_text",
        "Path.write_bytes",
        "Path.append_text",
        "Path.append_bytes",
        "Path.mkdir",
        "Path.unlink",
        "Path.rmdir",
        "Path.rename",
    }
)
_ENTRIES = 2_000
_LONGEST = 1_000
_TRAFFIC = 40
_MB = 2**20


class Folder:
    """Answers what an interpreted program asks of files: those of its work folder, `disk` megabytes at most.

    All calls of a session together may move 40 times as much: appending byte after byte copies the file each time,
    which takes time of this process, and that is on no clock of the program.
    """

    root = "/work"

    def __init__(self, limits: Limits) -> None:
        self._most = limits.disk * _MB
        self._limits = limits
        self._traffic = 0
        self._kept = OSAccess([])
        self._kept.path_mkdir(PurePosixPath(self.root), parents=False, exist_ok=True)
        self._seen: dict[str, str | bytes] = {}

    def __call__(
        self, *, name: Any, args: tuple[Any, ...], kwargs: dict[str, Any], is_async: bool, **rest: Any
    ) -> Any:
        if name not in _READS and name not in _CHANGES:
            return NOT_HANDLED

        self._check(args)
        answer = self._kept(name=name, args=args, kwargs=kwargs, is_async=is_async, **rest)
        if name == "Path.unlink":
            self._kept.files[:] = [file for file in self._kept.files if not file.deleted]

        return answer

    def place(self, name: str, data: bytes) -> None:
        """Put a file into the folder before a program runs."""
        path = PurePosixPath(self.root, name)
        try:
            if not path.is_relative_to(self.root) or ".." in path.parts or path == PurePosixPath(self.root):
                raise OSError(f"`{name}` is no name")

            self._kept.path_mkdir(path.parent, parents=True, exist_ok=True)
            self._kept.path_write_bytes(path, data)
        except OSError as error:
            raise CodeFailed(f"the program or its data cannot be handed to the sandbox: {error}") from None

        self._seen[str(path)] = data

    def changed(self) -> tuple[tuple[str, bytes], ...]:
        """The files that were made or changed since the last time, by name; hidden ones are left out."""
        found = {str(file.path): file for file in self._files()}
        new = {path: file for path, file in found.items() if self._seen.get(path) != file.read_content()}
        self._seen = {path: file.read_content() for path, file in found.items()}
        if len(new) > self._limits.files:
            raise CodeFailed(f"the program left over {self._limits.files} files: make fewer at a time")

        return tuple((path[len(self.root) + 1 :], _content(file)) for path, file in sorted(new.items()))

    def _check(self, args: tuple[Any, ...]) -> None:
        """Refuse what would make the folder too large, or this process too busy."""
        sizes = [len(arg) for arg in args if isinstance(arg, str | bytes)]
        held = sum(len(file.read_content()) for file in self._kept.files)
        self._traffic += held + sum(sizes)
        if self._traffic > _TRAFFIC * self._most:
            raise OSError("[Errno 122] No space left: too much was read and written")

        if held + sum(sizes) > self._most or len(self._kept.files) >= _ENTRIES:
            raise OSError(
                f"[Errno 28] No space left: {self._limits.disk} MB or {_ENTRIES:,} files are allowed"
            )

        if any(len(str(arg)) > _LONGEST for arg in args if isinstance(arg, PurePosixPath)):
            raise OSError("[Errno 36] File name too long")

    def _files(self) -> list[AbstractFile]:
        kept = PurePosixPath(self.root)
        return [
            file
            for file in self._kept.files
            if file.path.is_relative_to(kept)
            and not any(part.startswith(".") for part in file.path.relative_to(kept).parts)
            and self._kept.path_is_file(file.path)
        ]


def _content(file: AbstractFile) -> bytes:
    content = file.read_content()
    return content if isinstance(content, bytes) else content.encode(errors="backslashreplace")
