"""Site check: a browser looks something up on a site, and fills in a form that a person approves first."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentflow import Agent, Answer, Approval, Budget, Context, Evidence, Planner, Rejected, Workflow, step
from agentflow.tools import call
from tools.browser import browse, submit_form


@dataclass(frozen=True, kw_only=True)
class SiteTask:
    """What to find out on a site; with `values`, the form at `form` is filled in and, once approved, sent."""

    task: str
    url: str = "http://shop.localhost/"
    form: str = "http://shop.localhost/contact"
    values: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not self.task.strip():
            raise ValueError("`task` is empty")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A task and the passages found on the site."""

    task: str
    evidence: list[Evidence]


@dataclass(frozen=True, kw_only=True)
class FormRequest:
    """Exactly what would be sent, and where."""

    url: str
    values: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class SiteReport:
    """What was found, and what the site said to the form."""

    answer: Answer
    form: str = "not asked for"
    reply: list[Evidence] = field(default_factory=list[Evidence])


@dataclass(frozen=True, kw_only=True)
class Errand:
    """The task as it goes to the browser."""

    task: str


@step
async def read_task(task: SiteTask) -> Errand:
    """Take what the browser needs of the task; the form's values stay here until a person approved them."""
    return Errand(task=f"{task.task.rstrip()} Look it up in the browser at {task.url}")


look = Planner("look", takes=Errand, gives=list[Evidence], tools=[browse], max_calls=4, max_rounds=2)


@step
async def select(evidence: list[Evidence], ctx: Context) -> Finding:
    """Put the task to what was found."""
    return Finding(task=ctx.input.task, evidence=evidence)


answer = Agent("answer", takes=Finding, gives=Answer, prompt="prompts/site.md", max_turns=3)


@step
async def next_step(found: Answer, ctx: Context) -> SiteReport | FormRequest:
    """Is there a form to fill in?"""
    task: SiteTask = ctx.input
    if not task.values:
        return SiteReport(answer=found)

    return FormRequest(url=task.form, values=task.values)


approve = Approval("approve", of=FormRequest, prompt="Send this form?")


@step(timeout=120)
async def submit(request: FormRequest, ctx: Context) -> SiteReport:
    """Fill in the form and send it."""
    reply: list[Evidence] = await call(submit_form, {"url": request.url, "values": request.values})
    return SiteReport(answer=ctx.output(answer), form="sent", reply=reply)


@step
async def skip(refusal: Rejected, ctx: Context) -> SiteReport:
    """Send nothing."""
    return SiteReport(
        answer=ctx.output(answer), form=f"not sent: refused by {refusal.by} {refusal.comment}".strip()
    )


@step
async def report(done: SiteReport) -> SiteReport:
    """Hand over what was found and done."""
    return done


site_check = Workflow(
    "site_check",
    start=read_task,
    end=report,
    edges=[
        read_task >> look >> select >> answer >> next_step,
        next_step.on(SiteReport) >> report,
        next_step.on(FormRequest) >> approve,
        approve.on(FormRequest) >> submit >> report,
        approve.on(Rejected) >> skip >> report,
    ],
    budget=Budget(model_calls=20, tool_calls=20, minutes=10),
    description="Look something up on a site with a browser; fill in a form once a person approved it.",
)
