"""Computer use over the Responses API: a scripted server drives a real browser by coordinates, all on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agentflow import Agent, Workflow
from agentflow.app import Decision, Settings, resume, run
from agentflow.events import ArtifactKept, Event, OperationFinished, OperationStarted
from agentflow.exceptions import ToolError
from agentflow.journal.memory import MemoryJournal
from agentflow.testing import Ended, run_to_end
from agentflow.toolkit.browser import Browser, BrowserSession, Reach, browser_tools, computer_tool
from tests.models.openai_server import Body, OpenAIServer, Said, says

pytestmark = pytest.mark.asyncio(loop_scope="module")
START = "http://board.localhost/"
PAGE = """<title>Board</title><style>* { margin: 0 } button { position: absolute; width: 200px; height: 100px }</style>
<button style="left: 0; top: 0" onclick="document.body.style.background = 'red'">Paint</button>
<form method="post" action="/sent"><button style="left: 300px; top: 0">Go</button></form>
<input style="position: absolute; left: 0; top: 200px" autofocus>"""
CHECK = {"id": "sc_1", "code": "malicious_instructions", "message": "The page gives instructions."}


@dataclass
class Board:
    posted: list[bytes] = field(default_factory=list[bytes])
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        board = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.command == "POST":
                    board.posted.append(self.rfile.read(int(self.headers["Content-Length"] or 0)))

                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(PAGE.encode())

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture(scope="module")
def site() -> Iterator[Board]:
    board = Board()
    yield board
    board.server.shutdown()
    board.server.server_close()


@pytest.fixture
def board(site: Board) -> Board:
    site.posted.clear()
    return site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(site: Board) -> AsyncIterator[Browser]:
    sites = {"board.localhost": lambda: site.server.server_port}
    async with Browser(Reach(hosts=frozenset(), sites=sites)) as browser:
        yield browser


def does(number: int, *actions: Mapping[str, Any], checks: Sequence[Body] = ()) -> Said:
    """An answer of the model that asks for these actions, all in one call."""
    item: Body = {
        "id": f"cu_{number}",
        "type": "computer_call",
        "call_id": f"call_{number}",
        "status": "completed",
        "pending_safety_checks": list(checks),
        "actions": [dict(action) for action in actions],
    }
    return Said(items=(item,))


def click(x: int, y: int) -> dict[str, Any]:
    return {"type": "click", "x": x, "y": y, "button": "left"}


def workflow(browser: Browser, **more: Any) -> Workflow[str, str]:
    tool = computer_tool(lambda: BrowserSession(browser), start=START)
    operate = Agent("operate", takes=str, gives=str, prompt="Use the board.", tools=[tool], **more)
    return Workflow("operate", start=operate, end=operate)


async def operated(
    browser: Browser, server: OpenAIServer, root: Path, *, api: str = "responses", **more: Any
) -> Ended[str]:
    model = f"{api}/computer-use-preview@{server.url}"
    return await run_to_end(
        workflow(browser), "go", settings={"root": root, "model": model, **more.pop("settings", {})}, **more
    )


def outputs(server: OpenAIServer) -> list[Body]:
    """What the model was sent back of its calls, in the last request."""
    return [m for m in server.requests[-1].messages if m.get("type") == "computer_call_output"]


def actions(events: Sequence[Event]) -> list[str]:
    asked = [
        e.request.data
        for e in events
        if isinstance(e, OperationStarted) and e.name == "computer" and e.request
    ]
    return [data["action"] for data in asked]


async def test_a_model_uses_the_browser_by_what_it_shows(
    browser: Browser, board: Board, tmp_path: Path
) -> None:
    """It is told the size of the screen, its actions are done and recorded, and pictures are kept by digest and sent back."""
    script = [
        does(1, {"type": "screenshot"}),
        does(2, click(50, 50), {"type": "keypress", "keys": ["CTRL", "A"]}, {"type": "wait"}),
        does(
            3,
            click(50, 210),
            {"type": "type", "text": "hi"},
            {"type": "scroll", "x": 9, "y": 9, "scroll_x": 0, "scroll_y": 50},
        ),
        does(
            4,
            {"type": "move", "x": 5, "y": 5},
            {"type": "double_click", "x": 50, "y": 210},
            {"type": "drag", "path": [{"x": 5, "y": 300}, {"x": 50, "y": 300}]},
        ),
        says("painted"),
    ]
    with OpenAIServer(script) as server:
        ended = await operated(browser, server, tmp_path)
        assert ended.output == "painted"
        assert server.requests[0].body["tools"] == [
            {
                "type": "computer_use_preview",
                "environment": "browser",
                "display_width": 1024,
                "display_height": 768,
            }
        ]
        pictures = [output["output"]["image_url"].partition(",")[2] for output in outputs(server)]

    assert actions(ended.events) == [
        "screenshot", "click", "keypress", "wait", "screenshot", "click", "type", "scroll", "screenshot",
        "move", "double_click", "drag", "screenshot",
    ]  # fmt: skip
    first, second, *_ = [base64.b64decode(picture) for picture in pictures]
    assert first != second, "the click changed nothing"
    kept = {event.digest: Path(event.path) for event in ended.events if isinstance(event, ArtifactKept)}
    assert {f"sha256:{hashlib.sha256(base64.b64decode(p)).hexdigest()}" for p in pictures} == set(kept)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in kept.values())
    requests = [e.request.data for e in ended.events if isinstance(e, OperationStarted) and e.request]
    written = json.dumps(requests)
    assert pictures[0][:60] not in written
    assert "image sha256:" in written


async def test_a_safety_check_stops_the_run_unless_a_person_acknowledges_it(
    browser: Browser, board: Board, tmp_path: Path
) -> None:
    """The person reads what was reported and what would be done; after a no nothing is done and the run ends."""
    asked: list[Any] = []

    def person(answer: bool) -> Any:
        def say(pending: Any) -> bool:
            asked.append(pending.subject)
            return answer

        return say

    with OpenAIServer([does(1, click(50, 50), checks=[CHECK])]) as server:
        ended = await operated(browser, server, tmp_path, approve=person(False))
        assert ended.result.error is not None
        assert ended.result.error.kind == "RunRejected"
        assert "did not acknowledge the safety check `malicious_instructions`" in ended.result.error.message

    assert asked == [
        {
            "check": CHECK["code"],
            "message": CHECK["message"],
            "actions": [{"type": "click", "x": 50, "y": 50, "button": "left"}],
        }
    ]
    assert actions(ended.events) == []
    with OpenAIServer([does(1, click(50, 50), checks=[CHECK]), says("done")]) as server:
        ended = await operated(browser, server, tmp_path, approve=person(True))
        assert ended.output == "done"
        assert outputs(server)[0]["acknowledged_safety_checks"] == [CHECK]


async def test_what_a_click_sends_is_asked_about(browser: Browser, board: Board, tmp_path: Path) -> None:
    """A click that posts a form is asked about as what it sends; a refusal leaves the model to look at the page."""
    for answer, posted in ((False, []), (True, [b""])):
        with OpenAIServer([does(1, {"type": "screenshot"}), does(2, click(350, 50)), says("done")]) as server:
            ended = await operated(browser, server, tmp_path, approve=answer)
            assert ended.output == "done"

        assert board.posted == posted
        sent = [e.name for e in ended.events if isinstance(e, OperationStarted) and e.name == "browser_send"]
        assert len(sent) == int(answer)


async def test_an_action_that_fails_is_recorded_and_shown(
    browser: Browser, board: Board, tmp_path: Path
) -> None:
    """A place outside of the window is no place: the record says so, and the model gets a picture as ever."""
    with OpenAIServer([does(1, click(5000, 50)), says("done")]) as server:
        ended = await operated(browser, server, tmp_path)
        assert outputs(server)[0]["output"]["image_url"].startswith("data:image/png;base64,")

    failed = [e.error for e in ended.events if isinstance(e, OperationFinished) and e.error]
    assert [error.message for error in failed] == [
        "5000, 50 lies outside of the window, which is 1024 by 768 pixels"
    ]


@pytest.mark.parametrize(("api", "how"), [("chat", "speaks Chat Completions"), ("embedded", "cannot see")])
async def test_only_the_responses_api_uses_computers(
    browser: Browser, board: Board, tmp_path: Path, api: str, how: str
) -> None:
    """Over Chat Completions, and with the embedded model, the error says what is needed, before anything is asked."""
    with OpenAIServer() as server:
        settings = {"model": "embedded"} if api == "embedded" else {}
        ended = await operated(browser, server, tmp_path, api=api, settings=settings)
        assert server.requests == []

    error = ended.result.error
    assert error is not None
    assert (error.kind, how in error.message) == ("ModelCannot", True)
    assert "browser_tools" in error.hint


async def test_a_run_that_was_let_go_shows_the_model_what_it_saw(
    browser: Browser, board: Board, tmp_path: Path
) -> None:
    """After a person's answer from elsewhere the first turns come from the record, pictures from where they were kept."""
    script = [does(1, {"type": "screenshot"}), does(2, click(50, 50), checks=[CHECK]), says("done")]
    with OpenAIServer(script) as server:
        model = f"responses/computer-use-preview@{server.url}"
        settings = Settings(journal=MemoryJournal(), root=tmp_path, model=model)
        operate = workflow(browser)
        waiting = await run(operate, "go", run_id="r", settings=settings).result()
        assert waiting.status == "waiting"
        again = await resume(operate, "r", settings=settings)
        again.decide(waiting.pending[0].name, Decision(approved=True))
        assert (await again.result()).unwrap() == "done"
        assert len(server.requests) == 3
        before, after = server.requests[1].messages, server.requests[2].messages
        assert after[: len(before)] == before


async def test_a_computer_is_not_called(browser: Browser) -> None:
    """Given to a planner, or tried by hand, it says what to take instead; of one factory, all tools steer one page."""
    made: list[BrowserSession] = []

    def factory() -> BrowserSession:
        made.append(BrowserSession(browser))
        return made[-1]

    tool = computer_tool(factory, start=START)
    with pytest.raises(ToolError, match="used by an agent") as caught:
        await tool.invoke({})

    assert "browser_tools" in caught.value.hint
    assert (tool.labels.effect, tool.labels.needs_approval) == ("write", True)
    assert {t.labels.needs_approval for t in browser_tools(factory)} == {True, False}
