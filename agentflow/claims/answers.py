"""The answers in a run, wherever its outputs hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from agentflow.events import Event, RunFinished, StepFinished, adapter
from agentflow.evidence import Answer
from agentflow.exceptions import UnknownName


def answers(events: Sequence[Event], step: str = "") -> list[tuple[str, Answer]]:
    """The answers of the run's output, else, or of a step that is named, those that steps gave, each once."""
    last = events[-1]
    if not step and isinstance(last, RunFinished):
        found = list(_answers(last.output.data, "output"))
        if found:
            return found

    ended = [e for e in events if isinstance(e, StepFinished)]
    if step and not any(_is_of(e.step, step) for e in ended):
        raise UnknownName("finished step in this run", step, [e.step for e in ended])

    named = [e for e in ended if e.output is not None and (not step or _is_of(e.step, step))]
    every = [pair for e in named if e.output is not None for pair in _answers(e.output.data, e.step)]
    once = {str(answer): (where, answer) for where, answer in every}
    return list(once.values())


def _is_of(activation: str, step: str) -> bool:
    return activation == step or activation.rpartition("/")[2].partition("#")[0] == step


def _answers(data: Any, where: str) -> Iterator[tuple[str, Answer]]:
    match data:
        case {"text": str(), "citations": list()}:
            # A value of another type may look like an answer.
            try:
                known = {"text": data["text"], "citations": data["citations"]}
                yield where, cast("Answer", adapter(Answer).validate_python(known))
            except ValueError:
                return
        case dict():
            for name, item in cast("dict[str, Any]", data).items():
                yield from _answers(item, f"{where}.{name}")
        case list():
            for number, item in enumerate(data):
                yield from _answers(item, f"{where}[{number}]")
        case _:
            pass
