"""What of this machine is seen inside of the stronger sandbox: Python, its libraries, a few packages; all read-only."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

PACKAGES = ("numpy", "pandas", "matplotlib")
"""What programs may import beside the standard library, where it is installed."""

_HOME = "/python"
_SITE = "/packages"
_NAME = re.compile(r"^[A-Za-z0-9._-]+")
_INSIDE = Path(__file__).with_name("inside")
_DEVICES = ("null", "zero", "urandom", "random")


def mounts(packages: Sequence[str]) -> list[str]:
    """Arguments of `bwrap` that mount Python and `packages`, and whatever these depend on."""
    binds = [*_libraries(), *_python(), *_packages(tuple(packages)), (_INSIDE, "/inside")]
    zones = ("--ro-bind-try", "/usr/share/zoneinfo", "/usr/share/zoneinfo")
    return [
        *_folders([inside for _, inside in binds]),
        *(part for source, inside in binds for part in ("--ro-bind", str(source), inside)),
        *_hidden(),
        *(zones if Path("/usr/share/zoneinfo").is_dir() else ()),
        *(part for name in _DEVICES for part in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")),
        *("--dir", "/work", "--symlink", "/work/.tmp", "/tmp"),  # noqa: S108 - a path inside
        # All of this lies in a folder in memory that is not limited in size.
        *("--remount-ro", "/"),
    ]


def _folders(inside: Sequence[str]) -> Iterator[str]:
    """The folders above these, open to all: `bwrap` would keep those that it makes by itself to its own user."""
    above = {str(folder) for path in inside for folder in PurePosixPath(path).parents}
    for folder in sorted(above | {_SITE, "/dev", "/usr/share"} - {"/"}):
        yield from ("--dir", folder)


def environment() -> dict[str, str]:
    """The variables that a program sees."""
    return {
        "PYTHONHOME": _HOME,
        "PYTHONPATH": f"/:{_SITE}",
        "LD_LIBRARY_PATH": f"{_HOME}/{sys.platlibdir}",
        "LANG": "C.UTF-8",
        "HOME": "/work",
        "TMPDIR": "/tmp",  # noqa: S108
        "MPLBACKEND": "module://inside.figures",
        "MPLCONFIGDIR": "/work/.matplotlib",
        # Threads of their own would take the room of those that a program may start.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }


def interpreter() -> list[str]:
    """How the worker is started inside: without the `site` module, and writing no byte code."""
    return [f"{_HOME}/bin/python3", "-s", "-S", "-B", "-m", "inside.worker"]


def _libraries() -> Iterator[tuple[Path, str]]:
    """Where the loader looks for the C library and its like: the folder of this architecture, where there is one."""
    several = sysconfig.get_config_var("MULTIARCH")
    own = [Path(folder, several) for folder in ("/lib", "/usr/lib") if several]
    folders = [*filter(Path.is_dir, own)] or [Path("/lib"), Path("/usr/lib")]
    return (
        (folder, str(folder)) for folder in (*folders, Path("/lib64"), Path("/usr/lib64")) if folder.is_dir()
    )


def _library() -> tuple[Path, str]:
    """Python's standard library, here and inside."""
    library = Path(sysconfig.get_path("stdlib"))
    return library, f"{_HOME}/{sys.platlibdir}/{library.name}"


def _python() -> Iterator[tuple[Path, str]]:
    """The interpreter that runs this."""
    yield Path(getattr(sys, "_base_executable", sys.executable)).resolve(), f"{_HOME}/bin/python3"
    yield _library()
    folder, name = sysconfig.get_config_vars("LIBDIR", "INSTSONAME")
    shared = Path(folder or "", name or "")
    if ".so" in shared.name and shared.is_file():
        yield shared, f"{_HOME}/{sys.platlibdir}/{shared.name}"


def _hidden() -> Iterator[str]:
    """Packages that are installed beside the standard library are not seen."""
    library, inside = _library()
    for name in ("site-packages", "dist-packages"):
        if (library / name).is_dir():
            yield from ("--tmpfs", f"{inside}/{name}", "--remount-ro", f"{inside}/{name}")


@cache
def _packages(names: tuple[str, ...]) -> tuple[tuple[Path, str], ...]:
    return tuple((source, f"{_SITE}/{source.name}") for source in sorted(_sources(names)))


def _sources(names: Sequence[str]) -> set[Path]:
    """The folders and modules of these distributions and of those that they need."""
    found: dict[str, Distribution] = {}
    wanted = list(names)
    while wanted:
        name = wanted.pop()
        known = _distribution(name)
        if known is not None and name not in found:
            found[name] = known
            wanted += _needs(known)

    return {source for known in found.values() for source in _tops(known)}


def installed(packages: Sequence[str]) -> list[str]:
    """Those of `packages` that are there to be seen."""
    return [name for name in packages if _distribution(name) is not None]


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _needs(known: Distribution) -> Iterator[str]:
    """What it needs always; what is for another system, or optional, is not there or does no harm."""
    for line in known.requires or ():
        match = _NAME.match(line)
        if match and "extra ==" not in line:
            yield match[0]


def _tops(known: Distribution) -> Iterator[Path]:
    for name in {file.parts[0] for file in known.files or ()}:
        source = Path(str(known.locate_file(name)))
        if (
            name not in {"..", "/", "__pycache__"}
            and source.suffix not in {".dist-info", ".pth"}
            and source.exists()
        ):
            yield source
