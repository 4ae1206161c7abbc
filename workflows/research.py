"""Research: a question in, a brief out whose every statement cites the passage it comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentflow import Agent, Answer, Budget, Context, Evidence, Flow, Planner, Workflow, check_claims, step
from tools.browser import browse
from tools.files import file_search
from tools.web import web_search

PASSAGES = 12


@dataclass(frozen=True, kw_only=True)
class Question:
    """What somebody wants to know."""

    question: str

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise ValueError("`question` is empty")


@dataclass(frozen=True, kw_only=True)
class Material:
    """A question and the passages to answer it from; `feedback` says what was wrong with an earlier answer."""

    question: str
    evidence: list[Evidence]
    feedback: str = ""


@dataclass(frozen=True, kw_only=True)
class Revision(Material):
    """Material that goes back to the writer."""


plan = Planner(
    "plan",
    takes=Question,
    gives=list[Evidence],
    tools=[file_search, web_search, browse],
    max_calls=12,
    max_rounds=3,
    prompt="prompts/plan.md",
)


@step
async def select(evidence: list[Evidence], ctx: Context) -> Material:
    """Keep the best passages, each once; the order of the tools' own ranking is kept."""
    found: dict[tuple[str, str], Evidence] = {}
    for item in evidence:
        found.setdefault((item.source, item.text), item)

    return Material(question=ctx.input.question, evidence=list(found.values())[:PASSAGES])


write = Agent("write", takes=Material, gives=Answer, prompt="prompts/brief.md", max_turns=4)


@step
async def check(answer: Answer, ctx: Context) -> Answer | Revision:
    """An answer passes when each of its paragraphs cites a passage, or when there was nothing to cite.

    What it cites, quotes and says was done must be borne out by the tool calls of this run.
    """
    material = ctx.output(select)
    false = [f"{finding.what}: {finding.why}" for finding in (await check_claims(answer, ctx)).errors]
    uncited = [line for line in answer.text.splitlines() if line.strip() and not re.search(r"\[\d+\]", line)]
    is_cited = not material.evidence or (answer.citations and not uncited) or _says_nothing_found(answer)
    if is_cited and not false:
        return answer

    feedback = (
        [] if is_cited else ["These statements cite no passage:", *(line.strip()[:120] for line in uncited)]
    )
    feedback += ["These claims are not borne out:", *false[:8]] if false else []
    return Revision(question=material.question, evidence=material.evidence, feedback="\n".join(feedback))


def _says_nothing_found(answer: Answer) -> bool:
    return "nothing" in answer.text.lower() and not answer.citations


@step
async def finish(answer: Answer) -> Answer:
    """The brief as it is handed over."""
    return answer


research = Workflow(
    "research",
    start=plan,
    end=finish,
    edges=[
        plan >> select >> write >> check,
        check.on(Revision, at_most=2) >> write,
        check.on(Answer) >> finish,
    ],
    allow=[
        Flow(
            "all-three",
            step="plan",
            because="the sample handbook holds no secrets; split the planner before private files are searched",
        )
    ],
    budget=Budget(model_calls=30, tool_calls=40, minutes=15),
    description="Answer a question with a cited brief from files, the web and sites.",
)
