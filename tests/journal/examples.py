"""One event of each type, and runs made of them."""

from __future__ import annotations

from typing import Any

from agentflow.events import (
    ApprovalAsked,
    ApprovalGiven,
    ArtifactKept,
    ErrorInfo,
    Event,
    MapExpanded,
    OperationDoubted,
    OperationFinished,
    OperationResolved,
    OperationStarted,
    Payload,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunMigrated,
    RunPaused,
    RunResumed,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    TimerFired,
    TimerSet,
)

ERROR = ErrorInfo(kind="ValueError", message="it “broke”\n", hint="mend it", traceback='File "x"')


def started(run: str = "r", seq: int = 1, at: int = 1000, **fields: Any) -> RunStarted:
    """The first event of a run."""
    known: dict[str, Any] = {
        "run": run,
        "workflow": "w",
        "digest": "sha256:0",
        "spec": {"agentflow": 1, "name": "w"},
        "input": Payload({"text": "why?"}),
        "model": "embedded",
        "version": "1",
    }
    return RunStarted(seq=seq, at=at, **{**known, **fields})


EXAMPLES: list[Event] = [
    started(attributes={"by": "ann"}),
    started(spec=None, model="", version="", input=Payload(None)),
    RunResumed(seq=2, at=1, model="openai/x", version="1"),
    RunResumed(seq=2, at=1, model="openai/x", version="1", budget={"": {"usd": 2.5}}),
    RunMigrated(seq=3, at=1, digest="sha256:1", spec={"agentflow": 1}, changes=["`a` is new"]),
    RunPaused(seq=3, at=1),
    RunInterrupted(seq=3, at=1, reason="SIGTERM"),
    RunInterrupted(seq=3, at=1, reason=""),
    RunFinished(seq=4, at=1, output=Payload([1, "zwei", None, 1.5, 1e22, {"ü": True}])),
    RunFailed(seq=5, at=1, step="a#1", error=ERROR),
    RunFailed(seq=5, at=1, step="", error=ErrorInfo(kind="E", message="")),
    RunCancelled(seq=6, at=1, reason=""),
    RunCancelled(seq=6, at=1, reason="too slow", by="ann"),
    StepStarted(seq=7, at=1, step="sub#1/read#2[3]"),
    StepStarted(seq=7, at=1, step="read#1", attempt=3),
    MapExpanded(seq=8, at=1, step="read#1", count=0),
    StepFinished(seq=9, at=1, step="read#1"),
    StepFinished(seq=9, at=1, step="read#1", output=Payload(None), case="m:Draft"),
    StepFinished(seq=9, at=1, step="read#1", output=Payload("")),
    StepFailed(seq=10, at=1, step="read#1", error=ERROR, final=True, chance=0.25),
    StepFailed(seq=10, at=1, step="read#1", error=ErrorInfo(kind="E", message="no file \udcff"), chance=0.0),
    TimerSet(seq=11, at=1, step="nap#1", due=1_800_000_000_000_000_000),
    TimerFired(seq=12, at=1, step="nap#1"),
    ApprovalAsked(seq=13, at=1, step="sign#1", digest="sha256:0", prompt=""),
    ApprovalAsked(
        seq=13, at=1, step="a#1", digest="sha256:0", prompt="?", tool="mail", subject=Payload({"to": "ann"})
    ),
    ApprovalGiven(seq=14, at=1, step="sign#1", digest="sha256:0", approved=False, by="", comment="no"),
    ApprovalGiven(seq=14, at=1, step="sign#1", digest="sha256:0", approved=True, by="ann"),
    OperationStarted(seq=15, at=1, step="a#1", operation="1.1", kind="chat", name="m"),
    OperationStarted(
        seq=15,
        at=1,
        step="a#1",
        operation="1.2",
        kind="tool",
        name="t",
        parent="1.1",
        request=Payload({"q": "x"}),
        attributes={"n": [1, {"m": 2}]},
        nth=2,
        once=True,
        reserved={"tokens": 100},
    ),
    OperationFinished(seq=16, at=1, step="a#1", operation="1.1"),
    OperationFinished(
        seq=16,
        at=1,
        step="a#1",
        operation="1.2",
        result=Payload(["x" * 9000]),
        usage={"input_tokens": 3, "usd": 0.1},
        attributes={"a": None},
        error=ERROR,
    ),
    OperationDoubted(seq=17, at=1, step="a#1", operation="1.1", name="t"),
    OperationResolved(seq=18, at=1, step="a#1", operation="1.1", verdict="retry", by="ann"),
    OperationResolved(
        seq=18,
        at=1,
        step="a#1",
        operation="1.1",
        verdict="done",
        by="",
        result=Payload([None]),
        comment="seen",
    ),
    ArtifactKept(
        seq=17,
        at=1,
        step="a#1",
        name="plot.png",
        media_type="image/png",
        digest="sha256:0",
        size=0,
        path="/x/plot.png",
    ),
]


def chain(run: str, length: int, *, at: int = 1000, size: int = 0) -> list[Event]:
    """A run of `length` events; with `size`, each output is that long."""
    steps: list[Event] = [
        StepFinished(seq=n, at=at + n, step=f"s#{n}", output=Payload("x" * size if size else n))
        for n in range(2, length + 1)
    ]
    return [started(run, at=at), *steps]
