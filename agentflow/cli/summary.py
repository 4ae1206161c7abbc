"""A run in words for a terminal: how it stands, what went wrong and how to go on, who decided what, why the planner chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import markup

from agentflow.cli.listing import COLOURS
from agentflow.cli.output import count, out, plain
from agentflow.cli.periods import iso, stamp
from agentflow.cli.view import clock
from agentflow.reporting.account import Account, Choice, Plan, Problem, Question, Use, way_on
from agentflow.reporting.text import duration, money, visible

# Of what went wrong below the run itself, and of turns of planners; `--json` has all.
_MOST_PROBLEMS, _MOST_PLANS = 8, 12
_LETTERS = 400  # of an error's message


def escape(text: str) -> str:
    """Text that Rich prints as it is, and that does nothing to the terminal."""
    return markup.escape(visible(text))


def print_heading(account: Account, head: str) -> None:
    """Name, status and the figures of the run."""
    total, tools = account.total, sum(use.calls for use in account.tools.values())
    colour = COLOURS.get(account.status, "")
    out.print(
        f"[bold]{escape(account.started.workflow)}[/]  [{colour}]{account.status}[/]  {escape(account.started.run)}"
        if colour
        else f"[bold]{escape(account.started.workflow)}[/]  {account.status}  {escape(account.started.run)}"
    )
    figures = [
        stamp(account.started.at),
        duration(account.seconds),
        count(total.calls, "model call"),
        count(tools, "tool call"),
        f"{total.tokens:,} tokens" if total.tokens else "",
        money(total.usd) if total.usd else "",
        f"head {head[:16]}",
    ]
    out.print(f"[dim]{escape('  '.join(filter(None, figures)))}[/]")


def print_problems(account: Account) -> None:
    """What went wrong, the worst first, each with its hint; then how to go on."""
    for problem in account.problems[:_MOST_PROBLEMS]:
        _print_problem(problem)

    if len(account.problems) > _MOST_PROBLEMS:
        out.print(f"  [dim]and {len(account.problems) - _MOST_PROBLEMS} more: `--json` has all[/]")

    for line in way_on(account):
        out.print(f"[cyan]go on:[/] {escape(line)}")


def _print_problem(problem: Problem) -> None:
    where = f"{problem.what} in {problem.step}" if problem.what else problem.step or "the run"
    word = "failed" if problem.place == "run" else "went wrong"
    message = problem.error.message.strip()
    cut = message if len(message) <= _LETTERS else f"{message[:_LETTERS]}…"
    tone = "bold red" if problem.place == "run" else "red"
    out.print(f"[{tone}]{word}:[/] {escape(where)}: {escape(problem.error.kind)}: {escape(cut)}")
    if problem.error.hint:
        out.print(f"  [cyan]hint:[/] {escape(problem.error.hint)}")

    if problem.then:
        out.print(f"  [dim]{escape(problem.then)}[/]")


def print_questions(questions: Sequence[Question]) -> None:
    """Who was asked what, and said what when."""
    for question in questions:
        asked = f"[cyan]asked:[/] {escape(question.step)} {escape(question.subject)}"
        if question.given is None:
            out.print(f"{asked} at {clock(question.asked)}, not answered yet")
            continue

        waited = duration((question.given - question.asked) / 1e9)
        comment = f": {question.comment}" if question.comment else ""
        told = f"{question.answer} by {question.by} at {clock(question.given)} after {waited}{comment}"
        out.print(f"{asked}  {escape(told)}")


def print_plans(plans: Sequence[Plan]) -> None:
    """What the planner thought and chose, how sure it was, and what it did not choose."""
    for plan in plans[:_MOST_PLANS]:
        out.print(f"[magenta]plan:[/] {escape(plan.step)}  {escape(plan.thought)}")
        for choice in plan.choices:
            out.print(f"  → {escape(_chosen(choice))}", style="dim")

    if len(plans) > _MOST_PLANS:
        out.print(f"  [dim]and {len(plans) - _MOST_PLANS} more turns: `--json` has all[/]")


def _chosen(choice: Choice) -> str:
    sure = f"  {choice.confidence:.2f}" if choice.confidence is not None else ""
    arguments = choice.arguments if len(choice.arguments) <= 100 else f"{choice.arguments[:100]}…"
    others = ", ".join(f"{tool} {confidence:.2f}" for tool, confidence in choice.alternatives)
    after = f"  after {', '.join(choice.after)}" if choice.after else ""
    return f"{choice.tool} {arguments}{sure}{after}" + (f"  not chosen: {others}" if others else "")


def account_data(account: Account) -> dict[str, Any]:
    """The account as JSON."""
    last = max(account.ended, account.started.at)
    return {
        "status": account.status,
        "started": iso(account.started.at),
        "ended": iso(last),
        "seconds": round(account.seconds, 3),
        "events": account.events,
        "usage": {
            "models": _uses(account.models),
            "tools": _uses(account.tools),
            "steps": _uses(account.steps),
        },
        "problems": plain(account.problems),
        "plans": plain(account.plans),
        "questions": plain(account.questions),
        "artifacts": [plain(artifact) for artifact in account.artifacts],
        "go_on": way_on(account),
    }


def _uses(uses: Mapping[str, Use]) -> dict[str, Any]:
    return {
        name: {
            "calls": use.calls,
            "failed": use.failed,
            "seconds": round(use.busy / 1e9, 3),
            "input_tokens": use.input_tokens,
            "output_tokens": use.output_tokens,
            "usd": round(use.usd, 6),
        }
        for name, use in uses.items()
    }
