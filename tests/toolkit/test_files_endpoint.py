"""Embedding by a server: what is asked of it, and each way in which its answer can go wrong. Only this machine is reached."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentflow.exceptions import (
    NetworkUnavailable,
    ProjectError,
    RateLimited,
    SecretMissing,
    ToolError,
    ToolTimeout,
)
from agentflow.secrets import Secret
from agentflow.toolkit.files import EndpointEncoder, FileSearch, IndexMismatch
from tests.toolkit.encoders import WordEncoder

Answer = tuple[int, dict[str, str], bytes]
_WORDS = WordEncoder(dimension=8)


def embedded(asked: Any) -> Answer:
    """What a sound server answers: vectors of any length, the last one first."""
    rows = [
        {"object": "embedding", "index": n, "embedding": (3 * vector).tolist()}
        for n, vector in enumerate(_WORDS.embed(asked["input"]))
    ]
    return 200, {}, json.dumps({"object": "list", "data": rows[::-1], "model": asked["model"]}).encode()


def refusal(status: int, message: str, **headers: str) -> Answer:
    """An error in OpenAI's form."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, json.dumps({"error": {"message": message, "type": "x"}}).encode()


@dataclass(kw_only=True)
class Server:
    """What is answered in turn, the last for ever, and what was asked; `hold` keeps an answer back until it is set."""

    url: str = ""
    answers: list[Callable[[Any], Answer] | Answer] = field(default_factory=list[Any])
    asked: list[Any] = field(default_factory=list[Any])
    headers: list[dict[str, str]] = field(default_factory=list[Any])
    hold: threading.Event = field(default_factory=threading.Event)
    cut: int | None = None  # bytes after which the connection is closed


@pytest.fixture
def server() -> Iterator[Server]:
    """An embedding server on this machine."""
    state = Server(answers=[embedded])
    state.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.path == "/v1/embeddings"
            state.asked.append(asked)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            state.hold.wait(10)
            answer = state.answers[min(len(state.asked), len(state.answers)) - 1]
            status, headers, body = answer(asked) if callable(answer) else answer
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)

            with suppress(OSError):  # who asked may have given up
                self.end_headers()
                self.wfile.write(body[: state.cut])

        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/v1"
    yield state
    state.hold.set()
    http.shutdown()
    thread.join()
    http.server_close()


def do_not_wait(_seconds: float) -> None: ...


@pytest.fixture
def encode(server: Server) -> Iterator[Callable[..., EndpointEncoder]]:
    """Makes encoders of the server, which wait for nothing."""
    made: list[EndpointEncoder] = []

    def make(**options: Any) -> EndpointEncoder:
        settings: dict[str, Any] = {"model": "m", "sleep": do_not_wait, **options}
        made.append(EndpointEncoder(server.url, **settings))
        return made[-1]

    yield make
    for encoder in made:
        encoder.close()


Encode = Callable[..., EndpointEncoder]


def test_vectors_come_in_the_order_of_the_texts_and_have_length_one(server: Server, encode: Encode) -> None:
    """Texts go in batches, empty ones as something that servers take; the answer is put in order and normalised."""
    encoder = encode(batch=3)
    texts = ["boat", "", "honey", "oven", "mast"]
    vectors = encoder.embed(texts)
    assert np.allclose(vectors, _WORDS.embed([text or "-" for text in texts]), atol=1e-6)
    assert (vectors.dtype.name, vectors.shape) == ("float32", (5, 8))
    assert [asked["input"] for asked in server.asked] == [["boat", "-", "honey"], ["oven", "mast"]]
    assert server.asked[0] == {"model": "m", "input": ["boat", "-", "honey"], "encoding_format": "float"}
    assert "authorization" not in server.headers[0]


def test_the_dimension_is_learnt_or_asked_for(server: Server, encode: Encode) -> None:
    """Without one the server is asked once; a shortened dimension is part of the request and of the name."""
    encoder = encode()
    assert (encoder.name, encoder.dimension, encoder.dimension) == ("m", 8, 8)
    assert len(server.asked) == 1
    shortened = encode(dimension=8)
    assert (shortened.name, shortened.dimension, len(server.asked)) == ("m/8", 8, 1)
    shortened.embed(["boat"])
    assert server.asked[1]["dimensions"] == 8
    assert encode().embed([]).shape == (0, 8)


def test_a_key_goes_along_and_shows_nowhere(
    server: Server, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The secret is a bearer token; a server that repeats it in an error does not bring it into ours."""
    monkeypatch.setenv("SHELF_KEY", "sk-very-secret-1")
    server.answers = [refusal(401, "Incorrect API key provided: sk-very-secret-1")]
    with pytest.raises(
        ToolError, match=r"answered 401: Incorrect API key provided: \[secret SHELF_KEY\]"
    ) as refused:
        encode(key=Secret("SHELF_KEY")).embed(["boat"])

    assert refused.value.hint == "is the secret `SHELF_KEY` right?"
    assert server.headers[0]["authorization"] == "Bearer sk-very-secret-1"
    with pytest.raises(SecretMissing, match="`OTHER_KEY` is not set"):
        encode(key=Secret("OTHER_KEY")).embed(["boat"])


@pytest.mark.parametrize(
    ("first", "waits"),
    [
        (refusal(429, "slow down", retry_after="7"), [7.0]),
        (refusal(503, "loading"), None),
        (refusal(500, "oops"), None),
        ((502, {}, b"<html>bad gateway</html>"), None),
        (refusal(429, "slow down", retry_after="9999"), [30.0]),
    ],
)
def test_what_may_pass_is_tried_again(
    server: Server, encode: Encode, first: Answer, waits: list[float] | None
) -> None:
    """After 429 and 5xx the same is asked again, after the time that the server says, but no more than 30 s."""
    server.answers = [first, embedded]
    waited: list[float] = []
    assert encode(sleep=waited.append).embed(["boat"]).shape == (1, 8)
    assert server.asked[0] == server.asked[1]
    assert waited == waits if waits else 0.5 <= waited[0] <= 1


def test_what_does_not_pass_is_told_after_the_last_try(server: Server, encode: Encode) -> None:
    """A server that keeps refusing is asked four times, with growing waits, and the error says how it refused."""
    waited: list[float] = []
    server.answers = [refusal(429, "slow down", retry_after="2")]
    with pytest.raises(RateLimited, match="answered 429: slow down") as limited:
        encode().embed(["boat"])

    assert limited.value.retry_after == 2
    server.answers = [refusal(500, "oops")]
    with pytest.raises(NetworkUnavailable, match="answered 500: oops"):
        encode(sleep=waited.append).embed(["boat"])

    assert len(server.asked) == 8
    assert waited == sorted(waited)
    assert len(waited) == 3


@pytest.mark.parametrize(
    ("answer", "says", "hint"),
    [
        (refusal(400, "input is too long"), "answered 400: input is too long", "mend the `embedding`"),
        (refusal(401, "no key"), "answered 401", "name its secret as `key`"),
        (refusal(403, "not yours"), "answered 403", "may this key use the model?"),
        (refusal(404, "no such model"), "answered 404", "ends in `/v1`"),
        ((307, {"location": "http://127.0.0.1:1/"}, b""), "answered 307", "mend"),
        ((404, {}, b"x" * 10_000), "answered 404: x", ""),
        ((200, {}, b"<html>"), "it is no JSON", "as OpenAI's"),
        ((200, {}, b"[]"), "no list of vectors", ""),
        ((200, {}, b'{"data": [{"index": 0}]}'), "no list of vectors", ""),
        ((200, {}, b'{"data": []}'), "0 vectors for 1 texts", ""),
        ((200, {}, b'{"data": [{"index": 3, "embedding": [1, 2]}]}'), "1 vectors for 1 texts", ""),
        ((200, {}, b'{"data": [{"index": 0, "embedding": "AACAPw=="}]}'), "no list of vectors", ""),
        ((200, {}, b'{"data": [{"index": 0, "embedding": [0, 0]}]}'), "no direction", ""),
        ((200, {}, b'{"data": [{"index": 0, "embedding": [NaN, 1]}]}'), "no direction", ""),
    ],
)
def test_what_is_wrong_for_good_is_told_at_once(
    server: Server, encode: Encode, answer: Answer, says: str, hint: str
) -> None:
    """A refusal that will not pass, and an answer that holds no vectors, are errors with what to mend; nothing is retried."""
    server.answers = [answer]
    with pytest.raises(ToolError, match=says) as refused:
        encode().embed(["boat"])

    assert hint in refused.value.hint
    assert len(str(refused.value)) < 500
    assert len(server.asked) == 1


def test_vectors_of_changing_length_are_refused(server: Server, encode: Encode) -> None:
    """A server that changes its model under us does not get its vectors mixed with those before."""
    encoder = encode()
    encoder.embed(["boat"])
    server.answers = [(200, {}, b'{"data": [{"index": 0, "embedding": [1, 2, 3]}]}')]
    with pytest.raises(ToolError, match="its vectors have 3 numbers instead of 8"):
        encoder.embed(["boat"])


def test_an_answer_that_is_cut_off_is_asked_for_again(server: Server, encode: Encode) -> None:
    """A connection that ends in the middle of an answer counts as none."""
    server.cut = 20
    with pytest.raises(NetworkUnavailable, match="cannot be reached"):
        encode(tries=2).embed(["boat"])

    assert len(server.asked) == 2


def test_a_server_that_does_not_answer_is_given_up(server: Server, encode: Encode) -> None:
    """After its time limit the server is told to be slow."""
    server.hold.clear()
    with pytest.raises(ToolTimeout, match=r"did not answer within 0\.2 s"):
        encode(seconds=0.2).embed(["boat"])


def test_a_server_that_is_not_there_is_told() -> None:
    """No connection is an error that names the address and what to do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(
        NetworkUnavailable, match=f"127.0.0.1:{port}/v1/embeddings` cannot be reached"
    ) as missing:
        EndpointEncoder(f"http://127.0.0.1:{port}/v1/", model="m", tries=2, sleep=do_not_wait).embed(["x"])

    assert "start it" in missing.value.hint


def test_an_address_that_is_none_is_refused() -> None:
    """What is no HTTP address is told when the encoder is made."""
    with pytest.raises(ProjectError, match="`localhost:11434` is no address"):
        EndpointEncoder("localhost:11434", model="m")


async def test_a_folder_is_searched_by_a_servers_vectors(
    server: Server, encode: Encode, tmp_path: Path
) -> None:
    """Indexing and searching ask the server; what it refuses stops the indexing with whole files, and it can go on."""
    (tmp_path / "docs").mkdir()
    for name in ("bees", "boats", "bread"):
        (tmp_path / "docs" / f"{name}.md").write_text(f"# {name}\n\nAll about {name}.\n")

    server.answers = [embedded, refusal(400, "no credit left")]
    files = FileSearch(tmp_path / "docs", index=tmp_path / "x.db", embedding=encode(), fresh_for=0)
    with pytest.raises(ToolError, match="no credit left"):
        await files.index()

    assert list(await files.files()) == ["bees.md"]
    server.answers = [embedded]
    assert (await files.search("boats"))[0].source == "docs/boats.md"
    assert files.report is not None
    assert (files.report.added, files.report.unchanged) == (2, 1)
    other = FileSearch(tmp_path / "docs", index=tmp_path / "x.db", embedding=encode(model="n"))
    with pytest.raises(IndexMismatch, match="`m`, and `n` now"):
        await other.search("boats")
