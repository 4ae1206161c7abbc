"""The calls that one attempt of a step makes: from what its options say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agentflow.bounds.amount import Amount
from agentflow.evidence import Answer, Evidence
from agentflow.spec import StepSpec, servers_in
from agentflow.typeref import type_name

# What a model writes at most where no limit is set for it.
OUTPUT_LIMIT = 4096
_MAX_CALLS, _MAX_ROUNDS, _MAX_TURNS = 12, 4, 10
_ANSWER = type_name(Answer)
_EVIDENCE = (type_name(list[Evidence]), type_name(Sequence[Evidence]))
# Of these the model's text is taken as it is; what must fit a type is sent back once.
_TEXT = ("str", _ANSWER, type_name(list[Evidence]))


class Calls(NamedTuple):
    """The calls of one attempt: `of_models`, `of_tools`, and those by tool."""

    of_models: Amount
    of_tools: Amount
    by_tool: Mapping[str, Amount]


NONE = Calls(Amount(value=0), Amount(value=0), {})


def most_calls(step: StepSpec, named: Sequence[str] = ()) -> Calls:
    """The most calls that an attempt makes. A function calls the tools that it names as often as it likes."""
    match step.kind:
        case "function" if named:
            calls = Amount(value=None, why=f"calls {_listed(named)} as often as its code likes")
            return Calls(Amount(value=0), calls, dict.fromkeys(named, calls))
        case "planner":
            return _of_planner(step)
        case "agent":
            return _of_agent(step)
        case _:
            return NONE


def _listed(tools: Sequence[str]) -> str:
    return ", ".join(f"`{tool.rpartition(':')[2]}`" for tool in dict.fromkeys(tools))


def least_calls(step: StepSpec) -> int:
    """The model calls without which a step does not end well."""
    if step.kind == "planner":
        return 1 if step.gives in _EVIDENCE else 2

    return 1 if step.kind == "agent" else 0


def _of_planner(step: StepSpec) -> Calls:
    most = int(step.options.get("max_calls", _MAX_CALLS))
    # Each plan but the last makes a call at least, and each may be sent back once.
    rounds = min(int(step.options.get("max_rounds", _MAX_ROUNDS)), most)
    last = 0 if step.gives in _EVIDENCE else 1 if step.gives == _ANSWER else 2
    why = f" x ({rounds} rounds x 2{f' + {last}' if last else ''})"
    calls = Amount(value=most, why=f" x {most} calls")
    by_tool = {str(tool): calls for tool in step.options.get("tools", ())}
    return Calls(
        Amount(value=2 * rounds + last, why=why),
        calls if by_tool or any(servers_in(step.options)) else Amount(value=0),
        by_tool,
    )


def _of_agent(step: StepSpec) -> Calls:
    own = [{"name": step.id, "gives": step.gives, **step.options}]
    team = list(_with(own, "handoffs"))
    turns = int(step.options.get("max_turns", _MAX_TURNS))
    is_mended = any(agent.get("gives", "str") not in _TEXT for agent in team)
    models = Amount(value=turns * (2 if is_mended else 1), why=f" x {turns} turns{' x 2' * is_mended}")
    asked = [str(a.get("name", "")) for agent in team for a in agent.get("agents_as_tools", ())]
    if asked:
        models = Amount(value=None, why=f"may ask `{asked[0]}` any number of times in a turn")

    return Calls(models, *_tools_of(list(_with(own, "handoffs", "agents_as_tools"))))


def _tools_of(team: Sequence[Mapping[str, Any]]) -> tuple[Amount, Mapping[str, Amount]]:
    tools = list(dict.fromkeys(str(tool) for agent in team for tool in agent.get("tools", ())))
    servers = [name for agent in team for name, _ in servers_in(agent)]
    if not tools and not servers:
        return Amount(value=0), {}

    unbounded = Amount(value=None, why="may ask for any number of calls in a turn")
    return unbounded, dict.fromkeys(tools, unbounded)


def _with(agents: Sequence[Mapping[str, Any]], *names: str) -> Iterator[Mapping[str, Any]]:
    """Agents, and those that stand in them under the names."""
    for agent in agents:
        yield agent
        for name in names:
            yield from _with(agent.get(name, ()), *names)


def written(step: StepSpec) -> int:
    """The most tokens that a model writes in one call of the step."""
    settings: Mapping[str, Any] = step.options.get("settings", {})
    limit = settings.get("max_tokens")
    return limit if isinstance(limit, int) else OUTPUT_LIMIT
