"""The stronger engine: CPython with pandas and plots, its walls seen from outside, and what is said where it is missing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentflow.exceptions import CodeFailed, ToolError
from agentflow.toolkit.sandbox import OutputFile, Sandbox, probe
from agentflow.toolkit.sandbox.bubblewrap import Bubblewrap, BubblewrapSession
from agentflow.toolkit.sandbox.calls import is_known, refusing
from agentflow.toolkit.sandbox.engine import Limits, Program
from agentflow.toolkit.sandbox.mounts import mounts

pytestmark = pytest.mark.skipif(not probe().works, reason=f"no bubblewrap here: {probe().reason}")
_LIMITS = Limits(seconds=20, megabytes=1024, disk=8, output=8_000, files=5, threads=16)


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(engine="bwrap", seconds=20, output=8_000)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("class Money(float):\n    pass\nMoney(1.5)", 1.5),
        ("def numbers():\n    yield from range(3)\nnumbers()", [0, 1, 2]),
        ("import statistics\nstatistics.median([1, 5, 3])", 3),
        ("{3, 1, 2}", [1, 2, 3]),
        (
            "import decimal, datetime\n[decimal.Decimal('1.5'), datetime.date(2025, 1, 2)]",
            [1.5, "2025-01-02"],
        ),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n[P(1)]", [{"x": 1}]),
        ("from enum import IntEnum\nclass E(IntEnum):\n    A = 1\nE.A", 1),
        ("[float('nan'), float('inf')]", [None, None]),
        ("b'ab\\xff'", "ab\\xff"),
        ("len(data)", 3),
        ("x = 1", None),
        ("", None),
    ],
)
async def test_values_are_plain_data(sandbox: Sandbox, code: str, value: object) -> None:
    """All of Python is there, and whatever its last expression is can be written as JSON."""
    assert (await sandbox.run(code, data={"data": [1, 2, 3]})).value == value


async def test_numpy_and_pandas(sandbox: Sandbox) -> None:
    """Arrays, frames, series and times of numpy and pandas become lists, tables and texts."""
    async with sandbox.session() as session:
        table = await session.run(
            "import io, numpy as np, pandas as pd\n"
            "frame = pd.read_csv(io.StringIO(data), parse_dates=['day'])\nframe",
            data={"data": "day,units\n2025-01-02,3\n2025-01-03,\n"},
        )
        rest = await session.run(
            "[np.arange(3), np.float64(1.5), pd.NA, pd.NaT, frame.groupby('day').units.sum(), "
            "frame.set_index('day'), np.array(['a'])]"
        )

    rows = [["2025-01-02T00:00:00", 3.0], ["2025-01-03T00:00:00", None]]
    assert table.value == {"columns": ["day", "units"], "rows": rows}
    assert rest.value == [
        [0, 1, 2],
        1.5,
        None,
        None,
        {"2025-01-02T00:00:00": 3.0, "2025-01-03T00:00:00": 0.0},
        {"columns": ["day", "units"], "rows": rows},
        ["a"],
    ]


def _content(file: OutputFile) -> bytes:
    return Path(file.path).read_bytes()


async def test_plots_come_back_as_images(sandbox: Sandbox) -> None:
    """Each figure that is shown, and each left open, is a PNG; one that was saved is a file. None comes twice."""
    plots = (
        "import matplotlib.pyplot as plt\n"
        "plt.plot([1, 2]); plt.show()\n"
        "plt.bar(['a', 'b'], [2, 1])\nplt.savefig('saved.png')\n1"
    )
    async with sandbox.session() as session:
        result = await session.run(plots)
        again = await session.run("2")

    contents = set(map(_content, result.images))
    assert [image.media_type for image in result.images] == ["image/png"] * 2
    assert len(contents) == 2
    assert all(content.startswith(b"\x89PNG") for content in contents)
    assert [(file.name, file.media_type) for file in result.files] == [("saved.png", "image/png")]
    assert (again.images, again.files) == ((), ())


async def test_too_many_figures_are_a_failure_of_the_program() -> None:
    """More figures than files are allowed is said to the program's author, and the session goes on."""
    plots = "import matplotlib.pyplot as plt\nx = 1\nfor _ in range(3):\n    plt.figure()"
    async with Sandbox(engine="bwrap", seconds=20, files=2).session() as session:
        with pytest.raises(CodeFailed, match="over 2 figures"):
            await session.run(plots)

        assert (await session.run("x")).value == 1


async def test_a_file_that_only_says_it_is_an_image_is_none(sandbox: Sandbox) -> None:
    """The media type of a picture is given to pictures only."""
    (file,) = (await sandbox.run("open('a.png', 'w').write('<svg onload=...>')")).files

    assert file.media_type == "application/octet-stream"


async def test_only_what_was_named_can_be_imported(sandbox: Sandbox) -> None:
    """Other packages of the environment, agentflow too, are not there."""
    for module in ("pydantic", "agentflow", "pip", "tests"):
        with pytest.raises(CodeFailed, match="ModuleNotFoundError"):
            await sandbox.run(f"import {module}")


async def test_errors_show_the_line(sandbox: Sandbox) -> None:
    """The traceback begins at the program's own line, and shows nothing of the worker."""
    with pytest.raises(CodeFailed) as caught:
        await sandbox.run("def share(a, b):\n    return a / b\n\nshare(1, 0)")

    assert "share(1, 0)" in str(caught.value)
    assert "return a / b" in str(caught.value)
    assert "inside" not in str(caught.value)


async def test_data_that_is_no_json_is_refused(sandbox: Sandbox) -> None:
    """A value that cannot be handed over is a failure that says which name or why."""
    cycle: list[object] = []
    cycle.append(cycle)
    for data in ({"x": object()}, {"not a name": 1}, {"class": 1}, {"x": cycle}):
        with pytest.raises(CodeFailed, match="cannot be handed"):
            await sandbox.run("1", data=data)


def _stands_still(session: BubblewrapSession) -> bool:
    """Whether its process is stopped, which it is told to be when its program has ended."""
    for _ in range(1_000):
        if Path(f"/proc/{_number(session)}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return True

        time.sleep(0.01)

    return False


def _number(session: BubblewrapSession) -> int:
    assert session._worker is not None
    fields = Path(f"/proc/self/fdinfo/{session._worker._handle}").read_text().splitlines()
    return next(int(line.split()[1]) for line in fields if line.startswith("Pid:"))


async def test_threads_that_are_left_stand_still() -> None:
    """Between two programs nothing runs, whatever a program started; the next one finds it going on."""
    program = (
        "import threading\nn = 0\ndef count():\n    global n\n    while True:\n        n += 1\n"
        "threading.Thread(target=count, daemon=True).start()\n1"
    )
    session = Bubblewrap(path=probe().path).session(_LIMITS)
    await session.run(Program(code=program, data={}, files={}))
    assert _stands_still(session)
    counted = (await session.run(Program(code="n", data={}, files={}))).value
    assert (await session.run(Program(code=f"n >= {counted}", data={}, files={}))).value is True
    await session.close()


def _seen(number: int) -> tuple[dict[str, list[str]], str, dict[str, str]]:
    """What a process is and has: its status, its environment, its namespaces."""
    folder = Path("/proc", str(number))
    lines = (line.partition(":") for line in (folder / "status").read_text().splitlines())
    spaces = {name: str((folder / "ns" / name).readlink()) for name in ("ipc", "mnt", "net", "pid", "uts")}
    return {name: text.split() for name, _, text in lines}, (folder / "environ").read_text(), spaces


async def test_the_worker_has_no_rights() -> None:
    """Seen from outside: no capabilities, no new privileges, a filter, a user of its own, namespaces of its own."""
    session = Bubblewrap(path=probe().path).session(_LIMITS)
    await session.run(Program(code="1", data={}, files={}))
    status, environment, spaces = _seen(_number(session))
    _, _, ours = _seen(os.getpid())
    await session.close()

    assert {status[name][0] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    assert os.geteuid() != 0 or "0" not in status["Uid"]
    assert len(status["NSpid"]) == 2
    assert not set(spaces.values()) & set(ours.values())
    assert "PYTHONHOME=/python" in environment
    assert not any(name in environment for name in ("PATH=/usr", "USER", "PWD=/root"))


async def test_limits_are_set() -> None:
    """Inside, each limit is what was asked for, none can be raised, and memory is what Python took up and what is allowed."""
    code = (
        "import os, resource as r\n"
        "names = ('NPROC', 'NOFILE', 'FSIZE', 'CORE', 'MEMLOCK', 'MSGQUEUE', 'SIGPENDING', 'AS')\n"
        "disk = os.statvfs('/work')\n"
        "[[r.getrlimit(getattr(r, f'RLIMIT_{n}')) for n in names], disk.f_blocks * disk.f_frsize, disk.f_files]"
    )
    result = await Sandbox(engine="bwrap", megabytes=300, disk=8, threads=7).run(code)
    limits, size, entries = result.value

    disk, memory = 8 * 2**20, 300 * 2**20
    assert limits[:-1] == [[most, most] for most in (7, 128, disk, 0, 0, 0, 64)]
    assert limits[-1][0] == limits[-1][1]
    assert memory < limits[-1][0] < 2 * memory
    assert (size, entries) == (disk, 4096)


def test_it_ends_with_this_process() -> None:
    """A sandbox whose process is killed dies with it, also one that runs a program that asked to live on."""
    program = (
        "import asyncio\n"
        "from agentflow.toolkit.sandbox.bubblewrap import Bubblewrap\n"
        "from tests.toolkit.test_sandbox_bwrap import _LIMITS, _number, probe\n"
        "from agentflow.toolkit.sandbox.engine import Program\n"
        "async def main():\n"
        "    session = Bubblewrap(path=probe().path).session(_LIMITS)\n"
        "    await session.run(Program(code='1', data={}, files={}))\n"
        "    print(_number(session), flush=True)\n"
        "    code = 'import ctypes\\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\\nwhile True:\\n    pass'\n"
        "    await session.run(Program(code=code, data={}, files={}))\n"
        "asyncio.run(main())\n"
    )
    root = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        ended, _, _ = select.select([worker], [], [], 20)
        os.close(worker)

    assert ended == [worker]


async def test_a_killed_worker_is_said() -> None:
    """A worker that something else ended is an error, not a hang; the next program gets a new one."""
    async with Sandbox(engine="bwrap").session() as session:
        await session.run("1")
        inner = session._session
        assert isinstance(inner, BubblewrapSession)
        os.kill(_number(inner), signal.SIGKILL)
        with pytest.raises(CodeFailed, match="broke its interpreter"):
            await session.run("2")

        assert (await session.run("3")).value == 3


async def test_a_sandbox_that_does_not_start_is_said(tmp_path: Path) -> None:
    """Where `bwrap` cannot do its work its complaint is in the error; nothing is run without it."""
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    with pytest.raises(ToolError, match="setting up uid map: Permission denied") as caught:
        await Bubblewrap(path=str(fake)).session(_LIMITS).run(Program(code="1", data={}, files={}))

    assert "monty" in caught.value.hint


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'No permissions to create new namespace' >&2; exit 1", "No permissions to create"),
        ("exit 3", "ends with 3"),
        ("exec /bin/true", "does not say that it is ready"),
        (None, "not installed"),
    ],
)
def test_auto_takes_the_other_engine_and_says_why(
    script: str | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the trial fails `auto` takes `monty`; `bwrap` by name is refused with the reason, never run bare."""
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        (tmp_path / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bwrap").chmod(0o755)

    probe.cache_clear()
    try:
        assert Sandbox().engine.name == "monty"
        with pytest.raises(ToolError, match=reason):
            _ = Sandbox(engine="bwrap").engine
    finally:
        probe.cache_clear()


def test_a_missing_wall_is_noticed() -> None:
    """A sandbox without its filter, or with the network of this machine, does not say that it is ready."""
    command = [part for part in Bubblewrap(path=probe().path).command() if part != "--unshare-net"]
    from agentflow.toolkit.sandbox.bubblewrap import setting_of
    from agentflow.toolkit.sandbox.worker import message

    # A filter that allows all: one instruction, BPF_RET with SECCOMP_RET_ALLOW.
    setting = {**setting_of(_LIMITS), "filter": "0600000000" + "00ff7f"}
    ended = subprocess.run(command, input=message(setting), capture_output=True, check=False, env={})

    assert b"the sandbox is not closed" in ended.stdout


def test_what_is_mounted() -> None:
    """Only libraries, Python, named packages and four devices are seen, each read-only; nothing of home or project."""
    arguments = mounts(("numpy", "pandas", "matplotlib"))
    kinds = {part for part in arguments if part.startswith("--")}
    inside = [arguments[i + 2] for i, part in enumerate(arguments) if part == "--ro-bind"]

    assert kinds <= {
        "--ro-bind",
        "--ro-bind-try",
        "--dev-bind",
        "--dir",
        "--symlink",
        "--tmpfs",
        "--remount-ro",
    }
    assert {path.split("/")[1] for path in inside} <= {"lib", "lib64", "usr", "python", "packages", "inside"}
    assert {p.split("/")[2] for p in inside if p.startswith("/packages/")} >= {
        "numpy",
        "pandas",
        "matplotlib",
    }
    assert not any("agentflow" in path or "site-packages" in path for path in inside)


def test_filters_of_both_processors() -> None:
    """There is a filter for each processor that is known, and none for another."""
    assert is_known("x86_64")
    assert is_known("aarch64")
    assert all(len(refusing(name)) % 8 == 0 for name in ("x86_64", "aarch64"))
    assert not is_known("riscv64")
    with pytest.raises(ToolError, match="riscv64"):
        refusing("riscv64")
