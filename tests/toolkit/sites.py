"""A web server on this machine that behaves as real ones do, also as the bad ones; and a resolver that asks nobody."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Reply:
    """`waits` keeps silent, `stalls` goes silent in the middle of the body, `cut` hangs up there."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    waits: bool = False
    stalls: bool = False
    cut: bool = False


def in_json(data: Any, status: int = 200, **headers: str) -> Reply:
    """A reply as an API gives it; `_` in the name of a header stands for `-`."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps(data).encode(), status, {"Content-Type": "application/json", **given})


@dataclass(frozen=True)
class Received:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}


class Site:
    """A web server on loopback: `replies` by path, `asked` the paths that were asked for, `received` all of it."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.received: list[Received] = []
        self.done = Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                site.received.append(
                    Received(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                )
                reply = site.replies.get(self.path.partition("?")[0], Reply(b"nothing here", 404))
                if reply.waits:
                    site.done.wait(5)

                self.send_response(reply.status)
                for name, value in ({"Content-Type": "text/html"} | dict(reply.headers)).items():
                    self.send_header(name, value)

                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                half = len(reply.body) // 2
                self.wfile.write(reply.body[:half])
                if reply.stalls:
                    self.wfile.flush()
                    site.done.wait(5)

                if not reply.cut:
                    self.wfile.write(reply.body[half:])

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """The output of the tests stays free of requests."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hangs up early, as a reader with a size limit does, is no error."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def asked(self) -> list[str]:
        return [request.path for request in self.received]

    def close(self) -> None:
        self.done.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def names(known: Mapping[str, Sequence[str]]) -> Callable[..., list[Any]]:
    """A resolver that knows the names in `known` and literal addresses, and asks nobody."""

    def resolve(host: str, port: int, *rest: Any) -> list[Any]:
        found = known.get(host, [host] if host.replace(".", "").isdigit() or ":" in host else [])
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "not known")

        return [
            (
                socket.AF_INET6 if ":" in ip else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (ip, port, 0, 0) if ":" in ip else (ip, port),
            )
            for ip in found
        ]

    return resolve
