"""A loopback server that speaks the OpenAI API by a script: Chat Completions, Responses and the list of models."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from types import TracebackType
from typing import Any, Self, cast
from zlib import crc32

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A tool call as a model writes it; without an id the server gives it one."""

    name: str
    arguments: str
    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer of the model, or one way in which its server fails.

    `status` other than 200 sends an error; `delay` waits that many seconds first; `cut` breaks the connection
    in the middle of the answer; `stops` ends a stream with that error; `page` is sent as a web page instead;
    `limited` says that the answer ends where it does because its limit was reached. `items` are more items of a response.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    refusal: str = ""
    status: int = 200
    delay: float = 0
    cut: bool = False
    stops: str = ""
    page: str = ""
    limited: bool = False
    items: tuple[Body, ...] = ()
    input_tokens: int = 11
    output_tokens: int = 7
    cached_tokens: int = 3


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request as it came in; `raw` is its body, byte for byte. The names of headers are in lower case."""

    path: str
    body: Body
    headers: Mapping[str, str]
    raw: bytes = b""

    @property
    def messages(self) -> list[Body]:
        return cast("list[Body]", self.body.get("messages", self.body.get("input", [])))

    @property
    def tools(self) -> list[str]:
        tools = self.body.get("tools", [])
        return [tool.get("name") or tool.get("function", tool).get("name") or tool["type"] for tool in tools]


Answer = Said | str | Body
Script = Sequence[Answer] | Callable[[Received], Answer]


def says(text: str, **more: Any) -> Said:
    return Said(text=text, **more)


def calls(name: str, /, call_id: str | None = None, **arguments: Any) -> Said:
    return Said(calls=(Call(name=name, arguments=json.dumps(arguments), id=call_id),))


def together(*answers: Said) -> Said:
    """One answer with the calls of several."""
    return Said(calls=tuple(call for answer in answers for call in answer.calls))


def fails(status: int, text: str = "no") -> Said:
    return Said(status=status, text=text)


@dataclass
class OpenAIServer:
    """Serves `script`: answers in turn, or a function of the request. Strings are texts, dicts are JSON texts.

    `url` is what OPENAI_BASE_URL would hold, `requests` is what came in, without the listing of models, and `answers` what
    each was answered. Ids count up, or are made `by_request`, so that the same request is given the same ones.
    The listing says of each model in `shutdown_dates` when it ends, and takes `listing_delay` seconds.
    """

    script: Script = ()
    models: tuple[str, ...] = ("scripted-1", "scripted-2")
    requests: list[Received] = field(default_factory=list[Received])
    answers: list[Said] = field(default_factory=list[Said])
    by_request: bool = False
    shutdown_dates: Mapping[str, Any] = field(default_factory=dict[str, Any])
    listing_delay: float = 0

    def __enter__(self) -> Self:
        self._turns = threading.Lock()
        self.begin(self.script)
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def begin(self, script: Script) -> None:
        """Follow another script from here on."""
        self.script, self.requests, self.answers = script, [], []
        self._turn = iter(script) if not callable(script) else None

    def answer(self, request: Received) -> Said:
        """The next answer; a script that ran out says so to the client, as a server's failure."""
        with self._turns:
            self.requests.append(request)
            self.answers.append(self._said(request))
            return self.answers[-1]

    def _said(self, request: Received) -> Said:
        if callable(self.script):
            answer = self.script(request)
        else:
            assert self._turn is not None
            answer = next(self._turn, fails(500, "the script has ended"))

        if isinstance(answer, Said):
            return answer

        return Said(text=answer if isinstance(answer, str) else json.dumps(answer))

    def number(self, request: Received) -> int:
        """What the ids in the answer to `request` are made of."""
        return crc32(request.raw) if self.by_request else len(self.requests)


def _handler(owner: OpenAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            """Say nothing: tests read `requests`."""

        def do_GET(self) -> None:
            owner.closing.wait(owner.listing_delay)
            listing: list[Body] = [{"id": name, "object": "model"} for name in owner.models]
            for model in listing:
                if model["id"] in owner.shutdown_dates:
                    model["shutdown_date"] = owner.shutdown_dates[model["id"]]

            try:
                self._json(200, {"object": "list", "data": listing})
            except OSError:
                self.close_connection = True

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            request = Received(
                path=self.path,
                body=json.loads(raw),
                raw=raw,
                headers={name.lower(): value for name, value in self.headers.items()},
            )
            said = owner.answer(request)
            owner.closing.wait(said.delay)
            try:
                self._reply(request, said, owner.number(request))
            except OSError:
                # The client has given up waiting, which is what some tests are about.
                self.close_connection = True

        def _reply(self, request: Received, said: Said, number: int) -> None:
            speak = _Responses() if request.path.endswith("/responses") else _Chat()
            model = str(request.body["model"])
            if said.status != 200:
                self._json(said.status, {"error": {"message": said.text, "type": "scripted", "code": None}})
            elif said.page:
                self._head(200, "text/html", ("Content-Length", str(len(said.page))))
                self.wfile.write(said.page.encode())
            elif request.body.get("stream"):
                self._events(speak.events(said, model, number), said)
            else:
                self._json(200, speak.whole(said, model, number), said.cut)

        def _json(self, status: int, value: Body, cut: bool = False) -> None:
            data = json.dumps(value).encode()
            self._head(status, "application/json", ("Content-Length", str(len(data))))
            self.wfile.write(data[: len(data) // 2] if cut else data)

        def _events(self, events: Iterator[str], said: Said) -> None:
            self._head(200, "text/event-stream", ("Transfer-Encoding", "chunked"))
            for event in islice(events, 3 if said.cut or said.stops else None):
                self._chunk(event)

            if said.stops:
                self._chunk(f"data: {json.dumps({'error': {'message': said.stops}})}\n\n")

            if not said.cut:
                self._chunk("")

        def _chunk(self, text: str) -> None:
            data = text.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

        def _head(self, status: int, kind: str, length: tuple[str, str]) -> None:
            self.close_connection = True
            self.send_response(status)
            for name, value in (("Content-Type", kind), length, ("Connection", "close")):
                self.send_header(name, value)

            self.end_headers()

    return Handler


def _pieces(text: str) -> list[str]:
    """`text` as tokens might come: a word and the space before it at a time."""
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]


class _Chat:
    """Chat Completions, https://platform.openai.com/docs/api-reference/chat."""

    def whole(self, said: Said, model: str, number: int) -> Body:
        message: Body = {"role": "assistant", "content": said.text or None, "refusal": said.refusal or None}
        if said.calls:
            message["tool_calls"] = self._calls(said, number)

        choice = {"index": 0, "message": message, "finish_reason": self._finish(said), "logprobs": None}
        head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 0, "model": model}
        return {**head, "choices": [choice], "usage": self._usage(said)}

    def events(self, said: Said, model: str, number: int) -> Iterator[str]:
        head = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 0, "model": model}
        for delta in self._deltas(said, number):
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            yield self._event({**head, "choices": [choice]})

        last = {"index": 0, "delta": {}, "finish_reason": self._finish(said)}
        yield self._event({**head, "choices": [last]})
        yield self._event({**head, "choices": [], "usage": self._usage(said)})
        yield "data: [DONE]\n\n"

    def _deltas(self, said: Said, number: int) -> Iterator[Body]:
        yield {"role": "assistant", "content": ""}
        if said.refusal:
            yield {"refusal": said.refusal}

        for piece in _pieces(said.text) if said.text else ():
            yield {"content": piece}

        for index, call in enumerate(self._calls(said, number)):
            yield {"tool_calls": [{"index": index, **call}]}

    def _calls(self, said: Said, number: int) -> list[Body]:
        return [
            {
                "id": f"call_{number}_{index}" if call.id is None else call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(said.calls)
        ]

    def _finish(self, said: Said) -> str:
        return "length" if said.limited else "tool_calls" if said.calls else "stop"

    def _usage(self, said: Said) -> Body:
        return {
            "prompt_tokens": said.input_tokens,
            "completion_tokens": said.output_tokens,
            "total_tokens": said.input_tokens + said.output_tokens,
            "prompt_tokens_details": {"cached_tokens": said.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }

    def _event(self, value: Body) -> str:
        return f"data: {json.dumps(value)}\n\n"


class _Responses:
    """Responses, https://platform.openai.com/docs/api-reference/responses."""

    def whole(self, said: Said, model: str, number: int) -> Body:
        return self._response(said, model, number, self._output(said, number))

    def events(self, said: Said, model: str, number: int) -> Iterator[str]:
        output = self._output(said, number)
        empty = {**self._response(said, model, number, []), "status": "in_progress", "usage": None}
        values: list[Body] = [{"type": "response.created", "response": empty}]
        for index, item in enumerate(output):
            values.append({"type": "response.output_item.added", "output_index": index, "item": item})
            values += self._deltas(item, index)
            values.append({"type": "response.output_item.done", "output_index": index, "item": item})

        done = self._response(said, model, number, output)
        values.append({"type": f"response.{done['status']}", "response": done})
        for sequence, value in enumerate(values):
            yield f"event: {value['type']}\ndata: {json.dumps({'sequence_number': sequence, **value})}\n\n"

    def _deltas(self, item: Body, index: int) -> Iterator[Body]:
        if item["type"] == "function_call":
            where = {"item_id": item["id"], "output_index": index}
            yield {
                "type": "response.function_call_arguments.delta",
                "delta": item["arguments"],
                **where,
            }
            return

        if item["type"] != "message":
            return

        where = {"item_id": item["id"], "output_index": index, "content_index": 0}
        for piece in _pieces(item["content"][0].get("text", "")):
            yield {"type": "response.output_text.delta", "delta": piece, "logprobs": [], **where}

    def _output(self, said: Said, number: int) -> list[Body]:
        part: Body = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
        if said.refusal:
            part = {"type": "refusal", "refusal": said.refusal}

        message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "status": "completed"}
        items: list[Body] = [{**message, "content": [part]}] if said.text or said.refusal else []
        return [*items, *said.items] + [
            {
                "id": f"fc_{number}_{index}",
                "type": "function_call",
                "call_id": f"call_{number}_{index}" if call.id is None else call.id,
                "name": call.name,
                "arguments": call.arguments,
                "status": "completed",
            }
            for index, call in enumerate(said.calls)
        ]

    def _response(self, said: Said, model: str, number: int, output: list[Body]) -> Body:
        return {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": 0,
            "model": f"{model}-2026",
            "status": "incomplete" if said.limited else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if said.limited else None,
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": said.input_tokens,
                "input_tokens_details": {"cached_tokens": said.cached_tokens, "cache_write_tokens": 0},
                "output_tokens": said.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 2},
                "total_tokens": said.input_tokens + said.output_tokens,
            },
        }
