"""Steps that hold an answer against the record of its run: what it cites, quotes, and says was done.

Each takes an `Answer`: `check_claims` gives it with what was found, `require_claims` lets only a supported one pass, and
`annotate_claims` writes into its text what is wrong with it. In a file they are named as
`call: agentflow.steps.claims:check_claims`.
"""

from __future__ import annotations

from agentflow.claims import Checked, Finding, Record, check
from agentflow.context import Context
from agentflow.evidence import Answer
from agentflow.exceptions import ClaimsUnsupported
from agentflow.steps.function import step

_SAID = 5


@step
async def check_claims(answer: Answer, ctx: Context) -> Checked:
    """The answer, with each claim that the tool calls of this run do not bear out."""
    return check(answer, Record.of(await ctx.events()))


@step
async def require_claims(answer: Answer, ctx: Context) -> Answer:
    """The answer as it is; raises `ClaimsUnsupported` where a finding is an error."""
    errors = (await check_claims(answer, ctx)).errors
    if errors:
        more = f"\n  and {len(errors) - _SAID} more" if len(errors) > _SAID else ""
        raise ClaimsUnsupported(
            f"the answer has {len(errors)} unsupported claim{'s' if len(errors) > 1 else ''}:\n"
            + "\n".join(f"  {finding.code}: {finding}" for finding in errors[:_SAID])
            + more,
            hint=f"look at them: agentflow claims {ctx.run_id}; `check_claims` gives them to a step that writes anew",
        )

    return answer


@step
async def annotate_claims(answer: Answer, ctx: Context) -> Answer:
    """The answer with what is wrong written into its text, behind the words that it is about or at the end."""
    return annotated(await check_claims(answer, ctx))


def annotated(checked: Checked) -> Answer:
    """The answer with its findings in its text; an answer without findings stays as it is."""
    text = checked.answer.text
    placed = [f for f in checked.findings if f.end is not None]
    for finding in sorted(placed, key=lambda f: f.end or 0, reverse=True):
        text = f"{text[: finding.end]} ⟨{_label(finding)}⟩{text[finding.end :]}"

    rest = [f"⟨{_label(f)}⟩" for f in checked.findings if f.end is None]
    return Answer(text="\n".join([text, *rest]), citations=checked.answer.citations)


def _label(finding: Finding) -> str:
    word = "unsupported" if finding.level == "error" else "doubtful"
    # Brackets would be read as marks of citations.
    about = f"citation {finding.citation}: " if finding.citation is not None and finding.end is None else ""
    return f"{word}: {about}{finding.why}".replace("[", "(").replace("]", ")")
