"""What must hold of a run however often its process died: its story is read from the journal and from the log."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from agentflow.events import (
    Event,
    OperationDoubted,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    RunFailed,
    RunFinished,
    RunResumed,
    StepFailed,
    StepFinished,
    StepStarted,
)
from tests.durability.effects import Line, What
from tests.durability.synthetic import ONCE

# Which tool was called by which step with what argument.
Call = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Story:
    """All that is known of a run: what it said, and what it did."""

    events: Sequence[Event]
    lines: Sequence[Line]

    @property
    def output(self) -> bytes | None:
        last = self.events[-1] if self.events else None
        return last.output.json if isinstance(last, RunFinished) else None

    @cached_property
    def operations(self) -> Mapping[tuple[str, str], OperationStarted]:
        return {(e.step, e.operation): e for e in self.events if isinstance(e, OperationStarted)}

    def of(self, what: What) -> list[Line]:
        return [line for line in self.lines if line.what == what]

    def calls(self, what: What) -> Counter[Call]:
        return Counter((line.step, line.name, line.argument) for line in self.of(what))

    @cached_property
    def keys(self) -> Mapping[Call, Sequence[str]]:
        """The idempotency keys of each call, in the order in which they were first used."""
        found: dict[Call, dict[str, None]] = defaultdict(dict)
        for line in self.of("begun"):
            found[line.step, line.name, line.argument][line.key] = None

        return {call: list(keys) for call, keys in found.items()}

    @property
    def counts(self) -> dict[str, int]:
        """How much there was of what, for the record."""
        begun = self.calls("begun")
        return {
            "events": len(self.events),
            "resumes": sum(isinstance(e, RunResumed) for e in self.events),
            "in doubt": sum(isinstance(e, OperationDoubted) for e in self.events),
            "in doubt, and done": sum(
                isinstance(e, OperationResolved) and e.verdict == "done" for e in self.events
            ),
            "effects": len(self.of("ended")),
            "repeats": sum(begun.values()) - sum(map(len, self.keys.values())),
        }


def broken(story: Story, reference: Story) -> list[str]:
    """The claims that do not hold of `story`, in words; `reference` is the same run without a crash."""
    return _judged(story, reference, (*_ALWAYS, _bodies, _models, _tools))


def fenced(story: Story, reference: Story) -> list[str]:
    """The claims that do not hold of a run that two processes drove at once, where what is repeated may overlap."""
    return _judged(story, reference, _ALWAYS)


def _judged(story: Story, reference: Story, claims: Sequence[Claim]) -> list[str]:
    if story.output is None:
        return [_unfinished(story)]

    problems = [] if story.output == reference.output else [f"it gave {story.output!r}"]
    return problems + [problem for claim in claims for problem in claim(story, reference)]


def _unfinished(story: Story) -> str:
    last = story.events[-1] if story.events else None
    return f"it failed: {last.error}" if isinstance(last, RunFailed) else f"its last event is {last}"


def sequence(story: Story, _: Story) -> Iterator[str]:
    for before, event in pairwise(story.events):
        if event.seq != before.seq + 1:
            yield f"event {event.seq} comes after event {before.seq}"


def one_outcome(story: Story, _: Story) -> Iterator[str]:
    """One outcome for each operation, one end for each step, one intent under each name."""
    ends = Counter((e.step, e.operation) for e in story.events if isinstance(e, OperationFinished))
    starts = Counter((e.step, e.operation) for e in story.events if isinstance(e, OperationStarted))
    steps = Counter((e.step, "") for e in story.events if isinstance(e, StepFinished))
    for what, found in (("ended", ends), ("begun", starts), ("finished", steps)):
        yield from (f"{key} is {what} {n} times in the journal" for key, n in found.items() if n > 1)


def _once(story: Story, reference: Story) -> Iterator[str]:
    """What must happen once has happened once, and was begun anew only where a person said so."""
    done, wanted, begun = story.calls("ended"), reference.calls("ended"), story.calls("begun")
    said = Counter(
        _call(story.operations[e.step, e.operation])
        for e in story.events
        if isinstance(e, OperationResolved) and e.verdict == "retry"
    )
    for call in {*done, *wanted, *begun}:
        if call[1] in ONCE and done[call] != wanted[call]:
            yield f"{call} happened {done[call]} times, not {wanted[call]}"

        if call[1] in ONCE and begun[call] > 1 + said[call]:
            yield f"{call} was begun {begun[call]} times, and {said[call]} times a person said so"


def _doubts(story: Story, _: Story) -> Iterator[str]:
    """Only what must not be done twice, and what has no outcome, is in doubt."""
    ended = {key for key, _ in _ends(story)}
    for event in story.events:
        if isinstance(event, OperationDoubted):
            if event.name not in ONCE:
                yield f"{event.step}:{event.operation} is in doubt, and `{event.name}` may be repeated"

            if (event.step, event.operation) in ended:
                yield f"{event.step}:{event.operation} is in doubt, and its outcome is known"


def _same_keys(story: Story, reference: Story) -> Iterator[str]:
    """A call that is repeated has the key that it had; two calls never have the same."""
    for call in {*story.keys, *reference.keys}:
        had, wanted = story.keys.get(call, []), reference.keys.get(call, [])
        if len(had) != len(wanted):
            yield f"{call} had {len(had)} keys, not {len(wanted)}: {had}"

    ended = {line.key for line in story.of("ended")}
    yield from (
        f"{line.name} with key `{line.key}` never ended"
        for line in story.of("begun")
        if line.key not in ended
    )
    attempts = Counter(e.step for e in story.events if isinstance(e, StepStarted))
    for (step, key), number in Counter((line.step, line.key) for line in story.of("begun")).items():
        if number > attempts[step]:
            yield f"key `{key}` was used {number} times in {attempts[step]} attempts"

    used = Counter(key for keys in story.keys.values() for key in keys)
    yield from (f"key `{key}` stands for {n} calls" for key, n in used.items() if n > 1 or not key)


def _bodies(story: Story, _: Story) -> Iterator[str]:
    """A step that has finished does not run again, and none runs without its start being recorded."""
    ended = {e.step: e.at for e in story.events if isinstance(e, StepFinished)}
    begun = Counter(e.step for e in story.events if isinstance(e, StepStarted))
    ran = Counter(line.step for line in story.of("body"))
    for line in story.of("body"):
        if line.at > ended.get(line.step, line.at):
            yield f"step {line.step} ran again after it had finished"

    yield from (
        f"step {step} ran {n} times and began {begun[step]} times"
        for step, n in ran.items()
        if n > begun[step]
    )


def _models(story: Story, _: Story) -> Iterator[str]:
    """A turn of a model whose answer was recorded is not asked for again."""
    begun, ended = _turns(story)
    for line in story.of("model"):
        if line.at > ended.get((line.step, line.name), line.at):
            yield f"turn {line.name} of {line.step} was asked for again after its answer was recorded"

    asked = Counter((line.step, line.name) for line in story.of("model"))
    for turn, number in asked.items():
        if number > begun[turn]:
            yield f"turn {turn} was asked for {number} times and recorded {begun[turn]} times"


def _turns(story: Story) -> tuple[Counter[tuple[str, str]], dict[tuple[str, str], int]]:
    """How often each turn of a model was begun, and when it ended: turns are told apart by what was asked."""
    numbers: dict[str, dict[bytes, str]] = defaultdict(dict)
    begun: Counter[tuple[str, str]] = Counter()
    turns: dict[tuple[str, str], tuple[str, str]] = {}
    for key, event in story.operations.items():
        if event.kind == "chat" and event.request is not None:
            known = numbers[event.step]
            turns[key] = event.step, known.setdefault(event.request.json, str(len(known) + 1))
            begun[turns[key]] += 1

    ended: dict[tuple[str, str], int] = {}
    for key, at in _ends(story):
        if key in turns:
            ended.setdefault(turns[key], at)

    return begun, ended


def _tools(story: Story, _: Story) -> Iterator[str]:
    """A call whose outcome was recorded is not made again, but what only reads may be in a step that failed."""
    failed = {e.step for e in story.events if isinstance(e, StepFailed)}
    ended: dict[tuple[Call, int], int] = {}
    for key, at in _ends(story):
        asked = story.operations[key]
        if asked.kind == "tool" and (asked.name in ONCE or asked.step not in failed):
            ended.setdefault((_call(asked), asked.nth), at)

    for line in story.of("begun"):
        call = line.step, line.name, line.argument
        nth = story.keys[call].index(line.key) + 1
        if line.at > ended.get((call, nth), line.at):
            yield f"{call} was called again after its outcome was recorded"


def _ends(story: Story) -> Iterator[tuple[tuple[str, str], int]]:
    for event in story.events:
        if isinstance(event, OperationFinished) and event.error is None:
            yield (event.step, event.operation), event.at


def _call(asked: OperationStarted) -> Call:
    text = asked.request.data["text"] if asked.request is not None else ""
    return asked.step, asked.name, text


Claim = Callable[[Story, Story], Iterator[str]]
_ALWAYS: Sequence[Claim] = (sequence, one_outcome, _once, _doubts, _same_keys)
