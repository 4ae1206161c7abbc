"""Types as text and back, and whether a value of one type may be given where another is taken."""

from __future__ import annotations

import builtins
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from agentflow.exceptions import ProjectError

_SEQUENCES = (list, tuple, Sequence, Iterable)


def cases(type_: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself alone."""
    if get_origin(type_) in (Union, types.UnionType):
        return tuple(case for member in get_args(type_) for case in cases(member))

    return (type_,)


def plain(type_: Any) -> Any:
    """`type_` without `Annotated`, and with None spelled as its type."""
    if type_ is None:
        return type(None)

    return plain(get_args(type_)[0]) if get_origin(type_) is Annotated else type_


@lru_cache(maxsize=4096)
def type_name(type_: Any) -> str:
    """The text for `type_`: `str`, `module:Class`, `list[module:Class]`, `A | B`."""
    type_ = plain(type_)
    if type_ is Any or isinstance(type_, TypeVar):
        return "Any"

    if type_ is type(None):
        return "None"

    origin = get_origin(type_)
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(case) for case in cases(type_))

    if origin is Literal:
        return f"Literal[{', '.join(map(repr, get_args(type_)))}]"

    if origin is not None:
        inner = ", ".join("..." if a is Ellipsis else type_name(a) for a in get_args(type_))
        return f"{_class_name(origin)}[{inner}]"

    return _class_name(type_)


def _class_name(type_: Any) -> str:
    module = getattr(type_, "__module__", "builtins")
    name = getattr(type_, "__qualname__", str(type_))
    return name if module == "builtins" else f"{module}:{name}"


def short_name(text: str) -> str:
    """A type's text without modules, for people: `list[Note]`."""
    return "".join(part.rpartition(":")[2] for part in _tokens(text))


def _tokens(text: str) -> Iterator[str]:
    word = ""
    for char in text:
        if char in "[]|, ":
            if word:
                yield word

            word = ""
            yield char
        else:
            word += char

    if word:
        yield word


def resolve_type(text: str) -> Any:
    """The type that `text` names; imports the module it stands in."""
    try:
        return _parse([word for word in _tokens(text) if not word.isspace()])
    except (ImportError, AttributeError, IndexError, TypeError) as error:
        raise ProjectError(
            f"the type `{text}` cannot be found: {error}",
            hint="write it as `module:Class` or `list[module:Class]`",
        ) from None


def _parse(tokens: list[str]) -> Any:
    result = _parse_one(tokens)
    while tokens and tokens[0] == "|":
        tokens.pop(0)
        result = Union[result, _parse_one(tokens)]  # noqa: UP007 - built at run time from parts

    return result


def _parse_one(tokens: list[str]) -> Any:
    word = tokens.pop(0)
    base = _named(word)
    if not tokens or tokens[0] != "[":
        return base

    tokens.pop(0)
    inner: list[Any] = []
    while (head := str(tokens[0])) != "]":
        if head == ",":
            tokens.pop(0)
        elif word == "Literal":
            inner.append(tokens.pop(0).strip("'\""))
        else:
            inner.append(_parse(tokens))

    tokens.pop(0)
    return base[inner[0] if len(inner) == 1 else tuple(inner)]


def _named(word: str) -> Any:
    special = {"Any": Any, "None": type(None), "Literal": Literal, "...": Ellipsis}
    if word in special:
        return special[word]

    module, _, name = word.rpartition(":")
    target: Any = import_module(module) if module else builtins
    for part in name.split("."):
        target = getattr(target, part)

    return target


@lru_cache(maxsize=65536)
def assignable(source: Any, target: Any) -> bool:
    """Whether every value of type `source` may be given where `target` is taken; Any fits both ways."""
    source, target = plain(source), plain(target)
    if source == target or source is Any or target in (Any, object) or isinstance(target, TypeVar):
        return True

    if len(members := cases(source)) > 1:
        return all(assignable(member, target) for member in members)

    if len(members := cases(target)) > 1:
        return any(assignable(source, member) for member in members)

    return _generic_fits(source, target)


def _generic_fits(source: Any, target: Any) -> bool:
    source_class, target_class = get_origin(source) or source, get_origin(target) or target
    if source_class is Literal:
        return _literal_fits(source, target)

    if target_class is Literal or not (isinstance(source_class, type) and isinstance(target_class, type)):
        return False

    if target_class is float and source_class is int:
        return True

    return issubclass(source_class, target_class) and _arguments_fit(source, target, source_class)


def _literal_fits(source: Any, target: Any) -> bool:
    if get_origin(target) is Literal:
        return set(get_args(source)) <= set(get_args(target))

    kinds: list[Any] = [type(value) for value in get_args(source)]
    return all(assignable(kind, target) for kind in kinds)


def _arguments_fit(source: Any, target: Any, source_class: type) -> bool:
    given, wanted = get_args(source), get_args(target)
    if not given or not wanted:
        return True

    if source_class is tuple and get_origin(target) is not tuple:
        given = (Union[given],)  # noqa: UP007 - built at run time from parts
    elif source_class is tuple and wanted[-1] is Ellipsis:
        return all(assignable(member, wanted[0]) for member in given if member is not Ellipsis)

    return len(given) == len(wanted) and all(assignable(a, b) for a, b in zip(given, wanted, strict=True))


def item_type(type_: Any) -> Any | None:
    """The type of the items of a list-like type; None where it is not list-like."""
    type_ = plain(type_)
    origin = get_origin(type_) or type_
    if type_ is Any:
        return Any

    if not isinstance(origin, type) or issubclass(origin, (str, bytes, Mapping)):
        return None

    if not issubclass(origin, _SEQUENCES):
        return None

    members = [a for a in get_args(type_) if a is not Ellipsis]
    return Union[tuple(members)] if members else Any  # noqa: UP007 - built at run time from parts


def is_instance(value: Any, type_: Any) -> bool:
    """Whether `value` is of the case `type_`, by class (items of containers are not looked at)."""
    type_ = plain(type_)
    if type_ is Any:
        return True

    if get_origin(type_) is Literal:
        return value in get_args(type_)

    if len(members := cases(type_)) > 1:
        return any(is_instance(value, member) for member in members)

    return isinstance(value, get_origin(type_) or type_)
