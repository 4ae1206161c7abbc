"""When a model is shut down: by the dates that providers have announced, or by what its server lists.

The dates come with agentflow and nothing is fetched for them; `listed_endings` asks the server, and only where it is called.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from agentflow.exceptions import Problem
from agentflow.models.catalog import EMBEDDED, OPENAI_URL, ModelRef, parse

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_DATA = Path(__file__).parent.parent / "data" / "model_endings.toml"
_TIMEOUT = 5.0  # seconds for the whole list: a server that lists its models at all does it at once
_REPLACED_AT_MOST = 4  # replacements that are followed, one after another
# A tuned model is named after its base, as `ft:gpt-4o-2024-08-06:organisation:suffix:id`.
_TUNED = re.compile(r"ft:(?P<base>[^:]+):")
_SNAPSHOT = re.compile(r"(?P<family>.+)-(?:\d{4}-\d\d-\d\d|\d{8})")
_MILLISECONDS = 100_000_000_000  # an epoch above this (the year 5138 in seconds) counts milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The day from which a model answers no more, and who says so; `replacement` is None where nobody names one."""

    model: str
    date: dt.date
    source: str
    read_on: dt.date
    replacement: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """An ending as it stands in the data; it may hold for dated versions of the model and for models tuned from it."""

    ending: Ending
    snapshots: bool
    tuned: bool


_Rows = Mapping[str, Mapping[str, _Row]]


def ends(
    model: str | ModelRef,
    today: dt.date,
    within_days: int = 90,
    *,
    listed: Mapping[str, Ending] | None = None,
) -> Ending | None:
    """The ending of `model`, where it is past or comes within that many days; None where none is known.

    A bare name stands for itself, wherever it is served. A reference to a server is looked up among the models of who
    runs that server, as others set dates of their own. What its server has `listed` goes before the dates known here.
    """
    ref = _reference(model)
    name = ref.name if ref is not None else str(model)
    known = _known(name, _provider(ref))
    found = (listed or {}).get(name)
    if found is not None and known is not None and found.replacement is None:
        found = replace(found, replacement=known.replacement)

    found = found or known
    return found if found is not None and (found.date - today).days <= within_days else None


def problem_of(ending: Ending, where: str, today: dt.date) -> Problem:
    """The warning AF170 of a model that is used at `where` and that has ended, or will soon."""
    left = (ending.date - today).days
    if left > 0:
        what = f"`{ending.model}` is shut down on {ending.date} ({left} day{'' if left == 1 else 's'} left)"
    else:
        what = f"`{ending.model}` {'is' if left == 0 else 'was'} shut down on {ending.date}"

    named = ", then ".join(_replacements(ending))
    read = f"{ending.source}, read on {ending.read_on}"
    hint = f"name another model ({read})" if ending.replacement else f"look for its replacement ({read})"
    what += f"; replacement {named}" if named else ""
    return Problem(code="AF170", what=what, where=where, hint=hint, severity="warning")


async def listed_endings(ref: ModelRef, environ: Mapping[str, str], today: dt.date) -> dict[str, Ending]:
    """The endings that the server of `ref` lists, by model; raises a `ModelError` where it cannot be asked.

    OpenAI's list gives a `shutdown_date` with models that have one; most other servers give none.
    """
    if ref.url is None:
        return {}

    import asyncio

    from agentflow.models.errors import translated

    try:
        async with asyncio.timeout(_TIMEOUT), _client(ref, environ) as client:
            models = (await client.models.list()).data  # it is of one page
    except Exception as error:
        told = translated(error, subject="the list of models", url=ref.url)
        if told is error:
            raise

        raise told from error

    found = {model.id: _read_date(getattr(model, "shutdown_date", None)) for model in models}
    source = f"the list of models at {ref.url}"
    return {
        name: Ending(model=name, date=day, source=source, read_on=today)
        for name, day in found.items()
        if day is not None
    }


def _client(ref: ModelRef, environ: Mapping[str, str]) -> AsyncOpenAI:
    # Imported here: the client takes a second to load.
    from openai import AsyncOpenAI

    from agentflow.models.errors import missing_key

    key = environ.get(ref.key_env, "") if ref.key_env else ""
    if not key and ref.base_url is None:
        raise missing_key(ref.name, ref.key_env or "OPENAI_API_KEY")

    return AsyncOpenAI(
        api_key=key or "none", base_url=ref.base_url or OPENAI_URL, timeout=_TIMEOUT, max_retries=0
    )


def _read_date(value: Any) -> dt.date | None:
    """A day given as text (`2027-01-14`, with a time or without) or as seconds or milliseconds since 1970."""
    try:
        if isinstance(value, str):
            return dt.date.fromisoformat(value.strip()[:10])

        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / (1000 if value > _MILLISECONDS else 1)
            return dt.datetime.fromtimestamp(seconds, dt.UTC).date()
    except (ValueError, OverflowError, OSError):
        return None

    return None


def _reference(model: str | ModelRef) -> ModelRef | None:
    """The reference that `model` is; None for a bare name."""
    if isinstance(model, ModelRef):
        return model

    is_reference = model == EMBEDDED.name or model.startswith(("responses/", "chat/", "scripted/"))
    return parse(model, {}) if is_reference else None


def _provider(ref: ModelRef | None) -> str | None:
    """Who runs the server of `ref`: empty where that is not known, and None for a bare name, which is anybody's."""
    if ref is None:
        return None

    host = urlsplit(ref.url or "").hostname
    return next((name for name, own in _hosts().items() if own == host), "")


def _known(name: str, provider: str | None) -> Ending | None:
    """The ending of a model as the data has it: its own, else that of what it was tuned from or is a version of."""
    rows = _rows()
    tables = rows.values() if provider is None else [rows.get(provider, {})]
    name = name.removeprefix("models/")  # how Google lists its own
    return next((replace(row.ending, model=name) for table in tables for row in _matching(name, table)), None)


def _matching(name: str, table: Mapping[str, _Row]) -> Iterator[_Row]:
    """The rows that hold for a model, the most exact first."""
    tuned = _TUNED.match(name)
    base = tuned["base"] if tuned else name
    version = _SNAPSHOT.fullmatch(base)
    if base in table and (table[base].tuned or not tuned):
        yield table[base]

    family = table.get(version["family"]) if version else None
    if family is not None and family.snapshots and (family.tuned or not tuned):
        yield family


def _replacements(ending: Ending) -> Iterator[str]:
    """What replaces a model; and where that ends as well, the day on which it does, and what replaces it in turn."""
    named = ending.replacement
    for _ in range(_REPLACED_AT_MOST):
        if named is None:
            return

        following = _known(named, None)
        ends_too = "" if following is None else f", which ends on {following.date}"
        yield f"`{named}`{ends_too}"
        named = following.replacement if following is not None else None


@cache
def _data() -> dict[str, Any]:
    import tomllib  # only a check asks for endings

    return tomllib.loads(_DATA.read_text(encoding="utf-8"))


def _hosts() -> Mapping[str, str]:
    return cast("Mapping[str, str]", _data()["hosts"])


@cache
def _rows() -> _Rows:
    """The rows of the data by provider and model."""
    found: dict[str, dict[str, _Row]] = {}
    for group in _data()["endings"]:
        source = _data()["sources"][group["source"]]
        for model in group["models"]:
            ending = Ending(
                model=model,
                date=group["date"],
                replacement=group.get("replacement"),
                source=source["page"],
                read_on=source["read_on"],
            )
            row = _Row(
                ending=ending, snapshots=group.get("snapshots", False), tuned=group.get("tuned", False)
            )
            found.setdefault(group["provider"], {})[model] = row

    return found
