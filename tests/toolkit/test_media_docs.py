"""The pages for users do what they say: their Python runs, what they name is there, and their links lead somewhere."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from agentflow.tools import Tool

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("media.md", "tools.md")


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_the_docs_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block after the other, in an empty folder, without a key and without a server."""
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType(f"example_{page[:-3]}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(page):
        exec(compile(block, page, "exec"), module.__dict__)

    tools = [value for value in vars(module).values() if isinstance(value, Tool)]
    assert all(value.description and value.parameters for value in tools)
    assert tools


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_the_docs_lead_somewhere(page: str) -> None:
    """Each file that is linked is there."""
    links = re.findall(r"\]\(([^)h#][^)#]*)", (DOCS / page).read_text(encoding="utf-8"))

    assert [link for link in links if not (DOCS / link).exists()] == []


def test_the_tools_that_the_docs_name_are_those_that_are_made() -> None:
    """Under these names a model sees them."""
    module = types.ModuleType("example")
    exec(compile(blocks("media.md")[0], "media.md", "exec"), module.__dict__)
    made = {value.name for value in vars(module).values() if isinstance(value, Tool)}

    assert made == set(
        re.findall(r"`(\w+)`", (DOCS / "tools.md").read_text(encoding="utf-8").split("tells of these")[1])
    )
