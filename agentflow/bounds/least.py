"""What every run of a workflow needs that comes to its end."""

from __future__ import annotations

from collections.abc import Callable

from agentflow.bounds.amount import Amount, Bound, Number
from agentflow.bounds.calls import least_calls
from agentflow.bounds.lightest import lightest
from agentflow.bounds.nesting import nesting_of
from agentflow.bounds.net import net_of
from agentflow.spec import StepSpec, WorkflowSpec

Weigh = Callable[[StepSpec], Number]


def least(spec: WorkflowSpec) -> Bound:
    """The least that any run which ends well uses of each, whatever its way; maps may have no items."""
    why = f"the lightest way from `{spec.start}` to `{spec.end}`"
    none = Amount(value=0, why="the embedded model uses none")
    steps = _lightest(spec, lambda step: 0 if step.kind == "gather" else 1)
    works = any(step.kind not in ("gather", "approval", "wait") for step in spec.steps)
    return Bound(
        steps=Amount(value=steps, why=why),
        model_calls=Amount(value=_lightest(spec, least_calls), why=why),
        tool_calls=Amount(value=0, why="a model may ask for none"),
        parallel=Amount(value=1 if works and steps else 0),
        tokens=none,
        usd=none,
        seconds=Amount(value=_lightest(spec, _waited, together=False), why=why),
    )


def _lightest(spec: WorkflowSpec, weigh: Weigh, *, together: bool = True) -> Number:
    net = net_of(spec)
    weight = [_weight(step, weigh, together=together) for step in spec.steps]
    return lightest(net, nesting_of(net), weight, together=together)


def _weight(step: StepSpec, weigh: Weigh, *, together: bool) -> Number:
    if step.map is not None:
        # The map itself begins, and has no items.
        return weigh(StepSpec(id=step.id, kind="function"))

    inner = _lightest(step.workflow, weigh, together=together) if step.workflow is not None else 0
    return weigh(step) + inner


def _waited(step: StepSpec) -> Number:
    return float(step.options.get("seconds", 0)) if step.kind == "wait" else 0
