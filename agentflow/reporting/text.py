"""Values as text for a page: escaped, with what cannot be seen made visible, and cut where it is long."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from html import escape
from typing import Any

from agentflow.events import Payload

# Controls, marks that turn the direction of writing, what has no width, and halves of surrogate pairs.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
    "|[\U000e0000-\U000e007f]"
)


def visible(text: object) -> str:
    """Text in which nothing acts on a terminal, turns the direction of writing, or hides."""
    return _UNSEEN.sub(lambda m: f"⟨U+{ord(m[0]):04X}⟩", str(text).replace("\r\n", "\n"))


def esc(text: object) -> str:
    """Text as it may stand in a page, in an element or in a quoted attribute."""
    return escape(visible(text))


@dataclass(slots=True)
class Allowance:
    """How many characters of payloads a page may still hold, and how many of each one."""

    left: int
    each: int

    def take(self, length: int) -> int:
        """How much of a text of `length` characters is shown."""
        shown = max(0, min(length, self.each, self.left))
        self.left -= shown
        return shown


def shown(payload: Payload, allowance: Allowance) -> str:
    """A payload as HTML: its JSON, indented, or its text where it is one; what is cut off is said with size and digest."""
    return shown_text(pretty(payload.data), payload.json, allowance)


def shown_text(text: str, raw: bytes, allowance: Allowance) -> str:
    """Text that stands for `raw` bytes."""
    most = allowance.take(len(text))
    digest = hashlib.sha256(raw).hexdigest()
    note = f"{len(raw):,} bytes · sha256:{digest[:16]}"
    if most < len(text):
        note = f"cut: the first {most:,} of {len(text):,} characters · {len(raw):,} bytes · sha256:{digest}"

    return f'<pre>{esc(text[:most])}</pre><p class="note">{note}</p>'


def pretty(value: Any) -> str:
    """JSON data for reading: text as it is, else indented JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms" if seconds >= 0.001 else f"{1000 * seconds:.1f} ms"

    if seconds < 120:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"

    if seconds < 7200:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"

    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def money(usd: float) -> str:
    """US dollars, with as many places as a small sum needs."""
    return f"${usd:,.4f}" if 0 < usd < 1 else f"${usd:,.2f}"
