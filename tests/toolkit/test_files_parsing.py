"""From files to passages: what is read, which headings and pages are found, and where passages begin and end."""

from __future__ import annotations

import asyncio
import io
import zipfile
from pathlib import Path

import pytest

from agentflow.exceptions import FileUnreadable
from agentflow.toolkit.files import document, ranking, wording
from agentflow.toolkit.files.chunking import chunks
from agentflow.toolkit.files.document import Document
from agentflow.toolkit.files.pages import assemble
from agentflow.toolkit.files.parsing import Readers, read_document

FIXTURES = Path(__file__).parent / "fixtures"
SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank today. "


def read(path: Path, seconds: float = 30) -> Document:
    (result,) = Readers(seconds=seconds).read_all([path])
    if isinstance(result, FileUnreadable):
        raise result

    return result


def titles(read_: Document) -> list[str]:
    assert all(heading.title[:3] in read_.text[heading.start : heading.end] for heading in read_.headings)
    return [heading.title for heading in read_.headings]


def test_a_pdf_keeps_its_words_pages_and_headings() -> None:
    """Lines become paragraphs, running heads go, and each page begins at its own characters."""
    found = read(FIXTURES / "travel.pdf")
    assert found.title == "Travelling for work"
    assert titles(found) == ["Travelling for work", "Trains", "Receipts"]
    assert "at least two weeks ahead, because" in found.text
    assert "Harbour Tools" not in found.text
    assert [found.text[start:][:8] for start, _ in found.pages] == ["Travelli", "Hotels\nA", "Receipts"]
    assert [found.page(0, 5), found.page(found.pages[1][0], len(found.text))] == ["page 1", "page 2 to 3"]


def test_a_docx_keeps_the_characters_that_xml_escapes() -> None:
    """Ampersands, angle brackets and numbered characters of a DOCX are in its text, as are tables."""
    found = read(FIXTURES / "buying.docx")
    assert (
        "Orders < 500 euro need no consent; R&D may spend more than that, see “Special cases”." in found.text
    )
    assert "| up to 2,000 euro | department head |" in found.text
    assert titles(found) == ["Buying things", "Limits", "Special cases"]


def test_slides_and_sheets_have_their_names() -> None:
    """Each slide is a page called by its number; each sheet of a workbook is a section called by its name."""
    slides = read(FIXTURES / "plans.pptx")
    assert [name for _, name in slides.pages] == ["slide 1", "slide 2"]
    assert "planned & paid for" in slides.text
    assert titles(read(FIXTURES / "prices.xlsx")) == ["Prices", "Stock"]


def test_a_mail_is_read_with_its_head(tmp_path: Path) -> None:
    """Encoded words are decoded, the plain text is preferred, HTML alone is made Markdown, attachments are named."""
    path = tmp_path / "offer.eml"
    path.write_text(
        "From: Ann <ann@example.org>\nSubject: =?utf-8?q?Caf=C3=A9?=\nMIME-Version: 1.0\n"
        "Content-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/html\n\n<h1>Hi</h1><p>5 &lt; 6</p>\n"
        "--B\nContent-Type: text/plain; name=list.txt\nContent-Disposition: attachment; filename=list.txt\n\nx\n--B--\n"
    )
    found = read(path)
    assert found.title == "Café"
    assert found.text.startswith(
        "Subject: Café\nFrom: Ann <ann@example.org>\nAttachments: list.txt\n\n# Hi\n\n5 < 6"
    )


def test_html_has_no_head_and_no_padding(tmp_path: Path) -> None:
    """What stands in the head of a page is not content, and tables are not padded."""
    path = tmp_path / "page.html"
    path.write_bytes(
        '<html><head><meta charset="iso-8859-1"><title>Größe</title><script>var x</script></head><body>'
        "<h1>Sizes</h1><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>a longer cell</td></tr></table>"
        "</body></html>".encode("iso-8859-1")
    )
    found = read(path)
    assert (found.title, found.text) == (
        "Größe",
        "# Sizes\n\n| a | b |\n| --- | --- |\n| 1 | a longer cell |\n",
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("café\r\nbar".encode("utf-8-sig"), "café\nbar"),
        ("café".encode("utf-16"), "café"),
        ("café “x”".encode("cp1252"), "café “x”"),
        (b"a\x07b\x0b", "ab"),
    ],
)
def test_text_files_of_any_encoding_are_read(tmp_path: Path, data: bytes, text: str) -> None:
    """Byte order marks, Windows' encoding and control characters leave only the text."""
    path = tmp_path / "note.txt"
    path.write_bytes(data)
    assert read(path).text == text


def test_a_binary_file_is_no_text(tmp_path: Path) -> None:
    """A file with zero bytes is told from a text."""
    path = tmp_path / "note.txt"
    path.write_bytes(b"ab\0c")
    with pytest.raises(FileUnreadable, match="it is not a text"):
        read(path)


def test_a_file_that_takes_too_long_is_given_up() -> None:
    """The time limit ends the reading of one file, and the next file is read by a new process."""
    with pytest.raises(FileUnreadable, match=r"reading took longer than 0\.001 s"):
        read(FIXTURES / "travel.pdf", seconds=0.001)

    assert read(FIXTURES / "travel.pdf").title


def test_a_crash_of_the_reader_costs_one_file(tmp_path: Path) -> None:
    """Files before and after one that fails are read, in their order."""
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(b"%PDF-1.7 nothing")
    files = [
        FIXTURES / "travel.pdf",
        bad,
        FIXTURES / "buying.docx",
        tmp_path / "gone.md",
        FIXTURES / "songs.epub",
    ]
    kinds = [type(result).__name__ for result in Readers(seconds=30).read_all(files)]
    assert kinds == ["Document", "FileUnreadable", "Document", "FileUnreadable", "Document"]


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    """A DOCX of a few kilobytes that unpacks to hundreds of megabytes is named as such."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\0" * 1000)
        archive.filelist[0].file_size = 300 * 2**20

    path = tmp_path / "bomb.docx"
    path.write_bytes(packed.getvalue())
    with pytest.raises(FileUnreadable, match="it unpacks to 300 MB; at most 256 MB are read"):
        read(path)


def test_a_file_too_large_is_refused(tmp_path: Path) -> None:
    """A text over the limit is not read at all."""
    path = tmp_path / "log.txt"
    with path.open("wb") as file:
        file.truncate(6 * 2**20)

    with pytest.raises(FileUnreadable, match="it has 6 MB; at most 5 MB are read"):
        read(path)


@pytest.mark.parametrize("kind", ["pdf", ".PDF", "application/pdf; version=1.7"])
async def test_bytes_are_read_as_the_kind_that_they_are_said_to_be(kind: str) -> None:
    """A document that came over the network is read from its bytes, by ending or media type, as its file is."""
    path = FIXTURES / "travel.pdf"
    assert await read_document(path.read_bytes(), kind) == await read_document(path)


async def test_a_kind_overrides_the_name_of_a_file(tmp_path: Path) -> None:
    """A file with a misleading name is read as what it is said to be; without that its name counts."""
    path = tmp_path / "download.bin"
    path.write_bytes((FIXTURES / "buying.docx").read_bytes())
    assert (await read_document(path, "docx")).title == "Buying things"
    with pytest.raises(FileUnreadable, match=r"`\.bin` files are not read") as refused:
        await read_document(path)

    assert ".docx" in refused.value.hint


@pytest.mark.parametrize(
    ("data", "kind", "why"),
    [
        (b"%PDF-1.4 nothing", "pdf", "Invalid PDF"),
        (b"", "txt", "it holds no text"),
        (b"a", "", "its kind is not known"),
        (b"MZ", "application/x-msdownload", "files are not read"),
    ],
)
async def test_bytes_that_are_no_document_are_refused(data: bytes, kind: str, why: str) -> None:
    """What is wrong with bytes is said as it is with files."""
    with pytest.raises(FileUnreadable, match=why):
        await read_document(data, kind)


async def test_cancelling_ends_the_reading() -> None:
    """Nobody waits for a reader whose document is not wanted any more."""
    task = asyncio.create_task(read_document(FIXTURES / "travel.pdf", seconds=3600))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_headings_of_markdown_are_those_outside_of_code() -> None:
    """Marked and underlined headings count, those in fences and front matter do not; markup is taken off."""
    text = "---\ntitle: 'The yard'\n# no\n---\n# **Boats** and [ropes](x) ##\n\n```\n# no\n```\nTar\n===\n## `knots`\n#tag\n"
    found = document.markdown(text)
    assert found.title == "The yard"
    assert titles(found) == ["Boats and ropes", "Tar", "knots"]


def test_headings_of_plain_text_are_underlined_or_capitals() -> None:
    """A text without marks has headings too, of which the first, at the top, is its title."""
    found = document.plain(
        "HARBOUR RULES\n\n1. SPEED\n   Six knots. NEVER MORE.\n\nAnchors\n-------\nDrop them.\n"
    )
    assert (found.title, titles(found)) == ("HARBOUR RULES", ["HARBOUR RULES", "1. SPEED", "Anchors"])


def test_false_headings_of_a_pdf_are_text() -> None:
    """List items and sentences that a parser takes for headings stay text; a table's head is a lesser heading."""
    page = (
        "1. One\nText of one.\n- bold item\n2. Two\nItem Price\nRope 5\nBold sentence here.\n3. Three\nEnd."
    )
    known = [
        (2, t) for t in ("1. One", "- bold item", "2. Two", "Item Price", "Bold sentence here.", "3. Three")
    ]
    found = assemble([page], known)
    assert [(h.level, h.title) for h in found.headings] == [
        (2, "1. One"),
        (2, "2. Two"),
        (6, "Item Price"),
        (2, "3. Three"),
    ]
    assert "- bold item" in found.text


def test_passages_lie_inside_of_sections_and_cover_all_text() -> None:
    """No passage is too long or leaves its section, neighbours overlap, and no word is lost."""
    text = f"# Book\n\nPreface.\n\n## One\n\n{SENTENCE * 40}\n\n### Deep\n\n{SENTENCE * 3}\n\n## Empty\n\n## Two\n\nEnd.\n"
    found = document.markdown(text)
    made = chunks(found)
    assert max(chunk.end - chunk.start for chunk in made) <= 900
    assert [chunk.heading for chunk in made] == ["", *["One"] * 4, "One > Deep", "", "Two"]
    assert found.text[made[-2].start : made[-2].end] == "## Empty"
    assert all(made[n + 1].start < made[n].end for n in range(1, 4))
    covered = {at for chunk in made for at in range(chunk.start, chunk.end)}
    left = "".join(c for at, c in enumerate(text) if at not in covered).split()
    assert left == ["#", "Book", "##", "One", "###", "Deep", "##", "Two"]


def test_passages_of_a_table_know_its_columns() -> None:
    """A passage from the middle of a long Markdown table carries the table's head as context and place."""
    rows = "".join(f"| plank {n} | {n * 3} cm |\n" for n in range(80))
    made = chunks(document.markdown(f"# Wood\n\n| name | width |\n| --- | --- |\n{rows}\nAfter.\n"))
    assert [chunk.detail for chunk in made[:2]] == ["", "columns name, width"]
    assert "| name | width |" in made[1].context


def test_rows_of_a_table_are_grouped_and_counted() -> None:
    """Groups of rows follow each other without a gap, also where a cell has line ends or a quote is left open."""
    rows = "".join(f'{n};"two\nlines";x\n' for n in range(100))
    found = document.table(f"number;text;mark\n{rows}")
    made = chunks(found)
    assert made[0].detail.startswith("rows 1 to ")
    assert made[-1].detail.endswith("to 101, columns number, text, mark")
    assert "".join(found.text[chunk.start : chunk.end] + "\n" for chunk in made) == found.text
    assert made[1].context == "number;text;mark"
    assert len(chunks(document.table('a,b\n"open,1\n' + "x,2\n" * 20_000))) > 3


HOSTILE = (
    "#" * 200_000,
    "# " + " " * 200_000 + "x",
    "[" * 20_000,
    "|" * 100_000,
    "> " * 5_000,
    "\n" * 100_000,
    '"a\n' * 50_000,
)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:3]))
def test_hostile_text_takes_no_long_time(text: str) -> None:
    """Text made to be slow for a parser is cut into passages before the test's time is over."""
    for make in (document.markdown, document.plain, document.table):
        assert all(chunk.end <= len(text) for chunk in chunks(make(text)))


def test_no_word_of_a_query_is_an_operator() -> None:
    """Each telling word is quoted once; common words are left out unless there are no others."""
    words = ranking.telling('How to NEAR(bread AND "bread") OR rye*?')
    assert wording.match_any(words, lambda _: 1, total=9, rows=9) == '"near" OR "bread" OR "rye"'
    assert ranking.telling("to be or not to be") == ["to", "be", "or", "not"]
    assert ranking.telling("🐝 !") == []


def test_rankings_are_joined_by_score() -> None:
    """Each ranking is scaled to 0..1, what one lacks counts 0 there, and the weight is the share of meaning."""
    words, meanings = {1: 8.0, 2: 4.0, 3: 6.0}, {2: 0.9, 4: 0.1}
    assert ranking.fuse(words, meanings, 0.5) == [(1, 0.5), (2, 0.5), (3, 0.25), (4, 0.0)]
    assert ranking.fuse(words, meanings, 1.0)[0] == (2, 1.0)
    assert ranking.fuse({}, {7: 0.3}, 0.5) == [(7, 0.5)]


def test_near_copies_are_dropped_but_not_contradictions() -> None:
    """One word of thirty may differ, unless it is a number or a negation."""
    rule = (
        "The lamp on the pier is lit by our warden each evening when fog comes in from northern waters, so that "
        "boats which return late with their catch can find a safe way between rocks"
    )
    texts = [rule, rule.replace("lamp", "light"), rule.replace("is lit", "is not lit"), rule + " at 9"]
    assert list(ranking.distinct(enumerate(texts))) == [0, 2, 3]
