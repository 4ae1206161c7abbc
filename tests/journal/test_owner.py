"""Who drives a run, by name, and whether it is surely dead."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agentflow.journal.owner import describe, is_gone, new_owner
from tests.journal.processes import begun

OWNER = "from agentflow.journal.owner import new_owner; print(new_owner(), flush=True)"
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell")


def changed(part: int, text: str) -> str:
    """Our own name with another part."""
    parts = new_owner().split("/")
    parts[part] = text
    return "/".join(parts)


def test_a_process_that_runs_is_not_gone() -> None:
    """Neither this process nor one beside it is gone while it runs; and each name is given once."""
    other = begun(OWNER + "; input()")
    assert other.stdout is not None
    name = other.stdout.readline().strip()
    running = is_gone(name)
    other.communicate("\n")

    assert not running
    assert not is_gone(new_owner())
    assert new_owner() != new_owner()
    assert is_gone(name)


@linux
def test_a_process_that_nobody_waited_for_is_gone() -> None:
    """A process that has ended is gone, also while its parent has not asked how."""
    other = begun(OWNER)
    assert other.stdout is not None
    name = other.stdout.read().strip()
    until = time.monotonic() + 10
    while not is_gone(name) and time.monotonic() < until:
        time.sleep(0.01)

    assert is_gone(name)
    assert other.returncode is None
    other.communicate()


@linux
def test_a_number_that_was_given_to_another_process() -> None:
    """A process with the same number that began at another time is not the owner."""
    assert is_gone(changed(4, "1"))


@linux
def test_an_owner_from_before_the_machine_was_started() -> None:
    """The same machine, started anew: nobody of then is left."""
    assert is_gone(changed(1, "another boot"))


@pytest.mark.parametrize(
    "owner",
    [
        changed(0, "elsewhere"),
        changed(2, "pid:[1]"),
        "me",
        "",
        "a/b/c/d/e/f",
        changed(3, "x"),
        changed(3, "-1"),
        "/" * 5,
    ],
    ids=range(
        8
    ),  # the owners hold the number of this process: several that share the tests must name them alike
)
def test_elsewhere_only_time_tells(owner: str) -> None:
    """Of another machine, of another container, and of a name of another kind nothing is sure."""
    assert not is_gone(owner)


def test_an_owner_of_a_system_that_tells_little() -> None:
    """Without a start time the number alone counts."""
    assert not is_gone(changed(4, ""))
    assert is_gone(changed(3, "99999999"))


def test_an_owner_in_words() -> None:
    """Errors name the process and its machine, or else the name as it is."""
    assert describe("box/b/n/123/9/ab") == "process 123 on box"
    assert describe("me") == "`me`"
    assert describe(new_owner()).startswith(f"process {os.getpid()} on ")
