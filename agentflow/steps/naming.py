"""What the code of a function names: values by name, and among them the tools that it may call."""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

from agentflow.tools import Tool


def named_tools(function: Any) -> list[Tool[..., Any]]:
    """The tools that a function may call, as far as names tell: itself, by a module, by functions of the same package that it
    names, and by tools that it calls.
    """
    found = {id(tool): tool for tool in _tools(inspect.unwrap(function), set())}
    return list(found.values())


def tools_in(value: Any) -> list[Tool[..., Any]]:
    """The tools that a value of a module is or holds: a tool, or a list or mapping of them."""
    if isinstance(value, Mapping):
        value = list(cast("Mapping[object, object]", value).values())

    held: list[Any] = list(cast("list[Any]", value)) if isinstance(value, list | tuple) else [value]
    return [item for item in held if isinstance(item, Tool)]


def names_module(function: Any, module: str) -> bool:
    """Whether the code of a function names something of a module."""
    plain = inspect.unwrap(function)
    scope = names_of(plain)
    return any(getattr(scope.get(name), "__module__", "") == module for name in _names(plain.__code__))


def _tools(function: Any, seen: set[Any]) -> Iterator[Tool[..., Any]]:
    if getattr(function, "__code__", None) is None or function.__code__ in seen:
        return

    seen.add(function.__code__)
    scope, names = names_of(function), list(_names(function.__code__))
    for thing in [scope.get(name) for name in names]:
        if isinstance(thing, Tool):
            yield from _with_inner(thing, seen)
        elif isinstance(thing, ModuleType):
            for tool in map(vars(thing).get, names):
                if isinstance(tool, Tool):
                    yield from _with_inner(tool, seen)
        elif isinstance(thing, FunctionType) and is_near(thing, function):
            yield from _tools(thing, seen)


def _with_inner(tool: Tool[..., Any], seen: set[Any]) -> Iterator[Tool[..., Any]]:
    yield tool
    yield from _tools(inspect.unwrap(tool.function), seen)


def is_near(one: Any, other: Any) -> bool:
    """Whether two functions are of the same package."""
    return str(one.__module__).partition(".")[0] == str(other.__module__).partition(".")[0]


def _names(code: CodeType) -> Iterator[str]:
    yield from (*code.co_names, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def names_of(function: Any) -> Mapping[str, Any]:
    """What the names in the code of a function stand for."""
    inner: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        # A cell is empty where the name is only defined later.
        with suppress(ValueError):
            inner[name] = cell.cell_contents

    # Not copied, as a module can be large.
    names: Mapping[str, Any] = function.__globals__
    return ChainMap(inner, function.__globals__) if inner else names
