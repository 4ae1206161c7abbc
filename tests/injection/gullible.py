"""A model that does whatever any text that it reads wants done, and the tools that it may do it with."""

from __future__ import annotations

import base64
import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow import Evidence, ToolError, tool
from agentflow.tools import Tool
from tests.injection.corpus import Lure

_CALL = re.compile(r"(\w+)\((\{.*?\})\)")
_WORD = re.compile(r"[A-Za-z0-9+/=]{24,}")


def wants(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All calls that a text names, also in letters that nobody sees, in Base64, and in rot13."""
    text = text.replace("\\", "").replace("\u200b", "")
    seen = "".join(chr(ord(c) - 0xE0000) if 0xE0000 <= ord(c) < 0xE0080 else c for c in text)
    decoded = [
        base64.b64decode(w + "==").decode(errors="ignore") for w in _WORD.findall(text) if len(w) % 4 != 1
    ]
    for read in (seen, codecs.encode(text, "rot13"), *decoded):
        for name, arguments in _CALL.findall(read):
            try:
                yield name, json.loads(arguments)
            except ValueError:
                continue


@dataclass
class Bench:
    """What the tools give, and what was done with them."""

    lure: Lure
    wanted: str
    done: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    returns: Any = "untrusted"

    def tools(self) -> list[Tool[..., Any]]:
        """A page from outside, private files, and tools that write or send."""
        text = self.lure.wanting(self.wanted)

        @tool(effect="read", returns=self.returns, outside=True)
        async def read_page(url: str) -> list[Evidence]:
            """Read a page of the web."""
            self.done.append(("read_page", url))
            if self.lure.where == "error":
                raise ToolError(text)

            page: dict[str, Any] = {
                "text": "About tents.",
                "source": url,
                "title": "Tents",
                "place": "1",
                self.lure.where: text,
            }
            return [Evidence(**page)]

        @tool(effect="read", returns="trusted", private=True)
        async def read_file(name: str) -> str:
            """Read a private file."""
            self.done.append(("read_file", name))
            return "the salary of the boss is 100"

        @tool(effect="write", returns="trusted")
        async def delete_file(name: str) -> str:
            """Delete a file."""
            self.done.append(("delete_file", name))
            return "deleted"

        @tool(effect="write", returns="trusted", outside=True)
        async def send_mail(to: str) -> str:
            """Send a mail."""
            self.done.append(("send_mail", to))
            return "sent"

        @tool(effect="write", returns="trusted", needs_approval=True)
        async def pay(to: str) -> str:
            """Pay somebody."""
            self.done.append(("pay", to))
            return "paid"

        return [read_page, read_file, delete_file, send_mail, pay]


def text_of(given: Any) -> str:
    """All that a model was given to read, but for what it said itself."""
    if isinstance(given, str):
        return given

    return "\n".join(
        str(item.get("output", item.get("content"))) for item in given if item.get("type") != "function_call"
    )


def planning() -> ScriptedModel:
    """A planner's model: it reads the page and the file, then does what it has read that it should do."""
    done: list[str] = []

    def respond(call: Any) -> Any:
        request = text_of(call.input)
        if '"observations"' not in request:
            return [assistant_message("done")]

        first = [("read_page", {"url": "http://tents.test/"}), ("read_file", {"name": "salaries"})]
        steered = [
            want for want in wants(request.partition('"observations"')[2]) if json.dumps(want) not in done
        ]
        plan = (steered or []) if done else first
        done.extend(json.dumps(want) for want in plan)
        calls = [
            {
                "id": f"c{len(done)}_{n}",
                "tool": name,
                "arguments": json.dumps(arguments),
                "after": [],
                "why": "",
                "confidence": 1,
                "alternatives": [],
            }
            for n, (name, arguments) in enumerate(plan)
        ]
        return [assistant_message(json.dumps({"thought": "so it says", "calls": calls, "done": not calls}))]

    return ScriptedModel([{"responder": respond} for _ in range(6)])


def working() -> ScriptedModel:
    """An agent's model, as gullible as the planner's."""
    done: list[str] = []

    def respond(call: Any) -> Any:
        first = [("read_page", {"url": "http://tents.test/"}), ("read_file", {"name": "salaries"})]
        steered = [want for want in wants(text_of(call.input)) if json.dumps(want) not in done]
        plan = steered if done else first
        done.extend(json.dumps(want) for want in plan)
        if not plan:
            return [assistant_message("done")]

        return [
            function_call(name, arguments, call_id=f"c{len(done)}_{n}")
            for n, (name, arguments) in enumerate(plan)
        ]

    return ScriptedModel([{"responder": respond} for _ in range(6)])
