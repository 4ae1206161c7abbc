"""Programs that a model writes: where they run, and which tables they may see."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from agentflow.exceptions import AddressRefused, FileUnreadable
from agentflow.toolkit.sandbox import CodeResult, EngineName, Sandbox, described
from agentflow.tools import tool

ROOT = Path(__file__).resolve().parents[1]
_LARGEST = 20_000_000
# `auto`, the default, takes CPython with pandas where this machine can shut it in, else a small interpreter.
_ENGINE = cast("EngineName", os.environ.get("AGENTFLOW_SANDBOX", "auto"))
_sandbox = Sandbox(engine=_ENGINE)
# Tables may be private: no program of another tool sees what one left. And a program alone gives its table again.
_tables = Sandbox(engine=_ENGINE, keeps=False)


@tool(effect="none", returns="untrusted", timeout=30)
@described(
    "Run a Python program and return the value of its last expression, what it printed, and the files it left.",
    _sandbox,
)
async def run_python(code: str) -> CodeResult:
    return await _sandbox.run(code)


@tool(effect="read", returns="untrusted", private=True, timeout=30)
@described(
    "Run a Python program on a table; the variable `data` holds the CSV text of the file at `path`.\n\n"
    "Read it with `csv.DictReader(data.splitlines())`: every value is text, so turn numbers into `float` first.",
    _tables,
)
async def run_on_table(code: str, path: str) -> CodeResult:
    return await _tables.run(code, data={"data": table_text(path)})


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
