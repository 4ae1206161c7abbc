"""The page of problems: each code has a section, and each example has the problem that it is an example of."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentflow import DefinitionError

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (AF\d+): .*?\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
# What a file that could not be loaded at all is called in SARIF: no problem of a definition.
NO_PROBLEM = "AF100"


def test_each_code_has_a_section() -> None:
    """Each code that the package can say stands on the page, once, with how to mend it."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "agentflow").rglob("*.py"))
    codes = set(re.findall(r"\bAF\d{3}\b", source)) - {NO_PROBLEM}

    assert set(SECTIONS) == codes
    assert all("**Mend it:**" in text for text in SECTIONS.values())
    assert len(re.findall(r"^## AF", TEXT, re.MULTILINE)) == len(SECTIONS)


@pytest.mark.parametrize("code", [code for code, text in SECTIONS.items() if BLOCK.search(text)])
def test_each_example_has_its_problem(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page shows as broken is broken in that way."""
    first = BLOCK.search(TEXT)
    example = BLOCK.search(SECTIONS[code])
    assert first
    assert example
    # Written to a file: some of the checks read the source of a step.
    file = tmp_path / "example.py"
    file.write_text(f"{first[1]}\n\n{example[1]}", encoding="utf-8")
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    scope: dict[str, Any] = vars(module)
    found: list[Any] = []
    try:
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), scope)
        found = scope.get("warnings") or scope.get("problems") or []
    except DefinitionError as refused:
        found = list(refused.problems)

    assert code in {problem.code for problem in found}
