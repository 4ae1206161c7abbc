"""What the code of a step gets to record its work with, where it is executed again: each call is served, none is made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from agentflow.context import Operation, Outcome
from agentflow.engine.attempt import Attempt
from agentflow.engine.divergence import Difference, first_difference, payload_difference
from agentflow.engine.notices import error_info
from agentflow.engine.recorder import StepRecorder, Wanted, enter
from agentflow.engine.state import Activation
from agentflow.events import Event, OperationFinished, OperationStarted
from agentflow.exceptions import EffectInDoubt

if TYPE_CHECKING:
    from agentflow.engine.replaying import Replayer

# Where a model is served is set by whoever runs it, and is no part of what it was asked.
_ELSEWHERE = frozenset({"provider", "server_address", "server_port"})


class ReplayRecorder(StepRecorder):
    """The recorder of an attempt that is executed again."""

    def __init__(self, replayer: Replayer, activation: Activation, attempt: Attempt) -> None:
        super().__init__(replayer, activation)
        self._attempt, self._objects, self._so_far = attempt, replayer.objects, replayer.so_far

    async def _begun(self, wanted: Wanted) -> Operation | Outcome:
        asked = self._attempt.ask(wanted)
        id_ = await asked.begun
        self._parents[id_], self._keys[id_] = wanted.parent, wanted.key
        if wanted.is_scope:
            enter(id_)
            return Operation(id=id_, kind=wanted.kind, name=wanted.name)

        ended = await asked.outcome
        self._raise_doubt(wanted, ended)
        return Outcome(
            result=ended.result, usage=ended.usage, attributes=ended.attributes or {}, error=ended.error
        )

    def _raise_doubt(self, wanted: Wanted, ended: OperationFinished) -> None:
        if ended.error is None or ended.error.kind != "ToolTimeout" or not wanted.once:
            return

        raise EffectInDoubt(f"it is not known whether `{wanted.name}` was done: {ended.error.message}")

    async def finish(self, operation: Operation, error: BaseException | None) -> None:
        enter(self._parents.get(operation.id, ""))
        if not operation.is_noted:
            return

        result, lost = self._result(operation)
        failure = error or lost
        if operation.id in self._attempt.open:
            said = self._attempt.say(
                OperationFinished,
                {
                    "operation": operation.id,
                    "result": result,
                    "error": None if failure is None else error_info(failure),
                },
            )
            await said.taken

        if lost is not None and error is None:
            raise lost

    async def events(self) -> Sequence[Event]:
        return self._so_far()

    def is_bounded(self) -> bool:
        # Nothing is reserved: whether a call fitted its budgets stands in the record.
        return False

    def delta(self, text: str) -> None:
        del text  # nobody watches

    def artifact(self, name: str, data: bytes, media_type: str) -> str:
        del media_type
        path = self._path_of(name)
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        return self._attempt.files.keep(name, digest) or str(path)

    def shared(self, key: str, make: Callable[[], Any]) -> Any:
        return super().shared(key, self._objects.get(key, make))


def ask_difference(wanted: Wanted, event: OperationStarted) -> Difference | None:
    """Where what code wants to do differs from an operation that is recorded."""
    for name, old, new in (
        ("kind", event.kind, wanted.kind),
        ("name", event.name, wanted.name),
        ("parent", event.parent, wanted.parent),
    ):
        if old != new:
            return Difference(name, str(old), str(new))

    if found := payload_difference(event.request, wanted.request):
        return Difference(found.path or "request", found.old, found.new)

    if (event.nth, event.once) != (wanted.nth, wanted.once):
        return Difference(
            "attributes", f"nth {event.nth}, once {event.once}", f"nth {wanted.nth}, once {wanted.once}"
        )

    return first_difference(_labels(event.attributes), _labels(wanted.attributes), "attributes")


def _labels(attributes: Any) -> dict[str, Any]:
    known = cast("Mapping[str, Any]", attributes or {})
    return {name: value for name, value in known.items() if name not in _ELSEWHERE}
