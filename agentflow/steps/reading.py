"""Which steps' outputs the code of a function asks its context for: by its source, and that of functions it hands it to."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

from agentflow.steps.naming import is_near, names_of


def reads_of(function: Any, context: str) -> Iterator[tuple[str, Any]]:
    """What stands in `context.output(...)`, as text and as what it is; None where only a run knows."""
    yield from _reads(inspect.unwrap(function), context, set())


@lru_cache(maxsize=4096)
def tree_of(function: Any) -> ast.Module | None:
    """The source of a function, parsed; None where there is none."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):
        return None


def _reads(function: Any, context: str, seen: set[tuple[Any, str]]) -> Iterator[tuple[str, Any]]:
    tree = tree_of(function)
    if tree is None or (function, context) in seen:
        return

    seen.add((function, context))
    scope, owners = names_of(function), _owners(tree, context)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr="output")) if owner in owners:
                for asked in _asked(node):
                    yield ast.unparse(asked), _named(asked, scope)
            case ast.Call(func=called):
                helper = _named(called, scope)
                if isinstance(helper, FunctionType) and is_near(helper, function):
                    for name in _handed(node, helper, owners):
                        yield from _reads(helper, name, seen)
            case _:
                pass


def _owners(tree: ast.AST, context: str) -> set[str]:
    """The names under which the context is known in a function: its own, and those that it is given as well."""
    owners = {context}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=value)) if value in owners:
                owners.add(name)
            case _:
                pass

    return owners


def _asked(call: ast.Call) -> list[ast.expr]:
    """The step that is asked for, where it is a name: `one`, `steps.one`."""
    given = [*call.args[:1], *(word.value for word in call.keywords if word.arg == "step")]
    return [node for node in given if isinstance(node, ast.Name | ast.Attribute)]


def _named(node: ast.expr, scope: Mapping[str, Any]) -> Any:
    """What a name, or a name in a module, stands for; None where that is not known beforehand."""
    match node:
        case ast.Name(id=name):
            return scope.get(name)
        case ast.Attribute(value=inner, attr=name):
            holder = _named(inner, scope)
            return vars(holder).get(name) if isinstance(holder, ModuleType) else None
        case _:
            return None


def _handed(call: ast.Call, helper: FunctionType, owners: set[str]) -> Iterator[str]:
    """The parameters of a helper that get the context."""
    names = list(inspect.signature(helper).parameters)
    given = [*zip(names, call.args, strict=False), *((word.arg or "", word.value) for word in call.keywords)]
    for name, value in given:
        if isinstance(value, ast.Name) and value.id in owners and name in names:
            yield name
