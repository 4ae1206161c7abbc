"""Runs a workflow by the reducer alone: no event loop, no clock; what happens next is chosen by the caller."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from agentflow.app import compile_workflow
from agentflow.encoding import decode, encode
from agentflow.engine.graph import Program
from agentflow.engine.reduce import reduce
from agentflow.engine.state import (
    OVER,
    Activation,
    Ask,
    Begin,
    Command,
    Complete,
    Doubted,
    End,
    Execute,
    Expand,
    Fail,
    Refuse,
    Sleep,
    State,
    Tell,
    Watch,
    empty,
)
from agentflow.events import (
    ApprovalAsked,
    ApprovalGiven,
    ErrorInfo,
    Event,
    MapExpanded,
    Payload,
    RunFailed,
    RunFinished,
    RunResumed,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerFired,
    TimerSet,
)
from agentflow.path import MapStep
from agentflow.steps.approval import Rejected
from agentflow.steps.function import FunctionStep
from agentflow.typeref import is_instance, type_name
from agentflow.workflow import Workflow

REJECTED = type_name(Rejected)
Choose = Callable[[int], int]
Decide = Callable[[str], bool]


def oldest(count: int) -> int:
    """Always go on with what has waited longest."""
    return 0


def newest(count: int) -> int:
    """Always go on with what came last."""
    return count - 1


class Pure:
    """One run. `choose` picks among what could happen next, by position; `decide` answers approvals by activation."""

    def __init__(
        self, workflow: Workflow[Any, Any], *, choose: Choose = oldest, decide: Decide = lambda _: True
    ) -> None:
        self.workflow, self.program = workflow, compile_workflow(workflow)
        self.choose, self.decide = choose, decide
        self.state: State = empty()
        self.events: list[Event] = []
        self.executed: list[str] = []
        self.inbox: deque[Callable[[int], Event]] = deque()
        self.open: list[Command] = []
        self.watch: Callable[[State, Event, State], None] = lambda before, event, after: None

    def start(self, value: Any) -> Pure:
        """Begin a run on `value`."""
        kept = Payload(raw=Payload(value).json)
        self.post(
            RunStarted,
            run="r",
            workflow=self.workflow.name,
            digest=self.workflow.digest,
            spec=None,
            input=kept,
            model="none",
            version="0",
        )
        return self

    def resume(self, events: Sequence[Event]) -> Pure:
        """Take up a run from its events, as another process would read them."""
        for event in events:
            read = decode(encode(event))
            if isinstance(read, StepFinished) and read.output is not None:
                activation = self.state.active[read.step]
                work = self.program_of(activation.frame).work[activation.node.index]
                read.output.kind = work.kind_of(read.case)

            self.fold(read)

        self.inbox.clear()
        self.open = [Ask(a) for a in self.state.open() if a.unanswered]
        self.act(lambda seq: RunResumed(seq=seq, at=seq * 1000, model="none", version="0"))
        return self

    def run(self) -> Pure:
        """Go on until nothing can happen any more."""
        while self.step():
            pass

        return self

    def step(self) -> bool:
        """Commit what was posted, then let one thing happen."""
        self.commit()
        if self.state.status in OVER or not self.open:
            return False

        self.happen(self.open.pop(self.choose(len(self.open))))
        return True

    def commit(self) -> None:
        while self.inbox and self.state.status not in OVER:
            self.act(self.inbox.popleft())

    def post(self, kind: type[Event], **fields: Any) -> None:
        self.inbox.append(lambda seq: kind(seq=seq, at=seq * 1000, **fields))

    def act(self, make: Callable[[int], Event]) -> None:
        for command in self.fold(make(len(self.events) + 1)):
            self.carry_out(command)

    def fold(self, event: Event) -> Sequence[Command]:
        before = self.state
        self.state, commands = reduce(before, event, self.program.graph)
        self.watch(before, event, self.state)
        self.events.append(event)
        return commands

    def carry_out(self, command: Command) -> None:
        match command:
            case Begin(activation):
                self.post(StepStarted, step=activation.id, attempt=activation.attempt + 1)
            case Complete(activation, output):
                self.post(StepFinished, step=activation.id, case=self.case(activation, output))
            case End(output):
                self.post(RunFinished, output=output)
            case Fail(step, error):
                self.post(RunFailed, step=step, error=error)
            case Expand(activation):
                self.post(MapExpanded, step=activation.id, count=len(activation.input.items()))
            case Sleep(activation, wait, since):
                due = (since or len(self.events) * 1000) + wait
                self.post(TimerSet, step=activation.id, due=due)
            case Ask(activation):
                self.post(ApprovalAsked, step=activation.id, digest="d", prompt="")
                self.open.append(command)
            case Refuse(activation, by, comment):
                self.refuse(activation, Rejected(by=by, comment=comment))
            case Execute() | Watch():
                self.open.append(command)
            case Tell() | Doubted():
                raise AssertionError("steps make no calls here")

    def happen(self, command: Command) -> None:
        assert isinstance(command, Execute | Watch | Ask)
        activation = command.activation
        if activation.id not in self.state.active:
            return

        if isinstance(command, Watch):
            self.post(TimerFired, step=activation.id)
        elif isinstance(command, Ask):
            approved = self.decide(activation.id)
            self.post(ApprovalGiven, step=activation.id, digest="d", approved=approved, by="p")
        else:
            self.execute(activation)

    def refuse(self, activation: Activation, refusal: Rejected) -> None:
        if activation.item is None and any(out.on == REJECTED for out in activation.node.by_case):
            self.post(StepFinished, step=activation.id, output=Payload(refusal), case=REJECTED)
        else:
            self.post(RunFailed, step=activation.id, error=ErrorInfo(kind="RunRejected", message="no"))

    def execute(self, activation: Activation) -> None:
        self.executed.append(activation.id)
        program = self.program_of(activation.frame)
        work = program.work[activation.node.index]
        value = activation.input.value(work.takes)
        try:
            result = self.call(program, activation, value)
        except Exception as error:
            info = ErrorInfo(kind=type(error).__name__, message=str(error))
            self.post(StepFailed, step=activation.id, error=info)
            return

        case = None
        if activation.node.by_case and activation.item is None:
            case = next((name for name, type_ in work.case_types if is_instance(result, type_)), None)

        # As text and back, like everything that another process would read.
        output = Payload(raw=Payload(result).json)
        output.kind = work.kind_of(case)
        self.post(StepFinished, step=activation.id, output=output, case=case)

    def call(self, program: Program, activation: Activation, value: Any) -> Any:
        step = self.steps_of(activation.frame)[activation.node.id]
        body = step.body if isinstance(step, MapStep) else step
        assert isinstance(body, FunctionStep)
        result = body.function(value)
        if not inspect.iscoroutine(result):
            return result

        try:
            result.send(None)
        except StopIteration as done:
            return done.value

        raise AssertionError("a step of these tests must not wait")

    def program_of(self, frame: str) -> Program:
        if not frame:
            return self.program

        entering = self.state.active[frame]
        child = self.program_of(entering.frame).work[entering.node.index].child
        assert child is not None
        return child

    def steps_of(self, frame: str) -> Any:
        if not frame:
            return self.workflow.steps

        entering = self.state.active[frame]
        step = self.steps_of(entering.frame)[entering.node.id]
        body = step.body if isinstance(step, MapStep) else step
        assert isinstance(body, Workflow)
        return body.steps

    def case(self, activation: Activation, output: Payload) -> str | None:
        if not activation.node.by_case or activation.item is not None:
            return None

        work = self.program_of(activation.frame).work[activation.node.index]
        return next(
            (name for name, type_ in work.case_types if is_instance(output.value(work.gives), type_)), None
        )

    @property
    def output(self) -> Any:
        """What came out, as plain data."""
        assert self.state.output is not None, self.state
        return self.state.output.data


def story(events: Sequence[Event]) -> list[str]:
    """Events in short: `started one#1`, `finished one#1 3`, `failed run: LoopBoundReached`."""
    return [_line(event) for event in events]


def _line(event: Event) -> str:
    what = event.type.partition(".")[2]
    match event:
        case RunStarted() | RunResumed():
            return f"run {what}"
        case RunFinished(output=output):
            return f"run finished {output.json.decode()}"
        case RunFailed(step=step, error=error):
            return f"run failed {step}: {error.kind}"
        case StepFinished(step=step, output=output, case=case):
            value = f" {output.json.decode()}" if output is not None else ""
            return f"finished {step}{value}" + (f" as {case.rpartition(':')[2]}" if case else "")
        case StepStarted(step=step, attempt=attempt):
            return f"started {step}" + (f" again ({attempt})" if attempt > 1 else "")
        case MapExpanded(step=step, count=count):
            return f"expanded {step} to {count}"
        case _:
            return f"{event.type} {getattr(event, 'step', '')}"
