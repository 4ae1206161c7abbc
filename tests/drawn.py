"""A workflow of sixty steps, as a drawing must be able to show: an insurer's handling of claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentflow.spec import KINDS, Budget, EdgeSpec, MapSpec, Retry, StepKind, StepSpec, WorkflowSpec

MAIN = "claims"
# The steps that take in what strangers wrote, and those whose tools ask a person, as paths of step ids.
UNTRUSTED = (
    "read_mail",
    "investigate/search_web",
    "investigate/look_up_registers",
    "investigate/read_page",
    "assess/read_photos",
)
ASKING = ("pay", "settle/transfer", "close_policy")


def _step(text: str) -> StepSpec:
    """A step from its name, or from `kind:name`."""
    word, _, name = text.rpartition(":")
    kind = _KINDS.get(word, "function")
    return StepSpec(id=name, kind=kind, call=f"claims:{name}", options=_OPTIONS.get(kind, {}))


_KINDS: dict[str, StepKind] = {kind: kind for kind in KINDS}
_OPTIONS: dict[str, dict[str, Any]] = {
    "agent": {"tools": ["tools.mail:read_letters", "tools.policies:find_policy"], "max_turns": 6},
    "planner": {"tools": ["tools.web:web_search", "tools.web:open_page"], "max_calls": 12, "max_rounds": 4},
    "wait": {"seconds": 86_400.0},
}


def _chain(text: str) -> list[EdgeSpec]:
    """Edges from lines such as `a > b > c`, `a -Type-> b` or `a -Type:3-> b`; a gather's come in by `a @0> g`."""
    edges: list[EdgeSpec] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        words = line.split()
        for source, arrow, target in zip(words[::2], words[1::2], words[2::2], strict=False):
            edges.append(_edge(source, arrow, target))

    return edges


def _edge(source: str, arrow: str, target: str) -> EdgeSpec:
    if arrow.startswith("@"):
        return EdgeSpec(source=source, target=target, slot=int(arrow[1:-1]))

    case, _, bound = arrow.strip("->").partition(":")
    return EdgeSpec(
        source=source,
        target=target,
        on=f"claims:{case}" if case else None,
        at_most=int(bound) if bound else None,
    )


def _workflow(name: str, steps: str, edges: str) -> WorkflowSpec:
    made = tuple(_step(text) for text in steps.split())
    return WorkflowSpec(
        name=name,
        start=made[0].id,
        end=made[-1].id,
        takes="claims:Claim",
        gives="claims:Decision",
        steps=made,
        edges=tuple(_chain(edges)),
    )


def _changed(spec: WorkflowSpec, **changes: Mapping[str, Any]) -> WorkflowSpec:
    """The workflow with other fields in the steps that are named."""
    return replace(spec, steps=tuple(replace(step, **changes.get(step.id, {})) for step in spec.steps))


def _investigate() -> WorkflowSpec:
    spec = _workflow(
        "investigate",
        "list_questions planner:search_web look_up_registers gather:both read_page drop_doubles"
        " agent:weigh check_sources agent:write_findings",
        """
        list_questions > search_web @0> both
        list_questions > look_up_registers @1> both
        both > read_page > drop_doubles > weigh > check_sources
        check_sources -Doubtful:2-> weigh
        check_sources -Sound-> write_findings
        """,
    )
    spec = replace(spec, budget=Budget(model_calls=40, usd=1.5, minutes=20))
    return _changed(
        spec, read_page={"map": MapSpec(parallel=8, at_most=30), "timeout": 30.0, "retry": Retry(times=2)}
    )


def _assess() -> WorkflowSpec:
    spec = _workflow(
        "assess",
        "split_items find_prices read_photos gather:priced agent:estimate depreciate compare"
        " approval:expert_signs total",
        """
        split_items > find_prices @0> priced
        split_items > read_photos @1> priced
        priced > estimate > depreciate > compare
        compare -Unlikely:3-> estimate
        compare -Plausible-> total
        compare -Costly-> expert_signs
        expert_signs -Estimate-> total
        expert_signs -Rejected:1-> estimate
        """,
    )
    return _changed(spec, find_prices={"map": MapSpec(parallel=4, at_most=50)})


def _settle() -> WorkflowSpec:
    return _workflow(
        "settle",
        "reserve agent:draft_letter check_wording transfer wait:let_it_arrive confirm note",
        """
        reserve > draft_letter > check_wording
        check_wording -Unclear:2-> draft_letter
        check_wording -Letter-> transfer > let_it_arrive > confirm
        confirm -Missing:3-> let_it_arrive
        confirm -Arrived-> note
        """,
    )


def claims() -> WorkflowSpec:
    """Sixty steps with loops, maps, gathers, approvals and three sub-workflows, one of them run for each item."""
    spec = _workflow(
        MAIN,
        "receive read_mail agent:classify ask_for_more wait:wait_for_answer register find_policy check_cover"
        " workflow:investigate score_fraud look_for_doubles gather:signals judge_risk approval:fraud_desk"
        " split_into_items workflow:assess add_up apply_limits apply_excess agent:propose review"
        " approval:handler_decides explain_refusal agent:write_refusal workflow:settle pay close_policy"
        " update_ledger notify_broker notify_insured gather:told survey archive learn finish",
        """
        receive > read_mail > classify
        classify -Incomplete:3-> ask_for_more > wait_for_answer > classify
        classify -Complete-> register > find_policy > check_cover
        check_cover -NotCovered-> explain_refusal
        check_cover -Covered-> investigate
        investigate > score_fraud @0> signals
        investigate > look_for_doubles @1> signals
        signals > judge_risk
        judge_risk -Suspicious-> fraud_desk
        judge_risk -Clear-> split_into_items
        fraud_desk -Claim-> split_into_items
        fraud_desk -Rejected-> explain_refusal
        split_into_items > assess > add_up > apply_limits > apply_excess > propose > review
        review -Unsound:2-> propose
        review -Small-> settle
        review -Large-> handler_decides
        handler_decides -Proposal-> settle
        handler_decides -Rejected:1-> propose
        explain_refusal > write_refusal > update_ledger
        settle -Instalments-> pay
        settle -TotalLoss-> close_policy
        settle -Settled-> update_ledger
        pay > update_ledger
        close_policy > update_ledger
        update_ledger > notify_broker @0> told
        update_ledger > notify_insured @1> told
        told > survey > archive > learn > finish
        """,
    )
    spec = replace(
        spec,
        description="Takes in a claim, looks into it, assesses the damage item by item, and pays or refuses with reasons.",
        budget=Budget(model_calls=400, usd=12, minutes=90),
    )
    each = MapSpec(parallel=3, at_most=20)
    return _changed(
        spec,
        investigate={"workflow": _investigate()},
        assess={"workflow": _assess(), "map": each},
        settle={"workflow": _settle()},
        look_for_doubles={"map": MapSpec(parallel=8, at_most=100)},
        notify_insured={"timeout": 60.0, "retry": Retry(times=3)},
    )
