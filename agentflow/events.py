"""What happened in a run, as events: the journal, the state, the spans and the audit trail are functions of these."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from functools import cache
from json.encoder import encode_basestring
from typing import Any, ClassVar, Literal, cast

from agentflow.secrets import redact, redact_bytes
from agentflow.spec import Retry

Json = Any
Verdict = Literal["done", "retry", "fail"]
VERDICTS: tuple[Verdict, ...] = ("done", "retry", "fail")
# How the hashes of new runs are chained; each run keeps to what it was begun with.
CHAIN = 2
_ALIVE, _UNREAD = object(), object()
_CONSTANTS = {None: b"null", True: b"true", False: b"false"}
# Python refuses to write whole numbers of thousands of digits.
_WIDE = 1 << 64


class Payload:
    """A value that goes along an edge: kept as the object while it lives, and as JSON where it is written.

    Values are treated as immutable from the moment they are given to the engine. `kind` may name the type that a
    value had when it was written: then it is read as that, whoever asks, so that a resumed run sees what it saw before.
    """

    __slots__ = ("_as", "_json", "_value", "kind", "parts")

    def __init__(
        self, value: Any = None, *, raw: bytes | None = None, parts: Sequence[Payload] | None = None
    ) -> None:
        self._value, self._json, self.parts = value, raw, parts
        self.kind: Any = None
        # The type that the value was read as; a value that never was text is what it is.
        self._as: Any = _ALIVE if raw is None and parts is None else _UNREAD

    @property
    def json(self) -> bytes:
        """The value as compact JSON, made once."""
        if self._json is None:
            if self.parts is not None:
                self._json = b"[" + b",".join(part.json for part in self.parts) + b"]"
            else:
                # What is written down holds no secret, whoever put one into the value.
                self._json = redact_bytes(_json_of(self._value))

        return self._json

    @property
    def texts(self) -> list[str]:
        """The value as JSON texts that together say all that it says."""
        return [self.json.decode(errors="replace")]

    @property
    def data(self) -> Json:
        """The value as plain JSON data."""
        return json.loads(self.json)

    def value(self, type_: Any) -> Any:
        """The value as `type_`; decoded from JSON if the object is no longer there."""
        type_ = type_ if self.kind is None else self.kind
        if self._as is _ALIVE or self._as == type_:
            return self._value

        self._value = self._joined(type_) if self._json is None else adapter(type_).validate_json(self._json)
        self._as = type_
        return self._value

    def items(self) -> Sequence[Payload]:
        """The items of a list, each as a payload of its own; raises `TypeError` where the value is no list."""
        if self.parts is None:
            is_object = self._as is _ALIVE or self.kind is not None
            values = self.value(self.kind) if is_object else self.data
            if not isinstance(values, Sequence | AbstractSet) or isinstance(values, str | bytes):
                raise TypeError(f"a `{type(values).__name__}` is no list")

            known = cast("Sequence[Any]", values)
            self.parts = [Payload(v) if is_object else Payload(raw=compact_json(v)) for v in known]

        return self.parts

    def _joined(self, type_: Any) -> Any:
        assert self.parts is not None
        members = getattr(type_, "__args__", ()) or (Any,)
        as_tuple = getattr(type_, "__origin__", None) is tuple
        kinds = members if as_tuple and members[-1] is not Ellipsis else (members[0],) * len(self.parts)
        values = [part.value(kind) for part, kind in zip(self.parts, kinds, strict=True)]
        return tuple(values) if as_tuple else values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Payload) and self.json == other.json

    def __hash__(self) -> int:
        return hash(self.json)

    def __repr__(self) -> str:
        return f"Payload({self.json[:80].decode(errors='replace')})"


def _json_of(value: Any) -> bytes:
    """A value as compact JSON, byte for byte as pydantic writes it."""
    kind = type(value)
    if kind is str:
        try:
            return encode_basestring(value).encode()
        except UnicodeEncodeError:
            return _to_json()(value)  # half of a surrogate pair, which is refused

    if kind is int and -_WIDE < value < _WIDE:
        return b"%d" % value

    return _CONSTANTS[value] if kind is bool or value is None else _to_json()(value)


@cache
def _to_json() -> Callable[[Any], bytes]:
    # pydantic is loaded only where a value has to be written that is more than a text or a number.
    from pydantic_core import to_json

    return to_json


_write = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=str).encode


# Half of a surrogate pair, as in the name of a file that is not UTF-8, is kept as JSON's own escape.
HALVES = "backslashreplace"


def json_text(value: Json) -> str:
    """Plain data as compact JSON, with what secrets it holds; what JSON does not know becomes text."""
    return _write(value)


def compact_json(value: Json) -> bytes:
    """Plain data as compact JSON without secrets."""
    return redact(json_text(value)).encode(errors=HALVES)


_adapters: dict[Any, Any] = {}


def adapter(type_: Any) -> Any:
    """The pydantic adapter of a type, built once."""
    try:
        return _adapters[type_]
    except (KeyError, TypeError):
        from pydantic import TypeAdapter

        made: Any = TypeAdapter(type_)
        try:
            _adapters[type_] = made
        except TypeError:  # an unhashable annotation, such as Annotated with a list
            return made

        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """An error as data: its type's name, what it said, and a hint where it had one.

    `base` is the error of agentflow that its type derives from, where it is not one itself.
    """

    kind: str
    message: str
    hint: str = ""
    traceback: str = ""
    base: str = ""


class _Sealed:
    """Room for the digest of an event as it was written, which is no part of what the event says."""

    __slots__ = ("_digest",)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Event(_Sealed):
    """Base of all events. `at` is nanoseconds since the epoch; `seq` counts from 1 within a run, and is 0 before it is committed.

    What dataclasses would write anew for each kind of event is written once here: that costs a fresh process milliseconds.
    """

    type: ClassVar[str]
    at: int
    seq: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event) or other.__class__ is not self.__class__:
            return NotImplemented

        return _told(self) == _told(other)

    def __hash__(self) -> int:
        return hash(_told(self))

    def __repr__(self) -> str:
        told = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
        return f"{type(self).__qualname__}({told})"


def _told(event: Event) -> tuple[Any, ...]:
    return tuple([getattr(event, f.name) for f in fields(event)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunStarted(Event):
    """`bound` is the most that the run can do, as far as its definition says: amounts by name, None without bound.

    `nonce` is a random number in hex: what must not be guessed from outside is made of it. `chain` says how the hashes
    of the run are chained; version 0.1.0 knew one way, and did not say so. `service` names the process that drives the
    run from here on, where it has a name of its own. `forked` is set where the run went off from another one: `from`
    names that `run`, its `seq` and `head` there, `at` is the activation, `line` the runs that did the events up to here,
    each with the number of the last one, and `set` holds the values that were changed: `changed` numbers the events with
    such an output, and `was` holds earlier inputs, each with the last event it held for.
    """

    type: ClassVar[str] = "run.started"
    run: str
    workflow: str
    digest: str
    spec: Json
    input: Payload
    model: str
    version: str
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    bound: Json = None
    nonce: str = ""
    chain: int = 1
    service: str = ""
    forked: Json = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunResumed(Event):
    """`budget` holds limits that replace those of the definition, by step: `{"": {"usd": 2}}` is the run's own.

    `service` names the process that drives the run from here on, where it has a name of its own.
    """

    type: ClassVar[str] = "run.resumed"
    model: str
    version: str
    budget: Json = None
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunMigrated(Event):
    """From here on the run follows another definition; `changes` says in words what is different."""

    type: ClassVar[str] = "run.migrated"
    digest: str
    spec: Json
    changes: Json


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunPaused(Event):
    """Only people are waited for: the process let go of the run, which goes on once they have answered."""

    type: ClassVar[str] = "run.paused"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunInterrupted(Event):
    """The process was asked to stop; the run goes on with a resume."""

    type: ClassVar[str] = "run.interrupted"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunFinished(Event):
    """The run came to its end; `output` is what the workflow gives."""

    type: ClassVar[str] = "run.finished"
    output: Payload


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunFailed(Event):
    """The run ended with an `error`, which came up in `step`."""

    type: ClassVar[str] = "run.failed"
    step: str
    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RunCancelled(Event):
    """The run was ended for good; `by` names who asked for it."""

    type: ClassVar[str] = "run.cancelled"
    reason: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepStarted(Event):
    """`step` is the activation: `write#2` is the second visit, `read#1[3]` an item, `sub#1/write#1` is nested."""

    type: ClassVar[str] = "step.started"
    step: str
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MapExpanded(Event):
    """A step that runs for each item of a list has got one of `count` items."""

    type: ClassVar[str] = "map.expanded"
    step: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepFinished(Event):
    """`output` is None where it follows from earlier events (a map, a sub-workflow, an approval that was given)."""

    type: ClassVar[str] = "step.finished"
    step: str
    output: Payload | None = None
    case: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepFailed(Event):
    """`chance` is a random number in [0, 1), drawn by the runner, that the wait before a retry is made of."""

    type: ClassVar[str] = "step.failed"
    step: str
    error: ErrorInfo
    final: bool = False
    chance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TimerSet(Event):
    """`due` is nanoseconds since the epoch."""

    type: ClassVar[str] = "timer.set"
    step: str
    due: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TimerFired(Event):
    """The time that a step waited for has come."""

    type: ClassVar[str] = "timer.fired"
    step: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ApprovalAsked(Event):
    """`digest` is of exactly what a person is asked to approve: the step's input, or else the `subject`.

    `tool` is the tool whose call is asked about, and `subject` the arguments of the call.
    """

    type: ClassVar[str] = "approval.asked"
    step: str
    digest: str
    prompt: str
    tool: str = ""
    subject: Payload | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ApprovalGiven(Event):
    """A person said yes or no to what stands under this `digest`."""

    type: ClassVar[str] = "approval.given"
    step: str
    digest: str
    approved: bool
    by: str
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class OperationStarted(Event):
    """The intent to do something inside a step; `parent` is the operation around it, if any.

    `nth` counts calls that ask for the same, within an attempt. `once` marks what must not be done again by itself.
    `reserved` is the most that the call can use, as it was taken from the budgets.
    """

    type: ClassVar[str] = "operation.started"
    step: str
    operation: str
    kind: str
    name: str
    parent: str = ""
    request: Payload | None = None
    attributes: Json = None
    nth: int = 1
    once: bool = False
    reserved: Json = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class OperationFinished(Event):
    """How an operation inside a step ended: with a result, or with an error."""

    type: ClassVar[str] = "operation.finished"
    step: str
    operation: str
    result: Payload | None = None
    usage: Json = None
    attributes: Json = None
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class OperationDoubted(Event):
    """It is not known whether an operation that must not be done twice was done: a person is asked."""

    type: ClassVar[str] = "operation.doubted"
    step: str
    operation: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class OperationResolved(Event):
    """What a person says of an operation in doubt: it was `done` with this `result`, try it again, or it failed."""

    type: ClassVar[str] = "operation.resolved"
    step: str
    operation: str
    verdict: Verdict
    by: str
    result: Payload | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ArtifactKept(Event):
    """A file kept beside the run; `digest` is of its bytes, `size` counts them."""

    type: ClassVar[str] = "artifact.kept"
    step: str
    name: str
    media_type: str
    digest: str
    size: int
    path: str


EVENTS: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        RunStarted,
        RunResumed,
        RunMigrated,
        RunPaused,
        RunInterrupted,
        RunFinished,
        RunFailed,
        RunCancelled,
        StepStarted,
        MapExpanded,
        StepFinished,
        StepFailed,
        TimerSet,
        TimerFired,
        ApprovalAsked,
        ApprovalGiven,
        OperationStarted,
        OperationFinished,
        OperationDoubted,
        OperationResolved,
        ArtifactKept,
    )
}


def number(event: Event, seq: int) -> None:
    """Give an event its place in the run, which nobody knows before it is committed."""
    object.__setattr__(event, "seq", seq)


def retry_wait(policy: Retry, failures: int, chance: float) -> int:
    """Nanoseconds to wait before the next attempt after `failures` failed ones."""
    try:
        full = min(policy.max_delay, policy.delay * policy.factor ** (failures - 1))
    except OverflowError:
        full = policy.max_delay

    return int(full * (1 - policy.jitter * chance) * 1e9)
