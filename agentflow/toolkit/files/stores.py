"""The named stores of a project, from `[tool.agentflow.stores.NAME]` of its pyproject.toml, and a search over several."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from agentflow.embedding import TextEncoder
from agentflow.evidence import Evidence, Trust
from agentflow.exceptions import ProjectError, ToolArgumentsInvalid, UnknownName
from agentflow.secrets import Secret
from agentflow.toolkit.files.endpoint import EndpointEncoder
from agentflow.toolkit.files.filters import Filter, Value, filter_from, plain
from agentflow.toolkit.files.index import Progress
from agentflow.toolkit.files.retrieval import Request, retrieve
from agentflow.toolkit.files.scope import Rule, attributes
from agentflow.toolkit.files.search import FileSearch

T = TypeVar("T")
_NAME = re.compile(r"[\w-]{1,64}")
_SETTINGS = ("folder", "include", "exclude", "metadata", "weight", "trust", "embedding", "seconds")
_RULE = ("glob", "give", "pattern", "numbers")
_EMBEDDING = ("url", "model", "key", "dimension", "batch", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """A named store: which files of which folder it holds, and how they are searched. See `FileSearch`."""

    name: str
    folder: Path
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    weight: float = 0.5
    trust: Trust = "untrusted"
    embedding: TextEncoder | None = None
    seconds: float = 60.0

    def search(self, root: Path, *, progress: Progress | None = None) -> FileSearch:
        """The search in this store, whose index a project at `root` keeps."""
        return FileSearch(
            self.folder,
            index=root / "traces" / "index" / f"{self.name}.db",
            include=self.include,
            exclude=self.exclude,
            rules=self.rules,
            weight=self.weight,
            trust=self.trust,
            embedding=self.embedding,
            seconds=self.seconds,
            progress=progress,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Named stores that can be searched one by one or together."""

    searches: Mapping[str, FileSearch] = field(default_factory=dict[str, FileSearch])

    def __getitem__(self, name: str) -> FileSearch:
        if name not in self.searches:
            raise UnknownName("store", name, list(self.searches))

        return self.searches[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.searches)

    def __len__(self) -> int:
        return len(self.searches)

    async def search(
        self,
        query: str,
        max_results: int = 5,
        *,
        stores: Sequence[str] = (),
        where: Filter | Mapping[str, Any] | None = None,
        weight: float | None = None,
        per_file: int | None = None,
    ) -> list[Evidence]:
        """The passages of all stores, or of those named, that answer `query` best; see `FileSearch.search`."""
        names = list(dict.fromkeys(stores or self.searches))
        if not names:
            hint = "add one: `agentflow index add NAME FOLDER`"
            raise ToolArgumentsInvalid("there is no store to search", hint=hint)

        within = where if isinstance(where, Filter) or where is None else filter_from(where)
        request = Request(
            query=query, max_results=max_results, within=within, weight=weight, per_file=per_file
        )
        request.check()
        if len(names) == 1:
            return await self[names[0]].search(
                query, max_results, where=within, weight=weight, per_file=per_file
            )

        sources = [await self[name].source() for name in names]
        found = await retrieve(", ".join(names), sources, request)
        if not found and within is not None:
            within.check([attributes(file) for source in sources for file in source.store.files().values()])

        return found

    def close(self) -> None:
        """Let go of all index files."""
        for search in self.searches.values():
            search.close()


def stores_of(settings: Mapping[str, Any], root: Path, *, progress: Progress | None = None) -> Stores:
    """The stores that `[tool.agentflow]` of a project at `root` names. Raises `ProjectError` for what it cannot mean."""
    known = store_settings(settings, root)
    return Stores(searches={name: store.search(root, progress=progress) for name, store in known.items()})


def store_settings(settings: Mapping[str, Any], root: Path) -> dict[str, StoreSettings]:
    """The settings of each store by its name; folders are relative to `root`."""
    tables = settings.get("stores", {})
    if not isinstance(tables, Mapping):
        raise _wrong("stores", "is no table", "write a table for each: `[tool.agentflow.stores.NAME]`")

    return {name: _store(name, table, root) for name, table in cast("Mapping[str, Any]", tables).items()}


def _store(name: str, table: Any, root: Path) -> StoreSettings:
    where = f"stores.{name}"
    if not _NAME.fullmatch(name):
        raise _wrong(where, "has a name that cannot be one of a file", "use letters, digits, `-` and `_`")

    table = _table(table, where, _SETTINGS, needed=("folder",))
    return StoreSettings(
        name=name,
        folder=root / _of(table, "folder", str, where),
        include=_texts(table, "include", where, ("**",)),
        exclude=_texts(table, "exclude", where, ()),
        rules=tuple(
            _rule(rule, f"{where}.metadata[{n}]") for n, rule in enumerate(_listed(table, "metadata", where))
        ),
        weight=_share(table, where),
        trust=_trust(table, where),
        embedding=_embedding(table.get("embedding"), f"{where}.embedding"),
        seconds=float(_of(table, "seconds", (int, float), where, 60)),
    )


def _rule(table: Any, where: str) -> Rule:
    table = _table(table, where, _RULE)
    pattern = _of(table, "pattern", str, where, "")
    try:
        groups = set(re.compile(pattern).groupindex)
    except re.error as error:
        raise _wrong(
            where, f"has a `pattern` that is no regular expression: {error}", "see Python's `re`"
        ) from None

    numbers = _texts(table, "numbers", where, ())
    if unknown := sorted(set(numbers) - groups):
        raise _wrong(
            where, f"has no group `{unknown[0]}` in its `pattern`", f"write `(?P<{unknown[0]}>...)` there"
        )

    give = _table(table.get("give", {}), f"{where}.give", None)
    return Rule(
        glob=_of(table, "glob", str, where, "**"),
        give={name: _metadata(value, f"{where}.give.{name}") for name, value in give.items()},
        pattern=pattern,
        numbers=numbers,
    )


def _metadata(value: Any, where: str) -> Value | list[str]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value

    try:
        return plain(value)
    except ToolArgumentsInvalid as error:
        raise _wrong(where, f"is wrong: {error}", error.hint) from None


def _embedding(table: Any, where: str) -> TextEncoder | None:
    if table is None:
        return None

    table = _table(table, where, _EMBEDDING, needed=("url", "model"))
    return EndpointEncoder(
        _of(table, "url", str, where),
        model=_of(table, "model", str, where),
        key=Secret(_of(table, "key", str, where)) if "key" in table else None,
        dimension=_of(table, "dimension", int, where) if "dimension" in table else None,
        batch=_of(table, "batch", int, where, 64),
        seconds=float(_of(table, "seconds", (int, float), where, 60)),
    )


def _share(table: Mapping[str, Any], where: str) -> float:
    weight = float(_of(table, "weight", (int, float), where, 0.5))
    if not 0 <= weight <= 1:
        raise _wrong(where, f"has the `weight` {weight:g}", "give 0 (words alone) to 1 (meaning alone)")

    return weight


def _trust(table: Mapping[str, Any], where: str) -> Trust:
    known: dict[str, Trust] = {"trusted": "trusted", "untrusted": "untrusted"}
    trust = _of(table, "trust", str, where, "untrusted")
    if trust not in known:
        raise _wrong(where, f"has the `trust` `{trust}`", "write `trusted` or `untrusted`")

    return known[trust]


def _table(
    value: Any, where: str, known: Sequence[str] | None, needed: Sequence[str] = ()
) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(where, "is no table", "write `{ name = value }` or a table of its own")

    table = cast("Mapping[str, Any]", value)
    if known is not None and (unknown := sorted(set(table) - set(known))):
        raise _wrong(where, f"has an unknown setting `{unknown[0]}`", f"settings are: {', '.join(known)}")

    if missing := [name for name in needed if name not in table]:
        raise _wrong(where, f"has no `{missing[0]}`", f"say which: `{missing[0]} = ...`")

    return table


def _of(
    table: Mapping[str, Any],
    name: str,
    type_: Callable[..., T] | tuple[type, ...],
    where: str,
    default: Any = None,
) -> T:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, cast("type", type_)):
        raise _wrong(where, f"has the `{name}` {value!r}", "that is another type than it has to be")

    return cast("T", value)


def _texts(table: Mapping[str, Any], name: str, where: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = table.get(name, default)
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
        raise _wrong(where, f"has the `{name}` {value!r}", "give a list of texts")

    return tuple(values)


def _listed(table: Mapping[str, Any], name: str, where: str) -> list[Any]:
    value = table.get(name, [])
    if not isinstance(value, list):
        raise _wrong(where, f"has a `{name}` that is no list", f"write `[[tool.agentflow.{where}.{name}]]`")

    return value


def _wrong(where: str, what: str, hint: str) -> ProjectError:
    return ProjectError(f"`[tool.agentflow.{where}]` {what}", hint=hint)
