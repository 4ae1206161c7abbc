"""The flows that a workflow, and those inside of it, say they allow: which findings they silence, and which none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from agentflow.exceptions import Problem
from agentflow.places import Places
from agentflow.spec import Flow, FlowKind, WorkflowSpec

# Where a workflow is among those around it (`outer/inner/`, empty for the outermost), a kind, and a step of it.
_Key = tuple[str, str, str]


class Waivers:
    """All allowed flows of a workflow and of those inside of it; it remembers which were asked for."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self._flows: dict[_Key, tuple[str, Flow]] = {}
        self._twice: list[tuple[str, Flow]] = []
        self._used: set[tuple[str, Flow]] = set()
        for prefix, inner in _workflows(spec, ""):
            for flow in inner.allow:
                key = (prefix, str(flow.kind), flow.step)
                if key in self._flows:
                    self._twice.append((inner.name, flow))
                elif flow.because.strip():
                    self._flows[key] = (inner.name, flow)

    def reason(self, kind: FlowKind, step: str) -> str:
        """Why a flow of this kind that ends at `step` is allowed; empty where it is not."""
        because = ""
        for key in _keys(kind, step) if self._flows else ():
            known = self._flows.get(key)
            if known is not None:
                self._used.add(known)
                because = because or known[1].because

        return because

    def unused(self) -> list[Problem]:
        """A warning for each allowed flow that nothing was asked for; a workflow may be there twice."""
        # What is allowed of tools that nobody knows beforehand shows only when the workflow runs.
        idle = [k for k in self._flows.values() if k not in self._used and k[1].kind != "unchecked-tool"]
        said = {
            **dict.fromkeys(idle, "allows what does not happen"),
            **dict.fromkeys(self._twice, "stands there twice"),
        }
        return [
            Problem(
                code="AF211",
                what=f"`{_written(flow)}` {what}",
                where=f"`allow` of workflow `{name}`",
                hint="leave it out, or name the kind and step that the check warns of",
                severity="warning",
            )
            for (name, flow), what in said.items()
        ]


def _workflows(spec: WorkflowSpec, prefix: str) -> Iterator[tuple[str, WorkflowSpec]]:
    yield prefix, spec
    for step in spec.steps:
        if step.workflow is not None:
            yield from _workflows(step.workflow, f"{prefix}{step.id}/")


def _keys(kind: FlowKind, step: str) -> Iterator[_Key]:
    """What a waiver for `a/b` may be known by: step `a/b`, `a` or any of the outermost; `b` or any of that in `a`."""
    cuts = [n for n, letter in enumerate(step) if letter == "/"]
    for start in (0, *(n + 1 for n in cuts)):
        yield from ((step[:start], kind, step[start:end]) for end in (*cuts, len(step)) if end > start)
        yield step[:start], kind, ""


def bad_waivers(spec: WorkflowSpec, places: Places | None = None) -> list[Problem]:
    """An error for each flow that is allowed without a reason, or is of no known kind."""
    known = places or Places()
    return [p for n, flow in enumerate(spec.allow) for p in _faults(spec, flow, known.said("allow", n))]


def _faults(spec: WorkflowSpec, flow: Flow, place: str) -> Iterator[Problem]:
    kinds = get_args(FlowKind)
    faults: list[tuple[Any, str, str]] = [
        (flow.kind not in kinds, f"there is no kind of flow `{flow.kind}`", f"kinds are: {', '.join(kinds)}"),
        (not flow.because.strip(), f"`{_written(flow)}` does not say why", 'say so: `because="..."`'),
    ]
    for is_wrong, what, hint in faults:
        if is_wrong:
            where = f"`allow` of workflow `{spec.name}`{place}"
            yield Problem(code="AF210", what=what, where=where, hint=hint)


def _written(flow: Flow) -> str:
    return f'Flow("{flow.kind}"' + (f', step="{flow.step}")' if flow.step else ")")
