"""Tools: typed functions that a planner or an agent may call, with labels that say what they touch."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from agentflow.context import operation
from agentflow.evidence import Evidence, Trust
from agentflow.exceptions import ToolArgumentsInvalid, ToolTimeout

if TYPE_CHECKING:
    from pydantic import BaseModel

P = ParamSpec("P")
R = TypeVar("R")
Effect = Literal["none", "read", "write"]


@dataclass(frozen=True, kw_only=True)
class Tool(Generic[P, R]):
    """A function with a schema and labels. Calling it calls the function, as in a unit test.

    `effect`: `none` computes only, `read` looks at the world, `write` changes it. `idempotent` writes may be
    repeated after a crash. `returns`: may its results be trusted. `private`: reads data that must not leave.
    `outside`: reaches beyond this machine. `timeout` is in seconds.
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
    origin: str = ""

    @overload
    async def __call__(self: Tool[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
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
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        for value in schema.get("properties", {}).values():
            value.pop("title", None)

        return schema

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """`arguments` as the types that the function takes; raises `ToolArgumentsInvalid` naming each fault."""
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

    async def invoke(self, arguments: Mapping[str, Any]) -> R:
        """Validate `arguments`, then call the function within the tool's time limit."""
        valid = self.validate(arguments)
        call = cast("Callable[..., Awaitable[R]]", self)
        try:
            async with asyncio.timeout(self.timeout):
                return await call(**valid)
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
    """Invoke a tool as a recorded operation; evidence it returns is stamped with the tool and the time."""
    async with operation(
        "tool", tool.name, request=dict(arguments), call_id=call_id, effect=tool.effect, returns=tool.returns
    ) as record:
        result = _stamped(tool, await tool.invoke(arguments))
        record.result = result

    return result


def _stamped(tool: Tool[..., Any], result: Any) -> Any:
    if not isinstance(result, list) or not any(isinstance(item, Evidence) for item in result):
        return result

    at = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        replace(item, tool=tool.name, at=item.at or at, trust=tool.returns)
        if isinstance(item, Evidence)
        else item
        for item in result
    ]
