"""A run goes off from another one: what that one did before is kept and not done again, what comes after is live."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow import Agent, Approval, Context, MemoryJournal, Settings, Workflow, each, gather, step, tool
from agentflow.app import Fork, diff, fork, replay, run
from agentflow.events import Event, OperationFinished, OperationStarted, RunStarted, StepFinished, StepStarted
from agentflow.exceptions import DefinitionChanged, InputInvalid, ProjectError, UnknownName
from agentflow.testing import path_of
from agentflow.tools import call
from agentflow.tracing.ids import span_id, trace_id
from agentflow.tracing.spans import spans_of

done: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


@tool(effect="write")
async def send(text: str) -> str:
    """Send a text."""
    done.append(text)
    return f"sent {text}"


@dataclass(frozen=True, kw_only=True)
class Note:
    text: str
    pages: int = 1


@dataclass(frozen=True, kw_only=True)
class Long(Note):
    pass


@step
async def plan(note: Note) -> list[Note]:
    done.append("plan")
    return [Note(text=f"{note.text} {n}") for n in range(2)]


@step
async def post(note: Note) -> Note:
    return Note(text=await call(send, {"text": note.text}))


@step
async def sort(notes: list[Note]) -> Note | Long:
    text = ", ".join(note.text for note in notes)
    return Long(text=text) if len(text) > 40 else Note(text=text)


@step
async def tell(note: Note, ctx: Context) -> str:
    sent: str = await call(send, {"text": f"in all: {note.text}"})
    return sent if ctx.input.pages == 1 else f"{ctx.input.pages} pages, {sent}"


@step
async def cut(note: Long) -> Note:
    return Note(text=note.text[:10])


mail = Workflow(
    "mail",
    start=plan,
    end=tell,
    edges=[plan >> each(post) >> sort, sort.on(Note) >> tell, sort.on(Long) >> cut >> tell],
)


async def recorded(journal: MemoryJournal, run_id: str = "old", text: str = "hello") -> list[Event]:
    await run(mail, Note(text=text), run_id=run_id, settings=Settings(journal=journal)).result()
    return await journal.read(run_id)


async def test_what_was_done_before_is_not_done_again() -> None:
    """The fork has the history up to the step, does that one anew, and names where it comes from."""
    journal = MemoryJournal()
    old = await recorded(journal)
    done.clear()

    forked = await fork(mail, "old", Fork(at="tell", run_id="new"), settings=Settings(journal=journal))

    assert await forked == "sent in all: sent hello 0, sent hello 1"
    assert done == ["in all: sent hello 0, sent hello 1"]
    events = await journal.read("new")
    cut = next(n for n, e in enumerate(old) if isinstance(e, StepStarted) and e.step == "tell#1")
    started = events[0]
    assert isinstance(started, RunStarted)
    assert started.run == "new"
    assert started.forked["from"]["run"] == "old"
    assert started.forked["from"]["seq"] == cut
    assert started.forked["at"] == "tell#1"
    assert len(started.forked["from"]["head"]) == 64
    assert [(e.type, e.at) for e in events[:cut]] == [(e.type, e.at) for e in old[:cut]]
    assert path_of(events) == path_of(old)
    assert (await replay(mail, journal, "new")).unwrap().output == "sent in all: sent hello 0, sent hello 1"


async def test_the_root_span_links_to_where_it_comes_from() -> None:
    """In another trace: the root of the old run, with the event and the head there."""
    journal = MemoryJournal()
    await recorded(journal)
    await (await fork(mail, "old", Fork(at="tell", run_id="new"), settings=Settings(journal=journal)))

    root = next(span for span in spans_of(await journal.read("new")) if span.parent_id is None)

    (link,) = root.links
    assert (link.trace_id, link.span_id) == (trace_id("old"), span_id("old"))
    assert link.attributes["agentflow.link"] == "forked"
    assert link.attributes["agentflow.fork.run"] == "old"
    assert root.trace_id == trace_id("new")


async def test_other_values_go_on_from_there() -> None:
    """Of an output, of the input: type-checked, and kept on the record."""
    journal = MemoryJournal()
    await recorded(journal)
    done.clear()
    values = {"sort.output.text": "other"}

    forked = await fork(
        mail, "old", Fork(at="tell", values=values, run_id="new"), settings=Settings(journal=journal)
    )

    assert await forked == "sent in all: other"
    assert done == ["in all: other"]
    started = (await journal.read("new"))[0]
    assert isinstance(started, RunStarted)
    assert started.forked["set"] == values
    more = Fork(at="tell", values={"input.pages": 2}, run_id="more")
    assert (await (await fork(mail, "new", more, settings=Settings(journal=journal)))).startswith(
        "2 pages, sent"
    )
    for name in ("new", "more"):
        assert (await replay(mail, journal, name)).divergence is None
    again = Fork(at="plan", values={"input.text": "bye", "input.pages": 3}, run_id="anew")
    assert await (await fork(mail, "old", again, settings=Settings(journal=journal))) == (
        "3 pages, sent in all: sent bye 0, sent bye 1"
    )


@pytest.mark.parametrize(
    ("at", "values", "error", "said"),
    [
        ("tall", {}, UnknownName, "no activation of a step in this run `tall`"),
        ("post#1[7]", {}, UnknownName, "post"),
        ("tell", {"input.txt": 1}, ProjectError, "there is no `txt`"),
        ("tell", {"input.text": 1}, InputInvalid, "text"),
        ("tell", {"input.pages": "many"}, InputInvalid, "pages"),
        ("tell", {"plan.output[2].text": "x"}, ProjectError, "there is no item 2"),
        ("tell", {"plan.output.text": "x"}, ProjectError, "leads into a list"),
        ("tell", {"sort.output.text.more": "x"}, ProjectError, "leads into a plain value"),
        ("tell", {"tell.output": "x"}, UnknownName, "no step that had ended there `tell`"),
        ("tell", {"post.output": []}, ProjectError, "follows from others"),
        ("tell", {"post#1.output": []}, ProjectError, "follows from others"),
        ("tell", {"sort": "x"}, ProjectError, "is no place of a value"),
        ("sort", {"plan.output": []}, ProjectError, "would not have come to `sort#1`"),
    ],
)
async def test_what_cannot_be_is_refused(
    at: str, values: dict[str, Any], error: type[Exception], said: str
) -> None:
    """Each with what is wrong and what there is; nothing is written then."""
    journal = MemoryJournal()
    await recorded(journal)

    with pytest.raises(error) as refused:
        await fork(mail, "old", Fork(at=at, values=values, run_id="new"), settings=Settings(journal=journal))

    assert said in f"{refused.value} {getattr(refused.value, 'hint', '')}"
    assert await journal.read("new") == []


async def test_a_fork_of_a_fork_and_of_a_fork_in_its_own_past() -> None:
    """Each names who did what before it, and replays."""
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    await recorded(journal)
    await (await fork(mail, "old", Fork(at="sort", run_id="b"), settings=settings))
    await (await fork(mail, "b", Fork(at="tell", run_id="c"), settings=settings))
    await (await fork(mail, "c", Fork(at="post#1[0]", run_id="d"), settings=settings))

    lines = {}
    for name in "bcd":
        started = (await journal.read(name))[0]
        assert isinstance(started, RunStarted)
        lines[name] = [run for run, _ in started.forked["line"]]
        assert (await replay(mail, journal, name)).divergence is None

    assert lines == {"b": ["old"], "c": ["old", "b"], "d": ["old"]}


async def test_a_run_that_failed_or_waits_is_forked_before_that() -> None:
    """With another value in place of what made it fail."""

    @step
    async def check(number: int) -> int:
        if number > 5:
            raise ValueError("too much")

        return number

    @step
    async def double(number: int) -> int:
        return number * 2

    approve = Approval("approve", of=int)
    flow = Workflow("flow", start=double, end=approve, edges=[double >> check >> approve])
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    assert (await run(flow, 4, run_id="old", settings=settings).result()).status == "failed"

    waiting = await fork(
        flow, "old", Fork(at="check", values={"double.output": 5}, run_id="a"), settings=settings
    )
    assert (await waiting.result()).status == "waiting"
    again = await fork(flow, "a", Fork(at="approve", run_id="b"), settings=settings)
    assert (await again.result()).status == "waiting"
    for name in ("old", "a", "b"):
        assert (await replay(flow, journal, name)).divergence is None


async def test_a_write_that_was_under_way_beside_it_is_not_repeated() -> None:
    """It was begun before the fork: how it ended is known, and nobody is asked about it."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    @tool(effect="write")
    async def pay(amount: int) -> str:
        """Pay."""
        done.append(f"paid {amount}")
        begun.set()
        await may_end.wait()
        return "paid"

    @step
    async def start(number: int) -> int:
        return number

    @step
    async def paying(number: int) -> str:
        paid: str = await call(pay, {"amount": number})
        return paid

    @step
    async def slow(number: int) -> int:
        await begun.wait()
        return number

    @step
    async def late(number: int) -> int:
        may_end.set()
        return number

    @step
    async def join(both: tuple[str, int]) -> str:
        return f"{both[0]} {both[1]}"

    flow = Workflow(
        "flow", start=start, end=join, edges=[start >> gather(paying, slow >> late) >> join]
    )  # fmt: skip
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    assert await run(flow, 3, run_id="old", settings=settings) == "paid 3"

    assert await (await fork(flow, "old", Fork(at="late", run_id="new"), settings=settings)) == "paid 3"

    assert done == ["paid 3"]
    events = await journal.read("new")
    assert sum(isinstance(e, OperationStarted) for e in events) == 1
    assert sum(isinstance(e, OperationFinished) for e in events) == 1


async def test_another_model_is_asked_from_there_on_and_the_difference_is_shown() -> None:
    """The old model's answers before the fork stay; `diff` names the first call that is different."""
    first = Agent("first", takes=str, gives=str, prompt="One.")
    second = Agent("second", takes=str, gives=str, prompt="Two.")
    flow = Workflow("flow", start=first, end=second, edges=[first >> second])
    models: dict[str, Any] = {
        "a": ScriptedModel([[assistant_message("a1")], [assistant_message("a2")]]),
        "b": ScriptedModel([[assistant_message("b2")]]),
    }
    journal = MemoryJournal()

    def with_model(name: str) -> Settings:
        return Settings(journal=journal, model=f"scripted/{name}", models=models)

    assert await run(flow, "go", run_id="old", settings=with_model("a")) == "a2"
    assert await (await fork(flow, "old", Fork(at="second", run_id="new"), settings=with_model("b"))) == "b2"

    found = diff(await journal.read("old"), await journal.read("new"))

    assert not found.same
    assert [row.step for row in found.rows if not row.same] == ["second#1"]
    assert found.first is not None
    step_, parting = found.first
    assert (step_, parting.part, parting.what) == ("second#1", "result", "chat")
    assert (parting.path, parting.a, parting.b) == ("[0].content[0].text", '"a2"', '"b2"')
    assert (found.a.model, found.b.model) == ("scripted/a", "scripted/a -> scripted/b")
    assert found.a.cost.model_calls == found.b.cost.model_calls == 2
    assert found.definition == []


async def test_another_definition_needs_to_be_wanted() -> None:
    """It is refused with what is different, and goes on with it where that is asked for."""
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    await recorded(journal)
    other = Workflow(
        "mail",
        start=plan,
        end=tell,
        edges=[plan >> each(post, parallel=1) >> sort, sort.on(Note) >> tell, sort.on(Long) >> cut >> tell],
    )

    with pytest.raises(DefinitionChanged, match="parallel"):
        await fork(other, "old", Fork(at="tell", run_id="new"), settings=settings)

    moved = await fork(other, "old", Fork(at="tell", run_id="new"), settings=settings, migrate=True)
    assert await moved == "sent in all: sent hello 0, sent hello 1"
    assert (await replay(other, journal, "new")).taken == 4
    assert diff(await journal.read("old"), await journal.read("new")).definition != []


async def test_two_runs_of_other_inputs_part_at_the_input() -> None:
    """The input first, then each step with all that is different in it; a way that one did not go is said."""
    journal = MemoryJournal()
    old = await recorded(journal)
    long = await recorded(journal, "long", "a very long text that has to be cut")

    found = diff(old, long)

    assert found.first is not None
    assert found.first[0] == ""
    assert (found.first[1].part, found.first[1].path) == ("input", "text")
    rows = {row.step: row for row in found.rows}
    assert rows["cut#1"].a is None
    assert [p.part for p in rows["plan#1"].partings] == ["output"]
    assert [p.part for p in rows["post#1[0]"].partings] == ["request", "result", "output"]
    same = diff(old, old)
    assert same.same
    assert same.first is None
    assert isinstance(old[2], StepFinished)


async def test_marks_of_text_from_outside_are_no_difference() -> None:
    """Each run marks what is from outside in its own way: two that were asked the same and did the same are alike."""

    @tool(returns="untrusted")
    async def look(what: str) -> str:
        """Look something up."""
        return f"{what} is green"

    agent = Agent("agent", takes=str, gives=str, prompt="Look.", tools=[look])
    flow = Workflow("flow", start=agent, end=agent)
    journal = MemoryJournal()
    for run_id in ("one", "two"):
        turns = [[function_call("look", {"what": "grass"}, call_id="c1")], [assistant_message("green")]]
        settings = Settings(journal=journal, model="scripted/m", models={"m": ScriptedModel(turns)})
        assert await run(flow, "go", run_id=run_id, settings=settings) == "green"

    one, two = await journal.read("one"), await journal.read("two")
    chats = [
        [
            str(e.request.data)
            for e in events
            if isinstance(e, OperationStarted) and e.kind == "chat" and e.request
        ]
        for events in (one, two)
    ]
    assert chats[0] != chats[1]
    assert diff(one, two).same


async def test_what_cannot_go_on_leaves_no_run_behind() -> None:
    """A definition that no longer has what is open there is refused before anything is written."""
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    await recorded(journal)
    short = Workflow("mail", start=plan, end=sort, edges=[plan >> each(post) >> sort])

    with pytest.raises(DefinitionChanged):
        await fork(short, "old", Fork(at="tell", run_id="new"), settings=settings, migrate=True)

    assert await journal.read("new") == []


async def test_a_fork_replays_with_the_names_that_its_past_was_made_with() -> None:
    """Steps that say which run they are in say it as they did then."""

    @step
    async def name(number: int, ctx: Context) -> str:
        return ctx.run_id

    @step
    async def names(first: str, ctx: Context) -> str:
        return f"{first}, {ctx.run_id}"

    flow = Workflow("flow", start=name, end=names, edges=[name >> names])
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    await run(flow, 1, run_id="old", settings=settings)

    assert await (await fork(flow, "old", Fork(at="names", run_id="new"), settings=settings)) == "old, new"
    assert (await replay(flow, journal, "new")).divergence is None
