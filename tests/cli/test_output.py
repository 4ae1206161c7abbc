"""What the launcher prints of what others wrote: on a terminal nothing in it acts, hides or turns around."""

from __future__ import annotations

import io

import pytest

from agentflow.app import Pending
from agentflow.cli import output, pending
from agentflow.cli.output import Pipe, escape, print_output
from agentflow.evidence import Answer, Evidence

HOSTILE = "\x1b[2J\x1b]0;owned\x07 pay 5\u202e000 1 \u200b[bold]x"


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal, as far as the launcher can tell."""
    file = io.StringIO()
    console = Pipe(file=file, force_terminal=True, color_system=None, width=400)
    monkeypatch.setattr(output, "out", console)
    monkeypatch.setattr(output, "err", console)
    monkeypatch.setattr(pending, "out", console)
    return file


def assert_harmless(text: str) -> None:
    assert not {"\x1b", "\x07", "\u202e", "\u200b"} & set(text)
    assert "⟨U+001B⟩" in text
    assert "⟨U+202E⟩" in text
    assert "[bold]x" in text


@pytest.mark.parametrize(
    "value",
    [
        HOSTILE,
        Answer(text=HOSTILE, citations=[Evidence(text="t", source=HOSTILE, place=HOSTILE)]),
        [Evidence(text=HOSTILE, source="s")],
        {"columns": [HOSTILE], "rows": [[HOSTILE]]},
    ],
    ids=["text", "answer", "evidence", "table"],
)
def test_an_output_does_nothing_to_a_terminal(screen: io.StringIO, value: object) -> None:
    print_output(value)
    assert_harmless(screen.getvalue())


def test_what_a_person_is_asked_to_approve_is_shown_as_it_is(screen: io.StringIO) -> None:
    asked = Pending(
        step="pay#1", prompt=f"Pay? {HOSTILE}", subject={"to": HOSTILE}, digest="sha256:1", tool="pay"
    )
    pending.print_question(asked)
    assert "⟨U+202E⟩" in screen.getvalue()
    assert not {"\x1b", "\u202e"} & set(screen.getvalue())


def test_what_is_piped_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Pipe(file=io.StringIO(), force_terminal=False)
    monkeypatch.setattr(output, "out", console)
    monkeypatch.setattr(output, "err", console)
    assert escape(HOSTILE) == HOSTILE.replace("[bold]", "\\[bold]")
