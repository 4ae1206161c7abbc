"""The README does what it says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
from typer.main import get_command

from agentflow.cli.commands import app

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The workflow is accepted and gives what the comment behind it says."""
    module = types.ModuleType("readme_example")
    sys.modules[module.__name__] = module
    try:
        for block in _blocks("python"):
            exec(compile(block, "README.md", "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]

    said = re.findall(r"print\(.*\)  # (.*)", README)
    assert capsys.readouterr().out.splitlines() == said


def test_the_commands_of_the_readme_exist() -> None:
    """Each `agentflow COMMAND` in the README is a command of the launcher."""
    known = set(vars(get_command(app))["commands"])
    named = {
        line.split()[1]
        for block in _blocks("sh")
        for line in block.splitlines()
        if line.startswith("agentflow ")
    }

    assert named
    assert named <= known


def test_the_files_that_the_readme_links_are_there() -> None:
    """No link of the README leads nowhere."""
    links = re.findall(r"\]\(([^)h][^)]*)\)", README)

    assert [link for link in links if not (Path(__file__).parents[1] / link).exists()] == []
