"""Function steps: plain Python functions with types, limits and a name."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Protocol, TypedDict, TypeVar, cast, get_type_hints, overload

from agentflow.context import Context
from agentflow.exceptions import DefinitionError, Problem
from agentflow.path import In_contra, Out_co, Place, Step
from agentflow.spec import Budget, Retry, StepSpec
from agentflow.steps.naming import named_tools, names_module
from agentflow.steps.reading import reads_of
from agentflow.tools import Tool
from agentflow.typeref import type_name

A = TypeVar("A")
B = TypeVar("B")
Retries = int | Retry


class Limits(TypedDict):
    """What bounds a step, as its base class takes it."""

    timeout: float | None
    retry: Retry | None
    budget: Budget | None


class FunctionStep(Step[In_contra, Out_co]):
    """A step whose work is one Python function; calling it calls the function."""

    kind = "function"

    def __init__(self, function: Callable[..., Any], **limits: Any) -> None:
        place = _place(function)
        self.function = function
        self.__doc__ = function.__doc__
        self.is_async = inspect.iscoroutinefunction(function)
        takes, gives, self.wants_context = _signature(function, place)
        super().__init__(function.__name__, takes=takes, gives=gives, place=place, **limits)
        self.call = f"{function.__module__}:{function.__qualname__}"
        # As they stand in a spec.
        self._types = type_name(takes), type_name(gives)

    def named(self, name: str) -> FunctionStep[In_contra, Out_co]:
        """The same step under another name, so that a function can stand in several places of a workflow."""
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__
        other.name = name
        return other

    async def __call__(self, value: In_contra, ctx: Context | None = None) -> Out_co:
        arguments = (value, ctx) if self.wants_context else (value,)
        if self.is_async:
            return cast("Out_co", await self.function(*arguments))

        given = await asyncio.to_thread(self.function, *arguments)
        # A plain wrapper around an async function gives what is still to be awaited.
        return cast("Out_co", await given if inspect.isawaitable(given) else given)

    def execute(self, value: Any, ctx: Context) -> Coroutine[Any, Any, Any]:
        if self.is_async and not self.wants_context:
            given: Coroutine[Any, Any, Any] = self.function(value)
            return given

        return self(value, ctx)

    def step_spec(self) -> StepSpec:
        takes, gives = self._types
        return StepSpec(
            id=self.name,
            kind="function",
            takes=takes,
            gives=gives,
            call=self.call,
            timeout=self.timeout,
            retry=self.retry,
            budget=self.budget,
            reads=tuple(self.read_steps()) if self.wants_context else (),
        )

    def named_tools(self) -> list[Tool[..., Any]]:
        """The tools that the function's code names, as far as names tell."""
        return named_tools(self.function)

    @property
    def is_recording(self) -> bool:
        """Whether its code names something by which it could make calls of its run."""
        return names_module(self.function, "agentflow.context")

    def read_steps(self) -> dict[str, Step[Any, Any] | None]:
        """The steps whose output the function asks for by `ctx.output(step)`, by name, as far as its source tells."""
        return _reads(self.function) if self.wants_context else {}


def _place(function: Any) -> Place:
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        what = f"`{function!r}` is not a function"
        problem = Problem(
            code="AF120", what=what, where="`@step`", hint="give `@step` a function with typed parameters"
        )
        raise DefinitionError(str(getattr(function, "__name__", "step")), [problem])

    return Place(code.co_filename, code.co_firstlineno)


def _signature(function: Callable[..., Any], place: Place) -> tuple[Any, Any, bool]:
    parameters = list(inspect.signature(function).parameters.values())
    hints = _hints(function, place)
    for is_wrong, what, hint in _faults(function, parameters, hints):
        if is_wrong:
            raise _refused(function, place, what, hint)

    return hints[parameters[0].name], hints["return"], len(parameters) == 2


def _hints(function: Callable[..., Any], place: Place) -> dict[str, Any]:
    try:
        return get_type_hints(function, localns=_enclosing_names(function), include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise _refused(
            function, place, f"its annotations cannot be read: {error}", "import the type it names"
        ) from None


def _faults(
    function: Callable[..., Any], parameters: list[inspect.Parameter], hints: dict[str, Any]
) -> Iterator[tuple[bool, str, str]]:
    shape = "a step takes one value, and `ctx: Context` if it needs it"
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    yield not 1 <= len(parameters) <= 2, f"it takes {len(parameters)} parameters", shape
    odd = [p for p in parameters if p.kind not in positional]
    yield bool(odd), f"`{odd[0] if odd else ''}` cannot be given by place", shape
    second = parameters[-1].name
    no_context = (
        len(parameters) == 2 and hints.get(second, Context if second == "ctx" else None) is not Context
    )
    yield no_context, f"its second parameter `{second}` is no `Context`", shape
    missing = [n for n in (parameters[0].name, "return") if n not in hints]
    yield (
        bool(missing),
        f"no type for {', '.join(f'`{n}`' for n in missing)}",
        "annotate what it takes and gives",
    )
    by_one = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    yield by_one, "it yields its values one by one", "return a list, which `each` can map over"


def _enclosing_names(function: Callable[..., Any]) -> dict[str, Any]:
    # A step defined inside a function (a test, a notebook cell) may name types that live only there.
    frame = inspect.currentframe()
    names: dict[str, Any] = {}
    while frame is not None:
        if frame.f_globals is function.__globals__ and frame.f_locals is not frame.f_globals:
            names = {**frame.f_locals, **names}

        frame = frame.f_back

    return names


def _refused(function: Callable[..., Any], place: Place, what: str, hint: str) -> DefinitionError:
    where = f"step `{function.__name__}` ({place})"
    return DefinitionError(function.__name__, [Problem(code="AF120", what=what, where=where, hint=hint)])


def _reads(function: Callable[..., Any]) -> dict[str, Step[Any, Any] | None]:
    found: dict[str, Step[Any, Any] | None] = {}
    for name, target in reads_of(function, list(inspect.signature(function).parameters)[1]):
        known = target if isinstance(target, Step) else None
        found[known.name if known else name] = known

    return found


class _Decorator(Protocol):
    """What `@step(...)` with options gives: a decorator for the four shapes that a function may have."""

    @overload
    def __call__(self, function: Callable[[A], Awaitable[B]], /) -> FunctionStep[A, B]: ...

    @overload
    def __call__(self, function: Callable[[A, Context], Awaitable[B]], /) -> FunctionStep[A, B]: ...

    @overload
    def __call__(self, function: Callable[[A], B], /) -> FunctionStep[A, B]: ...

    @overload
    def __call__(self, function: Callable[[A, Context], B], /) -> FunctionStep[A, B]: ...

    def __call__(self, function: Any, /) -> Any: ...


# An async function also is a function that gives a coroutine; the first overload that fits wins, which is the async one.
@overload
def step(function: Callable[[A], Awaitable[B]], /) -> FunctionStep[A, B]: ...


@overload
def step(function: Callable[[A, Context], Awaitable[B]], /) -> FunctionStep[A, B]: ...


@overload
def step(function: Callable[[A], B], /) -> FunctionStep[A, B]: ...


@overload
def step(function: Callable[[A, Context], B], /) -> FunctionStep[A, B]: ...


@overload
def step(
    *, timeout: float | None = None, retries: Retries = 0, budget: Budget | None = None
) -> _Decorator: ...


def step(
    function: Any = None,
    /,
    *,
    timeout: float | None = None,
    retries: Retries = 0,
    budget: Budget | None = None,
) -> Any:
    """Make a typed function a step of a workflow; a plain one (not `async`) runs in a thread.

    The function takes one value and, where it wants to know of its run, `ctx: Context`.
    `timeout` is in seconds for one attempt; `retries` is how often it is tried again, or a `Retry`.
    """

    def make(function: Callable[..., Any]) -> FunctionStep[Any, Any]:
        return FunctionStep(function, timeout=timeout, retry=retry_policy(retries), budget=budget)

    return make(function) if function is not None else make


def retry_policy(retries: Retries) -> Retry | None:
    """The policy that `retries` stands for; None where nothing is tried again."""
    if isinstance(retries, Retry):
        return retries

    return Retry(times=retries) if retries else None
