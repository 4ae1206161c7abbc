"""Workflows that are broken where it is easily overlooked, and sound ones that look broken; each with what the check says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Literal, TypeVar

from agentflow import (
    Agent,
    Answer,
    Approval,
    Budget,
    Context,
    Flow,
    Planner,
    Rejected,
    Wait,
    Workflow,
    each,
    gather,
    step,
    tool,
)
from agentflow.path import Place, Step
from agentflow.spec import Retry
from tests.definition import sound, stock
from tests.definition.sound import (
    Again,
    Edges,
    add,
    grade,
    last,
    measure,
    one,
    opened,
    small,
    spread,
    three,
    total,
    two,
)

T = TypeVar("T")
Build = Callable[[], Workflow[Any, Any]]
odd: Any = None


class Colour(Enum):
    """Two of them."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Parcel(Generic[T]):
    """Something in something."""

    content: T


@dataclass(frozen=True, kw_only=True)
class Topic:
    """What is asked for."""

    text: str
    about: str = ""


@tool(effect="read", returns="untrusted")
async def search(query: str) -> str:
    """Search."""
    return query


@tool(effect="write", returns="trusted")
async def send(text: str) -> str:
    """Send."""
    return text


@tool(effect="read", returns="trusted", private=True)
async def files(query: str) -> str:
    """Search our own files."""
    return query


@tool(effect="read", returns="untrusted", outside=True)
async def post(text: str) -> str:
    """Ask a service."""
    return text


def lose(thing: Any) -> Any:
    """A thing of which type checkers know nothing, so that it can be put where it does not fit."""
    return thing


def typed(name: str, takes: Any, gives: Any) -> Step[Any, Any]:
    return Step(name, takes=takes, gives=gives, place=Place(__file__, 1))


def alone(only: Any, **more: Any) -> Workflow[Any, Any]:
    return Workflow("w", start=only, end=only, **more)


def line(*steps: Any, **more: Any) -> Workflow[Any, Any]:
    path = steps[0]
    for following in steps[1:]:
        path = path >> following

    return Workflow(more.pop("name", "w"), start=steps[0], end=steps[-1], edges=[path], **more)


def agent(name: str, *tools: Any, **more: Any) -> Agent[Any, Any]:
    given: dict[str, Any] = {"takes": str, "gives": str, "tools": tools, **more}
    return Agent(name, **given)


def planner(*tools: Any, **more: Any) -> Planner[Any, Any]:
    given: dict[str, Any] = {"takes": str, "gives": Answer, "tools": tools or (search,), **more}
    return Planner("find", **given)


def chosen(gives: Any, *cases: Any) -> Workflow[Any, Any]:
    """A step that gives one of several things, and a step for each of some cases."""
    first, end = typed("choose", int, gives), typed("end", int, int)
    edges: Edges = [first.on(case) >> typed(f"s{n}", Any, int) >> end for n, case in enumerate(cases)]
    return Workflow("w", start=first, end=end, edges=edges)


def edge(gives: Any, takes: Any) -> Workflow[Any, Any]:
    return line(typed("give", int, gives), typed("take", takes, int))


def mapped(gives: Any, **limits: Any) -> Workflow[Any, Any]:
    return line(typed("give", int, gives), each(one, **limits), total)


def prompted(prompt: str) -> Workflow[Any, Any]:
    return alone(agent("ask", takes=Topic, prompt=prompt))


def looped(times: Any) -> Workflow[Any, Any]:
    edges: Edges = [small.on(Again, at_most=times) >> opened >> small, small.on(int) >> last]
    return Workflow("w", start=small, end=last, edges=edges)


def helper(context: Context) -> int:
    return context.output(two)


@step
async def by_module(number: int, ctx: Context) -> int:
    return ctx.output(sound.two)


@step
async def by_keyword(number: int, ctx: Context) -> int:
    return ctx.output(step=two)


@step
async def by_another_name(number: int, ctx: Context) -> int:
    context = ctx
    return context.output(two)


@step
async def by_helper(number: int, ctx: Context) -> int:
    return helper(ctx)


@step
async def of_itself(number: int, ctx: Context) -> int:
    return ctx.output(of_itself) if number else 0


@step
async def joined(numbers: tuple[int, int], ctx: Context) -> int:
    return numbers[0] + ctx.output(two)


@step
async def part_of(topic: Topic) -> str:
    return topic.text


@step(retries=2)
async def sending(text: str) -> str:
    return await send(text)


def inside(*steps: Any, **more: Any) -> Workflow[Any, Any]:
    made = line(*steps, **more)
    return Workflow("outer", start=made, end=made)


def _by_a_case(name: str) -> Workflow[Any, Any]:
    """A step that may not have run when it is read."""
    reader = {"module": by_module, "keyword": by_keyword, "name": by_another_name, "helper": by_helper}[name]
    edges: Edges = [grade.on(int) >> two >> reader, grade.on(str) >> measure >> reader]
    return Workflow("w", start=grade, end=reader, edges=edges)


def _around() -> Workflow[Any, Any]:
    """An approval on one of two branches only."""
    first, sign = agent("first", search), Approval("sign", of=str)
    end = agent("end", send, takes=tuple[str, str])
    return Workflow("w", start=first, end=end, edges=[first >> gather(sign, stock.say) >> end])


def _refused(*, handled: bool) -> Workflow[Any, Any]:
    either: Any = int | str
    sign: Approval[Any] = Approval("sign", of=either)
    edges: Edges = [grade >> sign, sign.on(int) >> last, sign.on(str) >> measure >> last]
    edges += [sign.on(Rejected) >> stock.shelve >> measure] if handled else []
    return Workflow("w", start=grade, end=last, edges=edges)


def _conditional() -> Workflow[Any, Any]:
    """A join one of whose branches may leave it for the end."""
    edges: Edges = [one >> two, one >> grade, gather(two, grade.on(int)) >> add >> last]
    return Workflow("w", start=one, end=last, edges=[*edges, grade.on(str) >> measure >> last])


def _join_in_a_loop() -> Workflow[Any, Any]:
    edges: Edges = [one >> gather(two, three) >> add >> small, small.on(Again, at_most=3) >> opened >> one]
    return Workflow("w", start=one, end=last, edges=[*edges, small.on(int) >> last])


BROKEN: dict[str, tuple[Build, str]] = {
    # cases
    "one value of a literal": (lambda: chosen(Literal["a", "b"], Literal["a"]), "AF106"),
    "one truth value": (lambda: chosen(bool, Literal[True]), "AF106"),
    "one member of an enum": (lambda: chosen(Colour, Literal[Colour.RED]), "AF106"),
    "a value of no literal": (
        lambda: chosen(Literal["a", "b"], Literal["a"], Literal["b"], Literal["c"]),
        "AF105",
    ),
    "none of an optional": (lambda: chosen(int | None, int), "AF106"),
    "a generic of another": (lambda: chosen(Parcel[int] | Parcel[str], Parcel[int]), "AF106"),
    "the narrower class": (lambda: chosen(stock.Notes, stock.Revision), "AF106"),
    # types
    "a generic for another": (lambda: edge(Parcel[int], Parcel[str]), "AF107"),
    "an optional generic": (lambda: edge(Parcel[int] | None, Parcel[int]), "AF107"),
    "a list of optionals": (lambda: edge(list[int | None], list[int]), "AF107"),
    "a row as another dict": (lambda: edge(sound.Row, dict[str, str]), "AF107"),
    "an enum for its value": (lambda: edge(Colour, str), "AF107"),
    "an enum for one member": (lambda: edge(Colour, Literal[Colour.RED]), "AF107"),
    "a set for a list": (lambda: edge(set[int], list[int]), "AF107"),
    "bytes for text": (lambda: edge(bytes, str), "AF107"),
    "nested values": (lambda: edge(dict[str, list[int]], dict[str, list[str]]), "AF107"),
    # maps
    "a map over an iterator": (lambda: mapped(Iterator[int]), "AF108"),
    "a map over an optional list": (lambda: mapped(list[int] | None), "AF108"),
    "a map over a list or one": (lambda: mapped(list[int] | int), "AF108"),
    "a map over an object": (lambda: mapped(object), "AF108"),
    "a map of optional items": (lambda: mapped(list[int | None]), "AF107"),
    # what is read
    "read in a module": (lambda: _by_a_case("module"), "AF110"),
    "read by keyword": (lambda: _by_a_case("keyword"), "AF110"),
    "read by another name": (lambda: _by_a_case("name"), "AF110"),
    "read by a helper": (lambda: _by_a_case("helper"), "AF110"),
    "read of itself": (lambda: alone(of_itself), "AF110"),
    "read of a step inside": (lambda: line(Workflow("in", start=two, end=two), by_helper), "AF110"),
    "read of a step outside": (lambda: line(two, Workflow("in", start=by_helper, end=by_helper)), "AF110"),
    # numbers
    "no number for a loop": (lambda: looped("3"), "AF111"),
    "half a round": (lambda: looped(2.5), "AF111"),
    "a truth for a round": (lambda: looped(True), "AF111"),
    "no number for a map": (lambda: mapped(list[int], at_most=odd), "AF111"),
    "half an item": (lambda: mapped(list[int], parallel=0.5), "AF111"),
    "half a call": (lambda: alone(planner(max_calls=2.5)), "AF111"),
    "no plan": (lambda: alone(planner(max_rounds=odd)), "AF111"),
    "no number of turns": (lambda: alone(agent("a", max_turns=odd)), "AF111"),
    "a text for turns": (lambda: alone(agent("a", max_turns="3")), "AF111"),
    "no turns of an agent below": (
        lambda: alone(agent("a", handoffs=[agent("b", max_turns=0)])),
        "AF111",
    ),
    "a timeout of no number": (lambda: alone(agent("a", timeout=math.nan)), "AF111"),
    "an endless timeout": (lambda: alone(agent("a", timeout=math.inf)), "AF111"),
    "an endless wait": (lambda: alone(Wait("nap", of=int, seconds=math.inf)), "AF111"),
    "an endless deadline": (lambda: alone(Approval("sign", of=int, deadline=math.inf)), "AF111"),
    "half a retry": (lambda: alone(agent("a", retries=Retry(times=lose(2.5)))), "AF111"),
    "a retry that jitters over": (lambda: alone(agent("a", retries=Retry(times=1, jitter=2))), "AF111"),
    # names
    "two sub-workflows of a name": (
        lambda: line(Workflow("in", start=one, end=one), Workflow("in", start=two, end=two)),
        "AF112",
    ),
    # prompts and tools
    "a part of a field": (lambda: prompted("About {about.name}."), "AF113"),
    "an item of a field": (lambda: prompted("About {about[0]}."), "AF113"),
    "a field as it is shown": (lambda: prompted("About {about!r}."), "AF113"),
    "a part of nothing": (lambda: prompted("About {topic.name}."), "AF113"),
    "one of two fields": (lambda: prompted("{text} and {nothing}"), "AF113"),
    "a planner without tools": (lambda: alone(Planner("p", takes=str, gives=Answer, tools=())), "AF154"),
    "a planner inside without tools": (
        lambda: inside(Planner("p", takes=str, gives=Answer, tools=())),
        "AF154",
    ),
    # approvals
    "an approval inside that nobody is asked for": (
        lambda: inside(
            Workflow(
                "in",
                start=one,
                end=last,
                edges=[one.on(int) >> last, one.on(str) >> Approval("sign", of=str) >> measure >> last],
            )
        ),
        "AF105 AF116",
    ),
    "an approval after the end": (
        lambda: Workflow("w", start=one, end=two, edges=[one >> two >> Approval("sign", of=int)]),
        "AF103",
    ),
    # budgets
    "a step's budget": (lambda: alone(agent("a", budget=Budget(model_calls=0))), "AF130"),
    "a budget around": (
        lambda: alone(Workflow("in", start=(a := agent("a")), end=a), budget=Budget(model_calls=0)),
        "AF130",
    ),
    "a budget inside": (lambda: inside(agent("a"), budget=Budget(model_calls=0)), "AF130"),
    "a budget of two": (lambda: line(agent("a"), agent("b"), budget=Budget(model_calls=1)), "AF130"),
    "a budget of branches": (
        lambda: line(
            one,
            gather(agent("a", takes=int, gives=int), agent("b", takes=int, gives=int)),
            add,
            budget=Budget(model_calls=1),
        ),
        "AF130",
    ),
    "minutes below a wait": (
        lambda: alone(Wait("nap", of=int, seconds=600), budget=Budget(minutes=1)),
        "AF130",
    ),
    # warnings
    "a field that nobody reads": (lambda: alone(part_of), "AF150"),
    "a field that nobody reads inside": (lambda: inside(part_of), "AF150"),
    "a field that nobody reads, two deep": (
        lambda: line(Workflow("in", start=(deep := alone(part_of)), end=deep), stock.say, name="two"),
        "AF150",
    ),
    "a write again, below": (
        lambda: alone(agent("a", handoffs=[agent("b", send)], retries=2)),
        "AF151",
    ),
    "a write again, inside": (lambda: inside(sending), "AF151"),
    "a write again, by a planner": (lambda: alone(planner(send, retries=1)), "AF151"),
    "an embedded model": (lambda: alone(agent("a", gives=list[int], model="embedded")), "AF118"),
    "an agent below of the embedded model": (
        lambda: alone(agent("a", handoffs=[agent("b", gives=list[int], model="embedded")])),
        "AF118",
    ),
    "a model of the past": (lambda: alone(agent("a", model="gpt-4-32k")), "AF170"),
    # flows
    "untrusted to a write": (lambda: line(agent("a", search), agent("b", send)), "AF201"),
    "an approval on one branch": (_around, "AF201"),
    "a waiver of another step": (
        lambda: line(
            agent("a", search),
            agent("b", send),
            allow=[Flow("untrusted-to-write", step="a", because="a test")],
        ),
        "AF201 AF211",
    ),
    "a waiver of no step": (
        lambda: alone(one, allow=[Flow("untrusted-to-write", step="nobody", because="a test")]),
        "AF211",
    ),
    "a waiver without a word": (lambda: alone(one, allow=[Flow("all-three", because=" ")]), "AF210"),
    "all three, over agents that are asked": (
        lambda: alone(agent("a", files, agents_as_tools=[agent("b", post)])),
        "AF204",
    ),
    "all three, over a hand-off": (
        lambda: alone(agent("a", search, handoffs=[agent("b", files, handoffs=[agent("c", post)])])),
        "AF204",
    ),
    "all three, over a workflow and a map": (
        lambda: line(
            agent("a", search),
            agent("b", files, gives=list[str]),
            each(Workflow("in", start=(c := agent("c", post)), end=c)),
        ),
        "AF204",
    ),
}

COMBINED: dict[str, tuple[Build, str]] = {
    "a case, a prompt": (
        lambda: Workflow(
            "w",
            start=grade,
            end=(end := agent("end", takes=int, prompt="{number}")),
            edges=[grade.on(int) >> end],
        ),
        "AF106 AF113",
    ),
    "a loop, a map, an orphan": (
        lambda: Workflow(
            "w",
            start=small,
            end=last,
            edges=[
                small.on(Again) >> opened >> small,
                small.on(int) >> (lose(each(two))) >> last,
                three >> last,
            ],
        ),
        "AF102 AF104 AF107 AF108",
    ),
    "a prompt, no turns, a write again": (
        lambda: alone(agent("a", send, prompt="{x.y}", max_turns=0, retries=1)),
        "AF111 AF113 AF151",
    ),
    "an error and a leak": (
        lambda: line(agent("a", search), agent("b", send, timeout=-1)),
        "AF111 AF201",
    ),
    "an error and a field": (lambda: line(part_of, last), "AF107 AF150"),
    "an error and a model": (lambda: line(agent("a", model="gpt-4-32k"), last), "AF107 AF170"),
    "an error and the embedded model": (
        lambda: line(agent("a", gives=list[int], model="embedded"), last),
        "AF107 AF118",
    ),
    "an error and a planner": (
        lambda: line(Planner("p", takes=str, gives=Answer, tools=()), last),
        "AF107 AF154",
    ),
    "a budget and an orphan": (
        lambda: Workflow(
            "w",
            start=(a := agent("a")),
            end=a,
            edges=[stock.say >> a],
            budget=Budget(model_calls=0),
        ),
        "AF102 AF130",
    ),
    "two budgets": (
        lambda: alone(
            Workflow("in", start=(a := agent("a", budget=Budget(model_calls=0))), end=a),
            budget=Budget(model_calls=0),
        ),
        "AF130 AF130",
    ),
    "inside and outside": (
        lambda: line(Workflow("in", start=one, end=measure, edges=[lose(one) >> measure]), measure),
        "AF107 AF107",
    ),
    "a read and a join": (
        lambda: Workflow(
            "w", start=grade, end=joined, edges=[lose(gather(grade.on(int), grade.on(str))) >> joined]
        ),
        "AF107 AF110 AF115",
    ),
    "no tools, an orphan, a type": (
        lambda: Workflow(
            "w",
            start=(ask := agent("ask", len, handoffs=[agent("other", str)])),
            end=last,
            edges=[ask >> last, one >> last],
        ),
        "AF102 AF107 AF117 AF117",
    ),
    "a wait, a timeout, an edge": (
        lambda: line(Wait("nap", of=str, seconds=-1), agent("a", timeout=0), one),
        "AF107 AF111 AF111",
    ),
    "an approval, its deadline, a name": (
        lambda: line(one, Approval("one", of=int, deadline=0), Wait("nap", of=int, seconds=-1)),
        "AF111 AF112",
    ),
    "a waiver without a word, and what it was for": (
        lambda: line(agent("a", search), agent("b", send), allow=[Flow("untrusted-to-write", because="")]),
        "AF201 AF210",
    ),
    "a case of a literal, and what it leads to": (
        lambda: Workflow(
            "w",
            start=(first := typed("choose", int, Literal["a", "b"])),
            end=last,
            edges=[first.on(lose(Literal["a"])) >> last],
        ),
        "AF106 AF107",
    ),
}

SOUND: dict[str, Build] = {
    "all values of a literal": lambda: chosen(Literal["a", "b"], Literal["a"], Literal["b"]),
    "a literal at once": lambda: chosen(Literal["a", "b"], Literal["a", "b"]),
    "a literal as text": lambda: chosen(Literal["a", "b"] | int, str, int),
    "both truth values": lambda: chosen(bool, Literal[True], Literal[False]),
    "all members of an enum": lambda: chosen(Colour, Literal[Colour.RED], Literal[Colour.BLUE]),
    "an enum at once": lambda: chosen(Colour | None, Colour, None),
    "none as a case": lambda: chosen(int | None, int, None),
    "none by its type": lambda: chosen(int | None, int, type(None)),
    "several at once": lambda: chosen(int | str | None, int | str, None),
    "the wider class": lambda: chosen(stock.Revision | stock.Draft, stock.Notes, stock.Draft),
    "anything": lambda: chosen(int | str, object),
    "generics": lambda: chosen(Parcel[int] | Parcel[str], Parcel[int], Parcel[str]),
    "a generic of anything": lambda: edge(Parcel[int], Parcel[Any]),
    "generics of either": lambda: edge(Parcel[int] | Parcel[str], Parcel[Any]),
    "an enum as its members": lambda: edge(Colour, Literal[Colour.RED, Colour.BLUE]),
    "a truth value as its values": lambda: edge(bool, Literal[True, False]),
    "a literal as one of several": lambda: edge(Literal["a", "b"], Literal["a", "b"]),
    "a row as a dict": lambda: edge(sound.Row, dict[str, int]),
    "a row as a mapping": lambda: edge(sound.Row, dict[str, Any]),
    "lists of lists": lambda: edge(list[list[int]], list[list[float]]),
    "an optional that is taken": lambda: edge(int | None, None | int),
    "a map over a set": lambda: mapped(set[int]),
    "a map over either list": lambda: mapped(list[int] | tuple[int, ...]),
    "a map over a tuple": lambda: mapped(tuple[int, int]),
    "a map in a map": lambda: line(
        typed("give", int, list[list[int]]),
        each(Workflow("in", start=(m := each(one, name="m")), end=total, edges=[m >> total])),
        total,
    ),
    "a map with nothing to do": lambda: mapped(list[int], at_most=1, parallel=8),
    "braces that are no field": lambda: prompted('{text}: {"a": 1}, {}, {{about.name}}, { x }, {a: b}'),
    "a prompt over two lines": lambda: prompted("{text}\n{about}"),
    "a sentence that ends in a file": lambda: prompted("Sum up what stands in {text}.md"),
    "one read after the other": lambda: line(two, by_module),
    "a read by keyword": lambda: line(two, by_keyword),
    "a read by a helper": lambda: line(two, one, by_helper),
    "a read of a branch": lambda: Workflow(
        "w", start=one, end=joined, edges=[one >> gather(two, three) >> joined]
    ),
    "a join in a loop": _join_in_a_loop,
    "a join that one may leave": _conditional,
    "an approval of several cases": lambda: _refused(handled=False),
    "an approval of several cases and a refusal": lambda: _refused(handled=True),
    "one step in two workflows": lambda: line(
        Workflow("in", start=one, end=one), one, Workflow("too", start=one, end=one)
    ),
    "a budget of what is needed": lambda: line(agent("a"), agent("b"), budget=Budget(model_calls=2)),
    "a budget of nothing for nothing": lambda: line(one, two, budget=Budget(model_calls=0, usd=0)),
    "a budget of a map that may be empty": lambda: line(
        spread, each(agent("a", takes=int, gives=int)), total, budget=Budget(model_calls=0)
    ),
    "a waiver that is needed": lambda: line(
        agent("a", search),
        agent("b", send),
        allow=[Flow("untrusted-to-write", step="b", because="a test")],
    ),
    "a person between": lambda: line(agent("a", search), Approval("sign", of=str), agent("b", send)),
    "hand-offs": lambda: alone(agent("a", search, handoffs=[agent("b"), agent("c", handoffs=[agent("d")])])),
    "an agent that is asked": lambda: alone(agent("a", agents_as_tools=[agent("b", search)])),
    "a retry without a write": lambda: alone(agent("a", search, retries=3)),
    "a long wait": lambda: alone(Wait("nap", of=int, seconds=10**7)),
    "a wait of nothing": lambda: alone(Wait("nap", of=int, seconds=0)),
}
