"""Documents of every kind that is read, made from a few paragraphs, and files that no reader should choke on."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from xml.sax.saxutils import escape

Maker = Callable[[str, Sequence[str]], bytes]
_OPEN_XML = "http://schemas.openxmlformats.org"
_OFFICE = f"{_OPEN_XML}/officeDocument/2006/relationships"
_TYPES = "application/vnd.openxmlformats-officedocument"
# What a PDF with a password is padded with, by its standard (ISO 32000-1, algorithm 2).
_PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """A zip archive of `files`."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in files.items():
            archive.writestr(name, data)

    return packed.getvalue()


def _types(parts: Mapping[str, str]) -> str:
    overrides = "".join(
        f'<Override PartName="{name}" ContentType="{kind}+xml"/>' for name, kind in parts.items()
    )
    return (
        f'<Types xmlns="{_OPEN_XML}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'
    )


def _relations(*targets: tuple[str, str]) -> str:
    entries = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(targets, 1)
    )
    return f'<Relationships xmlns="{_OPEN_XML}/package/2006/relationships">{entries}</Relationships>'


def docx(title: str, paragraphs: Sequence[str]) -> bytes:
    heading = f'<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>{escape(title)}</w:t></w:r></w:p>'
    body = heading + "".join(f"<w:p><w:r><w:t>{escape(text)}</w:t></w:r></w:p>" for text in paragraphs)
    return docx_of(
        f'<w:document xmlns:w="{_OPEN_XML}/wordprocessingml/2006/main"><w:body>{body}</w:body></w:document>'
    )


def docx_of(document: str | bytes) -> bytes:
    """A Word document with this main part."""
    return zipped(
        {
            "[Content_Types].xml": _types({"/word/document.xml": f"{_TYPES}.wordprocessingml.document.main"}),
            "_rels/.rels": _relations(("officeDocument", "word/document.xml")),
            "word/document.xml": document,
        }
    )


def pptx(title: str, paragraphs: Sequence[str]) -> bytes:
    """A presentation with a slide for each paragraph."""
    slides = {f"ppt/slides/slide{n}.xml": _slide(title, text) for n, text in enumerate(paragraphs, 1)}
    ids = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in range(1, len(slides) + 1))
    names = f'xmlns:p="{_OPEN_XML}/presentationml/2006/main" xmlns:r="{_OFFICE}"'
    types = {f"/{name}": f"{_TYPES}.presentationml.slide" for name in slides}
    return zipped(
        {
            "[Content_Types].xml": _types(
                {"/ppt/presentation.xml": f"{_TYPES}.presentationml.presentation.main", **types}
            ),
            "_rels/.rels": _relations(("officeDocument", "ppt/presentation.xml")),
            "ppt/presentation.xml": f"<p:presentation {names}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": _relations(
                *(("slide", name.removeprefix("ppt/")) for name in slides)
            ),
            **slides,
        }
    )


def _slide(title: str, text: str) -> str:
    shapes = "".join(
        f'<p:sp><p:nvSpPr><p:cNvPr id="{n}" name="{kind}"/><p:cNvSpPr/><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>'
        f"<p:txBody><a:p><a:r><a:t>{escape(said)}</a:t></a:r></a:p></p:txBody></p:sp>"
        for n, (kind, said) in enumerate((("title", title), ("body", text)), 2)
    )
    names = f'xmlns:p="{_OPEN_XML}/presentationml/2006/main" xmlns:a="{_OPEN_XML}/drawingml/2006/main"'
    return f"<p:sld {names}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>"


def xlsx(title: str, paragraphs: Sequence[str], *, far: str = "") -> bytes:
    """A workbook with a row for each paragraph; `far` names one more cell."""
    rows = "".join(
        f'<row r="{n}"><c r="A{n}"><v>{n}</v></c><c r="B{n}" t="inlineStr"><is><t>{escape(text)}</t></is></c></row>'
        for n, text in enumerate(paragraphs, 1)
    )
    number = "".join(filter(str.isdigit, far))
    rows += f'<row r="{number}"><c r="{far}"><v>1</v></c></row>' if far else ""
    main = f"{_OPEN_XML}/spreadsheetml/2006/main"
    return zipped(
        {
            "[Content_Types].xml": _types(
                {
                    "/xl/workbook.xml": f"{_TYPES}.spreadsheetml.sheet.main",
                    "/xl/worksheets/sheet1.xml": f"{_TYPES}.spreadsheetml.worksheet",
                }
            ),
            "_rels/.rels": _relations(("officeDocument", "xl/workbook.xml")),
            "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{_OFFICE}"><sheets>'
            f'<sheet name="{escape(title)}" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": _relations(("worksheet", "worksheets/sheet1.xml")),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
        }
    )


def epub(title: str, paragraphs: Sequence[str]) -> bytes:
    """A book of one chapter."""
    container = "urn:oasis:names:tc:opendocument:xmlns:container"
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": f'<container xmlns="{container}" version="1.0"><rootfiles><rootfile '
            'full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
            "book.opf": '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="i"><metadata '
            f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{escape(title)}</dc:title></metadata><manifest>'
            '<item id="c" href="c.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="c"/></spine></package>',
            "c.xhtml": html(title, paragraphs),
        }
    )


def html(title: str, paragraphs: Sequence[str]) -> bytes:
    body = "".join(f"<p>{escape(text)}</p>" for text in paragraphs)
    head = f"<head><title>{escape(title)}</title></head>"
    return f'<html xmlns="http://www.w3.org/1999/xhtml">{head}<body><h1>{escape(title)}</h1>{body}</body></html>'.encode()


def eml(title: str, paragraphs: Sequence[str]) -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = title, "ann@example.org", "ben@example.org"
    message.set_content("\n\n".join(paragraphs))
    return message.as_bytes()


def markdown(title: str, paragraphs: Sequence[str]) -> bytes:
    return "\n\n".join([f"# {title}", *paragraphs]).encode()


def text(title: str, paragraphs: Sequence[str]) -> bytes:
    return "\n\n".join([title.upper(), *paragraphs]).encode()


def csv(title: str, paragraphs: Sequence[str]) -> bytes:
    return "".join([f"number,{title}\n", *(f'{n},"{said}"\n' for n, said in enumerate(paragraphs))]).encode()


def pdf(title: str, paragraphs: Sequence[str], *, password: str = "") -> bytes:
    """A PDF with a page for each paragraph; with `password` it says that it is encrypted, and can only be opened with that."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(paragraphs)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(paragraphs)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for n, said in enumerate(paragraphs):
        lines = [*([title] if n == 0 else []), *_wrapped(said)]
        drawn = " ".join(f"({_escaped(line)}) Tj T*" for line in lines)
        stream = f"BT /F1 12 Tf 14 TL 50 780 Td {drawn} ET"
        page = f"/Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * n} 0 R"
        objects.append(f"<< /Type /Page {page} /Resources << /Font << /F1 3 0 R >> >> >>")
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")

    return _pdf_of(objects, _encryption(password) if password else "")


def _pdf_of(objects: Sequence[str], more: str) -> bytes:
    data = b"%PDF-1.4\n"
    starts: list[int] = []
    for number, body in enumerate(objects, 1):
        starts.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")

    table = "".join(f"{start:010} 00000 n \n" for start in starts)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R {more} >>"
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n{trailer}\nstartxref\n{len(data)}\n%%EOF\n"
    return data + end.encode()


def _encryption(password: str) -> str:
    owner = hashlib.md5((password.encode() + _PADDING)[:32], usedforsecurity=False).hexdigest() * 2
    user = hashlib.sha256(password.encode()).hexdigest()
    return f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{owner}> /U <{user}> /P -4 >> /ID [<{owner[:32]}> <{owner[:32]}>]"


def _escaped(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _wrapped(said: str, width: int = 80) -> list[str]:
    lines = [""]
    for word in said.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")

        lines[-1] = f"{lines[-1]} {word}".strip()

    return lines


MAKERS: Mapping[str, Maker] = {
    ".pdf": pdf,
    ".docx": docx,
    ".pptx": pptx,
    ".xlsx": xlsx,
    ".html": html,
    ".md": markdown,
    ".txt": text,
    ".csv": csv,
    ".epub": epub,
    ".eml": eml,
}


def office(folder: Path, count: int, paragraphs: Sequence[str]) -> dict[str, str]:
    """Write `count` documents of all kinds in turn; each says a sentence of its own, given by its path."""
    kinds = list(MAKERS)
    said: dict[str, str] = {}
    for number in range(count):
        kind = kinds[number % len(kinds)]
        path = folder / f"year-{2020 + number % 5}" / f"paper-{number}{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        own = f"The number of the locker of clerk {number} is {7919 * (number + 1) % 100_003}."
        some = [paragraphs[(number + n) % len(paragraphs)] for n in range(3)]
        path.write_bytes(MAKERS[kind](f"Paper {number}", [*some, own]))
        said[path.relative_to(folder).as_posix()] = own

    return said


def hostile(folder: Path, *, bomb: int = 300 * 2**20, huge: int = 2 * 2**30) -> dict[str, str]:
    """Write files that are made to hurt; for each path a regular expression for what is to be said of it."""
    (folder / "bomb.docx").write_bytes(docx_of(bytes(bomb)))
    (folder / "lying.docx").write_bytes(_lying(docx_of(bytes(40 * 2**20)), 40 * 2**20, 1000))
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(huge)

    (folder / "broken.pdf").write_bytes(pdf("Half", ["of it"])[:300])
    (folder / "locked.pdf").write_bytes(pdf("Locked", ["away"], password="sesame"))
    (folder / "laughs.docx").write_bytes(_laughs())
    (folder / "deep.html").write_bytes(b"<div>" * 200_000 + b"deep" + b"</div>" * 200_000)
    (folder / "nested.eml").write_bytes(_nested(1200))
    outside = folder.parent / "outside.md"
    outside.write_text("# Outside\n\nThe word is xyzzy.\n", encoding="utf-8")
    (folder / "link.md").symlink_to(outside)
    os.mkfifo(folder / "pipe.pdf")
    return {
        "bomb.docx": r"it unpacks to \d+ MB; at most 256 MB are read",
        "lying.docx": "Bad CRC-32",
        "huge.txt": r"it has \d+ MB; at most 5 MB are read",
        "broken.pdf": "Invalid PDF",
        "locked.pdf": "(?i)password|encrypted",
        "laughs.docx": "it holds no text",
        "deep.html": "it holds no text",
        "nested.eml": "recursion",
        "link.md": "it is a link that leads out of the folder",
        "pipe.pdf": "it is not a regular file",
    }


def _lying(data: bytes, size: int, said: int) -> bytes:
    """The archive with another unpacked size in its headers."""
    return data.replace(size.to_bytes(4, "little"), said.to_bytes(4, "little"))


def _laughs() -> bytes:
    """A Word document whose one word is an entity that stands for ten others, and so on, nine times."""
    entities = '<!ENTITY l0 "ha">' + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return docx_of(
        f'<!DOCTYPE d [{entities}]><w:document xmlns:w="{_OPEN_XML}/wordprocessingml/2006/main"><w:body><w:p><w:r>'
        "<w:t>&l9;</w:t></w:r></w:p></w:body></w:document>"
    )


def _nested(depth: int) -> bytes:
    """A mail with parts inside of parts."""
    lines = ["From: a@example.org", "Subject: Nested"]
    for n in range(depth):
        lines += [f"Content-Type: multipart/mixed; boundary=B{n}", "", f"--B{n}"]

    return "\n".join([*lines, "Content-Type: text/plain", "", "inside"]).encode()
