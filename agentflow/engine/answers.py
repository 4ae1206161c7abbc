"""The rules about what people are asked: approvals, calls in doubt, and the deadlines of answers. Pure, as `reduce` is."""

from __future__ import annotations

from collections.abc import Sequence

from agentflow.engine.graph import Graph
from agentflow.engine.pending import deadline, decided, renewed
from agentflow.engine.state import (
    CUT_OFF,
    Activation,
    Complete,
    Doubt,
    Question,
    Reduced,
    State,
    Tell,
    put,
    with_active,
)
from agentflow.events import (
    VERDICTS,
    ApprovalAsked,
    ApprovalGiven,
    OperationDoubted,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    TimerFired,
)
from agentflow.steps.approval import DEADLINE


def timer_fired(state: State, event: TimerFired, graph: Graph) -> Reduced:
    """The time of a wait, of a retry or of a deadline has come."""
    activation = state.active[event.step]
    if activation.phase == "retrying":
        return _renew(state, activation)

    if activation.phase == "asking":
        verdict = (False, DEADLINE, "nobody answered in time")
        return _answered(state, activation, activation.unanswered[:1], verdict)

    return state, (Complete(activation, activation.input),)


def _renew(state: State, activation: Activation) -> Reduced:
    anew, commands = renewed(activation)
    return with_active(state, state.active.insert(anew.id, anew)), commands


def approval_asked(state: State, event: ApprovalAsked, graph: Graph) -> Reduced:
    """A person is asked to approve something."""
    asked = state.active[event.step]
    question = Question(event.digest, event.at, event.prompt, event.tool, event.subject)
    others = tuple(q for q in asked.questions if q.digest != event.digest)
    asked = asked._replace(questions=(*others, question))
    commands = deadline(asked) if asked.node.kind == "approval" else ()
    return with_active(state, state.active.insert(asked.id, asked)), commands


def approval_given(state: State, event: ApprovalGiven, graph: Graph) -> Reduced:
    """A person answered; another digest is an answer about something else, a second answer changes nothing."""
    asked = state.active[event.step]
    about = [question for question in asked.unanswered if question.digest == event.digest]
    return _answered(state, asked, about, (event.approved, event.by, event.comment))


def _answered(
    state: State, asked: Activation, about: Sequence[Question], verdict: tuple[bool, str, str]
) -> Reduced:
    if not about:
        return state, ()

    answer = about[0]._replace(verdict=verdict)
    questions = tuple(answer if q.digest == answer.digest else q for q in asked.questions)
    told = asked._replace(questions=questions)
    if told.node.kind == "approval":
        return put(state, told, decided)

    return _renew(state, told) if told.phase == "asking" else put(state, told, lambda a: Tell(a, answer))


def operation_started(state: State, event: OperationStarted, graph: Graph) -> Reduced:
    """A call that must not be repeated is in doubt until its outcome is known."""
    activation = state.active.get(event.step) if event.once else None
    if activation is None:
        return state, ()

    doubt = Doubt(event.operation, event.name, event.request)
    activation = activation._replace(doubts=(*activation.doubts, doubt))
    return with_active(state, state.active.insert(activation.id, activation)), ()


def operation_finished(state: State, event: OperationFinished, graph: Graph) -> Reduced:
    """A call ended: nobody needs to doubt it."""
    activation = state.active.get(event.step)
    if activation is None or not activation.doubts or (event.error and event.error.kind in CUT_OFF):
        return state, ()

    activation = _without(activation, event.operation)
    if activation.phase == "doubted" and not activation.doubts:
        return _renew(state, activation)  # its outcome came after all

    return with_active(state, state.active.insert(activation.id, activation)), ()


def operation_doubted(state: State, event: OperationDoubted, graph: Graph) -> Reduced:
    """A person is asked what became of a call."""
    activation = state.active[event.step]
    doubts = tuple(d._replace(asked=d.asked or d.operation == event.operation) for d in activation.doubts)
    activation = activation._replace(doubts=doubts, phase="doubted")
    return with_active(state, state.active.insert(activation.id, activation)), ()


def operation_resolved(state: State, event: OperationResolved, graph: Graph) -> Reduced:
    """A person said what became of a call."""
    if event.verdict not in VERDICTS:  # of a newer version
        return state, ()

    activation = _without(state.active[event.step], event.operation)
    return _renew(state, activation) if activation.phase == "doubted" else (state, ())


def _without(activation: Activation, operation: str) -> Activation:
    return activation._replace(doubts=tuple(d for d in activation.doubts if d.operation != operation))
