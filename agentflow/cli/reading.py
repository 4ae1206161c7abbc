"""The input of a run as it is given on the command line, in a file, or on standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_type_hints

from agentflow.exceptions import InputInvalid, ProjectError
from agentflow.workflow import Workflow

STDIN = "-"


def read_input(workflow: Workflow[Any, Any], words: Sequence[str], file: str | None) -> Any:
    """The input of a run, from a JSON file, `key=value` words, or one word of plain text."""
    given: Any = from_file(file) if file is not None else {}
    if workflow.takes is str:
        return " ".join(words).removeprefix("text=") or given

    pairs = pairs_of(f"workflow `{workflow.name}`", words)
    if not pairs:
        return given

    hints = _hints(workflow.takes)
    values = {key: _value(text, hints.get(key)) for key, text in pairs.items()}
    return {**cast("dict[str, Any]", given), **values} if isinstance(given, dict) else values


def pairs_of(what: str, words: Sequence[str]) -> dict[str, str]:
    """The `key=value` words that are given to `what`."""
    if texts := [word for word in words if "=" not in word]:
        raise InputInvalid(what, [f"`{texts[0]}` is no `key=value`"], hint='write question="..."')

    keys = [word.partition("=")[0] for word in words]
    if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise InputInvalid(what, [f"`{twice[0]}` is given twice"])

    return {key: text for key, _, text in (word.partition("=") for word in words)}


def from_file(file: str) -> Any:
    name = "standard input" if file == STDIN else f"`{file}`"
    try:
        raw = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        # Editors on Windows put a mark before UTF-8, which is no part of the text.
        return json.loads(raw.decode("utf-8-sig"))
    except FileNotFoundError:
        raise ProjectError(f"there is no file {name}") from None
    except OSError as error:
        raise ProjectError(f"{name} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ProjectError(f"{name} is not JSON: {error}") from None


def _hints(type_: Any) -> Mapping[str, Any]:
    try:
        return get_type_hints(type_)
    except (TypeError, NameError):
        return {}


def _value(text: str, hint: Any) -> Any:
    if hint is str:
        return text

    return json_or_text(text)


def json_or_text(text: str) -> Any:
    """What a word on the command line means: JSON, or else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
