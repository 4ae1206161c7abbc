"""Steps as values and the typed paths between them: what `>>`, `.on`, `each` and `gather` build."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Coroutine, Sequence
from functools import lru_cache
from types import GenericAlias
from typing import Any, Generic, NamedTuple, Never, TypeVar, overload

from agentflow.exceptions import DefinitionError, Problem
from agentflow.places import NOWHERE, Places
from agentflow.places import Place as Place
from agentflow.spec import Budget, MapSpec, Retry, StepSpec
from agentflow.typeref import short_name, type_name

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
_LONGEST_NAME, _SHOWN = 1000, 80


def caller(depth: int) -> Place:
    """The place of the user's line, `depth` frames up."""
    frame = sys._getframe(depth)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - inspect.stack costs a hundred times as much
    return _place(frame.f_code.co_filename, frame.f_lineno)


# Large workflows are made in loops, all of whose edges stand in the same line.
_place = lru_cache(maxsize=1024)(Place)


class Path(Generic[In_contra, Out_co]):
    """A stretch of a workflow that takes `In` at its entry and gives `Out` at its exit."""

    def __rshift__(self, other: Path[Out_co, T]) -> Path[In_contra, T]:
        if not isinstance(other, Path):  # pyright: ignore[reportUnnecessaryIsInstance] - for those who run no checker
            raise _no_step(other)

        return Chain(self, other, caller(2))

    def entries(self) -> Sequence[Step[Any, Any]]:
        """The steps that receive what the path takes."""
        raise NotImplementedError

    def exit(self) -> Exit:
        """The step that gives what the path gives, and for which case."""
        raise NotImplementedError


def _no_step(thing: object) -> DefinitionError:
    name = getattr(thing, "__name__", None) or repr(thing)
    place = caller(3)
    problem = Problem(
        code="AF122",
        what=f"`>> {name}` leads to a `{type(thing).__name__}`, which is no step",
        where=str(place),
        hint="make it one with `@step`",
    )
    return DefinitionError(str(name), [problem])


class Exit(NamedTuple):
    """The end of a path: a step, the case of its output, and how often the next edge may be followed."""

    step: Step[Any, Any]
    on: Any = None
    at_most: int | None = None

    @property
    def gives(self) -> Any:
        """The type of what comes out."""
        return self.step.gives if self.on is None else self.on

    @property
    def name(self) -> str:
        """The step, with the case."""
        case = f".on({short_name(type_name(self.on))})" if self.on is not None else ""
        return f"{self.step.name}{case}"

    def __str__(self) -> str:
        return self.name


class Step(Path[In_contra, Out_co]):
    """One step of a workflow: a name, what it takes and gives, and its limits."""

    kind: Any = "function"

    def __init__(
        self,
        name: str,
        *,
        takes: Any,
        gives: Any,
        timeout: float | None = None,
        retry: Retry | None = None,
        budget: Budget | None = None,
        place: Place | None = None,
    ) -> None:
        self.name, self.takes, self.gives = name, takes, gives
        self.timeout, self.retry, self.budget = timeout, retry, budget
        self.place = place or NOWHERE
        # Where its parts stand, in a definition that is data.
        self.parts: Places | None = None

    def on(self, case: type[T], *, at_most: int | None = None) -> Path[In_contra, T]:
        """The path that only outputs of type `case` follow; `at_most` bounds how often, for a cycle."""
        # None is a type as well, and must not be taken for "whatever comes".
        return Case(self, type(None) if case is None else case, at_most)  # pyright: ignore[reportUnnecessaryComparison]

    def entries(self) -> Sequence[Step[Any, Any]]:
        return (self,)

    def exit(self) -> Exit:
        return Exit(self)

    def step_spec(self) -> StepSpec:
        """The step as data."""
        return StepSpec(
            id=self.name,
            kind=self.kind,
            takes=type_name(self.takes),
            gives=type_name(self.gives),
            timeout=self.timeout,
            retry=self.retry,
            budget=self.budget,
        )

    def execute(self, value: Any, ctx: Any) -> Coroutine[Any, Any, Any]:
        """Do the step's work; the engine calls this."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class Case(Path[In_contra, Out_co]):
    """A step's output where it is of one type."""

    def __init__(self, step: Step[Any, Any], case: Any, at_most: int | None) -> None:
        self.step, self.case, self.at_most = step, case, at_most

    def entries(self) -> Sequence[Step[Any, Any]]:
        return (self.step,)

    def exit(self) -> Exit:
        return Exit(self.step, self.case, self.at_most)


class Chain(Path[In_contra, Out_co]):
    """One path after another."""

    def __init__(self, first: Path[Any, Any], then: Path[Any, Any], place: Place) -> None:
        self.first, self.then, self.place = first, then, place

    def entries(self) -> Sequence[Step[Any, Any]]:
        path: Path[Any, Any] = self
        while isinstance(path, Chain):
            path = path.first

        return path.entries()

    def exit(self) -> Exit:
        path: Path[Any, Any] = self
        while isinstance(path, Chain):
            path = path.then

        return path.exit()


class Gather(Step[In_contra, Out_co]):
    """Parallel branches whose outputs are joined as a tuple, in the order written."""

    kind = "gather"

    def __init__(self, branches: Sequence[Path[Any, Any]], place: Place) -> None:
        self.branches = tuple(branches)
        exits = [branch if isinstance(branch, Step) else branch.exit() for branch in branches]
        gives, self._gives = _tuple_of(tuple([end.gives for end in exits]))
        name = _joined([end.name for end in exits])
        super().__init__(name, takes=Any, gives=gives, place=place)

    def entries(self) -> Sequence[Step[Any, Any]]:
        return tuple(step for branch in self.branches for step in branch.entries())

    def step_spec(self) -> StepSpec:
        return StepSpec(id=self.name, kind="gather", gives=self._gives)


def _tuple_of(types: tuple[Any, ...]) -> tuple[Any, str]:
    """The type of a tuple, and its text; kept for those of classes, as a workflow may have many."""
    # Only classes are the same where they are equal: unions are equal in any order, and keep theirs.
    return _of_classes(types) if set(map(type, types)) == {type} else _of_any(types)


def _of_any(types: tuple[Any, ...]) -> tuple[Any, str]:
    made = GenericAlias(tuple, types)
    return made, type_name(made)


_of_classes = lru_cache(maxsize=1024)(_of_any)


def _joined(names: Sequence[str]) -> str:
    """The name of a gather: that of its branches, or of their number, as each edge into it holds the name as well."""
    name = f"gather({', '.join(names)})"
    if len(name) <= _LONGEST_NAME:
        return name

    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[:_SHOWN]}... {len(names)} branches, {digest})"


class MapStep(Step[In_contra, Out_co]):
    """A step that runs once for each item of a list."""

    def __init__(self, body: Step[Any, Any], map_: MapSpec, name: str, place: Place) -> None:
        super().__init__(
            name,
            takes=GenericAlias(Sequence, (body.takes,)),
            gives=GenericAlias(list, (body.gives,)),
            place=place,
        )
        self.body, self.map = body, map_
        self.kind = body.kind

    def step_spec(self) -> StepSpec:
        inner = self.body.step_spec()
        return StepSpec(
            id=self.name,
            kind=inner.kind,
            takes=inner.takes,
            gives=inner.gives,
            call=inner.call,
            timeout=inner.timeout,
            retry=inner.retry,
            map=self.map,
            budget=inner.budget,
            reads=inner.reads,
            options=inner.options,
            workflow=inner.workflow,
        )

    async def execute(self, value: Any, ctx: Any) -> Any:
        return await self.body.execute(value, ctx)


def each(
    body: Step[A, B], *, parallel: int = 8, at_most: int = 100, name: str | None = None
) -> Step[Sequence[A], list[B]]:
    """Run `body` for each item of a list: at most `parallel` at once, and at most `at_most` items."""
    place = caller(2)
    _refuse_path(body, place)
    return MapStep(body, MapSpec(parallel=parallel, at_most=at_most), name or body.name, place)


def _refuse_path(body: Path[Any, Any], place: Place) -> None:
    if isinstance(body, Step) and not isinstance(body, MapStep | Gather):
        return

    name = str(body.exit())
    problem = Problem(
        code="AF108",
        what="only a step or a workflow can run for each item",
        where=f"`each({name})` ({place})",
        hint='make it a workflow first: `Workflow("items", start=..., end=..., edges=[...])`, then `each(items)`',
    )
    raise DefinitionError(name, [problem])


@overload
def gather(a: Path[T, A], b: Path[T, B], /) -> Path[T, tuple[A, B]]: ...


@overload
def gather(a: Path[T, A], b: Path[T, B], c: Path[T, C], /) -> Path[T, tuple[A, B, C]]: ...


@overload
def gather(a: Path[T, A], b: Path[T, B], c: Path[T, C], d: Path[T, D], /) -> Path[T, tuple[A, B, C, D]]: ...


@overload
def gather(
    a: Path[T, A], b: Path[T, B], c: Path[T, C], d: Path[T, D], e: Path[T, E], /
) -> Path[T, tuple[A, B, C, D, E]]: ...


# Branches that take different things can be joined, and nothing leads to all of them: their path takes `Never`.
# Pyright compares overloads with type variables as anything, and so takes these for the ones above.
@overload
def gather(a: Path[Any, A], b: Path[Any, B], /) -> Path[Never, tuple[A, B]]: ...  # pyright: ignore[reportOverlappingOverload]


@overload
def gather(a: Path[Any, A], b: Path[Any, B], c: Path[Any, C], /) -> Path[Never, tuple[A, B, C]]: ...  # pyright: ignore[reportOverlappingOverload]


@overload
def gather(  # pyright: ignore[reportOverlappingOverload]
    a: Path[Any, A], b: Path[Any, B], c: Path[Any, C], d: Path[Any, D], /
) -> Path[Never, tuple[A, B, C, D]]: ...


@overload
def gather(  # pyright: ignore[reportOverlappingOverload]
    a: Path[Any, A], b: Path[Any, B], c: Path[Any, C], d: Path[Any, D], e: Path[Any, E], /
) -> Path[Never, tuple[A, B, C, D, E]]: ...


@overload
def gather(
    a: Path[Any, Any],
    b: Path[Any, Any],
    c: Path[Any, Any],
    d: Path[Any, Any],
    e: Path[Any, Any],
    f: Path[Any, Any],
    /,
    *more: Path[Any, Any],
) -> Path[Any, tuple[Any, ...]]: ...


def gather(*branches: Path[Any, Any]) -> Path[Any, Any]:
    """Run branches in parallel on the same input; their outputs go on as one tuple, when all are there."""
    return Gather(branches, caller(2))
