"""`tools`: what a project's planners may use, with schema and labels, and one call of one by hand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table

from agentflow import app
from agentflow.cli.arguments import Options
from agentflow.cli.definitions import project_here
from agentflow.cli.output import (
    DONE,
    EXIT_CODES,
    FAILED,
    count,
    err,
    error_data,
    escape,
    out,
    plain,
    print_error,
    print_failure,
    print_json,
    print_output,
)
from agentflow.cli.reading import from_file, json_or_text, pairs_of
from agentflow.cli.running import settings_for
from agentflow.cli.view import RunView
from agentflow.exceptions import ProjectError, UnknownName
from agentflow.journal.memory import MemoryJournal
from agentflow.project import Found, Project
from agentflow.spec import Flow
from agentflow.steps.function import FunctionStep
from agentflow.tools import Tool, call
from agentflow.workflow import Workflow


def list_tools(name: str | None, *, as_json: bool) -> int:
    """Show the tools of the project, or all that is known of one; gives the exit code."""
    found, errors = project_here().tools()
    chosen = [_named(found, name)] if name else found
    if as_json:
        print_json({"tools": [_data(one) for one in chosen], "errors": [error_data(e) for e in errors]})
        return FAILED if errors else DONE

    if name:
        _print_tool(chosen[0])
    else:
        _print_table(chosen)

    for error in errors:
        print_error(error, as_json=False)

    return FAILED if errors else DONE


def _data(found: Found) -> dict[str, Any]:
    tool = found.tool
    return {
        "name": tool.name,
        "module": found.module,
        "origin": tool.origin,
        "description": tool.description,
        "labels": tool.labels._asdict(),
        "idempotent": tool.idempotent,
        "limits": dict(_limits(tool)),
        "parameters": tool.parameters,
    }


def _limits(tool: Tool[..., Any]) -> Iterator[tuple[str, Any]]:
    rate = f"{tool.rate.calls} in {tool.rate.per:g} s" if tool.rate else None
    known = {
        "timeout": tool.timeout,
        "retries": tool.retries or None,
        "concurrency": tool.concurrency,
        "rate": rate,
        "max_output": tool.max_output,
    }
    yield from ((name, value) for name, value in known.items() if value is not None)


def _words(tool: Tool[..., Any]) -> str:
    """The labels as a person reads them, what is to be heeded in colour."""
    effects = {"write": "[yellow]write[/]" + (" (idempotent)" if tool.idempotent else "")}
    labels = (
        effects.get(tool.effect, tool.effect),
        "[yellow]untrusted[/]" if tool.returns == "untrusted" else "trusted",
        "[yellow]private[/]" if tool.private else "",
        "[yellow]outside[/]" if tool.outside else "",
        "[green]asks[/]" if tool.labels.needs_approval else "",
    )
    return ", ".join(filter(None, labels))


def _print_table(found: Sequence[Found]) -> None:
    if not found:
        out.print("no tools: a tool is a function with `@tool`, in a module of `tools/`")
        return

    table = Table(box=None, pad_edge=False)
    for column in ("tool", "labels", "limits", "what it does"):
        table.add_column(column, style="bold" if column == "tool" else "")

    for one in found:
        limits = ", ".join(
            f"{name} {value:g}" if isinstance(value, int | float) else f"{name} {value}"
            for name, value in _limits(one.tool)
        )
        purpose = one.tool.description.partition("\n")[0]
        table.add_row(escape(one.tool.name), _words(one.tool), escape(limits), escape(purpose))

    out.print(table)
    out.print(
        f"[dim]{count(len(found), 'tool')}; one of them: agentflow tools list NAME; try it: agentflow tools call NAME key=value[/]"
    )


def _print_tool(found: Found) -> None:
    tool = found.tool
    out.print(f"[bold]{escape(tool.name)}[/]  {_words(tool)}")
    out.print(f"[dim]{escape(found.module)}" + (f"  {escape(tool.origin)}" if tool.origin else "") + "[/]")
    for name, value in _limits(tool):
        out.print(f"{name}: {value}")

    out.print()
    out.print(escape(tool.description or "it has no description"))
    out.print()
    _print_parameters(tool.parameters)


def _print_parameters(schema: Mapping[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("argument", "type", "", "what it is"):
        table.add_column(column, style="bold" if column == "argument" else "")

    required = schema.get("required", [])
    for name, part in schema.get("properties", {}).items():
        given = "required" if name in required else f"default {part.get('default')!r}"
        table.add_row(escape(name), escape(_type(part)), escape(given), escape(part.get("description", "")))

    out.print(table if schema.get("properties") else "it takes nothing")


def _type(part: Mapping[str, Any]) -> str:
    if options := part.get("anyOf") or part.get("oneOf"):
        return " or ".join(map(_type, options))

    if "enum" in part:
        return " or ".join(map(repr, part["enum"]))

    kind = str(part.get("type") or str(part.get("$ref", "any")).rpartition("/")[2])
    return f"{kind} of {_type(part['items'])}" if kind == "array" and part.get("items") else kind


def _named(found: Sequence[Found], name: str) -> Found:
    """The tool of that name; of several, the one that `module.name` says."""
    same = [one for one in found if name in (one.tool.name, one.full_name)]
    if not same:
        raise UnknownName("tool", name, [one.tool.name for one in found])

    if len(same) > 1:
        names = " or ".join(f"`{one.full_name}`" for one in same)
        raise ProjectError(f"{len(same)} tools are named `{name}`", hint=f"say which: {names}")

    return same[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A call by hand: of which tool, with what; `is_sure` where a person need not be asked any more."""

    name: str
    words: Sequence[str]
    input_file: str | None
    is_sure: bool


def call_tool(trial: Trial, options: Options) -> int:
    """Call a tool once, in a run that is not kept, and show what it gives; gives the exit code."""
    project = project_here()
    found, _ = project.tools()
    tool = _named(found, trial.name).tool
    arguments = _arguments(tool, trial)
    tool.validate(arguments)
    return asyncio.run(_called(project, tool, arguments, options, is_sure=trial.is_sure))


def _arguments(tool: Tool[..., Any], trial: Trial) -> dict[str, Any]:
    kinds = tool.parameters.get("properties", {})
    given = from_file(trial.input_file) if trial.input_file is not None else {}
    if not isinstance(given, dict):
        raise ProjectError(f"`{trial.input_file}` is no JSON object", hint="give the arguments by name")

    pairs = pairs_of(f"tool `{tool.name}`", trial.words)
    is_text = {name for name, part in kinds.items() if part.get("type") == "string"}
    return {
        **given,
        **{name: text if name in is_text else json_or_text(text) for name, text in pairs.items()},
    }


async def _called(
    project: Project, tool: Tool[..., Any], arguments: Mapping[str, Any], options: Options, *, is_sure: bool
) -> int:
    view = None if options.as_json else RunView(err, live=err.is_terminal)
    settings = settings_for(project, MemoryJournal(), options, view)
    if is_sure:
        settings = replace(settings, approver=_yes)

    run = app.run(_workflow(tool), dict(arguments), settings=settings)
    with view or nullcontext(), redirect_stdout(sys.stderr) if options.as_json else nullcontext():
        result = await run.result()

    return _reported(tool, result, as_json=options.as_json)


async def _yes(pending: app.Pending) -> app.Decision | None:
    del pending
    return app.Decision(approved=True)


def _workflow(tool: Tool[..., Any]) -> Workflow[Any, Any]:
    """One step that makes the call, so that it is approved, bounded and recorded as in any run."""

    async def try_it(arguments: dict[str, Any]) -> Any:
        # Whoever tries a tool out is asked before it writes, also where a workflow need not.
        asking = replace(tool, needs_approval=tool.needs_approval or tool.effect == "write")
        return await call(asking, arguments)

    step = FunctionStep[Any, Any](try_it)
    step.name = tool.name
    allow = [Flow("unchecked-tool", because="it is called by hand")]
    return Workflow("call", start=step, end=step, edges=[], allow=allow)


def _reported(tool: Tool[..., Any], result: app.Result[Any], *, as_json: bool) -> int:
    if result.status == "waiting":
        raise ProjectError(
            f"`{tool.name}` needs a person's approval, and nobody can be asked", hint="add `--yes`"
        )

    if as_json:
        error = plain(result.error) if result.error else None
        print_json(
            {
                "tool": tool.name,
                "status": result.status,
                "result": plain(result.output) if not error else None,
                "error": error,
            }
        )
    elif result.error is not None:
        print_failure("", result.error)
    else:
        print_output(result.output)

    return EXIT_CODES.get(result.status, FAILED)
