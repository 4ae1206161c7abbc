"""What was said, and when: the value that speech becomes, as subtitles and as evidence too."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any

from agentflow.evidence import Evidence
from agentflow.exceptions import ToolError


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What was said between `start` and `end`, in seconds from the beginning."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """Speech as text. `language` is named as the engine names it (`en`, `english`), and empty where it does not say.

    `segments` are in the order of time; an engine that tells no times gives none.
    """

    text: str
    language: str = ""
    segments: list[Segment] = field(default_factory=list[Segment])

    def srt(self) -> str:
        """The segments as SubRip subtitles; raises `ToolError` where there are none."""
        return "\n".join(f"{n}\n{_cue(s, ',', s.text)}" for n, s in enumerate(self._timed(), 1))

    def vtt(self) -> str:
        """The segments as WebVTT subtitles; raises `ToolError` where there are none."""
        return "\n".join(["WEBVTT\n", *(_cue(s, ".", escape(s.text, quote=False)) for s in self._timed())])

    def _timed(self) -> list[Segment]:
        if not self.segments:
            raise ToolError(
                "this transcript has no times, which subtitles need",
                hint="ask a model that gives segments, such as `whisper-1`, with `times=True`",
            )

        return self.segments

    def evidence(self, source: str) -> list[Evidence]:
        """Each segment as a passage of `source` with its place in time; all of the text where there are no segments.

        `start` and `end` are offsets into `text`, where the segment stands there word for word.
        """
        if not self.segments:
            return [Evidence(text=self.text, source=source, start=0, end=len(self.text))] if self.text else []

        found: list[Evidence] = []
        begun = 0
        for segment in self.segments:
            at = self.text.find(segment.text, begun)
            begun = at + len(segment.text) if at >= 0 else begun
            found.append(
                Evidence(
                    text=segment.text,
                    source=source,
                    place=f"{_clock(segment.start)}-{_clock(segment.end)}",
                    start=at if at >= 0 else None,
                    end=begun if at >= 0 else None,
                )
            )

        return found


def transcript(data: dict[str, Any], odd: Callable[[str], ToolError]) -> Transcript:
    """The transcript in an answer of the forms `json` or `verbose_json`; `odd` makes the error for anything else."""
    text, segments = data.get("text"), data.get("segments")
    if not isinstance(text, str):
        raise odd("no `text`")

    if not isinstance(segments, list | None):
        raise odd("`segments` is no list")

    found = [_segment(given, odd) for given in segments or ()]
    found.sort(key=lambda segment: segment.start)
    language = data.get("language")
    return Transcript(
        text=text.strip(), language=language if isinstance(language, str) else "", segments=found
    )


def _segment(given: Any, odd: Callable[[str], ToolError]) -> Segment:
    try:
        start, end, text = float(given["start"]), float(given["end"]), given["text"]
    except (TypeError, ValueError, KeyError):
        raise odd("a segment without `start`, `end` and `text`") from None

    if not (isinstance(text, str) and math.isfinite(start) and math.isfinite(end) and 0 <= start <= end):
        raise odd(f"a segment from {start} to {end} s")

    return Segment(start=start, end=end, text=text.strip())


def _cue(segment: Segment, point: str, text: str) -> str:
    # An empty line would end the cue, and an arrow begin another one.
    lines = "\n".join(line for line in text.replace("-->", "->").splitlines() if line.strip())
    return f"{_stamp(segment.start, point)} --> {_stamp(segment.end, point)}\n{lines}\n"


def _stamp(seconds: float, point: str) -> str:
    whole, rest = divmod(round(seconds * 1000), 1000)
    return f"{_clock(whole)}{point}{rest:03}"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"
