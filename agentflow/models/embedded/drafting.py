"""Drafting: the calls for a request that nothing has been tried for yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentflow.models.embedded import cues, queries
from agentflow.models.embedded.arguments import Filled, Source, fill
from agentflow.models.embedded.families import Offer, family
from agentflow.models.embedded.router import Choice
from agentflow.models.embedded.splitter import Part
from agentflow.models.embedded.steps import Step, steps
from agentflow.models.embedded.turn import Call, Turn

_SEARCHES = frozenset({"web_search", "file_search"})
_READS = _SEARCHES | {"computer"}
_UNSURE = 0.6  # below this, a question goes to the other kind of search as well
_WORTH_ASKING = 0.2  # how likely the other one must be for that
_FEW_WORDS = 6
_CLEARLY_NONE = 0.9  # above this, a question needs no search even where searching is all that is offered


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The calls that a request asks for, and notes on what was chosen and what was left out."""

    calls: tuple[Call, ...]
    notes: tuple[str, ...]


def draft(turn: Turn) -> Draft:
    """Split the task, choose a tool for each part and fill in its arguments."""
    planned = tuple(_research(step, turn) for step in steps(turn.task, turn.offers))
    calls: list[Call] = []
    notes: list[str] = []
    ids: dict[int, str] = {}
    for place, step in enumerate(planned):
        notes.append(_chose(step, many=len(planned) > 1))
        waits = {n: ids.get(n) for n in step.part.after}
        made, note = _call(step, turn, f"c{len(calls) + 1}", waits, planned)
        notes += [note] if note else []
        if made is not None:
            ids[place] = made.id
            calls += [made, *_second_opinion(made, step, turn, alone=len(planned) == 1)]

    return Draft(calls=tuple(calls), notes=tuple(notes))


def _chose(step: Step, *, many: bool) -> str:
    others = [(tool, p) for tool, p in step.choice.alternatives if tool != step.choice.tool]
    best = f"The router chose {_named(step.choice.tool)} ({step.choice.confidence:.2f})"
    about = f" for “{step.part.text}”" if many else ""
    return best + about + (f"; next best {_named(others[0][0])} ({others[0][1]:.2f})." if others else ".")


def _named(tool: str | None) -> str:
    return f"`{tool}`" if tool else "no tool"


def _research(step: Step, turn: Turn) -> Step:
    """Where all that is offered are ways to find out, a question is searched for unless clearly none needs it."""
    choice = step.choice
    kinds = {family(offer) for offer in turn.offers}
    if choice.tool is not None or not kinds <= _READS or not _seeks(step.part):
        return step

    searches = [(tool, p) for tool, p in choice.alternatives if _kind(turn, tool) in _SEARCHES]
    if choice.confidence >= _CLEARLY_NONE or not searches:
        return step

    (tool, confidence), *_ = searches
    others = [(None, choice.confidence), *(pair for pair in choice.alternatives if pair[0] != tool)]
    return replace(step, choice=Choice(tool, confidence, tuple(others)))


def _seeks(part: Part) -> bool:
    """Is the part a question, or a few words on a subject, as one types them into a search box?"""
    words = len(part.text.split())
    return part.question or (1 < words <= _FEW_WORDS and not cues.talks(part.text))


def _kind(turn: Turn, tool: str | None) -> str | None:
    offer = turn.offer(tool) if tool else None
    return family(offer) if offer else None


def _call(
    step: Step, turn: Turn, name: str, ids: Mapping[int, str | None], planned: Sequence[Step]
) -> tuple[Call | None, str]:
    """The call for `step`, or None and why it cannot be made."""
    if step.choice.tool is None:
        return None, ""

    if None in ids.values():
        return None, f"Left out “{step.part.text}”: it needs the result of a part that could not be done."

    after = tuple(known for known in ids.values() if known)
    why = ""
    for tool, confidence in ((step.choice.tool, step.choice.confidence), *_understudies(step.choice)):
        offer = turn.offer(tool)
        filled = _filled(step.part, offer, turn, after, planned) if offer else Filled(arguments=None)
        if filled.arguments is not None:
            choice = _moved(step.choice, tool, confidence)
            return _made(name, step.part, choice, filled.arguments, after), why

        why = why or f"Left out `{tool}` for “{step.part.text}”: {filled.why}."

    return None, why


def _made(
    name: str, part: Part, choice: Choice, arguments: Mapping[str, Any], after: tuple[str, ...]
) -> Call:
    tool = choice.tool or ""
    return Call(id=name, tool=tool, arguments=arguments, after=after, why=part.text, choice=choice)


def _understudies(choice: Choice) -> list[tuple[str, float]]:
    return [(tool, p) for tool, p in choice.alternatives if tool is not None and p >= _WORTH_ASKING]


def _moved(choice: Choice, tool: str, confidence: float) -> Choice:
    """`choice` as if `tool` had been the first."""
    every = [(choice.tool, choice.confidence), *choice.alternatives]
    return Choice(tool, confidence, tuple(pair for pair in every if pair[0] != tool))


def _filled(part: Part, offer: Offer, turn: Turn, after: Sequence[str], planned: Sequence[Step]) -> Filled:
    subjects = " ".join(queries.query(planned[place].part.text) for place in part.after)
    lookups = [_kind(turn, planned[place].choice.tool) in _READS for place in part.after]
    source = Source(
        text=part.text, whole=turn.task, earlier=after, subjects=subjects, has_address=any(lookups)
    )
    return fill(source, offer.parameters)


def _second_opinion(made: Call, step: Step, turn: Turn, *, alone: bool) -> tuple[Call, ...]:
    """The same question for the other kind of search, when the router is unsure which of them has the answer."""
    if not alone or made.choice.confidence >= _UNSURE or _kind(turn, made.tool) not in _SEARCHES:
        return ()

    for tool, confidence in _understudies(made.choice):
        offer = turn.offer(tool)
        if offer is None or family(offer) not in _SEARCHES - {_kind(turn, made.tool)}:
            continue

        filled = fill(Source(text=step.part.text, whole=turn.task), offer.parameters)
        if filled.arguments is not None:
            choice = _moved(made.choice, tool, confidence)
            return (_made(f"c{int(made.id[1:]) + 1}", step.part, choice, filled.arguments, ()),)

    return ()
