"""Which steps' outputs the code of a function asks its context for: by its source, and that of functions it hands it to."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from agentflow.steps.naming import is_near, names_of


def reads_of(function: Any, context: str) -> Iterator[tuple[str, Any]]:
    """What stands in `context.output(...)`, as text and as what it is; None where only a run knows."""
    yield from _reads(inspect.unwrap(function), context, set())


@lru_cache(maxsize=512)
def tree_of(function: Any) -> ast.Module | None:
    """The source of a function, parsed; None where there is none."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):
        return None


class _Call(NamedTuple):
    """A call in which the context plays a part: `name` is what it asks for, or what it hands the context to.

    `said` is what stands in `context.output(...)`. `places` and `words` are the arguments of a helper that are the context.
    """

    name: str
    said: str = ""
    places: tuple[int, ...] = ()
    words: tuple[str, ...] = ()


def _reads(function: Any, context: str, seen: set[tuple[Any, str]]) -> Iterator[tuple[str, Any]]:
    if (function, context) in seen:
        return

    seen.add((function, context))
    scope = names_of(function)
    for call in _calls(function, context):
        found = _named(call.name, scope)
        if call.said:
            yield call.said, found
        elif isinstance(found, FunctionType) and is_near(found, function):
            for name in _handed(call, found):
                yield from _reads(found, name, seen)


# Kept, as a definition is asked for its reads several times: by the source alone, for what names stand for can change.
@lru_cache(maxsize=16384)
def _calls(function: Any, context: str) -> tuple[_Call, ...]:
    tree = tree_of(function)
    return () if tree is None else tuple(_calls_in(tree, _owners(tree, context)))


def _calls_in(tree: ast.AST, owners: set[str]) -> Iterator[_Call]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr="output")) if owner in owners:
                yield from (_Call(_name(asked), said=ast.unparse(asked)) for asked in _asked(node))
            case ast.Call(func=called):
                places = tuple(n for n, value in enumerate(node.args) if _is_one(value, owners))
                words = tuple(word.arg or "" for word in node.keywords if _is_one(word.value, owners))
                if places or words:
                    yield _Call(_name(called), places=places, words=words)
            case _:
                pass


def _is_one(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


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


def _name(node: ast.expr) -> str:
    """A name, or a name in a module, as text: `one`, `steps.one`; empty for what is neither."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=name):
            holder = _name(inner)
            return f"{holder}.{name}" if holder else ""
        case _:
            return ""


def _named(name: str, scope: Mapping[str, Any]) -> Any:
    """What a name, or a name in a module, stands for; None where that is not known beforehand."""
    first, *parts = name.split(".")
    found = scope.get(first)
    for part in parts:
        found = vars(found).get(part) if isinstance(found, ModuleType) else None

    return found


def _handed(call: _Call, helper: FunctionType) -> Iterator[str]:
    """The parameters of a helper that get the context."""
    names = list(inspect.signature(helper).parameters)
    yield from (names[place] for place in call.places if place < len(names))
    yield from filter(names.__contains__, call.words)
