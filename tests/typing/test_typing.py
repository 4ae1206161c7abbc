"""Both type checkers infer what a graph carries, and refuse what does not fit, each wrong line by name.

`right_*.py` must have no error. In `wrong_*.py` each line that ends in `# E: pyright-rule | mypy-code` must have exactly
those errors, and no other line any.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted([*HERE.glob("right_*.py"), *HERE.glob("wrong_*.py")])
MARK = re.compile(r"# E: ([\w, ]+) \| ([\w, -]+)$")
# What only costs time here: none of these types stand in a graph.
OTHERS = "agents openai opentelemetry networkx httpx playwright numpy typer rich pydantic pydantic_core genai_prices yaml"
Found = dict[tuple[str, int], set[str]]


def marked(checker: int) -> Found:
    """The errors that the files say a checker finds: by file and line."""
    found: Found = {}
    for path in FILES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if match := MARK.search(line):
                found[path.name, number] = set(match[checker].split(", "))

    return found


def test_there_are_enough_wrong_lines() -> None:
    """Each file of wrong lines has marks, and each file of right ones has none."""
    assert len(marked(1)) >= 30
    assert {name for name, _ in marked(1)} == {path.name for path in FILES if path.name.startswith("wrong_")}


def test_pyright(tmp_path: Path) -> None:
    """Pyright, strict, finds exactly the errors that are marked."""
    unknown = {f"reportUnknown{kind}Type": False for kind in ("Member", "Variable", "Argument", "Parameter")}
    config = {
        "include": [os.path.relpath(path, tmp_path) for path in FILES],
        "extraPaths": [os.path.relpath(ROOT, tmp_path)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        **unknown,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--pythonpath",
        sys.executable,
        "-p",
        str(tmp_path),
        "--outputjson",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    found: Found = defaultdict(set)
    for error in json.loads(done.stdout)["generalDiagnostics"]:
        found[Path(error["file"]).name, error["range"]["start"]["line"] + 1].add(
            error.get("rule", error["message"])
        )

    assert dict(found) == marked(1)


def test_mypy(tmp_path: Path) -> None:
    """Mypy, strict, finds exactly the errors that are marked."""
    skipped = ",".join(f"{name}.*" for name in OTHERS.split())
    config = f"[mypy]\nstrict = true\npython_version = 3.11\nfollow_imports = silent\n[mypy-{skipped}]\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text(config, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(tmp_path / "mypy.ini"),
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    done = subprocess.run([*command, *map(str, FILES)], check=False, capture_output=True, text=True, cwd=ROOT)
    found: Found = defaultdict(set)
    for path, line, code in re.findall(
        r"([\w.]+\.py):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE
    ):
        found[path, int(line)].add(code)

    assert dict(found) == marked(2), done.stdout + done.stderr
