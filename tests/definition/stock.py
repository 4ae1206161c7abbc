"""Types and steps that the definition tests build graphs of."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentflow import (
    Agent,
    Approval,
    Context,
    Evidence,
    Planner,
    Rejected,
    Wait,
    Workflow,
    each,
    step,
    tool,
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where to look."""

    url: str


@dataclass(frozen=True, kw_only=True)
class Note:
    """What was read there."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Notes:
    """All that was read."""

    notes: list[Note] = field(default_factory=list[Note])


@dataclass(frozen=True, kw_only=True)
class Revision(Notes):
    """Notes that go back to the writer."""

    round: int = 0


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A text that is nearly done."""

    text: str
    rounds: int = 0


@tool(effect="read")
async def look(query: str) -> list[Evidence]:
    """Look something up."""
    return [Evidence(text=query, source="here")]


@step
async def plan(question: Question) -> list[Source]:
    return [Source(url=f"{question.text}/{n}") for n in range(3)]


@step
async def read(source: Source) -> Note:
    return Note(text=source.url)


@step
def collect(notes: list[Note]) -> Notes:
    return Notes(notes=notes)


@step
async def write(notes: Notes) -> Draft:
    return Draft(text=" ".join(n.text for n in notes.notes), rounds=getattr(notes, "round", 0))


@step
async def check(draft: Draft) -> Draft | Revision:
    return draft if draft.rounds >= 1 else Revision(notes=[Note(text=draft.text)], round=draft.rounds + 1)


@step
async def publish(draft: Draft) -> str:
    return draft.text


@step
async def shelve(refusal: Rejected) -> str:
    return f"refused by {refusal.by}"


@step(timeout=5, retries=1)
async def double(number: int) -> int:
    return number * 2


@step
async def half(number: int) -> float:
    return number / 2


@step
async def label(number: int) -> str:
    return f"n{number}"


@step
async def pair(both: tuple[int, float]) -> str:
    return f"{both[0]} {both[1]}"


@step
async def three(all_: tuple[int, float, str]) -> str:
    return " ".join(map(str, all_))


@step
async def count(number: int) -> list[int]:
    return list(range(number))


@step
async def total(numbers: list[int]) -> int:
    return sum(numbers)


@step
async def grade(number: int) -> int | str:
    return number if number % 2 else f"even {number}"


@step
async def length(text: str) -> int:
    return len(text)


@step
async def say(text: str) -> str:
    return text


@step
async def recall(draft: Draft, ctx: Context) -> str:
    return f"{len(ctx.output(plan))} sources, {draft.text}"


find = Planner("find", takes=Question, gives=list[Evidence], tools=[look], max_calls=3, max_rounds=2)
compose = Agent("compose", takes=Notes, gives=Draft, prompt="Write from {notes}.", tools=[look], max_turns=4)
approve = Approval("approve", of=Draft, prompt="Publish this?")
pause = Wait("pause", of=Draft, seconds=2)
summing = Workflow("summing", start=count, end=total, edges=[count >> each(double, parallel=2) >> total])
