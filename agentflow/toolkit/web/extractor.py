"""The child program that finds the content of HTML: a hostile page takes down no more than this process.

It is run by its path. A question is a line of JSON with the `url` and the `size` of the page in bytes, and then the page
in UTF-8; the answer is a line of JSON with `title`, `text` and `refresh` (where the page sends its reader on to), or `error`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import signal
import sys
from pathlib import Path
from threading import Timer
from typing import Any

_MEMORY = 2 * 2**30  # bytes of address space
_IDLE = 90.0  # seconds without a question after which there is no need to stay
_LONGEST = 5_000_000  # characters of text
# Below this the extractor has most likely missed the content, and all of the page's text is better.
_TOO_SHORT = 200
_REFRESH = re.compile(r"(?i)^\s*\d+(?:\.\d*)?\s*[;,]?\s*(?:url\s*=)?\s*(['\"]?)(.+?)\1\s*$")


def main(seconds: float) -> None:
    """Answer until standard input ends; a page that takes longer than `seconds` ends the process."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes our input
    _limit_memory()
    # Before anybody's time counts: what the first page makes the parser load takes longer than most pages.
    _answer("http://localhost/", "<html><body><main><p>A page.</p></main></body></html>")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        while question := _question():
            # The watchdog is a thread of C that needs no lock of the interpreter, so no parser can hold it up.
            faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
            answer = _answer(*question)
            faulthandler.cancel_dump_traceback_later()
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()


def _question() -> tuple[str, str] | None:
    idle = Timer(_IDLE, os._exit, (0,))
    idle.daemon = True
    idle.start()
    line = sys.stdin.buffer.readline()
    idle.cancel()
    if not line:
        return None

    asked = json.loads(line)
    return asked["url"], sys.stdin.buffer.read(asked["size"]).decode("utf-8", "replace")


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows; macOS may refuse
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _answer(url: str, page: str) -> dict[str, Any]:
    try:
        return _content(url, page)
    except ImportError:
        return {"missing": "trafilatura"}
    except Exception as error:  # noqa: BLE001 - any failure of any parser is the answer
        return {"error": str(error).split("\n")[0][:200] or type(error).__name__}


def _content(url: str, page: str) -> dict[str, Any]:
    import trafilatura

    tree = trafilatura.load_html(page)
    if tree is None:
        # Nothing that looks like a page to the extractor, which may still hold a line of text.
        return {"title": "", "text": _all_text(page), "refresh": ""}

    title = " ".join((tree.findtext(".//title") or "").split())
    text = trafilatura.extract(page, url=url, output_format="markdown", include_comments=False) or ""
    if len(text) < _TOO_SHORT:
        text = max(text, trafilatura.html2txt(page), key=len)

    return {"title": title[:1000], "text": text[:_LONGEST], "refresh": _refresh(tree)}


def _all_text(page: str) -> str:
    from lxml import html
    from lxml.etree import LxmlError

    try:
        root = html.document_fromstring(page)
    except (LxmlError, ValueError):
        return ""

    for element in root.xpath("//script | //style"):
        element.drop_tree()

    return " ".join(str(root.text_content()).split())[:_LONGEST]


def _refresh(tree: Any) -> str:
    """Where a `<meta http-equiv="refresh">` leads to, as it is written there."""
    for meta in tree.iter("meta"):
        if (meta.get("http-equiv") or "").strip().lower() == "refresh":
            found = _REFRESH.match(meta.get("content") or "")
            if found and not found[2].isdigit():
                return found[2][:2000]

    return ""


if __name__ == "__main__":
    main(float(sys.argv[1]))
