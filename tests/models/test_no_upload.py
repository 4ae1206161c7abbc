"""Nothing phones home: with a key set, no trace is sent to OpenAI."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from queue import Queue

# Traces with our module loaded, and, to show that the trap works, again with the SDK's uploader put back.
PROGRAM = """
import agentflow.models.sdk
from agents import add_trace_processor, trace
from agents.tracing import custom_span, flush_traces
from agents.tracing.processors import default_processor


def run():
    with trace("a run"), custom_span("a span"):
        pass

    flush_traces()


run()
print("ours done", flush=True)
input()
add_trace_processor(default_processor())
run()
"""


@contextmanager
def trap() -> Generator[tuple[str, Queue[bytes]], None, None]:
    """A proxy that keeps the first line of each request that is sent through it, and refuses it."""
    heard: Queue[bytes] = Queue()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return

                with connection:
                    heard.put(connection.recv(4096).split(b"\r\n")[0])
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_no_trace_leaves_with_a_key_set() -> None:
    """The SDK would upload each run; once our module is loaded it does not, as a trapped proxy shows."""
    with trap() as (proxy, heard):
        proxies = dict.fromkeys(
            ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy"), proxy
        )
        environ = {
            **os.environ,
            **proxies,
            "OPENAI_API_KEY": "sk-test",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "ours done\n"
        assert heard.empty()
        try:
            program.stdin.write("\n")
            program.stdin.flush()
            assert b"api.openai.com" in heard.get(timeout=60)
        finally:
            program.kill()
            program.communicate()
