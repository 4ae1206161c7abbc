"""Programs that a model writes: where they run, and which tables they may see."""

from __future__ import annotations

import os
from pathlib import Path

from agentflow.exceptions import AddressRefused, FileUnreadable
from agentflow.toolkit.sandbox import CodeResult, Sandbox
from agentflow.tools import tool

ROOT = Path(__file__).resolve().parents[1]
_LARGEST = 20_000_000
_sandbox = Sandbox()


@tool(effect="none", returns="untrusted", timeout=30)
async def run_python(code: str) -> CodeResult:
    """Run a Python program and return the value of its last expression and what it printed.

    The last line must be an expression: its value is the result, as JSON, at most 64,000 characters long.
    There are: most of the language, and the modules base64, bisect, collections, copy, csv, dataclasses, datetime,
    decimal, functools, hashlib, itertools, json, math, random, re, time, typing, unicodedata.
    There are not: other modules (no statistics, numpy, pandas, io or string), class inheritance, `yield`, files,
    network, input. Each run is fresh and keeps nothing. Limits: 10 seconds, 256 MB.
    """
    return await _sandbox.run(code)


@tool(effect="read", returns="untrusted", private=True, timeout=30)
async def run_on_table(code: str, path: str) -> CodeResult:
    """Run a Python program on a table; the variable `data` holds the CSV text of the file at `path`.

    Read it with `csv.DictReader(data.splitlines())`: every value is text, so turn numbers into `float` first.
    The last line must be an expression: its value is the result. What else there is and is not, is the same
    as for `run_python`.
    """
    return await _sandbox.run(code, data={"data": table_text(path)})


def _folders() -> list[Path]:
    own = os.environ.get("AGENTFLOW_DATA")
    return [ROOT / "workflows" / "samples", *([Path(own)] if own else [])]


def table_text(path: str) -> str:
    file = _allowed(path)
    try:
        if file.stat().st_size > _LARGEST:
            raise FileUnreadable(
                f"`{path}` is larger than {_LARGEST:,} bytes", hint="give a part of the table"
            )

        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileUnreadable(
            f"`{path}` cannot be read: {error}", hint="tables are CSV files in UTF-8"
        ) from None


def _allowed(path: str) -> Path:
    """The file that `path` names, seen from the project or from a folder of tables, links followed."""
    folders = [folder.resolve() for folder in _folders()]
    try:
        found = [(base / path).resolve() for base in (ROOT, *folders)]
    except (OSError, ValueError):
        found = []

    inside = [file for file in found if any(file.is_relative_to(folder) for folder in folders)]
    if not inside:
        raise AddressRefused(
            f"`{path}` is outside of the folders for tables",
            hint="tables lie in workflows/samples, or in the folder that AGENTFLOW_DATA names",
        )

    return next((file for file in inside if file.is_file()), inside[0])
