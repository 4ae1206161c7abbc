"""The bytes of a page as text: which charset they are in, in the order in which browsers decide it."""

from __future__ import annotations

import codecs
import re

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_DECLARED = re.compile(
    rb"""(?i)<(?:meta[^>]{0,200}?charset|\?xml[^>]{0,200}?encoding)\s*=\s*["']?\s*([\w.:-]{1,40})"""
)
_HEAD = 1024  # bytes in which a page has to declare its charset
_SAMPLE = 32_768  # bytes from which a charset that nobody declares is guessed
_ENOUGH = 32  # bytes beyond ASCII; a guess from fewer is worse than what most of the web was written in
# Names that stand for more than they say: https://encoding.spec.whatwg.org/#names-and-labels
_WIDER = {
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-9": "cp1254",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "big5": "big5hkscs",
}
# These would make other text of a page than its author sees, or need not be text at all.
_NEVER = re.compile(
    r"(?i)utf-?7|utf_7|rot|hex|base64|zip|zlib|bz2|quopri|uu|idna|punycode|unicode|escape|undefined|mbcs|oem"
)

# Controls but for tabs and line ends, halves of pairs, and what Unicode has set aside: no text holds them, and what keeps
# texts trips over them.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """`text` without the characters that no text holds."""
    return _UNFIT.sub("", text)


def decoded(body: bytes, declared: str | None = None) -> str:
    """`body` as text; `declared` is the charset of the HTTP header, which a byte order mark outweighs.

    What cannot be decoded becomes U+FFFD.
    """
    for mark, charset in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(charset, "replace")

    for name in (declared, _own(body)):
        charset = _known(name)
        if charset:
            return body.decode(charset, "replace")

    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode(_guessed(body), "replace")


def _own(body: bytes) -> str | None:
    found = _DECLARED.search(body[:_HEAD])
    name = found[1].decode("ascii", "replace") if found else None
    # Whoever could read that declaration was not reading UTF-16.
    return "utf-8" if name and name.lower().startswith("utf-16") else name


def _known(name: str | None) -> str:
    """The codec that `name` stands for; empty where there is none for text."""
    plain = (name or "").strip().strip("\"'").lower()
    if not plain or _NEVER.search(plain):
        return ""

    try:
        return codecs.lookup(_WIDER.get(plain, plain)).name
    except (LookupError, ValueError):
        return ""


def _guessed(body: bytes) -> str:
    sample = body[:_SAMPLE]
    if sum(byte > 127 for byte in sample) < _ENOUGH:
        return "cp1252"

    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    return _known(best.encoding if best else None) or "cp1252"
