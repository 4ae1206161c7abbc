"""Steps that wait for an answer, and how a run finds out that only people are waited for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

from agentflow.context import Verdict
from agentflow.engine.state import Activation, Question
from agentflow.events import ApprovalAsked, Payload

if TYPE_CHECKING:
    from agentflow.engine.committing import Committing


class Waiting(NamedTuple):
    """One thing that a run waits for a person to say: whether to approve, or whether an effect was done.

    `name` is what it is answered by: the activation of an approval step, else the activation and the tool or operation.
    """

    kind: Literal["approval", "effect"]
    name: str
    activation: Activation
    prompt: str
    subject: Payload | None
    digest: str = ""
    operation: str = ""
    tool: str = ""


def waiting_of(activations: Iterable[Activation]) -> list[Waiting]:
    """What is waited for, oldest first."""
    found: list[Waiting] = []
    for activation in sorted(activations, key=lambda a: a.order):
        found += [_asked(activation, question) for question in activation.unanswered]
        found += [
            Waiting(
                "effect",
                f"{activation.id}:{doubt.operation}",
                activation,
                f"Was `{doubt.name}` done? The process ended, or the time was over, before its outcome was known.",
                doubt.request,
                operation=doubt.operation,
                tool=doubt.name,
            )
            for doubt in activation.doubts
            if doubt.asked
        ]

    return found


def _asked(activation: Activation, question: Question) -> Waiting:
    subject = activation.input if question.subject is None else question.subject
    name = activation.id
    if question.tool:
        alike = [q for q in activation.unanswered if q.tool == question.tool]
        name = f"{activation.id}:{question.tool}"
        # Two calls of one tool are told apart by what they ask for.
        name += f"@{question.digest.removeprefix('sha256:')[:8]}" if len(alike) > 1 else ""

    return Waiting(
        "approval",
        name,
        activation,
        question.prompt,
        subject,
        digest=question.digest,
        tool=question.tool,
    )


def call_digest(tool: str, arguments: Payload, nth: int) -> str:
    """The digest that the approval of a call is bound to: SHA-256 of the tool, its arguments, and for which time it is asked."""
    digest = hashlib.sha256(f"{tool}\0{nth}\0".encode())
    digest.update(arguments.json)
    return "sha256:" + digest.hexdigest()


class People:
    """The answers that steps at work wait for."""

    def __init__(self, runner: Committing) -> None:
        self._runner = runner
        self._answers: dict[tuple[str, str], asyncio.Future[Verdict]] = {}
        # Operations under way, by step; and those of them inside of which a person is asked.
        self._calls: dict[str, set[str]] = {}
        self._asking: dict[str, list[str]] = {}

    async def ask(
        self, step: str, tool: str, subject: Payload, *, nth: int, prompt: str, around: list[str]
    ) -> Verdict:
        """The answer to whether a call with these arguments may be made: a recorded one, or one that is waited for."""
        digest = call_digest(tool, subject, nth)
        known = next((q for q in self._runner.state.active[step].questions if q.digest == digest), None)
        if known is not None and known.verdict is not None:
            return Verdict(approved=known.verdict[0], by=known.verdict[1], comment=known.verdict[2])

        if known is None:
            prompt = prompt or f"May `{tool}` be called?"
            self._runner.post(
                ApprovalAsked, step=step, digest=digest, prompt=prompt, tool=tool, subject=subject
            )
            await self._runner.commit()

        return await self._answer(step, digest, around)

    async def _answer(self, step: str, digest: str, around: list[str]) -> Verdict:
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._answers[step, digest] = answer
        asking = self._asking.setdefault(step, [])
        asking += around
        self._runner.wake()
        try:
            return await answer
        finally:
            del self._answers[step, digest]
            for operation in around:
                asking.remove(operation)

    def is_asked(self, step: str, digest: str) -> bool:
        """Whether a step at work waits for the answer to a question."""
        return (step, digest) in self._answers

    def tell(self, step: str, question: Question) -> None:
        """Give an answer to the step that waits for it."""
        answer = self._answers.get((step, question.digest))
        if answer is not None and not answer.done() and question.verdict is not None:
            approved, by, comment = question.verdict
            answer.set_result(Verdict(approved=approved, by=by, comment=comment))

    def begun(self, step: str, operation: str) -> None:
        """An operation is under way."""
        self._calls.setdefault(step, set()).add(operation)

    def ended(self, step: str, operation: str) -> None:
        """An operation has ended."""
        calls = self._calls.get(step)
        if calls is not None:
            calls.discard(operation)
            if not calls:
                del self._calls[step]

            self._runner.wake()

    def are_calls_under_way(self) -> bool:
        """Whether an operation is under way; those inside of which a person is asked only wait."""
        return any(calls - set(self._asking.get(step, ())) for step, calls in self._calls.items())

    def is_waited_for(self, step: str) -> bool:
        """Whether all that a step at work does is to wait for answers."""
        if not any(of == step and not answer.done() for (of, _), answer in self._answers.items()):
            return False

        return not self._calls.get(step, set()) - set(self._asking.get(step, ()))
