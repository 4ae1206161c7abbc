"""`report`: a run as one page that needs nothing and lets nothing that was said in the run do anything."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from agentflow import (
    Answer,
    Approval,
    Budget,
    Context,
    Decision,
    Evidence,
    MemoryJournal,
    Pending,
    Rejected,
    Settings,
    Workflow,
    each,
    gather,
    run,
    step,
    tool,
)
from agentflow.events import Event
from agentflow.reporting.account import Account, way_on
from agentflow.reporting.graph import Way, marked_picture
from agentflow.reporting.page import page
from agentflow.reporting.text import Allowance, duration, esc, shown_text
from agentflow.spec import from_data
from agentflow.toolkit.browser import find_chromium
from tests.cli.conftest import Launcher

HOSTILE = (
    "</pre></details></script><script>document.title='owned'</script><img src=https://evil.example/x onerror=alert(1)>"
    '<svg onload=alert(2)>"\' onmouseover=alert(3) x="</title></style><style>*{display:none}</style>'
    "<iframe srcdoc='<script>alert(4)</script>'></iframe><a href=javascript:alert(5)>x</a><meta http-equiv=refresh content=0>"
    "<base href=https://evil.example/> ]]> <!-- {{7*7}} ${7*7} \u202eevil\u202c \x00\x1b[31m \u200b \U000e0041"
)
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "p", "b", "br", "span", "dl", "div",
    "dt", "dd", "nav", "main", "section", "pre", "details", "summary", "code", "table", "thead", "tbody", "tr", "th", "td",
    "ul", "ol", "li", "meter", "svg", "rect", "g", "polygon", "polyline", "path", "text", "ellipse",
}  # fmt: skip
EMPTY = {"meta", "br", "rect", "polygon", "polyline", "path", "ellipse", "input", "img"}


class Elements(HTMLParser):
    """The elements of a page, each with its attributes, as a browser reads them; and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@tool(effect="read", returns="untrusted")
async def look(query: str) -> list[Evidence]:
    """Look something up."""
    if query == "bad":
        raise ValueError(HOSTILE)

    return [
        Evidence(
            text=f"{query} {HOSTILE}", source=f"https://x.example/{HOSTILE}", place=HOSTILE, title=HOSTILE
        )
    ]


@step
async def begin(text: str) -> str:
    return text


@step
async def looks(text: str) -> list[Evidence]:
    try:
        await look("bad")
    except ValueError:
        return await look(text)

    return []


sure = Approval("sure", of=list[Evidence], prompt=HOSTILE)


@step
async def answer(found: list[Evidence]) -> Answer:
    return Answer(text=f"{HOSTILE} [1] “made up by nobody at all”", citations=found)


@step
async def drop(refusal: Rejected) -> Answer:
    return Answer(text=f"refused by {refusal.by}")


@step
async def last(given: Answer) -> Answer:
    return given


hostile = Workflow(
    "hostile",
    start=begin,
    end=last,
    edges=[
        begin >> looks >> sure,
        sure.on(list[Evidence]) >> answer >> last,
        sure.on(Rejected) >> drop >> last,
    ],
    description=HOSTILE.replace("\x00", ""),
)


@step
async def count_up(count: int) -> list[int]:
    return list(range(count))


@step
async def item(number: int) -> list[Evidence]:
    return await look(f"{number} " + "long " * 400)


@step
async def add(found: list[list[Evidence]]) -> int:
    return len(found)


many = Workflow(
    "many", start=count_up, end=add, edges=[count_up >> each(item, at_most=2000, parallel=50) >> add]
)


@step(retries=1)
async def it(number: int, ctx: Context) -> int:
    if number == 1399 and ctx.attempt == 1:
        raise ValueError("too late")

    await look(f"{number}")
    return number


@step
async def total(numbers: list[int]) -> int:
    return sum(numbers)


late = Workflow(
    "late", start=count_up, end=total, edges=[count_up >> each(it, at_most=2000, parallel=50) >> total]
)


@step
async def breaks(text: str) -> str:
    raise ValueError(HOSTILE)


failing = Workflow("failing", start=begin, end=breaks, edges=[begin >> breaks], budget=Budget(tool_calls=5))


async def made(
    workflow: Workflow[Any, Any], value: Any, tmp_path: Path, *, yes: bool | None = True
) -> tuple[list[Event], str]:
    """The events of a run, and its head."""

    async def decide(pending: Pending) -> Decision | None:
        return None if yes is None else Decision(approved=yes, by=f"Ada {HOSTILE}", comment=HOSTILE)

    journal = MemoryJournal()
    settings = Settings(journal=journal, root=tmp_path, approver=decide)
    result = await run(workflow, value, run_id="r1", settings=settings, attributes={"by": HOSTILE}).result()
    return await journal.read(result.run_id), await journal.head(result.run_id)


async def test_nothing_that_was_said_becomes_an_element(tmp_path: Path) -> None:
    """Hostile text in results, errors, prompts, names and answers stays text: no element, no attribute, no link is of it."""
    for workflow, yes in ((hostile, True), (hostile, False), (hostile, None), (failing, True)):
        text = page(*await made(workflow, HOSTILE, tmp_path, yes=yes))
        elements = Elements(text)

        assert elements.open == []
        assert {tag for tag, _ in elements.found} <= ALLOWED
        attributes = [(name, value or "") for _, known in elements.found for name, value in known.items()]
        assert not [
            name for name, _ in attributes if name.startswith("on") or name in ("src", "srcdoc", "style")
        ]
        assert all(value.startswith("#") for name, value in attributes if name.endswith("href"))
        assert re.findall("[\x00\x1b\u202e\u200b\U000e0041]", text) == []
        assert "&lt;script&gt;" in text


async def test_a_browser_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    """In Chromium, from a file: no request but for the file, no dialog, no message of the policy; the style is there."""
    file = tmp_path / "run.html"
    file.write_text(page(*await made(hostile, HOSTILE, tmp_path)), encoding="utf-8")
    asked: list[str] = []
    told: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        opened = await browser.new_page(viewport={"width": 380, "height": 700})
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("console", lambda message: told.append(message.text))
        opened.on("dialog", lambda dialog: told.append(dialog.message))
        await opened.goto(file.as_uri())
        assert await opened.title() == "hostile · r1 · done"
        # The style sheet holds, so its hash is right; and on a narrow page nothing sticks out.
        assert await opened.evaluate("getComputedStyle(document.querySelector('nav')).display") == "flex"
        assert await opened.evaluate("document.documentElement.scrollWidth") <= 380
        await opened.keyboard.press("Tab")
        assert "Skip" in str(await opened.evaluate("document.activeElement.textContent"))
        # Each row can be reached and opened from the keyboard.
        await opened.focus("#waterfall summary")
        await opened.keyboard.press("Enter")
        assert await opened.evaluate("document.querySelector('#waterfall details').open")
        await browser.close()

    assert asked == [file.as_uri()]
    assert told == []


async def test_the_page_says_what_happened(tmp_path: Path) -> None:
    """What went wrong comes first; then answers and what is unsupported in them, approvals, costs, the chain."""
    text = page(*await made(hostile, "hello", tmp_path))

    for words in (
        "quote-not-found",
        "Approvals",
        "approved",
        "the chain of these",
        "look",
        "comes to this head",
    ):
        assert words in text
    assert text.index("What went wrong") < text.index("Answers and their sources") < text.index("Waterfall")
    assert "ValueError" in text


async def test_a_head_that_is_not_of_these_events_is_said(tmp_path: Path) -> None:
    """The page recomputes the chain; it does not repeat what it is told."""
    events, head = await made(hostile, "hello", tmp_path)

    assert "✗ the chain" in page(events[:-1], head)
    assert "✗ the chain" not in page(events, head)


async def test_a_large_run_has_a_bounded_page(tmp_path: Path) -> None:
    """1,200 events with long results: the page stays under 3 MB, what is cut is said, with the digest of all of it."""
    events, head = await made(many, 300, tmp_path)

    text = page(events, head)

    assert len(events) > 1200
    assert len(text.encode()) < 3_000_000
    assert "cut: the first" in text
    assert "300 below" in text


async def test_the_graph_shows_the_way_that_was_taken(tmp_path: Path) -> None:
    """Steps and edges that were not on the way are pale, also where an approval was refused; a failed one is red."""
    events, _ = await made(hostile, "hello", tmp_path, yes=False)
    spec, way = from_data(Account.of(events).spec), Way.of(events)
    svg = marked_picture(spec, way)

    assert way.visits["drop"] == 1
    assert re.search(r"<title>answer: not visited</title>", svg)
    assert re.search(r"<title>drop: visited</title>", svg)
    pale = re.findall(r'<g [^>]*class="(\w+)"[^>]*opacity[^>]*>\s*<title>([^<]*)</title>', svg)
    assert ("node", "answer: not visited") in pale
    assert {unescape(title) for kind, title in pale if kind == "edge"} == {"sure->answer", "answer->last"}

    failed, _ = await made(failing, "hello", tmp_path)
    assert Way.of(failed).failed == {"breaks"}


@step
async def halves(number: int) -> int:
    return number


async def test_a_gather_counts_as_visited(tmp_path: Path) -> None:
    """Gathers leave no events of their own."""

    @step
    async def one(number: int) -> int:
        return number

    @step
    async def two(number: int) -> int:
        return number

    @step
    async def both(numbers: tuple[int, int]) -> int:
        return sum(numbers)

    workflow = Workflow("joins", start=halves, end=both, edges=[halves >> gather(one, two) >> both])
    events, _ = await made(workflow, 1, tmp_path)
    svg = marked_picture(workflow.spec, Way.of(events))

    assert "not visited" not in svg
    assert "opacity" not in svg


async def test_what_to_do_next(tmp_path: Path) -> None:
    """A run that waits, failed or ran out of its budget says the command by which it goes on."""
    waiting, _ = await made(hostile, "x", tmp_path, yes=None)
    assert way_on(Account.of(waiting)) == ["agentflow approve r1 --yes   (or --no)"]
    failed, _ = await made(failing, "x", tmp_path)
    assert way_on(Account.of(failed)) == ["agentflow resume r1"]
    done, _ = await made(hostile, "x", tmp_path)
    assert way_on(Account.of(done)) == []
    # What ended the run is told once, not of its step as well.
    assert [p.place for p in Account.of(failed).problems] == ["run"]


def test_the_command_writes_the_file(project: Path, launch: Launcher) -> None:
    """Beside the current folder, or where it is told to; a folder that is not there is said."""
    launch("run", "sums", "numbers=[-1]", "--run-id", "one")

    assert launch("report", "one", "-o", "page.html").code == 0
    text = (project / "page.html").read_text(encoding="utf-8")
    assert "below zero" in text
    assert "agentflow resume one" in text
    said = launch("report", "one", "--json").json
    assert said["trail"] == "ok"
    assert "trail when this page was written: ok" in text
    assert (project / said["file"]).stat().st_size == said["bytes"]
    assert "no folder" in launch("report", "one", "-o", "nowhere/x.html").err
    assert launch("report", "two").code == 2


RELEASES = Path(__file__).parents[1] / "journal" / "releases" / "0.1.0"


@pytest.mark.parametrize("file", sorted(path.name for path in RELEASES.glob("*.db")))
def test_runs_of_earlier_releases_have_a_page(
    project: Path, launch: Launcher, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """The chain is followed as it was made then, and `show` and `stats` read such a journal as well."""
    (project / "old.db").write_bytes((RELEASES / file).read_bytes())
    monkeypatch.setenv("AGENTFLOW_JOURNAL", f"sqlite:///{project}/old.db")
    run_id = launch("runs", "--json").json["runs"][0]["run_id"]

    assert launch("report", run_id, "-o", "page.html").code == 0
    assert "comes to this head" in (project / "page.html").read_text(encoding="utf-8")
    assert launch("show", run_id).code == 0
    assert launch("stats", "--json").json["steps"]


def test_the_page_without_graphviz(project: Path, launch: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps stand there in words, and how to get a picture."""
    launch("run", "sums", "numbers=[1]", "--run-id", "one")
    monkeypatch.setenv("PATH", str(project))

    assert launch("report", "one", "-o", "page.html").code == 0
    text = (project / "page.html").read_text(encoding="utf-8")
    assert "square: visited" in text
    assert "apt-get install graphviz" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0.4 ms"),
        (0.25, "250 ms"),
        (3.14159, "3.14 s"),
        (75, "75.0 s"),
        (185, "3 min 5 s"),
        (9000, "2.5 h"),
        (400_000, "4.6 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """Each in the unit that reads best."""
    assert duration(seconds) == text


def test_text_is_cut_within_the_allowance() -> None:
    """An allowance that is used up shows nothing more, and says how much there is."""
    allowance = Allowance(left=15, each=10)
    first, second, third = (shown_text("x" * 20, b"x" * 20, allowance) for _ in range(3))

    assert "x" * 10 in first
    assert "x" * 11 not in first
    assert "cut: the first 5 of 20" in second
    assert "cut: the first 0 of 20" in third
    assert esc("<\ud800>") == "&lt;⟨U+D800⟩&gt;"


async def test_a_very_large_run_says_what_is_left_out(tmp_path: Path) -> None:
    """Of more spans than a page holds the first are shown, and all that went wrong."""
    events, head = await made(late, 1400, tmp_path)

    text = page(events, head)

    assert len(text.encode()) < 4_000_000
    assert "spans without an error are left out here" in text
    assert "step it#1[1399]" in text
    assert "step it#1[1398]" not in text
