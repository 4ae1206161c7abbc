"""Pages that were read lately, in memory and, where a folder is given, on disk; both within a bound."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from time import time

_IN_MEMORY = 8_000_000  # characters of text
_FORM = 1  # of the files; those of another form are not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page as it was read from `url`, where any redirects had led to, at `at` (seconds since 1970).

    `age` is how old, in seconds, the server said its own copy was. `places` are (start, name), such as (1200, "page 2").
    """

    url: str
    title: str
    text: str
    at: float
    age: float = 0.0
    places: tuple[tuple[int, str], ...] = ()


class PageCache:
    """Keeps pages by a key. On disk at most `max_bytes` are kept, in `folder`; what was fetched longest ago goes first."""

    def __init__(
        self, folder: Path | None = None, *, max_bytes: int = 64_000_000, clock: Callable[[], float] = time
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = Lock()
        self._kept: OrderedDict[str, Page] = OrderedDict()
        self._characters = 0
        self._on_disk: int | None = None

    def get(self, key: str, *, max_age: float) -> Page | None:
        """The page under `key` if it was read at most `max_age` seconds ago. Blocks for a read of a file at most."""
        with self._lock:
            page = self._kept.get(key)

        if page is None and self._folder is not None:
            page = self._read(self._file(key))

        return page if page is not None and 0 <= self._clock() - page.at <= max_age else None

    def put(self, key: str, page: Page) -> None:
        """Keep `page` under `key`. A disk that is full or read-only is no error: the page is only not kept there."""
        with self._lock:
            self._forget(key)
            self._kept[key] = page
            self._characters += len(page.text)
            while self._characters > _IN_MEMORY:
                self._forget(next(iter(self._kept)))

            if self._folder is not None:
                with suppress(OSError):
                    self._write(self._folder, self._file(key), page)

    def _forget(self, key: str) -> None:
        page = self._kept.pop(key, None)
        self._characters -= len(page.text) if page else 0

    def _file(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _read(self, file: Path) -> Page | None:
        try:
            form, fields = json.loads(file.read_bytes())
            fields["places"] = tuple((int(start), str(name)) for start, name in fields["places"])
            return Page(**fields) if form == _FORM and _is_whole(fields) else None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def _write(self, folder: Path, file: Path, page: Page) -> None:
        data = json.dumps([_FORM, asdict(page)]).encode("utf-8", "replace")
        if len(data) > self._max_bytes:
            return

        # Imported here: it brings much along that only a page that is kept needs.
        from tempfile import NamedTemporaryFile

        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder, suffix=".new", delete=False) as new:
            try:
                new.write(data)
                new.close()
                Path(new.name).replace(file)
            except OSError:
                Path(new.name).unlink()
                raise

        self._on_disk = None if self._on_disk is None else self._on_disk + len(data)
        if self._on_disk is None or self._on_disk > self._max_bytes:
            self._on_disk = _trimmed(folder, self._max_bytes)


def _is_whole(fields: dict[str, object]) -> bool:
    numbers = all(isinstance(fields[name], int | float) for name in ("at", "age"))
    return numbers and all(isinstance(fields[name], str) for name in ("url", "title", "text"))


def _trimmed(folder: Path, most: int) -> int:
    """How many bytes the files take, of which the oldest are deleted if that is more than `most`."""
    files: list[tuple[float, int, Path]] = []
    for file in folder.iterdir():
        # Another process may be at the same.
        with suppress(OSError):
            status = file.stat()
            files.append((status.st_mtime, status.st_size, file))

    total = sum(size for _, size, _ in files)
    # With room to spare, so that not every page that comes makes all files be looked at.
    goal = most if total <= most else most * 9 // 10
    for _, size, file in sorted(files, key=lambda entry: entry[0]):
        if total <= goal:
            break

        with suppress(OSError):
            file.unlink()
            total -= size

    return total
