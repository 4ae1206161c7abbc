"""One run in this process, as its caller holds it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agentflow.app import requests
from agentflow.app.lease import Lease
from agentflow.app.result import Decision, Pending, Result, pending_of, user_name
from agentflow.encoding import chain_of
from agentflow.engine.notices import Delta
from agentflow.engine.runner import Runner
from agentflow.engine.state import State
from agentflow.events import CHAIN, Event, Verdict
from agentflow.exceptions import HeadsUnusable

if TYPE_CHECKING:
    from agentflow.audit.heads import Heads

T = TypeVar("T")
Approver = Callable[[Pending], Awaitable[Decision | None]]
Check = Callable[[str, Any], None]


class Run(Generic[T]):
    """One run in this process. Await it for the output, or iterate `events()`; `result()` never raises for a failed run."""

    # What the approver left for later.
    _left: frozenset[str] = frozenset()

    def __init__(
        self,
        runner: Runner,
        lease: Lease | None,
        *,
        approver: Approver | None = None,
        check: Check | None = None,
        heads: Heads | None = None,
    ) -> None:
        self.id = runner.run_id
        self.runner = runner
        self._lease, self._approver, self._check = lease, approver, check
        self._heads = heads
        self._task: asyncio.Task[Result[T]] | None = None
        self._started = time.monotonic()
        if approver is not None:
            runner.ask = self._ask

    def __await__(self) -> Generator[Any, None, T]:
        return self.output().__await__()

    async def output(self) -> T:
        """The output; raises what ended the run where it has none."""
        return (await self.result()).unwrap()

    async def result(self) -> Result[T]:
        """Run to the end, or to where a person is needed, and say how it stands."""
        return await self.start()

    def start(self) -> asyncio.Task[Result[T]]:
        """Begin now, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._drive())

        return self._task

    async def events(self) -> AsyncIterator[Event | Delta]:
        """Events as they are committed, and streamed text between them, until the run is over or waits."""
        queue: asyncio.Queue[Event | Delta | None] = asyncio.Queue()
        self.runner.observers.append(queue.put_nowait)
        task = self.start()
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (item := await queue.get()) is not None:
                yield item
        finally:
            with suppress(ValueError):  # the runner drops an observer that fails
                self.runner.observers.remove(queue.put_nowait)

        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    def decide(self, name: str | None, decision: Decision) -> None:
        """Answer an approval that the run waits for; `name` may be left out where only one waits."""
        about = requests.choose(self.id, self.runner.waiting(), "approval", name)
        by = decision.by or user_name()
        requests.act(
            self.runner,
            requests.approval(about, approved=decision.approved, by=by, comment=decision.comment),
        )

    def resolve(
        self, name: str | None, verdict: Verdict, *, result: Any = None, by: str = "", comment: str = ""
    ) -> None:
        """Say what became of an effect in doubt: it was `done` with this result, `retry` it, or it is to `fail`."""
        about = requests.choose(self.id, self.runner.waiting(), "effect", name)
        if verdict == "done" and self._check is not None:
            self._check(about.tool, result)

        requests.act(
            self.runner,
            requests.resolution(about, verdict, result=result, by=by or user_name(), comment=comment),
        )

    def cancel(self, reason: str = "cancelled", *, by: str = "") -> None:
        """End the run for good; what is running is stopped."""
        requests.act(self.runner, requests.cancellation(reason, by or user_name()))

    def interrupt(self, reason: str = "interrupted") -> None:
        """Stop here so that the run can be resumed later."""
        requests.act(self.runner, requests.interruption(reason))

    async def give_back(self) -> None:
        """Let go of a run that was taken up and is not to be driven after all."""
        if self._lease is not None:
            await self._lease.give_back()

    async def _drive(self) -> Result[T]:
        if self._lease is None:
            return await self._result(await self.runner.drive())

        async with self._lease.kept(self.runner):
            if self.runner.history and self._heads is not None:
                # As it was found: what was added since it was let go is told apart by this.
                self._keep_head(await self.runner.journal.head(self.id), self.runner.history[-1].seq)

            state = await self.runner.drive()
            return await self._result(state)

    async def _head(self) -> Callable[[], str]:
        journal = self.runner.journal
        later: Callable[[str], Awaitable[Callable[[], str]]] | None = getattr(journal, "head_later", None)
        if later is not None:
            return await later(self.id)

        head = await journal.head(self.id)
        return lambda: head

    def _keep_head(self, head: str, count: int) -> str:
        """Have the head kept where that is wanted; says what became of it, as a run is not to end for that."""
        if self._heads is None or not head:
            return ""

        chain = chain_of(self.runner.history[0]) if self.runner.history else CHAIN
        workflow = self.runner.program.spec.name
        try:
            kept = self._heads.keep(run=self.id, workflow=workflow, count=count, head=head, chain=chain)
        except HeadsUnusable as error:
            return f"{error}; {error.hint}"

        return f"head kept in {self._heads.path}" + (f", signed by key {kept.key}" if kept.key else "")

    async def _ask(self) -> bool:
        """Put what is waited for to the approver, until one answers; what it leaves for later is not asked again here."""
        assert self._approver is not None
        for about in self.runner.waiting():
            # What became of an effect is for someone who looks where it would have happened.
            if about.kind != "approval" or about.name in self._left:
                continue

            decision = await self._approver(pending_of(about))
            if decision is not None:
                self.decide(about.name, decision)
                return True

            self._left |= {about.name}

        return False

    async def _result(self, state: State) -> Result[T]:
        output = state.output.value(self.runner.program.gives) if state.output is not None else None
        find_head = await self._head()
        return Result(
            run_id=self.id,
            status=state.status,
            output=output,
            error=state.error,
            step=self.runner.failed_step,
            usage=self.runner.ledger.used(),
            find_head=find_head,
            kept=self._keep_head(find_head(), self.runner.seq) if self._heads is not None else "",
            seconds=time.monotonic() - self._started,
            pending=tuple(pending_of(w) for w in self.runner.waiting()) if state.status == "waiting" else (),
            cause=self.runner.causes.get(self.runner.failed_step) if state.error is not None else None,
        )
