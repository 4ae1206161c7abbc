"""Which files of a folder belong to a store, and what is known of each without reading it."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from agentflow.toolkit.files import globs
from agentflow.toolkit.files.filters import Metadata, Value
from agentflow.toolkit.files.parsing import READABLE, too_large
from agentflow.toolkit.files.vector_store import File

# A file written within this time before it was looked at may have changed again with the same time stamp.
_RACE = 2_000_000_000  # ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Metadata for files whose path in the folder fits `glob`: what is in `give`, and the named groups of `pattern`.

    `pattern` is a regular expression for the whole path; of a file that does not fit it, the rule says nothing. `numbers`
    names the groups that are numbers.
    """

    glob: str = "**"
    give: Mapping[str, Value | list[str]] = field(default_factory=dict[str, Value | list[str]])
    pattern: str = ""
    numbers: tuple[str, ...] = ()

    def metadata(self, path: str) -> dict[str, Value | list[str]]:
        """What the rule says of a path."""
        if not globs.matches(path, [self.glob]):
            return {}

        if not self.pattern:
            return dict(self.give)

        match = re.fullmatch(self.pattern, path)
        if match is None:
            return {}

        found = {name: text for name, text in match.groupdict().items() if text is not None}
        return {
            **self.give,
            **{name: _number(text) if name in self.numbers else text for name, text in found.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The files below `folder` that fit `include` and not `exclude`; hidden ones are never among them.

    Metadata come from `rules`, of which a later one wins.
    """

    folder: Path
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()

    def scan(self) -> dict[str, File]:
        """The files by their path in the folder; `why` says what cannot be read."""
        return {file.path: file for file in self._files()}

    def _files(self) -> Iterator[File]:
        unread: list[File] = []
        for place, folders, names in os.walk(self.folder, onerror=lambda e: unread.append(self._unread(e))):
            inside = Path(place).relative_to(self.folder)
            links = [name for name in folders if Path(place, name).is_symlink()]
            folders[:] = [
                n for n in sorted(folders) if n not in links and self._is_walked((inside / n).as_posix())
            ]
            for name in sorted([*names, *links]):
                path = (inside / name).as_posix()
                if self.covers(path):
                    yield self._looked_at(path)

        yield from unread

    def covers(self, path: str) -> bool:
        """Does the file with this path belong to the store?"""
        name = path.rpartition("/")[2]
        # Those with a tilde are locks of office programs.
        hidden = name.startswith((".", "~$"))
        return not hidden and globs.matches(path, self.include) and not globs.matches(path, self.exclude)

    def metadata(self, path: str) -> Metadata:
        """What the rules say of a path."""
        found: dict[str, Value | list[str]] = {}
        for rule in self.rules:
            found |= rule.metadata(path)

        return found

    def _is_walked(self, path: str) -> bool:
        hidden = path.rpartition("/")[2].startswith(".")
        return not hidden and not any(globs.matches(at, self.exclude) for at in (path, f"{path}/"))

    def _unread(self, error: OSError) -> File:
        path = Path(str(error.filename)).relative_to(self.folder).as_posix()
        return File(path=path, size=0, changed=0, seen=time.time_ns(), why=error.strerror or str(error))

    def _looked_at(self, relative: str) -> File:
        path = self.folder / relative
        size = changed = 0
        try:
            status = path.stat()
            size, changed = status.st_size, status.st_mtime_ns
            why = self._why_not(path, status)
        except OSError as error:
            why = "it is a link that leads nowhere" if path.is_symlink() else error.strerror or str(error)

        metadata = self.metadata(relative)
        return File(
            path=relative, size=size, changed=changed, seen=time.time_ns(), why=why, metadata=metadata
        )

    def _why_not(self, path: Path, status: os.stat_result) -> str | None:
        if path.is_symlink() and not path.resolve().is_relative_to(self.folder.resolve()):
            return "it is a link that leads out of the folder"

        if stat.S_ISDIR(status.st_mode):
            return "it is a link to a folder"

        if not stat.S_ISREG(status.st_mode):
            return "it is not a regular file"

        if path.suffix.lower() not in READABLE:
            return (
                f"`{path.suffix}` files are not read"
                if path.suffix
                else "its name has no ending that tells its kind"
            )

        return too_large(status.st_size, path.suffix.lower()) or None


def attributes(file: File) -> Metadata:
    """All that a search can be limited by: the file's metadata, its `kind`, `name`, `size` in bytes, and day of change."""
    day = datetime.fromtimestamp(file.changed / 1e9, UTC).date().isoformat()
    path = Path(file.path)
    known: dict[str, Value | list[str]] = {
        "kind": path.suffix.lower().removeprefix("."),
        "name": path.name,
        "size": file.size,
        "modified": day,
    }
    return {**known, **file.metadata}


def suspects(found: Mapping[str, File], known: Mapping[str, File], *, retry: bool = False) -> list[File]:
    """The files that may have changed since they were indexed."""
    return [file for file in found.values() if _suspect(file, known.get(file.path), retry=retry)]


def _suspect(file: File, known: File | None, *, retry: bool) -> bool:
    if known is None or file.metadata != known.metadata:
        return True

    if file.why or (known.why and known.digest is None):
        return file.why != known.why

    touched = (file.size, file.changed) != (known.size, known.changed)
    return touched or abs(known.seen - known.changed) < _RACE or (retry and bool(known.why))


def with_digest(folder: Path, file: File) -> File:
    """`file` with the digest of its content and its kind, for the same bytes read in another way are another text."""
    if file.why:
        return file

    try:
        with (folder / file.path).open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        return replace(file, why=error.strerror or str(error))

    return replace(file, digest=f"{digest}{Path(file.path).suffix.lower()}")


def _number(text: str) -> Value:
    try:
        return int(text)
    except ValueError:
        pass

    try:
        return float(text)
    except ValueError:
        return text
