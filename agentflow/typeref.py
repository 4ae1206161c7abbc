"""Types as text and back, and whether a value of one type may be given where another is taken."""

from __future__ import annotations

import ast
import builtins
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, Flag
from functools import lru_cache
from importlib import import_module
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from agentflow.exceptions import ProjectError

_SEQUENCES = (list, tuple, Sequence, Iterable)
# What has items and is no list of them: text and mappings, and what can be gone through only once.
_NO_LISTS = (str, bytes, bytearray, Mapping, Iterator)
# Whole numbers may be given for real ones, and real ones for complex ones (PEP 484, "The numeric tower").
_PROMOTED: dict[type, tuple[type, ...]] = {float: (int,), complex: (int, float)}
_TOKEN = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[\[\]|,]|\s+|[^\s\[\]|,'"]+""")
_NONE: Any = type(None)
S = TypeVar("S")


def _kept(function: Callable[..., S]) -> Callable[..., S]:
    """A cache that lets unhashable types pass by it, such as `Annotated` with a dict."""
    remembered = lru_cache(maxsize=65536)(function)

    def call(*arguments: Any) -> S:
        try:
            hash(arguments)
        except TypeError:
            return function(*arguments)

        return remembered(*arguments)

    return call


def cases(type_: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself alone."""
    if type(type_) is type:
        return (type_,)

    type_ = plain(type_)
    if hasattr(type_, "__value__"):  # an alias: `type Name = A | B`
        return cases(type_.__value__)

    if get_origin(type_) in (Union, types.UnionType):
        return tuple(case for member in get_args(type_) for case in cases(member))

    return (type_,)


def values(type_: Any) -> tuple[Any, ...]:
    """The members of a union, each value of a `Literal`, an enum or `bool` for itself, as far as there are only some."""
    return tuple(single for member in cases(type_) for single in _singles(member))


def _singles(type_: Any) -> tuple[Any, ...]:
    if get_origin(type_) is Literal:
        return tuple(Literal[value] for value in get_args(type_))

    if type_ is bool:
        return Literal[True], Literal[False]

    if isinstance(type_, type) and issubclass(type_, Enum) and not issubclass(type_, Flag) and len(type_):
        return tuple(Literal[member] for member in type_)

    return (type_,)


def plain(type_: Any) -> Any:
    """`type_` without `Annotated`, and with None spelled as its type."""
    if type_ is None:
        return type(None)

    return plain(get_args(type_)[0]) if get_origin(type_) is Annotated else type_


def _concrete(type_: Any) -> Any:
    """`type_` as it is at run time: without `Annotated`, aliases and `NewType`; a type variable may be anything."""
    type_ = plain(type_)
    if isinstance(type_, TypeVar):
        return Any

    inner = getattr(type_, "__value__", None) or getattr(type_, "__supertype__", None)
    return type_ if inner is None else _concrete(inner)


def _is_typed_dict(type_: Any) -> bool:
    # Asked by its marks, as those of typing and of typing_extensions do not know each other.
    return isinstance(type_, type) and hasattr(type_, "__required_keys__") and hasattr(type_, "__total__")


def class_of(type_: Any) -> type | None:
    """The class that values of `type_` have; None where anything may come (Any, a protocol, a type variable)."""
    if type(type_) is type:
        return type_

    type_ = _concrete(type_)
    if _is_typed_dict(type_):
        return dict

    found: Any = get_origin(type_) or type_
    if not isinstance(found, type) or found is Any or getattr(found, "_is_protocol", False):
        return None

    return found


def type_name(type_: Any) -> str:
    """The text for `type_`: `str`, `module:Class`, `list[module:Class]`, `A | B`."""
    # Not kept: unions are equal in any order, and the text has to be the one of this order, in every process.
    if type(type_) is type and type_ is not _NONE:
        module = type_.__module__
        return type_.__qualname__ if module == "builtins" else f"{module}:{type_.__qualname__}"

    if type(type_) is types.GenericAlias:
        return _with_arguments(type_.__origin__, type_.__args__)

    type_ = plain(type_)
    if type_ is Any or isinstance(type_, TypeVar):
        return "Any"

    if type_ is _NONE:
        return "None"

    origin, inside = _generic(type_)
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(case) for case in cases(type_))

    if origin is Literal:
        return f"Literal[{', '.join(map(repr, inside))}]"

    return _class_name(type_) if origin is None else _with_arguments(origin, inside)


def _with_arguments(origin: Any, inside: tuple[Any, ...]) -> str:
    inner = ["..." if a is Ellipsis else type_name(a) for a in inside]
    return f"{_class_name(origin)}[{', '.join(inner)}]"


def _generic(type_: Any) -> tuple[Any, tuple[Any, ...]]:
    """What a type is made of: its origin and what stands in its brackets, also for a model of pydantic."""
    made: Any = getattr(type_, "__pydantic_generic_metadata__", None) or {}
    if made.get("args"):
        return made["origin"], made["args"]

    return get_origin(type_), get_args(type_)


def _class_name(type_: Any) -> str:
    module = getattr(type_, "__module__", "builtins")
    name = getattr(type_, "__qualname__", None) or str(type_)
    return name if module == "builtins" else f"{module}:{name}"


def short_name(text: str) -> str:
    """A type's text without modules, for people: `list[Note]`."""
    return "".join(part if part[0] in "'\"" else part.rpartition(":")[2] for part in _TOKEN.findall(text))


def resolve_type(text: str) -> Any:
    """The type that `text` names; imports the module it stands in."""
    tokens = [word for word in _TOKEN.findall(text) if not word.isspace()]
    try:
        found = _parse(tokens)
        if tokens:
            raise TypeError(f"`{tokens[0]}` is too much")

        return found
    except (ImportError, AttributeError, IndexError, TypeError, ValueError, SyntaxError) as error:
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
            inner.append(ast.literal_eval(tokens.pop(0)))
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


@_kept
def assignable(source: Any, target: Any) -> bool:
    """Whether every value of type `source` may be given where `target` is taken; Any fits both ways."""
    source, target = _concrete(source), _concrete(target)
    if source is Any or target in (Any, object) or source == target:
        return True

    if len(members := cases(source)) > 1:
        return all(assignable(member, target) for member in members)

    wanted = cases(target)
    if any(get_origin(member) is Literal for member in wanted) and len(members := values(source)) > 1:
        return all(assignable(member, target) for member in members)

    if len(wanted) > 1:
        return any(assignable(source, member) for member in wanted)

    return _generic_fits(source, target)


def _generic_fits(source: Any, target: Any) -> bool:
    if get_origin(source) is Literal:
        return _literal_fits(source, target)

    if _is_typed_dict(target):
        return _is_typed_dict(source) and _keys_fit(source, target)

    source_class, target_class = class_of(source), class_of(target)
    if get_origin(target) is Literal or source_class is None:
        return False

    if target_class is None:
        return _members_fit(source_class, get_origin(target) or target)

    if issubclass(source_class, _PROMOTED.get(target_class, ())):
        return True

    return issubclass(source_class, target_class) and _arguments_fit(source, target, target_class)


def _keys_fit(source: Any, target: Any) -> bool:
    given, wanted = get_type_hints(source), get_type_hints(target)
    return target.__required_keys__ <= source.__required_keys__ and all(
        assignable(given[key], wanted[key]) for key in wanted.keys() & given.keys()
    )


def _members_fit(source: type, protocol: Any) -> bool:
    """Whether a class has the names that a protocol asks for; what they are is left to the type checkers."""
    if not isinstance(protocol, type):
        return False

    if source.__module__ != "builtins" and not _says_its_fields(source):
        return True  # an ordinary class may set anything in its `__init__`

    # Only Python 3.13 has it in `typing`; pydantic brings this one along.
    from typing_extensions import get_protocol_members

    said = {name for class_ in source.__mro__ for name in getattr(class_, "__annotations__", ())}
    return all(name in said or hasattr(source, name) for name in get_protocol_members(protocol))


def _says_its_fields(class_: type) -> bool:
    marks = ("__dataclass_fields__", "model_fields", "_fields")
    return any(hasattr(class_, mark) for mark in marks)


def _literal_fits(source: Any, target: Any) -> bool:
    if get_origin(target) is Literal:
        return set(get_args(source)) <= set(get_args(target))

    kinds: list[Any] = [type(value) for value in get_args(source)]
    return all(assignable(kind, target) for kind in kinds)


def _arguments_fit(source: Any, target: Any, target_class: type) -> bool:
    given, wanted = arguments_as(source, target_class), get_args(target)
    if not given or not wanted:
        return True

    if issubclass(class_of(source) or object, tuple):
        return _tuple_fits(given, target, wanted)

    return len(given) == len(wanted) and all(assignable(a, b) for a, b in zip(given, wanted, strict=True))


def arguments_as(type_: Any, class_: type) -> tuple[Any, ...]:
    """What stands in the brackets of `class_` where a `type_` is seen as one; empty where nothing is known of it."""
    own, given = class_of(type_), get_args(type_)
    if _is_typed_dict(_concrete(type_)):
        own, given = dict, (str, Union[tuple(get_type_hints(type_).values()) or (Any,)])  # noqa: UP007 - built at run time

    if own is None or own is class_ or own.__module__ in ("builtins", "collections.abc"):
        # What a mapping gives one by one are its keys.
        keys = own is not None and issubclass(own, Mapping) and not issubclass(class_, Mapping)
        return given[:1] if keys else given

    if issubclass(own, tuple) and hasattr(own, "_fields"):
        return tuple(get_type_hints(own).values())

    known = dict(zip(getattr(own, "__parameters__", ()), given, strict=False))
    for base in own.__dict__.get("__orig_bases__", own.__bases__):
        parent = class_of(base)
        if parent is not None and parent is not Generic and issubclass(parent, class_):
            open_ = getattr(base, "__parameters__", ()) if get_args(base) else ()
            return arguments_as(base[tuple(known.get(p, Any) for p in open_)] if open_ else base, class_)

    return ()


def _tuple_fits(given: tuple[Any, ...], target: Any, wanted: tuple[Any, ...]) -> bool:
    any_length = get_origin(target) is not tuple or wanted[-1] is Ellipsis
    if not any_length and given[-1] is Ellipsis:
        return False

    members = [member for member in given if member is not Ellipsis]
    wanted = wanted[:1] * len(members) if any_length else wanted
    return len(members) == len(wanted) and all(assignable(a, b) for a, b in zip(members, wanted, strict=True))


def is_exact(type_: Any) -> bool:
    """Whether the type says all of what a value is: no part of it is Any, a type variable or a protocol."""
    if len(members := cases(type_)) > 1:
        return all(map(is_exact, members))

    inside = [a for a in get_args(_concrete(type_)) if a is not Ellipsis]
    literal = get_origin(type_) is Literal
    return literal or (class_of(type_) not in (None, object) and all(map(is_exact, inside)))


def item_type(type_: Any) -> Any | None:
    """The type of the items of a list-like type; None where it is not list-like."""
    type_ = _concrete(type_)
    if type_ is Any:
        return Any

    if len(parts := cases(type_)) > 1:
        items = [item_type(part) for part in parts]
        return None if None in items else Union[tuple(items)]  # noqa: UP007 - built at run time from parts

    origin = class_of(type_)
    if origin is None or issubclass(origin, _NO_LISTS) or not issubclass(origin, _SEQUENCES):
        return None

    members = [a for a in arguments_as(type_, Iterable) if a is not Ellipsis]
    return Union[tuple(members)] if members else Any  # noqa: UP007 - built at run time from parts


def is_instance(value: Any, type_: Any) -> bool:
    """Whether `value` is of the case `type_`; items of containers count, fields of objects do not."""
    type_ = _concrete(type_)
    if get_origin(type_) is Literal:
        return any(value == known and type(value) is type(known) for known in get_args(type_))

    if len(members := cases(type_)) > 1:
        return any(is_instance(value, member) for member in members)

    class_ = class_of(type_)
    if class_ is None:
        found = get_origin(type_) or type_
        return isinstance(value, found) if getattr(found, "_is_runtime_protocol", False) else True

    if class_ is float and isinstance(value, int):
        return True

    return isinstance(value, class_) and _inside_fits(value, type_)


def _inside_fits(value: Any, type_: Any) -> bool:
    if _is_typed_dict(type_):
        return bool(type_.__required_keys__ <= value.keys())

    wanted = get_args(type_)
    if not wanted:
        return True

    if isinstance(value, Mapping):
        items = value.items()
        return len(wanted) != 2 or all(
            is_instance(k, wanted[0]) and is_instance(v, wanted[1]) for k, v in items
        )

    if isinstance(value, tuple) and get_origin(type_) is tuple and wanted[-1] is not Ellipsis:
        return len(value) == len(wanted) and all(map(is_instance, value, wanted))

    if not isinstance(value, list | tuple | set | frozenset):
        return True

    return all(is_instance(item, wanted[0]) for item in value)
