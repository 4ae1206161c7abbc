"""A project on disk: its root, its settings, its workflows and its journal."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from agentflow.definition import definition
from agentflow.exceptions import AgentflowError, ProjectError, UnknownName
from agentflow.journal import Journal
from agentflow.journal.memory import MemoryJournal
from agentflow.journal.sqlite import SqliteJournal
from agentflow.secrets import look_in
from agentflow.steps.naming import tools_in
from agentflow.tools import Tool
from agentflow.workflow import Workflow

if TYPE_CHECKING:
    from agentflow.audit.heads import Heads
    from agentflow.models.pricing import Price

DEFAULT_JOURNAL = "sqlite:///traces/journal.db"
_KNOWN_SETTINGS = {
    "audit",
    "content",
    "jaeger",
    "journal",
    "log",
    "metrics",
    "model",
    "prices",
    "redact",
    "stores",
    "tools",
    "workflows",
}
_AUDIT_SETTINGS = {"heads", "key"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A folder with `workflows/`, `tools/` and `traces/`; settings stand in `[tool.agentflow]` of its pyproject.toml."""

    root: Path
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def workflows(self) -> Path:
        return self.root / str(self.settings.get("workflows", "workflows"))

    @property
    def packages(self) -> tuple[str, str]:
        """The packages whose steps and tools a YAML workflow may name."""
        return self.workflows.name, str(self.settings.get("tools", "tools"))

    @property
    def prices(self) -> dict[str, Price]:
        """What the project says that models cost, by reference or name, from `[tool.agentflow.prices]`."""
        # Imported here: only what runs a model asks for prices.
        from agentflow.models.pricing import prices_from

        where = f"{self.root / 'pyproject.toml'}: `[tool.agentflow.prices]`"
        return prices_from(self.settings.get("prices", {}), where)

    def journal(self, environ: Mapping[str, str] = os.environ, *, read_only: bool = False) -> Journal:
        """The journal of `AGENTFLOW_JOURNAL`, of the settings, or `traces/journal.db`."""
        url = environ.get("AGENTFLOW_JOURNAL") or str(self.settings.get("journal", DEFAULT_JOURNAL))
        return open_journal(url, self.root, read_only=read_only)

    def heads_file(self, environ: Mapping[str, str] = os.environ) -> Path | None:
        """Where heads of runs are kept: `AGENTFLOW_AUDIT_HEADS`, or `heads` of `[tool.agentflow.audit]`."""
        named = environ.get("AGENTFLOW_AUDIT_HEADS") or self._audit("heads")
        return self.root / named if named else None

    def heads(self, environ: Mapping[str, str] = os.environ) -> Heads | None:
        """Where heads of runs are kept, and the key that they are signed with; None where they are not to be kept."""
        path, key = self.heads_file(environ), environ.get("AGENTFLOW_AUDIT_KEY") or self._audit("key")
        if path is None and key:
            raise ProjectError(
                "a key is named to sign heads of runs with, but no file to keep them in",
                hint="set `heads` in `[tool.agentflow.audit]`, or AGENTFLOW_AUDIT_HEADS",
            )

        if path is None:
            return None

        # Imported here: only where heads are kept.
        from agentflow.audit.heads import Heads
        from agentflow.audit.keys import signing_key

        return Heads(path=path, key=signing_key(self.root / key) if key else None)

    def _audit(self, name: str) -> str:
        known: Any = self.settings.get("audit", {})
        if not isinstance(known, dict) or set(known) - _AUDIT_SETTINGS:
            raise ProjectError(
                f"{self.root / 'pyproject.toml'}: `[tool.agentflow.audit]` has an unknown setting",
                hint=f"settings are: {', '.join(sorted(_AUDIT_SETTINGS))}",
            )

        return str(known.get(name, ""))

    def names(self) -> list[str]:
        """The files that may hold workflows, by name, without loading them."""
        return sorted({path.stem for path in self._files()})

    def _files(self) -> Iterator[Path]:
        if self.workflows.is_dir():
            for path in sorted(self.workflows.iterdir()):
                if path.suffix in (".py", ".yaml", ".yml") and not path.name.startswith("_"):
                    yield path

    def load(self, name: str) -> Workflow[Any, Any]:
        """The workflow `name`; its own file is tried first, so that others need not be loaded."""
        files = list(self._files())
        files.sort(key=lambda path: path.stem != name)
        found: dict[str, Workflow[Any, Any]] = {}
        for path in files:
            for workflow in self._workflows_in(path):
                found[workflow.name] = workflow

            if name in found:
                return found[name]

        raise UnknownName("workflow", name, list(found))

    def load_all(self) -> tuple[dict[str, Workflow[Any, Any]], list[AgentflowError]]:
        """All workflows by name, and what is wrong with those that cannot be loaded."""
        found: dict[str, Workflow[Any, Any]] = {}
        homes: dict[str, str] = {}
        errors: list[AgentflowError] = []
        for path in self._files():
            try:
                for workflow in self._workflows_in(path):
                    known = found.setdefault(workflow.name, workflow)
                    home = homes.setdefault(workflow.name, path.name)
                    if known is not workflow:
                        errors.append(_same_name(workflow.name, home, path.name))
            except AgentflowError as error:
                errors.append(error)

        return found, errors

    def tools(self) -> tuple[list[Found], list[AgentflowError]]:
        """The tools of the modules in `tools/`, each once, by module; and what is wrong with modules that cannot be loaded."""
        found: dict[int, Found] = {}
        errors: list[AgentflowError] = []
        folder = self.root / self.packages[1]
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else ():
            if path.name.startswith("_"):
                continue

            try:
                module = self.module(path)
            except AgentflowError as error:
                errors.append(error)
                continue

            for tool in tools_of(module):
                found.setdefault(id(tool), Found(module=module.__name__, tool=tool))

        return list(found.values()), errors

    def _workflows_in(self, path: Path) -> Iterator[Workflow[Any, Any]]:
        if path.suffix == ".py":
            yield from workflows_of(self.module(path))
        else:
            yield load_yaml(path, self)

    def module(self, path: Path) -> ModuleType:
        """Import a module of the project; the project's root comes first on the path."""
        self.importable()
        name = ".".join(path.relative_to(self.root).with_suffix("").parts)
        return _imported(name, lambda: import_module(name))

    def importable(self) -> None:
        """Make `workflows` and `tools` of this project importable."""
        look_in(self.root)
        if str(self.root) not in sys.path:
            sys.path.insert(0, str(self.root))

        for package in self.packages:
            _claim(package, self.root / package)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A tool of a project, and the module that holds it."""

    module: str
    tool: Tool[..., Any]

    @property
    def full_name(self) -> str:
        """What tells it from a tool of the same name: its module within `tools/`, and its name."""
        return f"{self.module.partition('.')[2]}.{self.tool.name}"


def tools_of(module: ModuleType) -> Iterator[Tool[..., Any]]:
    """The tools that a module holds, by themselves, in lists or in mappings."""
    for name, value in vars(module).items():
        if not name.startswith("_"):
            yield from tools_in(value)


def _same_name(name: str, first: str, second: str) -> ProjectError:
    return ProjectError(
        f"two workflows are named `{name}`: in {first} and in {second}", hint="rename one of them"
    )


def find_project(start: Path | None = None) -> Project:
    """The project that `start` (the current folder) lies in; raises `ProjectError` where there is none."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        settings = _settings(folder / "pyproject.toml")
        if settings is not None or (folder / "workflows").is_dir():
            return Project(root=folder, settings=settings or {})

    raise ProjectError(f"{start} is in no agentflow project", hint="make one with `agentflow init DIR`")


def _settings(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None

    try:
        tools = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
        settings: dict[str, Any] | None = tools.get("agentflow")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} cannot be read: {error}") from None

    if settings is not None and (unknown := sorted(set(settings) - _KNOWN_SETTINGS)):
        raise ProjectError(
            f"{path}: `[tool.agentflow]` has an unknown setting `{unknown[0]}`",
            hint=f"settings are: {', '.join(sorted(_KNOWN_SETTINGS))}",
        )

    return settings


def open_journal(url: str, root: Path, *, read_only: bool = False) -> Journal:
    """The journal that `url` names: `sqlite:///path` (relative to the project), `sqlite:////path`, or `memory:`.

    `sqlite:///path?synchronous=full` also survives a power cut, at the price of an fsync a commit.
    """
    if url == "memory:":
        return MemoryJournal()

    place, mark, options = url.partition("?")
    scheme, _, path = place.partition(":///")
    if scheme != "sqlite" or not path:
        raise ProjectError(
            f"`{url}` names no journal", hint="write `sqlite:///path/to/journal.db` or `memory:`"
        )

    known: dict[str, Literal["NORMAL", "FULL"]] = {
        "": "NORMAL",
        "?synchronous=normal": "NORMAL",
        "?synchronous=full": "FULL",
    }
    synchronous = known.get(mark + options.lower())
    if synchronous is None:
        raise ProjectError(
            f"`{url}` has an option that no journal knows: `{options}`",
            hint="write `?synchronous=full`, `?synchronous=normal`, or none",
        )

    return SqliteJournal(root / path, synchronous=synchronous, read_only=read_only)


def _claim(package: str, folder: Path) -> None:
    """Have `package` mean this folder, whatever other distribution installs a package of that name."""
    known = sys.modules.get(package)
    places: list[str] = list(getattr(known, "__path__", []))
    if not folder.is_dir() or str(folder) in places:
        return

    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]

    init = folder / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        package, init if init.is_file() else None, submodule_search_locations=[str(folder)]
    )
    if spec is None:  # a folder without __init__.py
        spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]

    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    if spec.loader is not None and init.is_file():
        spec.loader.exec_module(module)


def workflows_of(module: ModuleType) -> list[Workflow[Any, Any]]:
    """The workflows that a module defines, each once; those that are only part of another come last."""
    found = [value for value in vars(module).values() if isinstance(value, Workflow)]
    inner = {id(child) for workflow in found for _, child in workflow.children()}
    return sorted(dict.fromkeys(found), key=lambda w: id(w) in inner)


def load_file(text: str, project: Project | None) -> Workflow[Any, Any]:
    """The workflow `path.py:name`, `path.py` (its only one) or `path.yaml`."""
    file, _, name = text.partition(":")
    path = Path(file).resolve()
    if not path.is_file():
        raise ProjectError(f"there is no file `{file}`", hint="write `path/to/file.py:name`")

    if path.suffix in (".yaml", ".yml"):
        return load_yaml(path, project or Project(root=path.parent))

    module = _load_path(path, project)
    if name:
        return _named(module, name, file)

    found = workflows_of(module)
    if len(found) != 1:
        names = [key for key, value in vars(module).items() if isinstance(value, Workflow)]
        raise ProjectError(
            f"`{file}` defines {len(found)} workflows" + (f": {', '.join(names)}" if names else ""),
            hint=f"say which: `{file}:{names[0] if names else 'name'}`",
        )

    return found[0]


def _load_path(path: Path, project: Project | None) -> ModuleType:
    if project is not None and path.is_relative_to(project.root) and path.parent != project.root:
        return project.module(path)

    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    loader = spec.loader

    def load() -> ModuleType:
        loader.exec_module(module)
        return module

    return _imported(str(path), load)


def _named(module: ModuleType, name: str, file: str) -> Workflow[Any, Any]:
    workflows = {w.name: w for w in workflows_of(module)}
    found = getattr(module, name, None) or workflows.get(name)
    if not isinstance(found, Workflow):
        raise UnknownName(f"workflow in `{file}`", name, [*workflows, *_workflow_names(module)])

    return found


def _workflow_names(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, Workflow)]


def _imported(name: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except AgentflowError:
        raise
    except Exception as error:
        raise ProjectError(
            f"`{name}` cannot be loaded: {type(error).__name__}: {error}{_line(error)}"
        ) from error


def _line(error: BaseException) -> str:
    """Where in the project's own code an import failed."""
    if isinstance(error, SyntaxError):
        return ""

    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and "agentflow/project" not in file:
            place = f" ({file}:{trace.tb_lineno})"

        trace = trace.tb_next

    return place


def load_yaml(path: Path, project: Project) -> Workflow[Any, Any]:
    """The workflow that a YAML file defines; raises `DefinitionError` with all that is wrong with it, line by line."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ProjectError(f"{path.name} is not YAML: {error}") from None

    project.importable()
    return definition(text, path, project.packages)
