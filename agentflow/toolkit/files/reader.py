"""The child program that reads documents: a hostile or broken file takes down no more than this process.

It is run by its path, takes one `["path", ".kind"]` a line on standard input and answers one JSON object a line:
`{"markdown": ...}`, or `{"pages": [...], ...}` for what has pages, or `{"error": ...}`; with `title` if known.
"""

from __future__ import annotations

import codecs
import contextlib
import faulthandler
import html
import io
import json
import os
import re
import signal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

_WRITTEN = 2**26  # bytes of a file that a parser may write, should it ever do so
_LONGEST = 20_000_000  # characters of text
_UNPACKED = 256 * 2**20  # bytes that a zipped document may unpack to
_ENTRIES = 20_000  # files inside of a zipped document
_OPEN_XML = "application/vnd.openxmlformats-officedocument"
_ZIPPED = {
    ".docx": f"{_OPEN_XML}.wordprocessingml.document",
    ".pptx": f"{_OPEN_XML}.presentationml.presentation",
    ".xlsx": f"{_OPEN_XML}.spreadsheetml.sheet",
    ".epub": "application/epub+zip",
}
_MEDIA_TYPES = _ZIPPED | {".pdf": "application/pdf"}
# Not `\|`, which keeps a table's columns apart, nor `\#` where it would make a heading.
_ESCAPED = re.compile(r"(?m)\\[!-\"$-/:-@\[-`{}~]|(?<!^)\\#")
_XML_ENTITY = re.compile(rb"&(amp|lt|gt|quot|apos|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});")
_NAMED = {b"amp": "&", b"lt": "<", b"gt": ">", b"quot": '"', b"apos": "'"}
# Characters of the private use area stand in for those that mean something in XML.
_STAND_INS = dict(zip("&<>\"'", "\ue000\ue001\ue002\ue003\ue004", strict=True))
_BACK = str.maketrans({stand_in: character for character, stand_in in _STAND_INS.items()})
_SLIDE = "\ue005"


def main(seconds: float, memory: int) -> None:
    """Answer until standard input ends; a document that takes longer than `seconds`, or more than
    `memory` bytes of address space, ends the process.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes our input
    _limit(memory)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        for line in sys.stdin:
            path, kind = json.loads(line)
            _reply(Path(path), kind, seconds, answers, nowhere)


def _reply(path: Path, kind: str, seconds: float, answers: TextIO, nowhere: TextIO) -> None:
    # The watchdog is a thread of C that needs no lock of the interpreter, so no parser can hold it up; and it
    # ends this process also when the parent is gone.
    faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
    answer = _answer(path, kind)
    faulthandler.cancel_dump_traceback_later()
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _limit(memory: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows; macOS may refuse
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_WRITTEN, _WRITTEN))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _answer(path: Path, kind: str) -> dict[str, Any]:
    try:
        if kind in _ZIPPED:
            _refuse_bomb(path)

        answer = _READERS.get(kind, _office)(path, kind)
        length = sum(map(len, answer.get("pages") or [answer.get("markdown", "")]))
        return (
            answer
            if length <= _LONGEST
            else {"error": f"it holds {length} characters; at most {_LONGEST} are read"}
        )
    except (ImportError, MemoryError):
        return {"error": "it needs more memory than its reader may have"}
    except Exception as error:  # noqa: BLE001 - any failure of any parser is the answer
        return {"error": _reason(error)}


def _reason(error: Exception) -> str:
    text = re.sub(r"^(?:\w*Error: )+", "", str(error).strip().split("\n")[0])
    halves = text[: len(text) // 2].strip(": "), text[len(text) // 2 :].strip(": ")
    return (halves[0] if halves[0] == halves[1] else text)[:200] or type(error).__name__


def _refuse_bomb(path: Path) -> None:
    """Refuse what says itself that it is too much; what lies about that meets the limits on memory and time."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()

    size = sum(entry.file_size for entry in entries)
    if size > _UNPACKED:
        raise ValueError(f"it unpacks to {size // 2**20} MB; at most {_UNPACKED // 2**20} MB are read")

    if len(entries) > _ENTRIES:
        raise ValueError(f"it holds {len(entries)} files; at most {_ENTRIES} are read")


def _extract(source: Path | bytes, media_type: str, **options: Any) -> Any:
    import kreuzberg

    # Its "quality processing" rewrites the text; what is quoted must be what the file says.
    settings: dict[str, Any] = {"enable_quality_processing": False, "use_cache": False, "disable_ocr": True}
    config = kreuzberg.ExtractionConfig(output_format="markdown", **settings, **options)
    if isinstance(source, bytes):
        return kreuzberg.extract_bytes_sync(source, media_type, config=config)

    return kreuzberg.extract_file_sync(str(source), media_type, config=config)


def _escaped(match: re.Match[str]) -> str:
    return match[0][-1]


def _title(result: Any) -> str:
    return str(result.metadata.get("title") or "")


def _office(path: Path, kind: str) -> dict[str, Any]:
    result = _extract(path, _MEDIA_TYPES[kind])
    return {"markdown": _ESCAPED.sub(_escaped, result.content), "title": _title(result)}


def _pdf(path: Path, kind: str) -> dict[str, Any]:
    """The plain text of each page: as markdown it would be changed, but that tells which lines are headings."""
    from kreuzberg import PageConfig

    result = _extract(path, _MEDIA_TYPES[kind], pages=PageConfig(extract_pages=True))
    headings = [
        (len(m[1]), _ESCAPED.sub(_escaped, m[2])) for m in re.finditer(r"(?m)^(#+) (.+)$", result.content)
    ]
    return {
        "pages": [page["content"] for page in result.pages or ()],
        "headings": headings,
        "title": _title(result),
    }


def _docx(path: Path, kind: str) -> dict[str, Any]:
    result = _extract(_without_entities(path.read_bytes()), _MEDIA_TYPES[kind])
    text = _ESCAPED.sub(_escaped, result.content).translate(_BACK)
    return {"markdown": text, "title": _title(result).translate(_BACK)}


def _without_entities(docx: bytes) -> bytes:
    """The same DOCX with no XML entity in its text: kreuzberg 4.10 drops them and reads `R&D` as `RD`."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(docx)) as source, zipfile.ZipFile(packed, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            is_text = re.fullmatch(r"(word|docProps)/\w+\.xml", entry.filename)
            target.writestr(entry.filename, _XML_ENTITY.sub(_character, data) if is_text else data)

    return packed.getvalue()


def _character(match: re.Match[bytes]) -> bytes:
    name = match[1]
    if not name.startswith(b"#"):
        return _STAND_INS[_NAMED[name]].encode()

    number = name[1:].lower()
    code = int(number[1:], 16) if number.startswith(b"x") else int(number)
    if code < 32 or code > sys.maxunicode or 0xD800 <= code < 0xE000:
        return match[0]

    return _STAND_INS.get(chr(code), chr(code)).encode()


def _pptx(path: Path, kind: str) -> dict[str, Any]:
    from kreuzberg import PageConfig

    pages = PageConfig(extract_pages=True, insert_page_markers=True, marker_format=f"\n\n{_SLIDE}\n\n")
    result = _extract(path, _MEDIA_TYPES[kind], pages=pages)
    slides = _ESCAPED.sub(_escaped, result.content).split(_SLIDE)[1:]
    return {"pages": slides, "unit": "slide", "title": _title(result)}


def _html(path: Path, _: str) -> dict[str, Any]:
    return _markdown_of_html(_decoded(path.read_bytes()))


def _markdown_of_html(text: str) -> dict[str, Any]:
    title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
    # kreuzberg turns the head into lines that look like content.
    body = re.sub(r"(?is)<(head|title)\b.*?</\1>", "", text)
    result = _extract(body.encode(), "text/html")
    # Its tables are padded to look even, which fills passages with blanks.
    rows = re.sub(
        r"(?m)^\|.*\|$", lambda row: re.sub(r" {2,}", " ", re.sub(r"-{4,}", "---", row[0])), result.content
    )
    return {"markdown": rows, "title": html.unescape(" ".join(title[1].split())) if title else ""}


def _decoded(data: bytes) -> str:
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, "replace").lstrip("\ufeff")

    declared = re.search(rb"(?i)<meta[^>]+charset=[\"']?([\w-]+)", data[:4096])
    for encoding in (declared[1].decode() if declared else "utf-8", "utf-8"):
        with contextlib.suppress(LookupError, UnicodeDecodeError):
            return data.decode(encoding)

    return data.decode("cp1252", "replace")


def _email(path: Path, _: str) -> dict[str, Any]:
    from email import message_from_bytes, policy
    from email.message import EmailMessage

    message = message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=policy.default)
    names = [name for part in message.iter_attachments() if (name := part.get_filename())]
    lines = [f"{name}: {message[name]}" for name in ("Subject", "From", "To", "Cc", "Date") if message[name]]
    lines += [f"Attachments: {', '.join(names)}"] if names else []
    body = message.get_body(("plain", "html"))
    text = body.get_content() if body else ""
    if body and body.get_content_subtype() == "html":
        text = _markdown_of_html(text)["markdown"]

    return {"markdown": "\n".join(lines) + "\n\n" + text, "title": str(message["Subject"] or "")}


_READERS: dict[str, Callable[[Path, str], dict[str, Any]]] = {
    ".pdf": _pdf,
    ".docx": _docx,
    ".pptx": _pptx,
    ".html": _html,
    ".htm": _html,
    ".eml": _email,
}

if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
