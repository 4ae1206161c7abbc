"""What is wrong with steps themselves: prompts, tools, repeated writes, inputs that nobody reads."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from agentflow.exceptions import Problem
from agentflow.path import MapStep, Step
from agentflow.steps.function import FunctionStep
from agentflow.steps.kinds import is_agent, is_planner
from agentflow.steps.prompting import fillable, parts_of_fields, placeholders
from agentflow.steps.reading import tree_of
from agentflow.tools import Tool
from agentflow.typeref import plain

if TYPE_CHECKING:
    from agentflow.steps.agent import Agent
    from agentflow.steps.planner import Planner

Steps = Mapping[str, Step[Any, Any]]
# Types whose schema cannot fail, so that pydantic is not loaded for them.
_PLAIN = (str, int, float, bool, type(None), list, dict, Any)


def body_of(step: Step[Any, Any]) -> Step[Any, Any]:
    """The step that does the work: of a map, the one that runs for each item."""
    return step.body if isinstance(step, MapStep) else step


def agents_of(body: Step[Any, Any]) -> Iterator[Agent[Any, Any]]:
    """An agent with those below it; nothing for other steps."""
    if is_agent(body):
        yield body
        for below in (*body.handoffs, *body.agents_as_tools):
            yield from agents_of(below)


def where(step: Step[Any, Any], *part: str) -> str:
    """How problems name the place of a step, or of a part of it in a definition that is data."""
    place = step.parts.at(*part) if step.parts is not None else step.place
    return f"step `{step.name}`" + (f" ({place})" if str(place) else "")


def prompt_problems(steps: Collection[Step[Any, Any]]) -> Iterator[Problem]:
    """Placeholders that no field fills; those of agents below an agent are filled from its input as well."""
    for step in steps:
        body = body_of(step)
        asked: list[Agent[Any, Any] | Planner[Any, Any]] = [body] if is_planner(body) else []
        asked += agents_of(body)
        known = fillable(body.takes) if asked else None
        for agent in asked if known is not None else ():
            for name in placeholders(agent.prompt):
                if known is not None and name not in known:
                    yield _unfilled(step, agent.name if agent is not body else "", name, known)

        for agent in asked:
            for said in parts_of_fields(agent.prompt):
                yield _partly(step, agent.name if agent is not body else "", said)


def _unfilled(step: Step[Any, Any], agent: str, name: str, known: set[str]) -> Problem:
    whose = f"the prompt of its agent `{agent}`" if agent else "its prompt"
    fields = f"fields are: {', '.join(sorted(known))}" if known else "its input has no fields"
    return Problem(
        code="AF113",
        what=f"{whose} wants `{{{name}}}` and its input has no such field",
        where=where(step, "options", "prompt"),
        hint=f"{fields}; write `{{{{{name}}}}}` for plain braces",
    )


def _partly(step: Step[Any, Any], agent: str, said: str) -> Problem:
    whose = f"the prompt of its agent `{agent}`" if agent else "its prompt"
    return Problem(
        code="AF113",
        what=f"{whose} wants `{{{said}}}`, and only whole fields are filled in",
        where=where(step, "options", "prompt"),
        hint=f"name a whole field, give the type a field of its own for this, or write `{{{{{said}}}}}` for plain braces",
    )


def turn_problems(steps: Collection[Step[Any, Any]]) -> Iterator[Problem]:
    """Agents that may not take a single turn, also below others; a step's own number below 0 stands in its spec."""
    for step in steps:
        body = body_of(step)
        for agent in agents_of(body):
            given: Any = agent.max_turns
            is_wrong = not isinstance(given, int) or isinstance(given, bool) or given < 1
            if is_wrong and (not given or agent is not body):
                yield Problem(
                    code="AF111",
                    what=f"`max_turns` of `{agent.name}` is {agent.max_turns}",
                    where=where(step, "options", "max_turns"),
                    hint="give a number above 0, or leave it out",
                )


def tool_problems(steps: Collection[Step[Any, Any]]) -> Iterator[Problem]:
    """Tools that cannot be offered to a model: plain functions, no schema, or two of one name."""
    for step in steps:
        body = body_of(step)
        offered = [body.given] if is_planner(body) else []
        offered += [agent.tools for agent in agents_of(body)]
        for tools in offered:
            yield from _unusable(step, tools)


def _unusable(step: Step[Any, Any], tools: Sequence[Any]) -> Iterator[Problem]:
    names: set[str] = set()
    for tool in tools:
        name = getattr(tool, "name", None) or getattr(tool, "__name__", None) or repr(tool)
        if not isinstance(tool, Tool):
            yield _tool_problem(
                step, f"its tool `{name}` is a `{type(tool).__name__}`", "make it one with `@tool`"
            )
        elif fault := _schema_fault(tool):
            yield _tool_problem(
                step,
                f"its tool `{name}` has no schema: {fault}",
                "annotate its parameters with types that JSON can hold",
            )
        elif name in names:
            yield Problem(
                code="AF112",
                what=f"two of its tools are called `{name}`",
                where=where(step, "options", "tools"),
                hint='rename one: `@tool(name="...")`',
            )

        names.add(name)


def _tool_problem(step: Step[Any, Any], what: str, hint: str) -> Problem:
    return Problem(code="AF117", what=what, where=where(step, "options", "tools"), hint=hint)


def _schema_fault(tool: Tool[..., Any]) -> str:
    if _is_plain(tool):
        return ""

    try:
        return "" if tool.parameters else "it is empty"
    except Exception as error:  # noqa: BLE001 - the hooks of a parameter's type may raise anything
        return f"{type(error).__name__}: {error}".partition("\n")[0]


def _is_plain(tool: Tool[..., Any]) -> bool:
    try:
        hints = inspect.get_annotations(tool.function, eval_str=True)
    except Exception:  # noqa: BLE001 - whatever evaluating an annotation raises is said with the schema
        return False

    taken = [type_ for name, type_ in hints.items() if name != "return"]
    names = inspect.signature(tool.function).parameters
    return all(map(_is_plain_type, taken)) and not any(n.startswith(("_", "model_")) for n in names)


def _is_plain_type(type_: Any) -> bool:
    type_ = plain(type_)
    origin = get_origin(type_)
    if origin is Literal:
        return True

    inside = get_args(type_)
    return (type_ in _PLAIN) if not inside else origin in (list, dict) and all(map(_is_plain_type, inside))


def idle_planners(steps: Collection[Step[Any, Any]]) -> Iterator[Problem]:
    """Warnings of planners that have no tools."""
    for step in steps:
        body = body_of(step)
        if is_planner(body) and not body.given and not body.mcp_servers:
            yield Problem(
                code="AF154",
                what="it chooses among tools and has none, so it can find nothing",
                where=where(step),
                hint="give it `tools=[...]`, or use an `Agent`, which works without",
                severity="warning",
            )


def unsure_reads(steps: Collection[Step[Any, Any]]) -> Iterator[tuple[str, str]]:
    """Reads by a local name, which only a run knows: `for one in (a, b): ctx.output(one)`."""
    for step in steps:
        body = body_of(step)
        if isinstance(body, FunctionStep):
            local = inspect.unwrap(body.function).__code__.co_varnames
            known = body.read_steps() if body.wants_context else {}
            yield from ((step.name, name) for name, read in known.items() if read is None and name in local)


def repeated_writes(steps: Collection[Step[Any, Any]]) -> Iterator[Problem]:
    """Warnings of steps that are tried again and hold a write that must not be made twice."""
    for step in steps:
        body = body_of(step)
        if body.retry is None or body.retry.times < 1:
            continue

        once = [tool for tool in held(body) if tool.effect == "write" and not tool.idempotent]
        for name in dict.fromkeys(tool.name for tool in once):
            yield Problem(
                code="AF151",
                what=f"it is tried again where it fails, and its tool `{name}` is a write that must not be repeated",
                where=where(step),
                hint="put the write into a step of its own without `retries`, or label the tool `idempotent=True` if it is",
                severity="warning",
            )


def held(body: Step[Any, Any]) -> list[Tool[..., Any]]:
    """The tools that a step may call, with those of agents below it."""
    if isinstance(body, FunctionStep):
        return body.named_tools()

    given: list[Any] = [*body.given] if is_planner(body) else []
    given += [tool for agent in agents_of(body) for tool in agent.tools]
    return [tool for tool in given if isinstance(tool, Tool)]


def unread_fields(first: Step[Any, Any], others: Collection[Step[Any, Any]], place: str) -> Iterator[Problem]:
    """Warnings of fields of a workflow's input that nothing reads; silent where that cannot be told.

    It is read by the first step, and by `others` (all steps of the workflow) where they ask for `ctx.input`.
    """
    body = body_of(first)
    fields = fillable(body.takes) if isinstance(body, FunctionStep) and plain(body.takes) is not str else None
    read = _attributes(body, 0) if isinstance(body, FunctionStep) and fields else None
    if not fields or read is None or not read <= fields or any(map(_may_see_input, others)):
        return  # a method or property may read any field

    for name in sorted(fields - read):
        yield Problem(
            code="AF150",
            what=f"nothing reads the field `{name}` of its input",
            where=place,
            hint=f"use it in `{first.name}`, or leave it out of the type",
            severity="warning",
        )


def _may_see_input(step: Step[Any, Any]) -> bool:
    body = body_of(step)
    if not isinstance(body, FunctionStep) or not body.wants_context:
        return False

    read = _attributes(body, 1)
    return read is None or "input" in read


def _attributes(body: FunctionStep[Any, Any], parameter: int) -> set[str] | None:
    """What a function reads of a parameter by name; None where the whole of it goes on."""
    tree = tree_of(inspect.unwrap(body.function))
    if tree is None:
        return None

    name = list(inspect.signature(body.function).parameters)[parameter]
    read: set[str] = set()
    parts: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner) as value, attr=field) if owner == name:
                read.add(field)
                parts.add(id(value))
            case ast.Subscript(value=ast.Name(id=owner) as value, slice=ast.Constant(value=str(field))) if (
                owner == name
            ):
                read.add(field)
                parts.add(id(value))
            case ast.Name(id=owner, ctx=ast.Load()) if owner == name and id(node) not in parts:
                return None
            case _:
                pass

    return read
