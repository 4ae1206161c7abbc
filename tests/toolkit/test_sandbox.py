"""The sandbox: what a program may do, what it may not, and what comes back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from agentflow.exceptions import AddressRefused, CodeFailed, FileUnreadable, ToolArgumentsInvalid
from agentflow.toolkit.sandbox import MODULES, CodeResult, Sandbox
from tools.code import ROOT, run_on_table, run_python


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(engine="monty", seconds=20, megabytes=32, output=2_000)


@pytest.fixture
def hasty() -> Sandbox:
    """One whose time is soon over."""
    return Sandbox(engine="monty", seconds=0.4, megabytes=32, output=2_000)


async def test_last_expression_is_the_value(sandbox: Sandbox) -> None:
    """The value of the last expression comes back, with what was printed before it."""
    result = await sandbox.run("print('adding')\n[1 + 1, 'two', 2.5, None, True]")

    assert (result.value, result.printed) == ([2, "two", 2.5, None, True], "adding\n")
    assert result.seconds > 0


async def test_data_become_variables(sandbox: Sandbox) -> None:
    """Each entry of `data` is a variable of the program."""
    result = await sandbox.run("rate * sum(units)", data={"rate": 2, "units": [1, 2, 3]})

    assert result.value == 12


async def test_files_can_be_read(sandbox: Sandbox) -> None:
    """The files that are handed over can be opened by name."""
    code = "import csv\nwith open('sales.csv') as file:\n    rows = list(csv.reader(file))\nrows"
    result = await sandbox.run(code, files={"sales.csv": "region,units\nnorth,3"})

    assert result.value == [["region", "units"], ["north", "3"]]


@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/passwd').read()",
        "open('../../etc/passwd').read()",
        "open('/new.txt', 'w').write('x')\nopen('/etc/hostname').read()",
        "from pathlib import Path\nPath('/work/../etc/passwd').read_text()",
        "import os\nos.rename('/etc/passwd', 'new.txt')",
        "import os\nos.symlink('/etc/passwd', 'new.txt')",
    ],
)
async def test_no_other_file_is_reached(sandbox: Sandbox, code: str) -> None:
    """Files of the machine do not exist."""
    with pytest.raises(CodeFailed):
        await sandbox.run(code, files={"given.txt": "text"})


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.environ['HOME']",
        "import os\nos.getenv('HOME')",
        "import os\nos.system('true')",
        "import os\nos.listdir('/etc')",
        "import subprocess",
        "import ctypes",
        "import importlib",
        "__import__('os').system('true')",
        "().__class__.__bases__[0].__subclasses__()",
        "(lambda: 0).__globals__",
        "input()",
    ],
)
async def test_nothing_of_the_machine_is_reached(sandbox: Sandbox, code: str) -> None:
    """Environment, processes, and the host's Python are out of reach."""
    with pytest.raises(CodeFailed):
        await sandbox.run(code)


@pytest.mark.parametrize("module", ["socket", "urllib.request", "http.client", "ssl"])
async def test_there_is_no_network(sandbox: Sandbox, module: str) -> None:
    """No module that opens a connection can be imported, and the error names those that can."""
    with pytest.raises(CodeFailed, match="ModuleNotFoundError") as caught:
        await sandbox.run(f"import {module}")

    assert "csv" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("while True:\n    pass", "time limit"),
        ("try:\n    while True:\n        pass\nexcept BaseException:\n    'escaped'", "time limit"),
        ("kept = []\nwhile True:\n    kept.append('x' * 10_000)", "memory limit"),
        ("'x' * 10 ** 10", "memory limit"),
        ("try:\n    'x' * 10 ** 10\nexcept MemoryError:\n    'escaped'", "memory limit"),
        ("[0] * 10 ** 9", "memory limit"),
        ("def again():\n    return again()\nagain()", "RecursionError"),
        ("while True:\n    print('flood' * 100)", "printed more than 2,000"),
        ("print('x' * 2_001)\n1", "printed more than 2,000"),
        ("'x' * 3_000", "3,002 characters long"),
        ("list(range(3_000))", "holds over"),
        ("x = []\nfor _ in range(200):\n    x = [x]\nx", "nested over"),
        ("10 ** 5_000", "cannot be given back"),
    ],
)
async def test_limits_hold(sandbox: Sandbox, hasty: Sandbox, code: str, limit: str) -> None:
    """Each limit ends the program with an error that names it and says what to do."""
    with pytest.raises(CodeFailed, match=limit) as caught:
        await (hasty if limit == "time limit" else sandbox).run(code)

    assert caught.value.hint or limit == "RecursionError"


async def test_next_run_is_fresh_after_a_limit(sandbox: Sandbox, hasty: Sandbox) -> None:
    """A run that hit a limit leaves neither a variable nor a broken worker to the next."""
    with pytest.raises(CodeFailed):
        await hasty.run("kept = 1\nwhile True:\n    pass")

    with pytest.raises(CodeFailed, match="NameError"):
        await sandbox.run("kept")

    assert (await sandbox.run("'well'")).value == "well"


async def test_sleeping_takes_no_time() -> None:
    """A program that sleeps for an hour is done at once."""
    assert (await Sandbox(engine="monty", seconds=2).run("import time\ntime.sleep(3600)\n1")).value == 1


@pytest.mark.parametrize(
    ("code", "line", "hint"),
    [
        ("x = 1\ndef f(:\n    pass", "SyntaxError", ""),
        ("rows = []\nrows[0]", "IndexError", ""),
        ("raise ValueError('bad units')", "ValueError: bad units", ""),
        ("class Money(float):\n    pass", "class inheritance", "class inheritance"),
        ("def numbers():\n    yield 1\nnumbers()", "yield", "`yield`"),
        ("import numpy", "No module named 'numpy'", "math"),
        ("1 / 0", "    1 / 0", ""),
    ],
)
async def test_error_shows_the_end_of_the_traceback(
    sandbox: Sandbox, code: str, line: str, hint: str
) -> None:
    """The error holds the line at fault, and a hint where the interpreter lacks something."""
    with pytest.raises(CodeFailed) as caught:
        await sandbox.run(code)

    assert line in str(caught.value)
    assert hint in caught.value.hint
    assert len(str(caught.value).splitlines()) <= 9


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("(1, 'a')", [1, "a"]),
        ("{3, 1, 2}", [1, 2, 3]),
        ("{'b', 1}", [1, "b"]),
        ("{1: 'a', ('x', 2): 'b', None: 'c'}", {"1": "a", "x, 2": "b", "None": "c"}),
        ("import datetime\n[datetime.date(2025, 1, 2), datetime.timedelta(minutes=1)]", ["2025-01-02", 60.0]),
        ("import datetime\n{datetime.date(2025, 1, 2): 1}", {"2025-01-02": 1}),
        ("from decimal import Decimal\n[Decimal('1.5'), Decimal('NaN')]", [1.5, None]),
        ("[float('nan'), float('inf'), 1.0]", [None, None, 1.0]),
        ("b'ab\\xff'", "ab\\xff"),
        ("from collections import Counter\nCounter('aab')", {"a": 2, "b": 1}),
        ("(n * n for n in range(3))", [0, 1, 4]),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n[P(1), P(2)]",
            [{"x": 1}, {"x": 2}],
        ),
        ("range(3)", "range(0, 3)"),
        ("x = 1", None),
        ("", None),
    ],
)
async def test_values_are_plain_data(sandbox: Sandbox, code: str, value: object) -> None:
    """Whatever type the last expression has, its value can be written as JSON."""
    result = await sandbox.run(code)

    assert result.value == value
    assert json.loads(json.dumps(result.value, allow_nan=False)) == value


async def test_strange_data_is_refused(sandbox: Sandbox) -> None:
    """A value that the sandbox cannot hold, or a name that is none, is a failure and not a crash."""
    cycle: list[object] = []
    cycle.append(cycle)
    for data in ({"x": object()}, {"not a name": 1}, {"x": cycle}):
        with pytest.raises(CodeFailed):
            await sandbox.run("1", data=data)


async def test_runs_are_concurrent_and_apart() -> None:
    """Several programs at once see each their own data."""
    sandbox = Sandbox(engine="monty")
    results = await asyncio.gather(*(sandbox.run("n * n", data={"n": n}) for n in range(8)))

    assert [result.value for result in results] == [n * n for n in range(8)]


async def test_cancelled_program_is_stopped() -> None:
    """Cancelling the caller ends the program, so the thread is free for another one."""
    sandbox = Sandbox(engine="monty", seconds=60)
    runs = [asyncio.create_task(sandbox.run("while True:\n    pass")) for _ in range(6)]
    await asyncio.sleep(0.2)
    for run in runs:
        run.cancel()

    assert all(
        isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*runs, return_exceptions=True)
    )
    assert (await sandbox.run("1")).value == 1


def test_new_process_runs_several_and_ends_cleanly() -> None:
    """The first programs of a process may be concurrent, and it exits with 0 after a limit was hit."""
    program = (
        "import asyncio\n"
        "from agentflow.toolkit.sandbox import Sandbox\n"
        "codes = ['while True: pass', 'while True: print(1)', '1']\n"
        "async def main():\n"
        "    runs = [Sandbox(engine='monty', seconds=2).run(code) for code in codes]\n"
        "    ends = await asyncio.gather(*runs, return_exceptions=True)\n"
        "    print(*[type(end).__name__ for end in ends])\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert (ended.returncode, ended.stdout) == (0, "CodeFailed CodeFailed CodeResult\n")


@pytest.mark.parametrize("module", MODULES)
async def test_promised_modules_are_there(sandbox: Sandbox, module: str) -> None:
    """Every module that the description names can be imported."""
    assert (await sandbox.run(f"import {module}\n1")).value == 1
    assert module in sandbox.description


async def test_tool_runs_a_program() -> None:
    """The tool takes a program and gives its result; its labels say that it touches nothing."""
    result = await run_python.invoke({"code": "sum(range(5))"})

    assert isinstance(result, CodeResult)
    assert result.value == 10
    assert (run_python.effect, run_python.returns, run_python.outside) == ("none", "untrusted", False)
    with pytest.raises(ToolArgumentsInvalid):
        await run_python.invoke({"program": "1"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "units.csv").write_text("region,units\nnorth,3\nsouth,4\n", encoding="utf-8-sig")
    (tables / "latin.csv").write_bytes(b"name\nJ\xf6rg\n")
    (tmp_path / "secret.csv").write_text("secret")
    (tables / "link.csv").symlink_to(tmp_path / "secret.csv")
    monkeypatch.setenv("AGENTFLOW_DATA", str(tables))
    return tables


_TOTAL = "import csv\nsum(float(row['units']) for row in csv.DictReader(data.splitlines()))"


async def test_table_is_given_as_data(folder: Path) -> None:
    """A program sees the text of an allowed file, named in full or from its folder."""
    for path in ("units.csv", str(folder / "units.csv"), f"../{folder.name}/units.csv"):
        assert (await run_on_table.invoke({"code": _TOTAL, "path": path})).value == 7


@pytest.mark.parametrize(
    "path",
    [
        "../secret.csv",
        "link.csv",
        "/etc/passwd",
        "../../../../etc/passwd",
        "pyproject.toml",
        "workflows/samples/../../pyproject.toml",
        str(ROOT / "pyproject.toml"),
        "~/.ssh/config",
        "a\0b",
        "/proc/self/environ",
    ],
)
async def test_other_files_are_refused(folder: Path, path: str) -> None:
    """Neither a path, nor dots, nor a link leads out of the folders for tables."""
    with pytest.raises((AddressRefused, FileUnreadable)) as caught:
        await run_on_table.invoke({"code": "data", "path": path})

    assert "secret" not in str(caught.value).replace(path, "")


@pytest.mark.parametrize("path", ["missing.csv", "latin.csv", "."])
async def test_unreadable_table_is_named(folder: Path, path: str) -> None:
    """A table that is missing, is a folder, or is not UTF-8 is an error that says which and what is wanted."""
    with pytest.raises(FileUnreadable, match=r"cannot be read") as caught:
        await run_on_table.invoke({"code": "data", "path": path})

    assert path in str(caught.value)
    assert "UTF-8" in caught.value.hint
