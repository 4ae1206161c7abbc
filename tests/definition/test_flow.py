"""Where untrusted content can reach a write, and how private data could leave: each flow is found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from agentflow import (
    Agent,
    Approval,
    Context,
    Planner,
    Rejected,
    Tool,
    Wait,
    Workflow,
    each,
    gather,
    step,
    tool,
)
from agentflow.exceptions import Problem
from agentflow.path import Place
from agentflow.tools import call

Flows = Workflow[Any, Any]
Build = Callable[[], Flows]


@tool(effect="read", returns="untrusted", outside=True)
async def search(query: str) -> str:
    """Search the web."""
    return query


@tool(effect="read", returns="untrusted")
async def read_mail(query: str) -> str:
    """Read what others sent."""
    return query


@tool(effect="read", returns="trusted", private=True)
async def files(query: str) -> str:
    """Search our own documents."""
    return query


@tool(effect="read", returns="trusted", private=True, outside=True)
async def customers(query: str) -> str:
    """Look customers up where they are kept, at a service."""
    return query


@tool(effect="write", returns="trusted", outside=True)
async def send(text: str) -> str:
    """Send a message."""
    return text


@tool(effect="write", returns="trusted")
async def note(text: str) -> str:
    """Write into a file here."""
    return text


@tool(effect="write", returns="trusted", outside=True, needs_approval=True)
async def send_asked(text: str) -> str:
    """Send a message that a person has seen."""
    return text


@tool(effect="write", returns="untrusted")
async def shell(command: str) -> str:
    """Run a command on this machine."""
    return command


@tool(effect="none", returns="trusted")
async def clock() -> str:
    """Say what time it is."""
    return ""


@step
async def begin(text: str) -> str:
    return text


@step
async def tidy(text: str) -> str:
    return text


@step
async def mail(text: str) -> str:
    return str(await call(send, {"text": text}))


@step
async def keep(text: str) -> str:
    return str(await call(note, {"text": text}))


@step
async def ask_web(text: str) -> str:
    return str(await call(search, {"query": text}))


@step
async def ask_files(text: str) -> str:
    return str(await call(files, {"query": text}))


@step
async def ask_customers(text: str) -> str:
    return str(await call(customers, {"query": text}))


@step
async def ask_customers_again(text: str) -> str:
    return str(await call(customers, {"query": text}))


@step
async def run_it(text: str) -> str:
    return str(await call(shell, {"command": text}))


@step
async def mail_asked(text: str) -> str:
    return str(await call(send_asked, {"text": text}))


@step
async def mail_the_read(text: str, ctx: Context) -> str:
    return str(await call(send, {"text": ctx.output(read)}))


@step
async def mail_the_inner(text: str, ctx: Context) -> str:
    return str(await call(send, {"text": ctx.output(looked_up)}))


@step
async def mail_the_approved(text: str, ctx: Context) -> str:
    return str(await call(send, {"text": ctx.output(look_over)}))


@step
async def search_and_keep(text: str) -> str:
    return str(await call(note, {"text": await call(search, {"query": text})}))


@step
async def search_files_and_web(text: str) -> str:
    return str(await call(search, {"query": await call(files, {"query": text})}))


@step
async def join(texts: tuple[str, str]) -> str:
    return "".join(texts)


@step
async def split(text: str) -> list[str]:
    return text.split()


@step
async def put_together(texts: list[str]) -> str:
    return "".join(texts)


@step
async def is_enough(text: str) -> str | int:
    return text


@step
async def again(number: int) -> str:
    return str(number)


@step
async def refused(refusal: Rejected) -> str:
    return refusal.comment


look_over = Approval("look_over", of=str)


def agent(name: str, *tools: Tool[..., Any], **options: Any) -> Agent[str, str]:
    return Agent(name, takes=str, gives=str, tools=tools, **options)


def plan(name: str, *tools: Tool[..., Any]) -> Planner[str, str]:
    return Planner(name, takes=str, gives=str, tools=tools)


read = plan("read", read_mail)
web = plan("web", search)
own = plan("own", files)
looked_up = Workflow("looked_up", start=tidy, end=read, edges=[tidy >> read])


def line(*steps: Any, **options: Any) -> Flows:
    """A workflow of steps one after another."""
    edges = [one >> other for one, other in pairwise(steps)]
    return Workflow("line", start=steps[0], end=steps[-1], edges=edges, **options)


def _in_parallel() -> Flows:
    edges = [begin >> gather(web, own) >> join >> mail]
    return Workflow("w", start=begin, end=mail, edges=edges)


def _by_output() -> Flows:
    return line(read, look_over, mail_the_read)


def _around_an_approval() -> Flows:
    edges = [read >> is_enough, is_enough.on(str) >> look_over >> mail, is_enough.on(int) >> again >> mail]
    return Workflow("w", start=read, end=mail, edges=edges)


def _in_a_loop() -> Flows:
    edges = [
        mail >> web >> is_enough,
        is_enough.on(int, at_most=2) >> again >> mail,
        is_enough.on(str) >> tidy,
    ]
    return Workflow("w", start=mail, end=tidy, edges=edges)


def _fetched_in_a_loop() -> Flows:
    edges = [run_it >> is_enough, is_enough.on(int, at_most=2) >> again >> run_it, is_enough.on(str) >> tidy]
    return Workflow("w", start=run_it, end=tidy, edges=edges)


def _into_a_workflow() -> Flows:
    return line(read, Workflow("inner", start=begin, end=mail, edges=[begin >> mail]), tidy)


def _out_of_a_workflow() -> Flows:
    return line(begin, Workflow("inner", start=tidy, end=read, edges=[tidy >> read]), mail)


def _two_workflows_deep() -> Flows:
    inner = Workflow("inner", start=tidy, end=keep, edges=[tidy >> keep])
    return line(read, Workflow("outer", start=begin, end=inner, edges=[begin >> inner]))


def _same_workflow_twice() -> Flows:
    first = Workflow("first", start=begin, end=keep, edges=[begin >> keep])
    second = Workflow("second", start=begin, end=keep, edges=[begin >> keep])
    return line(first, read, second)


def _mapped() -> Flows:
    return line(web, split, each(keep), put_together)


def _mapped_workflow() -> Flows:
    inner = Workflow("inner", start=ask_files, end=mail, edges=[ask_files >> mail])
    return line(split, each(inner), put_together)


def _handed_over() -> Flows:
    return line(agent("front", handoffs=[agent("back", read_mail), agent("desk", note)]))


def _asked_agent() -> Flows:
    return line(
        agent("front", files, agents_as_tools=[agent("scout", agents_as_tools=[agent("far", search)])])
    )


def _server() -> Flows:
    return line(agent("front", mcp_servers=[SimpleNamespace(name="tickets")]))


def _refusal_kept() -> Flows:
    edges = [read >> look_over, look_over.on(str) >> tidy, look_over.on(Rejected) >> refused >> tidy >> keep]
    return Workflow("w", start=read, end=keep, edges=edges)


LEAKS: dict[str, tuple[Build, list[str]]] = {
    "untrusted content to a write": (lambda: line(read, mail), ["AF201 mail: send"]),
    "over steps without tools": (lambda: line(read, tidy, agent("write"), mail), ["AF201 mail: send"]),
    "over a wait": (lambda: line(read, Wait("nap", of=str, seconds=1), mail), ["AF201 mail: send"]),
    "a write on this machine": (lambda: line(web, keep), ["AF201 keep: note"]),
    "to two writes": (lambda: line(read, keep, mail), ["AF201 keep: note", "AF201 mail: send"]),
    "in one planner": (lambda: line(plan("p", search, note)), ["AF201 p: note"]),
    "two writes of one agent": (lambda: line(agent("a", read_mail, note, send)), ["AF201 a: note, send"]),
    "one tool that reads and writes": (lambda: line(agent("a", shell)), ["AF201 a: shell"]),
    "what a write gave, to it again": (lambda: line(run_it, tidy, agent("a", shell)), ["AF201 a: shell"]),
    "in one function": (lambda: line(search_and_keep), ["AF201 search_and_keep: note"]),
    "in a later function by one tool": (_fetched_in_a_loop, ["AF201 run_it: shell"]),
    "a guarded and a free write": (lambda: line(agent("a", search, send_asked, note)), ["AF201 a: note"]),
    "read past an approval": (_by_output, ["AF201 mail_the_read: send"]),
    "the output of a sub-workflow, read past an approval": (
        lambda: line(looked_up, look_over, mail_the_inner),
        ["AF201 mail_the_inner: send"],
    ),
    "on an edge beside an approval": (_around_an_approval, ["AF201 mail: send"]),
    "untrusted again after an approval": (lambda: line(web, look_over, read, keep), ["AF201 keep: note"]),
    "by a cycle": (_in_a_loop, ["AF201 mail: send"]),
    "into a sub-workflow": (_into_a_workflow, ["AF201 inner/mail: send"]),
    "out of a sub-workflow": (_out_of_a_workflow, ["AF201 mail: send"]),
    "two sub-workflows deep": (_two_workflows_deep, ["AF201 outer/inner/keep: note"]),
    "in the second of two places": (_same_workflow_twice, ["AF201 second/keep: note"]),
    "in a map": (_mapped, ["AF201 keep: note"]),
    "between agents that hand over": (_handed_over, ["AF201 front: note"]),
    "private data to a write outside": (lambda: line(own, mail), ["AF203 mail: send"]),
    "private data to a search": (lambda: line(own, ask_web), ["AF203 ask_web: search"]),
    "private data by a function": (
        lambda: line(search_files_and_web),
        ["AF203 search_files_and_web: search"],
    ),
    "private data in an agent": (lambda: line(agent("a", files, send)), ["AF203 a: send"]),
    "private data to another's service": (
        lambda: line(own, ask_customers),
        ["AF203 ask_customers: customers"],
    ),
    "private data to another's service, past its own": (
        lambda: line(own, ask_customers, ask_customers_again),
        ["AF203 ask_customers: customers", "AF203 ask_customers_again: customers"],
    ),
    "private data to another's service, past many of its own": (
        lambda: line(own, ask_customers, plan("p", customers), ask_customers_again),
        ["AF203 ask_customers: customers", "AF203 p: customers", "AF203 ask_customers_again: customers"],
    ),
    "private data of two tools, to the service of one": (
        lambda: line(plan("p", customers, files), ask_customers),
        ["AF203 p: customers", "AF203 ask_customers: customers"],
    ),
    "private data of a mapped workflow": (_mapped_workflow, ["AF203 inner/mail: send"]),
    "both in a function": (lambda: line(read, ask_files, ask_web), ["AF202 ask_web: search"]),
    "both joined": (_in_parallel, ["AF201 mail: send", "AF202 mail: send"]),
    "all three": (lambda: line(plan("p", search, files)), ["AF204 p: search"]),
    "all three, two of them from before": (lambda: line(read, own, plan("p", search)), ["AF204 p: search"]),
    "all three with a write": (
        lambda: line(agent("a", read_mail, files, send)),
        ["AF201 a: send", "AF204 a: send"],
    ),
    "all three over agents that are asked": (_asked_agent, ["AF204 front: search"]),
    "a server of which nothing is known": (_server, ["AF201 front: mcp:tickets", "AF204 front: mcp:tickets"]),
}
SOUND: dict[str, Build] = {
    "no tools": lambda: line(begin, tidy),
    "only the run's input": lambda: line(begin, mail),
    "a search alone": lambda: line(web, tidy),
    "a search by what a search found": lambda: line(web, ask_web),
    "an agent that searches again and again": lambda: line(agent("a", search, clock)),
    "private data that stays": lambda: line(own, tidy, keep),
    "private data and untrusted content, and no way out": lambda: line(agent("a", read_mail, files)),
    "an approval before a write": lambda: line(read, look_over, mail),
    "an approval before what leaves": lambda: line(own, look_over, ask_web),
    "an approval some steps before": lambda: line(read, look_over, tidy, agent("write"), mail),
    "the approved value, read": lambda: line(read, look_over, tidy, mail_the_approved),
    "each item approved": lambda: line(web, split, each(look_over), put_together, keep),
    "a refusal": _refusal_kept,
    "a guarded tool of an agent": lambda: line(agent("a", read_mail, files, send_asked)),
    "a guarded tool of a function": lambda: line(read, own, mail_asked),
    "a write before what is untrusted": lambda: line(mail, read, tidy),
    "a service that gets back what is its own": lambda: line(ask_customers, tidy, ask_customers_again),
    "a service asked by an agent": lambda: line(agent("a", customers)),
    "a function that runs one tool": lambda: line(begin, run_it),
    "planners of their own": lambda: Workflow(
        "w", start=begin, end=join, edges=[begin >> gather(web, own) >> join]
    ),
    "an approval at the end of a sub-workflow": lambda: line(
        Workflow("inner", start=read, end=look_over, edges=[read >> look_over]), mail
    ),
}


def told(workflow: Flows) -> list[Problem]:
    """The warnings of flows; the check has others as well."""
    return [problem for problem in workflow.warnings() if problem.code.startswith("AF2")]


def found(workflow: Flows) -> list[str]:
    """The findings as text, such as `AF201 mail: send`."""
    return [f"{f.code} {f.step}: {', '.join(f.tools)}" for f in workflow.flows()]


@pytest.mark.parametrize("name", LEAKS)
def test_each_flow_is_found(name: str) -> None:
    """A workflow that could leak is warned of at the step that would, with the tools that it would do it with."""
    build, expected = LEAKS[name]

    assert found(build()) == expected


@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_found_where_nothing_flows(name: str) -> None:
    """A workflow in which a person looks at what matters, or where nothing matters, is not warned of."""
    assert found(SOUND[name]()) == []


@pytest.mark.parametrize("name", LEAKS)
def test_the_same_is_found_in_another_order(name: str) -> None:
    """What is found does not hang on the order in which steps and edges stand in the definition."""
    workflow = LEAKS[name][0]()
    edges = tuple(reversed(workflow.spec.edges))
    spec = replace(workflow.spec, steps=tuple(reversed(workflow.spec.steps)), edges=edges)
    steps = dict(reversed(list(workflow.steps.items())))

    assert sorted(found(Workflow.of_steps(spec, steps, Place("", 0)))) == sorted(LEAKS[name][1])


def test_a_function_in_many_steps_names_its_tools_once() -> None:
    """What a function's code names is looked up for the function, however many steps it stands in."""

    @step
    async def tell(text: str) -> str:
        return await send(text)

    steps = [tell.named(f"tell{n}") for n in range(20)]
    edges = [one >> other for one, other in pairwise(steps)]
    workflow = Workflow("w", start=steps[0], end=steps[-1], edges=edges)

    assert workflow.flows() == []
    assert list(vars(workflow)["_named_tools"].values()) == [[f"{__name__}:send"]]
