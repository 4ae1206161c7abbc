"""Tools: typed functions that a planner or an agent may call, with labels that say what they touch."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, ParamSpec, TypeVar, cast, overload

from agentflow.context import Operation, Outcome, current, effect
from agentflow.events import Payload, adapter
from agentflow.evidence import Evidence, Trust
from agentflow.exceptions import CallRefused, FlowRefused, ToolArgumentsInvalid, ToolError, ToolTimeout
from agentflow.limits import TRANSIENT, Gate, Rate, wait_before
from agentflow.secrets import has_hidden, redact

if TYPE_CHECKING:
    from pydantic import BaseModel

    from agentflow.conformance import Conformance

P = ParamSpec("P")
R = TypeVar("R")
Effect = Literal["none", "read", "write"]


class Labels(NamedTuple):
    """What a tool touches; a tool with these at their least does no harm."""

    effect: Effect = "none"
    returns: Trust = "trusted"
    private: bool = False
    outside: bool = False
    needs_approval: bool = False

    @property
    def is_harmless(self) -> bool:
        return self.effect != "write" and self.returns == "trusted" and not (self.private or self.outside)


@dataclass(frozen=True, kw_only=True)
class Tool(Generic[P, R]):
    """A function with a schema and labels. Calling it calls the function; inside of a step, that is recorded.

    `effect`: `none` computes only, `read` looks at the world, `write` changes it. `idempotent` writes may be
    repeated after a crash. `returns`: may its results be trusted. `private`: reads data that must not leave.
    `outside`: reaches beyond this machine. `needs_approval`: a person is asked before each call that a run makes.
    `timeout` is in seconds. What it returns is kept as JSON and read back as the type that the function declares.

    `retries` is how often a call is made again that failed for a reason which may pass (`RateLimited`,
    `NetworkUnavailable`, `ToolTimeout`); a write that is not idempotent never is. `concurrency` and `rate` bound the calls
    of this process at one time, and in time. Of a result a model is told at most `max_output` characters.

    `schema` is the JSON Schema of the arguments, where the signature does not say them: the function takes any by name.
    Private data that goes to where it is from has not left: tools are at one place that say so in `reaches`, or whose
    origins are the same up to a `#`.
    """

    name: str
    description: str
    function: Callable[P, Awaitable[R] | R] = field(repr=False)
    effect: Effect = "read"
    returns: Trust = "untrusted"
    private: bool = False
    outside: bool = False
    idempotent: bool = False
    needs_approval: bool = False
    timeout: float | None = None
    retries: int = 0
    concurrency: int | None = None
    rate: Rate | None = None
    max_output: int | None = None
    origin: str = ""
    reaches: str = ""
    schema: Mapping[str, Any] | None = field(default=None, repr=False, hash=False)

    @overload
    async def __call__(self: Tool[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        if self.schema is not None:
            return await call(self, self._by_name(args, kwargs))

        if current() is None:
            async with self.gate:
                return await self._run(*args, **kwargs)

        return await call(self, inspect.signature(self.function).bind(*args, **kwargs).arguments)

    def _by_name(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        if args:
            raise TypeError(f"`{self.name}` takes its arguments by name")

        return kwargs

    async def _run(self, /, *args: Any, **kwargs: Any) -> Any:
        if inspect.iscoroutinefunction(self.function):
            return await self.function(*args, **kwargs)

        # A thread keeps the context variables, so what the function records still belongs to this step.
        return await asyncio.to_thread(self.function, *args, **kwargs)

    @cached_property
    def _arguments(self) -> type[BaseModel]:
        # pydantic is imported when a schema is first needed, so that defining tools stays cheap.
        from pydantic import ConfigDict, create_model

        fields: dict[str, Any] = {}
        hints = inspect.get_annotations(self.function, eval_str=True)
        for name, parameter in inspect.signature(self.function).parameters.items():
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)

        return create_model(f"{self.name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The JSON Schema of the arguments."""
        if self.schema is not None:
            return dict(self.schema)

        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        for value in schema.get("properties", {}).values():
            value.pop("title", None)

        return schema

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """`arguments` as the types that the function takes; raises `ToolArgumentsInvalid` naming each fault."""
        if self.schema is not None:
            return self._fitting(arguments, self.schema)

        from pydantic import ValidationError

        try:
            model = self._arguments.model_validate(dict(arguments))
        except ValidationError as error:
            faults = "; ".join(
                f"`{'.'.join(map(str, e['loc'])) or self.name}`: {e['msg']}" for e in error.errors()
            )
            raise ToolArgumentsInvalid(
                f"the arguments of `{self.name}` do not fit: {faults}",
                hint=f"`{self.name}` takes {', '.join(f'`{n}`' for n in self._arguments.model_fields) or 'nothing'}",
            ) from None

        return {name: getattr(model, name) for name in type(model).model_fields}

    @cached_property
    def _conformance(self) -> Conformance:
        from agentflow.conformance import Conformance  # only tools with a given schema need it

        return Conformance(self.parameters)

    def _fitting(self, arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        if faults := self._conformance.faults(dict(arguments), whole=self.name):
            known = ", ".join(f"`{name}`" for name in schema.get("properties", ())) or "nothing"
            raise ToolArgumentsInvalid(
                f"the arguments of `{self.name}` do not fit: {'; '.join(faults)}",
                hint=f"`{self.name}` takes {known}",
            )

        return dict(arguments)

    @cached_property
    def gate(self) -> Gate:
        """What each call goes through; where copies of a tool differ in their bounds, each has its own."""
        return Gate(at_once=self.concurrency, rate=self.rate)

    @property
    def is_repeatable(self) -> bool:
        """Whether a call may be made again by itself."""
        return self.effect != "write" or self.idempotent

    @property
    def home(self) -> str:
        """Where the tool reaches: the operations of one API, or the tools of one server, share what they know."""
        return self.reaches or (self.origin or self.name).partition("#")[0]

    @property
    def labels(self) -> Labels:
        """What the tool says of itself, and the check goes by."""
        return Labels(self.effect, self.returns, self.private, self.outside, self.needs_approval)

    @cached_property
    def gives(self) -> Any:
        """The type that the function declares to return; `Any` where it declares none."""
        return inspect.get_annotations(self.function, eval_str=True).get("return", Any)

    def restored(self, outcome: Outcome) -> Any:
        """What a call gave, read back from its record; plain data where that does not fit the declared type."""
        if outcome.result is None:
            return None

        try:
            return outcome.result.value(self.gives)
        except (ValueError, TypeError, RuntimeError):
            # Python does not hold a function to its annotation: it gave something else, and gives that again.
            return outcome.result.data

    def as_kept(self, result: Any) -> Any:
        """`result` as a later attempt of the step will read it, so that it cannot tell the two apart."""
        if type(result) is str:
            return redact(result)

        if type(result) in (bool, type(None)):
            return result

        try:
            kept = Payload(result).json
            if (self.gives is Any or _is_evidence(result)) and not has_hidden(kept):
                return result

            return adapter(self.gives).validate_json(kept)
        except (ValueError, TypeError, RuntimeError):
            return result

    async def invoke(self, arguments: Mapping[str, Any]) -> R:
        """Validate `arguments`, then call the function within the tool's time limit."""
        valid = self.validate(arguments)
        try:
            async with self.gate, asyncio.timeout(self.timeout):
                return cast("R", await self._run(**valid))
        except TimeoutError:
            raise ToolTimeout(
                f"`{self.name}` took longer than its {self.timeout:g} s" if self.timeout else str(self.name)
            ) from None


@overload
def tool(function: Callable[P, Awaitable[R]], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    effect: Effect = "read",
    returns: Trust = "untrusted",
    private: bool = False,
    outside: bool = False,
    idempotent: bool = False,
    needs_approval: bool = False,
    timeout: float | None = None,
    retries: int = 0,
    concurrency: int | None = None,
    rate: Rate | None = None,
    max_output: int | None = None,
) -> Callable[[Callable[P, Awaitable[R]]], Tool[P, R]]: ...


def tool(function: Any = None, /, *, name: str | None = None, **labels: Any) -> Any:
    """Make a typed async function a `Tool`; its docstring is what the model reads of it."""

    def make(function: Callable[P, Awaitable[R]]) -> Tool[P, R]:
        return Tool(
            name=name or function.__name__,
            description=inspect.cleandoc(function.__doc__ or "").strip(),
            function=function,
            origin=f"{function.__module__}:{function.__qualname__}",
            **labels,
        )

    return make(function) if function is not None else make


async def call(tool: Tool[..., Any], arguments: Mapping[str, Any], *, call_id: str = "") -> Any:
    """Call a tool as a recorded effect of the step: approved where it must be, and not made again where it was.

    Evidence that it returns is stamped with the tool and the time. A refused call raises `ToolError`.
    """

    async def work(record: Operation) -> Any:
        result = _stamped(tool, await _tried(tool, arguments, record))
        record.result = result if current() is None else tool.as_kept(result)
        return record.result

    return await made(Call(tool=tool, arguments=arguments, id=call_id), work, tool.restored, tool.validate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool, and what it is called with; `id` is the name that a model gave the call."""

    tool: Tool[..., Any]
    arguments: Mapping[str, Any]
    id: str = ""


async def made(
    call: Call,
    work: Callable[[Operation], Awaitable[R]],
    restore: Callable[[Outcome], R],
    check: Callable[[Mapping[str, Any]], object] = lambda _: None,
) -> R:
    """Do `work` as the recorded `call`, or read with `restore` what it gave on an earlier attempt.

    `check` raises `ToolError` for arguments that no person need be asked about.
    """
    tool, context = call.tool, current()
    if context is not None:
        context.refuse_unchecked(tool)

    fault = _steered(tool) or await _fault(call, check)

    async def worked(record: Operation) -> R:
        if fault is not None:
            raise fault

        return await work(record)

    try:
        return await effect(
            "tool",
            tool.name,
            worked,
            restore,
            request=dict(call.arguments),
            once=fault is None and not tool.is_repeatable,
            call_id=call.id,
            effect=tool.effect,
            returns=tool.returns,
        )
    finally:
        # Also what it says of a failure can be from outside.
        if context is not None and fault is None:
            context.saw(tool)


async def _tried(tool: Tool[..., Any], arguments: Mapping[str, Any], record: Operation) -> Any:
    """What the tool gives; made again, within its `retries`, where it failed for a reason that may pass."""
    for failures in range(1, 1 + (tool.retries if tool.is_repeatable else 0)):
        try:
            return await tool.invoke(arguments)
        except TRANSIENT as error:
            wait = wait_before(failures, error)
            if wait is None:
                raise

            record.attributes["retries"] = failures
            record.attributes["retried_after"] = redact(f"{type(error).__name__}: {error}")

        await asyncio.sleep(wait)

    return await tool.invoke(arguments)


def _steered(tool: Tool[..., Any]) -> FlowRefused | None:
    """Why the call must not be made, where what a model has read could be what wants it made."""
    context = current()
    why = context.refusal(tool) if context is not None else ""
    if not why:
        return None

    return FlowRefused(
        f"`{tool.name}` cannot be called any more in this step: {why}",
        hint="go on without it; a definition may set `needs_approval=True` on the tool, or allow the flow with a reason",
    )


async def _fault(call: Call, check: Callable[[Mapping[str, Any]], object]) -> ToolError | None:
    """Why the call must not be made, if a person is to be asked about it and it cannot be made, or was refused."""
    context = current()
    if context is None or not call.tool.needs_approval:
        return None

    try:
        check(call.arguments)
    except ToolError as fault:
        return fault

    verdict = await context.ask(call.tool.name, call.arguments, prompt=_question(call.tool))
    if verdict.approved:
        return None

    comment = f": {verdict.comment}" if verdict.comment else ""
    return CallRefused(f"a person refused this call of `{call.tool.name}`{comment}")


def _question(tool: Tool[..., Any]) -> str:
    purpose = tool.description.partition("\n")[0]
    return f"Call `{tool.name}`?" + (f" {purpose}" if purpose else "")


def _is_evidence(result: Any) -> bool:
    return isinstance(result, list) and all(isinstance(item, Evidence) for item in result)


def _stamped(tool: Tool[..., Any], result: Any) -> Any:
    if not isinstance(result, list) or not any(isinstance(item, Evidence) for item in result):
        return result

    from datetime import UTC, datetime  # only what brings evidence needs it

    at = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        replace(item, tool=tool.name, at=item.at or at, trust=tool.returns)
        if isinstance(item, Evidence)
        else item
        for item in result
    ]
