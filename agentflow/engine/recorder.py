"""What a step's code may do to its run: record operations, keep files, share objects, stream text."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from agentflow.context import Operation, OperationKind
from agentflow.engine.budget import reserve
from agentflow.engine.notices import Delta, error_info
from agentflow.engine.state import Activation
from agentflow.engine.writing import written
from agentflow.events import ArtifactKept, OperationFinished, OperationStarted, Payload
from agentflow.exceptions import RunError

if TYPE_CHECKING:
    from agentflow.engine.runner import Runner

# The operation that is open in this task; operations begun under it are its children.
_open: ContextVar[str] = ContextVar("agentflow_operation", default="")


class StepRecorder:
    """The recorder of one activation; operations are numbered within an attempt."""

    def __init__(self, runner: Runner, activation: Activation) -> None:
        self._runner, self._activation = runner, activation
        self._ledgers = runner.ledgers(activation.frame)
        self._count = 0
        self._parents: dict[str, str] = {}

    async def begin(
        self, kind: OperationKind, name: str, request: Any, attributes: Mapping[str, Any]
    ) -> Operation:
        asked = None if request is None else written(request, f"what `{name}` was asked")
        reserve(self._ledgers, kind, name)
        self._count += 1
        operation = Operation(id=f"{self._activation.attempt}.{self._count}", kind=kind, name=name)
        parent = _open.get() if _open.get() in self._parents else ""
        self._parents[operation.id] = parent
        self._runner.post(
            OperationStarted,
            step=self._activation.id,
            operation=operation.id,
            kind=kind,
            name=name,
            parent=parent,
            request=asked,
            attributes={k: v for k, v in attributes.items() if v is not None and v != ""} or None,
        )
        # The intent is committed before the deed.
        await self._runner.commit()
        _open.set(operation.id)
        return operation

    async def finish(self, operation: Operation, error: BaseException | None) -> None:
        _open.set(self._parents.get(operation.id, ""))
        usage = dict(operation.usage or {})
        for ledger in self._ledgers:
            ledger.settle(usage)

        result, lost = self._result(operation)
        failure = error or lost
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
