"""A folder whose files a tool may read: nothing outside of it, and nothing that a link leads to."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from agentflow.exceptions import AddressRefused, FileUnreadable

# Not to be held up by a pipe, and not to be led away by a link that was laid a moment ago.
_FLAGS = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
_WALKS = os.open in os.supports_dir_fd


class Folder:
    """Reads files of the folder `root` and of folders in it, by names relative to it or whole."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """The bytes of the file `name`. Blocks.

        Raises `AddressRefused` for what lies elsewhere or behind a link, and `FileUnreadable` for what is missing, empty,
        no plain file, or larger than `max_bytes`.
        """
        parts = self._parts(name)
        try:
            opened = self._open(parts)
        except OSError as error:
            raise self._fault(name, parts, error) from None

        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            os.close(opened)
            raise FileUnreadable(f"`{name}` is no file")

        with os.fdopen(opened, "rb") as file:
            # As much room is taken as is asked for, so not more than the file needs.
            data = file.read(min(found.st_size, max_bytes) + 1)

        if not data:
            raise FileUnreadable(f"`{name}` is empty")

        if len(data) > max_bytes:
            raise FileUnreadable(
                f"`{name}` is larger than {max_bytes / 1e6:g} MB",
                hint="give a shorter or smaller one, or a part of it",
            )

        return data

    def _parts(self, name: str) -> tuple[str, ...]:
        path = Path(os.path.normpath(self.root / name)) if "\0" not in name else self.root.parent
        if not path.is_relative_to(self.root):
            raise AddressRefused(
                f"{name[:200]!r} is outside of the folder for such files",
                hint="give the name of a file in it, relative to the folder",
            )

        return path.relative_to(self.root).parts or (".",)

    def _open(self, parts: tuple[str, ...]) -> int:
        if not _WALKS:
            if self._is_linked(parts):
                raise OSError(errno.ELOOP, "a link")

            return os.open(self.root.joinpath(*parts), _FLAGS)

        # Step by step, each without following a link: no folder on the way can be exchanged for one.
        at = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts[:-1]:
                above, at = at, os.open(part, _FLAGS | os.O_DIRECTORY, dir_fd=at)
                os.close(above)

            return os.open(parts[-1], _FLAGS, dir_fd=at)
        finally:
            with suppress(OSError):
                os.close(at)

    def _fault(self, name: str, parts: tuple[str, ...], error: OSError) -> AddressRefused | FileUnreadable:
        # Where a folder was wanted, a link is only said not to be one.
        if error.errno in (errno.ELOOP, errno.EMLINK) or self._is_linked(parts):
            return AddressRefused(f"`{name}` is a link, or lies behind one", hint="give the file itself")

        return FileUnreadable(f"`{name}` cannot be read: {error.strerror or error}")

    def _is_linked(self, parts: tuple[str, ...]) -> bool:
        return any(self.root.joinpath(*parts[: n + 1]).is_symlink() for n in range(len(parts)))
