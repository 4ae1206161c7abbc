"""Steps as spans: their names and attributes. There is no convention for the nodes of a graph."""

from __future__ import annotations

from typing import NamedTuple

from agentflow.spec import StepSpec
from agentflow.tracing import semconv
from agentflow.tracing.activation import Activation
from agentflow.tracing.values import Attribute

Attributes = dict[str, Attribute]

# Steps of these kinds go on after a resume, as maps do; others are begun again.
_LASTING = ("workflow", "approval", "wait")


def invoked(workflow: str, run: str) -> Attributes:
    """What names a workflow that runs, as the run itself or inside another."""
    return {
        semconv.OPERATION_NAME: semconv.INVOKE_WORKFLOW,
        semconv.AGENT_NAME: workflow,
        semconv.WORKFLOW_NAME: workflow,
        semconv.CONVERSATION_ID: run,
    }


class Look(NamedTuple):
    """How the span of a step looks, whichever visit it is of: its name, its first attributes, and whether a resumed run goes
    on with it instead of beginning it again.
    """

    title: str
    is_lasting: bool
    attributes: Attributes
    workflow: str = ""


def look(node: str, step: StepSpec | None, *, is_item: bool) -> Look:
    """The look of a step, of which nothing but its name may be known."""
    known: Attributes = {semconv.STEP_ID: node}
    if step is None:
        return Look(f"step {node}", is_lasting=False, attributes=known)

    if step.map is not None and not is_item:
        return Look(f"map {node}", is_lasting=True, attributes={**known, semconv.STEP_KIND: "map"})

    known[semconv.STEP_KIND] = step.kind
    is_lasting = step.kind in _LASTING
    if step.workflow is None:
        return Look(f"step {node}", is_lasting, known)

    name = step.workflow.name
    return Look(f"{semconv.INVOKE_WORKFLOW} {name}", is_lasting, known, workflow=name)


def begun(at: Activation, look: Look, attempt: int, run: str) -> Attributes:
    """The attributes that one attempt at a step begins with."""
    attributes: Attributes = {
        **look.attributes,
        semconv.STEP_ACTIVATION: at.id,
        semconv.STEP_VISIT: at.visit,
        semconv.STEP_ATTEMPT: attempt,
    }
    if at.item is not None:
        attributes[semconv.STEP_ITEM] = at.item

    return attributes | invoked(look.workflow, run) if look.workflow else attributes
