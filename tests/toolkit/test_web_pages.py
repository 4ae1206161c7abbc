"""What fetching a page heeds and keeps: robots.txt, kinds of documents, charsets, copies, and pages that are out to harm."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentflow.exceptions import (
    AddressRefused,
    FileUnreadable,
    MissingExtra,
    NetworkUnavailable,
    ProjectError,
    RateLimited,
    ToolTimeout,
)
from agentflow.toolkit.web import PageReader
from agentflow.toolkit.web import page as page_module
from agentflow.toolkit.web.cache import Page, PageCache
from agentflow.toolkit.web.charset import decoded
from agentflow.toolkit.web.extraction import Extractors
from tests.toolkit.hostile_urls import OPEN_NETWORK, ground, resolver
from tests.toolkit.sites import Reply, Site, names

FIXTURES = Path(__file__).with_name("fixtures")
PLAIN = {"Content-Type": "text/plain"}


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def reader(site: Site, **settings: Any) -> PageReader:
    usual: dict[str, Any] = {"ports": [site.port], "networks": ["127.0.0.0/8"], "resolver": names({})}
    return PageReader(**(usual | settings))


# robots.txt


def robots(text: str = "", status: int = 200, **headers: str) -> Reply:
    return Reply(text.encode(), status, headers or PLAIN)


async def test_robots_are_respected(site: Site) -> None:
    """What a site asks programs not to fetch is not fetched, and it is asked once for all its pages."""
    site.replies["/robots.txt"] = robots("User-agent: *\nDisallow: /private\nAllow: /private/but\n")
    for path in ("/private/x", "/private/but", "/open"):
        site.replies[path] = Reply(b"text", headers=PLAIN)

    reading = reader(site)
    with pytest.raises(AddressRefused, match=r"robots\.txt"):
        await reading(f"{site.url}/private/x")

    assert [hit.text for hit in await reading(f"{site.url}/private/but")] == ["text"]
    assert len(await reading(f"{site.url}/open")) == 1
    assert site.asked == ["/robots.txt", "/private/but", "/open"]


async def test_robots_may_speak_of_us(site: Site) -> None:
    """A group for `agentflow` is taken before that for all, and one for others is not ours."""
    site.replies["/robots.txt"] = robots(
        "User-agent: agentflow\nDisallow: /a\n\nUser-agent: *\nDisallow: /b\n"
    )
    site.replies["/b"] = Reply(b"text", headers=PLAIN)
    reading = reader(site)

    assert len(await reading(f"{site.url}/b")) == 1
    with pytest.raises(AddressRefused):
        await reading(f"{site.url}/a")

    assert site.received[1].headers["user-agent"].startswith("agentflow")


async def test_robots_of_each_site_on_the_way(site: Site) -> None:
    """A redirect does not lead past the robots.txt of the site that it leads to."""
    other = f"http://other.example:{site.port}"
    site.replies["/out"] = Reply(b"", 302, {"Location": f"{other}/private"})
    site.replies["/robots.txt"] = robots("User-agent: *\nDisallow: /private\n")
    with pytest.raises(AddressRefused, match=r"robots\.txt of `other"):
        await reader(site, resolver=names({"other.example": ["127.0.0.1"]}))(f"{site.url}/out")

    assert site.asked == ["/robots.txt", "/out", "/robots.txt"]


async def test_robots_can_be_left_aside_by_the_project(site: Site) -> None:
    """With `robots=False` nobody is asked."""
    site.replies["/x"] = Reply(b"text", headers=PLAIN)

    assert len(await reader(site, robots=False)(f"{site.url}/x")) == 1
    assert site.asked == ["/x"]


@pytest.mark.parametrize(
    "reply",
    [
        robots("nothing here", 404),
        robots("", 401),
        robots("", 403),
        robots("", 410),
        robots("<!doctype html><p>Disallow: /", 200),
        robots("\0\xff" * 1000),
        robots(""),
        Reply(b"", 302, {"Location": "/robots.txt"}),
        Reply(b"", 302, {"Location": "http://169.254.169.254/robots.txt"}),
        Reply(b"no gzip", headers={"Content-Encoding": "gzip"}),
        Reply(("#" * 600_000 + "\nUser-agent: *\nDisallow: /\n").encode(), headers=PLAIN),
        Reply(gzip.compress(b"#" * 5_000_000), headers={"Content-Encoding": "gzip"}),
    ],
)
async def test_no_usable_robots_forbid_nothing(site: Site, reply: Reply) -> None:
    """A site without a robots.txt, or with none that can be read, forbids nothing (RFC 9309)."""
    site.replies["/robots.txt"] = reply
    site.replies["/x"] = Reply(b"text", headers=PLAIN)

    assert len(await reader(site)(f"{site.url}/x")) == 1


@pytest.mark.parametrize("reply", [robots("", 500), robots("", 503), robots("", 429)])
async def test_site_in_trouble_is_left_alone(site: Site, reply: Reply, clock: Clock) -> None:
    """A site that cannot say what it forbids is not fetched from; after two minutes it is asked again."""
    site.replies["/robots.txt"] = reply
    site.replies["/x"] = Reply(b"text", headers=PLAIN)
    reading = reader(site, clock=clock)
    for _ in range(2):
        with pytest.raises(AddressRefused, match=f"answered {reply.status}"):
            await reading(f"{site.url}/x")

    site.replies["/robots.txt"] = robots()
    clock.now += 121

    assert len(await reading(f"{site.url}/x")) == 1
    assert site.asked == ["/robots.txt", "/robots.txt", "/x"]


async def test_robots_are_asked_again_after_a_day(site: Site, clock: Clock) -> None:
    """What a site says holds for a day."""
    site.replies["/x"] = Reply(b"text", headers=PLAIN)
    reading = reader(site, clock=clock)
    for hours in (0, 23, 25):
        clock.now = 1_795_000_000.0 + hours * 3600
        await reading(f"{site.url}/x", max_age=0)

    assert site.asked == ["/robots.txt", "/x", "/x", "/robots.txt", "/x"]


async def test_silent_robots_end_with_the_fetch(site: Site) -> None:
    """The time limit of the fetch holds for robots.txt too."""
    site.replies["/robots.txt"] = Reply(waits=True)
    with pytest.raises(ToolTimeout):
        await reader(site, timeout=0.3)(f"{site.url}/x")


async def test_unreachable_site_is_told_by_its_page(site: Site) -> None:
    """Where the site is not there, the error names the page that was asked for."""
    with pytest.raises(NetworkUnavailable, match=r"nowhere\.example:\d+/x` cannot be reached"):
        await reader(site)(f"http://nowhere.example:{site.port}/x")


# Kinds


@pytest.mark.parametrize(
    ("name", "media_type", "text"),
    [
        ("travel.pdf", "application/pdf", "page 1"),
        ("travel.pdf", "application/octet-stream", "page 1"),
        (
            "buying.docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "characters",
        ),
        (
            "plans.pptx",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "slide 1",
        ),
    ],
)
async def test_documents_are_read(site: Site, name: str, media_type: str, text: str) -> None:
    """PDF and office files become passages that name their page, as those of a folder do."""
    data = (FIXTURES / name).read_bytes()
    site.replies[f"/{name}"] = Reply(data, headers={"Content-Type": media_type})
    found = await reader(site)(f"{site.url}/{name}")

    assert text in found[0].place
    assert all(hit.text.strip() and hit.trust == "untrusted" for hit in found)
    assert {hit.source for hit in found} == {f"{site.url}/{name}"}


def bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        target.writestr("[Content_Types].xml", "<Types/>")
        target.writestr("word/document.xml", b"a" * 270_000_000)

    return packed.getvalue()


BROKEN: dict[str, Callable[[], bytes]] = {
    "pdf": lambda: b"%PDF-1.7\nbroken",
    "empty": bytes,
    "zip": lambda: b"PK\3\4",
    "bomb": bomb,
}


@pytest.mark.parametrize("name", BROKEN)
async def test_hostile_document_is_named(site: Site, name: str) -> None:
    """A document that is broken, empty or a bomb is an error that names it."""
    body = BROKEN[name]()
    kind = "pdf" if name == "pdf" else "docx"
    site.replies[f"/x.{kind}"] = Reply(body, headers={"Content-Type": "application/octet-stream"})
    with pytest.raises(FileUnreadable, match=rf"/x\.{kind}` cannot be read"):
        await reader(site)(f"{site.url}/x.{kind}")


async def test_document_has_a_limit_of_its_own(site: Site) -> None:
    """Documents may be larger than pages, up to their own limit."""
    data = (FIXTURES / "travel.pdf").read_bytes()
    site.replies["/x.pdf"] = Reply(data, headers={"Content-Type": "application/pdf"})

    assert await reader(site, max_bytes=100)(f"{site.url}/x.pdf")
    with pytest.raises(FileUnreadable, match="larger than 1,000 bytes"):
        await reader(site, max_document_bytes=1_000)(f"{site.url}/x.pdf")


@pytest.mark.parametrize(
    ("path", "media_type", "is_read"),
    [
        ("/data", "application/json", True),
        ("/feed", "application/atom+xml", True),
        ("/data", "application/vnd.api+json; charset=utf-8", True),
        ("/x.yaml", "application/yaml", True),
        ("/x.txt", "application/octet-stream", True),
        ("/x", "", False),
        ("/x.exe", "application/octet-stream", False),
        ("/x.pdf", "image/png", False),
        ("/x.zip", "application/zip", False),
        ("/x", "video/mp4", False),
        ("/x", "text", False),
    ],
)
async def test_kind_goes_by_the_media_type(site: Site, path: str, media_type: str, is_read: bool) -> None:
    """The ending of an address counts only where the server does not know better."""
    site.replies[path] = Reply(b'{"a": "some text"}', headers={"Content-Type": media_type})
    if is_read:
        assert (await reader(site)(f"{site.url}{path}"))[0].text == '{"a": "some text"}'
    else:
        with pytest.raises(FileUnreadable, match="is not read"):
            await reader(site)(f"{site.url}{path}")


# Charsets

GREEK = "Αθήνα είναι η πρωτεύουσα της Ελλάδας και η μεγαλύτερη πόλη της χώρας, με μακρά ιστορία."


@pytest.mark.parametrize(
    ("body", "declared", "text"),
    [
        ("café".encode(), None, "café"),
        ("café".encode("latin-1"), "iso-8859-1", "café"),
        ("“quoted” – €".encode("cp1252"), "iso-8859-1", "“quoted” – €"),
        ("“quoted”".encode("cp1252"), None, "“quoted”"),
        ("\ufeffcafé".encode(), "iso-8859-1", "café"),
        ("\ufeffcafé".encode("utf-16-le"), "utf-8", "café"),
        ("\ufeffcafé".encode("utf-16-be"), None, "café"),
        (b'<meta charset="koi8-r">' + "Москва".encode("koi8-r"), None, '<meta charset="koi8-r">Москва'),
        (b"<meta http-equiv=Content-Type content='text/html; charset=shift_jis'>" + "東京".encode("cp932"), None, "東京"),
        (b'<meta charset="utf-16">' + "café".encode(), None, "café"),
        (b'<?xml version="1.0" encoding="iso-8859-2"?>' + "Łódź".encode("iso-8859-2"), None, "Łódź"),
        ("東京".encode("gb18030"), "gb2312", "東京"),
        ("café".encode(), "none-such", "café"),
        ("café".encode(), "utf-7", "café"),
        (b"+ADw-script+AD4-", "utf-7", "+ADw-script+AD4-"),
        (b"636166c3a9", "hex", "636166c3a9"),
        (b"\\u0063", "unicode_escape", "\\u0063"),
        (GREEK.encode("iso-8859-7"), None, GREEK),
        (b"\xff\xfe\xfa" * 3, "utf-8", "\ufffd"),
        (b"", None, ""),
        (b"caf\xe9", "ascii", "café"),
        (b"caf\xe9", '"ISO-8859-1"', "café"),
    ],
)  # fmt: skip
def test_charset_is_found_as_browsers_find_it(body: bytes, declared: str | None, text: str) -> None:
    """A byte order mark outweighs the header, that outweighs the page, and what is no charset of text counts as none."""
    found = decoded(body, declared)

    assert text in found if text else found == ""


# Pages that send on, or are out to harm


@pytest.mark.parametrize(
    "content",
    ["0; url=/next", "0;URL='/next'", '5 , url = "/next" ', "1;/next", "0.5; url=http://127.0.0.1/next"],
)
async def test_refresh_is_told_and_not_followed(site: Site, content: str) -> None:
    """A page that only sends its reader on is an error that names where to."""
    page = f"<html><head><meta http-equiv=Refresh content='{content}'></head><body>Moved.</body></html>"
    if "'" in content:
        page = page.replace(f"'{content}'", f'"{content}"')

    site.replies["/x"] = Reply(page.encode())
    with pytest.raises(FileUnreadable, match=r"sends its reader on to `http://127\.0\.0\.1(:\d+)?/next`"):
        await reader(site)(f"{site.url}/x")

    assert site.asked == ["/robots.txt", "/x"]


async def test_page_that_reloads_itself_is_read(site: Site) -> None:
    """A refresh without an address, or beside real content, does not matter."""
    text = "<p>" + "The ticker of the game, minute by minute, with all that happened. " * 8 + "</p>"
    for content in ("30", "5; url=/next"):
        page = f"<html><head><meta http-equiv=refresh content='{content}'></head><body>{text}</body></html>"
        site.replies["/x"] = Reply(page.encode())

        assert "minute by minute" in (await reader(site)(f"{site.url}/x"))[0].text


@pytest.fixture(scope="module")
def patient() -> Iterator[Extractors]:
    """One child for all hostile pages, with less time for each than there usually is."""
    extractors = Extractors(seconds=2, count=1)
    yield extractors
    extractors.close()


HOSTILE_HTML = {
    "deep": "<div>" * 200_000 + "text",
    "wide": "<b>" * 100_000,
    "attributes": "<p " + " ".join(f"a{n}=b" for n in range(50_000)) + ">text",
    "entities": "&amp;" * 300_000,
    "unclosed": "<" * 500_000,
    "tables": "<table><tr><td>" * 20_000,
    "comment": "<!--" + "-" * 1_000_000,
    "nul": "<p>a\0b</p>" * 1000,
    "surrogates": "<p>\\ud800</p>&#xd800;&#0;&#1114112;text",
    "doctype": '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;">]><p>&z;</p>',
}


@pytest.mark.parametrize("name", HOSTILE_HTML)
async def test_hostile_page_harms_nobody(
    site: Site, name: str, patient: Extractors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever HTML is sent, there are passages or an error within the limits, and the next page is read as ever."""
    monkeypatch.setattr(page_module, "_extractors", patient)
    reading = reader(site, robots=False)
    site.replies["/hostile"] = Reply(HOSTILE_HTML[name].encode())
    site.replies["/next"] = Reply(b"<html><body><p>Closed today.</p></body></html>")
    with suppress(FileUnreadable):
        assert await reading(f"{site.url}/hostile")

    assert [hit.text for hit in await reading(f"{site.url}/next")] == ["Closed today."]


async def test_text_holds_only_what_text_can_hold(site: Site) -> None:
    """Controls and halves of characters are left out, so that a page can be written down."""
    site.replies["/x"] = Reply(
        b"<html><title>a&#1;</title><body><p>one&#xd800;\0two &#x1b;three</p></body></html>"
    )
    site.replies["/y"] = Reply(b"one\0\x1b two\n\tthree\xed\xa0\x80", headers=PLAIN)
    for path in ("/x", "/y"):
        (hit,) = await reader(site)(f"{site.url}{path}")
        assert not set(hit.text + hit.title) & {"\0", "\1", "\x1b", "\ud800"}
        assert "three" in hit.text.encode().decode()


async def test_fragment_without_a_page_around_it_is_read(site: Site) -> None:
    """A line of HTML that is no whole page still has its text."""
    site.replies["/x"] = Reply(b"<p>Back at  nine</p>")

    assert [hit.text for hit in await reader(site)(f"{site.url}/x")] == ["Back at nine"]


SLOW = "<p>text</p>" * 400_000
"""Seconds of work for any parser of its whole tree."""


@pytest.fixture
def quick() -> Iterator[Extractors]:
    extractors = Extractors(seconds=1, count=1)
    yield extractors
    extractors.close()


async def test_slow_page_ends_its_child(quick: Extractors) -> None:
    """A page that takes too long is given up, and the next one is read by a new child."""
    with pytest.raises(FileUnreadable, match="took longer than 1 s"):
        await quick.content("http://slow.example/", SLOW)

    assert (await calm(quick)).text == "Closed."


async def test_cancelled_page_ends_its_child(quick: Extractors) -> None:
    """Whoever gives up does not leave the work running."""
    slow = Extractors(seconds=30, count=1)
    task = asyncio.create_task(slow.content("http://slow.example/", SLOW))
    process = await asyncio.to_thread(at_work, slow)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await asyncio.to_thread(process.wait, 5) != 0
    assert (await calm(slow)).text == "Closed."
    slow.close()


def at_work(extractors: Extractors) -> subprocess.Popen[bytes]:
    """The process of the child that was given a page."""
    while extractors._idle.qsize() or extractors._children[0]._process is None:
        time.sleep(0.005)

    return extractors._children[0]._process


async def calm(extractors: Extractors) -> Any:
    """A page that is no trouble, read; the first imports of a new child may take longer than a page may."""
    for _ in range(50):
        try:
            return await extractors.content(
                "http://calm.example/", "<html><body><p>Closed.</p></body></html>"
            )
        except FileUnreadable:
            await asyncio.sleep(0.05)

    raise AssertionError("no page is read any more")


async def test_child_that_left_is_replaced_unnoticed() -> None:
    """A child that ended while nobody asked is started anew, and the page is read."""
    extractors = Extractors(count=1)
    await extractors.content("http://calm.example/", "<p>one</p>")
    process = extractors._children[0]._process
    assert process is not None
    assert process.stdin is not None
    # It ends by itself, with code 0, as it does after a time without questions.
    process.stdin.close()
    process.wait()

    assert "two" in (await extractors.content("http://calm.example/", "<p>two</p>")).text
    extractors.close()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system does not show environments")
def test_child_knows_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the environment beside the bare needs does not reach the process that reads hostile pages."""
    monkeypatch.setenv("SOME_API_KEY", "secret-value")
    extractors = Extractors(count=1)
    process = Path("/proc", str(extractors._children[0].start().pid))
    # Until its program is loaded the process is still a copy of this one.
    while b"extractor" not in (process / "cmdline").read_bytes():
        time.sleep(0.01)

    environment = (process / "environ").read_bytes()
    assert b"PATH=" in environment
    assert b"secret-value" not in environment
    extractors.close()


async def test_missing_extractor_is_named(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without trafilatura the error says what to install."""
    (tmp_path / "trafilatura.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    extractors = Extractors(count=1)
    with pytest.raises(MissingExtra, match="trafilatura"):
        await extractors.content("http://calm.example/", "<p>one</p>")

    extractors.close()


async def test_many_pages_at_once(site: Site) -> None:
    """Pages that come together are all read, each with its own content."""
    for n in range(12):
        site.replies[f"/{n}"] = Reply(f"<html><body><p>Page number {n}.</p></body></html>".encode())

    reading = reader(site)
    found = await asyncio.gather(*(reading(f"{site.url}/{n}") for n in range(12)))

    assert [hits[0].text for hits in found] == [f"Page number {n}." for n in range(12)]


def test_reader_works_in_any_loop(site: Site) -> None:
    """A reader is not bound to the event loop that it was first used in, nor to its thread."""
    site.replies["/x"] = Reply(b"<html><body><p>Closed.</p></body></html>")
    reading = reader(site)
    texts: list[str] = []

    def read() -> None:
        texts.append(asyncio.run(reading(f"{site.url}/x", max_age=0))[0].text)

    threads = [threading.Thread(target=read) for _ in range(3)]
    read()
    for thread in threads:
        thread.start()

    for thread in threads:
        thread.join()

    assert texts == ["Closed."] * 4


# Transfers that go wrong


async def test_body_that_stalls_or_is_cut(site: Site) -> None:
    """A body that stops in the middle is a timeout, one that is cut off is no page."""
    site.replies["/stalls"] = Reply(b"text " * 100, headers=PLAIN, stalls=True)
    site.replies["/cut"] = Reply(b"text " * 100, headers=PLAIN, cut=True)
    with pytest.raises(ToolTimeout):
        await reader(site, timeout=0.4, robots=False)(f"{site.url}/stalls")

    with pytest.raises(NetworkUnavailable, match="broke off"):
        await reader(site, robots=False)(f"{site.url}/cut")


async def test_compressed_body_that_ends_early_is_no_page(site: Site) -> None:
    """Half of a compressed page is not taken for the page."""
    whole = gzip.compress(os.urandom(2000).hex().encode())
    site.replies["/x"] = Reply(whole[:-100], headers=PLAIN | {"Content-Encoding": "gzip"})
    with pytest.raises(FileUnreadable, match="cut short"):
        await reader(site)(f"{site.url}/x")


@pytest.mark.parametrize(
    ("status", "after", "seconds"), [(429, "33", 33), (503, "5", 5), (429, "soon", None)]
)
async def test_site_says_when_to_come_back(
    site: Site, status: int, after: str, seconds: float | None
) -> None:
    """`Retry-After` is told as the seconds to wait."""
    site.replies["/x"] = Reply(b"", status, {"Retry-After": after})
    with pytest.raises(RateLimited) as caught:
        await reader(site)(f"{site.url}/x")

    assert caught.value.retry_after == seconds


# Copies


async def test_page_is_not_fetched_twice(site: Site, clock: Clock) -> None:
    """A copy is good for its time, and says when it was fetched; `max_age` decides for one call."""
    site.replies["/old"] = Reply(b"", 301, {"Location": "/x"})
    site.replies["/x"] = Reply(b"first", headers=PLAIN)
    reading = reader(site, robots=False, keep=100, clock=clock)
    (first,) = await reading(f"{site.url}/old#part")
    site.replies["/x"] = Reply(b"second", headers=PLAIN)
    clock.now += 60
    (again,) = await reading(f"{site.url}/old#other")

    assert first == again
    assert (again.source, again.at) == (
        f"{site.url}/x",
        datetime.fromtimestamp(clock.now - 60, UTC).isoformat(),
    )
    (anew,) = await reading(f"{site.url}/old", max_age=30)
    assert (anew.text, anew.at) == ("second", datetime.fromtimestamp(clock.now, UTC).isoformat())
    clock.now += 101
    site.replies["/x"] = Reply(b"third", headers=PLAIN)
    assert (await reading(f"{site.url}/old"))[0].text == "third"
    site.replies["/x"] = Reply(b"fourth", headers=PLAIN)
    assert (await reading(f"{site.url}/old", max_age=0))[0].text == "fourth"
    assert (await reading(f"{site.url}/old", max_age=1e9))[0].text == "fourth"


async def test_what_must_not_be_kept_is_not(site: Site) -> None:
    """`no-store` is respected, failures are not kept, and nothing is where `keep` is 0."""
    site.replies["/x"] = Reply(b"text", headers=PLAIN | {"Cache-Control": "private, No-Store"})
    site.replies["/y"] = Reply(b"", 500)
    reading = reader(site, robots=False)
    for _ in range(2):
        await reading(f"{site.url}/x")

    with pytest.raises(Exception, match="500"):
        await reading(f"{site.url}/y")

    site.replies["/y"] = Reply(b"text", headers=PLAIN)
    never = reader(site, robots=False, keep=0)
    for _ in range(2):
        await reading(f"{site.url}/y")
        await never(f"{site.url}/y")

    assert site.asked == ["/x", "/x", "/y", "/y", "/y", "/y"]


async def test_copies_outlive_the_process_in_a_folder(site: Site, tmp_path: Path) -> None:
    """Another reader with the same rules finds the copy in the folder; one with other rules does not."""
    site.replies["/x.pdf"] = Reply(
        (FIXTURES / "travel.pdf").read_bytes(), headers={"Content-Type": "application/pdf"}
    )
    url = f"{site.url}/x.pdf"
    first = await reader(site, robots=False, folder=tmp_path)(url)
    again = await reader(site, robots=False, folder=tmp_path)(url)

    assert first == again
    assert site.asked == ["/x.pdf"]
    await reader(site, robots=False, folder=tmp_path, max_document_bytes=10_000_000)(url)
    assert len(site.asked) == 2


async def test_copy_does_not_get_past_the_guard(site: Site, tmp_path: Path) -> None:
    """A reader that may not fetch an address gets no copy of it that another one fetched."""
    site.replies["/x"] = Reply(b"text", headers=PLAIN)
    await reader(site, robots=False, folder=tmp_path)(f"{site.url}/x")
    with pytest.raises(AddressRefused):
        await reader(site, robots=False, folder=tmp_path, networks=[])(f"{site.url}/x")


async def test_hostile_redirect_of_robots(tmp_path: Path) -> None:
    """A robots.txt cannot make the reader knock at this machine's door."""
    with ground() as field:
        reading = PageReader(
            ports=[field.port], networks=[OPEN_NETWORK], resolver=resolver(), folder=tmp_path
        )
        with pytest.raises(AddressRefused):
            await reading(field.redirecting(f"http://127.0.0.1:{field.port}/robots.txt"))

        assert field.seen == []


def page(text: str, at: float = 0.0) -> Page:
    return Page(url="http://a.example/", title="t", text=text, at=at, places=((0, "page 1"),))


def test_folder_keeps_within_its_bound(tmp_path: Path, clock: Clock) -> None:
    """What was fetched longest ago goes first, and a page over the whole bound is not kept at all."""
    cache = PageCache(tmp_path, max_bytes=50_000, clock=clock)
    for n in range(100):
        cache.put(str(n), page("x" * 2000, clock.now))
        os.utime(cache._file(str(n)), (n, n))

    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert sum(sizes) <= 50_000
    assert len(sizes) > 15
    later = PageCache(tmp_path, max_bytes=50_000, clock=clock)
    assert later.get("99", max_age=10) == page("x" * 2000, clock.now)
    assert later.get("0", max_age=10) is None
    cache.put("large", page("x" * 60_000, clock.now))
    assert PageCache(tmp_path, clock=clock).get("large", max_age=10) is None
    assert cache.get("large", max_age=10) is not None


def test_memory_keeps_within_its_bound(clock: Clock) -> None:
    """In memory, too, there is an end to what is kept."""
    cache = PageCache(clock=clock)
    for n in range(20):
        cache.put(str(n % 12), page("x" * 1_000_000, clock.now))

    assert sum(cache.get(str(n), max_age=1) is not None for n in range(12)) == 8


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[0, {}]",
        b'[1, {"url": "u"}]',
        b'[1, {"url": "u", "title": "t", "text": 5, "at": 0, "age": 0, "places": []}]',
        b'[1, {"url": "u", "title": "t", "text": "x", "at": 1e999, "age": 0, "places": [], "more": 1}]',
        b'[1, {"url": "u", "title": "t", "text": "x", "at": "now", "age": 0, "places": []}]',
        b'[1, {"url": "u", "title": "t", "text": "x", "at": 0, "age": 0, "places": [5]}]',
        b"\xff" * 100,
        b"[" * 100_000,
    ],
)
def test_damaged_copy_is_none(tmp_path: Path, content: bytes, clock: Clock) -> None:
    """A file that is not a copy in whole counts as none."""
    cache = PageCache(tmp_path, clock=clock)
    cache._file("k").write_bytes(content)

    assert cache.get("k", max_age=1e12) is None
    cache.put("k", page("x", clock.now))
    assert PageCache(tmp_path, clock=clock).get("k", max_age=1) == page("x", clock.now)


def test_copy_from_the_future_is_none(tmp_path: Path, clock: Clock) -> None:
    """A copy that was fetched later than now, as after a change of the clock, is not trusted."""
    cache = PageCache(tmp_path, clock=clock)
    cache.put("k", page("x", clock.now + 10))

    assert cache.get("k", max_age=1e9) is None


def test_folder_that_cannot_be_written_is_no_error(tmp_path: Path, clock: Clock) -> None:
    """Where nothing can be written the copy is kept in memory alone."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache = PageCache(blocked / "folder", clock=clock)
    cache.put("k", page("x", clock.now))

    assert cache.get("k", max_age=1) == page("x", clock.now)


async def test_age_of_the_servers_copy_is_kept(site: Site, tmp_path: Path) -> None:
    """How old the server's own copy was is kept with the page."""
    site.replies["/x"] = Reply(b"text", headers=PLAIN | {"Age": "7200"})
    await reader(site, robots=False, folder=tmp_path)(f"{site.url}/x")
    kept = [
        json.loads(file.read_bytes())[1] for file in await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    ]

    assert [fields["age"] for fields in kept] == [7200]


def test_limits_must_be_limits() -> None:
    """A reader without any room or time is an error."""
    wrong: list[dict[str, Any]] = [{"timeout": 0}, {"max_bytes": 0}, {"max_characters": 0}, {"hosts": []}]
    for settings in wrong:
        with pytest.raises(ProjectError):
            PageReader(**settings)
