"""What a step's code may do to its run: record operations, keep files, share objects, stream text."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from types import GenericAlias
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from agentflow.context import Demand, Operation, OperationKind, Outcome, Verdict
from agentflow.engine.budget import NOTHING, Hold, Ledger
from agentflow.engine.contents import Contents
from agentflow.engine.notices import Delta, error_info
from agentflow.engine.record import NOT_MADE, SCOPES, Entry, Record, key_of, kind_of
from agentflow.engine.state import Activation, where_of
from agentflow.engine.writing import written
from agentflow.events import ArtifactKept, ErrorInfo, Event, OperationFinished, OperationStarted, Payload
from agentflow.exceptions import EffectInDoubt, RunError, ToolUnchecked
from agentflow.tools import Tool
from agentflow.validation.flow_graph import Taint

if TYPE_CHECKING:
    from agentflow.engine.runner import Runner

NOTHING_DONE = Record()
# The operation that is open in this task; operations begun under it are its children.
_open: ContextVar[str] = ContextVar("agentflow_operation", default="")


def enter(operation: str) -> None:
    """Have what begins in this task from here on be a part of `operation`."""
    _open.set(operation)


class Wanted(NamedTuple):
    """What a step's code is about to do; `key` is what the call is known by, `nth` for which time it asks for the same."""

    kind: OperationKind
    name: str
    parent: str
    key: bytes
    request: Payload | None
    nth: int
    once: bool
    attributes: dict[str, Any]
    demand: Demand | None
    is_scope: bool


class StepRecorder:
    """The recorder of one attempt of an activation; operations are numbered within it."""

    # Most steps record nothing: what only calls need is made when it is first used.
    _count = _pauses = 0
    _left = 0.0
    _has_diverged = _is_over = False
    # The step's own time limit, where it has one.
    limit: asyncio.Timeout | None = None

    def __init__(self, runner: Runner, activation: Activation) -> None:
        self._runner, self._activation = runner, activation
        known = runner.records.get(activation.id)
        self._record = known.frozen() if known is not None else NOTHING_DONE

    @property
    def mark(self) -> str:
        """What text from outside is marked with."""
        return self._runner.mark

    @cached_property
    def _ledgers(self) -> list[Ledger]:
        return self._runner.ledgers(self._activation)

    @cached_property
    def _parents(self) -> dict[str, str]:
        return {}

    @cached_property
    def _keys(self) -> dict[str, bytes]:
        return {}

    @cached_property
    def _asked(self) -> Counter[bytes]:
        return Counter()

    @cached_property
    def _holds(self) -> dict[str, Hold]:
        return {}

    @cached_property
    def _served(self) -> dict[bytes, Entry]:
        return {}

    async def begin(
        self,
        kind: OperationKind,
        name: str,
        request: Any,
        attributes: Mapping[str, Any],
        *,
        once: bool = False,
        demand: Demand | None = None,
        is_scope: bool = False,
    ) -> Operation | Outcome:
        self._refuse_late()
        if kind == "chat":
            self._contents.count_seen()

        asked = None if request is None else written(request, f"what `{name}` was asked")
        parent = _open.get() if _open.get() in self._parents else ""
        as_keyed = kind_of(kind, once=once)
        key, nth = self._key(parent, as_keyed, name, asked)
        known = self._record.take(key, as_keyed, name, asked)
        if known is not None and known.is_over and (not is_scope or kind in SCOPES):
            return self._again(known, key, parent, is_scope=is_scope)

        said = {k: v for k, v in attributes.items() if v is not None and v != ""}
        if kind == "chat" and self._diverges(self._keys.get(parent, b"")):
            said["diverged"] = True

        wanted = Wanted(kind, name, parent, key, asked, nth, once, said, demand, is_scope)
        return await self._begun(wanted)

    async def _begun(self, wanted: Wanted) -> Operation | Outcome:
        """Begin what no earlier attempt did: its intent is committed before the deed; on disk, where it cannot be undone."""
        operation = await self._reserved(wanted.kind, wanted.name, wanted.demand)
        self._parents[operation.id], self._keys[operation.id] = wanted.parent, wanted.key
        self._runner.post(
            OperationStarted,
            step=self._activation.id,
            operation=operation.id,
            kind=wanted.kind,
            name=wanted.name,
            parent=wanted.parent,
            request=wanted.request,
            attributes=wanted.attributes or None,
            nth=wanted.nth,
            once=wanted.once,
            reserved=self._holds[operation.id].data() if operation.id in self._holds else None,
        )
        self._runner.people.begun(self._activation.id, operation.id)
        try:
            await self._runner.commit()
            self._refuse_late()
        except BaseException:
            self._not_made(operation)
            raise

        _open.set(operation.id)
        return operation

    @cached_property
    def _contents(self) -> Contents:
        """Most steps ask no model and call no tool: they need none."""
        return Contents(self._runner.contents.get(where_of(self._activation.id), {}))

    def close(self) -> None:
        """The attempt is over: what is left of it, such as a branch that nobody waits for, makes no calls any more."""
        self._is_over = True

    def _refuse_late(self) -> None:
        if self._is_over or not self._runner.takes_calls:
            raise asyncio.CancelledError

    def _not_made(self, operation: Operation) -> None:
        """A call that was stopped before it was made: nobody needs to doubt it, and it costs nothing."""
        hold = self._holds.pop(operation.id, NOTHING)
        self._runner.account.settle(self._ledgers, hold, None, NOT_MADE)
        self._runner.people.ended(self._activation.id, operation.id)
        what = f"`{operation.name}` was stopped before it was made"
        self._runner.post(
            OperationFinished,
            step=self._activation.id,
            operation=operation.id,
            error=ErrorInfo(kind=NOT_MADE, message=what),
        )

    def _diverges(self, parent: bytes) -> bool:
        """Whether what is asked now is, for the first time, not what the record holds: from here on the model is asked."""
        if self._has_diverged or not self._record.unserved("chat", parent, self._served):
            return False

        self._has_diverged = True
        return True

    def _key(self, parent: str, kind: str, name: str, request: Payload | None) -> tuple[bytes, int]:
        around = self._keys.get(parent, b"")
        alike = key_of(around, kind, name, request, 0)
        self._asked[alike] += 1
        nth = self._asked[alike]
        return key_of(around, kind, name, request, nth), nth

    def _again(self, known: Entry, key: bytes, parent: str, *, is_scope: bool) -> Operation | Outcome:
        """What an earlier attempt recorded stands, and is not recorded again."""
        self._served[key] = known
        if not is_scope:
            assert known.outcome is not None
            return known.outcome

        self._parents[known.operation], self._keys[known.operation] = parent, key
        _open.set(known.operation)
        return Operation(
            id=known.operation, kind=cast("OperationKind", known.kind), name=known.name, is_noted=False
        )

    async def _reserved(self, kind: OperationKind, name: str, demand: Demand | None) -> Operation:
        # A model that asks another one must not wait for what it holds itself.
        own = sum(operation in self._holds for operation in self._around())
        hold, granted = await self._runner.account.reserve(self._ledgers, kind, name, demand, own=own)
        self._count += 1
        operation = Operation(
            id=f"{self._activation.attempt}.{self._count}", kind=kind, name=name, granted=granted
        )
        if demand is not None and granted is not None:
            self._holds[operation.id] = hold

        return operation

    async def finish(self, operation: Operation, error: BaseException | None) -> None:
        _open.set(self._parents.get(operation.id, ""))
        if not operation.is_noted:
            return

        usage = dict(operation.usage or {})
        result, lost = self._result(operation)
        failure = error or lost
        hold = self._holds.pop(operation.id, NOTHING)
        self._runner.account.settle(self._ledgers, hold, usage, type(failure).__name__ if failure else "")
        self._runner.people.ended(self._activation.id, operation.id)
        self._runner.post(
            OperationFinished,
            step=self._activation.id,
            operation=operation.id,
            result=result,
            usage=usage or None,
            attributes=operation.attributes or None,
            error=None if failure is None else error_info(failure),
        )
        await self._runner.commit()
        if lost is not None and error is None:
            raise lost

        self._refuse_doubt(operation, error)

    def _refuse_doubt(self, operation: Operation, error: BaseException | None) -> None:
        """A call that must not be repeated and was cut off by a time limit may have been made: nobody goes on from there."""
        if error is None or type(error).__name__ != "ToolTimeout":
            return

        activation = self._runner.state.active.get(self._activation.id)
        if activation is not None and any(d.operation == operation.id for d in activation.doubts):
            raise EffectInDoubt(f"it is not known whether `{operation.name}` was done: {error}") from error

    async def ask(self, tool: str, arguments: Mapping[str, Any], prompt: str) -> Verdict:
        self._refuse_late()
        request = written(dict(arguments), f"what `{tool}` was asked")
        self._asked[alike := key_of(b"", "ask", tool, request, 0)] += 1
        self._runner.refuse_inline(self._activation)
        with self._paused():
            return await self._runner.people.ask(
                self._activation.id,
                tool,
                request,
                nth=self._asked[alike],
                prompt=prompt,
                around=self._around(),
            )

    @contextmanager
    def _paused(self) -> Generator[None, None, None]:
        """The time in which a person is asked does not count against the step's own limit."""
        limit, now = self.limit, asyncio.get_running_loop().time
        if limit is not None and (when := limit.when()) is not None:
            self._left = when - now()
            limit.reschedule(None)

        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if limit is not None and not self._pauses and not limit.expired():
                limit.reschedule(now() + self._left)

    def _around(self) -> list[str]:
        """The operations that are open around what is done now."""
        found: list[str] = []
        operation = _open.get()
        while operation in self._parents:
            found.append(operation)
            operation = self._parents[operation]

        return found

    def is_bounded(self) -> bool:
        return any(ledger.is_bounded for ledger in self._ledgers)

    def refuse_unchecked(self, tool: Tool[..., Any]) -> None:
        runner, where = self._runner, where_of(self._activation.id)
        if runner.work_of(self._activation).has_checked(tool) or runner.waivers.reason(
            "unchecked-tool", where
        ):
            return

        known = runner.work_of(self._activation).labels.get(tool.origin or tool.name)
        how = (
            "the check of the workflow did not see it"
            if known is None
            else "it was checked with other labels"
        )
        raise ToolUnchecked(
            f"`{tool.name}` was not called in step `{where}`: {how}",
            hint=f'name the tool where the step is defined, or allow it: `allow=[Flow("unchecked-tool", step="{where}", because="...")]`',
        )

    def refusal(self, tool: Tool[..., Any]) -> str:
        where = where_of(self._activation.id)
        if self._activation.node.kind not in ("planner", "agent"):
            return ""

        return self._contents.refusal(tool, lambda kind: self._runner.waivers.reason(kind, where))

    def saw(self, tool: Tool[..., Any]) -> None:
        self._contents.saw(tool)

    def count_seen(self) -> None:
        self._contents.count_seen()

    def has_read(self, taint: Taint) -> bool:
        return self._contents.has(taint)

    def key(self) -> str:
        step = f"{self._runner.run_id}:{self._activation.id}"
        around = self._keys.get(_open.get())
        return f"{step}:{around[:8].hex()}" if around is not None else step

    def _result(self, operation: Operation) -> tuple[Payload | None, RunError | None]:
        if operation.result is None:
            return None, None

        try:
            return written(operation.result, f"the result of `{operation.name}`"), None
        except RunError as lost:
            # The outcome is recorded all the same: an intent without one would say that the process died.
            return None, lost

    def delta(self, text: str) -> None:
        self._runner.tell(Delta(self._activation.id, text))

    def artifact(self, name: str, data: bytes, media_type: str) -> str:
        path = self._path_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self._runner.post(
            ArtifactKept,
            step=self._activation.id,
            name=name,
            media_type=media_type,
            digest="sha256:" + hashlib.sha256(data).hexdigest(),
            size=len(data),
            path=str(path),
        )
        return str(path)

    def _path_of(self, name: str) -> Path:
        """Where a file of this activation is kept; another's of the same name is not overwritten."""
        plain = name.replace("/", "_")
        if plain.strip(". ") == "":
            raise RunError(f"`{name}` is no name for a file", hint='give one like "plot.png"')

        folder = self._runner.artifacts / self._runner.run_id
        own = f"{self._activation.id.replace('/', '_')}-{plain}"
        path = folder / plain
        if self._runner.files.setdefault(str(path), self._activation.id) == self._activation.id:
            return path

        return folder / own

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        self._runner.closers.append(close)

    def shared(self, key: str, make: Callable[[], Any]) -> Any:
        # Steps that are plain functions run in threads.
        with self._runner.making:
            if key not in self._runner.shared:
                self._runner.shared[key] = make()

            return self._runner.shared[key]

    async def events(self) -> Sequence[Event]:
        return await self._runner.journal.read(self._runner.run_id)

    def output(self, step: str) -> Any:
        frame: str | None = self._activation.frame
        while frame is not None:
            program = self._runner.program_of(frame)
            index = program.by_id.get(step)
            if index is not None:
                return self._output_in(frame, index, step)

            frame = self._runner.state.active[frame].frame if frame else None

        raise RunError(
            f"there is no step `{step}` in this workflow", hint="give the step itself: `ctx.output(plan)`"
        )

    def _output_in(self, frame: str, index: int, step: str) -> Any:
        cell = self._runner.state.frames[frame].cells.get(index)
        if cell is None or cell.output is None:
            raise RunError(f"`{step}` has no output yet", hint="it must come before this step on every path")

        program = self._runner.program_of(frame)
        node = program.graph.nodes[index]
        gives = program.work[index].gives
        return cell.output.value(GenericAlias(list, (gives,)) if node.map is not None else gives)
