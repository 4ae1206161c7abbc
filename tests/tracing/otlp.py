"""A receiver of OTLP over HTTP on loopback, as real as the tests need it."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from queue import Queue
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agentflow.tracing.collector import Collector
from agentflow.tracing.export import Exporter

Answer = tuple[int, bytes, dict[str, str]]
TAKEN: Answer = (200, b"", {})


class Receiver:
    """An OTLP/HTTP receiver on loopback that keeps what it was sent, and answers as it is told."""

    def __init__(self, port: int = 0) -> None:
        self.requests: Queue[tuple[dict[str, str], ExportTraceServiceRequest]] = Queue()
        # Those of the requests that were answered well.
        self.accepted: list[ExportTraceServiceRequest] = []
        self.metrics: list[bytes] = []
        self.answers: list[Answer] = []
        self.hold: threading.Event | None = None
        # For each request to come, after how many bytes of it the connection is cut; None reads it whole.
        self.cuts: list[int | None] = []
        # A span that makes this refuse every request that it is in.
        self.wrong = b""
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.port: int = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                cut = receiver.cuts.pop(0) if receiver.cuts else None
                body = self.rfile.read(int(self.headers["content-length"]) if cut is None else cut)
                if cut is not None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return

                headers = {"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}
                if self.path.endswith("/v1/metrics"):
                    receiver.metrics.append(body)
                    self.send_response(200)
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return

                request = read(body, headers)
                receiver.requests.put((headers, request))
                if receiver.hold is not None:
                    receiver.hold.wait(10)

                is_wrong = receiver.wrong in {span.span_id for span in all_spans([request])}
                status, content, more = receiver.answers.pop(0) if receiver.answers else TAKEN
                status = 400 if is_wrong else status
                if status < 300:
                    receiver.accepted.append(request)

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

    def kept(self) -> list[ExportTraceServiceRequest]:
        """The requests that were accepted since this was asked last."""
        kept, self.accepted = self.accepted, []
        return kept

    def close(self) -> None:
        if self.hold is not None:
            self.hold.set()

        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def read(body: bytes, headers: dict[str, str]) -> ExportTraceServiceRequest:
    """The request in a body, as its headers say that it is written."""
    match headers.get("content-encoding"):
        case "gzip":
            body = gzip.decompress(body)
        case "deflate":
            body = zlib.decompress(body)
        case _:
            pass

    if headers.get("content-type") != "application/json":
        request: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(body)
        return request

    document = json.loads(body)
    for resource in document["resourceSpans"]:
        for span in (span for scoped in resource["scopeSpans"] for span in scoped["spans"]):
            for held, names in (
                (span, ("traceId", "spanId", "parentSpanId")),
                *((x, ("traceId", "spanId")) for x in span["links"]),
            ):
                for name in names:
                    if name in held:
                        held[name] = base64.b64encode(bytes.fromhex(held[name])).decode()

    json_format: Any = import_module("google.protobuf.json_format")  # untyped
    parsed: ExportTraceServiceRequest = json_format.ParseDict(document, ExportTraceServiceRequest())
    return parsed


def all_spans(requests: list[ExportTraceServiceRequest]) -> list[Any]:
    return [s for r in requests for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]
