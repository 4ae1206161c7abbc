"""The waterfall of a run: each span a row with its bar, and what went in and out inside of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agentflow.events import Payload
from agentflow.reporting.text import Allowance, duration, esc, money, shown, shown_text
from agentflow.reporting.tree import Node, label
from agentflow.tracing import semconv

# Rows of a page; beyond it only what went wrong is shown.
MOST_ROWS = 2500
# More children than that are folded together.
_MANY = 20
_DEEPEST = 9
_SCALE = 1000
# Attributes that a row says by itself, or that repeat what is shown of its payloads.
_SAID = (
    semconv.OPERATION_NAME, semconv.CONVERSATION_ID, semconv.STEP_ID, semconv.STEP_ACTIVATION, semconv.STEP_INPUT,
    semconv.STEP_OUTPUT, semconv.TOOL_ARGUMENTS, semconv.TOOL_RESULT, semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES,
    semconv.SYSTEM_INSTRUCTIONS, semconv.RETRIEVAL_DOCUMENTS, semconv.RETRIEVAL_QUERY, semconv.OPERATION_RESULT,
    semconv.OPERATION_REQUEST, semconv.TOOL_DEFINITIONS, semconv.OUTPUT_SCHEMA, semconv.TOOL_TYPE, semconv.STEP_VISIT,
    semconv.OPERATION_ID, semconv.WORKFLOW_NAME, semconv.AGENT_NAME, semconv.TOOL_NAME, semconv.CONVENTION_VERSION,
)  # fmt: skip
_COLOURS = {"tool": "t", "chat": "m", "execute_tool": "t", "plan": "m", "invoke_agent": "m"}


def waterfall(tops: Sequence[Node], allowance: Allowance) -> str:
    """The rows of all spans, as nested lists."""
    return _Waterfall(tops, allowance).html()


class _Waterfall:
    def __init__(self, tops: Sequence[Node], allowance: Allowance) -> None:
        self.tops, self.allowance = tops, allowance
        every = [node for top in tops for node in top.all()]
        self.begin = min(node.span.start for node in every)
        self.total = max(1, max(node.span.end for node in every) - self.begin)
        self.rows, self.left_out = 0, 0

    def html(self) -> str:
        rows = "".join(self._item(top) for top in self.tops)
        more = f"{self.left_out:,} spans without an error are left out here; `--json` of `show` has them all."
        note = f'<p class="note">{esc(more)}</p>' if self.left_out else ""
        return f'<ul class="tree">{rows}</ul>{note}'

    def _item(self, node: Node) -> str:
        """A span and those below it; spans nest as deep as a workflow and its tools do, which is not deep."""
        if self.rows >= MOST_ROWS and not _went_wrong(node):
            self.left_out += sum(1 for _ in node.all())
            return ""

        self.rows += 1
        row = self._row(node)
        below = "".join(self._item(child) for child in node.children)
        if not below:
            return f"<li>{row}</li>"

        if len(node.children) > _MANY:
            bad = sum(_went_wrong(child) for child in node.children)
            told = f"{len(node.children):,} below" + (f", {bad} with an error" if bad else "")
            below = f'<li><details class="more"><summary>{told}</summary><ul>{below}</ul></details></li>'

        return f"<li>{row}<ul>{below}</ul></li>"

    def _row(self, node: Node) -> str:
        span = node.span
        bad = "bad" if span.error else "warn" if node.is_open else ""
        depth = f"d{min(node.depth, _DEEPEST)}"
        remark = _remark(node)
        name = f'<span class="name {depth} {bad}">{esc(label(span))}{remark}</span>'
        took = duration((span.end - span.start) / 1e9) + (" …" if node.is_open else "")
        line = f'{name}<span class="time">{took}</span>{self._bar(node)}'
        inside = "".join(self._inside(node))
        return f'<details id="s{span.span_id:016x}"><summary>{line}</summary><div class="inside">{inside}</div></details>'

    def _bar(self, node: Node) -> str:
        span = node.span
        left = (span.start - self.begin) / self.total * _SCALE
        width = max(2.0, (span.end - span.start) / self.total * _SCALE)
        left = min(left, _SCALE - 2)
        operation = str(span.attributes.get(semconv.OPERATION_NAME, ""))
        kind = "e" if span.error else "w" if node.is_open else _COLOURS.get(operation, "")
        return (
            f'<svg class="bar" viewBox="0 0 {_SCALE} 12" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="b {kind}" x="{left:.1f}" y="1" width="{min(width, _SCALE - left):.1f}" height="10"/></svg>'
        )

    def _inside(self, node: Node) -> Iterator[str]:
        span = node.span
        if span.error:
            kind = span.attributes.get(semconv.ERROR_TYPE, "error")
            yield f'<p class="bad"><b>{esc(kind)}</b>: {esc(span.error)}</p>'
            if hint := span.attributes.get(semconv.ERROR_HINT):
                yield f"<p>hint: {esc(hint)}</p>"

        yield from self._payload(node.given, "input", span.attributes.get(semconv.STEP_INPUT))
        yield from self._payload(node.got, "output", span.attributes.get(semconv.STEP_OUTPUT))
        known = {k: v for k, v in span.attributes.items() if k not in _SAID}
        if known:
            lines = "\n".join(f"{name} = {_told(value)}" for name, value in sorted(known.items()))
            yield f"<h3>attributes</h3>{shown_text(lines, lines.encode(errors='replace'), self.allowance)}"

        for event in span.events:
            lines = "\n".join(f"{name} = {_told(value)}" for name, value in sorted(event.attributes.items()))
            yield f"<h3>{esc(event.name)}</h3>{shown_text(lines, lines.encode(errors='replace'), self.allowance)}"

    def _payload(self, known: tuple[str, Payload] | None, name: str, attribute: object) -> Iterator[str]:
        if known is not None:
            yield f"<h3>{esc(known[0])}</h3>{shown(known[1], self.allowance)}"
        elif isinstance(attribute, str):
            yield f"<h3>{name}</h3>{shown_text(attribute, attribute.encode(errors='replace'), self.allowance)}"


def _went_wrong(node: Node) -> bool:
    return any(below.span.error for below in node.all())


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _remark(node: Node) -> str:
    """What is said of a span beside its name: tokens, money, the model, the case that it gave."""
    known = node.span.attributes
    sides = [known.get(key) for key in (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS)]
    tokens = sum(side for side in sides if isinstance(side, int))
    usd = known.get(f"{semconv.USAGE}usd")
    words = [f"{tokens:,} tokens" if tokens else "", money(usd) if isinstance(usd, float) and usd else ""]
    words += [str(known.get(semconv.STEP_CASE, "")), str(known.get(semconv.SPAN_STATUS, ""))]
    told = " · ".join(filter(None, words))
    return f' <span class="remark">{esc(told)}</span>' if told else ""
