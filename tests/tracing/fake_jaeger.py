"""A Jaeger as far as traces go: takes OTLP over HTTP, and gives traces back as its API v3 does (of version 2.20)."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PREFIX = "/api/v3/traces/"


class FakeJaeger:
    """On loopback. `words` replaces what it answers to a question for a trace: a status, a content type and a body.

    With `is_old` it forgets what the model of version 1 forgets: the attributes of links, and what is below a microsecond.
    """

    def __init__(self, *, is_old: bool = False) -> None:
        self.spans: list[tuple[Any, Any, Any]] = []
        self.words: tuple[int, str, bytes] | None = None
        self._is_old = is_old
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        jaeger = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                jaeger.take(ExportTraceServiceRequest.FromString(body))
                self.answer(200, "application/x-protobuf", b"")

            def do_GET(self) -> None:
                self.answer(*(jaeger.words or jaeger.found(self.path)))

            def answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                return

        return Handler

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep the spans of a request."""
        for resource in request.resource_spans:
            for scoped in resource.scope_spans:
                self.spans += [(resource.resource, scoped.scope, span) for span in scoped.spans]

    def found(self, path: str) -> tuple[int, str, bytes]:
        """The answer to a question for a trace: each span under a resource of its own, as Jaeger has them."""
        wanted = path.removeprefix(PREFIX).partition("?")[0]
        found = [kept for kept in self.spans if kept[2].trace_id.hex() == wanted]
        if not path.startswith(PREFIX) or not found:
            error = {"error": {"httpCode": 404, "message": "No traces found"}}
            return 404, "application/json", json.dumps(error).encode()

        spans = [
            {
                "resource": _data(resource),
                "scopeSpans": [{"scope": _data(scope), "spans": [self._shown(span)]}],
            }
            for resource, scope, span in found
        ]
        return 200, "application/json", json.dumps({"result": {"resourceSpans": spans}}).encode()

    def _shown(self, span: Any) -> dict[str, Any]:
        data = _data(span)
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in data:
                data[name] = b64decode(data[name]).hex()

        for link in data.get("links", ()):
            link["traceId"], link["spanId"] = (b64decode(link[name]).hex() for name in ("traceId", "spanId"))
            if self._is_old:
                word = {"stringValue": "follows_from"}
                link["attributes"] = [{"key": "opentracing.ref_type", "value": word}]

        for held in (data, *data.get("events", ())) if self._is_old else ():
            for name in ("startTimeUnixNano", "endTimeUnixNano", "timeUnixNano"):
                if name in held:
                    held[name] = str(int(held[name]) // 1000 * 1000)

        return data

    def close(self) -> None:
        """Stop, and wait until it has."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _data(message: Any) -> dict[str, Any]:
    # Untyped, and used here alone.
    json_format: Any = import_module("google.protobuf.json_format")
    found: dict[str, Any] = json_format.MessageToDict(message, use_integers_for_enums=True)
    return found
