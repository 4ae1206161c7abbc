"""Control groups for the sandbox: where they are made and what is written to them, on a tree of plain files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agentflow.toolkit.sandbox import cgroup
from agentflow.toolkit.sandbox.engine import Limits

_LIMITS = Limits(seconds=1, megabytes=100, disk=28, output=1, files=1, threads=4)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process in `/user/app/own`; `user` hands on both limits, `app` one of them."""
    own = tmp_path / "root" / "user" / "app" / "own"
    own.mkdir(parents=True)
    for folder, given in ((own, ""), (own.parent, "cpu memory"), (own.parent.parent, "cpu memory pids")):
        (folder / "cgroup.subtree_control").write_text(f"{given}\n")

    (tmp_path / "self").write_text("1:name=systemd:/other\n0::/user/app/own\n")
    monkeypatch.setattr(cgroup, "_ROOT", tmp_path / "root")
    monkeypatch.setattr(cgroup, "_OWN", tmp_path / "self")
    return tmp_path


def test_a_group_is_made_where_limits_are_handed_on(tree: Path) -> None:
    """The nearest group above that hands on both limits gets a new one, with ours; a command enters it by itself."""
    made = cgroup.group(_LIMITS)

    assert made is not None
    assert made.folder.parent == tree / "root" / "user"
    assert (made.folder / "memory.max").read_text() == str(256 * 2**20)
    assert (made.folder / "pids.max").read_text() == "12"
    entered = subprocess.run(
        [*made.entry, "/bin/sh", "-c", "echo $$ $0", "x y"], capture_output=True, text=True, check=True
    )
    number, name = entered.stdout.split(maxsplit=1)
    assert (made.folder / "cgroup.procs").read_text() == f"{number}\n"
    assert (int(number) != os.getpid(), name) == (True, "x y\n")


def test_no_group_where_none_may_be_made(tree: Path) -> None:
    """Without limits that are handed on, or without the file that says where we are, there is none, and no error."""
    (tree / "root" / "user" / "cgroup.subtree_control").write_text("cpu\n")
    assert cgroup.group(_LIMITS) is None

    (tree / "self2").write_text("4:memory:/only/version/one\n")
    assert cgroup._parent(tree / "root", tree / "self2") is None
    assert cgroup._parent(tree / "root", tree / "missing") is None


def test_no_group_where_it_cannot_be_entered(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that can be made and not entered is found out by trying, and is not used."""
    monkeypatch.setattr(cgroup, "_ENTER", "exit 1")

    assert cgroup.group(_LIMITS) is None


def test_a_group_is_removed(tmp_path: Path) -> None:
    """Closing removes the group; one that still holds something stays without an error."""
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()

    (tmp_path / "full" / "child").mkdir()
    for name in ("empty", "full"):
        cgroup.Group(tmp_path / name).close()

    assert [path.name for path in tmp_path.iterdir()] == ["full"]
