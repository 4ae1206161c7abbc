"""Steps as spans: their names and attributes. There is no convention for the nodes of a graph."""

from __future__ import annotations

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


def is_map(at: Activation, step: StepSpec | None) -> bool:
    """Whether this is a map itself, not one of its items."""
    return step is not None and step.map is not None and at.item is None


def goes_on(at: Activation, step: StepSpec | None) -> bool:
    """Whether a resumed run goes on with this, instead of beginning it again."""
    return is_map(at, step) or (step is not None and step.kind in _LASTING)


def title(at: Activation, step: StepSpec | None) -> str:
    """The name of a step's span."""
    if is_map(at, step):
        return f"map {at.node}"

    if step is not None and step.workflow is not None:
        return f"{semconv.INVOKE_WORKFLOW} {step.workflow.name}"

    return f"step {at.node}"


def begun(at: Activation, step: StepSpec | None, attempt: int, run: str) -> Attributes:
    """The attributes that one attempt at a step begins with."""
    attributes: Attributes = {
        semconv.STEP_ID: at.node,
        semconv.STEP_ACTIVATION: at.id,
        semconv.STEP_VISIT: at.visit,
        semconv.STEP_ATTEMPT: attempt,
    }
    if at.item is not None:
        attributes[semconv.STEP_ITEM] = at.item

    if step is None:
        return attributes

    if is_map(at, step):
        return {**attributes, semconv.STEP_KIND: "map"}

    named = invoked(step.workflow.name, run) if step.workflow is not None else {}
    return {**attributes, semconv.STEP_KIND: step.kind, **named}
