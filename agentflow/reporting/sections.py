"""The parts of the page above the waterfall: what went wrong, who decided what, what was chosen, what it cost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from agentflow.claims import Checked
from agentflow.reporting.account import Account, Choice, Problem, Question, Use, way_on
from agentflow.reporting.text import Allowance, duration, esc, money, pretty, shown_text
from agentflow.tracing.ids import hex_trace_id, operation_span_id

# Of each list; what is beyond is counted.
_MOST = 200
_MOST_PROBLEMS = 50


def moment(at: int) -> str:
    """A point in time in UTC, so that the page says the same everywhere."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at / 1e9)) + " UTC"


def heading(account: Account, head: str, chain: str) -> str:
    """Name, status and the figures of the run."""
    started, total = account.started, account.total
    facts = [
        ("started", moment(started.at)),
        ("took", duration(account.seconds)),
        ("model", started.model),
        ("model calls", f"{total.calls:,}"),
        ("tool calls", f"{sum(use.calls for use in account.tools.values()):,}"),
        ("tokens", f"{total.tokens:,}" + (f" ({total.input_tokens:,} in)" if total.tokens else "")),
        ("cost", money(total.usd)),
        ("events", f"{account.events:,}"),
        ("trace", hex_trace_id(started.run)),
        ("definition", started.digest),
        ("agentflow", started.version),
    ]
    rows = "".join(f"<div><dt>{esc(name)}</dt><dd>{esc(value)}</dd></div>" for name, value in facts)
    return (
        f'<header><h1>{esc(started.workflow)} <span class="badge {esc(account.status)}">{esc(account.status)}</span></h1>'
        f'<p class="mono">{esc(started.run)}</p><dl class="facts">{rows}</dl>'
        f'<p class="mono">head {esc(head)}<br>{chain}</p></header>'
    )


def problems(account: Account) -> str:
    """What went wrong, the worst first, and how the run goes on."""
    lines = [_problem(p, account) for p in account.problems[:_MOST_PROBLEMS]]
    if len(account.problems) > _MOST_PROBLEMS:
        lines.append(f'<p class="note">and {len(account.problems) - _MOST_PROBLEMS:,} more</p>')

    way = "".join(f"<pre>{esc(line)}</pre>" for line in way_on(account))
    if way:
        lines.append(f'<div class="way"><p>To go on:</p>{way}</div>')

    return "".join(lines) or '<p class="ok">Nothing went wrong.</p>'


def _problem(problem: Problem, account: Account) -> str:
    where = problem.step or "the run"
    if problem.operation:
        id_ = operation_span_id(account.started.run, problem.step, problem.operation)
        where = f'<a href="#s{id_:016x}">{esc(problem.what)}</a> in {esc(problem.step)}'
    else:
        where = esc(where)

    parts = [f"<p><b>{where}</b>: {esc(problem.error.kind)}: {esc(_cut(problem.error.message, 2000))}</p>"]
    if problem.error.hint:
        parts.append(f"<p>hint: {esc(_cut(problem.error.hint, 1000))}</p>")

    if problem.then:
        parts.append(f'<p class="faint">{esc(problem.then)}</p>')

    if problem.error.traceback and problem.place != "call":
        trace = _cut(problem.error.traceback, 8000)
        parts.append(f"<details><summary>where in the code</summary><pre>{esc(trace)}</pre></details>")

    return f'<div class="problem {problem.place}">{"".join(parts)}</div>'


def questions(asked: Sequence[Question]) -> str:
    """What people were asked, and said."""
    rows = [_question(question) for question in asked[:_MOST]]
    return _table(("what", "in step", "asked", "answer", "by", "when", "comment"), rows, len(asked))


def _question(question: Question) -> Sequence[str]:
    waited = f" (after {duration((question.given - question.asked) / 1e9)})" if question.given else ""
    return (
        f"{question.subject}: {question.prompt}" if question.prompt else question.subject,
        question.step,
        moment(question.asked),
        question.answer or "not answered yet",
        question.by,
        moment(question.given) + waited if question.given else "",
        question.comment,
    )


def plans(account: Account) -> str:
    """The reasoning of planners: each turn with what was chosen, how sure it was, and what was not chosen."""
    found: list[str] = []
    for plan in account.plans[:_MOST]:
        id_ = operation_span_id(account.started.run, plan.step, plan.operation)
        end = " <b>done</b>" if plan.done else ""
        thought = f'<p><a href="#s{id_:016x}">{esc(plan.step)}</a>: {esc(_cut(plan.thought, 2000))}{end}</p>'
        found.append(f"<li>{thought}{''.join(map(_choice, plan.choices))}</li>")

    more = len(account.plans) - _MOST
    return f"<ol>{''.join(found)}</ol>" + (f'<p class="note">and {more:,} more</p>' if more > 0 else "")


def _choice(choice: Choice) -> str:
    sure = ""
    if choice.confidence is not None:
        value = min(1.0, max(0.0, choice.confidence))
        sure = f' <meter min="0" max="1" value="{value:.3f}">{value:.2f}</meter> {value:.2f}'

    after = f"after {', '.join(choice.after)}" if choice.after else ""
    others = "; ".join(f"{tool} {confidence:.2f}" for tool, confidence in choice.alternatives)
    told = [
        f"why: {_cut(choice.why, 500)}" if choice.why else "",
        after,
        f"not chosen: {others}" if others else "",
    ]
    return (
        f'<div class="choice"><code>{esc(choice.id)} {esc(choice.tool)}({esc(_cut(choice.arguments, 400))})</code>{sure}'
        f'<br><span class="faint">{esc(" · ".join(filter(None, told)))}</span></div>'
    )


def costs(account: Account) -> str:
    """Calls, time, tokens and money by model, by tool and by step."""
    parts: list[str] = []
    for name, uses in (
        ("model", account.models),
        ("tool", account.tools),
        ("step that asks models", account.steps),
    ):
        if uses:
            parts.append(f'<div class="uses">{_uses(name, uses)}</div>')

    return "".join(parts) or "<p>No model and no tool was called.</p>"


def _uses(name: str, uses: Mapping[str, Use]) -> str:
    ordered = sorted(uses.items(), key=lambda item: (-item[1].usd, -item[1].tokens, -item[1].busy))
    rows = [
        (key, f"{u.calls:,}", f"{u.failed:,}", duration(u.busy / 1e9), f"{u.tokens:,}", money(u.usd))
        for key, u in ordered[:_MOST]
    ]
    return _table((name, "calls", "failed", "time", "tokens", "cost"), rows, len(ordered), numeric=1)


def artifacts(account: Account) -> str:
    """The files that were kept beside the run."""
    rows = [
        (a.name, a.step, a.media_type, f"{a.size:,}", a.digest, a.path) for a in account.artifacts[:_MOST]
    ]
    return _table(("file", "of step", "type", "bytes", "digest", "path"), rows, len(account.artifacts))


def history(account: Account) -> str:
    """What happened to the run as a whole."""
    rows = [(moment(at), text) for at, text in account.notices[:_MOST]]
    return _table(("when", "what"), rows, len(account.notices))


def answers(checked: Sequence[tuple[str, Checked]], allowance: Allowance) -> Iterator[str]:
    """Answers with their sources, and what of them the run does not bear out."""
    for where, item in checked:
        yield f"<h3>{esc(where)}</h3><pre>{esc(_cut(item.answer.text, 20_000))}</pre>"
        rows = [
            (f"[{n}]", e.source, e.place, e.tool, e.trust) for n, e in enumerate(item.answer.citations, 1)
        ]
        if rows:
            yield _table(("", "source", "place", "tool", "trust"), rows[:_MOST], len(rows))

        if not item.findings:
            yield '<p class="ok">Each citation, quote and statement of a call is borne out by the run.</p>'

        for finding in item.findings[:_MOST]:
            tone = "bad" if finding.level == "error" else "warn"
            yield f'<p class="{tone}"><b>{esc(finding.code)}</b>: {esc(finding)}</p>'

        for number, cited in enumerate(item.answer.citations[:50], 1):
            body = shown_text(pretty(cited.text), cited.text.encode(errors="replace"), allowance)
            yield f"<details><summary>[{number}] {esc(cited.source)}</summary>{body}</details>"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], count: int, *, numeric: int = 99) -> str:
    def cell(tag: str, number: int, text: str) -> str:
        return f"<{tag}{' class=n' if number >= numeric else ''}>{esc(_cut(text, 1000))}</{tag}>"

    head = "".join(cell("th", n, name) for n, name in enumerate(names))
    body = "".join(f"<tr>{''.join(cell('td', n, text) for n, text in enumerate(row))}</tr>" for row in rows)
    more = f'<p class="note">and {count - _MOST:,} more</p>' if count > _MOST else ""
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"
