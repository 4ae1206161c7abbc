"""Edges between all kinds of types: what may be given where is no problem, all else is AF107, also inside of shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentflow import Approval, DefinitionError, Rejected, Workflow, each, gather
from agentflow.path import Place, Step
from tests.definition.sound import Again
from tests.definition.test_typeref import FITS, MISFITS

Shape = Callable[[Any, Any], Workflow[Any, Any]]


def typed(name: str, takes: Any, gives: Any) -> Any:
    """A step of any types."""
    return Step(name, takes=takes, gives=gives, place=Place(__file__, 1))


def _edge(source: Any, target: Any) -> Workflow[Any, Any]:
    a, b = typed("a", int, source), typed("b", target, int)
    return Workflow("w", start=a, end=b, edges=[a >> b])


def _map(source: Any, target: Any) -> Workflow[Any, Any]:
    a, b, c = typed("a", int, list[source]), typed("b", target, int), typed("c", list[int], int)
    return Workflow("w", start=a, end=c, edges=[a >> each(b) >> c])


def _joined(source: Any, target: Any) -> Workflow[Any, Any]:
    a, b, c = typed("a", int, int), typed("b", int, source), typed("c", int, str)
    d = typed("d", tuple[target, str], int)
    return Workflow("w", start=a, end=d, edges=[a >> gather(b, c) >> d])


def _around(source: Any, target: Any) -> Workflow[Any, Any]:
    a, b = typed("a", int, source), typed("b", target, int)
    inner = Workflow("inner", start=b, end=b)
    return Workflow("w", start=a, end=inner, edges=[a >> inner])


def _refusable(source: Any, target: Any) -> Workflow[Any, Any]:
    a, b, no = typed("a", int, source), typed("b", target, int), typed("no", Rejected, int)
    sign: Any = Approval("sign", of=source)
    inner = Workflow(
        "inner",
        start=sign,
        end=b,
        edges=[sign >> b, sign.on(Rejected) >> no >> typed("back", int, target) >> b],
    )
    return Workflow("w", start=a, end=inner, edges=[a >> inner])


def _looped(source: Any, target: Any) -> Workflow[Any, Any]:
    """A loop in a loop, with the edge in question inside."""
    a, b = typed("a", int, source), typed("b", target, int | Again)
    c, again, last = typed("c", int, int | Again), typed("again", Again, int), typed("last", int, int)
    reopen = typed("reopen", Again, int)
    edges = [
        a >> b,
        b.on(Again, at_most=2) >> again >> a,
        b.on(int) >> c,
        c.on(Again, at_most=2) >> reopen >> a,
        c.on(int) >> last,
    ]
    return Workflow("w", start=a, end=last, edges=edges)


SHAPES = [_edge, _map, _joined, _around, _refusable, _looped]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("source", "target"), FITS, ids=str)
def test_what_fits_is_no_problem(shape: Shape, source: Any, target: Any) -> None:
    """No false alarm for types that fit, wherever the edge is."""
    assert shape(source, target).problems == ()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("source", "target"), MISFITS, ids=str)
def test_what_does_not_fit_is_one_problem(shape: Shape, source: Any, target: Any) -> None:
    """A type that does not fit is one problem, on its edge."""
    with pytest.raises(DefinitionError) as refused:
        shape(source, target)

    assert [p.code for p in refused.value.problems] == ["AF107"]
    assert refused.value.problems[0].where.startswith("edge `")
