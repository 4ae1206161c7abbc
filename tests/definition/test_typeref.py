"""Types as text and back, and what may be given where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NewType,
    Optional,
    Protocol,
    SupportsInt,
    TypedDict,
    TypeVar,
    Union,
)

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType

from agentflow import Rejected
from agentflow.exceptions import ProjectError
from agentflow.typeref import assignable, cases, is_instance, item_type, resolve_type, short_name, type_name
from tests.definition.sound import Again, Big, Euro, Numbered, Point, Row
from tests.definition.stock import Note, Notes, Revision
from tests.naming import named

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


class Longer(TypedDict):
    """A row with more in it."""

    number: int
    name: str


class Loose(TypedDict, total=False):
    """A row that may lack its number."""

    number: int


class Model(BaseModel):
    """A pydantic model."""

    text: str


class NoteList(list[Note]):
    """A list with a name."""


class Box(Generic[T]):
    """Something with one thing in it."""


class Numbers(Box[int]):
    """A box of numbers."""


class Pair(Generic[A, B]):
    """Two things."""


class Named(Pair[str, B]):
    """A name and a thing."""


class Page(BaseModel, Generic[T]):
    """A generic model."""

    items: list[T]


Alias = TypeAliasType("Alias", Note | Notes)
NAMES: list[tuple[Any, str]] = [
    (int, "int"),
    (None, "None"),
    (type(None), "None"),
    (Any, "Any"),
    (T, "Any"),
    (Note, "tests.definition.stock:Note"),
    (list[Note], "list[tests.definition.stock:Note]"),
    (dict[str, list[int]], "dict[str, list[int]]"),
    (tuple[int, ...], "tuple[int, ...]"),
    (tuple[int, Note], "tuple[int, tests.definition.stock:Note]"),
    (Note | None, "tests.definition.stock:Note | None"),
    (Optional[int], "int | None"),  # noqa: UP045 - the older spellings are types as well
    (Union[int, str], "int | str"),  # noqa: UP007
    (Sequence[int], "collections.abc:Sequence[int]"),
    (Literal["a", "b c", "d]", 3, True], "Literal['a', 'b c', 'd]', 3, True]"),
    (Annotated[int, "words"], "int"),
    (Annotated[list[int], {"un": "hashable"}], "list[int]"),
    (Annotated[str, Field(min_length=1)], "str"),
    (list[Annotated[int, {"un": "hashable"}]], "list[int]"),
    (Euro, "tests.definition.sound:Euro"),
    (Row, "tests.definition.sound:Row"),
    (Numbered, "tests.definition.sound:Numbered"),
    (Rejected, "agentflow.steps.approval:Rejected"),
]


@pytest.mark.parametrize(("type_", "name"), NAMES, ids=lambda v: v if isinstance(v, str) else "")
def test_a_type_is_a_text_and_back(type_: Any, name: str) -> None:
    """Each type has one text, and the text names the type again."""
    assert type_name(type_) == name
    assert type_name(resolve_type(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "Nope",
        "no.where:X",
        "tests.definition.stock:Nope",
        "list[",
        "list[]]",
        "",
        "int str",
        "Literal[x]",
        "1",
        ".x:Y",
    ],
)
def test_a_text_that_names_no_type_is_refused(text: str) -> None:
    """What names no type is a `ProjectError` that says how to write one."""
    with pytest.raises(ProjectError, match="cannot be found") as refused:
        resolve_type(text)

    assert "module:Class" in refused.value.hint


def test_short_names_are_for_people() -> None:
    """Modules are left out, also inside; quoted text stays."""
    assert short_name("list[a.b:C] | Literal['x:y', 2] | None") == "list[C] | Literal['x:y', 2] | None"


def test_cases_of_unions() -> None:
    """A union is its members, flat, also behind an alias or `Annotated`; anything else is itself."""
    assert cases(int | (str | None)) == (int, str, type(None))
    assert cases(Alias) == (Note, Notes)
    assert cases(Annotated[int | str, "words"]) == (int, str)
    assert cases(list[int]) == (list[int],)


FITS: list[tuple[Any, Any]] = [
    (int, int),
    (bool, int),
    (int, float),
    (bool, float),
    (int, Any),
    (Any, int),
    (int, object),
    (int, T),
    (Revision, Notes),
    (Notes, Notes | None),
    (Alias, Note | Notes | None),
    (Note, Alias),
    (list[int], list[float]),
    (list[int], Sequence[int]),
    (list[int], list[Any]),
    (list[int], list),
    (list, list[int]),
    (NoteList, list[Note]),
    (tuple[int, str], tuple[int, str]),
    (tuple[int, int], tuple[float, ...]),
    (tuple[int, ...], Sequence[int]),
    (tuple[int, ...], tuple[int, ...]),
    (tuple[int, str], Sequence[int | str]),
    (Point, tuple),
    (dict[str, int], Mapping[str, float]),
    (dict[str, int], Iterable[str]),
    (Literal["a"], Literal["a", "b"]),
    (Literal["a"], str),
    (Literal[1, 2], int),
    (Euro, int),
    (int, Euro),
    (list[Euro], list[int]),
    (Row, Row),
    (Longer, Row),
    (Row, dict),
    (Row, Mapping[str, Any]),
    (Again, Numbered),
    (int, SupportsInt),
    (Annotated[int, {"un": "hashable"}], int),
    (None, type(None)),
    (Model, BaseModel),
]


@pytest.mark.parametrize(("source", "target"), FITS, ids=str)
def test_what_fits(source: Any, target: Any) -> None:
    """Each value of the first type may be given where the second is taken."""
    assert assignable(source, target)


MISFITS: list[tuple[Any, Any]] = [
    (int, str),
    (float, int),
    (Notes, Revision),
    (int | None, int),
    (Notes | Note, Notes),
    (list[int], list[str]),
    (list[int], tuple[int, ...]),
    (Sequence[int], list[int]),
    (tuple[int, str], tuple[int, int]),
    (tuple[int, int], tuple[int, int, int]),
    (tuple[int, ...], tuple[int, int]),
    (tuple[int, str], Sequence[int]),
    (dict[str, int], Mapping[str, str]),
    (dict[str, int], Iterable[int]),
    (Literal["a", "c"], Literal["a", "b"]),
    (Literal[1], str),
    (str, Literal["a"]),
    (Row, Longer),
    (Row, int),
    (dict, Row),
    (Loose, Row),
    (None, int),
    (object, int),
]


@pytest.mark.parametrize(("source", "target"), MISFITS, ids=str)
def test_what_does_not_fit(source: Any, target: Any) -> None:
    """Some value of the first type is none of the second."""
    assert not assignable(source, target)


@pytest.mark.parametrize(
    ("type_", "item"),
    [
        (list[int], int),
        (Sequence[Note], Note),
        (tuple[int, ...], int),
        (tuple[int, str], int | str),
        (set[int], int),
        (list, Any),
        (Any, Any),
        (NoteList, Note),
        (Point, int),
        (Annotated[list[int], "words"], int),
        (str, None),
        (bytes, None),
        (dict[str, int], None),
        (Row, None),
        (int, None),
        (None, None),
        (Numbered, None),
    ],
    ids=str,
)
def test_items_of_lists(type_: Any, item: Any) -> None:
    """A list-like type has items; text, mappings and single values have none."""
    assert item_type(type_) == item


IS: list[tuple[Any, Any, bool]] = [
    (1, int, True),
    (1, float, True),
    (1.0, int, False),
    ("a", int | str, True),
    (None, int | None, True),
    (None, None, True),
    ("a", Literal["a", "b"], True),
    ("c", Literal["a", "b"], False),
    (True, Literal[1], False),
    (Revision(), Notes, True),
    (Notes(), Revision, False),
    ([1], list[int], True),
    (["a"], list[int], False),
    ([], list[int], True),
    ((1, "a"), tuple[int, str], True),
    ((1, 2), tuple[int, str], False),
    ((1,), tuple[int, str], False),
    ((1, 2), tuple[int, ...], True),
    ({"a": 1}, dict[str, int], True),
    ({"a": "b"}, dict[str, int], False),
    ({1}, set[int], True),
    ({"number": 1}, Row, True),
    ({}, Row, False),
    ({"number": 1}, Longer, False),
    (3, Euro, True),
    (Again(number=1), Numbered, True),
    (1, SupportsInt, True),
    ([], SupportsInt, False),
    (object(), Any, True),
    (1, Annotated[int, "words"], True),
    (Note(text=""), Alias, True),
    (Big(number=1), Again, True),
]


@pytest.mark.parametrize(("value", "type_", "is_"), IS, ids=named)
def test_what_a_value_is(value: Any, type_: Any, is_: bool) -> None:
    """A value is of a case by its class and, in containers, by its items."""
    assert is_instance(value, type_) is is_


def test_a_protocol_takes_what_has_its_members() -> None:
    """A class that says its fields must have those of a protocol; what an ordinary class has is known at run time only."""

    class Named(Protocol):
        name: str

    class Loose:
        def __init__(self) -> None:
            self.name = "set here"

    assert is_instance(3, Named)
    assert assignable(Loose, Named)
    assert assignable(Named, Named)
    assert not assignable(int, Named)
    assert not assignable(Note, Named)


def test_generic_classes_are_compared_by_what_is_in_them() -> None:
    """What stands in the brackets is followed through base classes, in whatever order they name it."""
    assert assignable(Named[int], Pair[str, int])
    assert assignable(Named, Pair[str, int])
    assert assignable(Numbers, Box[int])
    assert assignable(Point, tuple[int, int])
    assert not assignable(Named[int], Pair[int, int])
    assert not assignable(Numbers, Box[str])
    assert not assignable(NoteList, list[str])
    assert not assignable(Box[int], Box[str])
    assert not assignable(Point, tuple[int, str])


def test_a_row_fits_by_the_types_under_its_keys() -> None:
    """Two typed dicts with the same keys are told apart by what is under them."""

    class Texts(TypedDict):
        number: str

    assert not assignable(Texts, Row)
    assert not assignable(Longer, Texts)


def test_a_type_variable_may_be_anything() -> None:
    """A step without a type of its own takes and gives anything, like one that says `Any`."""
    assert assignable(T, int)
    assert assignable(int, T)
    assert item_type(T) is Any


def test_a_type_is_named_in_its_own_order() -> None:
    """Unions that are equal but written in another order keep their own texts, whichever was named first."""
    assert [type_name(t) for t in (int | str, str | int, list[str | int], list[int | str])] == [
        "int | str",
        "str | int",
        "list[str | int]",
        "list[int | str]",
    ]


def test_a_generic_model_is_a_text_and_back() -> None:
    """A generic model of pydantic is named by its parts, so that each of them can be found again."""
    name = type_name(Page[Note])

    assert name == "tests.definition.test_typeref:Page[tests.definition.stock:Note]"
    assert resolve_type(name) is Page[Note]


def test_new_types_are_told_apart_by_name_only() -> None:
    """A `NewType` has a name of its own and behaves as what it is made of."""
    cent = NewType("cent", Euro)

    assert assignable(cent, int)
    assert is_instance(3, cent)
