"""A loopback server that speaks the media half of the OpenAI API by a script, and keeps what it was sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A request: its JSON or the fields of its form, and its files as (field, name, type, bytes)."""

    path: str
    headers: Mapping[str, str]
    fields: Mapping[str, Any]
    files: list[tuple[str, str, str, bytes]]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer. `cut` breaks the connection in the middle; `silent` waits until the server is closed."""

    body: bytes = b""
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: bool = False
    silent: bool = False


def says(data: Any, **more: Any) -> Reply:
    return Reply(body=json.dumps(data).encode(), **more)


def fails(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    """An error as OpenAI words it."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return says({"error": error}, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


class MediaServer:
    """Answers each request with `reply`, a value or a function of what was sent; `url` ends in `/v1`."""

    def __init__(self, reply: Reply | Callable[[Sent], Reply] = Reply()) -> None:
        self.reply = reply
        self.sent: list[Sent] = []
        self._closing = Event()

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.sent.append(_sent(self.path, dict(self.headers), body))
                reply = outer.reply(outer.sent[-1]) if callable(outer.reply) else outer.reply
                if reply.silent:
                    outer._closing.wait(20)
                    return

                self.send_response(reply.status)
                for name, value in ({"Content-Type": reply.media_type} | dict(reply.headers)).items():
                    self.send_header(name, value)

                self.send_header("Content-Length", str(len(reply.body) * (2 if reply.cut else 1)))
                self.end_headers()
                self.wfile.write(reply.body)
                self.close_connection = True

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """The output of the tests stays free of requests."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hangs up early is no error."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _sent(path: str, headers: Mapping[str, str], body: bytes) -> Sent:
    known = {name.lower(): value for name, value in headers.items()}
    kind = known.get("content-type", "")
    if not kind.startswith("multipart/"):
        fields: dict[str, Any] = json.loads(body) if body else {}
        return Sent(path=path, headers=known, fields=fields, files=[])

    form: dict[str, Any] = {}
    files: list[tuple[str, str, str, bytes]] = []
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    for part in message.iter_parts():
        name, file = part.get_param("name", header="content-disposition"), part.get_filename()
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        if file is None:
            form[str(name)] = data.decode()
        else:
            files.append((str(name), file, part.get_content_type(), data))

    return Sent(path=path, headers=known, fields=form, files=files)
