"""What every run of a workflow needs that comes to its end."""

from __future__ import annotations

from typing import NamedTuple

from agentflow.bounds.amount import Amount, Bound, Number
from agentflow.bounds.calls import least_calls
from agentflow.bounds.duration import EXECUTED
from agentflow.bounds.lightest import lightest
from agentflow.bounds.nesting import nesting_of
from agentflow.bounds.net import net_of
from agentflow.spec import StepSpec, WorkflowSpec


def least(spec: WorkflowSpec) -> Bound:
    """The least that any run which ends well uses of each, whatever its way; maps may have no items."""
    is_working = spec.step(spec.start).kind in EXECUTED
    return _bound(
        _needs(spec), f"the lightest way from `{spec.start}` to `{spec.end}`", is_working=is_working
    )


def least_of(step: StepSpec) -> Bound:
    """The least that a visit of a step which ends well uses."""
    return _bound(_visit(step), f"each visit of `{step.id}`", is_working=step.kind in EXECUTED)


def _bound(needs: _Needs, why: str, *, is_working: bool) -> Bound:
    none = Amount(value=0, why="the embedded model uses none")
    return Bound(
        steps=Amount(value=needs.steps, why=why),
        model_calls=Amount(value=needs.model_calls, why=why),
        tool_calls=Amount(value=0, why="a model may ask for none"),
        parallel=Amount(value=int(is_working)),
        tokens=none,
        usd=none,
        seconds=Amount(value=needs.seconds, why=why),
    )


class _Needs(NamedTuple):
    steps: Number = 0
    model_calls: Number = 0
    seconds: Number = 0


def _needs(spec: WorkflowSpec) -> _Needs:
    net = net_of(spec)
    nesting = nesting_of(net)
    steps, calls, seconds = zip(*map(_visit, spec.steps), strict=True)
    return _Needs(
        lightest(net, nesting, steps),
        lightest(net, nesting, calls),
        lightest(net, nesting, seconds, together=False),
    )


def _visit(step: StepSpec) -> _Needs:
    if step.map is not None:
        return _Needs(steps=1)

    inner = _needs(step.workflow) if step.workflow is not None else _Needs()
    begun = 0 if step.kind == "gather" else 1
    seconds = step.options.get("seconds", 0) if step.kind == "wait" else 0
    waited = float(seconds) if isinstance(seconds, int | float) else 0.0  # what is no number is told as that
    return _Needs(inner.steps + begun, inner.model_calls + least_calls(step), inner.seconds + waited)
