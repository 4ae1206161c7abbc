"""Stores written into a pyproject.toml and taken out of it, with all else in it left as it is."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentflow.exceptions import ProjectError
from agentflow.toolkit.files.stores import store_settings

_HEADER = re.compile(r"\s*\[\[?\s*(?P<keys>[^\]]+?)\s*\]\]?\s*(?:#.*)?")


def with_store(file: Path, name: str, settings: Mapping[str, Any]) -> str:
    """The text of the file with a store more; raises `ProjectError` where there is one of that name, or it cannot be."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    known = _stores(_parsed(text, file))
    if name in known:
        hint = f"`agentflow index add {name}` indexes it; its settings are in {file.name}"
        raise ProjectError(f"there is a store `{name}` already", hint=hint)

    lines = [
        f"[tool.agentflow.stores.{name}]",
        *(f"{key} = {json.dumps(value)}" for key, value in settings.items()),
    ]
    text = f"{text.rstrip()}\n\n" if text.strip() else ""
    made = text + "\n".join(lines) + "\n"
    store_settings({"stores": {name: dict(settings)}}, file.parent)
    if _stores(_parsed(made, file)) != {**known, name: dict(settings)}:
        raise ProjectError(
            f"{file} does not take another store", hint=f"write `[tool.agentflow.stores.{name}]` there"
        )

    return made


def without_store(file: Path, name: str) -> str:
    """The text of the file without the tables of a store; raises `ProjectError` where they cannot be told from others."""
    text = file.read_text(encoding="utf-8")
    kept: list[str] = []
    ours = False
    for line in text.splitlines(keepends=True):
        header = _HEADER.fullmatch(line.rstrip("\r\n"))
        if header:
            keys = [key.strip().strip("\"'") for key in header["keys"].split(".")]
            ours = keys[:4] == ["tool", "agentflow", "stores", name]

        kept += [] if ours else [line]

    made = "".join(kept).rstrip() + "\n"
    if not _is_without(made, text, file, name):
        raise ProjectError(
            f"the settings of the store `{name}` are written in a way that is not taken out by itself",
            hint=f"take `[tool.agentflow.stores.{name}]` out of {file} by hand",
        )

    return made


def _is_without(made: str, text: str, file: Path, name: str) -> bool:
    """Does `made` say the same as `text`, but for the store?"""
    before = _parsed(text, file)
    try:
        after = tomllib.loads(made)
    except tomllib.TOMLDecodeError:  # what looked like a table was inside of a text
        return False

    wanted = {key: value for key, value in _stores(before).items() if key != name}
    return _stores(after) == wanted and _rest(after) == _rest(before)


def _stores(document: Mapping[str, Any]) -> dict[str, Any]:
    found = document.get("tool", {}).get("agentflow", {}).get("stores", {})
    return found if isinstance(found, dict) else {}


def _rest(document: Mapping[str, Any]) -> dict[str, Any]:
    """All but the stores, and the tables that are empty without them."""
    tools = dict(document.get("tool", {}))
    ours = {key: value for key, value in tools.pop("agentflow", {}).items() if key != "stores"}
    tools |= {"agentflow": ours} if ours else {}
    return {**{key: value for key, value in document.items() if key != "tool"}, **tools}


def _parsed(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{file} cannot be read: {error}", hint="mend it first") from None
