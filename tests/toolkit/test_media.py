"""Speech, pictures and moderation over a server on this machine that answers, and fails, as the real ones do."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentflow import Workflow, step
from agentflow.events import ArtifactKept
from agentflow.exceptions import (
    AddressRefused,
    FileUnreadable,
    NetworkUnavailable,
    RateLimited,
    SecretMissing,
    ToolError,
    ToolTimeout,
)
from agentflow.secrets import Secret, redact
from agentflow.testing import run_to_end
from agentflow.toolkit.guard import Guard
from agentflow.toolkit.media import (
    Endpoint,
    Folder,
    Images,
    Moderator,
    Picture,
    Segment,
    Speech,
    Transcript,
    image_tools,
    moderation_tool,
    speech_tools,
)
from agentflow.toolkit.media.endpoint import OPENAI_URL, named
from agentflow.tools import Labels
from tests.models.recording import recorded
from tests.toolkit.media_server import MediaServer, Reply, Sent, fails, says

KEY = "sk-media-1234567890"
# One pixel, as a PNG.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "duration": 4.2,
    "text": " The meeting is at ten. Bring the report.",
    "segments": [
        {"id": 0, "start": 0.0, "end": 2.1, "text": " The meeting is at ten.", "avg_logprob": -0.2},
        {"id": 1, "start": 2.1, "end": 4.2, "text": " Bring the report.", "avg_logprob": -0.3},
    ],
}
HARMLESS = {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 0.01}}
VIOLENT = {"flagged": True, "categories": {"violence": True}, "category_scores": {"violence": 0.97}}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    monkeypatch.setenv("MEDIA_KEY", KEY)


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with MediaServer() as server:
        yield server


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "call.mp3").write_bytes(b"ID3 not really sound")
    (folder / "photo.png").write_bytes(PNG)
    return folder


def endpoint(server: MediaServer, **more: Any) -> Endpoint:
    given: dict[str, Any] = {"model": "m", "key": Secret("MEDIA_KEY"), "timeout": 10}
    return Endpoint(base_url=server.url, **(given | more))


def moderator(server: MediaServer, **more: Any) -> Moderator:
    return Moderator(endpoint=endpoint(server), **more)


def content(path: str) -> bytes:
    return Path(path).read_bytes()


def is_empty(folder: Path) -> bool:
    return not list(folder.iterdir())


# Endpoints


def test_the_environment_names_an_endpoint_as_it_does_for_models() -> None:
    """A variable of its own goes before OPENAI_BASE_URL, and that before OpenAI."""

    def found(**environ: str) -> tuple[str, str, str]:
        known = named("AGENTFLOW_SPEECH", model="whisper-1", what="speech", environ=environ)
        return known.model, known.base_url, known.key.name if known.key else ""

    openai = {"OPENAI_API_KEY": "sk-openai"}
    own = {"AGENTFLOW_SPEECH": "small@http://10.0.0.7:8000/v1/"}
    assert found(**openai) == ("whisper-1", OPENAI_URL, "OPENAI_API_KEY")
    assert found(**openai, AGENTFLOW_SPEECH="gpt-4o-transcribe") == (
        "gpt-4o-transcribe",
        OPENAI_URL,
        "OPENAI_API_KEY",
    )
    assert found(OPENAI_BASE_URL="http://h:1/v1") == ("whisper-1", "http://h:1/v1", "")
    assert found(OPENAI_BASE_URL="http://h:1/v1", **openai) == (
        "whisper-1",
        "http://h:1/v1",
        "OPENAI_API_KEY",
    )
    # The key of OpenAI is not for a server that was named here only.
    assert found(**own, **openai) == ("small", "http://10.0.0.7:8000/v1", "")
    assert found(**own, **openai, AGENTFLOW_API_KEY="key-of-mine")[2] == "AGENTFLOW_API_KEY"


def test_where_no_service_is_named_the_error_says_what_to_connect() -> None:
    """Nothing is asked, and the variable that helps is named."""
    with pytest.raises(ToolError, match="there is no service for images here") as caught:
        named("AGENTFLOW_IMAGES", model="m", what="images", environ={})

    assert "AGENTFLOW_IMAGES" in caught.value.hint
    assert "OPENAI_API_KEY" in caught.value.hint


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "localhost:8000", "http://", "http://h/v1?a=b", "http:// h/"]
)
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    """Before anything is sent, as is an address that would put a password on the record."""
    with pytest.raises(ToolError, match="no address of a server"):
        Endpoint(model="m", base_url=url)

    with pytest.raises(ToolError, match="holds a password") as caught:
        Endpoint(model="m", base_url="http://me:hunter22@h/v1")

    assert "hunter22" not in str(caught.value)


# Speech


async def test_speech_becomes_text_with_times(server: MediaServer, files: Path) -> None:
    """The file goes as a form with the key; the name of the file, which may tell much, stays here."""
    server.reply = says(VERBOSE)
    heard = await Speech(files, endpoint=endpoint(server)).transcribe("call.mp3", language="en", prompt="Q3")

    assert heard == Transcript(
        text="The meeting is at ten. Bring the report.",
        language="english",
        segments=[
            Segment(start=0.0, end=2.1, text="The meeting is at ten."),
            Segment(start=2.1, end=4.2, text="Bring the report."),
        ],
    )
    (sent,) = server.sent
    assert sent.path == "/v1/audio/transcriptions"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.fields == {"model": "m", "language": "en", "prompt": "Q3", "response_format": "verbose_json"}
    assert sent.files == [("file", "speech.mp3", "audio/mpeg", b"ID3 not really sound")]


async def test_speech_is_translated_into_english(server: MediaServer, files: Path) -> None:
    """A route of its own, which takes no language."""
    server.reply = says({"text": "Good morning."})
    heard = await Speech(files, endpoint=endpoint(server)).translate("call.mp3")

    assert heard == Transcript(text="Good morning.")
    assert server.sent[0].path == "/v1/audio/translations"
    assert set(server.sent[0].fields) == {"model", "response_format"}


async def test_models_without_times_are_not_asked_for_them(server: MediaServer, files: Path) -> None:
    """They would refuse the call; and who says what is wanted is followed."""
    server.reply = says({"text": "Hello."})
    gpt = endpoint(server, model="gpt-4o-transcribe")
    await Speech(files, endpoint=gpt).transcribe("call.mp3")
    await Speech(files, endpoint=gpt, times=True).transcribe("call.mp3")
    await Speech(files, endpoint=endpoint(server), times=False).transcribe("call.mp3")

    assert [s.fields["response_format"] for s in server.sent] == ["json", "verbose_json", "json"]


async def test_plain_text_is_an_answer_too(server: MediaServer, files: Path) -> None:
    """Some servers answer so whatever they are asked for."""
    server.reply = Reply(body="Grüß Gott.\n".encode(), media_type="text/plain; charset=utf-8")

    assert await Speech(files, endpoint=endpoint(server)).transcribe("call.mp3") == Transcript(
        text="Grüß Gott."
    )


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"text": 7},
        {"text": None, "segments": []},
        {"text": "a", "segments": {"0": {}}},
        {"text": "a", "segments": [7]},
        {"text": "a", "segments": [{"start": 0, "text": "a"}]},
        {"text": "a", "segments": [{"start": 2, "end": 1, "text": "a"}]},
        {"text": "a", "segments": [{"start": float("nan"), "end": 1, "text": "a"}]},
        {"text": "a", "segments": [{"start": 0, "end": 1, "text": ["a"]}]},
        ["text"],
        "text",
    ],
)
async def test_a_transcript_that_is_none_is_an_error(server: MediaServer, files: Path, answer: Any) -> None:
    """Nothing is made up for what is missing."""
    server.reply = says(answer)
    with pytest.raises(ToolError, match="did not answer as the OpenAI API does"):
        await Speech(files, endpoint=endpoint(server)).transcribe("call.mp3")


def test_subtitles_hold_what_was_said_and_nothing_that_breaks_them() -> None:
    """Hours are counted on, milliseconds rounded; an empty line or an arrow in the text ends no cue."""
    spoken = Transcript(
        text="x",
        segments=[
            Segment(start=0.0, end=1.9996, text="Hi <b>"),
            Segment(start=3661.5, end=3662, text="a\n\n1\n00:00:00,000 --> 00:00:01,000"),
        ],
    )

    assert spoken.srt() == (
        "1\n00:00:00,000 --> 00:00:02,000\nHi <b>\n\n"
        "2\n01:01:01,500 --> 01:01:02,000\na\n1\n00:00:00,000 -> 00:00:01,000\n"
    )
    assert spoken.vtt().startswith(
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nHi &lt;b&gt;\n\n01:01:01.500 --> "
    )
    assert spoken.vtt().count("-->") == 2
    with pytest.raises(ToolError, match="no times"):
        Transcript(text="x").srt()


def test_a_transcript_is_evidence_with_its_place_in_time() -> None:
    """The offsets find the words again in the whole text, also where a word comes twice."""
    spoken = Transcript(
        text="Yes. No. Yes.",
        segments=[
            Segment(start=0, end=1, text="Yes."),
            Segment(start=1, end=2, text="No."),
            Segment(start=59.5, end=61, text="Yes."),
            Segment(start=61, end=62, text="not in the text"),
        ],
    )
    found = spoken.evidence("call.mp3")

    assert [e.place for e in found][2:] == ["00:00:59-00:01:01", "00:01:01-00:01:02"]
    assert [(e.start, e.end) for e in found] == [(0, 4), (5, 8), (9, 13), (None, None)]
    assert all(e.trust == "untrusted" for e in found)
    assert [e.text for e in Transcript(text="all").evidence("x")] == ["all"]
    assert Transcript(text="").evidence("x") == []


# Files


@pytest.mark.parametrize(
    "name",
    [
        "../secret.mp3",
        "/etc/passwd.mp3",
        "sub/../../secret.mp3",
        "..",
        "sub/../../files2/call.mp3",
        "a\0.mp3",
        "{root}2/call.mp3",
        "link.mp3",
        "away/secret.mp3",
        "sub/deep.mp3",
    ],
)
async def test_nothing_outside_of_the_folder_is_read(server: MediaServer, files: Path, name: str) -> None:
    """Neither by a path that leads out, nor through a link, be it the file or a folder on the way."""
    (files.parent / "secret.mp3").write_bytes(b"secret")
    (files.parent / "files2").mkdir()
    (files.parent / "files2" / "call.mp3").write_bytes(b"secret")
    (files / "sub").mkdir()
    (files / "link.mp3").symlink_to(files.parent / "secret.mp3")
    (files / "sub" / "deep.mp3").symlink_to("../call.mp3")
    (files / "away").symlink_to(files.parent, target_is_directory=True)
    with pytest.raises(AddressRefused, match=r"outside of the folder|is a link"):
        await asyncio.to_thread(Folder(files).read, name.format(root=files), max_bytes=1000)

    assert server.sent == []


async def test_files_that_are_no_speech_are_refused_before_anything_is_sent(
    server: MediaServer, files: Path
) -> None:
    """Each with what is wrong with it: missing, a folder, a pipe, empty, too large, of another kind."""
    (files / "folder.mp3").mkdir()
    os.mkfifo(files / "pipe.mp3")
    (files / "empty.mp3").touch()
    (files / "large.mp3").write_bytes(bytes(1001))
    speech = Speech(files, endpoint=endpoint(server), max_bytes=1000)
    for name, told in {
        "gone.mp3": "No such file",
        "folder.mp3": "no file|cannot be read",
        "pipe.mp3": "is no file",
        "empty.mp3": "is empty",
        "large.mp3": r"larger than 0.001 MB",
        "photo.png": "not known as audio",
        "call.mp3/x.mp3": "Not a directory",
    }.items():
        with pytest.raises(FileUnreadable, match=told):
            await speech.transcribe(name)

    assert server.sent == []


def test_a_folder_takes_whole_paths_and_one_that_is_itself_a_link(files: Path) -> None:
    """What the operator chose is followed; only what is named inside of it is not."""
    (files.parent / "linked").symlink_to(files)
    for folder in (files, files.parent / "linked"):
        assert Folder(folder).read("photo.png", max_bytes=1000) == PNG
        assert Folder(folder).read(str(folder / "photo.png"), max_bytes=1000) == PNG


# Failures


@pytest.mark.parametrize(
    ("reply", "kind", "told", "hint"),
    [
        (
            fails(400, "Unrecognized file format."),
            ToolError,
            "answered 400: Unrecognized file format",
            "format",
        ),
        (fails(401, "Incorrect API key"), ToolError, "answered 401", "key"),
        (fails(403), ToolError, "answered 403", "may not use this model"),
        (fails(404, "The model `m` does not exist"), ToolError, "answered 404: The model", "model's name"),
        (fails(408), ToolTimeout, "answered 408", ""),
        (fails(413), ToolError, "answered 413", "smaller"),
        (fails(415), ToolError, "answered 415", "convert"),
        (fails(429), RateLimited, "answered 429", "ask less often"),
        (fails(429, code="insufficient_quota"), ToolError, "answered 429", "no credit"),
        (fails(500, "The server had an error"), NetworkUnavailable, "answered 500: The server had", "later"),
        (fails(503), NetworkUnavailable, "answered 503", "later"),
        (fails(503, retry_after="7"), RateLimited, "answered 503", ""),
        (says({"detail": [{"loc": ["file"]}]}, status=422), ToolError, "answered 422: .*file", "format"),
        (says({"error": "no such model"}, status=400), ToolError, "answered 400: no such model", ""),
        (Reply(status=502, body=b"<html>Bad gateway</html>"), NetworkUnavailable, "answered 502$", ""),
        (Reply(status=404, body=b"404 page not found"), ToolError, "404: 404 page not found", "/v1"),
        (
            Reply(status=307, headers={"Location": "http://127.0.0.1:1/"}),
            ToolError,
            "sends on to another",
            "key",
        ),
        (Reply(body=b"<html>hello</html>", media_type="text/html"), ToolError, "did not answer as", "/v1"),
        (Reply(body=b'{"text": "hel'), ToolError, "no JSON object", "/v1"),
        (Reply(body=b"[" * 100_000), ToolError, "no JSON object", "/v1"),
        (Reply(body=b'{"text": "hel', cut=True), NetworkUnavailable, "broke off", ""),
    ],
)
async def test_each_failure_of_a_server_is_told_as_what_it_is(
    server: MediaServer, files: Path, reply: Reply, kind: type[ToolError], told: str, hint: str
) -> None:
    """The kind decides whether it is tried again, the hint says how to mend it, and the key is in neither."""
    server.reply = reply
    with pytest.raises(ToolError, match=told) as caught:
        await Speech(files, endpoint=endpoint(server)).transcribe("call.mp3")

    assert type(caught.value) is kind
    assert hint in caught.value.hint
    assert KEY not in f"{caught.value}{caught.value.hint}"
    assert len(server.sent) == 1


async def test_how_long_to_wait_is_kept(server: MediaServer, files: Path) -> None:
    """As the server says it, for who tries again."""
    server.reply = fails(429, retry_after="20")
    with pytest.raises(RateLimited) as caught:
        await Speech(files, endpoint=endpoint(server)).transcribe("call.mp3")

    assert caught.value.retry_after == 20


async def test_the_words_of_a_server_are_cut_and_made_one_line(server: MediaServer, files: Path) -> None:
    """An error is for reading, and no place for a page or for control characters."""
    server.reply = fails(400, "a\x1b[31m\n\u202eb" + "x" * 5000)
    with pytest.raises(ToolError) as caught:
        await Speech(files, endpoint=endpoint(server)).transcribe("call.mp3")

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 450


async def test_a_server_that_is_silent_is_not_waited_for(server: MediaServer, files: Path) -> None:
    """The time limit of the endpoint holds for the whole call."""
    server.reply = Reply(silent=True)
    with pytest.raises(ToolTimeout, match=r"longer than 0.2 s"):
        await Speech(files, endpoint=endpoint(server, timeout=0.2)).transcribe("call.mp3")


async def test_a_server_that_is_not_there_is_told_apart(files: Path) -> None:
    """A port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = Endpoint(model="m", base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1", timeout=5)
        with pytest.raises(NetworkUnavailable, match="cannot be reached"):
            await Speech(files, endpoint=nobody).transcribe("call.mp3")


async def test_keys_are_read_when_they_are_needed(
    server: MediaServer, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing one is named and nothing is sent; one that no header can hold is not shown; without one none is sent."""
    server.reply = says({"text": "Hello."})
    await Speech(files, endpoint=endpoint(server, key=None)).transcribe("call.mp3")
    assert "authorization" not in server.sent[0].headers

    monkeypatch.delenv("MEDIA_KEY")
    with pytest.raises(SecretMissing, match="MEDIA_KEY"):
        await Speech(files, endpoint=endpoint(server)).transcribe("call.mp3")

    monkeypatch.setenv("MEDIA_KEY", "sk-ключ-123456")
    with pytest.raises(ToolError, match="`MEDIA_KEY` cannot be sent as a key") as caught:
        await Speech(files, endpoint=endpoint(server)).transcribe("call.mp3")

    assert "ключ" not in f"{caught.value!r}{caught.value.hint}{caught.value.__context__!r}"
    assert len(server.sent) == 1


async def test_a_key_that_a_server_repeats_can_be_taken_out(server: MediaServer, files: Path) -> None:
    """It was revealed by name, so whatever writes the error down knows it by its value."""
    server.reply = fails(401, f"Incorrect API key provided: {KEY}")
    with pytest.raises(ToolError) as caught:
        await Speech(files, endpoint=endpoint(server)).transcribe("call.mp3")

    assert KEY not in redact(str(caught.value))


# Pictures


def picture(data: bytes = PNG, **more: Any) -> dict[str, Any]:
    return {"b64_json": base64.b64encode(data).decode(), **more}


async def test_a_picture_is_made_and_kept(server: MediaServer, tmp_path: Path) -> None:
    """What comes back says where it lies, what it is, and what the model made of the prompt."""
    server.reply = says({"created": 1, "data": [picture(revised_prompt="A red fox, at dawn")]})
    images = Images(endpoint=endpoint(server), out=tmp_path / "out")
    (made,) = await images.generate("a fox", size="1024x1024")

    assert content(made.path) == PNG
    assert made.path.startswith(str(tmp_path / "out"))
    assert (made.media_type, made.size, made.revised_prompt) == ("image/png", len(PNG), "A red fox, at dawn")
    assert made.digest == "sha256:" + hashlib.sha256(PNG).hexdigest()
    (sent,) = server.sent
    assert sent.path == "/v1/images/generations"
    assert sent.fields == {
        "model": "m",
        "prompt": "a fox",
        "n": 1,
        "size": "1024x1024",
        "response_format": "b64_json",
    }


async def test_in_a_run_a_picture_is_an_artifact_of_the_step(server: MediaServer, tmp_path: Path) -> None:
    """Two of one step keep two files, and nothing is written elsewhere."""
    jpeg = b"\xff\xd8\xff\xe0 and so on"
    server.reply = says({"data": [picture(), picture(jpeg)]})
    images = Images(endpoint=endpoint(server, model="gpt-image-1"), out=tmp_path / "out")
    generate, _ = image_tools(images)

    @step
    async def draw(prompt: str) -> list[Picture]:
        pictures: list[Picture] = await generate(prompt, count=2)
        return pictures

    ended = await run_to_end(Workflow("w", start=draw, end=draw), "a fox", settings={"root": tmp_path})
    kept = [e for e in ended.events if isinstance(e, ArtifactKept)]

    assert [(p.path, p.digest) for p in ended.output] == [(e.path, e.digest) for e in kept]
    assert [p.media_type for p in ended.output] == ["image/png", "image/jpeg"]
    assert [content(e.path) for e in kept] == [PNG, jpeg]
    assert not (tmp_path / "out").exists()
    # These models refuse to be asked for what they always do.
    assert "response_format" not in server.sent[0].fields


async def test_a_picture_is_changed(server: MediaServer, files: Path, tmp_path: Path) -> None:
    """One goes as `image`, several as `image[]`, a mask as `mask`; the names of the files stay here."""
    server.reply = says({"data": [picture()]})
    images = Images(files, endpoint=endpoint(server), out=tmp_path)
    await images.edit("in red", ["photo.png"], mask="photo.png")
    await images.edit("in red", ["photo.png", "photo.png"])

    one, two = server.sent
    assert one.path == "/v1/images/edits"
    assert one.fields == {"model": "m", "prompt": "in red", "n": "1", "response_format": "b64_json"}
    assert one.files == [
        ("image", "picture.png", "image/png", PNG),
        ("mask", "picture.png", "image/png", PNG),
    ]
    assert [file[0] for file in two.files] == ["image[]", "image[]"]


async def test_what_cannot_be_changed_or_made_is_not_asked_for(server: MediaServer, files: Path) -> None:
    """Each with its reason, before anything is sent."""
    images = Images(files, endpoint=endpoint(server))
    with pytest.raises(FileUnreadable, match="no picture that can be changed"):
        await images.edit("in red", ["call.mp3"])
    with pytest.raises(ToolError, match="0 pictures were named"):
        await images.edit("in red", [])
    with pytest.raises(ToolError, match="17 pictures"):
        await images.edit("in red", ["photo.png"] * 17)
    with pytest.raises(ToolError, match="no folder is set up"):
        await Images(endpoint=endpoint(server)).edit("in red", ["photo.png"])
    with pytest.raises(ToolError, match="prompt is empty"):
        await images.generate(" ")
    with pytest.raises(ToolError, match="11 pictures"):
        await images.generate("a fox", count=11)

    assert server.sent == []


async def test_a_picture_at_an_address_is_fetched_from_the_server_itself(
    server: MediaServer, tmp_path: Path
) -> None:
    """As servers of one's own answer; it may lie in a private network, as the operator chose it."""

    def reply(sent: Sent) -> Reply:
        if sent.path == "/made/1.png":
            return Reply(body=PNG, media_type="image/png")

        return says({"data": [{"url": f"http://127.0.0.1:{server.port}/made/1.png"}]})

    server.reply = reply
    (made,) = await Images(endpoint=endpoint(server), out=tmp_path).generate("a fox")

    assert content(made.path) == PNG


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{other}/x.png",
        "http://localhost:{other}/x.png",
        "http://2130706433:{other}/x.png",
        "http://[::ffff:127.0.0.1]:{other}/x.png",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "http://127.0.0.1:{own}@127.0.0.1:{other}/x.png",
        "//127.0.0.1:{other}/x.png",
        "http://127.0.0.1:{own}\\@127.0.0.1:{other}/x.png",
        "http://127.0.0.1:{other}#@127.0.0.1:{own}/x.png",
        "http://127.0.0.1:{own}\t@127.0.0.1:{other}/x.png",
    ],
)
async def test_an_answer_cannot_send_the_machine_elsewhere(
    server: MediaServer, tmp_path: Path, url: str
) -> None:
    """Another port of this machine is not reached, whatever way it is written, and the key goes nowhere."""
    with MediaServer(Reply(body=PNG, media_type="image/png")) as other:
        where = url.format(other=other.port, own=server.port)
        server.reply = says({"data": [{"url": where}]})
        with pytest.raises(ToolError):
            await Images(endpoint=endpoint(server), out=tmp_path).generate("a fox")

        assert other.sent == []

    assert is_empty(tmp_path)


async def test_a_picture_elsewhere_goes_through_the_guard_without_the_key(
    server: MediaServer, tmp_path: Path
) -> None:
    """A network that the guard was told of stands in for the public one."""
    with MediaServer(Reply(body=PNG, media_type="image/png")) as other:
        server.reply = says({"data": [{"url": f"http://127.0.0.1:{other.port}/x.png"}]})
        reach = Guard(ports=(other.port,), networks=("127.0.0.0/8",))
        (made,) = await Images(endpoint=endpoint(server), out=tmp_path, reach=reach).generate("a fox")

        assert content(made.path) == PNG
        assert "authorization" not in other.sent[0].headers


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({}, "does not hold 1 to 1 pictures"),
        ({"data": []}, "does not hold"),
        ({"data": [picture(), picture()]}, "does not hold"),
        ({"data": ["x"]}, "without `b64_json` and `url`"),
        ({"data": [{"b64_json": "%%%"}]}, "no Base64"),
        ({"data": [picture(b"<svg onload=alert(1)>")]}, "no PNG, JPEG, WebP or GIF"),
        ({"data": [{"url": "data:image/png;base64,AAAA"}]}, "no PNG"),
        ({"data": [picture(PNG + bytes(2000))]}, "larger than 1,000 bytes"),
    ],
)
async def test_what_is_no_picture_is_not_kept(
    server: MediaServer, tmp_path: Path, answer: Any, told: str
) -> None:
    """Neither a page with a script, nor too much, nor half of what was asked for."""
    server.reply = says(answer)
    with pytest.raises(ToolError, match=told):
        await Images(endpoint=endpoint(server), out=tmp_path, max_bytes=1000).generate("a fox")

    assert is_empty(tmp_path)


async def test_an_endless_answer_is_cut_off(server: MediaServer, tmp_path: Path) -> None:
    """Reading ends at what pictures of the allowed size can take."""
    server.reply = Reply(body=b" " * 1_100_000)
    with pytest.raises(ToolError, match="is larger than"):
        await Images(endpoint=endpoint(server), out=tmp_path, max_bytes=1000).generate("a fox")


# Moderation


async def test_a_text_is_judged(server: MediaServer) -> None:
    """The verdict says for what, and how sure."""
    server.reply = says({"id": "modr-1", "model": "m", "results": [VIOLENT]})
    verdict = await moderator(server).moderate("I will hurt you")

    assert verdict.flagged
    assert (verdict.categories, verdict.scores) == ({"violence": True}, {"violence": 0.97})
    assert verdict.reason == "violence (0.97)"
    assert server.sent[0].path == "/v1/moderations"
    assert server.sent[0].fields == {"model": "m", "input": "I will hurt you"}


async def test_our_own_thresholds_are_held_to(server: MediaServer) -> None:
    """They flag what the service lets pass; one for a category that it does not know is an error, not a pass."""
    server.reply = says({"results": [HARMLESS]})
    assert not (await moderator(server).moderate("hm")).flagged
    assert (await moderator(server, thresholds={"violence": 0.01}).moderate("hm")).reason == "violence (0.01)"
    with pytest.raises(ToolError, match="no score for `hatred`") as caught:
        await moderator(server, thresholds={"hatred": 0.5}).moderate("hm")

    assert "`violence`" in caught.value.hint


async def test_a_long_text_is_judged_in_parts_to_its_end(server: MediaServer) -> None:
    """Each letter is in a part, a word at a seam is whole in one of two, and the worst part counts."""

    def reply(sent: Sent) -> Reply:
        parts = [sent.fields["input"]] if isinstance(sent.fields["input"], str) else sent.fields["input"]
        return says({"results": [VIOLENT if "kill" in part else HARMLESS for part in parts]})

    server.reply = reply
    letters = "".join(f"{n:07} " for n in range(10_000))
    for at in (0, 19_998, 39_799, len(letters) - 4):
        verdict = await moderator(server).moderate(letters[:at] + "kill" + letters[at + 4 :])
        assert verdict.flagged, at
        assert verdict.scores == {"violence": 0.97}

    assert not (await moderator(server).moderate(letters)).flagged
    parts: list[str] = server.sent[-1].fields["input"]
    assert all(re.search(rf"{n:07}", "\n".join(parts)) for n in range(10_000))
    with pytest.raises(ToolError, match="too long to be judged"):
        await moderator(server).moderate("x" * 3_000_000)


async def test_an_empty_text_is_harmless_and_asked_about_nowhere(server: MediaServer) -> None:
    """Services refuse one."""
    assert not (await moderator(server).moderate(" \n")).flagged
    assert server.sent == []


@pytest.mark.parametrize(
    "results",
    [
        None,
        [],
        [HARMLESS, HARMLESS],
        [{}],
        ["harmless"],
        [HARMLESS | {"flagged": "false"}],
        [HARMLESS | {"flagged": None}],
        [HARMLESS | {"categories": ["violence"]}],
        [HARMLESS | {"categories": {"violence": "no"}}],
        [HARMLESS | {"category_scores": {"violence": "0.1"}}],
        [HARMLESS | {"category_scores": {"violence": float("nan")}}],
        [HARMLESS | {"category_scores": 0.1}],
    ],
)
async def test_half_a_verdict_is_none(server: MediaServer, results: Any) -> None:
    """What a service does not say is not taken for harmless."""
    server.reply = says({"results": results})
    with pytest.raises(ToolError, match="did not answer as the OpenAI API does"):
        await moderator(server).moderate("hm")


# Tools


async def test_media_are_tools_with_labels_that_fit(server: MediaServer, files: Path) -> None:
    """Whose files are private, whose text leaves the machine, and what comes back is not trusted."""
    tools = [
        *speech_tools(Speech(files, endpoint=endpoint(server))),
        *image_tools(Images(files, endpoint=endpoint(server))),
        moderation_tool(moderator(server)),
    ]
    leaves = Labels(effect="read", returns="untrusted", outside=True)
    assert {t.name: t.labels for t in tools} == {
        "transcribe": leaves._replace(private=True),
        "translate": leaves._replace(private=True),
        "generate_image": leaves,
        "edit_image": leaves._replace(private=True),
        "moderate": leaves,
    }
    assert all(t.description and t.timeout for t in tools)


async def test_a_tool_call_in_a_step_is_on_the_record(server: MediaServer, files: Path) -> None:
    """With what it was asked and what came of it; the next attempt reads the same back."""
    server.reply = says(VERBOSE)
    transcribe, _ = speech_tools(Speech(files, endpoint=endpoint(server)))
    with recorded() as recording:
        heard = await transcribe(path="call.mp3")

    kept = recording.one("tool", "transcribe")
    assert kept.request == {"path": "call.mp3"}
    assert transcribe.restored(kept.outcome) == heard
