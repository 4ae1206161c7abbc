"""`agentflow init`: a project that checks, runs and is tested from the first minute, and nothing of yours overwritten."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agentflow.cli import starting
from agentflow.cli.starting import write_project
from agentflow.exceptions import ProjectError

FILES = {
    "README.md",
    "documents/welcome.md",
    "pyproject.toml",
    "tests/__init__.py",
    "tests/test_ask.py",
    "tests/test_survey.py",
    "tools/__init__.py",
    "tools/files.py",
    "traces/.gitignore",
    "workflows/__init__.py",
    "workflows/ask.py",
    "workflows/steps.py",
    "workflows/survey.yaml",
}


@pytest.fixture
def project(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    """A project as `init` writes it."""
    write_project(tmp_path / "Leave & Travel", as_json=False)
    capfd.readouterr()
    return tmp_path / "Leave & Travel"


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a module of this Python in `folder`."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_init_writes_a_project_and_says_what_next(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All files are there, and the next two commands are printed, ready to be copied."""
    folder = tmp_path / "my notes"

    assert write_project(folder, as_json=False) == 0
    assert files_in(folder) == FILES
    said = capfd.readouterr().out
    assert f"cd '{folder}'\n" in said
    assert 'agentflow run ask question="' in said


def test_init_as_json(tmp_path: Path) -> None:
    """`init --json` prints one document with the folder, the files and the next commands."""
    done = python("agentflow", "init", "fresh", "--json", folder=tmp_path)
    document = json.loads(done.stdout)

    assert done.returncode == 0
    assert set(document["files"]) == files_in(tmp_path / "fresh") == FILES
    assert document["folder"] == "fresh"
    assert document["next"][0] == "cd fresh"


def test_init_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the current folder there is nowhere to go first, so the first command is a check; other files stay."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "mine.txt").write_text("mine", encoding="utf-8")
    write_project(Path(), as_json=True)

    assert json.loads(capfd.readouterr().out)["next"][0] == "agentflow check"
    assert (tmp_path / "documents" / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_the_project_is_named_after_its_folder(project: Path) -> None:
    """Its name in pyproject.toml is the folder's, as packages may be called."""
    known = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))

    assert known["project"]["name"] == "leave-travel"
    assert known["tool"]["agentflow"] == {"journal": "sqlite:///traces/journal.db"}
    assert (project / "README.md").read_text(encoding="utf-8").startswith("# leave-travel\n")


def test_all_workflows_of_the_project_are_sound(project: Path) -> None:
    """`agentflow check` finds nothing to mend."""
    done = python("agentflow", "check", "--json", folder=project)
    document = json.loads(done.stdout)

    assert done.returncode == 0
    assert document["errors"] == []
    assert {w["name"]: w["steps"] for w in document["workflows"]} == {
        "ask": ["find", "prepare", "write"],
        "survey": ["list_files", "count_words", "add_up"],
    }


def test_the_yaml_workflow_runs_without_a_model(project: Path) -> None:
    """`agentflow run survey` counts the words of the documents, and leaves its trail in the project."""
    done = python("agentflow", "run", "survey", "--json", folder=project)
    document = json.loads(done.stdout)

    words = len((project / "documents" / "welcome.md").read_text(encoding="utf-8").split())
    assert done.returncode == 0
    assert document["status"] == "done"
    assert document["output"] == {"files": [{"file": "documents/welcome.md", "words": words}], "words": words}
    assert (project / "traces" / "journal.db").is_file()


def test_the_project_is_clean_for_ruff(project: Path) -> None:
    """What is written passes the project's own ruff settings and is formatted."""
    for command in (["check"], ["format", "--check"]):
        done = python("ruff", *command, "--no-cache", ".", folder=project)

        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_whole_project_passes_its_tests_and_the_type_check(project: Path) -> None:
    """`ask` answers with the embedded model, and mypy finds nothing in strict mode."""
    for command in (["pytest", "-q", "-p", "no:cacheprovider"], ["mypy", "--cache-dir", "/dev/null", "."]):
        done = python(*command, folder=project)

        assert done.returncode == 0, done.stdout


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Where a file of the project is there already, the command ends with 2, names it, and writes nothing."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "ask.py").write_text("mine", encoding="utf-8")
    (tmp_path / "README.md").symlink_to("nowhere")
    done = python("agentflow", "init", ".", folder=tmp_path)

    assert done.returncode == 2
    assert "nothing was written: `README.md`, `workflows/ask.py` would be in the way" in done.stderr
    assert "hint: " in done.stderr
    assert files_in(tmp_path) == {"workflows/ask.py"}
    assert (tmp_path / "workflows" / "ask.py").read_text(encoding="utf-8") == "mine"


def test_a_second_init_is_refused(project: Path) -> None:
    """A project is not written over itself; of many files in the way some are named, the rest counted."""
    with pytest.raises(ProjectError, match=r"README\.md`, .* and 3 more would be in the way"):
        write_project(project, as_json=False)


@pytest.mark.parametrize("place", ["new", "new/workflows"])
def test_a_file_where_a_folder_belongs_is_in_the_way(place: str, tmp_path: Path) -> None:
    """A file of the folder's name, or of the name of a folder in it, is refused before anything is written."""
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("mine", encoding="utf-8")

    with pytest.raises(ProjectError) as caught:
        write_project(tmp_path / "new", as_json=False)

    assert str(caught.value) == f"nothing was written: `{tmp_path / place}` would be in the way"
    assert files_in(tmp_path) == {place}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """What the system says against it becomes an error in words."""
    with pytest.raises(ProjectError, match="cannot be written: File name too long"):
        write_project(tmp_path / ("x" * 300), as_json=False)


def test_what_tools_leave_in_the_template_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Caches and compiled files beside the template never reach a project."""
    shutil.copytree(starting.TEMPLATE, tmp_path / "template")
    (tmp_path / "template" / "tools" / "__pycache__").mkdir()
    (tmp_path / "template" / "tools" / "__pycache__" / "files.pyc").write_bytes(b"\xab")
    monkeypatch.setattr(starting, "TEMPLATE", tmp_path / "template")
    write_project(tmp_path / "new", as_json=True)

    assert files_in(tmp_path / "new") == FILES
    assert set(json.loads(capfd.readouterr().out)["files"]) == FILES
