"""What is written on a drawing: the name, kind, limits and tools of a step, the case and bound of an edge."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from agentflow.spec import Budget, EdgeSpec, StepSpec, WorkflowSpec, servers_in
from agentflow.typeref import short_name

_LINE, _NAME, _NAME_LINES, _DESCRIPTION = 38, 30, 3, 140  # characters, lines
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff\s]+"
)
_WORDS = re.compile(r".+?(?:[_./:,\- ]+|$)")
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def plain(text: object) -> str:
    """`text` on one line; what cannot be drawn, or would turn the direction of writing, becomes a space."""
    return _UNPRINTABLE.sub(" ", str(text)).strip()


def name_lines(name: str) -> list[str]:
    """A name broken where its words end; a very long one is cut."""
    words = _WORDS.findall(plain(name) or "(no name)")
    lines = [""]
    for part in (word[at : at + _NAME] for word in words for at in range(0, len(word), _NAME)):
        if lines[-1] and len(lines[-1] + part.rstrip()) > _NAME:
            lines.append("")

        lines[-1] += part

    kept = [line.strip() for line in lines[:_NAME_LINES]]
    return kept if len(lines) <= _NAME_LINES else [*kept[:-1], kept[-1][: _NAME - 1] + "…"]


def title_lines(step: StepSpec) -> list[str]:
    """The step's name; a gather that was not named itself is named by what it does."""
    if step.kind == "gather" and step.id.startswith("gather("):
        return ["gather"]

    return name_lines(step.id)


def note_lines(step: StepSpec) -> list[str]:
    """The kind and the limits of a step, in lines short enough for a box."""
    kind = "" if step.kind in ("function", "gather") else step.kind
    notes = [kind, *_kind_notes(step), *_attempt_notes(step)]
    if step.workflow is not None and step.workflow.budget is not None:
        notes.append(budget(step.workflow.budget))

    lines = _filled(note for note in notes if note)
    return [*lines, each(step)] if step.map is not None else lines


def each(step: StepSpec) -> str:
    """The bounds of a map; empty for a step that is none."""
    return f"each, at most {step.map.at_most}, {step.map.parallel} at once" if step.map is not None else ""


def _kind_notes(step: StepSpec) -> Iterator[str]:
    options = step.options
    if step.kind == "function":
        called = step.call.rpartition(":")[2]
        yield f"{called}()" if called not in ("", step.id) else ""
    elif step.kind == "planner":
        rounds = f" in {_counted(options['max_rounds'], 'round')}" if "max_rounds" in options else ""
        yield _at_most(options.get("max_calls"), "call") + rounds
    elif step.kind == "agent":
        yield _at_most(options.get("max_turns"), "turn")
    elif step.kind == "approval":
        yield "a person decides"
    elif step.kind == "workflow" and step.workflow is not None and step.workflow.name != step.id:
        yield step.workflow.name
    elif step.kind == "wait":
        yield duration(float(options.get("seconds", 0)))


def _at_most(number: int | None, noun: str) -> str:
    return "" if number is None else f"at most {_counted(number, noun)}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _attempt_notes(step: StepSpec) -> Iterator[str]:
    if step.timeout is not None:
        yield f"within {duration(step.timeout)}"

    if step.retry is not None:
        yield f"{step.retry.times} {'retry' if step.retry.times == 1 else 'retries'}"


def duration(seconds: float) -> str:
    """Seconds in the largest unit that divides them."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"

    return f"{seconds:g} s"


def tag_lines(step: StepSpec) -> list[str]:
    """What a step reaches beside its input: its tools, other agents, MCP servers."""
    options = step.options
    tags = (
        ("tools", [str(name).rpartition(":")[2] for name in options.get("tools", ())]),
        ("hands off to", _agent_names(options.get("handoffs", ()))),
        ("asks", _agent_names(options.get("agents_as_tools", ()))),
        ("MCP", [name for name, _ in servers_in(options)]),
    )
    return [line for label, names in tags if names for line in _filled(names, label)]


def _agent_names(agents: Iterable[Any]) -> list[str]:
    return [str(agent.get("name", "")) for agent in agents]


def _filled(parts: Iterable[str], label: str = "") -> list[str]:
    """Parts joined into lines, broken between parts only; after a label they are a list."""
    between = ", " if label else " · "
    lines: list[str] = []
    for part in map(plain, parts):
        if lines and len(lines[-1]) + len(between) + len(part) <= _LINE:
            lines[-1] += between + part
        else:
            if lines and label:
                lines[-1] += ","

            lines.append(part if lines or not label else f"{label}: {part}")

    return [shortened(line, 2 * _LINE) for line in lines]


def shortened(text: str, length: int) -> str:
    """`text` with an ellipsis for what goes beyond `length` characters."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def edge_lines(edge: EdgeSpec) -> list[str]:
    """The case and the bound of an edge; empty where it is followed always."""
    lines = [type_text(edge.on)] if edge.on is not None else []
    return [*lines, f"at most {edge.at_most}"] if edge.at_most is not None else lines


def type_text(type_: str) -> str:
    """A type's name for an edge; empty where it says nothing."""
    return "" if type_ == "Any" else shortened(plain(short_name(type_)), _LINE)


def budget(limits: Budget) -> str:
    """A budget in words; empty where nothing is limited."""
    numbers = ((limits.model_calls, "model call"), (limits.tool_calls, "tool call"), (limits.tokens, "token"))
    words = [_counted(number, noun) for number, noun in numbers if number is not None]
    if limits.usd is not None:
        words.append(f"${limits.usd:,.2f}")

    if limits.minutes is not None:
        words.append(f"{limits.minutes:g} min")

    return "budget " + ", ".join(words) if words else ""


def heading(spec: WorkflowSpec) -> list[str]:
    """What stands above a drawing: the name, what the workflow does, its budget."""
    limits = budget(spec.budget) if spec.budget is not None else ""
    description = shortened(plain(spec.description), _DESCRIPTION)
    return [shortened(plain(spec.name), 2 * _LINE), *filter(None, (description, limits))]
