"""A receiver of OTLP over HTTP on loopback, as real as the tests need it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agentflow.tracing.collector import Collector
from agentflow.tracing.export import Exporter

Answer = tuple[int, bytes, dict[str, str]]
TAKEN: Answer = (200, b"", {})


class Receiver:
    """An OTLP/HTTP receiver on loopback that keeps what it was sent, and answers as it is told."""

    def __init__(self) -> None:
        self.requests: Queue[tuple[dict[str, str], ExportTraceServiceRequest]] = Queue()
        self.answers: list[Answer] = []
        self.hold: threading.Event | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}
                receiver.requests.put((headers, ExportTraceServiceRequest.FromString(body)))
                if receiver.hold is not None:
                    receiver.hold.wait(10)

                status, content, more = receiver.answers.pop(0) if receiver.answers else TAKEN
                self.send_response(status)
                for name, value in {"content-length": str(len(content)), **more}.items():
                    self.send_header(name, value)

                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                return

        return Handler

    def exporter(self, **given: Any) -> Exporter:
        return Exporter(Collector(endpoint=f"{self.url}/v1/traces"), environ={}, **given)

    def taken(self) -> list[ExportTraceServiceRequest]:
        return [self.requests.get_nowait()[1] for _ in range(self.requests.qsize())]

    def close(self) -> None:
        if self.hold is not None:
            self.hold.set()

        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def all_spans(requests: list[ExportTraceServiceRequest]) -> list[Any]:
    return [s for r in requests for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]
