"""All checks of an answer against the record of its run."""

from __future__ import annotations

from agentflow.claims.citations import check_citations, check_marks
from agentflow.claims.deeds import check_deeds
from agentflow.claims.facts import check_facts
from agentflow.claims.finding import Checked
from agentflow.claims.quoting import check_quotes, true_quotes
from agentflow.claims.record import Record
from agentflow.claims.sentences import quotes
from agentflow.evidence import Answer


def check(answer: Answer, record: Record) -> Checked:
    """An answer with what is wrong with it: errors first, then in the order of the text.

    Errors: a citation, a mark, a quote or a statement of having used a tool that the run does not bear out. Warnings: numbers
    and names that the citations of their sentence do not hold, citations that nothing refers to. What is true but
    unsupported cannot be told from what is made up; what is supported may still be misread.
    """
    quoted = quotes(answer.text)
    true = true_quotes(answer, quoted)
    found = [
        *check_citations(answer, record),
        *check_marks(answer, true),
        *check_quotes(answer, record, quoted),
        *check_deeds(answer, record),
        *check_facts(answer, record),
    ]
    ordered = sorted(dict.fromkeys(found), key=lambda f: (f.level, f.start if f.start is not None else -1))
    return Checked(answer=answer, findings=ordered)
