"""An HTTP API on loopback: keeps what it was sent, and answers as it is told to."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as the server got it; `path` holds the query, and is not decoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answers; with `breaks_after` it hangs up after so many bytes, with `waits` it says nothing."""

    status: int = 200
    body: Any = None
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    breaks_after: int | None = None
    waits: bool = False

    @property
    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body

        return b"" if self.body is None else json.dumps(self.body).encode()


class Api:
    """The server: `answers` by method and path without query, such as `GET /orders`; a function may look at the request. `always` goes before."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.answers: dict[str, Answer | Callable[[Sent], Answer]] = {}
        self.always: Answer | None = None
        self.done = Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, sent: Sent) -> Answer:
        if self.always is not None:
            return self.always

        found = self.answers.get(
            f"{sent.method} {sent.path.partition('?')[0]}", Answer(404, {"error": "no such thing"})
        )
        return found if isinstance(found, Answer) else found(sent)


@contextmanager
def serving() -> Generator[Api]:
    """An API for as long as the block runs."""
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handled(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent = Sent(self.command, self.path, dict(self.headers.items()), body)
            api.sent.append(sent)
            answer = api.answer(sent)
            if answer.waits:
                api.done.wait(10)
                self.close_connection = True
                return

            content = answer.content
            self.send_response(answer.status)
            for name, value in ({"Content-Type": answer.kind} | dict(answer.headers)).items():
                self.send_header(name, value)

            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if answer.breaks_after is None else content[: answer.breaks_after])
            self.close_connection = answer.breaks_after is not None

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handled

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """The output of the tests stays free of requests."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up is no error."""

    server = Server(("127.0.0.1", 0), Handler)
    api.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        api.done.set()
        server.shutdown()
        server.server_close()
        thread.join()
