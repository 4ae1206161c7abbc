"""What may be asked of a run from outside, as data: to stop, an approval, or what became of an effect in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from agentflow.engine.people import Waiting
from agentflow.engine.runner import Runner
from agentflow.events import RunCancelled, RunInterrupted
from agentflow.exceptions import ProjectError, UnknownName
from agentflow.journal import Journal

POLL = 0.1


def cancellation(reason: str, by: str) -> dict[str, Any]:
    """The request to end a run for good."""
    return {"kind": "cancel", "reason": reason, "by": by}


def interruption(reason: str) -> dict[str, Any]:
    """The request to stop a run so that it can be resumed."""
    return {"kind": "interrupt", "reason": reason}


def approval(waiting: Waiting, *, approved: bool, by: str, comment: str) -> dict[str, Any]:
    """The answer to an approval that is waited for."""
    about = {"step": waiting.activation.id, "digest": waiting.digest}
    return {"kind": "approve", **about, "approved": approved, "by": by, "comment": comment}


def resolution(waiting: Waiting, verdict: str, *, result: Any, by: str, comment: str) -> dict[str, Any]:
    """What became of an effect in doubt."""
    about = {"step": waiting.activation.id, "operation": waiting.operation}
    return {"kind": "resolve", **about, "verdict": verdict, "result": result, "by": by, "comment": comment}


def act(runner: Runner, body: Mapping[str, Any]) -> None:
    """Do what is asked; what is not known is left alone, as a newer version may have asked it."""
    match body:
        case {"kind": "cancel", "reason": reason, "by": by}:
            runner.stop(RunCancelled, reason, by=by)
        case {"kind": "interrupt", "reason": reason}:
            runner.stop(RunInterrupted, reason)
        case {"kind": "approve", "step": step, "digest": digest, **rest}:
            runner.decide(step, digest, approved=rest["approved"], by=rest["by"], comment=rest["comment"])
        case {"kind": "resolve", "step": step, "operation": operation, "verdict": verdict, **rest}:
            runner.resolve(
                step, operation, verdict, by=rest["by"], result=rest["result"], comment=rest["comment"]
            )
        case _:
            pass


async def deliver(journal: Journal, run_id: str, body: Mapping[str, Any]) -> bool:
    """Ask the process that drives a run; True once it took the request, False where none drives it (any more)."""
    request: int | None = None
    while await journal.holder(run_id) is not None:
        if request is None:
            request = await journal.send(run_id, body)

        await asyncio.sleep(POLL)
        if all(other.id != request for other in await journal.requests(run_id)):
            return True

    # Taken back, unless it was taken at the last moment.
    return request is not None and not await journal.take(run_id, request)


def choose(run_id: str, waiting: Sequence[Waiting], kind: str, name: str | None) -> Waiting:
    """The one that `name` means (it may be left out where only one waits); raises `ProjectError` or `UnknownName`."""
    alike = [w for w in waiting if w.kind == kind]
    chosen = [w for w in alike if name is None or _is_named(w, name)]
    if len(chosen) == 1:
        return chosen[0]

    names = [w.name for w in alike]
    if name is not None and not chosen and names:
        raise UnknownName("approval that waits" if kind == "approval" else "effect in doubt", name, names)

    some = ", ".join(f"`{n}`" for n in names)
    what = "an answer to" if kind == "approval" else "what became of"
    raise ProjectError(
        f"run `{run_id}` waits for {what} {some}"
        if names
        else f"run `{run_id}` waits for nobody"
        if kind == "approval"
        else f"run `{run_id}` has no effect in doubt",
        hint="name the one that is meant" if names else f"look at it: agentflow show {run_id}",
    )


def _is_named(waiting: Waiting, name: str) -> bool:
    known = {waiting.name, waiting.activation.id, waiting.activation.node.id, waiting.tool, waiting.operation}
    return name in known - {""} or (
        len(name) >= 8 and waiting.digest.removeprefix("sha256:").startswith(name)
    )
